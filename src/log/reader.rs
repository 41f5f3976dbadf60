//! Reading by position, for any number of readers that each hold nothing but a cursor.
//!
//! The newest records come from memory, shared; older ones from the segments, found by bisection, since a
//! record's line begins with its place. A reader never sees what is not durable and never delays the writer.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::disk::{Disk, DiskFile};
use super::error::ReadError;
use super::layout::{read_header, segment_name};
use super::line::{public_json, seq_of, unseal};
use super::walk::{Lines, check};
use crate::domain::event::Envelope;
use crate::domain::ids::Seq;

/// One answer from the segments is at most about so many bytes, whatever the limit.
const PAGE_BYTES: usize = 1024 * 1024;

/// Bisection ends where reading on is as cheap.
const NEAR: u64 = 64 * 1024;

/// An event as it was recorded.
#[derive(Debug)]
pub struct Record {
    /// The event with its place.
    pub envelope: Envelope,
    /// The envelope as one JSON object on one line, without the log's own `synced` and `crc`.
    pub json: Box<str>,
}

/// What writer and readers share.
pub(super) struct Shared {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) log_id: u32,
    published: RwLock<Published>,
}

/// What is durable.
pub(super) struct Published {
    /// The last event.
    pub(super) head: Seq,
    /// First events of the segments, in order; never empty.
    pub(super) firsts: Vec<Seq>,
    /// Durable bytes of the last segment.
    pub(super) last_len: u64,
    recent: VecDeque<Arc<Record>>,
    recent_bytes: usize,
}

impl Shared {
    /// Nothing in memory yet.
    pub(super) fn new(disk: Arc<dyn Disk>, log_id: u32, head: Seq, firsts: Vec<Seq>, last_len: u64) -> Self {
        let published = Published { head, firsts, last_len, recent: VecDeque::new(), recent_bytes: 0 };
        Self { disk, log_id, published: RwLock::new(published) }
    }

    /// For a short look.
    pub(super) fn look(&self) -> RwLockReadGuard<'_, Published> {
        self.published.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// For a short change.
    pub(super) fn change(&self) -> RwLockWriteGuard<'_, Published> {
        self.published.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Published {
    /// Takes durable records in; the oldest in memory make room.
    pub(super) fn push(&mut self, records: Vec<Arc<Record>>, most: usize, most_bytes: usize) {
        for record in records {
            self.head = record.envelope.seq;
            self.recent_bytes += record.json.len();
            self.recent.push_back(record);
        }
        while self.recent.len() > most || self.recent_bytes > most_bytes {
            let Some(oldest) = self.recent.pop_front() else { break };
            self.recent_bytes -= oldest.json.len();
        }
    }

    /// Those behind `after` if the first of them is in memory.
    fn recent(&self, after: Seq, limit: usize, upto: Seq) -> Option<Vec<Arc<Record>>> {
        let first = self.recent.front()?.envelope.seq;
        let skip = usize::try_from(after.next().0.checked_sub(first.0)?).ok()?;
        let count = usize::try_from(upto.0.saturating_sub(after.0)).unwrap_or(limit).min(limit);
        Some(self.recent.iter().skip(skip).take(count).cloned().collect())
    }
}

/// A way into the log. A clone costs a pointer.
#[derive(Clone)]
pub struct Reader {
    shared: Arc<Shared>,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The oldest event that can be read; the one behind the head in an empty log.
    pub fn oldest(&self) -> Seq {
        self.shared.look().firsts.first().copied().unwrap_or(Seq(1))
    }

    /// The newest durable event; 0 in an empty log.
    pub fn head(&self) -> Seq {
        self.shared.look().head
    }

    /// Which log it is; a cursor of another does not fit.
    pub fn log_id(&self) -> u32 {
        self.shared.log_id
    }

    /// Events behind `after` up to `upto` in order, at most `limit`; fewer when that is a lot of bytes. Empty
    /// only if there is none. It may read files: not for an async thread unless `after` is recent.
    pub fn read(&self, after: Seq, limit: usize, upto: Seq) -> Result<Vec<Arc<Record>>, ReadError> {
        let (upto, firsts, last_len) = {
            let published = self.shared.look();
            let upto = upto.min(published.head);
            if after >= upto || limit == 0 {
                return Ok(Vec::new());
            }
            if let Some(&oldest) = published.firsts.first().filter(|oldest| after.next() < **oldest) {
                return Err(ReadError::Pruned { oldest });
            }
            if let Some(records) = published.recent(after, limit, upto) {
                return Ok(records);
            }
            (upto, published.firsts.clone(), published.last_len)
        };
        let mut page = Page { records: Vec::new(), bytes: 0, limit, upto, cursor: after };
        let start = firsts.partition_point(|first| *first <= after.next()).saturating_sub(1);
        for (at, &first) in firsts.iter().enumerate().skip(start) {
            let end = (at + 1 == firsts.len()).then_some(last_len);
            page.read_segment(&*self.shared.disk, first, end)
                .map_err(|error| self.explain(error, first, &page))?;
            if page.is_full() {
                return Ok(page.records);
            }
        }
        let last = firsts.last().copied().unwrap_or(Seq(1));
        Err(self.explain(io::ErrorKind::InvalidData.into(), last, &page))
    }

