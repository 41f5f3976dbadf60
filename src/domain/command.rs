//! What the engine can be asked to decide: requests, observations of PVE, the service's own life, and time.
//!
//! A command carries everything its decision needs besides State; what it may answer is here too.

use std::collections::{BTreeMap, BTreeSet};

use super::event::LeaveReason;
use super::fault::Fault;
use super::ids::{AllocationId, CloneId, EndpointName, Hostname, InstanceId, Node, Seq, Upid, Vmid};
use super::settings::{Settings, SizeOverrides, Sizes};
use super::time::Timestamp;
use super::webhook::WebhookCommand;

/// Something to decide.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// The log is open: begin to work.
    Start {
        /// Version of the program.
        version: String,
        /// What the rules read until the next start.
        settings: Box<Settings>,
    },
    /// The configuration was read again: go on with this one.
    Reload {
        /// What the rules read from now on.
        settings: Box<Settings>,
        /// The webhook endpoints that are configured now.
        webhooks: Vec<EndpointName>,
    },
    /// Take no new work; waiters are told.
    BeginStop,
    /// The last command of a process.
    Stop,
    /// Time has passed.
    Tick,
    /// A container for an instance.
    Allocate(Allocate),
    /// Nobody waits for this allocation any more.
    CallersGone {
        /// The allocation.
        allocation_id: AllocationId,
    },
    /// Stop the container and give it back.
    Release(Leave),
    /// Destroy the container.
    Remove(Leave),
    /// Bring the inventory of a template to a size once.
    Warm {
        /// The template.
        template: Vmid,
        /// Inventory to reach; none for the target.
        count: Option<u32>,
        /// What was read of a template that State does not know.
        facts: Option<TemplateFacts>,
    },
    /// Set a template's own sizes, and end its drain or back-off.
    ConfigureTemplate {
        /// The template.
        template: Vmid,
        /// Its own sizes; those left out are the defaults.
        sizes: SizeOverrides,
        /// What was read of a template that State does not know.
        facts: Option<TemplateFacts>,
    },
    /// Destroy the ready containers of a template and serve nobody from it.
    DrainTemplate {
        /// The template.
        template: Vmid,
    },
    /// Replace the ready containers by clones of today's template.
    RefreshTemplate {
        /// The template.
        template: Vmid,
    },
    /// Something was seen at PVE.
    Observed(Observation),
    /// These webhook endpoints are configured, and no others.
    RegisterWebhooks(Vec<EndpointName>),
    /// Something about a webhook endpoint.
    Webhook(WebhookCommand),
}

/// A request for a container.
#[derive(Clone, Debug, PartialEq)]
pub struct Allocate {
    /// The template.
    pub template: Vmid,
    /// The caller's name of the sandbox; none for a generated one.
    pub instance_id: Option<InstanceId>,
    /// The caller's own words.
    pub metadata: BTreeMap<String, String>,
    /// Whether the container is to be started.
    pub start: bool,
    /// Seconds after completion at which the container is released by itself.
    pub ttl_seconds: Option<u64>,
    /// What was read of a template that State does not know.
    pub facts: Option<TemplateFacts>,
}

/// A request for a container to leave its holder, or the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leave {
    /// The container.
    pub vmid: Vmid,
    /// Only if this instance holds it.
    pub instance_id: Option<String>,
}

/// What was read of a template before the pool takes it on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateFacts {
    /// Where it is.
    pub node: Node,
    /// Whether its storage can make linked clones; none if that was not asked.
    pub linkable: Option<bool>,
}

