//! Everything that can be known to have happened: the payloads, and the envelope they travel in.
//!
//! A published shape never changes; a new one is a new version with an upcast in [`Event::decode`].
//! No event carries a secret. `metadata` of an allocation is the caller's own and does travel.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use ulid::Ulid;

use super::fault::{Fault, FaultKind};
use super::ids::{AllocationId, CloneId, EndpointName, Hostname, InstanceId, Lane, Node, Seq, Upid, Vmid};
use super::settings::{Settings, SizeOverrides};
use super::time::Timestamp;
use super::webhook::{
    WebhookBehind, WebhookDisableReason, WebhookHeld, WebhookPauseReason, WebhookReplayPoint,
};

/// Types of events that tell what a person should look at, beside those whose names say that something failed.
const TROUBLE: [&str; 9] = [
    "ContainerLost",
    "ContainerQuarantined",
    "OwnershipDoubted",
    "PveUnreachable",
    "TemplateBackedOff",
    "WebhookDisabled",
    "WebhookFailing",
    "WebhookParked",
    "WebhookReplayMissed",
];

/// Whether events of this type tell what a person should look at.
pub fn is_trouble(type_name: &str) -> bool {
    TROUBLE.contains(&type_name) || type_name.ends_with("Failed")
}

/// An event with its place in the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// Position in the log.
    pub seq: Seq,
    /// Identity of the event, also over logs.
    pub id: Ulid,
    /// When it was decided; never earlier than the event before it.
    pub at: Timestamp,
    /// What happened.
    pub event: Event,
    /// What led to it.
    pub cause: Option<Cause>,
    /// True on all but the last event of a batch: a batch lives or dies as a whole.
    pub more: bool,
}

/// One JSON object, as in the log and on the stream.
impl Serialize for Envelope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Outgoing<'a> {
            seq: Seq,
            id: Ulid,
            at: Timestamp,
            #[serde(rename = "type")]
            type_name: &'static str,
            v: u32,
            data: &'a Event,
            #[serde(skip_serializing_if = "Option::is_none")]
            cause: Option<&'a Cause>,
            more: bool,
        }
        let outgoing = Outgoing {
            seq: self.seq,
            id: self.id,
            at: self.at,
            type_name: self.event.type_name(),
            v: self.event.version(),
            data: &self.event,
            cause: self.cause.as_ref(),
            more: self.more,
        };
        outgoing.serialize(serializer)
    }
}

/// What led to an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Cause {
    /// An earlier event, by its position.
    Event(Seq),
    /// A request, by the id that its answer carried.
    Request(String),
}

/// Declares [`Event`] and what can be said of every variant without knowing it.
macro_rules! events {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $ty:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
            #[serde(deny_unknown_fields)]
            pub struct $name {
                $($(#[$field_doc])* pub $field: $ty,)*
            }

            impl From<$name> for Event {
                fn from(payload: $name) -> Self {
                    Self::$name(payload)
                }
            }
        )*

        /// What happened. The variants are the catalogue in `events/README.md`.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(untagged)]
        #[expect(missing_docs, reason = "each variant's payload has the docs")]
        pub enum Event {
            $($name($name),)*
        }

        impl Event {
            /// Every type that this build writes, in the order of the catalogue.
            pub const TYPES: &'static [&'static str] = &[$(stringify!($name)),*];

            /// The type as it stands in the envelope.
            pub fn type_name(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => stringify!($name),)*
                }
            }

            /// The version of the payload's shape that this build writes.
            pub fn version(&self) -> u32 {
                1
            }

            /// Reads a payload of any published version.
            pub fn decode(type_name: &str, version: u32, data: &str) -> Result<Self, DecodeError> {
                match (type_name, version) {
                    $((stringify!($name), 1) => serde_json::from_str::<$name>(data).map(Self::$name).map_err(
                        |source| DecodeError::Shape { type_name: stringify!($name), version, source },
                    ),)*
                    (known, _) if Self::TYPES.contains(&known) => {
                        Err(DecodeError::NewerVersion { type_name: known.to_owned(), version })
                    }
                    (unknown, _) => Err(DecodeError::UnknownType { type_name: unknown.to_owned() }),
                }
            }

            /// The JSON Schema of each type's newest payload.
            pub fn schemas() -> Vec<(&'static str, schemars::Schema)> {
                vec![$((stringify!($name), schemars::schema_for!($name)),)*]
            }
        }
    };
}

