//! What actions on containers saw at PVE: how hand-outs, releases and removals go on.
//!
//! An observation that is older than the container's last event is dropped: the action that follows looks
//! for itself.

use std::time::Duration;

use super::clone::millis;
use super::{Tx, doubling};
use crate::domain::command::Hindrance;
use crate::domain::event::{
    ActionDelayed, AllocationCompleted, AllocationRequeued, ContainerLost, ContainerMoved,
    ContainerQuarantined, ContainerRenamed, ContainerStartFailed, ContainerStarted, FailureCode, LeaveReason,
    OwnershipDoubted, ReleaseFailed, Released, RemovalFailed, RemovalRequested, Removed,
};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{Hostname, Seq, Vmid};
use crate::domain::marker::replaced;
use crate::domain::settings::ReleasePolicy;
use crate::domain::state::{Container, HandOut, Leaving, Phase};

/// Unusable containers that one allocation may meet before it fails.
const HAND_OUT_TRIES: u32 = 3;
/// Pauses of a hand-out that PVE keeps from going on.
const HAND_OUT_DELAY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
/// Pauses of everything else.
const DELAY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_mins(2));
/// Pauses of looking at a clone: its template is closed until its end is known.
const CLONE_DELAY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

impl Tx<'_> {
    /// The container as it is, if nothing happened to it since the look began.
    fn unchanged(&self, vmid: Vmid, as_of: Seq) -> Option<Container> {
        self.container(vmid).filter(|container| container.touched <= as_of).cloned()
    }

    pub(super) fn renamed(&mut self, vmid: Vmid, as_of: Seq, running: bool) {
        let Some(container) = self.unchanged(vmid, as_of) else { return };
        let Some(holding) = container.holding().filter(|h| h.stage == HandOut::Renaming) else { return };
        let hostname = holding.instance_id.hostname();
        let resumed = holding.completed_at.is_some();
        let to_start = holding.start && !(resumed && running);
        if to_start || container.hostname != hostname {
            let allocation_id = Some(holding.allocation_id);
            self.emit(ContainerRenamed { vmid, hostname, allocation_id });
        }
        if !to_start {
            self.complete(vmid);
        }
    }

    pub(super) fn started(&mut self, vmid: Vmid, as_of: Seq, duration_ms: Option<u64>) {
        let Some(container) = self.unchanged(vmid, as_of) else { return };
        let Some(holding) = container.holding().filter(|h| h.stage == HandOut::Starting) else { return };
        self.emit(ContainerStarted { vmid, allocation_id: holding.allocation_id, duration_ms });
        self.complete(vmid);
    }

    pub(super) fn start_failed(&mut self, vmid: Vmid, as_of: Seq, fault: &Fault) {
        let Some(container) = self.unchanged(vmid, as_of) else { return };
        let Some(holding) = container.holding().filter(|h| h.stage == HandOut::Starting) else { return };
        let (allocation_id, answered) = (holding.allocation_id, holding.completed_at.is_some());
        self.emit(ContainerStartFailed { vmid, allocation_id, fault: fault.clone() });
        if answered {
            // Its holder has data in it: it stays.
            self.fail_hand_out(vmid, FailureCode::ContainersUnusable, format!("container {vmid}: {fault}"));
        } else {
            self.unusable(&container, fault);
        }
    }

    fn complete(&mut self, vmid: Vmid) {
        let Some((template, holding)) = self.handing_out(vmid) else { return };
        let Some(node) = self.container(vmid).map(|container| container.node.clone()) else { return };
        let ttl = holding.ttl_seconds.map(Duration::from_secs);
        let expires_at = match holding.completed_at {
            Some(_) => holding.expires_at,
            None => ttl.map(|ttl| self.now.after(ttl)),
        };
        self.emit(AllocationCompleted {
            allocation_id: holding.allocation_id,
            instance_id: holding.instance_id,
            template,
            vmid,
            node,
            from_pool: holding.from_pool,
            expires_at,
            duration_ms: millis(self.now.since(holding.asked_at)),
        });
    }

    /// The container is to blame: it is destroyed, and its allocation is first in line for another.
    fn unusable(&mut self, container: &Container, fault: &Fault) {
        let vmid = container.vmid;
        self.requeue(container, fault);
        self.emit(RemovalRequested { vmid, by: LeaveReason::Unusable });
    }

    /// Takes the allocation off a container that cannot serve it; ends it after too many of those.
    fn requeue(&mut self, container: &Container, fault: &Fault) {
        let vmid = container.vmid;
        let Some((template, holding)) = self.handing_out(vmid) else { return };
        let attempt = if holding.completed_at.is_some() { 0 } else { holding.attempt + 1 };
        if attempt >= HAND_OUT_TRIES {
            let reason =
                format!("{attempt} containers in a row were not usable, the last was {vmid}: {fault}");
            self.fail_hand_out(vmid, FailureCode::ContainersUnusable, reason);
        } else {
            let (allocation_id, fault) = (holding.allocation_id, fault.clone());
            self.emit(AllocationRequeued { allocation_id, template, vmid, attempt, fault });
        }
    }

    pub(super) fn parked(&mut self, vmid: Vmid, as_of: Seq, hostname: Hostname) {
        let Some(container) = self.unchanged(vmid, as_of) else { return };
        let Phase::Releasing(leaving) = &container.phase else { return };
        let not_reused = self.why_not_reused(&container, leaving);
        self.emit(Released {
            vmid,
            template: container.template,
            instance_id: leaving.instance_id.clone(),
            hostname,
            reused: not_reused.is_none(),
        });
        if let Some(by) = not_reused {
            self.emit(RemovalRequested { vmid, by });
        }
    }

    fn why_not_reused(&self, container: &Container, leaving: &Leaving) -> Option<LeaveReason> {
        let template = self.template(container.template)?;
        let sizes = self.state.sizes(container.template);
        let waiting = u32::try_from(template.line.len()).unwrap_or(u32::MAX);
        let ready = self.state.ready_count(container.template);
        let inventory = (ready + self.coming(container.template)).saturating_sub(waiting);
        if template.drained {
            Some(LeaveReason::Drained)
        } else if leaving.used && self.state.settings.release_policy == ReleasePolicy::Recycle {
            Some(LeaveReason::Recycled)
        } else if waiting == 0 && inventory >= sizes.max {
            Some(LeaveReason::Surplus)
        } else {
            None
        }
    }

    pub(super) fn renamed_back(&mut self, vmid: Vmid, as_of: Seq, hostname: Hostname) {
        if self.unchanged(vmid, as_of).is_some() {
            self.emit(ContainerRenamed { vmid, hostname, allocation_id: None });
        }
    }

    pub(super) fn destroyed(&mut self, vmid: Vmid) {
        let Some(container) = self.container(vmid).cloned() else { return };
        if let Phase::Removing(leaving) = container.phase {
            self.emit(Removed { vmid, template: container.template, instance_id: leaving.instance_id });
        }
    }

    pub(super) fn hindered(&mut self, vmid: Vmid, as_of: Seq, by: Hindrance) {
        let Some(container) = self.unchanged(vmid, as_of) else { return };
        match by {
            Hindrance::Moved { node } if node != container.node => {
                self.emit(ContainerMoved { vmid, node });
            }
            Hindrance::Moved { node } => {
                let fault = Fault::new(FaultKind::Other, format!("CT {vmid} is on {node}, and is not"));
                self.delay(&container, fault, CLONE_DELAY);
            }
            by => match &container.phase {
                Phase::Allocated(_) => self.hand_out_hindered(&container, by),
                Phase::Releasing(leaving) => self.release_hindered(&container, leaving, by),
                Phase::Removing(_) => self.removal_hindered(&container, by),
                Phase::Creating(_) => self.clone_hindered(&container, &by),
                Phase::Ready { .. } | Phase::Quarantined { .. } => {}
            },
        }
    }

    /// A clone ends by what its task says: until then anything else is looked at again later.
    fn clone_hindered(&mut self, container: &Container, by: &Hindrance) {
        let fault = match by {
            Hindrance::Pve { fault } | Hindrance::Unusable { fault } | Hindrance::Stuck { fault } => {
                fault.clone()
            }
            Hindrance::Gone => Fault::new(FaultKind::Gone, format!("CT {} is not there", container.vmid)),
            Hindrance::Foreign { reason } | Hindrance::Doubt { reason } => {
                Fault::new(FaultKind::Other, reason.clone())
            }
            Hindrance::Moved { node } => Fault::new(FaultKind::Other, format!("it is on {node}")),
        };
        self.delay(container, fault, DELAY);
    }

    fn hand_out_hindered(&mut self, container: &Container, by: Hindrance) {
        let vmid = container.vmid;
        let Some((_, holding)) = self.handing_out(vmid) else { return };
        let answered = holding.completed_at.is_some();
        match by {
            Hindrance::Gone => self.lost_in_hand_out(container, format!("CT {vmid} is gone from PVE")),
            Hindrance::Foreign { reason } => self.lost_in_hand_out(container, replaced(&reason)),
            Hindrance::Doubt { reason } => {
                if answered {
                    let reason = format!("container {vmid} is left alone: {reason}");
                    self.fail_hand_out(vmid, FailureCode::OwnershipDoubted, reason);
                } else {
                    self.requeue(container, &Fault::new(FaultKind::ConfigChanged, reason.clone()));
                    self.take_back_unanswered(vmid);
                }
                self.emit(OwnershipDoubted { vmid, reason });
            }
            Hindrance::Unusable { fault } if answered => self.delay(container, fault, HAND_OUT_DELAY),
            Hindrance::Unusable { fault } => self.unusable(container, &fault),
            Hindrance::Stuck { fault } if answered => {
                self.fail_hand_out(vmid, FailureCode::PveRefused, format!("container {vmid}: {fault}"));
            }
            Hindrance::Stuck { fault } => {
                self.requeue(container, &fault);
                self.emit(ContainerQuarantined { vmid, fault });
            }
            Hindrance::Pve { fault } if refused(&fault) => {
                self.fail_hand_out(vmid, FailureCode::PveRefused, fault.to_string());
                self.take_back_unanswered(vmid);
            }
            Hindrance::Pve { fault } => self.delay(container, fault, HAND_OUT_DELAY),
            Hindrance::Moved { .. } => {}
        }
    }

    fn lost_in_hand_out(&mut self, container: &Container, reason: String) {
        self.requeue(container, &Fault::new(FaultKind::Gone, reason.clone()));
        self.lose(container, reason);
    }

    fn release_hindered(&mut self, container: &Container, leaving: &Leaving, by: Hindrance) {
        let vmid = container.vmid;
        match by {
            Hindrance::Gone => self.lose(container, format!("CT {vmid} is gone from PVE")),
            Hindrance::Foreign { reason } => self.lose(container, replaced(&reason)),
            Hindrance::Doubt { reason } => {
                let fault = Fault::new(FaultKind::ConfigChanged, reason.clone());
                self.release_failed(container, leaving, fault);
                self.emit(OwnershipDoubted { vmid, reason });
            }
            Hindrance::Stuck { fault } => self.emit(ContainerQuarantined { vmid, fault }),
            Hindrance::Pve { fault } if refused(&fault) => self.release_failed(container, leaving, fault),
            Hindrance::Unusable { fault } | Hindrance::Pve { fault } => self.delay(container, fault, DELAY),
            Hindrance::Moved { .. } => {}
        }
    }

    /// Back to its holder if it has one; otherwise the release is tried again.
    fn release_failed(&mut self, container: &Container, leaving: &Leaving, fault: Fault) {
        let retry_at = leaving.holding.is_none().then(|| self.now.after(pause(container, DELAY)));
        self.emit(ReleaseFailed { vmid: container.vmid, fault, retry_at });
    }

    fn removal_hindered(&mut self, container: &Container, by: Hindrance) {
        let vmid = container.vmid;
        match by {
            Hindrance::Gone => self.destroyed(vmid),
            Hindrance::Foreign { reason } => self.lose(container, replaced(&reason)),
            Hindrance::Doubt { reason } => self.emit(OwnershipDoubted { vmid, reason }),
            Hindrance::Stuck { fault } => self.emit(ContainerQuarantined { vmid, fault }),
            Hindrance::Unusable { fault } => self.delay(container, fault, DELAY),
            Hindrance::Pve { fault } if passes_by_itself(fault.kind) => self.delay(container, fault, DELAY),
            Hindrance::Pve { fault } => {
                let retry_at = self.now.after(pause(container, DELAY));
                let attempt = tries(container) + 1;
                self.emit(RemovalFailed { vmid, fault, attempt, retry_at });
            }
            Hindrance::Moved { .. } => {}
        }
    }

    fn delay(&mut self, container: &Container, fault: Fault, span: (Duration, Duration)) {
        let retry_at = self.now.after(pause(container, span));
        let attempt = tries(container) + 1;
        self.emit(ActionDelayed { vmid: container.vmid, fault, attempt, retry_at });
    }

    /// The container is no more, or no more ours.
    pub(super) fn lose(&mut self, container: &Container, reason: String) {
        // As it was found: who was put back in line just now held it still.
        let instance_id = container.instance_id().cloned();
        self.emit(ContainerLost { vmid: container.vmid, template: container.template, instance_id, reason });
    }
}

/// PVE said no, and will say it again.
fn refused(fault: &Fault) -> bool {
    fault.kind.is_permanent() && fault.kind != FaultKind::Gone
}

/// Nothing failed yet: PVE does not answer, or somebody else is at the container.
fn passes_by_itself(kind: FaultKind) -> bool {
    matches!(
        kind,
        FaultKind::NotSent
            | FaultKind::OutcomeUnknown
            | FaultKind::NodeUnreachable
            | FaultKind::Locked
            | FaultKind::Busy
            | FaultKind::ClusterDegraded
            | FaultKind::ConfigChanged
    )
}

fn tries(container: &Container) -> u32 {
    container.delay.as_ref().map_or(0, |delay| delay.attempt)
}

fn pause(container: &Container, (first, most): (Duration, Duration)) -> Duration {
    doubling(first, most, tries(container))
}
