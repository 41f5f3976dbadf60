//! Opening a log: take the directory, verify, replay, cut a torn tail, make durable what was read, serve.
//!
//! Nothing is changed before everything was verified. The last segment is always written anew before it is
//! appended to: after a failed sync the page cache may show what the disk never had.

use std::fs::{self, DirBuilder};
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Directory, Disk, DiskFile, FileReader, write_all_at};
use super::disk_memory::MemoryDisk;
use super::error::OpenError;
use super::layout::{
    self, Layout, NEXT_SEGMENT, Segment, io_error, is_temporary, segment_name, snapshot_name,
};
use super::line::{FORMAT, Header};
use super::lock::DirLock;
use super::reader::Reader;
use super::snapshot::{Projection, Snapshot};
use super::torn::{self, Torn};
use super::walk::{self, Chain};
use super::writer::{Start, Writer};
use crate::domain::event::Envelope;
use crate::domain::ids::Seq;

/// Called with the file and the error when a sync failed; not meant to return. See [`Options::on_sync_failure`].
pub type SyncFailurePolicy = Arc<dyn Fn(&Path, &std::io::Error) + Send + Sync>;

/// How the log is kept.
#[derive(Clone)]
pub struct Options {
    /// A segment that would grow beyond this many bytes is followed by the next one.
    pub segment_bytes: u64,
    /// The name that a new log gets; random.
    pub log_id_for_new: u32,
    /// This build, which headers and snapshots name as their writer.
    pub build: String,
    /// At most so many of the newest records are kept in memory for readers.
    pub recent_records: usize,
    /// And at most so many bytes of them.
    pub recent_bytes: usize,
    /// What to do when a sync failed. A sync that is tried again succeeds without having written anything, so
    /// this ends the process; if it returns (in tests), the writer takes nothing any more.
    pub on_sync_failure: SyncFailurePolicy,
}

impl Options {
    /// 64 MiB segments, 4096 records or 4 MiB in memory, abort when a sync fails.
    pub fn new(log_id_for_new: u32, build: &str) -> Self {
        Self {
            segment_bytes: 64 * 1024 * 1024,
            log_id_for_new,
            build: build.to_owned(),
            recent_records: 4096,
            recent_bytes: 4 * 1024 * 1024,
            on_sync_failure: Arc::new(|path, error| {
                tracing::error!(path = %path.display(), %error, "a sync of the log failed: aborting");
                std::process::abort();
            }),
        }
    }
}

/// An open log.
pub struct Opened<P> {
    /// Appends. There is one.
    pub writer: Writer,
    /// Reads; clone it freely.
    pub reader: Reader,
    /// What the events amount to.
    pub projection: P,
    /// What was found.
    pub report: Report,
}

/// What was found while opening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Which log it is.
    pub log_id: u32,
    /// Its files.
    pub segments: usize,
    /// The last event.
    pub head: Seq,
    /// Events read one by one, those behind the snapshot.
    pub replayed: u64,
    /// Where the replay began.
    pub snapshot: SnapshotUse,
    /// What was cut off.
    pub torn: Option<TornTail>,
    /// Whether the last event is ServiceStopped.
    pub clean: bool,
}

/// Where a replay began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotUse {
    /// Behind the snapshot of this event; with what was wrong with newer ones.
    Used(Seq, Vec<String>),
    /// At the first event; with what was wrong with every snapshot, nothing if there was none.
    Unused(Vec<String>),
}

/// A torn write that was cut off. Nothing in it was ever acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment.
    pub file: PathBuf,
    /// Where the bytes are kept; `None` if nothing was changed.
    pub saved: Option<PathBuf>,
    /// Where they began, in bytes.
    pub offset: u64,
    /// How many they are.
    pub bytes: u64,
    /// The first event that is cut off.
    pub first: Seq,
    /// The last that can be made out in them; before `first` if there is none.
    pub last: Seq,
    /// What was wrong.
    pub why: String,
}

