//! Saving what is whole of a damaged log, into a new directory. The old one is never touched.
//!
//! Kept is every whole batch whose records are proven by their checksums. Behind a hole the events move up,
//! since positions have no gaps, and causes are moved with them; so the log gets a new name, and no cursor of
//! the old one fits. What is missing from the story is found again at PVE by reconciliation.

use std::path::Path;
use std::sync::Arc;

use super::disk::{Directory, Disk, write_all_at};
use super::error::{Flaw, OpenError};
use super::layout::{self, Segment, io_error, segment_name};
use super::line::{self, FORMAT, Header, RECORD_START, Raw};
use super::open::{Options, create_private};
use super::snapshot::Snapshot;
use super::walk::{Chain, Lines};
use super::writer::{Start, Writer};
use crate::domain::event::{Cause, Envelope, Event};
use crate::domain::ids::Seq;

/// What a repair did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// Events in the new log that were read from the old one.
    pub kept: u64,
    /// The last event of the new log.
    pub head: Seq,
    /// The snapshot that stands for what the old log had pruned.
    pub snapshot: Option<Seq>,
    /// What the new log has not.
    pub left_out: Vec<LeftOut>,
}

/// A stretch of the old log that is not in the new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The old segment.
    pub file: std::path::PathBuf,
    /// Where the stretch begins, in bytes.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
    /// Why.
    pub why: String,
}

/// Writes what is whole in `dir` into `into`, which must not hold a log. `log_id` is the new log's name; random.
pub fn repair(dir: &Path, into: &Path, log_id: u32, build: &str) -> Result<RepairReport, OpenError> {
    let io = |doing, source| OpenError::Io { doing, path: into.to_owned(), source };
    if !into.exists() {
        create_private(into).map_err(|source| io("create", source))?;
    }
    let _lock = super::lock::DirLock::take(into)?;
    repair_on(&Directory::new(dir), Arc::new(Directory::new(into)), log_id, build)
}

/// [`repair`] on any disks.
pub(super) fn repair_on(
    from: &dyn Disk,
    into: Arc<dyn Disk>,
    log_id: u32,
    build: &str,
) -> Result<RepairReport, OpenError> {
    let target = layout::list(&*into)?;
    if !target.segments.is_empty() || !target.snapshots.is_empty() {
        return Err(io_error(&*into, "repair into", "", std::io::ErrorKind::AlreadyExists.into()));
    }
    let source = layout::list(from)?;
    let Some(&oldest) = source.segments.first() else { return Err(OpenError::NoLog(from.path(""))) };
    let mut report = RepairReport::default();
    let (mut first_seq, mut prev_crc) = (Seq(1), log_id);
    if oldest > Seq(1) {
        let snapshot = source.snapshots.iter().rev().find_map(|seq| Snapshot::read(from, *seq).ok());
        let snapshot = snapshot.filter(|snapshot| snapshot.seq.next() >= oldest);
        let snapshot = snapshot.ok_or(OpenError::NoBeginning { first: oldest })?.with_log_id(log_id);
        (first_seq, prev_crc, report.snapshot) =
            (snapshot.seq.next(), snapshot.record_crc, Some(snapshot.seq));
        snapshot.write(&*into).map_err(|source| io_error(&*into, "write", "", source))?;
    }
    let synced = Seq(first_seq.0 - 1);
    let header = Header { format: FORMAT, log_id, first_seq, prev_crc, synced, build: build.to_owned() };
    let writer = begin(into.clone(), header)?;
    let mut salvage = Salvage {
        from,
        into,
        writer,
        report,
        moved: Vec::new(),
        seed: None,
        in_step: true,
        batch: Vec::new(),
        batch_at: (0, 0),
        whole: Vec::new(),
        waiting: 0,
    };
    for first in source.segments {
        salvage.read_segment(&segment_name(first), first_seq)?;
    }
    salvage.write_out()?;
    salvage.report.head = salvage.writer.head();
    Ok(salvage.report)
}

/// A log without records.
pub(super) fn begin(disk: Arc<dyn Disk>, header: Header) -> Result<Writer, OpenError> {
    let name = segment_name(header.first_seq);
    let options = Options::new(header.log_id, &header.build);
    let write = || -> std::io::Result<_> {
        let line = header.to_line()?;
        let file = disk.create(&name)?;
        write_all_at(&*file, &line, 0)?;
        file.sync()?;
        disk.sync_dir()?;
        Ok((file, line.len() as u64))
    };
    let (file, records_at) = write().map_err(|source| io_error(&*disk, "begin", &name, source))?;
    let segment = Segment { name, header, records_at, end: records_at };
    let (chain, firsts) = (Chain::before(&segment), vec![segment.header.first_seq]);
    let start = Start {
        disk,
        options,
        lock: None,
        segment,
        file,
        firsts,
        chain,
        snapshots: Vec::new(),
        stale: false,
    };
    let (writer, _) =
        Writer::new(start).map_err(|(doing, path, source)| OpenError::Io { doing, path, source })?;
    Ok(writer)
}

/// Events of the old log, from the first to the second, that have another position now, the third's.
type Moved = (Seq, Seq, Seq);

