//! What the events add up to: a pure fold, so that its counters are the same whenever and however often it is done.
//!
//! It knows nothing of an exporter. Every series that can be foreseen is there from the start, at 0: a series
//! that appears with its first failure hides that failure from `increase`.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::names::{self, Kind, family};
use crate::domain::event::{CancelReason, Envelope, Event, FailureCode, LeaveReason};
use crate::domain::fault::FaultKind;
use crate::domain::ids::{AllocationId, CloneId, Seq, Vmid};
use crate::domain::time::Timestamp;

/// Templates that have series of their own; those that come later share `other`.
pub const MOST_TEMPLATES: usize = 50;

/// The label of what goes beyond a limit.
pub const OTHER: &str = "other";

/// One series: a metric with values for its labels, in the order in which the metric names them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub struct Series {
    /// The metric.
    pub name: Cow<'static, str>,
    /// Values of its labels.
    pub values: Vec<Cow<'static, str>>,
}

impl From<String> for Series {
    fn from(text: String) -> Self {
        let mut parts = text.split('|').map(|part| Cow::Owned(part.to_owned()));
        Self { name: parts.next().unwrap_or_default(), values: parts.collect() }
    }
}

impl From<Series> for String {
    fn from(series: Series) -> Self {
        std::iter::once(series.name).chain(series.values).collect::<Vec<_>>().join("|")
    }
}

/// Durations by the bucket of their metric; the last is for those above every bound.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread(pub Vec<Cell>);

/// The durations in one bucket alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// How many they are.
    pub count: u64,
    /// Their sum. With the count it gives a mean that lies in the bucket.
    pub sum_ms: u64,
}

/// What the events up to `head` add up to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// The last event that is in here.
    pub head: Seq,
    /// Counters.
    pub counters: BTreeMap<Series, u64>,
    /// Histograms.
    pub spreads: BTreeMap<Series, Spread>,
    templates: BTreeSet<Vmid>,
    /// Allocations that have not ended: since when, and whether a ready container was there.
    allocations: BTreeMap<AllocationId, (Timestamp, bool)>,
    /// Clones that were not started yet: since when.
    clones: BTreeMap<CloneId, Timestamp>,
}

impl Default for Tally {
    fn default() -> Self {
        let mut tally = Self {
            head: Seq(0),
            counters: BTreeMap::new(),
            spreads: BTreeMap::new(),
            templates: BTreeSet::new(),
            allocations: BTreeMap::new(),
            clones: BTreeMap::new(),
        };
        for name in Event::TYPES {
            tally.count(names::EVENTS_TOTAL, vec![(*name).into()], 0);
        }
        for reason in words::<FaultKind>() {
            tally.count(names::CLONE_FAILURES, vec![reason.clone().into()], 0);
            tally.count(names::CLONE_RETRIES, vec![reason.into()], 0);
        }
        for reason in words::<CancelReason>() {
            tally.count(names::ALLOCATIONS_CANCELLED, vec![reason.into()], 0);
        }
        for reason in words::<LeaveReason>() {
            tally.count(names::CONTAINERS_REMOVED, vec![reason.into()], 0);
        }
        tally.spread(names::START_DURATION, vec![]);
        tally.spread(names::CLONE_WAIT, vec![]);
        tally
    }
}

impl Tally {
    /// Nothing yet; the first event will be the one behind `head`.
    pub fn beginning_behind(head: Seq) -> Self {
        Self { head, ..Self::default() }
    }

    /// The same with all series of this build: the one that began to count may have known fewer.
    #[must_use]
    pub fn completed(mut self) -> Self {
        let Self { counters, spreads, .. } = Self::default();
        for (series, nothing) in counters {
            self.counters.entry(series).or_insert(nothing);
        }
        for (series, nothing) in spreads {
            self.spreads.entry(series).or_insert(nothing);
        }
        for template in std::mem::take(&mut self.templates) {
            self.meet(template);
        }
        self
    }

