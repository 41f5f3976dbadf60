//! Where one piece of work is done: PVE, the clock, and whether PVE answered at all meanwhile.

use std::sync::OnceLock;
use std::time::Duration;

use crate::clock::Clock;
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::Vmid;
use crate::pve::{Error, Pve};

/// The pause before a node is asked again for what it says it does not have.
const SECOND_LOOK: Duration = Duration::from_secs(30);

/// What a piece of work needs of the world.
pub(crate) struct Site {
    /// PVE.
    pub(crate) pve: Pve,
    /// The time.
    pub(crate) clock: Clock,
    outage: OnceLock<String>,
}

impl Site {
    /// A site at which PVE has not failed yet.
    pub(crate) fn new(pve: Pve, clock: Clock) -> Self {
        Self { pve, clock, outage: OnceLock::new() }
    }

    /// Whether no guest of the cluster has the VMID, seen or unseen. Where PVE does not tell, every node that is
    /// online must say that there is no such container, and say so again a while later.
    pub(crate) async fn vmid_free(&self, vmid: Vmid) -> Result<bool, Error> {
        match self.pve.vmid_free(vmid).await {
            Err(error) if error.kind == FaultKind::Unsupported => {
                if !self.is_nowhere(vmid).await? {
                    return Ok(false);
                }
                self.clock.sleep(SECOND_LOOK).await;
                self.is_nowhere(vmid).await
            }
            told => told,
        }
    }

    async fn is_nowhere(&self, vmid: Vmid) -> Result<bool, Error> {
        let nodes = self.pve.nodes().await?;
        for node in nodes.into_iter().filter(|node| node.online) {
            match self.pve.config(&node.name, vmid).await {
                Err(error) if error.kind == FaultKind::Gone => {}
                there => return there.map(|_| false),
            }
        }
        Ok(true)
    }

    /// The fault that a call's error is. An error without any answer is remembered as an outage.
    pub(crate) fn fault(&self, error: Error) -> Fault {
        if is_outage(&error) {
            // Only the first is kept: one is enough.
            self.outage.get_or_init(|| error.to_string());
        }
        Fault::from(error)
    }

    /// Why PVE did not answer, if it once did not.
    pub(crate) fn outage(&self) -> Option<String> {
        self.outage.get().cloned()
    }
}

/// Nobody answered, so it is not about this call; with a status, somebody did, if only a node for another.
pub(crate) fn is_outage(error: &Error) -> bool {
    error.status.is_none() && matches!(error.kind, FaultKind::NotSent | FaultKind::OutcomeUnknown)
}
