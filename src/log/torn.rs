//! Tells a torn write from damage. The first is cut off and kept aside, the second stops the start.
//!
//! A flaw is a torn write unless something proves that the place was durable once. The proofs:
//!
//! 1. It is not in the last segment: a segment is durable before the next begins.
//! 2. The segment's header says that it was written anew when the place was already in it.
//! 3. A record behind it says so: its `synced` is not before the place. Records are looked for at every byte,
//!    because the flaw may have eaten a line end, and without their checksum, because the flaw may have taken
//!    the checksum that seeds theirs.
//! 4. The last whole batch is a clean stop of the process that wrote the file: nothing was in flight. If the
//!    stop's own line is hit, the snapshot that is made behind it is the proof (see `open.rs`).
//! 5. It is longer than an append may be.
//!
//! What is left cannot be told from a torn write: a flaw within the last append of a log that was not closed.

use std::io;

use super::disk::{Disk, read_from, write_all_at};
use super::error::{Certain, OpenError};
use super::layout::{Segment, io_error};
use super::line::{RECORD_START, Raw};
use super::open::TornTail;
use super::walk::{Break, Chain};
use crate::domain::ids::Seq;

/// No append is longer, so that no torn write is.
pub(super) const LONGEST_APPEND: u64 = 16 * 1024 * 1024;

/// What is to be cut off the last segment.
pub(super) struct Torn {
    /// Everything behind the last whole batch.
    bytes: Vec<u8>,
    at: Break,
    keep: u64,
    first: Seq,
    last_seen: Seq,
}

/// Judges the flaw in the last segment: torn, or an error.
pub(super) fn judge(
    disk: &dyn Disk,
    segment: &Segment,
    chain: &Chain,
    flaw: Break,
) -> Result<Torn, OpenError> {
    let synced = segment.header.synced;
    if synced > chain.head {
        return Err(flaw.damage(disk, segment, Certain::Rewritten(synced)));
    }
    if chain.stopped && chain.head > synced {
        return Err(flaw.damage(disk, segment, Certain::BehindCleanStop));
    }
    let bytes = disk
        .open(&segment.name)
        .and_then(|file| read_from(file, chain.end, segment.end))
        .map_err(|source| io_error(disk, "read", &segment.name, source))?;
    let behind = usize::try_from(flaw.offset - chain.end).map_or(bytes.len(), |at| at.min(bytes.len()));
    let mut last_seen = chain.head;
    for raw in records_in(&bytes[..behind]).chain(records_in(bytes.get(behind + 1..).unwrap_or_default())) {
        if raw.synced >= flaw.seq {
            return Err(flaw.damage(disk, segment, Certain::LaterRecord(raw.seq)));
        }
        last_seen = last_seen.max(raw.seq);
    }
    if bytes.len() as u64 > LONGEST_APPEND {
        return Err(flaw.damage(disk, segment, Certain::TooLong(bytes.len() as u64)));
    }
    Ok(Torn {
        bytes,
        keep: chain.end,
        first: chain.head.next(),
        last_seen: last_seen.max(flaw.seq),
        at: flaw,
    })
}

/// Everything that reads as a record, wherever it begins.
fn records_in(bytes: &[u8]) -> impl Iterator<Item = Raw<'_>> {
    let starts = bytes.windows(RECORD_START.len()).enumerate().filter(|(_, window)| *window == RECORD_START);
    starts.filter_map(|(at, _)| Raw::parse_prefix(&bytes[at..]))
}

impl Torn {
    /// Copies what will be cut into a file of its own, durably.
    pub(super) fn save_aside(&self, disk: &dyn Disk) -> Result<String, OpenError> {
        let name = format!("torn-{:020}-{}.bin", self.first.0, self.keep);
        save(disk, &name, &self.bytes)?;
        Ok(name)
    }

    /// The report of it; `saved` where it was saved.
    pub(super) fn report(&self, disk: &dyn Disk, segment: &Segment, saved: Option<&str>) -> TornTail {
        TornTail {
            file: disk.path(&segment.name),
            saved: saved.map(|name| disk.path(name)),
            offset: self.keep,
            bytes: self.bytes.len() as u64,
            first: self.first,
            last: self.last_seen,
            why: self.at.flaw.to_string(),
        }
    }
}

/// Moves a last segment without a header aside: it never had a record.
pub(super) fn save_headless(disk: &dyn Disk, name: &str, next: Seq) -> Result<TornTail, OpenError> {
    let bytes = disk
        .open(name)
        .and_then(|file| read_from(file, 0, u64::MAX))
        .map_err(|source| io_error(disk, "read", name, source))?;
    let saved = format!("torn-{:020}-header.bin", next.0);
    save(disk, &saved, &bytes)?;
    disk.remove(name).map_err(|source| io_error(disk, "remove", name, source))?;
    disk.sync_dir().map_err(|source| io_error(disk, "sync", "", source))?;
    Ok(TornTail {
        file: disk.path(name),
        saved: Some(disk.path(&saved)),
        offset: 0,
        bytes: bytes.len() as u64,
        first: next,
        last: Seq(next.0.saturating_sub(1)),
        why: "the segment has no whole header".to_owned(),
    })
}

fn save(disk: &dyn Disk, name: &str, bytes: &[u8]) -> Result<(), OpenError> {
    let write = || -> io::Result<()> {
        let file = disk.create(name)?;
        write_all_at(&*file, bytes, 0)?;
        file.sync()?;
        disk.sync_dir()
    };
    write().map_err(|source| io_error(disk, "write", name, source))
}
