//! Folds one event into State. It cannot fail: what was decided did happen.
//!
//! An event about something that State no longer has changes nothing but the head; `decide` emits none.

use std::time::Duration;

use super::event::{
    Allocated, AllocationCompleted, AllocationQueued, AllocationRequeued, ClonePurpose, CloneQueued,
    CloneRetryScheduled, CloneStarted, CloneSucceeded, ContainerDiscovered, ContainerRenamed, Envelope,
    Event, LeaveReason, ServiceStarted,
};
use super::fault::FaultKind;
use super::ids::{AllocationId, CloneId, Seq, Vmid};
use super::settings::CloneMode;
use super::state::{
    Backoff, CloneStage, Container, Creating, Delay, Failure, HandOut, Holding, Leaving, Phase, Place,
    QueuedClone, Resting, Service, ServicePhase, State, Template, VMID_REST, Waiting,
};
use super::time::Timestamp;

/// A hand-out of before a restart is cancelled after this, unless its instance is asked for again.
pub(super) const ORPHAN_GRACE: Duration = Duration::from_mins(2);

/// Tries of a refused clone that was cancelled count for its successor for this long after they ended.
const TRIES_COUNT: Duration = Duration::from_mins(1);

/// An expired container whose release PVE refuses is left to its holder for this long.
const EXPIRY_PAUSE: Duration = Duration::from_mins(1);

impl State {
    /// Folds the next event in.
    pub fn apply(&mut self, envelope: &Envelope) {
        self.fold(envelope.seq, envelope.at, &envelope.event);
    }

    /// The same from an event's parts.
    pub(super) fn fold(&mut self, seq: Seq, at: Timestamp, event: &Event) {
        self.head = seq;
        self.at = at;
        let template = event.template().or_else(|| self.template_of(event.vmid()?));
        match event {
            Event::ServiceStarted(e) => self.service_started(e),
            Event::SettingsChanged(e) => self.settings = e.settings.clone(),
            Event::ServiceStopping(_) => self.service.phase = ServicePhase::Stopping,
            Event::ServiceStopped(_) => self.service.phase = ServicePhase::Stopped,
            Event::PveUnreachable(e) => self.service.pve_unreachable = Some((at, e.reason.clone())),
            Event::PveReachable(_) => self.service.pve_unreachable = None,
            Event::ReconcileFailed(e) => self.service.reconcile_fault = Some(e.fault.clone()),
            Event::Reconciled(_) => {
                self.service.reconciled = true;
                self.service.reconcile_fault = None;
            }
            Event::LogRedacted(e) => {
                self.forget_metadata(e.instance_id.as_str());
            }
            Event::TemplateAdded(_)
            | Event::TemplateConfigured(_)
            | Event::TemplateWarmed(_)
            | Event::TemplateBackedOff(_)
            | Event::TemplateDrained(_)
            | Event::TemplateRefreshed(_)
            | Event::TemplateRemoved(_) => self.fold_template(event),
            Event::CloneQueued(_)
            | Event::CloneStarted(_)
            | Event::CloneSubmitted(_)
            | Event::CloneUncertain(_)
            | Event::CloneRetryScheduled(_)
            | Event::CloneSucceeded(_)
            | Event::CloneFailed(_)
            | Event::CloneCancelled(_) => self.fold_clone(event),
            Event::AllocationQueued(_)
            | Event::Allocated(_)
            | Event::AllocationRequeued(_)
            | Event::AllocationResumed(_)
            | Event::AllocationCompleted(_)
            | Event::AllocationCancelled(_)
            | Event::AllocationFailed(_) => self.fold_allocation(event),
            Event::ContainerRenamed(_)
            | Event::ContainerStarted(_)
            | Event::ContainerStartFailed(_)
            | Event::ContainerDiscovered(_)
            | Event::ContainerMoved(_)
            | Event::ContainerLost(_)
            | Event::ContainerQuarantined(_)
            | Event::OwnershipDoubted(_)
            | Event::OwnershipConfirmed(_)
            | Event::ActionDelayed(_) => self.fold_container(event),
            Event::ReleaseRequested(_)
            | Event::Released(_)
            | Event::ReleaseFailed(_)
            | Event::RemovalRequested(_)
            | Event::Removed(_)
            | Event::RemovalFailed(_) => self.fold_leaving(event),
            Event::WebhookAdded(_)
            | Event::WebhookRemoved(_)
            | Event::WebhookForgotten(_)
            | Event::WebhookCheckpointed(_)
            | Event::WebhookFailing(_)
            | Event::WebhookRecovered(_)
            | Event::WebhookParked(_)
            | Event::WebhookRetried(_)
            | Event::WebhookDropped(_)
            | Event::WebhookPaused(_)
            | Event::WebhookResumed(_)
            | Event::WebhookDisabled(_)
            | Event::WebhookTested(_)
            | Event::WebhookReplayRequested(_)
            | Event::WebhookReplayMissed(_)
            | Event::WebhookReplayEnded(_) => self.fold_webhook(event),
        }
        if let Some(template) = template {
            self.round_off(template);
        }
    }

