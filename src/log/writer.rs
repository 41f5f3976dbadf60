//! The one that appends: one write and one sync for all that waits, rotation, snapshots, pruning.
//!
//! It answers only when everything is durable. A failed write is cut back and can be tried again; a failed
//! sync ends the process, because nobody can say any more what the disk has.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::disk::{Disk, DiskFile, write_all_at};
use super::error::AppendError;
use super::layout::{self, NEXT_SEGMENT, Segment, segment_name, snapshot_name};
use super::line::{FORMAT, Header, write_record};
use super::lock::DirLock;
use super::open::Options;
use super::reader::{Reader, Record, Shared};
use super::snapshot::{KEPT, Projection, Snapshot};
use super::torn::LONGEST_APPEND;
use super::walk::Chain;
use crate::clock::Stopwatch;
use crate::domain::event::{Envelope, Event};
use crate::domain::ids::Seq;
use crate::domain::time::Timestamp;

/// What one append was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AppendStats {
    /// Events written.
    pub events: usize,
    /// Bytes written.
    pub bytes: u64,
    /// How long the disk took to make them durable.
    pub sync: Duration,
}

/// Which events may be deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Those before this instant.
    pub since: Option<Timestamp>,
    /// The oldest, while all segments have more bytes than this.
    pub bytes: Option<u64>,
}

/// How large the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Files.
    pub segments: usize,
    /// Bytes of all segments.
    pub bytes: u64,
    /// Whether space for the next segment is reserved; if not, the disk is nearly full.
    pub next_reserved: bool,
}

/// What a writer begins with.
pub(super) struct Start {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) options: Options,
    pub(super) lock: Option<DirLock>,
    pub(super) segment: Segment,
    pub(super) file: Box<dyn DiskFile>,
    pub(super) firsts: Vec<Seq>,
    pub(super) chain: Chain,
    pub(super) snapshots: Vec<Seq>,
    pub(super) stale: bool,
}

/// Appends to the log. It holds the directory until dropped.
pub struct Writer {
    disk: Arc<dyn Disk>,
    shared: Arc<Shared>,
    options: Options,
    /// The last segment, its first event and its durable bytes.
    file: Box<dyn DiskFile>,
    name: String,
    first: Seq,
    len: u64,
    sealed_bytes: u64,
    head: Seq,
    crc: u32,
    /// Space for the next segment.
    next: Option<Box<dyn DiskFile>>,
    /// Snapshots that are there and durable, oldest first.
    snapshots: Vec<Seq>,
    wants_snapshot: bool,
    condition: Condition,
    buffer: Vec<u8>,
    _lock: Option<DirLock>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    Ready,
    /// Bytes behind the durable ones are to be cut before the next write.
    Uncut,
    /// ServiceStopped is durable.
    Stopped,
    SyncFailed,
}

impl Writer {
    pub(super) fn new(start: Start) -> Result<(Self, Reader), (&'static str, PathBuf, io::Error)> {
        let Start { disk, options, lock, segment, file, firsts, chain, snapshots, stale } = start;
        let fail = |doing, name: &str, error| (doing, disk.path(name), error);
        let len = file.len().map_err(|error| fail("measure", &segment.name, error))?;
        let mut sealed_bytes = 0;
        for first in firsts.iter().filter(|first| **first != segment.header.first_seq) {
            let name = segment_name(*first);
            let measured = disk.open(&name).and_then(|file| file.len());
            sealed_bytes += measured.map_err(|error| fail("measure", &name, error))?;
        }
        let shared = Arc::new(Shared::new(disk.clone(), segment.header.log_id, chain.head, firsts, len));
        let crc = if chain.head < segment.header.first_seq { segment.header.prev_crc } else { chain.crc };
        let mut writer = Self {
            disk,
            shared: shared.clone(),
            options,
            file,
            name: segment.name,
            first: segment.header.first_seq,
            len,
            sealed_bytes,
            head: chain.head,
            crc,
            next: None,
            snapshots,
            wants_snapshot: stale,
            condition: Condition::Ready,
            buffer: Vec::new(),
            _lock: lock,
        };
        if let Err(error) = writer.file.reserve(writer.options.segment_bytes) {
            tracing::warn!(%error, "no space to reserve for the log's last segment");
        }
        writer.reserve_next();
        Ok((writer, Reader::new(shared)))
    }

    /// Makes all batches durable with one write and one sync. Each batch lives or dies as a whole, and after
    /// an error that can be tried again none of them is in the log.
    pub fn append(&mut self, batches: &[Vec<Envelope>]) -> Result<AppendStats, AppendError> {
        if self.condition == Condition::SyncFailed {
            return Err(AppendError::SyncFailed);
        }
        self.check(batches)?;
        let (records, crc, stopped) = self.encode(batches)?;
        if records.is_empty() {
            return Ok(AppendStats::default());
        }
        if self.head >= self.first && self.len + self.buffer.len() as u64 > self.options.segment_bytes {
            self.rotate()?;
        }
        self.write()?;
        let sync = self.sync()?;
        let bytes = self.buffer.len() as u64;
        self.len += bytes;
        self.head = Seq(self.head.0 + records.len() as u64);
        self.crc = crc;
        if stopped {
            self.condition = Condition::Stopped;
        }
        let stats = AppendStats { events: records.len(), bytes, sync };
        let mut published = self.shared.change();
        published.last_len = self.len;
        published.push(records, self.options.recent_records, self.options.recent_bytes);
        Ok(stats)
    }

