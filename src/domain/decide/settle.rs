//! The standing rules, applied after every command until nothing more is due.
//!
//! They are driven by State and the time alone: whatever led to a State, the same is due in it.

use super::Tx;
use crate::domain::event::{
    Allocated, AllocationFailed, CancelReason, FailureCode, LeaveReason, ReleaseRequested, RemovalRequested,
    TemplateRemoved,
};
use crate::domain::ids::{AllocationId, Vmid};
use crate::domain::settings::ReleasePolicy;
use crate::domain::state::{Container, Phase, ServicePhase, TEMPLATE_REST, Waiting};

impl Tx<'_> {
    pub(super) fn settle(&mut self) {
        if self.state.service.phase == ServicePhase::Stopped {
            return;
        }
        self.end_overdue();
        if self.state.service.phase == ServicePhase::Stopping {
            // Also who is put back in line now: nobody will be served before the end.
            self.cancel_waiting(CancelReason::Stopping);
            return;
        }
        self.release_expired();
        self.forget_idle_templates();
        let templates: Vec<Vmid> = self.state.templates.keys().copied().collect();
        for template in &templates {
            self.serve_line(*template);
            self.empty_if_drained(*template);
            self.retire(*template);
            self.fail_hopeless(*template);
        }
        while let Some(allocation_id) = self.one_too_many() {
            let reason = "the pool holds as many containers as it may, and none is becoming free".to_owned();
            self.fail_waiting(allocation_id, FailureCode::MaxTotal, reason);
        }
        self.size_queues(&templates);
    }

    /// Fails whatever was not answered in time.
    fn end_overdue(&mut self) {
        let now = self.now;
        let waiting: Vec<_> =
            self.state.waiting.iter().filter(|(_, w)| w.deadline <= now).map(|(id, _)| *id).collect();
        for allocation_id in waiting {
            let reason = "no container became ready in time".to_owned();
            self.fail_waiting(allocation_id, FailureCode::AllocateTimeout, reason);
        }
        let overdue = |c: &&Container| c.holding().is_some_and(|holding| holding.deadline <= now);
        let handing_out: Vec<Vmid> = self.state.busy().filter(overdue).map(|c| c.vmid).collect();
        for vmid in handing_out {
            self.end_overdue_hand_out(vmid);
        }
    }

    fn end_overdue_hand_out(&mut self, vmid: Vmid) {
        let Some(container) = self.container(vmid) else { return };
        if container.holding().is_some_and(|holding| holding.orphaned) {
            self.cancel_hand_out(vmid, CancelReason::Restarted);
        } else {
            let unreachable = self.state.service.pve_unreachable.as_ref().map(|(_, reason)| reason.clone());
            let delayed = container.delay.as_ref().map(|delay| delay.fault.to_string());
            let reason = match unreachable.or(delayed) {
                Some(why) => format!("container {vmid} was not ready for use in time: {why}"),
                None => format!("container {vmid} was not ready for use in time"),
            };
            self.fail_hand_out(vmid, FailureCode::PveTimeout, reason);
        }
        self.take_back_unanswered(vmid);
    }

    fn fail_waiting(&mut self, allocation_id: AllocationId, code: FailureCode, reason: String) {
        let Some(waiting) = self.state.waiting.get(&allocation_id) else { return };
        let (instance_id, template) = (waiting.instance_id.clone(), waiting.template);
        self.emit(AllocationFailed { allocation_id, instance_id, template, vmid: None, code, reason });
    }

    /// A time to live is over only once PVE was looked at: after a downtime State may be wrong.
    fn release_expired(&mut self) {
        if !self.state.service.reconciled {
            return;
        }
        for vmid in self.state.expired(self.now) {
            let Some(container) = self.container(vmid) else { continue };
            if container.doubt.is_none() {
                let instance_id = container.instance_id().cloned();
                self.cancel_hand_out(vmid, CancelReason::Released);
                self.emit(ReleaseRequested { vmid, instance_id, by: LeaveReason::Expired });
            }
        }
    }

    fn forget_idle_templates(&mut self) {
        let due: Vec<Vmid> = self
            .state
            .templates
            .iter()
            .filter(|(vmid, template)| {
                let idle = template.idle_since.is_some_and(|since| self.now >= since.after(TEMPLATE_REST));
                let unset = !template.drained && template.sizes.is_empty() && template.counts.creating == 0;
                idle && unset && !self.state.settings.templates.contains_key(vmid)
            })
            .map(|(vmid, _)| *vmid)
            .collect();
        for template in due {
            self.clear_queue(template);
            self.emit(TemplateRemoved { template });
        }
    }

    /// Gives ready containers to those who wait, first come first served.
    fn serve_line(&mut self, template: Vmid) {
        let Some(known) = self.template(template).filter(|template| !template.drained) else { return };
        for allocation_id in known.line.clone() {
            let Some(waiting) = self.state.waiting.get(&allocation_id).cloned() else { continue };
            if self.name_is_taken(&waiting) {
                continue;
            }
            let Some(vmid) = self.pick_ready(template) else { return };
            self.emit(Allocated {
                allocation_id,
                instance_id: waiting.instance_id,
                template,
                vmid,
                from_pool: false,
                start: waiting.start,
                ttl_seconds: waiting.ttl_seconds,
                metadata: waiting.metadata,
                deadline: waiting.deadline,
            });
        }
    }

    /// The container that was no use to an allocation still has its instance's hostname, and will be rid of it.
    ///
    /// One in doubt has another by now; one in quarantine keeps it, and a second one is better than no answer.
    fn name_is_taken(&self, waiting: &Waiting) -> bool {
        waiting
            .spoiled
            .and_then(|vmid| self.container(vmid))
            .filter(|container| container.doubt.is_none() && matches!(container.phase, Phase::Removing(_)))
            .is_some_and(|container| container.hostname == waiting.instance_id.hostname())
    }

    fn empty_if_drained(&mut self, template: Vmid) {
        if !self.template(template).is_some_and(|template| template.drained) {
            return;
        }
        self.fail_line(template, FailureCode::TemplateDrained, &format!("template {template} is drained"));
        let ready: Vec<Vmid> = self.state.ready(template).map(|container| container.vmid).collect();
        let coming = self.state.busy().filter(|container| {
            container.template == template && container.creating().is_some_and(|c| c.unwanted.is_none())
        });
        let leaving: Vec<Vmid> = ready.into_iter().chain(coming.map(|container| container.vmid)).collect();
        for vmid in leaving {
            self.emit(RemovalRequested { vmid, by: LeaveReason::Drained });
        }
    }

    /// Destroys ready containers that are more than there may be, or that a refresh has replaced.
    fn retire(&mut self, template: Vmid) {
        let sizes = self.state.sizes(template);
        while let Some((refreshing, inventory, ready)) = self.inventory(template) {
            let surplus = inventory > sizes.max.saturating_add(u32::from(refreshing));
            // At the cap on everything there is no place for one more: what may be spared goes first.
            let cramped = self.room() == 0 && self.coming(template) == 0 && ready > sizes.min.max(1);
            let replaced = refreshing && (ready > sizes.target || cramped);
            let by = if surplus { LeaveReason::Surplus } else { LeaveReason::Refreshed };
            let leaving = match (surplus, replaced) {
                (false, false) => None,
                (false, true) => self.first_to_retire(template).filter(|vmid| self.is_stale(*vmid)),
                (true, _) => self.first_to_retire(template),
            };
            let Some(vmid) = leaving else { return };
            self.emit(RemovalRequested { vmid, by });
        }
    }

    /// Whether a refresh is on, the inventory, and how many of it are ready. What waiters need is not in it,
    /// also where they cannot be served yet because their names are not free.
    fn inventory(&self, template: Vmid) -> Option<(bool, u32, u32)> {
        let known = self.template(template).filter(|template| !template.drained)?;
        let ready = self.state.ready_count(template);
        let waiting = u32::try_from(known.line.len()).unwrap_or(u32::MAX);
        let inventory = (ready + self.coming(template)).saturating_sub(waiting);
        Some((known.refresh_before.is_some(), inventory, ready.saturating_sub(waiting)))
    }

    /// Stale ones first, then used ones, then the newest.
    fn first_to_retire(&self, template: Vmid) -> Option<Vmid> {
        self.state
            .ready(template)
            .max_by_key(|container| {
                (self.is_stale(container.vmid), container.uses > 0, container.created_seq)
            })
            .map(|container| container.vmid)
    }

    fn is_stale(&self, vmid: Vmid) -> bool {
        let Some(container) = self.container(vmid) else { return false };
        let before = self.template(container.template).and_then(|template| template.refresh_before);
        before.is_some_and(|before| container.created_seq < before)
    }

    /// Nobody waits for a template that makes no clones and has none under way.
    fn fail_hopeless(&mut self, template: Vmid) {
        let Some(known) = self.template(template) else { return };
        let Some(backoff) = known.backoff.clone() else { return };
        if !known.line.is_empty() && self.coming(template) == 0 && !known.may_be_probed(self.now) {
            let reason = format!("template {template} cannot be cloned: {}", backoff.fault);
            self.fail_line(template, FailureCode::TemplateBackedOff, &reason);
        }
    }

    /// The last allocation in line that can get no container under the cap on all of them.
    pub(super) fn one_too_many(&self) -> Option<AllocationId> {
        let cap = self.state.settings.max_total;
        if cap == 0 {
            return None;
        }
        let reuse = self.state.settings.release_policy == ReleasePolicy::Reuse;
        let total = u32::try_from(self.state.containers.len()).unwrap_or(u32::MAX);
        let mut room = cap.saturating_sub(total);
        let mut short = 0;
        let mut last = None;
        for (vmid, template) in &self.state.templates {
            let waiting = u32::try_from(template.line.len()).unwrap_or(u32::MAX);
            let (mut releasing, mut removing) = (0, 0);
            for leaving in self.state.busy().filter(|c| c.template == *vmid && c.doubt.is_none()) {
                let unwanted = leaving.creating().is_some_and(|creating| creating.unwanted.is_some());
                releasing += u32::from(matches!(leaving.phase, Phase::Releasing(_)));
                removing += u32::from(unwanted || matches!(leaving.phase, Phase::Removing(_)));
            }
            let back = if reuse && !template.drained { releasing } else { 0 };
            room += removing + (releasing - back);
            let missing = waiting.saturating_sub(self.state.ready_count(*vmid) + self.coming(*vmid) + back);
            if missing > 0 {
                short += missing;
                let asked = |id: &AllocationId| self.state.waiting.get(id).map(|waiting| waiting.asked_at);
                last = last.max(template.line.last().map(|id| (asked(id), *id)));
            }
        }
        (short > room).then_some(last).flatten().map(|(_, id)| id)
    }
}
