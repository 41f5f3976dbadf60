//! What becomes of clones.

use std::time::Duration;

use super::parts::smooth;
use crate::domain::event::{
    CloneCancelled, CloneFailed, ClonePurpose, CloneQueued, CloneRetryScheduled, CloneStarted,
    CloneSubmitted, CloneSucceeded, CloneUncertain,
};
use crate::domain::fault::FaultKind;
use crate::domain::settings::CloneMode;
use crate::domain::state::{CloneStage, Container, Creating, Phase, QueuedClone, State, VMID_REST};

/// Tries of a refused clone that was cancelled count for its successor for this long after they ended.
const TRIES_COUNT: Duration = Duration::from_mins(1);

impl State {
    pub(super) fn clone_queued(&mut self, e: &CloneQueued) {
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

    pub(super) fn clone_started(&mut self, e: &CloneStarted) {
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

    pub(super) fn clone_submitted(&mut self, e: &CloneSubmitted) {
        self.update_clone(e.vmid, |creating| creating.stage = CloneStage::Running { upid: e.upid.clone() });
    }

    pub(super) fn clone_uncertain(&mut self, e: &CloneUncertain) {
        self.update_clone(e.vmid, |creating| creating.stage = CloneStage::Uncertain);
    }

    pub(super) fn clone_retry_scheduled(&mut self, e: &CloneRetryScheduled) {
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

    pub(super) fn clone_succeeded(&mut self, e: &CloneSucceeded) {
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

    pub(super) fn clone_failed(&mut self, e: &CloneFailed) {
        self.take_from_queue(e.template, e.clone_id);
        if let Some(vmid) = e.vmid {
            self.drop_unmade(vmid);
        }
    }

    pub(super) fn clone_cancelled(&mut self, e: &CloneCancelled) {
        let refused = self.take_from_queue(e.template, e.clone_id).filter(|queued| queued.fault.is_some());
        if refused.is_some() {
            self.update_template(e.template, |template| template.interrupted = refused);
        }
    }
}
