//! Folds one event into State. It cannot fail: what was decided did happen.
//!
//! An event about something that State no longer has changes nothing but the head; `decide` emits none.

mod allocation;
mod clone;
mod container;
mod leaving;
mod parts;
mod template;

use std::time::Duration;

use super::event::{Envelope, Event, LogRedacted, ServiceStarted};
use super::ids::{AllocationId, Seq, Vmid};
use super::state::{CloneStage, Container, Holding, Phase, Service, ServicePhase, State, Waiting};
use super::time::Timestamp;

/// A hand-out of before a restart is cancelled after this, unless its instance is asked for again.
pub(super) const ORPHAN_GRACE: Duration = Duration::from_mins(2);

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
        self.take_in(event);
        if let Some(template) = template {
            self.round_off(template);
        }
    }

    fn take_in(&mut self, event: &Event) {
        match event {
            Event::ServiceStarted(e) => self.service_started(e),
            Event::SettingsChanged(e) => self.settings = e.settings.clone(),
            Event::ServiceStopping(_) => self.service.phase = ServicePhase::Stopping,
            Event::ServiceStopped(_) => self.service.phase = ServicePhase::Stopped,
            Event::PveUnreachable(e) => self.service.pve_unreachable = Some((self.at, e.reason.clone())),
            Event::PveReachable(_) => self.service.pve_unreachable = None,
            Event::ReconcileFailed(e) => self.service.reconcile_fault = Some(e.fault.clone()),
            Event::Reconciled(_) => self.reconciled(),
            Event::LogRedacted(e) => self.log_redacted(e),
            Event::TemplateAdded(e) => self.template_added(e),
            Event::TemplateConfigured(e) => self.template_configured(e),
            Event::TemplateWarmed(e) => self.template_warmed(e),
            Event::TemplateBackedOff(e) => self.template_backed_off(e),
            Event::TemplateDrained(e) => self.template_drained(e),
            Event::TemplateRefreshed(e) => self.template_refreshed(e),
            Event::TemplateRemoved(e) => self.template_removed(e),
            Event::CloneQueued(e) => self.clone_queued(e),
            Event::CloneStarted(e) => self.clone_started(e),
            Event::CloneSubmitted(e) => self.clone_submitted(e),
            Event::CloneUncertain(e) => self.clone_uncertain(e),
            Event::CloneRetryScheduled(e) => self.clone_retry_scheduled(e),
            Event::CloneSucceeded(e) => self.clone_succeeded(e),
            Event::CloneFailed(e) => self.clone_failed(e),
            Event::CloneCancelled(e) => self.clone_cancelled(e),
            Event::AllocationQueued(e) => self.allocation_queued(e),
            Event::Allocated(e) => self.allocated(e),
            Event::AllocationRequeued(e) => self.allocation_requeued(e),
            Event::AllocationResumed(e) => self.allocation_resumed(e),
            Event::AllocationCompleted(e) => self.allocation_completed(e),
            Event::AllocationCancelled(e) => self.allocation_cancelled(e),
            Event::AllocationFailed(e) => self.allocation_failed(e),
            Event::ContainerRenamed(e) => self.container_renamed(e),
            Event::ContainerStarted(e) => self.container_started(e),
            Event::ContainerStartFailed(e) => self.container_start_failed(e),
            Event::ContainerDiscovered(e) => self.container_discovered(e),
            Event::ContainerMoved(e) => self.container_moved(e),
            Event::ContainerLost(e) => self.container_lost(e),
            Event::ContainerQuarantined(e) => self.container_quarantined(e),
            Event::OwnershipDoubted(e) => self.ownership_doubted(e),
            Event::OwnershipConfirmed(e) => self.ownership_confirmed(e),
            Event::ActionDelayed(e) => self.action_delayed(e),
            Event::ReleaseRequested(e) => self.release_requested(e),
            Event::Released(e) => self.released(e),
            Event::ReleaseFailed(e) => self.release_failed(e),
            Event::RemovalRequested(e) => self.removal_requested(e),
            Event::Removed(e) => self.removed(e),
            Event::RemovalFailed(e) => self.removal_failed(e),
            Event::WebhookAdded(e) => self.webhook_added(e),
            Event::WebhookRemoved(e) => self.webhook_removed(e),
            Event::WebhookForgotten(e) => self.webhook_forgotten(e),
            Event::WebhookCheckpointed(e) => self.webhook_checkpointed(e),
            Event::WebhookFailing(e) => self.webhook_failing(e),
            Event::WebhookRecovered(e) => self.webhook_recovered(e),
            Event::WebhookParked(e) => self.webhook_parked(e),
            Event::WebhookRetried(e) => self.webhook_retried(e),
            Event::WebhookDropped(e) => self.webhook_dropped(e),
            Event::WebhookPaused(e) => self.webhook_paused(e),
            Event::WebhookResumed(e) => self.webhook_resumed(e),
            Event::WebhookDisabled(e) => self.webhook_disabled(e),
            Event::WebhookReplayRequested(e) => self.webhook_replay_requested(e),
            Event::WebhookReplayEnded(e) => self.webhook_replay_ended(e),
            Event::WebhookTested(_) | Event::WebhookReplayMissed(_) => {}
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

    fn reconciled(&mut self) {
        self.service.reconciled = true;
        self.service.reconcile_fault = None;
    }

    fn log_redacted(&mut self, e: &LogRedacted) {
        self.forget_metadata(e.instance_id.as_str());
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