/// Opens the log in `dir`, or begins one there. The directory is made if need be.
pub fn open<P: Projection>(dir: &Path, options: Options) -> Result<Opened<P>, OpenError> {
    let io = |doing, source| OpenError::Io { doing, path: dir.to_owned(), source };
    if !dir.exists() {
        create_private(dir).map_err(|source| io("create", source))?;
        let absolute = dir.canonicalize().map_err(|source| io("find", source))?;
        let parent = absolute.parent().unwrap_or(&absolute);
        Directory::new(parent).sync_dir().map_err(|source| io("sync the parent of", source))?;
    }
    let lock = DirLock::take(dir)?;
    open_on(Arc::new(Directory::new(dir)), options, Some(lock))
}

/// Makes a directory for its owner alone: callers' metadata is kept in it.
pub(super) fn create_private(dir: &Path) -> io::Result<()> {
    if let Some(parent) = dir.parent() {
        fs::create_dir_all(parent)?;
    }
    DirBuilder::new().mode(0o700).create(dir)
}

/// [`open`] on a disk in memory, which nobody else has.
pub fn open_memory<P: Projection>(disk: &MemoryDisk, options: Options) -> Result<Opened<P>, OpenError> {
    open_on(Arc::new(disk.clone()), options, None)
}

/// [`open`] on any disk.
pub(super) fn open_on<P: Projection>(
    disk: Arc<dyn Disk>,
    options: Options,
    lock: Option<DirLock>,
) -> Result<Opened<P>, OpenError> {
    let layout = layout::read(&*disk)?;
    let replay = replay::<P>(&*disk, &layout, &options.build)?;
    let Replay { projection, chain, torn, replayed, snapshot, snapshots, stale } = replay;
    remove_temporaries(&*disk)?;
    let tail = TailSegment { disk: &*disk, layout: &layout, chain: &chain, options: &options };
    let (torn, segment, file) = tail.renew(torn.as_ref())?;
    let report = Report {
        log_id: segment.header.log_id,
        segments: layout.segments.len().max(1),
        head: chain.head,
        replayed,
        snapshot,
        torn,
        clean: chain.stopped,
    };
    let firsts = match &layout.segments[..] {
        [] => vec![segment.header.first_seq],
        segments => segments.iter().map(|segment| segment.header.first_seq).collect(),
    };
    let (writer, reader) =
        Writer::new(Start { disk, options, lock, segment, file, firsts, chain, snapshots, stale })
            .map_err(|(doing, path, source)| OpenError::Io { doing, path, source })?;
    Ok(Opened { writer, reader, projection, report })
}

/// What a replay found.
pub(super) struct Replay<P> {
    pub(super) projection: P,
    pub(super) chain: Chain,
    pub(super) torn: Option<Torn>,
    pub(super) replayed: u64,
    pub(super) snapshot: SnapshotUse,
    /// Snapshots that fit the log, oldest first.
    pub(super) snapshots: Vec<Seq>,
    /// Whether more than the last segment had to be replayed.
    pub(super) stale: bool,
}