/// A record that this build cannot read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// A type that no version of this program up to this build writes.
    #[error("unknown event type `{type_name}`: a newer build wrote it")]
    UnknownType {
        /// The type in question.
        type_name: String,
    },
    /// A known type in a shape from the future.
    #[error("event type `{type_name}` has version {version}: a newer build wrote it")]
    NewerVersion {
        /// The type in question.
        type_name: String,
        /// Its version in the log.
        version: u32,
    },
    /// A known type and version whose payload does not have that shape.
    #[error("event type `{type_name}` version {version} has a payload of another shape")]
    Shape {
        /// The type in question.
        type_name: &'static str,
        /// Its version in the log.
        version: u32,
        /// Where it differs.
        source: serde_json::Error,
    },
}

events! {
    /// The service opened its log and begins to work with these settings.
    ServiceStarted {
        /// Version of the program.
        version: String,
        /// What the rules read until the next start.
        settings: Settings,
    }
    /// The service read its configuration again while it ran, and works with these settings from now on.
    SettingsChanged {
        /// All that the rules read, changed or not.
        settings: Settings,
    }
    /// The service was told to stop: it takes no new work and lets hand-outs finish.
    ServiceStopping {}
    /// The service stopped cleanly; nothing behind this event may be missing.
    ServiceStopped {}
    /// PVE does not answer; nothing new is started there.
    PveUnreachable {
        /// What the connection said.
        reason: String,
    }
    /// PVE answers again.
    PveReachable {}
    /// PVE answers, but its inventory cannot be had: until it can, nothing is known to be lost or found.
    ReconcileFailed {
        /// Why.
        fault: Fault,
    }
    /// PVE's inventory was compared with State for the first time since the start, or since that failed.
    Reconciled {
        /// Containers of the pool that were found.
        containers: u32,
    }
    /// Metadata was erased from the log while the service did not run; the log has a new name since.
    LogRedacted {
        /// The instance whose metadata it was.
        instance_id: InstanceId,
        /// Events that it was erased from.
        events: u64,
    }

    /// The pool keeps containers of this template from now on.
    TemplateAdded {
        /// The template.
        template: Vmid,
        /// Where it is, once known.
        node: Option<Node>,
        /// Whether its storage can make linked clones, once known.
        linkable: Option<bool>,
    }
    /// The template's own sizes were set; a drain or back-off ends.
    TemplateConfigured {
        /// The template.
        template: Vmid,
        /// Its own sizes; those left out are the defaults.
        sizes: SizeOverrides,
    }
    /// A one-time larger inventory was asked for.
    TemplateWarmed {
        /// The template.
        template: Vmid,
        /// Inventory to reach once.
        goal: u32,
    }
    /// Clones of the template fail in a way that a pause, or a person, must mend.
    TemplateBackedOff {
        /// The template.
        template: Vmid,
        /// Why.
        fault: Fault,
        /// When one clone is tried again.
        until: Timestamp,
        /// How often it backed off in a row, from 1.
        step: u32,
    }
    /// The template's ready containers are destroyed and it serves nobody, until it is configured again.
    TemplateDrained {
        /// The template.
        template: Vmid,
    }
    /// The ready containers are to be replaced by clones of the template as it is today.
    TemplateRefreshed {
        /// The template.
        template: Vmid,
    }
    /// The template had neither containers nor settings for a day.
    TemplateRemoved {
        /// The template.
        template: Vmid,
    }

    /// A clone is to be made when the lane is free.
    CloneQueued {
        /// The clone, and the container that it becomes.
        clone_id: CloneId,
        /// The template.
        template: Vmid,
        /// What it was needed for when it was queued.
        purpose: ClonePurpose,
    }
    /// A clone is about to be asked of PVE, with everything chosen.
    CloneStarted {
        /// The clone.
        clone_id: CloneId,
        /// The template.
        template: Vmid,
        /// The new container's VMID.
        vmid: Vmid,
        /// The node that it is made on.
        node: Node,
        /// Its hostname.
        hostname: Hostname,
        /// Whether it shares the template's disk.
        linked: bool,
        /// Which try it is, from 1.
        attempt: u32,
    }
    /// PVE took the clone on.
    CloneSubmitted {
        /// The clone.
        clone_id: CloneId,
        /// The template.
        template: Vmid,
        /// The new container's VMID.
        vmid: Vmid,
        /// PVE's task.
        upid: Upid,
    }
    /// PVE may or may not have taken the clone on; it is looked for.
    CloneUncertain {
        /// The clone.
        clone_id: CloneId,
        /// The template.
        template: Vmid,
        /// The VMID that it would have.
        vmid: Vmid,
        /// Why it is not known.
        fault: Fault,
    }
    /// PVE refused the clone for now.
    CloneRetryScheduled {
        /// The clone.
        clone_id: CloneId,
        /// The template.
        template: Vmid,
        /// The VMID that was tried, if it came to that.
        vmid: Option<Vmid>,
        /// Counted tries so far.
        attempt: u32,
        /// Why it was refused.
        fault: Fault,
        /// When it is tried again.
        retry_at: Timestamp,
    }
    /// The container is made, unlocked and ready.
    CloneSucceeded {
        /// The clone.
        clone_id: CloneId,
        /// The template.
        template: Vmid,
        /// The new container.
        vmid: Vmid,
        /// Milliseconds from the request to PVE to the container being ready.
        duration_ms: u64,
        /// PVE's task ended with warnings.
        warnings: bool,
    }
    /// The clone is given up.
    CloneFailed {
        /// The clone.
        clone_id: CloneId,
        /// The template.
        template: Vmid,
        /// The VMID that was tried, if it came to that.
        vmid: Option<Vmid>,
        /// Why.
        fault: Fault,
    }
    /// A queued clone is no longer needed.
    CloneCancelled {
        /// The clone.
        clone_id: CloneId,
        /// The template.
        template: Vmid,
    }

    /// No container was ready: the allocation waits in line.
    AllocationQueued {
        /// The allocation.
        allocation_id: AllocationId,
        /// The caller's name of the sandbox.
        instance_id: InstanceId,
        /// The template.
        template: Vmid,
        /// Whether the container is to be started.
        start: bool,
        /// Seconds after completion at which the container is released by itself.
        ttl_seconds: Option<u64>,
        /// The caller's own words, as given.
        metadata: BTreeMap<String, String>,
        /// When it fails unless answered.
        deadline: Timestamp,
    }
    /// A container is this allocation's and nobody else's.
    Allocated {
        /// The allocation.
        allocation_id: AllocationId,
        /// The caller's name of the sandbox.
        instance_id: InstanceId,
        /// The template.
        template: Vmid,
        /// The container.
        vmid: Vmid,
        /// Whether it was ready when it was asked for.
        from_pool: bool,
        /// Whether the container is to be started.
        start: bool,
        /// Seconds after completion at which the container is released by itself.
        ttl_seconds: Option<u64>,
        /// The caller's own words, as given.
        metadata: BTreeMap<String, String>,
        /// When it fails unless answered.
        deadline: Timestamp,
    }
    /// The container that was handed out proved unusable; the allocation is first in line again.
    AllocationRequeued {
        /// The allocation.
        allocation_id: AllocationId,
        /// The template.
        template: Vmid,
        /// The container that was not usable.
        vmid: Vmid,
        /// Unusable containers so far.
        attempt: u32,
        /// What was wrong with it.
        fault: Fault,
    }
    /// The same instance was asked for again; its container is looked at before the answer.
    AllocationResumed {
        /// The allocation.
        allocation_id: AllocationId,
        /// The container.
        vmid: Vmid,
        /// Whether it is to be started if it does not run.
        start: bool,
        /// When this request fails unless answered.
        deadline: Timestamp,
    }
    /// The container is the caller's, under its name and started if asked: the answer.
    AllocationCompleted {
        /// The allocation.
        allocation_id: AllocationId,
        /// The caller's name of the sandbox.
        instance_id: InstanceId,
        /// The template.
        template: Vmid,
        /// The container.
        vmid: Vmid,
        /// The node that it is on.
        node: Node,
        /// Whether it was ready when it was asked for.
        from_pool: bool,
        /// When it is released by itself.
        expires_at: Option<Timestamp>,
        /// Milliseconds from the request to here.
        duration_ms: u64,
    }
    /// The allocation ended without an answer that anybody waited for.
    AllocationCancelled {
        /// The allocation.
        allocation_id: AllocationId,
        /// The caller's name of the sandbox.
        instance_id: InstanceId,
        /// The template.
        template: Vmid,
        /// The container that was being handed out.
        vmid: Option<Vmid>,
        /// Why.
        reason: CancelReason,
    }
    /// The allocation ended with an error.
    AllocationFailed {
        /// The allocation.
        allocation_id: AllocationId,
        /// The caller's name of the sandbox.
        instance_id: InstanceId,
        /// The template.
        template: Vmid,
        /// The container that was being handed out.
        vmid: Option<Vmid>,
        /// What kind of an end it is.
        code: FailureCode,
        /// Why, as a sentence.
        reason: String,
    }

    /// The container has this hostname at PVE now; if it is to start, that comes next.
    ContainerRenamed {
        /// The container.
        vmid: Vmid,
        /// Its hostname.
        hostname: Hostname,
        /// The allocation that it was renamed for; none when it was renamed back.
        allocation_id: Option<AllocationId>,
    }
    /// The container runs.
    ContainerStarted {
        /// The container.
        vmid: Vmid,
        /// The allocation that it was started for.
        allocation_id: AllocationId,
        /// Milliseconds from the request to PVE to its running; none if it was found running.
        duration_ms: Option<u64>,
    }
    /// The container's start task failed.
    ContainerStartFailed {
        /// The container.
        vmid: Vmid,
        /// The allocation that it was started for.
        allocation_id: AllocationId,
        /// Why.
        fault: Fault,
    }
    /// A container of the pool was found at PVE that State did not know.
    ContainerDiscovered {
        /// The container.
        vmid: Vmid,
        /// The clone that its description names, or a new one for a container of the Python service.
        clone_id: CloneId,
        /// The template.
        template: Vmid,
        /// The node that it is on.
        node: Node,
        /// Its hostname.
        hostname: Hostname,
        /// Who holds it; none if it is ready.
        instance_id: Option<InstanceId>,
    }
    /// The container is on another node now.
    ContainerMoved {
        /// The container.
        vmid: Vmid,
        /// The node that it is on.
        node: Node,
    }
    /// The container is no longer at PVE, or its VMID is somebody else's.
    ContainerLost {
        /// The VMID that was the container's.
        vmid: Vmid,
        /// The template.
        template: Vmid,
        /// Who held it.
        instance_id: Option<InstanceId>,
        /// How that was seen.
        reason: String,
    }
    /// The container cannot be used or cleaned up without a person.
    ContainerQuarantined {
        /// The container.
        vmid: Vmid,
        /// Why, with the command that frees it.
        fault: Fault,
    }
    /// Something at PVE speaks against the container being ours: it is left alone as it is.
    OwnershipDoubted {
        /// The container.
        vmid: Vmid,
        /// What.
        reason: String,
    }
    /// The container is surely ours again.
    OwnershipConfirmed {
        /// The container.
        vmid: Vmid,
    }
    /// What is being done with the container met something that passes, and is tried again.
    ActionDelayed {
        /// The container.
        vmid: Vmid,
        /// What stood in the way.
        fault: Fault,
        /// Tries so far.
        attempt: u32,
        /// When it is tried again.
        retry_at: Timestamp,
    }

    /// The container is to be stopped and given back.
    ReleaseRequested {
        /// The container.
        vmid: Vmid,
        /// Who held it.
        instance_id: Option<InstanceId>,
        /// Who asked.
        by: LeaveReason,
    }
    /// The container is stopped and nobody's.
    Released {
        /// The container.
        vmid: Vmid,
        /// The template.
        template: Vmid,
        /// Who held it.
        instance_id: Option<InstanceId>,
        /// Its hostname now.
        hostname: Hostname,
        /// Whether it is ready again; otherwise it is destroyed next.
        reused: bool,
    }
    /// The release did not work; without a retry the container stays with its holder.
    ReleaseFailed {
        /// The container.
        vmid: Vmid,
        /// Why.
        fault: Fault,
        /// When it is tried again.
        retry_at: Option<Timestamp>,
    }
    /// The container is to be destroyed.
    RemovalRequested {
        /// The container.
        vmid: Vmid,
        /// Who asked.
        by: LeaveReason,
    }
    /// The container is gone from PVE.
    Removed {
        /// The container.
        vmid: Vmid,
        /// The template.
        template: Vmid,
        /// Who held it when its removal was asked for.
        instance_id: Option<InstanceId>,
    }
    /// The removal did not work and is tried again.
    RemovalFailed {
        /// The container.
        vmid: Vmid,
        /// Why.
        fault: Fault,
        /// Tries so far.
        attempt: u32,
        /// When it is tried again.
        retry_at: Timestamp,
    }

    /// A webhook endpoint was configured; its events begin behind the cursor.
    WebhookAdded {
        /// The endpoint.
        endpoint: EndpointName,
        /// The last event that it does not get: the head, or where it was before it was removed.
        cursor: Seq,
    }
    /// A webhook endpoint is not configured any more; its place is kept for a while.
    WebhookRemoved {
        /// The endpoint.
        endpoint: EndpointName,
        /// Until when.
        kept_until: Timestamp,
    }
    /// The place of a removed webhook endpoint is kept no longer.
    WebhookForgotten {
        /// The endpoint.
        endpoint: EndpointName,
    }
    /// How far a webhook endpoint is; at most one for each endpoint in five seconds.
    WebhookCheckpointed {
        /// The endpoint.
        endpoint: EndpointName,
        /// Everything up to here is delivered, filtered out, held or parked.
        cursor: Seq,
        /// Lanes whose first undelivered event is tried again.
        held: Vec<WebhookHeld>,
        /// Events behind parked ones, where their number changed.
        behind: Vec<WebhookBehind>,
        /// How far the replay under way is.
        replay: Option<WebhookReplayPoint>,
        /// Up to which event this takes requests about the endpoint into account.
        seen: Seq,
    }
    /// Attempts of a webhook endpoint fail; said once for each streak of failures.
    WebhookFailing {
        /// The endpoint.
        endpoint: EndpointName,
        /// The first failure without a success after it.
        since: Timestamp,
        /// The event of the last attempt.
        seq: Seq,
        /// What it came to.
        reason: String,
    }
    /// An attempt of a failing webhook endpoint succeeded.
    WebhookRecovered {
        /// The endpoint.
        endpoint: EndpointName,
        /// Since when attempts failed.
        failing_since: Timestamp,
    }
    /// An event cannot be delivered: it is parked, and the later ones of its lane wait behind it.
    WebhookParked {
        /// The endpoint.
        endpoint: EndpointName,
        /// The event.
        seq: Seq,
        /// Its type.
        event_type: String,
        /// What it is about, and what waits behind it.
        lane: Lane,
        /// How often it was tried.
        attempts: u32,
        /// The last failure.
        reason: String,
    }
    /// A parked event is tried again, and then those behind it.
    WebhookRetried {
        /// The endpoint.
        endpoint: EndpointName,
        /// The event.
        seq: Seq,
        /// What it is about.
        lane: Lane,
    }
    /// A parked event is given up for good.
    WebhookDropped {
        /// The endpoint.
        endpoint: EndpointName,
        /// The event.
        seq: Seq,
        /// What it is about.
        lane: Lane,
        /// Where its lane goes on; events of the lane before that are given up too.
        goes_on_at: Seq,
    }
    /// Nothing is sent to the webhook endpoint for the time being.
    WebhookPaused {
        /// The endpoint.
        endpoint: EndpointName,
        /// Why.
        by: WebhookPauseReason,
    }
    /// The webhook endpoint is sent to again, from where it was.
    WebhookResumed {
        /// The endpoint.
        endpoint: EndpointName,
    }
    /// Nothing is sent to the webhook endpoint until somebody resumes it.
    WebhookDisabled {
        /// The endpoint.
        endpoint: EndpointName,
        /// Why.
        by: WebhookDisableReason,
        /// The last failure.
        reason: String,
    }
    /// A test event was sent to the webhook endpoint.
    WebhookTested {
        /// The endpoint.
        endpoint: EndpointName,
        /// Whether it was taken.
        delivered: bool,
        /// The status of the answer.
        status: Option<u16>,
        /// Why it was not taken.
        reason: Option<String>,
        /// Milliseconds that the attempt took.
        duration_ms: u64,
    }
    /// Events are to be sent to the webhook endpoint once more.
    WebhookReplayRequested {
        /// The endpoint.
        endpoint: EndpointName,
        /// The first one.
        from: Seq,
        /// The last one.
        upto: Seq,
        /// Only these types; empty for all that the endpoint takes.
        types: Vec<String>,
    }
    /// An event of a replay was given up; unlike a parked one it holds up nothing.
    WebhookReplayMissed {
        /// The endpoint.
        endpoint: EndpointName,
        /// The event that asked for the replay.
        replay: Seq,
        /// The event.
        seq: Seq,
        /// Its type.
        event_type: String,
        /// What it is about.
        lane: Lane,
        /// How often it was tried.
        attempts: u32,
        /// The last failure.
        reason: String,
    }
    /// A replay came to its end.
    WebhookReplayEnded {
        /// The endpoint.
        endpoint: EndpointName,
        /// The event that asked for it.
        replay: Seq,
        /// Delivered.
        delivered: u64,
        /// Given up.
        failed: u64,
    }
}

