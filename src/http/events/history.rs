//! What happened to one container, newest first looked for, oldest first told.

use std::sync::Arc;

use crate::domain::ids::{Seq, Vmid};
use crate::log::{ReadError, Reader, Record};

/// Most events of a history: those that came last.
const MOST: usize = 200;
/// Events looked through, backwards from the last one about the container: some tens of milliseconds.
const MOST_LOOKED_AT: u64 = 20_000;
/// Records read at once.
const PAGE: u64 = 1024;

/// Events that name a container.
#[derive(Debug, Default)]
pub struct History {
    /// Oldest first.
    pub records: Vec<Arc<Record>>,
    /// Whether these are all of them.
    pub is_whole: bool,
}

/// The newest 200 events that name `vmid`, from `since` up to `upto`, among the 20,000 before `upto`. May read
/// files.
pub fn history(reader: &Reader, vmid: Vmid, since: Seq, upto: Seq) -> Result<History, ReadError> {
    let begin = Seq(since.0.saturating_sub(1));
    let floor = begin.max(Seq(reader.oldest().0.saturating_sub(1)));
    let floor = floor.max(Seq(upto.0.saturating_sub(MOST_LOOKED_AT)));
    let mut newest_first = Vec::new();
    let mut end = upto;
    while end > floor {
        let start = floor.max(Seq(end.0.saturating_sub(PAGE)));
        let mut found = window(reader, vmid, start, end)?;
        while let Some(record) = found.pop() {
            if newest_first.len() == MOST {
                return Ok(oldest_first(newest_first, false));
            }
            newest_first.push(record);
        }
        end = start;
    }
    Ok(oldest_first(newest_first, floor == begin))
}

fn oldest_first(mut records: Vec<Arc<Record>>, is_whole: bool) -> History {
    records.reverse();
    History { records, is_whole }
}

/// Events that name `vmid` behind `start` up to `end`.
fn window(reader: &Reader, vmid: Vmid, start: Seq, end: Seq) -> Result<Vec<Arc<Record>>, ReadError> {
    let mut found = Vec::new();
    let mut cursor = start;
    loop {
        let records = reader.read(cursor, usize::MAX, end)?;
        let Some(last) = records.last() else { return Ok(found) };
        cursor = last.envelope.seq;
        found.extend(records.into_iter().filter(|record| record.envelope.event.vmid() == Some(vmid)));
    }
}
