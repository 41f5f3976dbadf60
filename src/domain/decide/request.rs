//! Requests for a container, and callers that leave before they are answered.

use super::Tx;
use crate::domain::command::{Allocate, Rejection, Reply};
use crate::domain::event::{
    Allocated, AllocationCancelled, AllocationFailed, AllocationQueued, AllocationResumed, CancelReason,
    FailureCode, LeaveReason, ReleaseRequested,
};
use crate::domain::ids::{AllocationId, InstanceId, Vmid};
use crate::domain::settings::Settings;
use crate::domain::state::{Container, HandOut, Holding, Phase, Place};
use crate::domain::time::Timestamp;

impl Tx<'_> {
    pub(super) fn allocate(&mut self, request: Allocate) -> Result<Reply, Rejection> {
        self.running()?;
        if let Some(instance_id) = &request.instance_id
            && let Some(place) = self.state.place(instance_id)
        {
            return self.allocate_again(instance_id, &request, place);
        }
        let template = request.template;
        self.known_template(template, request.facts)?;
        if self.template(template).is_some_and(|template| template.drained) {
            return Err(Rejection::TemplateDrained { template });
        }
        let allocation_id = AllocationId(self.ulid());
        let instance_id = request.instance_id.unwrap_or_else(|| self.new_instance_id());
        let deadline = self.allocation_deadline();
        let (start, ttl_seconds, metadata) = (request.start, request.ttl_seconds, request.metadata);
        if let Some(vmid) = self.pick_ready(template) {
            self.emit(Allocated {
                allocation_id,
                instance_id,
                template,
                vmid,
                from_pool: true,
                start,
                ttl_seconds,
                metadata,
                deadline,
            });
            return Ok(Reply::Allocating { allocation_id });
        }
        self.may_queue(template)?;
        self.emit(AllocationQueued {
            allocation_id,
            instance_id,
            template,
            start,
            ttl_seconds,
            metadata,
            deadline,
        });
        match self.one_too_many() {
            Some(_) => Err(Rejection::MaxTotal { max_total: self.state.settings.max_total }),
            None => Ok(Reply::Allocating { allocation_id }),
        }
    }

    /// The same instance is asked for while it has a place.
    fn allocate_again(
        &mut self,
        instance_id: &InstanceId,
        request: &Allocate,
        place: Place,
    ) -> Result<Reply, Rejection> {
        let of_template = |template: Vmid| {
            (template == request.template).then_some(()).ok_or_else(|| Rejection::InstanceOfOtherTemplate {
                instance_id: instance_id.clone(),
                template,
            })
        };
        match place {
            Place::Waiting(allocation_id) => {
                if let Some(waiting) = self.state.waiting.get(&allocation_id) {
                    of_template(waiting.template)?;
                }
                Ok(Reply::Allocating { allocation_id })
            }
            Place::Container(vmid) => {
                let Some(container) = self.container(vmid).cloned() else {
                    return Err(Rejection::ContainerUnknown { vmid });
                };
                of_template(container.template)?;
                self.allocate_held(instance_id, request, &container)
            }
        }
    }

    fn allocate_held(
        &mut self,
        instance_id: &InstanceId,
        request: &Allocate,
        container: &Container,
    ) -> Result<Reply, Rejection> {
        let vmid = container.vmid;
        let leaving = |what| Rejection::InstanceLeaving { instance_id: instance_id.clone(), vmid, what };
        match &container.phase {
            Phase::Allocated(holding) => {
                if let Some(reason) = &container.doubt {
                    return Err(Rejection::OwnershipDoubted { vmid, reason: reason.clone() });
                }
                let allocation_id = holding.allocation_id;
                if holding.stage == HandOut::Done || holding.orphaned {
                    let deadline = self.allocation_deadline();
                    self.emit(AllocationResumed { allocation_id, vmid, start: request.start, deadline });
                }
                Ok(Reply::Allocating { allocation_id })
            }
            Phase::Releasing(_) => Err(leaving("released")),
            Phase::Removing(_) => Err(leaving("removed")),
            Phase::Quarantined { .. } | Phase::Creating(_) | Phase::Ready { .. } => {
                Err(Rejection::WrongState { vmid, state: container.phase.name(), what: "allocated again" })
            }
        }
    }

    pub(super) fn callers_gone(&mut self, allocation_id: AllocationId) {
        if let Some(waiting) = self.state.waiting.get(&allocation_id).cloned() {
            self.emit(AllocationCancelled {
                allocation_id,
                instance_id: waiting.instance_id,
                template: waiting.template,
                vmid: None,
                reason: CancelReason::CallerGone,
            });
            return;
        }
        let found = self.state.busy().find(|c| c.holding().is_some_and(|h| h.allocation_id == allocation_id));
        if let Some(vmid) = found.map(|container| container.vmid) {
            self.cancel_hand_out(vmid, CancelReason::CallerGone);
            self.take_back_unanswered(vmid);
        }
    }

    /// Ends the request that a container is being handed out for; what becomes of the container is next.
    pub(super) fn cancel_hand_out(&mut self, vmid: Vmid, reason: CancelReason) {
        if let Some((template, holding)) = self.handing_out(vmid) {
            self.emit(AllocationCancelled {
                allocation_id: holding.allocation_id,
                instance_id: holding.instance_id,
                template,
                vmid: Some(vmid),
                reason,
            });
        }
    }

    /// Fails the request that a container is being handed out for.
    pub(super) fn fail_hand_out(&mut self, vmid: Vmid, code: FailureCode, reason: String) {
        if let Some((template, holding)) = self.handing_out(vmid) {
            self.emit(AllocationFailed {
                allocation_id: holding.allocation_id,
                instance_id: holding.instance_id,
                template,
                vmid: Some(vmid),
                code,
                reason,
            });
        }
    }

    /// A container that its caller was never answered with goes the way of release.
    pub(super) fn take_back_unanswered(&mut self, vmid: Vmid) {
        let unanswered = self
            .container(vmid)
            .and_then(Container::holding)
            .filter(|holding| holding.completed_at.is_none());
        if let Some(instance_id) = unanswered.map(|holding| holding.instance_id.clone()) {
            let by = LeaveReason::AllocationEnded;
            self.emit(ReleaseRequested { vmid, instance_id: Some(instance_id), by });
        }
    }

    /// The template and the hold, while a container is being handed out.
    pub(super) fn handing_out(&self, vmid: Vmid) -> Option<(Vmid, Holding)> {
        let container = self.container(vmid)?;
        let holding = container.holding().filter(|holding| holding.stage != HandOut::Done)?;
        Some((container.template, holding.clone()))
    }

    /// The ready container that is next: of today's template, never used, oldest.
    pub(super) fn pick_ready(&self, template: Vmid) -> Option<Vmid> {
        let refresh_before = self.template(template)?.refresh_before;
        let fresh = |c: &&Container| refresh_before.is_none_or(|before| c.created_seq >= before);
        let next = self.state.ready(template).find(fresh).or_else(|| self.state.ready(template).next());
        next.map(|container| container.vmid)
    }

    fn may_queue(&self, template: Vmid) -> Result<(), Rejection> {
        let waiting = u32::try_from(self.state.waiting.len()).unwrap_or(u32::MAX);
        let known = self.template(template);
        // Once the pause is over and nobody tries the template, this request's clone is the probe.
        let probes =
            known.is_some_and(|t| t.may_be_probed(self.now) && t.queue.is_empty() && t.line.is_empty());
        if let Some(backoff) = known.and_then(|template| template.backoff.clone()).filter(|_| !probes) {
            return Err(Rejection::TemplateBackedOff {
                template,
                fault: backoff.fault,
                until: backoff.until,
            });
        }
        if waiting >= self.state.settings.max_waiting {
            return Err(Rejection::TooManyWaiting { waiting });
        }
        Ok(())
    }

    fn allocation_deadline(&self) -> Timestamp {
        self.now.after(Settings::seconds(self.state.settings.allocate_timeout_seconds))
    }

    fn new_instance_id(&mut self) -> InstanceId {
        loop {
            let instance_id = InstanceId(format!("pvelxc-{:08x}", self.chance.u32(..)));
            if self.state.place(&instance_id).is_none() {
                return instance_id;
            }
        }
    }
}
