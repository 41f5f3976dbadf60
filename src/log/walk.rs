//! Reads a segment record by record and checks everything: line ends, checksums, places, batch ends.
//!
//! It stops at the first flaw and judges nothing; [`super::torn`] says what a flaw means.

use std::io::{self, BufRead, BufReader, Read};
use std::ops::ControlFlow;

use super::disk::{Disk, DiskFile, FileReader};
use super::error::{Certain, Damage, Flaw, OpenError};
use super::layout::{Layout, Segment, io_error};
use super::line::{self, Raw};
use crate::domain::event::Envelope;
use crate::domain::ids::Seq;

/// The lines of a file.
pub(super) struct Lines {
    reader: BufReader<io::Take<FileReader>>,
    offset: u64,
    line: Vec<u8>,
}

impl Lines {
    /// Begins at `offset`, where a line begins; nothing behind `end` is looked at.
    pub(super) fn new(file: Box<dyn DiskFile>, offset: u64, end: u64, chunk: usize) -> Self {
        let bytes = FileReader::new(file, offset).take(end.saturating_sub(offset));
        Self { reader: BufReader::with_capacity(chunk, bytes), offset, line: Vec::new() }
    }

    /// Where the next line begins, and its bytes with the line end, if it has one.
    pub(super) fn next(&mut self) -> io::Result<Option<(u64, &[u8])>> {
        self.line.clear();
        let read = self.reader.read_until(b'\n', &mut self.line)? as u64;
        let begin = self.offset;
        self.offset += read;
        Ok((read > 0).then_some((begin, &self.line)))
    }
}

/// What is known behind the last whole batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    /// Its last event.
    pub(super) head: Seq,
    /// That event's checksum, which seeds the next.
    pub(super) crc: u32,
    /// Where it ends in the segment that is being read.
    pub(super) end: u64,
    /// Checksum of the bytes of that segment's records up to `end`.
    pub(super) content: u32,
    /// Whether that event is ServiceStopped.
    pub(super) stopped: bool,
}

impl Chain {
    /// Before the first record of `segment`.
    pub(super) fn before(segment: &Segment) -> Self {
        Self {
            head: Seq(segment.header.first_seq.0.saturating_sub(1)),
            crc: segment.header.prev_crc,
            end: segment.records_at,
            content: 0,
            stopped: false,
        }
    }
}

/// Where reading had to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Break {
    /// Where the bad line begins.
    pub(super) offset: u64,
    /// Its number, from 1.
    pub(super) line: u64,
    /// The event that should stand there.
    pub(super) seq: Seq,
    /// What is wrong.
    pub(super) flaw: Flaw,
}

impl Break {
    /// The refusal that this is.
    pub(super) fn damage(self, disk: &dyn Disk, segment: &Segment, certain: Certain) -> OpenError {
        let Self { offset, line, seq, flaw } = self;
        OpenError::Damaged(Box::new(Damage {
            file: disk.path(&segment.name),
            offset,
            line,
            seq,
            flaw,
            certain,
        }))
    }
}

/// A record whose line is right.
pub(super) struct Found<'a> {
    /// The record.
    pub(super) raw: Raw<'a>,
    /// Its checksum.
    pub(super) crc: u32,
    segment: &'a Segment,
    offset: u64,
}

impl Found<'_> {
    /// Reads the payload, or says which build wrote it.
    pub(super) fn decode(self, disk: &dyn Disk) -> Result<Envelope, OpenError> {
        let seq = self.raw.seq;
        self.raw.decode().map_err(|source| OpenError::Unreadable {
            file: disk.path(&self.segment.name),
            offset: self.offset,
            seq,
            build: self.segment.header.build.clone(),
            source,
        })
    }
}

/// Takes the records; they count only when their batch is whole, that is when one without `more` came.
pub(super) type Sink<'a> = &'a mut dyn FnMut(Found<'_>) -> Result<ControlFlow<()>, OpenError>;

/// Reads one segment; `chain` moves to the last whole batch. `Ok(Some(_))` is the flaw that ended it.
pub(super) fn walk_segment(
    disk: &dyn Disk,
    segment: &Segment,
    chain: &mut Chain,
    sink: Sink<'_>,
) -> Result<ControlFlow<(), Option<Break>>, OpenError> {
    let read_error = |source| io_error(disk, "read", &segment.name, source);
    let file = disk.open(&segment.name).map_err(read_error)?;
    let mut lines = Lines::new(file, segment.records_at, segment.end, 256 * 1024);
    *chain = Chain { end: segment.records_at, content: 0, ..chain.clone() };
    let mut here = chain.clone();
    let mut number = 1;
    while let Some((offset, line)) = lines.next().map_err(read_error)? {
        number += 1;
        let seq = here.head.next();
        let (raw, crc) = match check(line, seq, here.crc) {
            Ok(record) => record,
            Err(flaw) => return Ok(ControlFlow::Continue(Some(Break { offset, line: number, seq, flaw }))),
        };
        let ends_batch = !raw.more;
        here = Chain {
            head: seq,
            crc,
            end: offset + line.len() as u64,
            content: crc32c::crc32c_append(here.content, line),
            stopped: raw.type_name == "ServiceStopped",
        };
        if sink(Found { raw, crc, segment, offset })?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        if ends_batch {
            chain.clone_from(&here);
        }
    }
    let flaw = match () {
        () if here.head != chain.head => Some(Flaw::BatchOpen),
        () if here.head < segment.header.synced => Some(Flaw::Missing),
        () => None,
    };
    let at_end = |flaw| Break { offset: here.end, line: number + 1, seq: here.head.next(), flaw };
    Ok(ControlFlow::Continue(flaw.map(at_end)))
}

/// Reads all segments from number `from` on. The flaw that is given back is in the last one; any other is an
/// error. `ControlFlow::Break` if the sink ended it.
pub(super) fn walk(
    disk: &dyn Disk,
    layout: &Layout,
    from: usize,
    chain: &mut Chain,
    sink: Sink<'_>,
) -> Result<ControlFlow<(), Option<Break>>, OpenError> {
    let count = layout.segments.len();
    for (at, segment) in layout.segments.iter().enumerate().skip(from) {
        let header = &segment.header;
        if (header.first_seq, header.prev_crc) != (chain.head.next(), chain.crc) {
            let gap = Break { offset: 0, line: 1, seq: chain.head.next(), flaw: Flaw::Gap };
            return Err(gap.damage(disk, segment, Certain::Sealed));
        }
        match walk_segment(disk, segment, chain, sink)? {
            ControlFlow::Break(()) => return Ok(ControlFlow::Break(())),
            ControlFlow::Continue(None) => {}
            ControlFlow::Continue(flaw) if at + 1 == count && layout.headless.is_none() => {
                return Ok(ControlFlow::Continue(flaw));
            }
            ControlFlow::Continue(Some(flaw)) => return Err(flaw.damage(disk, segment, Certain::Sealed)),
        }
    }
    Ok(ControlFlow::Continue(None))
}

/// Checks one line with its line end against what must stand there.
pub(super) fn check(line: &[u8], seq: Seq, seed: u32) -> Result<(Raw<'_>, u32), Flaw> {
    let line = line.strip_suffix(b"\n").ok_or(Flaw::NoLineEnd)?;
    let crc = line::checked(line, seed)?;
    let raw = Raw::parse(line)?;
    if raw.seq == seq { Ok((raw, crc)) } else { Err(Flaw::Sequence(raw.seq)) }
}
