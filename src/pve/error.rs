//! Which of PVE's texts is which kind of fault: the only place that reads them.
//!
//! Nearly every refusal is a 500 whose cause stands in its text alone, and tasks end with the same texts. A
//! kind here says what may be done; it must never say "not carried out" of a call that may have been.

use std::collections::BTreeMap;
use std::fmt;

use super::{Method, Unanswered};
use crate::domain::fault::{Fault, FaultKind};

/// A call, or a task, that did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({call})")]
pub struct Error {
    /// What may be done about it.
    pub kind: FaultKind,
    /// The call or task: `POST /nodes/pve1/lxc/9000/clone`, `vzclone of 9000 on pve1`.
    pub call: String,
    /// HTTP status of the answer; none without an answer, and of a task.
    pub status: Option<u16>,
    /// Why, in PVE's own words, on one line.
    pub message: String,
}

impl Error {
    /// A call without an answer.
    pub(super) fn unanswered(call: &str, unanswered: &Unanswered) -> Self {
        let kind = match unanswered {
            Unanswered::NotSent(_) => FaultKind::NotSent,
            Unanswered::MaybeSent(_) => FaultKind::OutcomeUnknown,
        };
        Self { kind, call: call.to_owned(), status: None, message: unanswered.to_string() }
    }

    /// An answer of success that says something other than was expected.
    pub(super) fn unreadable(call: &str, expected: impl fmt::Display) -> Self {
        Self {
            kind: FaultKind::Unreadable,
            call: call.to_owned(),
            status: Some(200),
            message: format!("PVE answered without {expected}"),
        }
    }

    /// A task that ended with `exit`.
    pub(super) fn of_task(call: String, exit: &str) -> Self {
        Self { kind: classify_text(exit), call, status: None, message: one_line(exit) }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::new(error.kind, error.to_string())
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        })
    }
}

/// The kind of a refusal, from its status, its text and the fields that PVE found wrong.
pub fn classify(status: u16, message: &str, errors: &BTreeMap<String, String>) -> FaultKind {
    match status {
        // A redirect is a proxy, or PVE asked without TLS; neither has looked at the call.
        300..=399 => FaultKind::Unsupported,
        400 => classify_fields(errors),
        401 => FaultKind::Unauthorized,
        403 => FaultKind::Forbidden,
        // Releases before 2025 gave some inner errors this status.
        501 => match classify_text(message) {
            FaultKind::Other => FaultKind::Unsupported,
            kind => kind,
        },
        506 => FaultKind::Invalid,
        595 => FaultKind::NodeUnreachable,
        // The peer was refused before anything was sent to it.
        596 if message.to_ascii_lowercase().contains("certificate") => FaultKind::NotSent,
        // 502 to 504 are a proxy's words in front of PVE, which may have passed the call on.
        502..=504 | 596..=599 => FaultKind::OutcomeUnknown,
        _ => classify_text(message),
    }
}

/// The kind of a 400, whose message is always the same.
fn classify_fields(errors: &BTreeMap<String, String>) -> FaultKind {
    let says = |field: &str, text: &str| errors.get(field).is_some_and(|error| error.contains(text));
    if says("vmid", "already exists") || says("newid", "already exists") {
        FaultKind::VmidTaken
    } else if says("upid", "no such task") {
        FaultKind::NoSuchTask
    } else if says("storage", "No such storage") {
        FaultKind::StorageUnusable
    } else {
        FaultKind::Invalid
    }
}

/// Texts by the kind that they are, the first that fits: every fragment of a row must occur, in lower case.
const TEXTS: &[(FaultKind, &[&str])] = &[
    // The worker was started; only the list of tasks could not be written.
    (FaultKind::OutcomeUnknown, &[".active.lock'", "got timeout"]),
    (FaultKind::ClusterDegraded, &["no quorum"]),
    (FaultKind::ClusterDegraded, &["rpcenvironment init request failed"]),
    (FaultKind::ClusterDegraded, &["/etc/pve", "permission denied"]),
    (FaultKind::ClusterDegraded, &["/etc/pve", "transport endpoint is not connected"]),
    (FaultKind::ClusterDegraded, &["ipcc_send_rec", "failed"]),
    (FaultKind::Busy, &["can't lock file", "got timeout"]),
    (FaultKind::Busy, &["cfs-lock", "got lock request timeout"]),
    (FaultKind::Busy, &["locked command timed out"]),
    (FaultKind::Locked, &["ct is locked ("]),
    (FaultKind::Locked, &["vm is locked ("]),
    (FaultKind::VmidTaken, &["already exists on node"]),
    (FaultKind::StillRunning, &["container is running"]),
    (FaultKind::Protected, &["protection mode enabled"]),
    (FaultKind::ConfigChanged, &["detected modified configuration"]),
    (FaultKind::Gone, &["configuration file '", "does not exist"]),
    (FaultKind::NotLinkable, &["linked clone feature", "not available"]),
    (FaultKind::NotLinkable, &["not allowed for linked clones"]),
    (FaultKind::NotLinkable, &["unable to clone mountpoint"]),
    (FaultKind::NotATemplate, &["full clone", "running container"]),
    // It passes when the storage is reachable again.
    (FaultKind::Other, &["storage '", "is not online"]),
    (FaultKind::StorageUnusable, &["storage '", "is disabled"]),
    (FaultKind::StorageUnusable, &["storage '", "is not available on node"]),
    (FaultKind::StorageUnusable, &["storage '", "does not exist"]),
    (FaultKind::StorageUnusable, &["content type 'rootdir'"]),
    (FaultKind::NoSpace, &["no space left"]),
    (FaultKind::NoSpace, &["not enough free space"]),
    (FaultKind::NoSpace, &["out of space"]),
    (FaultKind::NoSpace, &["insufficient", "space"]),
    (FaultKind::NoSpace, &["insufficient", "extents"]),
    (FaultKind::NoSpace, &["free space in thin pool", "threshold"]),
    (FaultKind::NoSpace, &["disk quota exceeded"]),
    (FaultKind::VmidTaken, &["file exists"]),
    (FaultKind::NoSuchNode, &["hostname lookup '", "failed"]),
    (FaultKind::NoSuchNode, &["no such cluster node"]),
    (FaultKind::DidNotStop, &["container did not stop"]),
    (FaultKind::Interrupted, &["interrupted by signal"]),
    (FaultKind::Interrupted, &["received interrupt"]),
    (FaultKind::Interrupted, &["unable to get last line from task log"]),
    (FaultKind::Invalid, &["you can't start a ct if it's a template"]),
    (FaultKind::Invalid, &["no options specified"]),
    (FaultKind::Invalid, &["malformed json string"]),
];

