//! What one stream of events has in memory, and which delivery is next. It knows no clock, no log, no HTTP.
//!
//! Events come in order and are put into lanes; a lane has at most one delivery under way. A lane whose event
//! failed is *held*: nothing of it stays in memory but a position, and when its time has come its events are
//! looked up in the log again. So memory is bounded by the window, whatever the number of failures. A lane
//! whose event was given up is *parked* in the same way, without a time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::domain::ids::{Lane, Seq};
use crate::domain::time::Timestamp;
use crate::log::Record;

/// Events in memory at once.
pub(super) const WINDOW: usize = 256;

/// One stream.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    /// Everything up to here was taken in.
    pub(super) read: Seq,
    open: BTreeMap<Lane, VecDeque<Arc<Record>>>,
    /// First events of open lanes that have no delivery under way.
    fronts: BTreeSet<(Seq, Lane)>,
    /// Events in memory.
    undone: BTreeMap<Seq, Timestamp>,
    held: BTreeMap<Lane, Waiting>,
    parked: BTreeMap<Lane, Behind>,
    busy: BTreeSet<Lane>,
}

/// A lane that waits for another try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    /// The first event of the lane at or behind this position is next.
    pub(super) from: Seq,
    /// Failed tries of it.
    pub(super) attempt: u32,
    /// When it is tried again.
    pub(super) retry_at: Timestamp,
    /// It is tried once before that, since the endpoint answers again.
    pub(super) early: bool,
    /// Later events of the lane that were met.
    pub(super) behind: u64,
    /// When the event that failed was decided, if this process has seen it.
    pub(super) at: Option<Timestamp>,
}

/// A parked lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Behind {
    /// The event that was given up.
    pub(super) seq: Seq,
    /// Later events of the lane that were met.
    pub(super) events: u64,
    /// Their number is not in the log yet.
    pub(super) changed: bool,
}

/// A delivery to make.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) lane: Lane,
    pub(super) what: What,
}

/// Which event it is of.
#[derive(Debug)]
pub(super) enum What {
    /// This one.
    Record(Arc<Record>),
    /// The first of the lane from here on, up to where everything was taken in.
    Find { from: Seq, upto: Seq },
}

impl Lanes {
    /// Nothing in memory; everything up to `read` was taken in before.
    pub(super) fn from(read: Seq) -> Self {
        Self { read, ..Self::default() }
    }

    /// Goes on with a held lane of before.
    pub(super) fn hold(&mut self, lane: Lane, waiting: Waiting) {
        self.held.insert(lane, waiting);
    }

    /// Goes on with a parked lane of before.
    pub(super) fn restore_parked(&mut self, lane: Lane, seq: Seq, events: u64) {
        self.parked.insert(lane, Behind { seq, events, changed: false });
    }

    /// How many more events may be taken in.
    pub(super) fn room(&self, max_held: usize) -> usize {
        if self.held.len() >= max_held { 0 } else { WINDOW.saturating_sub(self.undone.len()) }
    }

    /// Takes the next event in; one that is not wanted is done with.
    pub(super) fn take(&mut self, record: Arc<Record>, wanted: bool) {
        let seq = record.envelope.seq;
        self.read = seq;
        if !wanted {
            return;
        }
        let lane = Lane::of(&record.envelope.event);
        // What comes before the first undelivered event of a lane was done before a restart, or dropped.
        if let Some(waiting) = self.held.get_mut(&lane) {
            waiting.behind += u64::from(waiting.from < seq);
            return;
        }
        if let Some(behind) = self.parked.get_mut(&lane) {
            if behind.seq < seq {
                behind.events += 1;
                behind.changed = true;
            }
            return;
        }
        self.undone.insert(seq, record.envelope.at);
        let queue = self.open.entry(lane.clone()).or_default();
        queue.push_back(record);
        if queue.len() == 1 {
            self.fronts.insert((seq, lane));
        }
    }

    /// The delivery to begin next; held lanes first, since they have waited longest.
    pub(super) fn next(&mut self, now: Timestamp, new_lanes: bool) -> Option<Job> {
        let due = (self.held.iter())
            .filter(|(lane, waiting)| waiting.is_due(now, self.read) && !self.busy.contains(lane))
            .min_by_key(|(_, waiting)| waiting.from)
            .map(|(lane, waiting)| (lane.clone(), waiting.from));
        if let Some((lane, from)) = due {
            self.busy.insert(lane.clone());
            return Some(Job { lane, what: What::Find { from, upto: self.read } });
        }
        let (_, lane) = if new_lanes { self.fronts.pop_first()? } else { return None };
        let record = Arc::clone(self.open.get(&lane)?.front()?);
        self.busy.insert(lane.clone());
        Some(Job { lane, what: What::Record(record) })
    }