struct Salvage<'a> {
    from: &'a dyn Disk,
    into: Arc<dyn Disk>,
    writer: Writer,
    report: RepairReport,
    moved: Vec<Moved>,
    /// Checksum in the line before, if it can be read: it seeds the next.
    seed: Option<u32>,
    /// Whether the next record begins a batch or continues the open one.
    in_step: bool,
    /// The open batch, and where it is in the old segment.
    batch: Vec<Envelope>,
    batch_at: (u64, u64),
    /// Whole batches to be written, and the events in them.
    whole: Vec<Vec<Envelope>>,
    waiting: u64,
}

impl Salvage<'_> {
    /// Takes what is whole in one segment; events before `begin` are in the snapshot.
    fn read_segment(&mut self, name: &str, begin: Seq) -> Result<(), OpenError> {
        let from = self.from;
        let read_error = |source| io_error(from, "read", name, source);
        let mut lines = Lines::new(from.open(name).map_err(read_error)?, 0, u64::MAX, 256 * 1024);
        let mut build = "unknown".to_owned();
        while let Some((offset, line)) = lines.next().map_err(read_error)? {
            let len = line.len() as u64;
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            if offset == 0 {
                match Header::parse(text) {
                    Ok(header) => {
                        self.seed = Some(header.prev_crc);
                        build = header.build;
                        continue;
                    }
                    // A record in the header's place is looked at like any other.
                    Err(flaw) if !text.starts_with(RECORD_START) => {
                        self.leave_out(name, offset, len, &flaw.to_string());
                        continue;
                    }
                    Err(_) => {}
                }
            }
            let seed = self.seed;
            self.seed = line::unseal(text).map(|(_, stored)| stored);
            let proven = match seed {
                Some(seed) => line::checked(text, seed).and_then(|_| Raw::parse(text)),
                None => Err(Flaw::NoChecksum),
            };
            match proven {
                Ok(raw) => {
                    let seq = raw.seq;
                    self.in_step |= raw.synced.next() == seq;
                    let (more, unreadable) = (raw.more, |source| OpenError::Unreadable {
                        file: from.path(name),
                        offset,
                        seq,
                        build: build.clone(),
                        source,
                    });
                    if !self.in_step {
                        self.leave_out(name, offset, len, "the beginning of its batch is missing");
                    } else if seq >= begin {
                        self.batch.push(raw.decode().map_err(unreadable)?);
                        self.batch_at = match self.batch_at {
                            (_, 0) => (offset, len),
                            (at, bytes) => (at, bytes + len),
                        };
                    }
                    self.in_step |= !more;
                    if !more {
                        self.end_batch()?;
                    }
                }
                Err(flaw) => {
                    self.drop_batch(name, "its batch is not whole");
                    self.in_step = false;
                    let why = if seed.is_some() {
                        flaw.to_string()
                    } else {
                        "the checksum before it is lost".to_owned()
                    };
                    self.leave_out(name, offset, len, &why);
                }
            }
        }
        self.drop_batch(name, "its batch does not end");
        Ok(())
    }

    fn drop_batch(&mut self, name: &str, why: &str) {
        let (offset, bytes) = std::mem::take(&mut self.batch_at);
        if !std::mem::take(&mut self.batch).is_empty() {
            self.leave_out(name, offset, bytes, why);
        }
    }

    fn leave_out(&mut self, name: &str, offset: u64, bytes: u64, why: &str) {
        let file = self.from.path(name);
        match self.report.left_out.last_mut() {
            Some(last) if last.file == file && last.offset + last.bytes == offset => last.bytes += bytes,
            _ => self.report.left_out.push(LeftOut { file, offset, bytes, why: why.to_owned() }),
        }
    }

    fn end_batch(&mut self) -> Result<(), OpenError> {
        self.batch_at = (0, 0);
        let mut batch = std::mem::take(&mut self.batch);
        let Some(first) = batch.first().map(|envelope| envelope.seq) else { return Ok(()) };
        let to = Seq(self.writer.head().0 + self.waiting + 1);
        let last = Seq(first.0 + batch.len() as u64 - 1);
        match self.moved.last_mut() {
            Some((_, end, _)) if end.next() == first => *end = last,
            _ => self.moved.push((first, last, to)),
        }
        for (seq, envelope) in (to.0..).zip(&mut batch) {
            envelope.seq = Seq(seq);
            envelope.cause = envelope.cause.take().and_then(|cause| match cause {
                Cause::Event(old) => self.new_place(old).map(Cause::Event),
                request @ Cause::Request(_) => Some(request),
            });
        }
        // A stop in the middle of a log is written alone: nothing may follow it in the same append.
        let stopped = batch.iter().any(|envelope| matches!(envelope.event, Event::ServiceStopped(_)));
        self.waiting += batch.len() as u64;
        self.whole.push(batch);
        if self.waiting >= 1000 || stopped { self.write_out() } else { Ok(()) }
    }

    fn new_place(&self, old: Seq) -> Option<Seq> {
        let at = self.moved.partition_point(|(first, ..)| *first <= old).checked_sub(1)?;
        let (first, last, to) = self.moved[at];
        (old <= last).then(|| Seq(to.0 + (old.0 - first.0)))
    }

    fn write_out(&mut self) -> Result<(), OpenError> {
        self.writer.go_on();
        self.writer
            .append(&self.whole)
            .map_err(|error| io_error(&*self.into, "write", "", std::io::Error::other(error)))?;
        self.report.kept += self.waiting;
        self.waiting = 0;
        self.whole.clear();
        Ok(())
    }
}