/// Verifies and folds: from the newest snapshot that fits, else from the beginning. Changes nothing.
fn replay<P: Projection>(disk: &dyn Disk, layout: &Layout, build: &str) -> Result<Replay<P>, OpenError> {
    let log_id = layout.segments.first().map(|segment| segment.header.log_id);
    let oldest = layout.segments.first().map_or(Seq(1), |segment| segment.header.first_seq);
    let mut whole = Vec::new();
    let mut wrong = Vec::new();
    for &seq in layout.snapshots.iter().rev() {
        match Snapshot::read(disk, seq) {
            Ok(snapshot) if log_id.is_none_or(|log_id| log_id == snapshot.log_id) => whole.push(snapshot),
            Ok(_) => wrong.push(format!("{}: of another log", snapshot_name(seq))),
            Err(why) => wrong.push(format!("{}: {why}", snapshot_name(seq))),
        }
    }
    let mut found = None;
    for snapshot in &whole {
        match start_from(snapshot, oldest, build).map(|state| run(disk, layout, state, Some(snapshot))) {
            Ok(run) => match run? {
                Some(ran) => {
                    found = Some((ran, SnapshotUse::Used(snapshot.seq, std::mem::take(&mut wrong))));
                    break;
                }
                None => wrong.push(format!("{}: does not fit the log", snapshot_name(snapshot.seq))),
            },
            Err(why) => wrong.push(format!("{}: {why}", snapshot_name(snapshot.seq))),
        }
    }
    let (ran, used) = match found {
        Some(found) => found,
        None if oldest > Seq(1) => return Err(OpenError::NoBeginning { first: oldest }),
        None => match run(disk, layout, P::default(), None)? {
            Some(ran) => (ran, SnapshotUse::Unused(wrong)),
            None => return Err(OpenError::NoBeginning { first: oldest }),
        },
    };
    let head = ran.chain.head;
    if let Some(newest) = whole.first().filter(|snapshot| snapshot.seq > head) {
        let snapshot = disk.path(&snapshot_name(newest.seq));
        return Err(OpenError::BehindSnapshot { head, snapshot, seq: newest.seq });
    }
    let trusted = |seq: Seq| matches!(used, SnapshotUse::Used(newest, _) if seq <= newest);
    let snapshots = whole.iter().rev().map(|snapshot| snapshot.seq).filter(|seq| trusted(*seq)).collect();
    let Ran { projection, chain, torn, replayed, stale } = ran;
    Ok(Replay { projection, chain, torn, replayed, snapshot: used, snapshots, stale })
}

/// The state to go on from, or why not.
pub(super) fn start_from<P: Projection>(snapshot: &Snapshot, oldest: Seq, build: &str) -> Result<P, String> {
    if snapshot.seq.next() < oldest {
        return Err("older than the log".to_owned());
    }
    if snapshot.build != build && oldest == Seq(1) {
        return Err(format!("written by build {}", snapshot.build));
    }
    snapshot.restore()
}

struct Ran<P> {
    projection: P,
    chain: Chain,
    torn: Option<Torn>,
    replayed: u64,
    stale: bool,
}

/// One replay; `None` if the log's record is not the one that the snapshot was made of.
fn run<P: Projection>(
    disk: &dyn Disk,
    layout: &Layout,
    mut projection: P,
    snapshot: Option<&Snapshot>,
) -> Result<Option<Ran<P>>, OpenError> {
    let start = projection.head();
    let from = layout.segments.partition_point(|segment| segment.header.first_seq <= start.next());
    let from = from.saturating_sub(1);
    for pair in layout.segments[..(from + 1).min(layout.segments.len())].windows(2) {
        layout::check_continued(disk, &pair[0], &pair[1])?;
    }
    let Some(first) = layout.segments.get(from) else {
        let chain = Chain { head: Seq(0), crc: 0, end: 0, content: 0, stopped: false };
        return Ok(Some(Ran { projection, chain, torn: None, replayed: 0, stale: false }));
    };
    let mut chain = Chain::before(first);
    let fits = |crc| snapshot.is_none_or(|snapshot| snapshot.record_crc == crc);
    if chain.head == start && !fits(chain.crc) {
        return Ok(None);
    }
    let mut batch: Vec<Envelope> = Vec::new();
    let mut replayed = 0;
    let ended = walk::walk(disk, layout, from, &mut chain, &mut |found| {
        if found.raw.seq <= start {
            let misfit = found.raw.seq == start && (found.raw.more || !fits(found.crc));
            return Ok(if misfit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) });
        }
        let envelope = found.decode(disk)?;
        let whole = !envelope.more;
        batch.push(envelope);
        if whole {
            replayed += batch.len() as u64;
            batch.drain(..).for_each(|envelope| projection.apply(&envelope));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let ControlFlow::Continue(flaw) = ended else { return Ok(None) };
    let torn = match (flaw, layout.segments.last()) {
        (Some(flaw), Some(last)) => Some(torn::judge(disk, last, &chain, flaw)?),
        _ => None,
    };
    let stale = from + 1 < layout.segments.len();
    Ok(Some(Ran { projection, chain, torn, replayed, stale }))
}

/// What is left of a file that was being made.
fn remove_temporaries(disk: &dyn Disk) -> Result<(), OpenError> {
    let names = disk.list().map_err(|source| io_error(disk, "list", "", source))?;
    for name in names.iter().filter(|name| is_temporary(name)) {
        disk.remove(name).map_err(|source| io_error(disk, "remove", name, source))?;
    }
    Ok(())
}

/// The segment that will be appended to.
struct TailSegment<'a> {
    disk: &'a dyn Disk,
    layout: &'a Layout,
    chain: &'a Chain,
    options: &'a Options,
}

