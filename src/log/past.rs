//! State as it was: the fold over the log up to an event or an instant. Nothing is changed, and the log may be
//! another process's at the time.
//!
//! It begins at the newest snapshot that fits and is not behind the place, else at the first event. Where both
//! are missing, because the log's beginning is pruned, it says so instead of showing a state that never was.

use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::str::FromStr;

use super::disk::{Directory, Disk};
use super::error::OpenError;
use super::layout::{self, Layout};
use super::open::start_from;
use super::reader::Reader;
use super::snapshot::{Projection, Snapshot};
use super::torn;
use super::walk::{self, Chain};
use crate::domain::event::Envelope;
use crate::domain::ids::Seq;
use crate::domain::time::Timestamp;

/// A place in the story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Right behind an event.
    Event(Seq),
    /// An instant: behind the last event that happened up to it.
    Instant(Timestamp),
}

/// A text that is no place in the story.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the number of an event from 1, or an instant such as 2026-11-24T09:00:00Z")]
pub struct InvalidMoment;

impl FromStr for Moment {
    type Err = InvalidMoment;

    fn from_str(text: &str) -> Result<Self, InvalidMoment> {
        match text.parse() {
            Ok(0) => Err(InvalidMoment),
            Ok(number) => Ok(Self::Event(Seq(number))),
            Err(_) => Timestamp::parse(text).map(Self::Instant).ok_or(InvalidMoment),
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(seq) => write!(f, "event {seq}"),
            Self::Instant(at) => at.fmt(f),
        }
    }
}

/// What was true at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past<P> {
    /// The fold.
    pub projection: P,
    /// The last event in it.
    pub head: Seq,
    /// The instant that was asked for, or that event's own.
    pub at: Timestamp,
}

/// Why a moment cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum PastError {
    /// What led to it is no longer kept, or was before the log.
    #[error("{moment} is before what the log can show; the first that it can is event {oldest}")]
    Pruned {
        /// What was asked for.
        moment: Moment,
        /// The first event behind which State can be shown.
        oldest: Seq,
    },
    /// It has not happened.
    #[error("{moment} has not happened yet; the log is at event {head}, and it is {now}")]
    Future {
        /// What was asked for.
        moment: Moment,
        /// The last event.
        head: Seq,
        /// The clock.
        now: Timestamp,
    },
    /// Nobody waits for it any more.
    #[error("reading the log was given up")]
    GivenUp,
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] OpenError),
}

/// What bounds a look back.
pub struct Look<'a> {
    /// What to show.
    pub moment: Moment,
    /// The clock: what is behind it is the future.
    pub now: Timestamp,
    /// The last event that is surely durable; whoever reads beside the writer does not know and says the last.
    pub head: Seq,
    /// The build that reads; snapshots of others are left aside where they can be.
    pub build: &'a str,
    /// Asked again and again: true ends the reading.
    pub given_up: &'a dyn Fn() -> bool,
}

/// The state at a moment, from the log in `dir`.
pub fn replay_at<P: Projection>(dir: &Path, look: &Look<'_>) -> Result<Past<P>, PastError> {
    replay_at_on(&Directory::new(dir), look)
}

/// [`replay_at`] on any disk.
pub(super) fn replay_at_on<P: Projection>(disk: &dyn Disk, look: &Look<'_>) -> Result<Past<P>, PastError> {
    let layout = layout::read(disk)?;
    let Some(first) = layout.segments.first() else { return Err(OpenError::NoLog(disk.path("")).into()) };
    let oldest = first.header.first_seq;
    let log = Story { disk, layout: &layout, look, oldest };
    match look.moment {
        Moment::Event(seq) if seq > look.head => Err(log.future(look.head)),
        Moment::Event(seq) => log.fold(seq),
        Moment::Instant(at) if at > look.now => {
            Err(log.future(log.last_until(look.now)?.unwrap_or_default()))
        }
        Moment::Instant(at) => {
            let seq = log.last_until(at)?.ok_or_else(|| log.pruned())?;
            Ok(Past { at, ..log.fold(seq)? })
        }
    }
}

impl Reader {
    /// The state at a moment, without anything that is not durable. It reads files: not for an async thread.
    pub fn replay_at<P: Projection>(
        &self,
        moment: Moment,
        now: Timestamp,
        build: &str,
        given_up: &dyn Fn() -> bool,
    ) -> Result<Past<P>, PastError> {
        replay_at_on(self.disk(), &Look { moment, now, head: self.head(), build, given_up })
    }
}

/// A log that is looked back on.
struct Story<'a> {
    disk: &'a dyn Disk,
    layout: &'a Layout,
    look: &'a Look<'a>,
    oldest: Seq,
}