    /// When a held lane's time comes that could not be tried at `now`.
    pub(super) fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        self.held.values().map(|waiting| waiting.retry_at).filter(|at| *at > now).min()
    }

    /// Whether the lane is tried before its time, which counts for nothing if it fails.
    pub(super) fn is_early(&self, lane: &Lane, now: Timestamp) -> bool {
        self.held.get(lane).is_some_and(|waiting| waiting.is_early(now))
    }

    /// Tries so far of the lane's first event.
    pub(super) fn failed_tries(&self, lane: &Lane) -> u32 {
        self.held.get(lane).map_or(0, |waiting| waiting.attempt)
    }

    /// The lane's event is delivered, or given up without its lane waiting.
    pub(super) fn done(&mut self, lane: &Lane, seq: Seq) {
        self.busy.remove(lane);
        if let Some(queue) = self.open.get_mut(lane) {
            queue.pop_front();
            self.undone.remove(&seq);
            match queue.front().map(|next| next.envelope.seq) {
                Some(next) => {
                    self.fronts.insert((next, lane.clone()));
                }
                None => {
                    self.open.remove(lane);
                }
            }
        } else if let Some(waiting) = self.held.get_mut(lane) {
            waiting.from = seq.next();
            waiting.attempt = 0;
            waiting.retry_at = Timestamp::default();
            waiting.early = false;
            waiting.behind = waiting.behind.saturating_sub(1);
        }
    }

    /// Nothing came of the delivery: it is to be made again.
    pub(super) fn put_back(&mut self, lane: &Lane) {
        self.busy.remove(lane);
    }

    /// Whether lanes wait for their first delivery.
    pub(super) fn has_new(&self) -> bool {
        !self.fronts.is_empty()
    }

    /// A held lane has nothing more up to `upto`: it flows again, unless events came in meanwhile.
    pub(super) fn nothing_left(&mut self, lane: &Lane, upto: Seq) {
        self.busy.remove(lane);
        let Some(waiting) = self.held.get_mut(lane) else { return };
        if upto >= self.read {
            self.held.remove(lane);
        } else {
            waiting.from = waiting.from.max(upto.next());
        }
    }

    /// The lane's event failed and is tried again.
    pub(super) fn failed(&mut self, lane: &Lane, record: &Record, now: Timestamp, retry_at: Timestamp) {
        let behind = self.close(lane).unwrap_or(0);
        let (from, at) = (record.envelope.seq, Some(record.envelope.at));
        match self.held.get_mut(lane) {
            Some(waiting) if waiting.is_early(now) => waiting.early = false,
            Some(waiting) => {
                let (attempt, behind) = (waiting.attempt + 1, waiting.behind);
                *waiting = Waiting { from, attempt, retry_at, early: false, behind, at };
            }
            None => {
                let waiting = Waiting { from, attempt: 1, retry_at, early: false, behind, at };
                self.held.insert(lane.clone(), waiting);
            }
        }
    }

    /// The lane's event is given up, and the lane waits behind it.
    pub(super) fn park(&mut self, lane: &Lane, seq: Seq) {
        let behind = self.close(lane).or_else(|| self.held.get(lane).map(|waiting| waiting.behind));
        self.held.remove(lane);
        let events = behind.unwrap_or(0);
        self.parked.insert(lane.clone(), Behind { seq, events, changed: events > 0 });
    }

    /// A parked lane goes on at `from`.
    pub(super) fn release(&mut self, lane: &Lane, from: Seq, now: Timestamp) {
        let behind = self.parked.remove(lane).map_or(0, |behind| behind.events);
        let waiting = Waiting { from, attempt: 0, retry_at: now, early: false, behind, at: None };
        self.held.insert(lane.clone(), waiting);
    }

    /// Tries everything that is held once more before its time.
    pub(super) fn bring_forward(&mut self) {
        self.held.values_mut().for_each(|waiting| waiting.early = true);
    }

    /// Everything up to here is done, held or parked.
    pub(super) fn cursor(&self) -> Seq {
        self.undone.first_key_value().map_or(self.read, |(seq, _)| Seq(seq.0 - 1))
    }

    /// Everything up to here is done, held lanes too.
    pub(super) fn done_up_to(&self) -> Seq {
        let held = self.held.values().map(|waiting| Seq(waiting.from.0.saturating_sub(1))).min();
        held.map_or(self.cursor(), |held| held.min(self.cursor()))
    }

    /// Deliveries under way.
    pub(super) fn busy(&self) -> usize {
        self.busy.len()
    }

    /// Lanes that wait for another try.
    pub(super) fn held(&self) -> &BTreeMap<Lane, Waiting> {
        &self.held
    }

    /// Lanes that wait for somebody.
    pub(super) fn parked(&self) -> &BTreeMap<Lane, Behind> {
        &self.parked
    }

    /// The numbers behind parked events are in the log.
    pub(super) fn behind_noted(&mut self) {
        self.parked.values_mut().for_each(|behind| behind.changed = false);
    }

    /// Events known to be undelivered and not parked, and when the oldest of them was decided.
    pub(super) fn pending(&self) -> (u64, Option<Timestamp>) {
        let held: u64 = self.held.values().map(|waiting| waiting.behind + 1).sum();
        let oldest = self.held.values().filter_map(|waiting| waiting.at).chain(self.undone.values().copied());
        (held + self.undone.len() as u64, oldest.min())
    }

    /// Nothing is left to do with what was taken in.
    pub(super) fn is_idle(&self) -> bool {
        self.undone.is_empty() && self.held.is_empty() && self.busy.is_empty()
    }

    /// Takes an open lane out of memory: how many events were behind its first.
    fn close(&mut self, lane: &Lane) -> Option<u64> {
        self.busy.remove(lane);
        let queue = self.open.remove(lane)?;
        for record in &queue {
            self.undone.remove(&record.envelope.seq);
        }
        Some((queue.len() as u64).saturating_sub(1))
    }
}

impl Waiting {
    /// It is tried before its time.
    fn is_early(&self, now: Timestamp) -> bool {
        self.early && self.retry_at > now
    }

    /// Its time has come, and everything before it was taken in.
    fn is_due(&self, now: Timestamp, read: Seq) -> bool {
        (self.early || self.retry_at <= now) && self.from <= read.next()
    }
}