/// What a clone was needed for when it was queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClonePurpose {
    /// An allocation waits for it.
    Waiter,
    /// Inventory is below its minimum.
    Urgent,
    /// Inventory is below its target.
    Refill,
    /// A one-time larger inventory was asked for, or ready containers are being replaced.
    Warm,
    /// A template that backed off is tried again.
    Probe,
}

/// Why an allocation ended without an answer that anybody waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CancelReason {
    /// Its last caller disconnected.
    CallerGone,
    /// The service restarted and nobody asked again.
    Restarted,
    /// The service is stopping.
    Stopping,
    /// Its container was released meanwhile.
    Released,
    /// Its container was removed meanwhile.
    Removed,
}

/// What kind of error an allocation ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// Its time was up while it waited in line.
    AllocateTimeout,
    /// Its time was up while PVE did not answer.
    PveTimeout,
    /// PVE refuses what is needed; the reason has PVE's words.
    PveRefused,
    /// The template cannot be cloned; the reason says why.
    TemplateBackedOff,
    /// The template is drained.
    TemplateDrained,
    /// Three containers in a row were not usable.
    ContainersUnusable,
    /// The pool holds as many containers as it may, and none is becoming free.
    MaxTotal,
    /// Its container is not surely ours any more.
    OwnershipDoubted,
}