    /// Erases what the caller of this instance said of it; whether there was anything.
    pub fn forget_metadata(&mut self, instance: &str) -> bool {
        let holds =
            |holding: &Holding| holding.instance_id.as_str() == instance && !holding.metadata.is_empty();
        let held = self.containers.values().filter(|container| container.holding().is_some_and(holds));
        let holders: Vec<Vmid> = held.map(|container| container.vmid).collect();
        for vmid in &holders {
            self.update(*vmid, |container| {
                if let Phase::Allocated(holding) = &mut container.phase {
                    holding.metadata.clear();
                }
            });
        }
        let waits =
            |waiting: &Waiting| waiting.instance_id.as_str() == instance && !waiting.metadata.is_empty();
        let waiters: Vec<AllocationId> =
            self.waiting.iter().filter(|(_, waiting)| waits(waiting)).map(|(id, _)| *id).collect();
        for id in &waiters {
            if let Some(waiting) = self.waiting.get_mut(id) {
                waiting.metadata.clear();
            }
        }
        !holders.is_empty() || !waiters.is_empty()
    }

    fn service_started(&mut self, e: &ServiceStarted) {
        self.service = Service {
            version: e.version.clone(),
            started_at: self.at,
            phase: ServicePhase::Running,
            reconciled: false,
            reconcile_fault: None,
            pve_unreachable: None,
        };
        self.settings = e.settings.clone();
        let grace = self.at.after(ORPHAN_GRACE);
        for vmid in self.index.busy.clone() {
            self.update(vmid, |container| match &mut container.phase {
                Phase::Creating(creating) if creating.stage == CloneStage::Sending => {
                    creating.stage = CloneStage::Uncertain;
                }
                Phase::Allocated(holding) => {
                    holding.orphaned = true;
                    holding.deadline = grace;
                }
                Phase::Creating(_)
                | Phase::Ready { .. }
                | Phase::Releasing(_)
                | Phase::Removing(_)
                | Phase::Quarantined { .. } => {}
            });
        }
    }

    fn fold_template(&mut self, event: &Event) {
        let (at, head) = (self.at, self.head);
        match event {
            Event::TemplateAdded(e) => {
                let template = Template::new(e.node.clone(), e.linkable, at);
                self.templates.entry(e.template).or_insert(template);
            }
            Event::TemplateConfigured(e) => self.update_template(e.template, |template| {
                template.sizes = e.sizes;
                template.warm_goal = None;
                template.drained = false;
                template.interrupted = None;
                template.backoff = None;
                template.linkable = None;
            }),
            Event::TemplateWarmed(e) => self.update_template(e.template, |template| {
                template.warm_goal = Some(e.goal);
                template.backoff = None;
            }),
            Event::TemplateBackedOff(e) => self.update_template(e.template, |template| {
                template.interrupted = None;
                template.backoff = Some(Backoff { fault: e.fault.clone(), until: e.until, step: e.step });
                template.linkable = None;
                template.node = None;
            }),
            Event::TemplateDrained(e) => self.update_template(e.template, |template| {
                template.drained = true;
                template.backoff = None;
                template.warm_goal = None;
                template.refresh_before = None;
            }),
            Event::TemplateRefreshed(e) => self.update_template(e.template, |template| {
                template.refresh_before = Some(head);
                template.backoff = None;
                template.linkable = None;
            }),
            Event::TemplateRemoved(e) => {
                self.templates.remove(&e.template);
            }
            _ => {}
        }
    }

