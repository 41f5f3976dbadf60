//! What a simulated cluster consists of besides its containers: nodes, storages, virtual machines, and how
//! long things take.

use std::collections::BTreeSet;
use std::time::Duration;

/// How long work and waiting take in the simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durations {
    /// A linked clone, from its UPID to its end.
    pub clone_linked: Duration,
    /// A full clone.
    pub clone_full: Duration,
    /// A start.
    pub start: Duration,
    /// A stop.
    pub stop: Duration,
    /// A shutdown of a container that obeys.
    pub shutdown: Duration,
    /// A destroy.
    pub destroy: Duration,
    /// Making, deleting and rolling back a snapshot.
    pub snapshot: Duration,
    /// Each task takes up to this much longer, at random.
    pub jitter: Duration,
    /// From a read to its answer.
    pub read: Duration,
    /// From a write to its answer; it takes effect at once.
    pub write: Duration,
    /// PVE's brake on guessing: from a wrong token to the 401.
    pub auth_brake: Duration,
    /// How long a call or task waits for a container's file lock, and how long a superfluous start takes.
    pub file_lock: Duration,
    /// After this long without an answer of the privileged daemon the front end says 596.
    pub proxy_limit: Duration,
    /// From one round of pvestatd to the next.
    pub stat_round: Duration,
}

impl Default for Durations {
    fn default() -> Self {
        Self {
            clone_linked: Duration::from_secs(3),
            clone_full: Duration::from_secs(20),
            start: Duration::from_secs(2),
            stop: Duration::from_secs(1),
            shutdown: Duration::from_secs(5),
            destroy: Duration::from_secs(1),
            snapshot: Duration::from_secs(1),
            jitter: Duration::ZERO,
            read: Duration::from_millis(5),
            write: Duration::from_millis(40),
            auth_brake: Duration::from_secs(3),
            file_lock: Duration::from_secs(10),
            proxy_limit: Duration::from_secs(30),
            stat_round: Duration::from_secs(10),
        }
    }
}

impl Durations {
    /// Work goes so many times faster; waits and limits stay as they are.
    pub fn hurry(&mut self, times: u32) {
        let work = [
            &mut self.clone_linked,
            &mut self.clone_full,
            &mut self.start,
            &mut self.stop,
            &mut self.shutdown,
            &mut self.destroy,
            &mut self.snapshot,
            &mut self.read,
            &mut self.write,
        ];
        for span in work {
            *span /= times.max(1);
        }
    }
}

/// One node.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// It can be reached.
    pub(super) up: bool,
    /// Its privileged daemon (pvedaemon) runs.
    pub(super) daemon_up: bool,
}

impl Default for Node {
    fn default() -> Self {
        Self { up: true, daemon_up: true }
    }
}

/// One storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    /// PVE's storage type (`btrfs`, `lvmthin`, `dir` …).
    pub kind: String,
    /// Content types that it is configured for.
    pub content: String,
    /// Linked clones and snapshots work on it.
    pub linkable: bool,
    /// Not disabled in the cluster's configuration.
    pub enabled: bool,
    /// Its nodes reach it.
    pub active: bool,
    /// Bytes left on it.
    pub free: u64,
    /// All nodes see the same volumes.
    pub shared: bool,
    /// Nodes that have it; all, if `None`.
    pub nodes: Option<BTreeSet<String>>,
}

impl Storage {
    /// A btrfs storage for containers on every node, where linked clones work.
    pub fn btrfs() -> Self {
        Self {
            kind: "btrfs".to_owned(),
            content: "images,rootdir".to_owned(),
            linkable: true,
            enabled: true,
            active: true,
            free: 192 << 30,
            shared: false,
            nodes: None,
        }
    }

    /// A directory, where linked clones of containers do not work.
    pub fn dir() -> Self {
        Self {
            kind: "dir".to_owned(),
            content: "iso,vztmpl,backup".to_owned(),
            linkable: false,
            ..Self::btrfs()
        }
    }

    /// Whether `node` has it.
    pub(super) fn is_on(&self, node: &str) -> bool {
        self.nodes.as_ref().is_none_or(|nodes| nodes.contains(node))
    }
}

/// A QEMU virtual machine: here only something that occupies a VMID.
#[derive(Clone, Debug)]
pub(super) struct Vm {
    /// Its node.
    pub(super) node: String,
    /// Its name.
    pub(super) name: String,
}