/// What was cut off, and what is left.
type Renewed = (Option<TornTail>, Segment, Box<dyn DiskFile>);

impl TailSegment<'_> {
    /// Saves a torn tail, then writes the valid part anew, or a new log's first segment.
    fn renew(&self, torn: Option<&Torn>) -> Result<Renewed, OpenError> {
        let Self { disk, layout, chain, options } = *self;
        let mut report = None;
        if let Some(name) = &layout.headless {
            report = Some(torn::save_headless(disk, name, chain.head.next())?);
        }
        let old = layout.segments.last();
        if let (Some(torn), Some(old)) = (torn, old) {
            let saved = torn.save_aside(disk)?;
            report = Some(torn.report(disk, old, Some(&saved)));
        }
        let id = options.log_id_for_new;
        let (log_id, first_seq, prev_crc) = old
            .map_or((id, Seq(1), id), |old| (old.header.log_id, old.header.first_seq, old.header.prev_crc));
        let (synced, build) = (chain.head, options.build.clone());
        let header = Header { format: FORMAT, log_id, first_seq, prev_crc, synced, build };
        let name = segment_name(first_seq);
        let (file, records_at) = self.write_anew(&name, &header).map_err(|source| OpenError::Io {
            doing: "write anew",
            path: disk.path(&name),
            source,
        })?;
        Ok((report, Segment { name, header, records_at, end: chain.end }, file))
    }

    fn write_anew(&self, name: &str, header: &Header) -> std::io::Result<(Box<dyn DiskFile>, u64)> {
        let line = header.to_line()?;
        let file = self.disk.create(NEXT_SEGMENT)?;
        write_all_at(&*file, &line, 0)?;
        let records_at = line.len() as u64;
        if let Some(old) = self.layout.segments.last() {
            self.copy_records(old, &*file, records_at)?;
        }
        file.sync()?;
        self.disk.rename(NEXT_SEGMENT, name)?;
        self.disk.sync_dir()?;
        Ok((file, records_at))
    }

    /// Copies what was verified, and checks that it is still what was verified.
    fn copy_records(&self, old: &Segment, to: &dyn DiskFile, mut at: u64) -> std::io::Result<()> {
        let mut from =
            FileReader::new(self.disk.open(&old.name)?, old.records_at).take(self.chain.end - old.records_at);
        let mut chunk = vec![0; 256 * 1024];
        let mut content = 0;
        loop {
            let read = from.read(&mut chunk)?;
            if read == 0 {
                break;
            }
            content = crc32c::crc32c_append(content, &chunk[..read]);
            write_all_at(to, &chunk[..read], at)?;
            at += read as u64;
        }
        if content == self.chain.content {
            return Ok(());
        }
        Err(std::io::Error::other("the disk gave other bytes than a moment ago"))
    }
}