    fn fold_clone(&mut self, event: &Event) {
        match event {
            Event::CloneQueued(e) => self.clone_queued(e),
            Event::CloneStarted(e) => self.clone_started(e),
            Event::CloneSubmitted(e) => self.update_clone(e.vmid, |creating| {
                creating.stage = CloneStage::Running { upid: e.upid.clone() };
            }),
            Event::CloneUncertain(e) => self.update_clone(e.vmid, |creating| {
                creating.stage = CloneStage::Uncertain;
            }),
            Event::CloneRetryScheduled(e) => self.clone_retry_scheduled(e),
            Event::CloneSucceeded(e) => self.clone_succeeded(e),
            Event::CloneFailed(e) => {
                self.take_from_queue(e.template, e.clone_id);
                if let Some(vmid) = e.vmid {
                    self.drop_unmade(vmid);
                }
            }
            Event::CloneCancelled(e) => {
                let refused = self.take_from_queue(e.template, e.clone_id).filter(|q| q.fault.is_some());
                if refused.is_some() {
                    self.update_template(e.template, |template| template.interrupted = refused);
                }
            }
            _ => {}
        }
    }

    fn clone_queued(&mut self, e: &CloneQueued) {
        let at = self.at;
        self.update_template(e.template, |template| {
            let fresh = QueuedClone {
                clone_id: e.clone_id,
                purpose: e.purpose,
                queued_at: at,
                attempt: 0,
                fault: None,
                not_before: at,
            };
            let before = template.interrupted.take().filter(|b| at < b.not_before.after(TRIES_COUNT));
            template.queue.push(match before {
                Some(before) => QueuedClone {
                    attempt: before.attempt,
                    fault: before.fault,
                    not_before: before.not_before.max(at),
                    ..fresh
                },
                None => fresh,
            });
        });
    }

    fn clone_started(&mut self, e: &CloneStarted) {
        let (at, head, auto) = (self.at, self.head, self.settings.clone_mode == CloneMode::Auto);
        let queued = self.take_from_queue(e.template, e.clone_id);
        self.resting = self
            .resting
            .iter()
            .filter(|(_, resting)| at.since(resting.since) < VMID_REST)
            .map(|(vmid, resting)| (*vmid, *resting))
            .collect();
        self.update_template(e.template, |template| {
            template.node = Some(e.node.clone());
            template.last_started = head;
            if e.linked || auto {
                template.linkable = Some(e.linked);
            }
        });
        self.insert(Container {
            vmid: e.vmid,
            clone_id: e.clone_id,
            template: e.template,
            node: e.node.clone(),
            hostname: e.hostname.clone(),
            created_at: at,
            created_seq: head,
            uses: 0,
            touched: head,
            doubt: None,
            delay: None,
            phase: Phase::Creating(Creating {
                purpose: queued.map_or(ClonePurpose::Refill, |queued| queued.purpose),
                attempt: e.attempt - 1,
                linked: e.linked,
                started_at: at,
                stage: CloneStage::Sending,
                unwanted: None,
            }),
        });
    }

    fn clone_retry_scheduled(&mut self, e: &CloneRetryScheduled) {
        let at = self.at;
        let purpose = e.vmid.and_then(|vmid| self.containers.get(&vmid)?.creating()).map(|c| c.purpose);
        let queued = self.take_from_queue(e.template, e.clone_id);
        if let Some(vmid) = e.vmid {
            self.drop_refused(vmid, e.fault.kind);
        }
        let purpose = purpose.or(queued.as_ref().map(|queued| queued.purpose));
        let again = QueuedClone {
            clone_id: e.clone_id,
            purpose: purpose.unwrap_or(ClonePurpose::Refill),
            queued_at: queued.map_or(at, |queued| queued.queued_at),
            attempt: e.attempt,
            fault: Some(e.fault.clone()),
            not_before: e.retry_at,
        };
        let locked = e.fault.kind == FaultKind::Locked;
        let not_linkable = e.fault.kind == FaultKind::NotLinkable;
        self.update_template(e.template, |template| {
            if not_linkable {
                template.linkable = Some(false);
            }
            template.queue.insert(0, again);
            template.locked_since = locked.then(|| template.locked_since.unwrap_or(at));
        });
    }