    /// Takes one event in.
    pub fn apply(&mut self, envelope: &Envelope) {
        let Envelope { seq, at, event, .. } = envelope;
        self.head = *seq;
        self.count(names::EVENTS_TOTAL, vec![event.type_name().into()], 1);
        if let Some(template) = event.template() {
            self.meet(template);
        }
        if event.allocation_id().is_some() {
            self.apply_to_allocations(*at, event);
        }
        self.apply_to_clones(*at, event);
        self.apply_to_containers(event);
    }

    /// Sees to it that the template has all its series.
    pub fn meet(&mut self, template: Vmid) {
        if self.templates.contains(&template) || self.templates.len() >= MOST_TEMPLATES {
            return;
        }
        self.templates.insert(template);
        for source in ["pool", "queue"] {
            for result in ["completed", "failed"] {
                let values = self.labels(template, &[source, result]);
                self.spread(names::ALLOCATION_DURATION, values);
            }
        }
        for reason in words::<FailureCode>() {
            let values = self.labels(template, &[&reason]);
            self.count(names::ALLOCATION_FAILURES, values, 0);
        }
        for result in ["succeeded", "failed", "cancelled", "retried"] {
            let values = self.labels(template, &[result]);
            self.count(names::CLONES, values, 0);
        }
        for held in ["true", "false"] {
            let values = self.labels(template, &[held]);
            self.count(names::CONTAINERS_LOST, values, 0);
        }
        let values = self.labels(template, &[]);
        self.count(names::UNUSABLE, values.clone(), 0);
        self.spread(names::CLONE_DURATION, values);
    }

