//! What becomes of requests for a container.

use crate::domain::event::{
    Allocated, AllocationCancelled, AllocationCompleted, AllocationFailed, AllocationQueued,
    AllocationRequeued, AllocationResumed,
};
use crate::domain::ids::{AllocationId, Vmid};
use crate::domain::state::{Container, Failure, HandOut, Holding, Phase, Place, State, Waiting};

impl State {
    pub(super) fn allocation_queued(&mut self, e: &AllocationQueued) {
        let waiting = Waiting {
            instance_id: e.instance_id.clone(),
            template: e.template,
            start: e.start,
            ttl_seconds: e.ttl_seconds,
            metadata: e.metadata.clone(),
            asked_at: self.at,
            deadline: e.deadline,
            attempt: 0,
            spoiled: None,
        };
        self.index.instances.insert(e.instance_id.clone(), Place::Waiting(e.allocation_id));
        self.waiting.insert(e.allocation_id, waiting);
        self.update_template(e.template, |template| template.line.push(e.allocation_id));
    }

    pub(super) fn allocated(&mut self, e: &Allocated) {
        let waited = self.leave_line(e.allocation_id);
        let holding = Holding {
            allocation_id: e.allocation_id,
            instance_id: e.instance_id.clone(),
            metadata: e.metadata.clone(),
            start: e.start,
            from_pool: e.from_pool,
            ttl_seconds: e.ttl_seconds,
            asked_at: waited.as_ref().map_or(self.at, |waiting| waiting.asked_at),
            attempt: waited.map_or(0, |waiting| waiting.attempt),
            deadline: e.deadline,
            stage: HandOut::Renaming,
            completed_at: None,
            expires_at: None,
            orphaned: false,
        };
        self.update(e.vmid, |container| {
            container.delay = None;
            container.phase = Phase::Allocated(holding);
        });
    }

    pub(super) fn allocation_requeued(&mut self, e: &AllocationRequeued) {
        let Some(holding) = self.containers.get(&e.vmid).and_then(Container::holding).cloned() else {
            return;
        };
        let at = self.at;
        self.update(e.vmid, |container| {
            container.delay = None;
            container.phase = Phase::Ready { since: at };
        });
        self.index.instances.insert(holding.instance_id.clone(), Place::Waiting(e.allocation_id));
        let waiting = Waiting {
            instance_id: holding.instance_id,
            template: e.template,
            start: holding.start,
            ttl_seconds: holding.ttl_seconds,
            metadata: holding.metadata,
            asked_at: holding.asked_at,
            deadline: holding.deadline,
            attempt: e.attempt,
            spoiled: Some(e.vmid),
        };
        self.waiting.insert(e.allocation_id, waiting);
        self.update_template(e.template, |template| template.line.insert(0, e.allocation_id));
    }

    pub(super) fn allocation_resumed(&mut self, e: &AllocationResumed) {
        let at = self.at;
        self.update_holding(e.vmid, e.allocation_id, |holding| {
            if holding.stage == HandOut::Done {
                holding.stage = HandOut::Renaming;
                holding.start = e.start;
                holding.asked_at = at;
            }
            holding.deadline = e.deadline;
            holding.orphaned = false;
        });
    }

    pub(super) fn allocation_completed(&mut self, e: &AllocationCompleted) {
        let at = self.at;
        let mut first = false;
        self.update_holding(e.vmid, e.allocation_id, |holding| {
            first = holding.completed_at.is_none();
            holding.completed_at.get_or_insert(at);
            holding.stage = HandOut::Done;
            holding.expires_at = e.expires_at;
            holding.orphaned = false;
        });
        self.update(e.vmid, |container| {
            container.uses += u32::from(first);
            container.delay = None;
        });
        if let Some(template) = self.template_of(e.vmid) {
            self.update_template(template, |template| template.failure = None);
        }
    }

    pub(super) fn allocation_cancelled(&mut self, e: &AllocationCancelled) {
        self.allocation_ended(e.allocation_id, e.vmid);
    }

    pub(super) fn allocation_failed(&mut self, e: &AllocationFailed) {
        let failure = Failure { at: self.at, code: e.code, reason: e.reason.clone() };
        self.update_template(e.template, |template| template.failure = Some(failure));
        self.allocation_ended(e.allocation_id, e.vmid);
    }

    /// The request is over; a container that it had been answered with before stays with its holder.
    fn allocation_ended(&mut self, allocation_id: AllocationId, vmid: Option<Vmid>) {
        self.leave_line(allocation_id);
        let Some(vmid) = vmid else { return };
        self.update(vmid, |container| container.delay = None);
        self.update_holding(vmid, allocation_id, |holding| {
            if holding.completed_at.is_some() {
                holding.stage = HandOut::Done;
                holding.orphaned = false;
            }
        });
    }
}
