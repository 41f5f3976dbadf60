//! Why a request has no answer of its own: a value, for whoever speaks to the caller to put into words.

use crate::domain::event::{CancelReason, FailureCode};
use crate::domain::fault::Fault;
use crate::domain::ids::Vmid;
use crate::domain::time::Timestamp;
use crate::engine::Refused;

/// The two ways out of a holder's hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WayOut {
    /// Stopped and given back.
    Release,
    /// Destroyed.
    Removal,
}

/// Why a request has no answer of its own.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The engine did not take it.
    #[error(transparent)]
    Engine(#[from] Refused),
    /// A template that the pool does not know could not be read.
    #[error("template {template} cannot be used: {fault}")]
    TemplateUnreadable {
        /// The template.
        template: Vmid,
        /// Why.
        fault: Fault,
    },
    /// The allocation ended with an error.
    #[error("{reason}")]
    AllocationFailed {
        /// What kind of an end it is.
        code: FailureCode,
        /// Why, as a sentence.
        reason: String,
        /// When the template's clones are tried again, if they fail.
        retry_at: Option<Timestamp>,
    },
    /// The allocation was ended by something else than its caller.
    #[error("the allocation was cancelled: {}", cancelled(*.reason))]
    AllocationCancelled {
        /// By what.
        reason: CancelReason,
    },
    /// PVE did not do what the container's leaving needs.
    #[error("container {vmid}: {fault}")]
    LeavingFailed {
        /// The container.
        vmid: Vmid,
        /// What was asked.
        way: WayOut,
        /// Why.
        fault: Fault,
        /// When it is tried again; none if it is not.
        retry_at: Option<Timestamp>,
    },
    /// It is not surely ours: it is left alone.
    #[error("container {vmid} is left alone: {reason}")]
    LeavingDoubted {
        /// The container.
        vmid: Vmid,
        /// What speaks against it.
        reason: String,
    },
    /// The caller waited long enough; the work goes on.
    #[error("container {vmid} is still being {}; that goes on", .way.participle())]
    StillLeaving {
        /// The container.
        vmid: Vmid,
        /// What was asked.
        way: WayOut,
    },
    /// The engine answered something that does not belong to the question.
    #[error("the engine answered {what} to another question")]
    Misunderstood {
        /// What it answered.
        what: &'static str,
    },
}

impl WayOut {
    /// "released" or "removed".
    pub fn participle(self) -> &'static str {
        match self {
            Self::Release => "released",
            Self::Removal => "removed",
        }
    }
}

fn cancelled(reason: CancelReason) -> &'static str {
    match reason {
        CancelReason::CallerGone => "nobody waits for it any more",
        CancelReason::Restarted => "the service restarted and nobody asked again",
        CancelReason::Stopping => "the service is stopping",
        CancelReason::Released => "its container was released meanwhile",
        CancelReason::Removed => "its container was removed meanwhile",
    }
}
