//! Where one piece of work is done: PVE, the clock, and whether PVE answered at all meanwhile.

use std::sync::OnceLock;

use crate::clock::Clock;
use crate::domain::fault::{Fault, FaultKind};
use crate::pve::{Error, Pve};

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
