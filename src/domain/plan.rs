//! What should be running at PVE right now, as a function of State and the time.
//!
//! It remembers nothing: the provisioner runs what is not running yet, and asks again after each event.

use std::time::Duration;

use super::event::ClonePurpose;
use super::ids::{CloneId, Hostname, Node, Seq, Upid, Vmid};
use super::marker::{Known, Marker};
use super::state::{CloneStage, Container, Creating, HandOut, Phase, ServicePhase, State, Template};
use super::time::Timestamp;

/// How long a clone of unknown outcome is looked for.
pub const CLONE_SEARCH: Duration = Duration::from_secs(60);

/// What should be running, most urgent first, and when the answer changes by itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// At most one for each [`ActionKey`].
    pub actions: Vec<Action>,
    /// The next instant at which a rule or this plan has something new to say.
    pub wake_at: Option<Timestamp>,
}

/// Work at PVE, with everything chosen.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Ask until PVE answers again.
    ProbePve,
    /// Look up what a clone's choices need: the template's node, lock, kind, and the VMIDs in use.
    PrepareClone {
        /// The queued clone.
        clone_id: CloneId,
        /// Its template.
        template: Vmid,
        /// The only node that it may be made on.
        node: Option<Node>,
        /// Whether the storage can make linked clones, if that is known.
        linkable: Option<bool>,
    },
    /// Ask PVE for the clone.
    SendClone {
        /// The new container.
        target: Target,
        /// Its template.
        template: Vmid,
        /// Its description.
        marker: Marker,
        /// Whether it gets its own copy of the disk.
        full: bool,
        /// PVE's resource pool to put it into.
        resource_pool: Option<String>,
    },
    /// Find out whether a clone of unknown outcome was made.
    FindClone {
        /// The container that it would be.
        target: Target,
        /// Its template.
        template: Vmid,
        /// PVE heard of it after this, if at all.
        sent_after: Timestamp,
        /// Nothing seen by then means that it was never made.
        give_up_at: Timestamp,
    },
    /// Follow the clone's task to its end and make the container ready.
    FollowClone {
        /// The new container.
        target: Target,
        /// Its template.
        template: Vmid,
        /// PVE's task.
        upid: Upid,
        /// When it was asked for.
        started_at: Timestamp,
        /// How long such a clone takes, if one is known.
        expected: Option<Duration>,
    },
    /// Look at the container and give it the instance's hostname and description.
    Rename {
        /// The container.
        target: Target,
        /// Its new description; its instance is the new hostname.
        marker: Marker,
        /// The instance had it before: it may run, and nothing is written if it has its name.
        resumed: bool,
    },
    /// Start the container.
    Start {
        /// The container.
        target: Target,
        /// How long such a start takes, if one is known.
        expected: Option<Duration>,
    },
    /// Stop the container and give it a pool hostname again.
    Park {
        /// The container.
        target: Target,
        /// Its hostname from then on.
        hostname: Hostname,
        /// Its description from then on.
        marker: Marker,
    },
    /// Stop the container, free its instance's hostname, and destroy it.
    Destroy {
        /// The container.
        target: Target,
        /// The pool hostname that it gets before, if it has an instance's.
        rename_back: Option<Hostname>,
    },
}

/// A container that an action is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its VMID.
    pub vmid: Vmid,
    /// Its clone.
    pub clone_id: CloneId,
    /// The node that it is on.
    pub node: Node,
    /// What its configuration is held against before anything is written.
    pub known: Known,
    /// The container's last event when this was planned; observations carry it back.
    pub as_of: Seq,
}

/// What can have one action at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActionKey {
    /// PVE as a whole.
    Pve,
    /// The lane of a template.
    Template(Vmid),
    /// A container.
    Container(Vmid),
}

impl Action {
    /// What the action keeps busy.
    pub fn key(&self) -> ActionKey {
        match self {
            Self::ProbePve => ActionKey::Pve,
            Self::PrepareClone { template, .. } => ActionKey::Template(*template),
            Self::SendClone { target, .. }
            | Self::FindClone { target, .. }
            | Self::FollowClone { target, .. }
            | Self::Rename { target, .. }
            | Self::Start { target, .. }
            | Self::Park { target, .. }
            | Self::Destroy { target, .. } => ActionKey::Container(target.vmid),
        }
    }

    /// The event that led to it.
    pub fn cause(&self) -> Option<Seq> {
        match self {
            Self::ProbePve | Self::PrepareClone { .. } => None,
            Self::SendClone { target, .. }
            | Self::FindClone { target, .. }
            | Self::FollowClone { target, .. }
            | Self::Rename { target, .. }
            | Self::Start { target, .. }
            | Self::Park { target, .. }
            | Self::Destroy { target, .. } => Some(target.as_of),
        }
    }
}
