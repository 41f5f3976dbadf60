//! What the comparison of PVE's inventory with State found.
//!
//! A finding counts only if nothing happened to its container since the look began, and never for one that
//! an action is at work on: the action looks for itself.

use super::Tx;
use crate::domain::command::{Discovered, Finding};
use crate::domain::event::{
    CloneStarted, CloneSubmitted, ContainerDiscovered, ContainerMoved, ContainerQuarantined, LeaveReason,
    OwnershipConfirmed, OwnershipDoubted, ReconcileFailed, Reconciled, RemovalRequested, TemplateAdded,
};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{CloneId, InstanceId, Seq, Vmid, pool_hostname};
use crate::domain::state::{Container, HandOut, Phase};

impl Tx<'_> {
    pub(super) fn reconciled(&mut self, as_of: Seq, findings: Vec<Finding>) {
        for finding in findings {
            self.found(as_of, finding);
        }
        if !self.state.service.reconciled || self.state.service.reconcile_fault.is_some() {
            let containers = u32::try_from(self.state.containers.len()).unwrap_or(u32::MAX);
            self.emit(Reconciled { containers });
        }
    }

    pub(super) fn reconcile_failed(&mut self, fault: Fault) {
        // The same trouble in other words is no news.
        let known = self.state.service.reconcile_fault.as_ref().is_some_and(|it| it.kind == fault.kind);
        if !known {
            self.emit(ReconcileFailed { fault });
        }
    }

    fn found(&mut self, as_of: Seq, finding: Finding) {
        match finding {
            Finding::Discovered(discovered) => self.discovered(as_of, discovered),
            Finding::Lost { vmid, reason } => {
                if let Some(container) = self.at_rest(vmid, as_of) {
                    self.lose(&container, reason);
                }
            }
            Finding::Moved { vmid, node } => {
                if self.at_rest(vmid, as_of).is_some_and(|container| container.node != node) {
                    self.emit(ContainerMoved { vmid, node });
                }
            }
            Finding::Doubtful { vmid, reason } => {
                if self.at_rest(vmid, as_of).is_some_and(|container| container.doubt.is_none()) {
                    self.emit(OwnershipDoubted { vmid, reason });
                }
            }
            Finding::Confirmed { vmid } => {
                if self.container(vmid).is_some_and(|c| c.doubt.is_some() && c.touched <= as_of) {
                    self.emit(OwnershipConfirmed { vmid });
                }
            }
            Finding::Unready { vmid, fault } => {
                let ready = self.at_rest(vmid, as_of).is_some_and(|container| container.may_be_handed_out());
                // A lock passes by itself; a container that runs is no longer as it was cloned.
                if ready && fault.kind != FaultKind::Locked {
                    self.emit(RemovalRequested { vmid, by: LeaveReason::Unusable });
                }
            }
            Finding::Freed { vmid } => {
                if self.at_rest(vmid, as_of).is_some_and(|c| matches!(c.phase, Phase::Quarantined { .. })) {
                    self.emit(RemovalRequested { vmid, by: LeaveReason::Freed });
                }
            }
        }
    }

    /// The container, if no action works on it and nothing happened to it since the look began.
    fn at_rest(&self, vmid: Vmid, as_of: Seq) -> Option<Container> {
        let container = self.container(vmid).filter(|container| container.touched <= as_of)?;
        let at_rest = match &container.phase {
            Phase::Ready { .. } | Phase::Quarantined { .. } => true,
            Phase::Allocated(holding) => holding.stage == HandOut::Done,
            // Without surely being ours, no action runs.
            Phase::Releasing(_) | Phase::Removing(_) => container.doubt.is_some(),
            Phase::Creating(_) => false,
        };
        at_rest.then(|| container.clone())
    }

    fn discovered(&mut self, as_of: Seq, found: Discovered) {
        let gone_since = self.state.resting.get(&found.vmid).is_some_and(|resting| resting.ended > as_of);
        let known_vmid = self.container(found.vmid).is_some();
        let known_clone = found.clone_id.is_some_and(|clone_id| self.state.has_clone(clone_id));
        if gone_since || known_vmid || known_clone {
            return;
        }
        let (vmid, template) = (found.vmid, found.template);
        // What State knows to be made of the template is what its lock is for; it is looked at again after that.
        let lane_is_taken = self.template(template).is_some_and(|template| template.counts.creating > 0);
        if found.making.is_some() && lane_is_taken {
            return;
        }
        if self.template(template).is_none() {
            self.emit(TemplateAdded { template, node: None, linkable: None });
        }
        let clone_id = match found.clone_id {
            Some(clone_id) => clone_id,
            None => CloneId(self.ulid()),
        };
        if let Some(upid) = found.making {
            let (node, hostname) = (found.node, found.hostname);
            self.emit(CloneStarted { clone_id, template, vmid, node, hostname, linked: true, attempt: 1 });
            self.emit(CloneSubmitted { clone_id, template, vmid, upid });
            return;
        }
        // Its instance has another one by now. Who uses this one is not known: it is held by a name of its own
        // until a person releases or removes it.
        let own_name =
            || InstanceId(pool_hostname(&self.state.settings.hostname_prefix, template, clone_id).0);
        let claimed = |id: InstanceId| if self.state.place(&id).is_some() { own_name() } else { id };
        let instance_id = found.instance_id.map(claimed);
        let (node, hostname) = (found.node, found.hostname);
        self.emit(ContainerDiscovered { vmid, clone_id, template, node, hostname, instance_id });
        if let Some(fault) = found.stuck {
            self.emit(ContainerQuarantined { vmid, fault });
        }
    }
}
