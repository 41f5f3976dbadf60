//! What PVE said of clones: choices to make, refusals to retry or to back off from, ends to book.

use std::time::Duration;

use super::{Tx, doubling};
use crate::domain::command::{CloneEnd, Leftover, Prepared};
use crate::domain::event::{
    CloneFailed, ClonePurpose, CloneQueued, CloneRetryScheduled, CloneStarted, CloneSubmitted,
    CloneSucceeded, CloneUncertain, ContainerQuarantined, FailureCode, LeaveReason, RemovalRequested,
    Removed, TemplateBackedOff,
};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{CloneId, Upid, Vmid, pool_hostname};
use crate::domain::plan::{free_places, lane_is_open, may_be_cloned_for, next_purpose};
use crate::domain::settings::CloneMode;
use crate::domain::state::{Container, Creating, QueuedClone, VMID_REST};

/// The first pause of a template whose clones fail.
const BACKOFF_FIRST: Duration = Duration::from_secs(30);
/// The longest.
const BACKOFF_MOST: Duration = Duration::from_mins(10);

impl Tx<'_> {
    pub(super) fn clone_prepared(
        &mut self,
        clone_id: CloneId,
        template: Vmid,
        outcome: Result<Prepared, Fault>,
    ) {
        let Some(queued) = self.startable(clone_id, template) else { return };
        let chosen = outcome.and_then(|prepared| {
            let linked = self.choose_linked(&prepared)?;
            let vmid = self.choose_vmid(&prepared)?;
            Ok((prepared.node, linked, vmid))
        });
        match chosen {
            Ok((node, linked, vmid)) => {
                let hostname = pool_hostname(&self.state.settings.hostname_prefix, template, clone_id);
                let attempt = queued.attempt + 1;
                self.emit(CloneStarted { clone_id, template, vmid, node, hostname, linked, attempt });
            }
            Err(fault) => self.clone_refused(template, clone_id, None, queued.attempt, fault),
        }
    }

    /// The queued clone, if it may be started now.
    fn startable(&self, clone_id: CloneId, template: Vmid) -> Option<QueuedClone> {
        self.running().ok()?;
        let known = self.template(template).filter(|template| lane_is_open(template))?;
        let queued = known.queue.first().filter(|queued| queued.clone_id == clone_id)?;
        may_be_cloned_for(&self.state, next_purpose(&self.state, template, known)).then_some(())?;
        (queued.not_before <= self.now && free_places(&self.state, self.now) > 0).then(|| queued.clone())
    }

    fn choose_linked(&self, prepared: &Prepared) -> Result<bool, Fault> {
        match self.state.settings.clone_mode {
            CloneMode::Full => Ok(false),
            CloneMode::Auto => Ok(prepared.linkable),
            CloneMode::Linked if prepared.linkable => Ok(true),
            CloneMode::Linked => Err(Fault::new(
                FaultKind::NotLinkable,
                "the template's storage cannot make linked clones, and CLONE_MODE=linked allows no others",
            )),
        }
    }

    /// The lowest VMID that nobody has and that has rested.
    fn choose_vmid(&self, prepared: &Prepared) -> Result<Vmid, Fault> {
        let free = |vmid: &Vmid| !prepared.taken.contains(vmid) && !self.state.containers.contains_key(vmid);
        let rests = |vmid: &Vmid| {
            self.state.resting.get(vmid).is_some_and(|resting| self.now.since(resting.since) < VMID_REST)
        };
        let from_start = || (self.state.settings.vmid_start..=Vmid::HIGHEST).map(Vmid).filter(|v| free(v));
        from_start().find(|vmid| !rests(vmid)).or_else(|| from_start().next()).ok_or_else(|| {
            let start = self.state.settings.vmid_start;
            Fault::new(FaultKind::Invalid, format!("no VMID from {start} on is free"))
        })
    }

    pub(super) fn clone_sent(&mut self, vmid: Vmid, clone_id: CloneId, outcome: Result<Upid, Fault>) {
        let Some(container) = self.clone_in_flight(vmid, clone_id) else { return };
        let template = container.template;
        let attempt = container.creating().map_or(0, |creating| creating.attempt);
        match outcome {
            Ok(upid) => self.emit(CloneSubmitted { clone_id, template, vmid, upid }),
            Err(fault) if fault.kind.may_have_happened() => {
                self.emit(CloneUncertain { clone_id, template, vmid, fault });
            }
            Err(fault) => self.clone_refused(template, clone_id, Some(vmid), attempt, fault),
        }
    }

    pub(super) fn clone_found(&mut self, vmid: Vmid, clone_id: CloneId, upid: Upid) {
        if let Some(template) = self.clone_in_flight(vmid, clone_id).map(|container| container.template) {
            self.emit(CloneSubmitted { clone_id, template, vmid, upid });
        }
    }

    pub(super) fn clone_not_made(&mut self, vmid: Vmid, clone_id: CloneId) {
        let Some(container) = self.clone_in_flight(vmid, clone_id).cloned() else { return };
        let template = container.template;
        let fault = Fault::new(FaultKind::OutcomeUnknown, format!("clone {vmid} never came to be"));
        self.give_up_unwanted(vmid);
        self.emit(CloneFailed { clone_id, template, vmid: Some(vmid), fault: fault.clone() });
        if let Some(creating) = container.creating() {
            self.try_anew(template, creating, fault);
        }
    }

    /// A clone failed that may have left something, or may yet appear: the next try is another clone, which
    /// can be told apart from it, but no fresh start.
    fn try_anew(&mut self, template: Vmid, failed: &Creating, fault: Fault) {
        if failed.unwanted.is_some() {
            return;
        }
        let attempt = failed.attempt + 1;
        if fault.kind.is_permanent() || !self.is_tried_again(template, attempt) {
            self.back_off(template, fault);
            return;
        }
        let clone_id = self.queue_clone(template, failed.purpose);
        let retry_at = self.now.after(self.retry_delay());
        self.emit(CloneRetryScheduled { clone_id, template, vmid: None, attempt, fault, retry_at });
    }

    /// Whether a template's clone has tries left: for who waits until that time is up, and a probe none.
    fn is_tried_again(&self, template: Vmid, attempt: u32) -> bool {
        let awaited = self.template(template).is_some_and(|template| !template.line.is_empty());
        (awaited || attempt <= self.state.settings.clone_max_retries) && !self.probing(template)
    }

    pub(super) fn clone_ended(&mut self, vmid: Vmid, clone_id: CloneId, end: CloneEnd) {
        let Some(container) = self.clone_in_flight(vmid, clone_id).cloned() else { return };
        let template = container.template;
        let Some(creating) = container.creating() else { return };
        match end {
            CloneEnd::Made { warnings } => self.clone_made(&container, creating, warnings),
            CloneEnd::Failed { fault, leftover: Leftover::Nothing } => {
                self.clone_refused(template, clone_id, Some(vmid), creating.attempt, fault);
            }
            CloneEnd::Failed { fault, leftover } => {
                match leftover {
                    Leftover::Locked { hint } => {
                        let fault = fault.clone().with_hint(hint);
                        self.emit(ContainerQuarantined { vmid, fault });
                    }
                    Leftover::Removable | Leftover::Nothing => {
                        self.emit(RemovalRequested { vmid, by: LeaveReason::CloneFailed });
                    }
                }
                self.emit(CloneFailed { clone_id, template, vmid: Some(vmid), fault: fault.clone() });
                self.try_anew(template, creating, fault);
            }
        }
    }

    fn clone_made(&mut self, container: &Container, creating: &Creating, warnings: bool) {
        let (vmid, clone_id, template) = (container.vmid, container.clone_id, container.template);
        let duration_ms = millis(self.now.since(creating.started_at));
        let unwanted = creating.unwanted;
        self.emit(CloneSucceeded { clone_id, template, vmid, duration_ms, warnings });
        if let Some(by) = unwanted {
            self.emit(RemovalRequested { vmid, by });
        }
    }

    /// PVE did not make the clone: try again, or give it up and let the template rest.
    fn clone_refused(
        &mut self,
        template: Vmid,
        clone_id: CloneId,
        vmid: Option<Vmid>,
        tries_before: u32,
        fault: Fault,
    ) {
        let creating = vmid.and_then(|vmid| self.container(vmid)).and_then(Container::creating);
        let linked = creating.is_some_and(|creating| creating.linked);
        if vmid.is_some_and(|vmid| self.give_up_unwanted(vmid)) {
            self.emit(CloneFailed { clone_id, template, vmid, fault });
            return;
        }
        // A template that was there a moment ago may only have moved: the next look tells.
        let moved = fault.kind == FaultKind::Gone && vmid.is_some();
        // PVE knows better than its storages' types do; the next one is a full clone.
        let auto = self.state.settings.clone_mode == CloneMode::Auto;
        let full_next = fault.kind == FaultKind::NotLinkable && auto && linked;
        if fault.kind.is_permanent() && !moved && !full_next {
            self.emit(CloneFailed { clone_id, template, vmid, fault: fault.clone() });
            self.back_off(template, fault);
            return;
        }
        let uncounted = full_next || matches!(fault.kind, FaultKind::VmidTaken | FaultKind::NotSent);
        let attempt = tries_before + u32::from(!uncounted);
        if uncounted || self.is_tried_again(template, attempt) {
            let taken = fault.kind == FaultKind::VmidTaken;
            let delay = if taken { Duration::ZERO } else { self.retry_delay() };
            let retry_at = self.now.after(delay);
            self.emit(CloneRetryScheduled { clone_id, template, vmid, attempt, fault, retry_at });
        } else {
            self.emit(CloneFailed { clone_id, template, vmid, fault: fault.clone() });
            self.back_off(template, fault);
        }
    }

    /// Books a clone whose removal was asked for as removed, since it was never made.
    fn give_up_unwanted(&mut self, vmid: Vmid) -> bool {
        let Some(container) = self.container(vmid) else { return false };
        let template = container.template;
        let unwanted = container.creating().is_some_and(|creating| creating.unwanted.is_some());
        if unwanted {
            self.emit(Removed { vmid, template, instance_id: None });
        }
        unwanted
    }

    fn probing(&self, template: Vmid) -> bool {
        self.template(template).is_some_and(|template| template.backoff.is_some())
    }

    /// Lets a template rest whose clones fail, and tells everybody who waits for one.
    fn back_off(&mut self, template: Vmid, fault: Fault) {
        let before = self.template(template).and_then(|t| t.backoff.as_ref()).map_or(0, |b| b.step);
        let until = self.now.after(doubling(BACKOFF_FIRST, BACKOFF_MOST, before));
        self.clear_queue(template);
        let code = match fault.kind {
            FaultKind::Unauthorized | FaultKind::Forbidden => FailureCode::PveRefused,
            _ => FailureCode::TemplateBackedOff,
        };
        let reason = format!("template {template} cannot be cloned: {fault}");
        self.emit(TemplateBackedOff { template, fault, until, step: before + 1 });
        if self.coming(template) == 0 {
            self.fail_line(template, code, &reason);
        }
    }

    /// A queued clone of a template, with what it is for.
    pub(super) fn queue_clone(&mut self, template: Vmid, purpose: ClonePurpose) -> CloneId {
        let clone_id = CloneId(self.ulid());
        self.emit(CloneQueued { clone_id, template, purpose });
        clone_id
    }
}

pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
