//! Erasing an instance's metadata: the log is written anew, without it, into a new directory.
//!
//! Events keep their places, so that cursors into the past still mean the same, but every checksum is another
//! one. The log gets a new name therefore, and an event at its end says what was done. The old directory is
//! never changed, and is to be deleted by whoever wanted the erasure.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use ulid::Ulid;

use super::disk::{Directory, Disk};
use super::error::OpenError;
use super::layout::{self, io_error};
use super::line::{FORMAT, Header};
use super::lock::DirLock;
use super::repair::begin;
use super::snapshot::{Projection, Snapshot};
use super::torn;
use super::walk::{self, Chain};
use super::writer::Writer;
use crate::domain::event::{Envelope, Event, LogRedacted};
use crate::domain::ids::{InstanceId, Seq};
use crate::domain::time::Timestamp;

/// What to erase, and what the new log is.
pub struct Redaction<'a, P> {
    /// Whose metadata.
    pub instance: &'a str,
    /// The same for what is rebuilt from the log, where that stands for pruned events; whether it had any.
    pub forget: fn(&mut P, &str) -> bool,
    /// The new log's name; random.
    pub log_id: u32,
    /// Identity of the event that says what was done.
    pub id: Ulid,
    /// Now.
    pub at: Timestamp,
    /// This build.
    pub build: &'a str,
}

/// Why nothing was erased.
#[derive(Debug, thiserror::Error)]
pub enum RedactError {
    /// There is nothing to erase.
    #[error("nothing in the log has metadata of the instance {0}")]
    Nothing(String),
    /// The beginning of the log is pruned, and what stands for it was written by a build that shapes it otherwise.
    #[error("the snapshot of event {seq} stands for pruned events and cannot be read: {why}")]
    Snapshot {
        /// The snapshot's event.
        seq: Seq,
        /// What is wrong with it.
        why: String,
    },
    /// The log cannot be read, or the new one not be written.
    #[error(transparent)]
    Log(#[from] OpenError),
}

/// Writes the log in `dir` without an instance's metadata into `into`, which must not hold a log, and says how
/// many events it was erased from. Nobody may be using `dir`.
pub fn redact<P: Projection>(dir: &Path, into: &Path, task: &Redaction<'_, P>) -> Result<u64, RedactError> {
    let _still = DirLock::keep_out(dir)?;
    let io = |doing, source| OpenError::Io { doing, path: into.to_owned(), source };
    super::open::create_private(into).map_err(|source| io("create", source))?;
    let _lock = DirLock::take(into)?;
    let redacted = redact_on(&Directory::new(dir), Arc::new(Directory::new(into)), task);
    if redacted.is_err() {
        // It was made a moment ago, and half a log helps nobody.
        let _ = std::fs::remove_dir_all(into);
    }
    redacted
}

/// [`redact`] on any disks.
pub(super) fn redact_on<P: Projection>(
    from: &dyn Disk,
    into: Arc<dyn Disk>,
    task: &Redaction<'_, P>,
) -> Result<u64, RedactError> {
    let layout = layout::read(from)?;
    let Some(first) = layout.segments.first() else { return Err(OpenError::NoLog(from.path("")).into()) };
    let base = match first.header.first_seq {
        Seq(1) => Base { seq: Seq(0), crc: task.log_id, erased: false },
        _ => write_base(from, &*into, &layout, task)?,
    };
    let first_seq = base.seq.next();
    let header = Header {
        format: FORMAT,
        log_id: task.log_id,
        first_seq,
        prev_crc: base.crc,
        synced: base.seq,
        build: task.build.to_owned(),
    };
    let writer = begin(into.clone(), header)?;
    let mut copy = Copying { into, writer, batch: Vec::new(), whole: Vec::new(), erased: 0 };
    let mut chain = Chain::before(first);
    let mut last = None;
    let ended = walk::walk(from, &layout, 0, &mut chain, &mut |found| {
        let envelope = found.decode(from)?;
        last = Some(envelope.at);
        if envelope.seq >= first_seq {
            copy.take(envelope, task.instance)?;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    if let (ControlFlow::Continue(Some(flaw)), Some(segment)) = (ended, layout.segments.last()) {
        // A torn write was never acknowledged and stays behind; anything else is damage, and an error.
        torn::judge(from, segment, &chain, flaw)?;
    }
    copy.write_out()?;
    if copy.erased == 0 && !base.erased {
        return Err(RedactError::Nothing(task.instance.to_owned()));
    }
    let instance_id = InstanceId(task.instance.to_owned());
    let event = Event::LogRedacted(LogRedacted { instance_id, events: copy.erased });
    let at = last.map_or(task.at, |last| task.at.max(last));
    copy.whole.push(vec![Envelope {
        seq: copy.writer.head().next(),
        id: task.id,
        at,
        event,
        cause: None,
        more: false,
    }]);
    copy.write_out()?;
    Ok(copy.erased)
}

/// What the new log's first record follows.
struct Base {
    seq: Seq,
    crc: u32,
    /// It stands for pruned events, and had the metadata.
    erased: bool,
}

/// Writes the oldest snapshot that stands for what is pruned, without the metadata.
fn write_base<P: Projection>(
    from: &dyn Disk,
    into: &dyn Disk,
    layout: &layout::Layout,
    task: &Redaction<'_, P>,
) -> Result<Base, RedactError> {
    let oldest = layout.segments.first().map_or(Seq(1), |segment| segment.header.first_seq);
    let fits = |seq: &Seq| seq.next() >= oldest;
    let seq = layout.snapshots.iter().copied().find(fits).ok_or(OpenError::NoBeginning { first: oldest })?;
    let unusable = |why| RedactError::Snapshot { seq, why };
    let snapshot = Snapshot::read(from, seq).map_err(unusable)?;
    let mut projection: P = snapshot.restore().map_err(unusable)?;
    let erased = (task.forget)(&mut projection, task.instance);
    let write = || {
        Snapshot::of(&projection, task.log_id, snapshot.record_crc, task.build)
            .map_err(std::io::Error::from)?
            .write(into)
    };
    write().map_err(|source| io_error(into, "write", "", source))?;
    Ok(Base { seq, crc: snapshot.record_crc, erased })
}

struct Copying {
    into: Arc<dyn Disk>,
    writer: Writer,
    batch: Vec<Envelope>,
    whole: Vec<Vec<Envelope>>,
    erased: u64,
}

impl Copying {
    fn take(&mut self, mut envelope: Envelope, instance: &str) -> Result<(), OpenError> {
        self.erased += u64::from(envelope.event.forget_metadata(instance));
        let (ends, stops) = (!envelope.more, matches!(envelope.event, Event::ServiceStopped(_)));
        self.batch.push(envelope);
        if ends {
            self.whole.push(std::mem::take(&mut self.batch));
        }
        // Nothing may follow a stop in the same append.
        if ends && (stops || self.whole.len() >= 500) { self.write_out() } else { Ok(()) }
    }

    fn write_out(&mut self) -> Result<(), OpenError> {
        self.writer.go_on();
        let written = self.writer.append(&self.whole);
        written.map_err(|error| io_error(&*self.into, "write", "", std::io::Error::other(error)))?;
        self.whole.clear();
        Ok(())
    }
}
