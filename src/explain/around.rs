//! What goes on around a story: who stands in line for which template, and what is in its lane.
//!
//! As much as State has of it, kept from events alone; it begins empty, wherever the log begins.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::chapter::close;
use super::story::Step;
use super::words::words;
use crate::domain::event::{Cause, Envelope, Event};
use crate::domain::ids::{AllocationId, CloneId, InstanceId, Vmid};
use crate::domain::time::Timestamp;

/// Steps kept of a clone before it is a container: its place in the queue, and refusals.
const MOST_STEPS: usize = 20;

/// Lines and lanes.
#[derive(Debug, Default)]
pub(super) struct Around {
    lines: BTreeMap<Vmid, Vec<(AllocationId, InstanceId)>>,
    /// Who is being handed a container, in case it must wait again.
    handed: BTreeMap<AllocationId, InstanceId>,
    lane: BTreeMap<CloneId, Coming>,
    made: BTreeMap<Vmid, u64>,
}

/// A clone that is not yet a container.
#[derive(Debug)]
struct Coming {
    template: Vmid,
    vmid: Option<Vmid>,
    steps: Vec<Step>,
    /// Since when it is refused.
    refused: Option<Timestamp>,
    /// How long it was, in all.
    retries_ms: Option<u64>,
}

impl Step {
    /// An event as a step, if it has words.
    pub(super) fn of(envelope: &Envelope) -> Option<Self> {
        let request_id = match &envelope.cause {
            Some(Cause::Request(id)) => Some(id.clone()),
            Some(Cause::Event(_)) | None => None,
        };
        Some(Self {
            seq: envelope.seq,
            at: envelope.at,
            after_ms: 0,
            kind: envelope.event.type_name(),
            words: words(&envelope.event)?,
            request_id,
        })
    }
}

impl Around {
    /// Who stands in line, first one first.
    pub(super) fn line(&self, template: Vmid) -> Vec<InstanceId> {
        let line = self.lines.get(&template).map(Vec::as_slice).unwrap_or_default();
        line.iter().map(|(_, instance_id)| instance_id.clone()).collect()
    }

    /// The container that is being cloned, and how many clones are queued.
    pub(super) fn lane(&self, template: Vmid) -> (Option<Vmid>, usize) {
        let its = || self.lane.values().filter(|clone| clone.template == template);
        (its().find_map(|clone| clone.vmid), its().filter(|clone| clone.vmid.is_none()).count())
    }

    /// What is known of a clone up to now.
    pub(super) fn steps(&self, clone_id: CloneId) -> &[Step] {
        self.lane.get(&clone_id).map(|clone| clone.steps.as_slice()).unwrap_or_default()
    }

    /// Whether PVE refused a clone of a template, and was not asked again.
    pub(super) fn is_refused(&self, template: Vmid) -> bool {
        self.lane.values().any(|clone| clone.template == template && clone.refused.is_some())
    }

    /// Milliseconds up to now between refusals of a clone and the tries after them.
    pub(super) fn retries_ms(&self, clone_id: CloneId, now: Timestamp) -> Option<u64> {
        let Coming { refused, retries_ms, .. } = self.lane.get(&clone_id)?;
        let (mut sum, mut since) = (*retries_ms, *refused);
        close(&mut sum, &mut since, now);
        sum
    }

    /// Milliseconds that the clone of a container took.
    pub(super) fn made_in_ms(&self, vmid: Vmid) -> Option<u64> {
        self.made.get(&vmid).copied()
    }

    /// Goes on by one event.
    pub(super) fn hear(&mut self, envelope: &Envelope) {
        match &envelope.event {
            Event::AllocationQueued(it) => {
                let line = self.lines.entry(it.template).or_default();
                line.push((it.allocation_id, it.instance_id.clone()));
            }
            Event::AllocationRequeued(it) => {
                if let Some(instance_id) = self.handed.remove(&it.allocation_id) {
                    self.lines.entry(it.template).or_default().insert(0, (it.allocation_id, instance_id));
                }
            }
            Event::Allocated(it) => {
                self.leave_line(it.template, it.allocation_id);
                self.handed.insert(it.allocation_id, it.instance_id.clone());
            }
            Event::AllocationCompleted(it) => self.ended(it.template, it.allocation_id),
            Event::AllocationCancelled(it) => self.ended(it.template, it.allocation_id),
            Event::AllocationFailed(it) => self.ended(it.template, it.allocation_id),
            Event::CloneQueued(it) => {
                let (_, before) = self.lane(it.template);
                let mut steps: Vec<_> = Step::of(envelope).into_iter().collect();
                if let (1.., Some(step)) = (before, steps.first_mut()) {
                    // Writing to a String does not fail.
                    let _ = write!(step.words, " In the queue before it: {before}.");
                }
                self.lane.insert(it.clone_id, Coming { steps, ..Coming::of(it.template) });
            }
            Event::CloneStarted(it) => {
                let clone = self.lane.entry(it.clone_id).or_insert_with(|| Coming::of(it.template));
                clone.vmid = Some(it.vmid);
                close(&mut clone.retries_ms, &mut clone.refused, envelope.at);
                clone.note(envelope);
            }
            Event::CloneRetryScheduled(it) => {
                if let Some(clone) = self.lane.get_mut(&it.clone_id) {
                    (clone.vmid, clone.refused) = (None, Some(envelope.at));
                    clone.note(envelope);
                }
            }
            Event::CloneSucceeded(it) => {
                self.lane.remove(&it.clone_id);
                self.made.insert(it.vmid, it.duration_ms);
            }
            Event::CloneFailed(it) => drop(self.lane.remove(&it.clone_id)),
            Event::CloneCancelled(it) => drop(self.lane.remove(&it.clone_id)),
            Event::Removed(it) => drop(self.made.remove(&it.vmid)),
            Event::ContainerLost(it) => drop(self.made.remove(&it.vmid)),
            _ => {}
        }
    }

    fn leave_line(&mut self, template: Vmid, allocation_id: AllocationId) {
        if let Some(line) = self.lines.get_mut(&template) {
            line.retain(|(waiting, _)| *waiting != allocation_id);
        }
    }

    fn ended(&mut self, template: Vmid, allocation_id: AllocationId) {
        self.leave_line(template, allocation_id);
        self.handed.remove(&allocation_id);
    }
}

impl Coming {
    fn of(template: Vmid) -> Self {
        Self { template, vmid: None, steps: Vec::new(), refused: None, retries_ms: None }
    }

    fn note(&mut self, envelope: &Envelope) {
        if self.steps.len() < MOST_STEPS {
            self.steps.extend(Step::of(envelope));
        }
    }
}