/// Who asked for a container to be released or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeaveReason {
    /// A request.
    Request,
    /// Its allocation ended before it was answered.
    AllocationEnded,
    /// Its time to live was over.
    Expired,
    /// It was not usable when it was handed out.
    Unusable,
    /// Its clone failed and left it behind.
    CloneFailed,
    /// There are more than there may be.
    Surplus,
    /// It is replaced by a clone of today's template.
    Refreshed,
    /// Its template is drained.
    Drained,
    /// It was released and is not to be reused.
    Recycled,
    /// A person freed it from quarantine.
    Freed,
}

impl Event {
    /// The template that the event is about, where it names one.
    pub fn template(&self) -> Option<Vmid> {
        match self {
            Self::TemplateAdded(e) => Some(e.template),
            Self::TemplateConfigured(e) => Some(e.template),
            Self::TemplateWarmed(e) => Some(e.template),
            Self::TemplateBackedOff(e) => Some(e.template),
            Self::TemplateDrained(e) => Some(e.template),
            Self::TemplateRefreshed(e) => Some(e.template),
            Self::TemplateRemoved(e) => Some(e.template),
            Self::CloneQueued(e) => Some(e.template),
            Self::CloneStarted(e) => Some(e.template),
            Self::CloneSubmitted(e) => Some(e.template),
            Self::CloneUncertain(e) => Some(e.template),
            Self::CloneRetryScheduled(e) => Some(e.template),
            Self::CloneSucceeded(e) => Some(e.template),
            Self::CloneFailed(e) => Some(e.template),
            Self::CloneCancelled(e) => Some(e.template),
            Self::AllocationQueued(e) => Some(e.template),
            Self::Allocated(e) => Some(e.template),
            Self::AllocationRequeued(e) => Some(e.template),
            Self::AllocationCompleted(e) => Some(e.template),
            Self::AllocationCancelled(e) => Some(e.template),
            Self::AllocationFailed(e) => Some(e.template),
            Self::ContainerDiscovered(e) => Some(e.template),
            Self::ContainerLost(e) => Some(e.template),
            Self::Released(e) => Some(e.template),
            Self::Removed(e) => Some(e.template),
            Self::ServiceStarted(_)
            | Self::SettingsChanged(_)
            | Self::ServiceStopping(_)
            | Self::ServiceStopped(_)
            | Self::PveUnreachable(_)
            | Self::PveReachable(_)
            | Self::ReconcileFailed(_)
            | Self::Reconciled(_)
            | Self::LogRedacted(_)
            | Self::AllocationResumed(_)
            | Self::ContainerRenamed(_)
            | Self::ContainerStarted(_)
            | Self::ContainerStartFailed(_)
            | Self::ContainerMoved(_)
            | Self::ContainerQuarantined(_)
            | Self::OwnershipDoubted(_)
            | Self::OwnershipConfirmed(_)
            | Self::ActionDelayed(_)
            | Self::ReleaseRequested(_)
            | Self::ReleaseFailed(_)
            | Self::RemovalRequested(_)
            | Self::RemovalFailed(_)
            | Self::WebhookAdded(_)
            | Self::WebhookRemoved(_)
            | Self::WebhookForgotten(_)
            | Self::WebhookCheckpointed(_)
            | Self::WebhookFailing(_)
            | Self::WebhookRecovered(_)
            | Self::WebhookParked(_)
            | Self::WebhookRetried(_)
            | Self::WebhookDropped(_)
            | Self::WebhookPaused(_)
            | Self::WebhookResumed(_)
            | Self::WebhookDisabled(_)
            | Self::WebhookTested(_)
            | Self::WebhookReplayRequested(_)
            | Self::WebhookReplayMissed(_)
            | Self::WebhookReplayEnded(_) => None,
        }
    }

