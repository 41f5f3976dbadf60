//! What happens to containers at PVE, and what is found there.

use std::collections::BTreeMap;

use super::parts::smooth;
use crate::domain::event::{
    ActionDelayed, ContainerDiscovered, ContainerLost, ContainerMoved, ContainerQuarantined,
    ContainerRenamed, ContainerStartFailed, ContainerStarted, OwnershipConfirmed, OwnershipDoubted,
};
use crate::domain::ids::AllocationId;
use crate::domain::state::{Container, Delay, HandOut, Holding, Phase, State};

impl State {
    pub(super) fn container_renamed(&mut self, e: &ContainerRenamed) {
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

    pub(super) fn container_started(&mut self, e: &ContainerStarted) {
        if let (Some(template), Some(duration_ms)) = (self.template_of(e.vmid), e.duration_ms) {
            self.update_template(template, |template| {
                template.start_ms = Some(smooth(template.start_ms, duration_ms));
            });
        }
        self.update(e.vmid, |container| container.delay = None);
    }

    pub(super) fn container_start_failed(&mut self, e: &ContainerStartFailed) {
        self.update(e.vmid, |_| {});
    }

    pub(super) fn container_discovered(&mut self, e: &ContainerDiscovered) {
        let at = self.at;
        let phase = match &e.instance_id {
            None => Phase::Ready { since: at },
            Some(instance_id) => Phase::Allocated(Holding {
                allocation_id: AllocationId::of_found(e.clone_id),
                instance_id: instance_id.clone(),
                metadata: BTreeMap::new(),
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

    pub(super) fn container_moved(&mut self, e: &ContainerMoved) {
        self.update(e.vmid, |container| {
            container.node = e.node.clone();
            container.delay = None;
        });
    }

    pub(super) fn container_lost(&mut self, e: &ContainerLost) {
        self.drop_container(e.vmid);
    }

    pub(super) fn container_quarantined(&mut self, e: &ContainerQuarantined) {
        self.update(e.vmid, |container| {
            // An instance that was never answered with it is not its holder, and may be asked for again.
            let unanswered = container.holding().is_some_and(|holding| holding.completed_at.is_none());
            let instance_id = container.instance_id().filter(|_| !unanswered).cloned();
            container.delay = None;
            container.phase = Phase::Quarantined { fault: e.fault.clone(), instance_id };
        });
    }

    pub(super) fn ownership_doubted(&mut self, e: &OwnershipDoubted) {
        self.update(e.vmid, |container| container.doubt = Some(e.reason.clone()));
    }

    pub(super) fn ownership_confirmed(&mut self, e: &OwnershipConfirmed) {
        self.update(e.vmid, |container| container.doubt = None);
    }

    pub(super) fn action_delayed(&mut self, e: &ActionDelayed) {
        self.update(e.vmid, |container| {
            container.delay = Some(Delay { fault: e.fault.clone(), attempt: e.attempt, until: e.retry_at });
        });
    }
}
