//! Which files a log consists of: their names, and their headers checked against each other.
//!
//! It reads first and last lines only; records are [`super::walk`]'s.

use std::io::{BufRead, BufReader, Read};

use serde::Deserialize;

use super::disk::{Disk, FileReader, read_from};
use super::error::{Certain, Damage, Flaw, OpenError};
use super::line::{self, FORMAT, Header, RECORD_START};
use crate::domain::ids::Seq;

/// No header is longer; a file that is longer was more than its header.
const LONGEST_HEADER: u64 = 4096;

/// A segment being made, before it has its name.
pub(super) const NEXT_SEGMENT: &str = "next.tmp";

/// The segment that begins with `first`.
pub(super) fn segment_name(first: Seq) -> String {
    format!("log-{first:020}.jsonl", first = first.0)
}

/// The snapshot of the state behind `seq`.
pub(super) fn snapshot_name(seq: Seq) -> String {
    format!("snapshot-{seq:020}.json", seq = seq.0)
}

/// Whether a file was being made and is worth nothing after a restart.
pub(super) fn is_temporary(name: &str) -> bool {
    std::path::Path::new(name).extension().is_some_and(|extension| extension == "tmp")
}

fn number_between(name: &str, prefix: &str, suffix: &str) -> Option<Seq> {
    let digits = name.strip_prefix(prefix)?.strip_suffix(suffix)?;
    (digits.len() == 20).then(|| digits.parse().ok().map(Seq)).flatten()
}

/// A segment with a good header.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    /// Its file.
    pub(super) name: String,
    /// Its first line.
    pub(super) header: Header,
    /// Where its first record is.
    pub(super) records_at: u64,
    /// Its length when it was looked at. Another process may be writing behind it.
    pub(super) end: u64,
}

/// The files of a log.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// In order.
    pub(super) segments: Vec<Segment>,
    /// A last segment that does not even have its header.
    pub(super) headless: Option<String>,
    /// Snapshots by their names, oldest first.
    pub(super) snapshots: Vec<Seq>,
}

/// An IO error with its file.
pub(super) fn io_error(
    disk: &dyn Disk,
    doing: &'static str,
    name: &str,
    source: std::io::Error,
) -> OpenError {
    OpenError::Io { doing, path: disk.path(name), source }
}

/// The refusal of a segment for its header.
fn bad_header(disk: &dyn Disk, name: &str, seq: Seq, flaw: Flaw, certain: Certain) -> OpenError {
    let file = disk.path(name);
    OpenError::Damaged(Box::new(Damage { file, offset: 0, line: 1, seq, flaw, certain }))
}

/// What the names of the files say.
pub(super) struct Names {
    /// First events of the segments, in order.
    pub(super) segments: Vec<Seq>,
    /// Events of the snapshots, in order.
    pub(super) snapshots: Vec<Seq>,
}

/// Reads names.
pub(super) fn list(disk: &dyn Disk) -> Result<Names, OpenError> {
    let names = disk.list().map_err(|source| io_error(disk, "list", "", source))?;
    let numbers = |prefix, suffix| {
        let mut numbers: Vec<Seq> =
            names.iter().filter_map(|name| number_between(name, prefix, suffix)).collect();
        numbers.sort_unstable();
        numbers
    };
    Ok(Names { segments: numbers("log-", ".jsonl"), snapshots: numbers("snapshot-", ".json") })
}