    /// The container that the event is about, where it names one.
    pub fn vmid(&self) -> Option<Vmid> {
        match self {
            Self::CloneStarted(e) => Some(e.vmid),
            Self::CloneSubmitted(e) => Some(e.vmid),
            Self::CloneUncertain(e) => Some(e.vmid),
            Self::CloneRetryScheduled(e) => e.vmid,
            Self::CloneSucceeded(e) => Some(e.vmid),
            Self::CloneFailed(e) => e.vmid,
            Self::Allocated(e) => Some(e.vmid),
            Self::AllocationRequeued(e) => Some(e.vmid),
            Self::AllocationResumed(e) => Some(e.vmid),
            Self::AllocationCompleted(e) => Some(e.vmid),
            Self::AllocationCancelled(e) => e.vmid,
            Self::AllocationFailed(e) => e.vmid,
            Self::ContainerRenamed(e) => Some(e.vmid),
            Self::ContainerStarted(e) => Some(e.vmid),
            Self::ContainerStartFailed(e) => Some(e.vmid),
            Self::ContainerDiscovered(e) => Some(e.vmid),
            Self::ContainerMoved(e) => Some(e.vmid),
            Self::ContainerLost(e) => Some(e.vmid),
            Self::ContainerQuarantined(e) => Some(e.vmid),
            Self::OwnershipDoubted(e) => Some(e.vmid),
            Self::OwnershipConfirmed(e) => Some(e.vmid),
            Self::ActionDelayed(e) => Some(e.vmid),
            Self::ReleaseRequested(e) => Some(e.vmid),
            Self::Released(e) => Some(e.vmid),
            Self::ReleaseFailed(e) => Some(e.vmid),
            Self::RemovalRequested(e) => Some(e.vmid),
            Self::Removed(e) => Some(e.vmid),
            Self::RemovalFailed(e) => Some(e.vmid),
            Self::ServiceStarted(_)
            | Self::SettingsChanged(_)
            | Self::ServiceStopping(_)
            | Self::ServiceStopped(_)
            | Self::PveUnreachable(_)
            | Self::PveReachable(_)
            | Self::ReconcileFailed(_)
            | Self::Reconciled(_)
            | Self::LogRedacted(_)
            | Self::TemplateAdded(_)
            | Self::TemplateConfigured(_)
            | Self::TemplateWarmed(_)
            | Self::TemplateBackedOff(_)
            | Self::TemplateDrained(_)
            | Self::TemplateRefreshed(_)
            | Self::TemplateRemoved(_)
            | Self::CloneQueued(_)
            | Self::CloneCancelled(_)
            | Self::AllocationQueued(_)
            | Self::WebhookAdded(_)
            | Self::WebhookRemoved(_)
            | Self::WebhookForgotten(_)
            | Self::WebhookCheckpointed(_)
            | Self::WebhookFailing(_)
            | Self::WebhookRecovered(_)
            | Self::WebhookParked(_)
            | Self::WebhookRetried(_)
            | Self::WebhookDropped(_)
            | Self::WebhookPaused(_)
            | Self::WebhookResumed(_)
            | Self::WebhookDisabled(_)
            | Self::WebhookTested(_)
            | Self::WebhookReplayRequested(_)
            | Self::WebhookReplayMissed(_)
            | Self::WebhookReplayEnded(_) => None,
        }
    }

