//! Looking at a log without holding it, also while another process writes it. Nothing is ever changed.

use std::ops::ControlFlow;
use std::path::Path;

use super::disk::{Directory, Disk};
use super::disk_memory::MemoryDisk;
use super::error::OpenError;
use super::layout::{self, Layout, snapshot_name};
use super::open::TornTail;
use super::snapshot::Snapshot;
use super::torn;
use super::walk::{self, Chain};
use crate::domain::event::Envelope;
use crate::domain::ids::Seq;

/// What a log is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyReport {
    /// Which log it is.
    pub log_id: u32,
    /// Its files.
    pub segments: usize,
    /// The oldest event.
    pub oldest: Seq,
    /// The last event of the last whole batch.
    pub head: Seq,
    /// Events that were read.
    pub events: u64,
    /// Snapshots that fit the log.
    pub snapshots: Vec<Seq>,
    /// What is wrong with the others. They cost time at a start, nothing else.
    pub bad_snapshots: Vec<String>,
    /// What the next start will cut off: a torn write, or one that another process is in the middle of.
    pub torn: Option<TornTail>,
    /// Whether the last event is ServiceStopped.
    pub clean: bool,
}

/// Reads and checks every byte of the log.
pub fn verify(dir: &Path) -> Result<VerifyReport, OpenError> {
    verify_on(&Directory::new(dir))
}

/// [`verify`] on any disk.
pub(super) fn verify_on(disk: &dyn Disk) -> Result<VerifyReport, OpenError> {
    let layout = layout::read(disk)?;
    let Some(first) = layout.segments.first() else { return Err(OpenError::NoLog(disk.path(""))) };
    let (log_id, oldest) = (first.header.log_id, first.header.first_seq);
    let mut bad_snapshots = Vec::new();
    let mut snapshots = Vec::new();
    for &seq in &layout.snapshots {
        match Snapshot::read(disk, seq) {
            Ok(snapshot) if snapshot.log_id == log_id => snapshots.push((snapshot.seq, snapshot.record_crc)),
            Ok(_) => bad_snapshots.push(format!("{}: of another log", snapshot_name(seq))),
            Err(why) => bad_snapshots.push(format!("{}: {why}", snapshot_name(seq))),
        }
    }
    let mut chain = Chain::before(first);
    let mut fitting: Vec<Seq> = snapshots
        .iter()
        .filter(|(seq, crc)| (*seq, *crc) == (chain.head, chain.crc))
        .map(|(seq, _)| *seq)
        .collect();
    let mut events = 0;
    let ended = walk::walk(disk, &layout, 0, &mut chain, &mut |found| {
        let place = (found.raw.seq, found.crc);
        if !found.raw.more && snapshots.contains(&place) {
            fitting.push(place.0);
        }
        found.decode(disk)?;
        events += 1;
        Ok(ControlFlow::Continue(()))
    })?;
    // What is damaged explains an end that is lost, and is told first.
    let torn = match (ended, layout.segments.last()) {
        (ControlFlow::Continue(Some(flaw)), Some(last)) => {
            Some(torn::judge(disk, last, &chain, flaw)?.report(disk, last, None))
        }
        _ => None,
    };
    if let Some((seq, _)) = snapshots.iter().rev().find(|(seq, _)| *seq > chain.head) {
        let snapshot = disk.path(&snapshot_name(*seq));
        return Err(OpenError::BehindSnapshot { head: chain.head, snapshot, seq: *seq });
    }
    let misfits = snapshots.iter().filter(|(seq, _)| !fitting.contains(seq));
    bad_snapshots.extend(misfits.map(|(seq, _)| format!("{}: does not fit the log", snapshot_name(*seq))));
    let segments = layout.segments.len();
    let (head, clean) = (chain.head, chain.stopped);
    Ok(VerifyReport {
        log_id,
        segments,
        oldest,
        head,
        events,
        snapshots: fitting,
        bad_snapshots,
        torn,
        clean,
    })
}

/// Gives every event from `from` on, batch by batch, until `each` breaks. What another process is in the middle
/// of writing is left out.
pub fn read_all(
    dir: &Path,
    from: Seq,
    each: &mut dyn FnMut(Envelope) -> ControlFlow<()>,
) -> Result<(), OpenError> {
    read_all_on(&Directory::new(dir), from, each)
}

/// [`read_all`] on a disk in memory.
pub fn read_memory(
    disk: &MemoryDisk,
    from: Seq,
    each: &mut dyn FnMut(Envelope) -> ControlFlow<()>,
) -> Result<(), OpenError> {
    read_all_on(disk, from, each)
}

/// [`read_all`] on any disk.
pub(super) fn read_all_on(
    disk: &dyn Disk,
    from: Seq,
    each: &mut dyn FnMut(Envelope) -> ControlFlow<()>,
) -> Result<(), OpenError> {
    let layout: Layout = layout::read(disk)?;
    let start = layout.segments.partition_point(|segment| segment.header.first_seq <= from).saturating_sub(1);
    let Some(first) = layout.segments.get(start) else { return Err(OpenError::NoLog(disk.path(""))) };
    let mut chain = Chain::before(first);
    let mut batch = Vec::new();
    let ended = walk::walk(disk, &layout, start, &mut chain, &mut |found| {
        let (seq, whole) = (found.raw.seq, !found.raw.more);
        if seq >= from {
            batch.push(found.decode(disk)?);
        }
        if whole {
            for envelope in batch.drain(..) {
                if each(envelope).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    if let (ControlFlow::Continue(Some(flaw)), Some(last)) = (ended, layout.segments.last()) {
        torn::judge(disk, last, &chain, flaw)?;
    }
    Ok(())
}
