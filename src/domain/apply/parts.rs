//! Changes of State from which all that is derived follows: the counts, the index, the rest of a VMID.

use crate::domain::fault::FaultKind;
use crate::domain::ids::{AllocationId, CloneId, Vmid};
use crate::domain::state::{
    CloneStage, Container, Creating, Holding, Phase, QueuedClone, Resting, State, Template, Waiting,
};

impl State {
    pub(super) fn template_of(&self, vmid: Vmid) -> Option<Vmid> {
        self.containers.get(&vmid).map(|container| container.template)
    }

    pub(super) fn update_template(&mut self, template: Vmid, change: impl FnOnce(&mut Template)) {
        if let Some(template) = self.templates.get_mut(&template) {
            change(template);
        }
    }

    /// Changes a container and everything derived from it.
    pub(super) fn update(&mut self, vmid: Vmid, change: impl FnOnce(&mut Container)) {
        let Some(mut container) = self.remove(vmid) else { return };
        change(&mut container);
        container.touched = self.head;
        self.insert(container);
    }

    pub(super) fn update_clone(&mut self, vmid: Vmid, change: impl FnOnce(&mut Creating)) {
        self.update(vmid, |container| {
            if let Phase::Creating(creating) = &mut container.phase {
                change(creating);
            }
        });
    }

    pub(super) fn update_holding(
        &mut self,
        vmid: Vmid,
        allocation_id: AllocationId,
        change: impl FnOnce(&mut Holding),
    ) {
        self.update(vmid, |container| {
            if let Phase::Allocated(holding) = &mut container.phase
                && holding.allocation_id == allocation_id
            {
                change(holding);
            }
        });
    }

    pub(super) fn insert(&mut self, container: Container) {
        self.index.add(&container);
        self.update_template(container.template, |template| *template.counts.of(&container.phase) += 1);
        self.containers.insert(container.vmid, container);
    }

    pub(super) fn remove(&mut self, vmid: Vmid) -> Option<Container> {
        let container = self.containers.remove(&vmid)?;
        self.index.remove(&container);
        self.update_template(container.template, |template| *template.counts.of(&container.phase) -= 1);
        Some(container)
    }

    /// The container is no more, and its VMID rests.
    pub(super) fn drop_container(&mut self, vmid: Vmid) {
        self.remove(vmid);
        self.resting.insert(vmid, Resting { since: self.at, ended: self.head });
    }

    /// The same for a clone that never became a container; what it left behind is in another phase.
    pub(super) fn drop_unmade(&mut self, vmid: Vmid) {
        if self.containers.get(&vmid).is_some_and(|container| container.creating().is_some()) {
            self.drop_container(vmid);
        }
    }

    /// The same for a clone that PVE refused at once: its VMID was never used, unless that was the reason.
    pub(super) fn drop_refused(&mut self, vmid: Vmid, why: FaultKind) {
        let sending = |creating: &Creating| creating.stage == CloneStage::Sending;
        let unsent = self.containers.get(&vmid).and_then(Container::creating).is_some_and(sending);
        if unsent && why != FaultKind::VmidTaken {
            self.remove(vmid);
        } else {
            self.drop_unmade(vmid);
        }
    }

    pub(super) fn take_from_queue(&mut self, template: Vmid, clone_id: CloneId) -> Option<QueuedClone> {
        let queue = &mut self.templates.get_mut(&template)?.queue;
        let place = queue.iter().position(|queued| queued.clone_id == clone_id)?;
        Some(queue.remove(place))
    }

    pub(super) fn leave_line(&mut self, allocation_id: AllocationId) -> Option<Waiting> {
        let waiting = self.waiting.remove(&allocation_id)?;
        self.index.instances.remove(&waiting.instance_id);
        self.update_template(waiting.template, |template| template.line.retain(|id| *id != allocation_id));
        Some(waiting)
    }
}

/// An estimate that follows its last values: three parts of the old, one of the new.
pub(super) fn smooth(old: Option<u64>, new: u64) -> u64 {
    old.map_or(new, |old| (old * 3 + new) / 4)
}