    /// Writes what `projection` is, so that the next start replays less. It must have every event. A failure
    /// costs nothing but that.
    pub fn snapshot<P: Projection>(&mut self, projection: &P) -> io::Result<()> {
        if projection.head() != self.head {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the state is not that of the log's head",
            ));
        }
        self.wants_snapshot = false;
        if self.head == Seq(0) || self.snapshots.last() == Some(&self.head) {
            return Ok(());
        }
        Snapshot::of(projection, self.log_id(), self.crc, &self.options.build)?.write(&*self.disk)?;
        self.snapshots.push(self.head);
        let surplus = self.snapshots.len().saturating_sub(KEPT);
        self.snapshots.drain(..surplus);
        // Also those that a start found worthless.
        for seq in layout::list(&*self.disk).map_err(io::Error::other)?.snapshots {
            if !self.snapshots.contains(&seq) {
                self.disk.remove(&snapshot_name(seq))?;
            }
        }
        Ok(())
    }

    /// Whether a segment was begun, or a long replay needed, since the last snapshot.
    pub fn wants_snapshot(&self) -> bool {
        self.wants_snapshot
    }

    /// Deletes the oldest segments that are beyond `retention`, but no event from `needed` on. Says which event
    /// is the oldest now.
    pub fn retain(&mut self, retention: Retention, needed: Seq) -> io::Result<Seq> {
        let firsts = self.shared.look().firsts.clone();
        let mut bytes = self.sizes().bytes;
        let mut keep_from = self.oldest();
        for (first, next) in firsts.iter().zip(firsts.iter().skip(1)) {
            let too_many = retention.bytes.is_some_and(|most| bytes > most);
            let too_old = match retention.since {
                Some(since) => self.at_of(*next)?.is_some_and(|at| at < since),
                None => false,
            };
            if !too_many && !too_old {
                break;
            }
            bytes -= self.disk.open(&segment_name(*first))?.len()?;
            keep_from = *next;
        }
        self.prune(keep_from.min(needed))
    }

    /// When an event was decided.
    fn at_of(&self, seq: Seq) -> io::Result<Option<Timestamp>> {
        let reader = Reader::new(Arc::clone(&self.shared));
        let records = reader.read(Seq(seq.0 - 1), 1, seq).map_err(io::Error::other)?;
        Ok(records.first().map(|record| record.envelope.at))
    }

    /// Deletes segments all of whose events are before `keep_from`, the oldest first, but never those behind
    /// the older of the two snapshots that are kept. Says which event is the oldest now.
    pub fn prune(&mut self, keep_from: Seq) -> io::Result<Seq> {
        let Some(oldest_snapshot) = self.snapshots.first() else { return Ok(self.oldest()) };
        let keep_from = keep_from.min(oldest_snapshot.next());
        loop {
            let first = match self.shared.look().firsts[..] {
                [first, second, ..] if second <= keep_from => first,
                [first, ..] => return Ok(first),
                [] => return Ok(self.first),
            };
            let name = segment_name(first);
            let len = self.disk.open(&name)?.len()?;
            // Readers are told first: one that comes now must not find a file missing that it was promised.
            self.shared.change().firsts.remove(0);
            self.disk.remove(&name)?;
            self.sealed_bytes -= len;
            // Each removal is durable before the next, so that a power cut leaves no gap.
            self.disk.sync_dir()?;
        }
    }

    /// The last durable event; 0 in an empty log.
    pub fn head(&self) -> Seq {
        self.head
    }

    /// Which log it is.
    pub fn log_id(&self) -> u32 {
        self.shared.log_id
    }

    /// How large it is.
    pub fn sizes(&self) -> Sizes {
        let segments = self.shared.look().firsts.len();
        Sizes { segments, bytes: self.sealed_bytes + self.len, next_reserved: self.next.is_some() }
    }

    /// A clean stop that is only being copied does not end the log.
    pub(super) fn go_on(&mut self) {
        if self.condition == Condition::Stopped {
            self.condition = Condition::Ready;
        }
    }

    fn oldest(&self) -> Seq {
        self.shared.look().firsts.first().copied().unwrap_or(self.first)
    }

    fn check(&self, batches: &[Vec<Envelope>]) -> Result<(), AppendError> {
        let mut next = self.head.next();
        let mut stopped = self.condition == Condition::Stopped;
        for batch in batches {
            for (at, envelope) in batch.iter().enumerate() {
                let why = match () {
                    () if stopped => "nothing may follow ServiceStopped",
                    () if envelope.seq != next => "its position is not the next one",
                    () if envelope.more == (at + 1 == batch.len()) => {
                        "`more` is true on all but the last of a batch"
                    }
                    () => {
                        next = next.next();
                        stopped = matches!(envelope.event, Event::ServiceStopped(_));
                        continue;
                    }
                };
                return Err(AppendError::Invalid { seq: envelope.seq, why });
            }
        }
        Ok(())
    }

    fn encode(&mut self, batches: &[Vec<Envelope>]) -> Result<(Vec<Arc<Record>>, u32, bool), AppendError> {
        self.buffer.clear();
        let mut records = Vec::new();
        let mut crc = self.crc;
        let mut stopped = false;
        for envelope in batches.iter().flatten() {
            let seq = envelope.seq;
            let (json, sealed) = write_record(&mut self.buffer, envelope, self.head, crc)
                .map_err(|source| AppendError::Encode { seq, source })?;
            crc = sealed;
            stopped = matches!(envelope.event, Event::ServiceStopped(_));
            records.push(Arc::new(Record { envelope: envelope.clone(), json }));
            if self.buffer.len() as u64 > LONGEST_APPEND {
                return Err(AppendError::Invalid { seq, why: "one append is at most 16 MiB" });
            }
        }
        Ok((records, crc, stopped))
    }

    fn write(&mut self) -> Result<(), AppendError> {
        if self.condition == Condition::Uncut {
            self.cut_back()?;
        }
        let Err(source) = write_all_at(&*self.file, &self.buffer, self.len) else { return Ok(()) };
        self.condition = Condition::Uncut;
        // If this fails too, the next append begins with it.
        let _ = self.cut_back();
        Err(self.write_error("write", source))
    }

    fn cut_back(&mut self) -> Result<(), AppendError> {
        self.file.set_len(self.len).map_err(|source| self.write_error("cut back", source))?;
        self.condition = Condition::Ready;
        // A cut gives reserved space back. If others took it, the next write says so.
        let _ = self.file.reserve(self.options.segment_bytes);
        Ok(())
    }

    fn write_error(&self, doing: &'static str, source: io::Error) -> AppendError {
        AppendError::Write { doing, path: self.disk.path(&self.name), source }
    }

    fn sync(&mut self) -> Result<Duration, AppendError> {
        let begun = Stopwatch::start();
        match self.file.sync() {
            Ok(()) => Ok(begun.elapsed()),
            Err(error) => Err(self.sync_failed(&error)),
        }
    }

    fn sync_failed(&mut self, error: &io::Error) -> AppendError {
        self.condition = Condition::SyncFailed;
        (self.options.on_sync_failure)(&self.disk.path(&self.name), error);
        AppendError::SyncFailed
    }

    /// Begins the next segment. It has its name only when its header is durable.
    fn rotate(&mut self) -> Result<(), AppendError> {
        let first = self.head.next();
        let header = Header {
            format: FORMAT,
            log_id: self.log_id(),
            first_seq: first,
            prev_crc: self.crc,
            synced: self.head,
            build: self.options.build.clone(),
        };
        let line = header.to_line().map_err(|source| AppendError::Encode { seq: first, source })?;
        let name = segment_name(first);
        let path = self.disk.path(&name);
        let fail = |doing| move |source| AppendError::Write { doing, path, source };
        if self.condition == Condition::Uncut {
            self.cut_back()?;
        }
        let file = match self.next.take() {
            Some(file) => file,
            None => self.make_next().map_err(fail.clone()("reserve space for"))?,
        };
        write_all_at(&*file, &line, 0).map_err(fail.clone()("begin"))?;
        if let Err(error) = file.sync() {
            return Err(self.sync_failed(&error));
        }
        self.disk.rename(NEXT_SEGMENT, &name).map_err(fail("name"))?;
        if let Err(error) = self.disk.sync_dir() {
            return Err(self.sync_failed(&error));
        }
        self.sealed_bytes += self.len;
        self.len = line.len() as u64;
        (self.file, self.name, self.first) = (file, name, first);
        self.wants_snapshot = true;
        {
            let mut published = self.shared.change();
            published.firsts.push(first);
            published.last_len = self.len;
        }
        self.reserve_next();
        Ok(())
    }

    fn make_next(&self) -> io::Result<Box<dyn DiskFile>> {
        let file = self.disk.create(NEXT_SEGMENT)?;
        file.reserve(self.options.segment_bytes)?;
        Ok(file)
    }

    /// Reserves space for the segment behind this one, so that a full disk shows one segment early.
    fn reserve_next(&mut self) {
        match self.make_next() {
            Ok(file) => self.next = Some(file),
            Err(error) => tracing::warn!(%error, "no space to reserve for the log's next segment"),
        }
    }
}