    fn clone_succeeded(&mut self, e: &CloneSucceeded) {
        let at = self.at;
        self.update(e.vmid, |container| {
            container.phase = Phase::Ready { since: at };
            container.delay = None;
        });
        self.update_template(e.template, |template| {
            template.backoff = None;
            template.interrupted = None;
            template.locked_since = None;
            template.clone_ms = Some(smooth(template.clone_ms, e.duration_ms));
        });
    }

    fn fold_allocation(&mut self, event: &Event) {
        let at = self.at;
        match event {
            Event::AllocationQueued(e) => self.allocation_queued(e),
            Event::Allocated(e) => self.allocated(e),
            Event::AllocationRequeued(e) => self.allocation_requeued(e),
            Event::AllocationResumed(e) => self.update_holding(e.vmid, e.allocation_id, |holding| {
                if holding.stage == HandOut::Done {
                    holding.stage = HandOut::Renaming;
                    holding.start = e.start;
                    holding.asked_at = at;
                }
                holding.deadline = e.deadline;
                holding.orphaned = false;
            }),
            Event::AllocationCompleted(e) => self.allocation_completed(e),
            Event::AllocationCancelled(e) => self.allocation_ended(e.allocation_id, e.vmid),
            Event::AllocationFailed(e) => {
                let failure = Failure { at, code: e.code, reason: e.reason.clone() };
                self.update_template(e.template, |template| template.failure = Some(failure));
                self.allocation_ended(e.allocation_id, e.vmid);
            }
            _ => {}
        }
    }