impl Story<'_> {
    fn future(&self, head: Seq) -> PastError {
        PastError::Future { moment: self.look.moment, head, now: self.look.now }
    }

    /// Where the beginning is pruned, the first state is that of a snapshot.
    fn pruned(&self) -> PastError {
        let snapshot = self.layout.snapshots.iter().copied().find(|seq| seq.next() >= self.oldest);
        let oldest = snapshot.filter(|_| self.oldest > Seq(1)).unwrap_or(self.oldest);
        PastError::Pruned { moment: self.look.moment, oldest }
    }

    /// The last event that happened up to `at`. Segments are asked from the newest on.
    fn last_until(&self, at: Timestamp) -> Result<Option<Seq>, PastError> {
        for from in (0..self.layout.segments.len()).rev() {
            let mut last = None;
            self.walk(from, Seq(0), &mut |envelope, _| {
                if envelope.at > at {
                    return ControlFlow::Break(());
                }
                last = Some(envelope.seq);
                ControlFlow::Continue(())
            })?;
            if last.is_some() {
                return Ok(last);
            }
        }
        // The instant of a snapshot before a pruned log is known to nobody any more.
        Ok(None)
    }

    /// Folds up to `upto`.
    fn fold<P: Projection>(&self, upto: Seq) -> Result<Past<P>, PastError> {
        for &seq in self.layout.snapshots.iter().rev().filter(|seq| **seq <= upto) {
            let Ok(snapshot) = Snapshot::read(self.disk, seq) else { continue };
            let Ok(projection) = start_from::<P>(&snapshot, self.oldest, self.look.build) else { continue };
            if let Some(past) = self.run(upto, projection, Some(&snapshot))? {
                return Ok(past);
            }
        }
        if self.oldest > Seq(1) {
            return Err(self.pruned());
        }
        self.run(upto, P::default(), None)?.ok_or_else(|| self.pruned())
    }

    /// One fold; `None` if the snapshot is not of this log.
    fn run<P: Projection>(
        &self,
        upto: Seq,
        mut projection: P,
        snapshot: Option<&Snapshot>,
    ) -> Result<Option<Past<P>>, PastError> {
        let segments = &self.layout.segments;
        let start = projection.head();
        let from = segments.partition_point(|segment| segment.header.first_seq <= start).saturating_sub(1);
        let fits_at =
            |seq, crc| snapshot.is_none_or(|snapshot| (snapshot.seq, snapshot.record_crc) == (seq, crc));
        // Where the snapshot stands right before the first segment, its event is not there to be asked.
        let before = segments.get(from).map(Chain::before);
        let mut fits = before.is_some_and(|chain| fits_at(chain.head, chain.crc));
        let mut at = Timestamp::default();
        self.walk(from, start, &mut |envelope, crc| {
            fits |= envelope.seq == start && fits_at(start, crc);
            if !fits || envelope.seq > upto {
                return ControlFlow::Break(());
            }
            at = envelope.at;
            if envelope.seq > start {
                projection.apply(&envelope);
            }
            if envelope.seq == upto { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        match projection.head() {
            _ if !fits => Ok(None),
            head if head == upto => Ok(Some(Past { projection, head, at })),
            head => Err(self.future(head)),
        }
    }

    /// Gives the events of whole batches in the segments from number `from` on, with their checksums; none
    /// before `first`, none that is not durable. Damage is an error; what is being written is left out.
    fn walk(
        &self,
        from: usize,
        first: Seq,
        each: &mut dyn FnMut(Envelope, u32) -> ControlFlow<()>,
    ) -> Result<(), PastError> {
        let Some(segment) = self.layout.segments.get(from) else { return Ok(()) };
        let mut chain = Chain::before(segment);
        let mut batch = Vec::new();
        let mut given_up = false;
        let ended = walk::walk(self.disk, self.layout, from, &mut chain, &mut |found| {
            let (seq, whole, crc) = (found.raw.seq, !found.raw.more, found.crc);
            given_up = seq.0.is_multiple_of(1024) && (self.look.given_up)();
            if given_up || seq > self.look.head {
                return Ok(ControlFlow::Break(()));
            }
            if seq >= first {
                batch.push((found.decode(self.disk)?, crc));
            }
            let mut given = if whole { batch.drain(..) } else { batch.drain(..0) };
            Ok(given.try_for_each(|(envelope, crc)| each(envelope, crc)))
        })?;
        if given_up {
            return Err(PastError::GivenUp);
        }
        if let (ControlFlow::Continue(Some(flaw)), Some(last)) = (ended, self.layout.segments.last()) {
            torn::judge(self.disk, last, &chain, flaw)?;
        }
        Ok(())
    }
}