    /// The files, for whoever reads them otherwise.
    pub(super) fn disk(&self) -> &dyn Disk {
        &*self.shared.disk
    }

    /// Whether records behind `after` are in memory, so that reading them waits for no disk.
    pub fn is_recent(&self, after: Seq) -> bool {
        let published = self.shared.look();
        after >= published.head
            || published.recent.front().is_some_and(|oldest| oldest.envelope.seq <= after.next())
    }

    fn explain(&self, error: io::Error, first: Seq, page: &Page) -> ReadError {
        let path: PathBuf = self.shared.disk.path(&segment_name(first));
        match error.kind() {
            io::ErrorKind::NotFound if self.oldest() > first => ReadError::Pruned { oldest: self.oldest() },
            io::ErrorKind::InvalidData => ReadError::Damaged { path, seq: page.cursor.next() },
            _ => ReadError::Io { path, source: error },
        }
    }
}

/// Records on their way out of the segments.
struct Page {
    records: Vec<Arc<Record>>,
    bytes: usize,
    limit: usize,
    upto: Seq,
    cursor: Seq,
}

impl Page {
    fn is_full(&self) -> bool {
        self.records.len() >= self.limit || self.bytes >= PAGE_BYTES || self.cursor >= self.upto
    }

    /// Goes on in the segment that begins with `first`; `end` where bytes stop being durable.
    fn read_segment(&mut self, disk: &dyn Disk, first: Seq, end: Option<u64>) -> io::Result<()> {
        let damaged = || io::Error::from(io::ErrorKind::InvalidData);
        let name = segment_name(first);
        let header = read_header(disk, &name).map_err(|error| match error {
            super::error::OpenError::Io { source, .. } => source,
            _ => damaged(),
        })?;
        let (header, records_at) = header.map_err(|_| damaged())?;
        let file = disk.open(&name)?;
        let end = end.map_or_else(|| file.len(), Ok)?;
        let mut seed = (self.cursor < first).then_some(header.prev_crc);
        let near = if seed.is_some() { records_at } else { bisect(&*file, records_at, end, self.cursor)? };
        let mut lines = Lines::new(file, near, end, 64 * 1024);
        while !self.is_full() {
            let Some((_, line)) = lines.next()? else { break };
            let Some(crc) = seed else {
                // The record at the cursor seeds the first that is wanted.
                if seq_of(line).ok_or_else(damaged)? == self.cursor {
                    seed = line.strip_suffix(b"\n").and_then(unseal).map(|(_, crc)| crc);
                }
                continue;
            };
            let (raw, crc) = check(line, self.cursor.next(), crc).map_err(|_| damaged())?;
            let json = public_json(line).ok_or_else(damaged)?;
            let envelope = raw.decode().map_err(|_| damaged())?;
            (seed, self.cursor) = (Some(crc), envelope.seq);
            self.bytes += json.len();
            self.records.push(Arc::new(Record { envelope, json }));
        }
        Ok(())
    }
}

/// Where a line begins at or before the record `target`, not far from it.
fn bisect(file: &dyn DiskFile, records_at: u64, end: u64, target: Seq) -> io::Result<u64> {
    let (mut low, mut high) = (records_at, end);
    while high - low > NEAR {
        let middle = low + (high - low) / 2;
        match line_behind(file, middle, high)? {
            Some((begin, seq)) if seq <= target => low = begin,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// The first line that begins behind `from` and before `end`, and its place.
fn line_behind(file: &dyn DiskFile, from: u64, end: u64) -> io::Result<Option<(u64, Seq)>> {
    let mut chunk = [0; 2048];
    let mut at = from;
    loop {
        let read = file.read_at(&mut chunk, at)?;
        if read == 0 || at >= end {
            return Ok(None);
        }
        if let Some(line_end) = chunk[..read].iter().position(|byte| *byte == b'\n') {
            let begin = at + line_end as u64 + 1;
            let read = file.read_at(&mut chunk[..64], begin)?;
            return Ok((begin < end).then(|| seq_of(&chunk[..read])).flatten().map(|seq| (begin, seq)));
        }
        at += read as u64;
    }
}