    fn allocation_queued(&mut self, e: &AllocationQueued) {
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

    fn allocated(&mut self, e: &Allocated) {
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

    fn allocation_requeued(&mut self, e: &AllocationRequeued) {
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

    fn allocation_completed(&mut self, e: &AllocationCompleted) {
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

    fn fold_container(&mut self, event: &Event) {
        match event {
            Event::ContainerRenamed(e) => self.container_renamed(e),
            Event::ContainerStarted(e) => {
                if let (Some(template), Some(duration_ms)) = (self.template_of(e.vmid), e.duration_ms) {
                    self.update_template(template, |template| {
                        template.start_ms = Some(smooth(template.start_ms, duration_ms));
                    });
                }
                self.update(e.vmid, |container| container.delay = None);
            }
            Event::ContainerStartFailed(e) => self.update(e.vmid, |_| {}),
            Event::ContainerDiscovered(e) => self.container_discovered(e),
            Event::ContainerMoved(e) => self.update(e.vmid, |container| {
                container.node = e.node.clone();
                container.delay = None;
            }),
            Event::ContainerLost(e) => self.drop_container(e.vmid),
            Event::ContainerQuarantined(e) => self.update(e.vmid, |container| {
                // An instance that was never answered with it is not its holder, and may be asked for again.
                let unanswered = container.holding().is_some_and(|holding| holding.completed_at.is_none());
                let instance_id = container.instance_id().filter(|_| !unanswered).cloned();
                container.delay = None;
                container.phase = Phase::Quarantined { fault: e.fault.clone(), instance_id };
            }),
            Event::OwnershipDoubted(e) => {
                self.update(e.vmid, |container| container.doubt = Some(e.reason.clone()));
            }
            Event::OwnershipConfirmed(e) => self.update(e.vmid, |container| container.doubt = None),
            Event::ActionDelayed(e) => self.update(e.vmid, |container| {
                container.delay =
                    Some(Delay { fault: e.fault.clone(), attempt: e.attempt, until: e.retry_at });
            }),
            _ => {}
        }
    }

    fn container_renamed(&mut self, e: &ContainerRenamed) {
        self.update(e.vmid, |container| {
            container.hostname = e.hostname.clone();
            if let Phase::Allocated(holding) = &mut container.phase
                && e.allocation_id == Some(holding.allocation_id)
            {
                container.delay = None;
                holding.stage = HandOut::Starting;
            }
        });
    }

    fn container_discovered(&mut self, e: &ContainerDiscovered) {
        let at = self.at;
        let phase = match &e.instance_id {
            None => Phase::Ready { since: at },
            Some(instance_id) => Phase::Allocated(Holding {
                allocation_id: AllocationId::of_found(e.clone_id),
                instance_id: instance_id.clone(),
                metadata: std::collections::BTreeMap::new(),
                start: false,
                from_pool: true,
                ttl_seconds: None,
                asked_at: at,
                attempt: 0,
                deadline: at,
                stage: HandOut::Done,
                completed_at: Some(at),
                expires_at: None,
                orphaned: false,
            }),
        };
        self.insert(Container {
            vmid: e.vmid,
            clone_id: e.clone_id,
            template: e.template,
            node: e.node.clone(),
            hostname: e.hostname.clone(),
            created_at: at,
            created_seq: self.head,
            // Nobody can tell whether it had a holder: it stands behind those that surely had none.
            uses: 1,
            touched: self.head,
            doubt: None,
            delay: None,
            phase,
        });
    }

    fn fold_leaving(&mut self, event: &Event) {
        let at = self.at;
        match event {
            Event::ReleaseRequested(e) => self.update(e.vmid, |container| {
                let holding = container.holding().cloned();
                let used = holding.as_ref().is_some_and(|holding| holding.stage != HandOut::Renaming);
                let answered = holding.as_ref().is_some_and(|holding| holding.completed_at.is_some());
                container.uses += u32::from(used && !answered);
                container.delay = None;
                container.phase = Phase::Releasing(Leaving {
                    instance_id: e.instance_id.clone(),
                    by: e.by,
                    since: at,
                    used: used || answered,
                    holding: holding.filter(|_| answered).map(Box::new),
                });
            }),
            Event::Released(e) => self.update(e.vmid, |container| {
                container.hostname = e.hostname.clone();
                container.delay = None;
                container.phase = Phase::Ready { since: at };
            }),
            Event::ReleaseFailed(e) => self.update(e.vmid, |container| {
                let Phase::Releasing(leaving) = &mut container.phase else { return };
                match (e.retry_at, leaving.holding.take()) {
                    (None, Some(mut holding)) => {
                        holding.stage = HandOut::Done;
                        // Its time to live may be what asked for the release: not again at once.
                        holding.expires_at =
                            holding.expires_at.map(|expires_at| expires_at.max(at.after(EXPIRY_PAUSE)));
                        container.phase = Phase::Allocated(*holding);
                    }
                    (retry_at, holding) => {
                        leaving.holding = holding;
                        let attempt = container.delay.as_ref().map_or(0, |delay| delay.attempt) + 1;
                        let until = retry_at.unwrap_or(at);
                        container.delay = Some(Delay { fault: e.fault.clone(), attempt, until });
                    }
                }
            }),
            Event::RemovalRequested(e) => self.removal_requested(e.vmid, e.by),
            Event::Removed(e) => self.drop_container(e.vmid),
            Event::RemovalFailed(e) => self.update(e.vmid, |container| {
                container.delay =
                    Some(Delay { fault: e.fault.clone(), attempt: e.attempt, until: e.retry_at });
            }),
            _ => {}
        }
    }

    fn removal_requested(&mut self, vmid: Vmid, by: LeaveReason) {
        let since = self.at;
        self.update(vmid, |container| {
            if let Phase::Creating(creating) = &mut container.phase
                && by != LeaveReason::CloneFailed
            {
                creating.unwanted = Some(by);
                return;
            }
            let instance_id = container.instance_id().cloned();
            container.delay = None;
            container.phase = Phase::Removing(Leaving { instance_id, by, since, used: true, holding: None });
        });
    }

    fn template_of(&self, vmid: Vmid) -> Option<Vmid> {
        self.containers.get(&vmid).map(|container| container.template)
    }

    fn update_template(&mut self, template: Vmid, change: impl FnOnce(&mut Template)) {
        if let Some(template) = self.templates.get_mut(&template) {
            change(template);
        }
    }

    /// Changes a container and everything derived from it.
    fn update(&mut self, vmid: Vmid, change: impl FnOnce(&mut Container)) {
        let Some(mut container) = self.remove(vmid) else { return };
        change(&mut container);
        container.touched = self.head;
        self.insert(container);
    }

    fn update_clone(&mut self, vmid: Vmid, change: impl FnOnce(&mut Creating)) {
        self.update(vmid, |container| {
            if let Phase::Creating(creating) = &mut container.phase {
                change(creating);
            }
        });
    }

    fn update_holding(&mut self, vmid: Vmid, allocation_id: AllocationId, change: impl FnOnce(&mut Holding)) {
        self.update(vmid, |container| {
            if let Phase::Allocated(holding) = &mut container.phase
                && holding.allocation_id == allocation_id
            {
                change(holding);
            }
        });
    }

    fn insert(&mut self, container: Container) {
        self.index.add(&container);
        self.update_template(container.template, |template| *template.counts.of(&container.phase) += 1);
        self.containers.insert(container.vmid, container);
    }

    fn remove(&mut self, vmid: Vmid) -> Option<Container> {
        let container = self.containers.remove(&vmid)?;
        self.index.remove(&container);
        self.update_template(container.template, |template| *template.counts.of(&container.phase) -= 1);
        Some(container)
    }

    /// The container is no more, and its VMID rests.
    fn drop_container(&mut self, vmid: Vmid) {
        self.remove(vmid);
        self.resting.insert(vmid, Resting { since: self.at, ended: self.head });
    }

    /// The same for a clone that never became a container; what it left behind is in another phase.
    fn drop_unmade(&mut self, vmid: Vmid) {
        if self.containers.get(&vmid).is_some_and(|container| container.creating().is_some()) {
            self.drop_container(vmid);
        }
    }

    /// The same for a clone that PVE refused at once: its VMID was never used, unless that was the reason.
    fn drop_refused(&mut self, vmid: Vmid, why: FaultKind) {
        let sending = |creating: &Creating| creating.stage == CloneStage::Sending;
        let unsent = self.containers.get(&vmid).and_then(Container::creating).is_some_and(sending);
        if unsent && why != FaultKind::VmidTaken {
            self.remove(vmid);
        } else {
            self.drop_unmade(vmid);
        }
    }

    fn take_from_queue(&mut self, template: Vmid, clone_id: CloneId) -> Option<QueuedClone> {
        let queue = &mut self.templates.get_mut(&template)?.queue;
        let place = queue.iter().position(|queued| queued.clone_id == clone_id)?;
        Some(queue.remove(place))
    }

    fn leave_line(&mut self, allocation_id: AllocationId) -> Option<Waiting> {
        let waiting = self.waiting.remove(&allocation_id)?;
        self.index.instances.remove(&waiting.instance_id);
        self.update_template(waiting.template, |template| template.line.retain(|id| *id != allocation_id));
        Some(waiting)
    }

    /// Ends what has reached its goal.
    fn round_off(&mut self, template_vmid: Vmid) {
        let refreshing = self.templates.get(&template_vmid).is_some_and(|t| t.refresh_before.is_some());
        let stale = refreshing && self.stale(template_vmid).next().is_some();
        let at = self.at;
        let (ready, max) = (self.ready_count(template_vmid), self.sizes(template_vmid).max);
        self.update_template(template_vmid, |template| {
            // A clone that is under way may still be refused: only what is ready has reached the goal.
            if template.warm_goal.is_some_and(|goal| ready >= goal.min(max)) {
                template.warm_goal = None;
            }
            if !stale {
                template.refresh_before = None;
            }
            template.idle_since = template.is_idle().then(|| template.idle_since.unwrap_or(at));
        });
    }

    /// Ready and coming containers of a template that a refresh is to replace.
    pub(super) fn stale(&self, template_vmid: Vmid) -> impl Iterator<Item = &Container> {
        let before = self.templates.get(&template_vmid).and_then(|template| template.refresh_before);
        let creating = self.busy().filter(move |c| c.template == template_vmid && c.creating().is_some());
        self.ready(template_vmid)
            .chain(creating)
            .filter(move |container| before.is_some_and(|before| container.created_seq < before))
    }
}

/// An estimate that follows its last values: three parts of the old, one of the new.
fn smooth(old: Option<u64>, new: u64) -> u64 {
    old.map_or(new, |old| (old * 3 + new) / 4)
}