/// Reads names and headers.
pub(super) fn read(disk: &dyn Disk) -> Result<Layout, OpenError> {
    let Names { segments: firsts, snapshots } = list(disk)?;
    let mut layout = Layout { snapshots, ..Layout::default() };
    for (at, &first) in firsts.iter().enumerate() {
        let name = segment_name(first);
        let last = at + 1 == firsts.len();
        match read_header(disk, &name)? {
            Ok((header, records_at)) => {
                let log_id = layout.segments.first().map_or(header.log_id, |segment| segment.header.log_id);
                if header.first_seq != first || header.log_id != log_id {
                    return Err(bad_header(disk, &name, first, Flaw::Foreign, Certain::HeaderOfRecords));
                }
                let end = disk.open(&name).and_then(|file| file.len());
                let end = end.map_err(|source| io_error(disk, "measure", &name, source))?;
                layout.segments.push(Segment { name, header, records_at, end });
            }
            Err(_) if last && is_torn_header(disk, &name)? => layout.headless = Some(name),
            Err(flaw) => {
                let certain = if last { Certain::HeaderOfRecords } else { Certain::Sealed };
                return Err(bad_header(disk, &name, first, flaw, certain));
            }
        }
    }
    Ok(layout)
}

/// The header of a segment and where its records begin.
pub(super) fn read_header(disk: &dyn Disk, name: &str) -> Result<Result<(Header, u64), Flaw>, OpenError> {
    let mut line = Vec::new();
    let read = disk.open(name).and_then(|file| {
        BufReader::with_capacity(512, FileReader::new(file, 0))
            .take(LONGEST_HEADER)
            .read_until(b'\n', &mut line)
    });
    let records_at = read.map_err(|source| io_error(disk, "read", name, source))? as u64;
    if line.pop() != Some(b'\n') {
        return Ok(Err(Flaw::NoLineEnd));
    }
    if let Err(flaw) = line::checked(&line, 0) {
        return Ok(Err(flaw));
    }
    match serde_json::from_slice::<Promise>(&line) {
        Ok(Promise { format, build }) if format > FORMAT => {
            Err(OpenError::NewerFormat { file: disk.path(name), format, build })
        }
        _ => Ok(Header::parse(&line).map(|header| (header, records_at))),
    }
}

/// What the header of every format has.
#[derive(Deserialize)]
struct Promise {
    format: u32,
    build: String,
}

/// Whether a segment without a header never had a record: short, and nothing in it begins like one.
fn is_torn_header(disk: &dyn Disk, name: &str) -> Result<bool, OpenError> {
    let read = || {
        let file = disk.open(name)?;
        if file.len()? > LONGEST_HEADER {
            return Ok(false);
        }
        Ok(!read_from(file, 0, u64::MAX)?.windows(RECORD_START.len()).any(|window| window == RECORD_START))
    };
    read().map_err(|source| io_error(disk, "read", name, source))
}

/// Checks without reading a segment's records that the next one continues it.
pub(super) fn check_continued(disk: &dyn Disk, segment: &Segment, next: &Segment) -> Result<(), OpenError> {
    let line = last_line(disk, segment).map_err(|source| io_error(disk, "read", &segment.name, source))?;
    let end = match &line {
        Some(line) => line::seq_of(line).zip(line::unseal(line).map(|(_, crc)| crc)),
        None => Some((Seq(segment.header.first_seq.0.saturating_sub(1)), segment.header.prev_crc)),
    };
    if end == Some((Seq(next.header.first_seq.0.saturating_sub(1)), next.header.prev_crc)) {
        return Ok(());
    }
    Err(bad_header(disk, &next.name, next.header.first_seq, Flaw::Gap, Certain::Sealed))
}

/// The last record's line, without its line end; `None` if there is no record.
fn last_line(disk: &dyn Disk, segment: &Segment) -> std::io::Result<Option<Vec<u8>>> {
    let mut span = 64 * 1024;
    loop {
        let from = segment.end.saturating_sub(span).max(segment.records_at);
        let mut bytes = read_from(disk.open(&segment.name)?, from, segment.end)?;
        if bytes.pop().is_none() {
            return Ok(None);
        }
        if let Some(line_end) = bytes.iter().rposition(|byte| *byte == b'\n') {
            return Ok(Some(bytes.split_off(line_end + 1)));
        }
        if from == segment.records_at {
            return Ok(Some(bytes));
        }
        span *= 8;
    }
}