    /// The allocation that the event is about, where it names one.
    pub fn allocation_id(&self) -> Option<AllocationId> {
        match self {
            Self::AllocationQueued(e) => Some(e.allocation_id),
            Self::Allocated(e) => Some(e.allocation_id),
            Self::AllocationRequeued(e) => Some(e.allocation_id),
            Self::AllocationResumed(e) => Some(e.allocation_id),
            Self::AllocationCompleted(e) => Some(e.allocation_id),
            Self::AllocationCancelled(e) => Some(e.allocation_id),
            Self::AllocationFailed(e) => Some(e.allocation_id),
            Self::ContainerRenamed(e) => e.allocation_id,
            Self::ContainerStarted(e) => Some(e.allocation_id),
            Self::ContainerStartFailed(e) => Some(e.allocation_id),
            _ => None,
        }
    }

    /// The kind of the fault that the event reports, where it reports one.
    pub fn fault_kind(&self) -> Option<FaultKind> {
        match self {
            Self::ReconcileFailed(e) => Some(e.fault.kind),
            Self::TemplateBackedOff(e) => Some(e.fault.kind),
            Self::CloneUncertain(e) => Some(e.fault.kind),
            Self::CloneRetryScheduled(e) => Some(e.fault.kind),
            Self::CloneFailed(e) => Some(e.fault.kind),
            Self::AllocationRequeued(e) => Some(e.fault.kind),
            Self::ContainerStartFailed(e) => Some(e.fault.kind),
            Self::ContainerQuarantined(e) => Some(e.fault.kind),
            Self::ActionDelayed(e) => Some(e.fault.kind),
            Self::ReleaseFailed(e) => Some(e.fault.kind),
            Self::RemovalFailed(e) => Some(e.fault.kind),
            _ => None,
        }
    }

