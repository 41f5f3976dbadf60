//! What went wrong at PVE, classified by what may be done about it.
//!
//! The texts are PVE's own; the kinds are ours. Which text is which kind is decided in `pve`, once.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A call or task at PVE that did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fault {
    /// What may be done about it.
    pub kind: FaultKind,
    /// What failed and why, in PVE's own words.
    pub message: String,
    /// The command that a person can run to mend it, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Fault {
    /// A fault without a hint.
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// The same with the command that mends it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " (run: {hint})"),
            None => Ok(()),
        }
    }
}

/// Kinds of faults, by what the caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The call surely never reached PVE: no connection, no TLS.
    NotSent,
    /// The call may have been carried out: time-out, reset, 596, 597, 599.
    OutcomeUnknown,
    /// 595: the node, or its privileged daemon, does not answer. Not carried out.
    NodeUnreachable,
    /// 401: the token is wrong, expired or disabled.
    Unauthorized,
    /// 403: the token lacks a right.
    Forbidden,
    /// The container's configuration file does not exist on that node.
    Gone,
    /// A lock stands in the container's configuration (`CT is locked (disk)`).
    Locked,
    /// A file or cluster lock was not had in time; that step changed nothing.
    Busy,
    /// No quorum, or the cluster file system is not readable.
    ClusterDegraded,
    /// The VMID belongs to another guest.
    VmidTaken,
    /// Start of a running container.
    AlreadyRunning,
    /// Stop of a container that does not run (or does not exist).
    NotRunning,
    /// Destroy of a running container.
    StillRunning,
    /// Destroy of a container with `protection`.
    Protected,
    /// The digest sent with a change is no longer the configuration's.
    ConfigChanged,
    /// The storage has no space left.
    NoSpace,
    /// The storage, or a mount point, cannot be cloned linked.
    NotLinkable,
    /// The storage is unknown, disabled, not on that node or not for containers.
    StorageUnusable,
    /// The source of a clone is not a template.
    NotATemplate,
    /// No such node in the cluster.
    NoSuchNode,
    /// 400 or 506: PVE does not accept the parameters.
    Invalid,
    /// 501: PVE does not know the call.
    Unsupported,
    /// PVE does not know the task, or no longer.
    NoSuchTask,
    /// The task was killed; what it left behind must be looked at.
    Interrupted,
    /// The container did not stop in time.
    DidNotStop,
    /// The answer could not be understood.
    Unreadable,
    /// None of the above: taken for something that passes.
    Other,
}

impl FaultKind {
    /// Whether the call may have been carried out although it failed.
    pub fn may_have_happened(self) -> bool {
        matches!(self, Self::OutcomeUnknown | Self::Interrupted | Self::Unreadable)
    }

    /// Whether nobody answered for the one who was asked: it says nothing of what there is.
    pub fn is_silence(self) -> bool {
        matches!(self, Self::NotSent | Self::OutcomeUnknown | Self::NodeUnreachable)
    }

    /// Whether no retry of a clone can mend it: only a person can.
    pub fn is_permanent(self) -> bool {
        match self {
            Self::Unauthorized
            | Self::Forbidden
            | Self::Gone
            | Self::NoSpace
            | Self::NotLinkable
            | Self::StorageUnusable
            | Self::NotATemplate
            | Self::NoSuchNode
            | Self::Invalid
            | Self::Unsupported => true,
            Self::NotSent
            | Self::OutcomeUnknown
            | Self::NodeUnreachable
            | Self::Locked
            | Self::Busy
            | Self::ClusterDegraded
            | Self::VmidTaken
            | Self::AlreadyRunning
            | Self::NotRunning
            | Self::StillRunning
            | Self::Protected
            | Self::ConfigChanged
            | Self::NoSuchTask
            | Self::Interrupted
            | Self::DidNotStop
            | Self::Unreadable
            | Self::Other => false,
        }
    }

    /// The kind as a stable word, as in events, metrics and problem documents.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotSent => "not_sent",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::NodeUnreachable => "node_unreachable",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Gone => "gone",
            Self::Locked => "locked",
            Self::Busy => "busy",
            Self::ClusterDegraded => "cluster_degraded",
            Self::VmidTaken => "vmid_taken",
            Self::AlreadyRunning => "already_running",
            Self::NotRunning => "not_running",
            Self::StillRunning => "still_running",
            Self::Protected => "protected",
            Self::ConfigChanged => "config_changed",
            Self::NoSpace => "no_space",
            Self::NotLinkable => "not_linkable",
            Self::StorageUnusable => "storage_unusable",
            Self::NotATemplate => "not_a_template",
            Self::NoSuchNode => "no_such_node",
            Self::Invalid => "invalid",
            Self::Unsupported => "unsupported",
            Self::NoSuchTask => "no_such_task",
            Self::Interrupted => "interrupted",
            Self::DidNotStop => "did_not_stop",
            Self::Unreadable => "unreadable",
            Self::Other => "other",
        }
    }
}
