//! What an observer is told of each call: its name without VMIDs and UPIDs, how it ended, and how long it took.

use std::sync::Arc;
use std::time::Duration;

use super::Method;
use crate::domain::fault::FaultKind;

/// A call that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Called {
    /// One of [`CALLS`].
    pub name: &'static str,
    /// It changes something at PVE.
    pub write: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// From sending to the answer, without the wait for a place.
    pub took: Duration,
}

/// Is told of each call. It must not wait.
pub type Observer = Arc<dyn Fn(Called) + Send + Sync>;

/// How a call ended, as far as it says something about PVE's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// PVE did as it was asked.
    Ok,
    /// PVE had a lock or a file taken: it passes.
    Locked,
    /// PVE said no.
    Refused,
    /// There was no answer, or none that can be understood.
    Unanswered,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Locked, Self::Refused, Self::Unanswered];

    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Locked => "locked",
            Self::Refused => "refused",
            Self::Unanswered => "unanswered",
        }
    }

    /// What a fault is, or its absence.
    pub fn of(fault: Option<FaultKind>) -> Self {
        let Some(kind) = fault else { return Self::Ok };
        match kind {
            FaultKind::Locked | FaultKind::Busy => Self::Locked,
            FaultKind::NotSent
            | FaultKind::OutcomeUnknown
            | FaultKind::NodeUnreachable
            | FaultKind::ClusterDegraded
            | FaultKind::Unreadable => Self::Unanswered,
            FaultKind::Unauthorized
            | FaultKind::Forbidden
            | FaultKind::Gone
            | FaultKind::VmidTaken
            | FaultKind::AlreadyRunning
            | FaultKind::NotRunning
            | FaultKind::StillRunning
            | FaultKind::Protected
            | FaultKind::ConfigChanged
            | FaultKind::NoSpace
            | FaultKind::NotLinkable
            | FaultKind::StorageUnusable
            | FaultKind::NotATemplate
            | FaultKind::NoSuchNode
            | FaultKind::Invalid
            | FaultKind::Unsupported
            | FaultKind::NoSuchTask
            | FaultKind::Interrupted
            | FaultKind::DidNotStop
            | FaultKind::Other => Self::Refused,
        }
    }
}

/// The calls that the pool makes, by name.
pub const CALLS: &[&str] = &[
    "version",
    "nodes",
    "resources",
    "nextid",
    "permissions",
    "storages",
    "list_lxc",
    "list_qemu",
    "config",
    "set_config",
    "status",
    "feature",
    "clone",
    "start",
    "stop",
    "destroy",
    "task_status",
    "task_log",
    "tasks",
    "other",
];

/// The name of a call; `other` for one that the table does not have.
pub(super) fn call_name(method: Method, path: &str) -> &'static str {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match (method, parts.as_slice()) {
        (Method::Get, ["version"]) => "version",
        (Method::Get, ["nodes"]) => "nodes",
        (Method::Get, ["cluster", "resources"]) => "resources",
        (Method::Get, ["cluster", "nextid"]) => "nextid",
        (Method::Get, ["access", "permissions"]) => "permissions",
        (Method::Get, ["nodes", _, "storage"]) => "storages",
        (Method::Get, ["nodes", _, "lxc"]) => "list_lxc",
        (Method::Get, ["nodes", _, "qemu"]) => "list_qemu",
        (Method::Get, ["nodes", _, "lxc", _, "config"]) => "config",
        (Method::Put, ["nodes", _, "lxc", _, "config"]) => "set_config",
        (Method::Get, ["nodes", _, "lxc", _, "status", "current"]) => "status",
        (Method::Get, ["nodes", _, "lxc", _, "feature"]) => "feature",
        (Method::Post, ["nodes", _, "lxc", _, "clone"]) => "clone",
        (Method::Post, ["nodes", _, "lxc", _, "status", "start"]) => "start",
        (Method::Post, ["nodes", _, "lxc", _, "status", "stop"]) => "stop",
        (Method::Delete, ["nodes", _, "lxc", _]) => "destroy",
        (Method::Get, ["nodes", _, "tasks", _, "status"]) => "task_status",
        (Method::Get, ["nodes", _, "tasks", _, "log"]) => "task_log",
        (Method::Get, ["nodes", _, "tasks"]) => "tasks",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_named_without_what_varies() {
        assert_eq!(call_name(Method::Post, "/nodes/pve1/lxc/9009/clone"), "clone");
        assert_eq!(call_name(Method::Delete, "/nodes/pve1/lxc/205"), "destroy");
        assert_eq!(call_name(Method::Get, "/nodes/pve1/tasks/UPID%3Apve1/status"), "task_status");
        assert_eq!(call_name(Method::Get, "/nodes/pve1/lxc/205/status/current"), "status");
        assert_eq!(call_name(Method::Post, "/nodes/pve1/lxc/205/resize"), "other");
    }
}