/// The kind of a text: the message of a 500, or how a task ended.
pub fn classify_text(message: &str) -> FaultKind {
    let text = message.trim().to_ascii_lowercase();
    let text = text.strip_prefix("clone failed: ").unwrap_or(&text);
    let of_guest = text.starts_with("ct ") || text.starts_with("vm ");
    // Tools on the node use the same words of other things, hence the whole text.
    match text {
        "unexpected status" => return FaultKind::Interrupted,
        _ if of_guest && text.ends_with(" already running") => return FaultKind::AlreadyRunning,
        _ if of_guest && text.ends_with(" not running") => return FaultKind::NotRunning,
        _ => {}
    }
    TEXTS
        .iter()
        .find(|(_, fragments)| fragments.iter().all(|fragment| text.contains(fragment)))
        .map_or(FaultKind::Other, |(kind, _)| *kind)
}

/// PVE's text without its line ends.
pub(super) fn one_line(text: &str) -> String {
    text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use FaultKind as K;

    use super::*;

    fn fields(errors: &[(&str, &str)]) -> BTreeMap<String, String> {
        errors.iter().map(|(field, text)| ((*field).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn a_text_has_its_kind_as_a_500_and_as_a_tasks_end() {
        for (text, kind) in [
            ("CT is locked (disk)\n", K::Locked),
            ("CT is locked (create)", K::Locked),
            ("CT is locked (destroyed)", K::Locked),
            ("can't lock file '/run/lock/lxc/pve-config-212.lock' - got timeout\n", K::Busy),
            ("can't lock file '/var/log/pve/tasks/.active.lock' - got timeout", K::OutcomeUnknown),
            ("cfs-lock 'storage-nfs' error: got lock request timeout", K::Busy),
            (
                "access permissions cleanup for VM 123 failed: cfs-lock 'file-user_cfg' error: got lock \
                 request timeout",
                K::Busy,
            ),
            ("cfs-locked command timed out - aborting", K::Busy),
            ("cfs-lock 'file-user_cfg' error: no quorum!", K::ClusterDegraded),
            ("cluster not ready - no quorum?", K::ClusterDegraded),
            (
                "unable to open file '/etc/pve/nodes/pve1/lxc/201.conf.tmp.1' - Permission denied",
                K::ClusterDegraded,
            ),
            ("RPCEnvironment init request failed: Unable to load access control list", K::ClusterDegraded),
            ("CT 200 already exists on node 'pve1'\n", K::VmidTaken),
            ("VM 200 already exists on node 'pve2'", K::VmidTaken),
            (
                "close (rename) atomic file '/etc/pve/nodes/pve1/lxc/123.conf' failed: File exists",
                K::VmidTaken,
            ),
            ("CT 201 already running\n", K::AlreadyRunning),
            ("CT 777 not running\n", K::NotRunning),
            ("VM 201 not running\n", K::NotRunning),
            ("lxc-monitord is not running", K::Other),
            ("unable to destroy CT 201 - container is running\n", K::StillRunning),
            ("can't remove CT 207 - protection mode enabled\n", K::Protected),
            ("detected modified configuration - file changed by other user? Try again.\n", K::ConfigChanged),
            ("Configuration file 'nodes/pve1/lxc/777.conf' does not exist\n", K::Gone),
            (
                "Linked clone feature for 'pool:9000/subvol-9000-disk-0.subvol' is not available",
                K::NotLinkable,
            ),
            ("parameter 'storage' not allowed for linked clones\n", K::NotLinkable),
            ("unable to clone mountpoint 'mp0' (type bind)", K::NotLinkable),
            ("Full clone of a running container is only possible from a snapshot", K::NotATemplate),
            ("Cannot do full clones on a running container without snapshots", K::NotATemplate),
            ("storage 'nope' does not exist\n", K::StorageUnusable),
            ("storage 's' is disabled", K::StorageUnusable),
            ("storage 's' is not available on node 'n'", K::StorageUnusable),
            ("storage 's' is not online", K::Other),
            (
                "clone failed: content type 'rootdir' is not available or configured on storage 's'",
                K::StorageUnusable,
            ),
            (
                "clone failed: command 'btrfs subvolume snapshot -- /srv/pool/images/9000/base-9000-disk-0 \
                 /srv/pool/images/211/vm-211-disk-0' failed: no space left on device",
                K::NoSpace,
            ),
            ("clone failed: lvcreate error: insufficient free space: 256 extents needed", K::NoSpace),
            ("cannot create 'rpool/x': out of space", K::NoSpace),
            ("clone failed: not enough free space", K::NoSpace),
            ("insufficient permissions", K::Other),
            (
                "hostname lookup 'nope' failed - failed to get address info for: nope: Name or service not \
                 known\n",
                K::NoSuchNode,
            ),
            ("no such cluster node 'nope'\n", K::NoSuchNode),
            ("container did not stop", K::DidNotStop),
            ("unexpected status", K::Interrupted),
            (
                "clone failed: command 'btrfs subvolume snapshot -- /srv/pool/images/9000/base-9000-disk-0 \
                 /srv/pool/images/213/vm-213-disk-0' failed: interrupted by signal",
                K::Interrupted,
            ),
            ("unable to get last line from task log - No such file or directory", K::Interrupted),
            ("you can't start a CT if it's a template", K::Invalid),
            ("no options specified\n", K::Invalid),
            ("startup for container '212' failed", K::Other),
            ("snapshot 'zip' does not exist\n", K::Other),
            ("base volume 'pool:base' is still in use by linked clones", K::Other),
            ("starting worker failed: can't write", K::Other),
            ("", K::Other),
        ] {
            assert_eq!(classify(500, text, &BTreeMap::new()), kind, "{text}");
            assert_eq!(Error::of_task("task".to_owned(), text).kind, kind, "{text}");
        }
    }

    #[test]
    fn a_status_decides_where_the_text_does_not() {
        for (status, text, kind) in [
            (301, "Moved Permanently", K::Unsupported),
            (401, "Authentication failed!", K::Unauthorized),
            (401, "No ticket", K::Unauthorized),
            (403, "Permission check failed (/vms/9000, VM.Clone)", K::Forbidden),
            (403, "Permission check failed (pool 'nope' does not exist)", K::Forbidden),
            (501, "Method 'POST /nodes/pve1/lxc/200/config' not implemented", K::Unsupported),
            (501, "method 'PATCH' not available", K::Unsupported),
            (501, "Unexpected content for method 'DELETE'", K::Unsupported),
            (501, "CT is locked (disk)", K::Locked),
            (506, "upload 'Content-Type 'text/plain' not implemented", K::Invalid),
            (502, "Bad Gateway", K::OutcomeUnknown),
            (504, "Gateway Timeout", K::OutcomeUnknown),
            (595, "Connection refused", K::NodeUnreachable),
            (596, "Connection timed out", K::OutcomeUnknown),
            (596, "Broken pipe", K::OutcomeUnknown),
            (596, "tls_process_server_certificate: certificate verify failed", K::NotSent),
            (597, "Connection reset by peer", K::OutcomeUnknown),
            (599, "Too many redirections", K::OutcomeUnknown),
            (404, "Not Found", K::Other),
        ] {
            assert_eq!(classify(status, text, &BTreeMap::new()), kind, "{status} {text}");
        }
    }

    #[test]
    fn a_400_is_ours_unless_a_field_says_otherwise() {
        for (errors, kind) in [
            (fields(&[("vmid", "VM 200 already exists")]), K::VmidTaken),
            (fields(&[("upid", "no such task")]), K::NoSuchTask),
            (fields(&[("upid", "unable to parse worker upid")]), K::Invalid),
            (fields(&[("vmid", "type check ('integer') failed - got 'abc'")]), K::Invalid),
            (fields(&[("storage", "No such storage.")]), K::StorageUnusable),
            (fields(&[("skiplock", "Only root may use this option.")]), K::Invalid),
            (fields(&[]), K::Invalid),
        ] {
            assert_eq!(classify(400, "Parameter verification failed.", &errors), kind, "{errors:?}");
        }
    }

    #[test]
    fn a_fault_says_what_failed_on_what_and_why() {
        let error = Error {
            kind: K::Locked,
            call: "POST /nodes/pve1/lxc/9000/clone".to_owned(),
            status: Some(500),
            message: one_line("CT is locked (disk)\n"),
        };
        assert_eq!(
            Fault::from(error),
            Fault::new(K::Locked, "CT is locked (disk) (POST /nodes/pve1/lxc/9000/clone)")
        );
    }
}