/// Something seen at PVE, by an action that `plan` wanted or by the reconciler.
///
/// `as_of` is the container's `touched` when the look began: what
/// was seen before a later event of the container does not contradict it.
#[derive(Clone, Debug, PartialEq)]
pub enum Observation {
    /// PVE does not answer at all.
    PveUnreachable {
        /// What the connection said.
        reason: String,
    },
    /// PVE answers.
    PveReachable,
    /// What must be known before a clone was looked up.
    ClonePrepared {
        /// The queued clone.
        clone_id: CloneId,
        /// Its template.
        template: Vmid,
        /// What was found.
        outcome: Result<Prepared, Fault>,
    },
    /// The clone was asked of PVE.
    CloneSent {
        /// The new container.
        vmid: Vmid,
        /// The clone.
        clone_id: CloneId,
        /// PVE's task, or why there is none.
        outcome: Result<Upid, Fault>,
    },
    /// A clone of unknown outcome was made after all, or is being made.
    CloneFound {
        /// The new container.
        vmid: Vmid,
        /// The clone.
        clone_id: CloneId,
        /// The task that makes it.
        upid: Upid,
    },
    /// A clone of unknown outcome surely never came to be.
    CloneNotMade {
        /// The VMID that it would have had.
        vmid: Vmid,
        /// The clone.
        clone_id: CloneId,
    },
    /// The clone's task ended and the new container was looked at.
    CloneEnded {
        /// The new container.
        vmid: Vmid,
        /// The clone.
        clone_id: CloneId,
        /// How.
        end: CloneEnd,
    },
    /// The container has the instance's hostname.
    Renamed {
        /// The container.
        vmid: Vmid,
        /// When the look began.
        as_of: Seq,
        /// Whether it ran already.
        running: bool,
    },
    /// The container runs.
    Started {
        /// The container.
        vmid: Vmid,
        /// When the look began.
        as_of: Seq,
        /// Milliseconds from the request to PVE to its running; none if it was found running.
        duration_ms: Option<u64>,
    },
    /// The container's own start task failed.
    StartFailed {
        /// The container.
        vmid: Vmid,
        /// When the look began.
        as_of: Seq,
        /// Why.
        fault: Fault,
    },
    /// The container is stopped and has a pool hostname again.
    Parked {
        /// The container.
        vmid: Vmid,
        /// When the look began.
        as_of: Seq,
        /// Its hostname now.
        hostname: Hostname,
    },
    /// A container on its way out has a pool hostname again, so that its instance's name is free.
    RenamedBack {
        /// The container.
        vmid: Vmid,
        /// When the look began.
        as_of: Seq,
        /// Its hostname now.
        hostname: Hostname,
    },
    /// The container is gone from PVE because we destroyed it.
    Destroyed {
        /// The container.
        vmid: Vmid,
        /// When the look began.
        as_of: Seq,
    },
    /// An action on the container did not get further.
    Hindered {
        /// The container.
        vmid: Vmid,
        /// When the look began.
        as_of: Seq,
        /// By what.
        by: Hindrance,
    },
    /// PVE answers, but does not give its inventory.
    ReconcileFailed {
        /// Why.
        fault: Fault,
    },
    /// PVE's whole inventory was compared with State.
    Reconciled {
        /// Head of the log when the look began.
        as_of: Seq,
        /// What differs.
        findings: Vec<Finding>,
    },
}

/// What a clone needs to know of PVE before everything can be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// The node that the template is on.
    pub node: Node,
    /// VMIDs of all guests of the cluster that the token can see.
    pub taken: BTreeSet<Vmid>,
    /// Whether the template's storage can make linked clones.
    pub linkable: bool,
}

/// How a clone's task ended.
#[derive(Clone, Debug, PartialEq)]
pub enum CloneEnd {
    /// The container is there, ours, unlocked, and has neither `onboot` nor `protection`.
    Made {
        /// PVE's task ended with warnings.
        warnings: bool,
    },
    /// There is no usable container.
    Failed {
        /// Why.
        fault: Fault,
        /// What was left behind.
        leftover: Leftover,
    },
}

/// What a failed clone left at PVE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leftover {
    /// Nothing.
    Nothing,
    /// A container that can be destroyed.
    Removable,
    /// A container whose lock only a person can take off; the hint says how.
    Locked {
        /// The command that frees it.
        hint: String,
    },
}

/// What kept an action on a container from its end.
#[derive(Clone, Debug, PartialEq)]
pub enum Hindrance {
    /// The container is not at PVE any more.
    Gone,
    /// The VMID belongs to something that is not ours.
    Foreign {
        /// How that was seen.
        reason: String,
    },
    /// It may or may not be ours.
    Doubt {
        /// What speaks against it.
        reason: String,
    },
    /// It is ours, but on another node.
    Moved {
        /// Where it is.
        node: Node,
    },
    /// It is surely ours, but not as it must be to be handed out (locked, running).
    Unusable {
        /// In which way.
        fault: Fault,
    },
    /// It carries a lock that no call can take off, and nothing runs that will.
    Stuck {
        /// Which, and the command that frees it.
        fault: Fault,
    },
    /// PVE is at fault, not the container.
    Pve {
        /// In which way.
        fault: Fault,
    },
}

/// A difference between PVE's inventory and State.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// A container of State is not at PVE, or its VMID is somebody else's.
    Lost {
        /// The container.
        vmid: Vmid,
        /// How that was seen.
        reason: String,
    },
    /// A container at PVE is the pool's and State does not know it.
    Discovered(Discovered),
    /// A container of State is on another node.
    Moved {
        /// The container.
        vmid: Vmid,
        /// Where it is.
        node: Node,
    },
    /// A container of State is not surely ours any more.
    Doubtful {
        /// The container.
        vmid: Vmid,
        /// What speaks against it.
        reason: String,
    },
    /// A doubtful container of State is surely ours again.
    Confirmed {
        /// The container.
        vmid: Vmid,
    },
    /// A ready container runs or carries a lock that is not ours.
    Unready {
        /// The container.
        vmid: Vmid,
        /// In which way.
        fault: Fault,
    },
    /// A quarantined container has no lock any more.
    Freed {
        /// The container.
        vmid: Vmid,
    },
}

