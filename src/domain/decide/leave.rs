//! Requests to give a container back or to destroy it.

use super::Tx;
use crate::domain::command::{Leave, Rejection, Reply};
use crate::domain::event::{CancelReason, LeaveReason, ReleaseRequested, RemovalRequested};
use crate::domain::ids::Vmid;
use crate::domain::state::{Container, Phase};

impl Tx<'_> {
    pub(super) fn release(&mut self, leave: &Leave) -> Result<Reply, Rejection> {
        let container = self.leaving_container(leave)?;
        let (vmid, state) = (container.vmid, container.phase.name());
        let by = LeaveReason::Request;
        match &container.phase {
            Phase::Ready { .. } => Ok(Reply::Done),
            Phase::Allocated(holding) => {
                let instance_id = Some(holding.instance_id.clone());
                self.cancel_hand_out(vmid, CancelReason::Released);
                self.emit(ReleaseRequested { vmid, instance_id, by });
                Ok(Reply::Leaving { vmid, by })
            }
            Phase::Releasing(leaving) => Ok(Reply::Leaving { vmid, by: leaving.by }),
            Phase::Creating(_) | Phase::Removing(_) | Phase::Quarantined { .. } => {
                Err(Rejection::WrongState { vmid, state, what: "released" })
            }
        }
    }

    pub(super) fn remove(&mut self, leave: &Leave) -> Result<Reply, Rejection> {
        let container = self.leaving_container(leave)?;
        let vmid = container.vmid;
        let by = LeaveReason::Request;
        // What nobody holds may be the next one's; a release of it does nothing, and this would.
        if let (Some(asked), None) = (&leave.instance_id, container.instance_id()) {
            return Err(Rejection::HeldByAnother { vmid, asked: asked.clone() });
        }
        match &container.phase {
            Phase::Removing(leaving) => return Ok(Reply::Leaving { vmid, by: leaving.by }),
            Phase::Creating(creating) => {
                if let Some(by) = creating.unwanted {
                    return Ok(Reply::Leaving { vmid, by });
                }
            }
            Phase::Allocated(_) => self.cancel_hand_out(vmid, CancelReason::Removed),
            Phase::Ready { .. } | Phase::Releasing(_) | Phase::Quarantined { .. } => {}
        }
        self.emit(RemovalRequested { vmid, by });
        Ok(Reply::Leaving { vmid, by })
    }

    fn leaving_container(&self, leave: &Leave) -> Result<Container, Rejection> {
        self.running()?;
        let vmid: Vmid = leave.vmid;
        let container = self.container(vmid).ok_or(Rejection::ContainerUnknown { vmid })?;
        let held_by = container.instance_id();
        if let Some(asked) = &leave.instance_id
            && held_by.is_some_and(|instance_id| instance_id.as_str() != asked)
        {
            return Err(Rejection::HeldByAnother { vmid, asked: asked.clone() });
        }
        if let Some(reason) = &container.doubt {
            return Err(Rejection::OwnershipDoubted { vmid, reason: reason.clone() });
        }
        Ok(container.clone())
    }
}