    /// The template's label: its own, or `other` if it came too late.
    pub fn label(&self, template: Vmid) -> Cow<'static, str> {
        if self.templates.contains(&template) { template.to_string().into() } else { OTHER.into() }
    }

    fn apply_to_allocations(&mut self, at: Timestamp, event: &Event) {
        match event {
            Event::AllocationQueued(e) => {
                self.allocations.entry(e.allocation_id).or_insert((at, false));
            }
            Event::Allocated(e) => {
                self.allocations.entry(e.allocation_id).or_insert((at, e.from_pool));
            }
            Event::AllocationRequeued(e) => {
                let values = self.labels(e.template, &[]);
                self.count(names::UNUSABLE, values, 1);
                // Whoever waits on gets the next container from the line.
                if let Some((_, from_pool)) = self.allocations.get_mut(&e.allocation_id) {
                    *from_pool = false;
                }
            }
            // One that is asked for again is answered again; it was counted the first time.
            Event::AllocationCompleted(e) if self.allocations.remove(&e.allocation_id).is_some() => {
                self.allocation_ended(e.template, e.from_pool, "completed", e.duration_ms);
            }
            Event::AllocationFailed(e) => {
                let values = self.labels(e.template, &[&word(e.code)]);
                self.count(names::ALLOCATION_FAILURES, values, 1);
                if let Some((since, from_pool)) = self.allocations.remove(&e.allocation_id) {
                    // The last container that was tried; those before it were told by `AllocationRequeued`.
                    if e.code == FailureCode::ContainersUnusable {
                        let values = self.labels(e.template, &[]);
                        self.count(names::UNUSABLE, values, 1);
                    }
                    self.allocation_ended(e.template, from_pool, "failed", millis(at, since));
                }
            }
            Event::AllocationCancelled(e) => {
                self.allocations.remove(&e.allocation_id);
                self.count(names::ALLOCATIONS_CANCELLED, vec![word(e.reason).into()], 1);
            }
            Event::ContainerStarted(e) => {
                if let Some(duration_ms) = e.duration_ms {
                    self.record(names::START_DURATION, vec![], duration_ms);
                }
            }
            _ => {}
        }
    }

    fn apply_to_clones(&mut self, at: Timestamp, event: &Event) {
        let (template, clone_id, result) = match event {
            Event::CloneQueued(e) => {
                self.clones.insert(e.clone_id, at);
                return;
            }
            Event::CloneStarted(e) => {
                if let Some(since) = self.clones.remove(&e.clone_id) {
                    self.record(names::CLONE_WAIT, vec![], millis(at, since));
                }
                return;
            }
            Event::CloneRetryScheduled(e) => {
                self.count(names::CLONE_RETRIES, vec![e.fault.kind.code().into()], 1);
                (e.template, e.clone_id, "retried")
            }
            Event::CloneSucceeded(e) => {
                let values = self.labels(e.template, &[]);
                self.record(names::CLONE_DURATION, values, e.duration_ms);
                (e.template, e.clone_id, "succeeded")
            }
            Event::CloneFailed(e) => {
                self.count(names::CLONE_FAILURES, vec![e.fault.kind.code().into()], 1);
                (e.template, e.clone_id, "failed")
            }
            Event::CloneCancelled(e) => (e.template, e.clone_id, "cancelled"),
            _ => return,
        };
        self.clones.remove(&clone_id);
        let values = self.labels(template, &[result]);
        self.count(names::CLONES, values, 1);
    }

    fn apply_to_containers(&mut self, event: &Event) {
        match event {
            Event::ContainerLost(e) => {
                let held = if e.instance_id.is_some() { "true" } else { "false" };
                let values = self.labels(e.template, &[held]);
                self.count(names::CONTAINERS_LOST, values, 1);
            }
            Event::RemovalRequested(e) => {
                self.count(names::CONTAINERS_REMOVED, vec![word(e.by).into()], 1);
            }
            _ => {}
        }
    }

    fn allocation_ended(&mut self, template: Vmid, from_pool: bool, result: &str, duration_ms: u64) {
        let source = if from_pool { "pool" } else { "queue" };
        let values = self.labels(template, &[source, result]);
        self.record(names::ALLOCATION_DURATION, values, duration_ms);
    }

    fn labels(&self, template: Vmid, rest: &[&str]) -> Vec<Cow<'static, str>> {
        let rest = rest.iter().map(|value| Cow::Owned((*value).to_owned()));
        std::iter::once(self.label(template)).chain(rest).collect()
    }

    fn count(&mut self, name: &'static str, values: Vec<Cow<'static, str>>, by: u64) {
        *self.counters.entry(Series { name: name.into(), values }).or_default() += by;
    }

    fn record(&mut self, name: &'static str, values: Vec<Cow<'static, str>>, duration_ms: u64) {
        let bounds = bounds(name);
        let cell = bounds.partition_point(|bound| *bound < duration_ms as f64 / 1000.0);
        if let Some(cell) = self.spread(name, values).0.get_mut(cell) {
            cell.count += 1;
            cell.sum_ms += duration_ms;
        }
    }

    fn spread(&mut self, name: &'static str, values: Vec<Cow<'static, str>>) -> &mut Spread {
        let empty = || Spread(vec![Cell::default(); bounds(name).len() + 1]);
        self.spreads.entry(Series { name: name.into(), values }).or_insert_with(empty)
    }
}

/// The upper bounds of a histogram's buckets.
pub(super) fn bounds(name: &str) -> &'static [f64] {
    match family(name).map(|family| family.kind) {
        Some(Kind::Histogram(bounds)) => bounds,
        Some(Kind::Counter | Kind::Gauge) | None => &[],
    }
}

fn millis(at: Timestamp, since: Timestamp) -> u64 {
    u64::try_from(at.since(since).as_millis()).unwrap_or(u64::MAX)
}

/// Every word of an enum of ours, by its schema: a list of them here would be forgotten.
pub(super) fn words<T: JsonSchema>() -> Vec<String> {
    let schema = schemars::schema_for!(T).to_value();
    let list = |key: &str| schema[key].as_array().cloned().unwrap_or_default();
    let described = list("oneOf").into_iter().map(|word| word["const"].clone());
    described.chain(list("enum")).filter_map(|word| word.as_str().map(str::to_owned)).collect()
}

/// The word of one.
fn word(value: impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}