/// A container at PVE that is the pool's and that State does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovered {
    /// The container.
    pub vmid: Vmid,
    /// The clone that its description names; none for a container of the Python service.
    pub clone_id: Option<CloneId>,
    /// The template that its hostname or description names.
    pub template: Vmid,
    /// Where it is.
    pub node: Node,
    /// Its hostname.
    pub hostname: Hostname,
    /// Who holds it, by its description, or because it runs.
    pub instance_id: Option<InstanceId>,
    /// The task that is making it.
    pub making: Option<Upid>,
    /// A lock that only a person can take off: it is taken into quarantine.
    pub stuck: Option<Fault>,
}

/// What a decision answers besides its events.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// Nothing to wait for.
    Done,
    /// The allocation's outcome is an event still to come.
    Allocating {
        /// The allocation.
        allocation_id: AllocationId,
    },
    /// The end of the release or removal is an event still to come.
    Leaving {
        /// The container.
        vmid: Vmid,
        /// Why it leaves.
        by: LeaveReason,
    },
    /// What a warm does.
    Warming {
        /// Clones that were queued for it.
        queued: u32,
        /// Inventory before.
        current: u32,
        /// Inventory to reach.
        target: u32,
    },
}

/// Why a request is not carried out; nothing was written.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Rejection {
    /// The template must be read at PVE first; the request may then come again with the facts.
    #[error("template {template} is not known yet")]
    TemplateUnread {
        /// The template.
        template: Vmid,
    },
    /// The pool has no such template.
    #[error("the pool has no template {template}")]
    TemplateUnknown {
        /// The template.
        template: Vmid,
    },
    /// The template is drained.
    #[error("template {template} is drained; PUT /templates/{template} ends that")]
    TemplateDrained {
        /// The template.
        template: Vmid,
    },
    /// Clones of the template fail and none is ready.
    #[error("no container of template {template} is ready and its clones fail: {fault}")]
    TemplateBackedOff {
        /// The template.
        template: Vmid,
        /// Why.
        fault: Fault,
        /// When one clone is tried again.
        until: Timestamp,
    },
    /// The instance is allocated from, or waits for, another template.
    #[error("instance {instance_id} belongs to template {template}")]
    InstanceOfOtherTemplate {
        /// The instance.
        instance_id: InstanceId,
        /// The template that it belongs to.
        template: Vmid,
    },
    /// The instance's container is being released or removed.
    #[error("instance {instance_id} is being {what}: container {vmid}")]
    InstanceLeaving {
        /// The instance.
        instance_id: InstanceId,
        /// Its container.
        vmid: Vmid,
        /// "released" or "removed".
        what: &'static str,
    },
    /// The line is full.
    #[error("{waiting} allocations wait already")]
    TooManyWaiting {
        /// How many wait.
        waiting: u32,
    },
    /// The pool holds as many containers as it may, and none is becoming free.
    #[error("the pool holds {max_total} containers, as many as it may")]
    MaxTotal {
        /// The cap.
        max_total: u32,
    },
    /// The pool has no such container.
    #[error("the pool has no container {vmid}")]
    ContainerUnknown {
        /// The container.
        vmid: Vmid,
    },
    /// Another instance holds the container.
    #[error("container {vmid} is not held by {asked}")]
    HeldByAnother {
        /// The container.
        vmid: Vmid,
        /// The instance that was asked for.
        asked: String,
    },
    /// The container is not in a state in which that can be done.
    #[error("container {vmid} is {state}: it cannot be {what}")]
    WrongState {
        /// The container.
        vmid: Vmid,
        /// Its state.
        state: &'static str,
        /// "released" or "removed".
        what: &'static str,
    },
    /// It is not sure that the container is ours.
    #[error("container {vmid} is left alone: {reason}")]
    OwnershipDoubted {
        /// The container.
        vmid: Vmid,
        /// What speaks against it.
        reason: String,
    },
    /// The sizes contradict each other.
    #[error("min {} ≤ target {} ≤ max {} does not hold", sizes.min, sizes.target, sizes.max)]
    SizesContradict {
        /// The sizes as they would be.
        sizes: Sizes,
    },
    /// No such webhook endpoint is configured.
    #[error("there is no webhook endpoint {endpoint}")]
    WebhookUnknown {
        /// The endpoint.
        endpoint: EndpointName,
    },
    /// The webhook endpoint has no such event parked.
    #[error("webhook endpoint {endpoint} has no event {seq} parked")]
    WebhookNotParked {
        /// The endpoint.
        endpoint: EndpointName,
        /// The event.
        seq: Seq,
    },
    /// The webhook endpoint has as many replays waiting as it may.
    #[error("webhook endpoint {endpoint} has {replays} replays waiting already")]
    TooManyReplays {
        /// The endpoint.
        endpoint: EndpointName,
        /// How many.
        replays: usize,
    },
    /// The service is stopping.
    #[error("the service is stopping")]
    Stopping,
}