    /// Erases what the caller of this instance said of it; whether there was anything.
    pub fn forget_metadata(&mut self, instance: &str) -> bool {
        let (id, metadata) = match self {
            Self::AllocationQueued(e) => (&e.instance_id, &mut e.metadata),
            Self::Allocated(e) => (&e.instance_id, &mut e.metadata),
            _ => return false,
        };
        let erased = id.as_str() == instance && !metadata.is_empty();
        if erased {
            metadata.clear();
        }
        erased
    }

    /// The webhook endpoint that the event is about.
    pub fn endpoint(&self) -> Option<&EndpointName> {
        match self {
            Self::WebhookAdded(e) => Some(&e.endpoint),
            Self::WebhookRemoved(e) => Some(&e.endpoint),
            Self::WebhookForgotten(e) => Some(&e.endpoint),
            Self::WebhookCheckpointed(e) => Some(&e.endpoint),
            Self::WebhookFailing(e) => Some(&e.endpoint),
            Self::WebhookRecovered(e) => Some(&e.endpoint),
            Self::WebhookParked(e) => Some(&e.endpoint),
            Self::WebhookRetried(e) => Some(&e.endpoint),
            Self::WebhookDropped(e) => Some(&e.endpoint),
            Self::WebhookPaused(e) => Some(&e.endpoint),
            Self::WebhookResumed(e) => Some(&e.endpoint),
            Self::WebhookDisabled(e) => Some(&e.endpoint),
            Self::WebhookTested(e) => Some(&e.endpoint),
            Self::WebhookReplayRequested(e) => Some(&e.endpoint),
            Self::WebhookReplayMissed(e) => Some(&e.endpoint),
            Self::WebhookReplayEnded(e) => Some(&e.endpoint),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_should_look_at_are_types_of_events() {
        for name in TROUBLE {
            assert!(Event::TYPES.contains(&name), "{name}");
        }
    }
}
