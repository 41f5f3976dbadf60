//! What is known of webhook endpoints: how far each is, what it waits with, and what it gave up for now.
//!
//! Where events are sent and with which key is configuration and never here. An endpoint's progress is a
//! cursor; what is not delivered below it is in `held` (tried again by schedule) or `parked` (given up until
//! somebody says otherwise), both by lane: the later events of a lane stay behind its first one.

mod fold;

use std::time::Duration;

use imbl::OrdMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::event::Event;
use super::ids::{EndpointName, Lane, Seq};
use super::state::State;
use super::time::Timestamp;

/// An endpoint that only ever failed for this long is disabled.
pub const DISABLE_AFTER: Duration = Duration::from_hours(5 * 24);

/// The place of an endpoint that is not configured any more is kept for this long.
pub const KEPT: Duration = Duration::from_hours(30 * 24);

/// Lanes that one endpoint may have parked; at this it is paused, since more than single events is wrong.
pub const MAX_PARKED: usize = 64;

/// Lanes that one endpoint may hold for another try; at this it reads no further.
pub const MAX_HELD: usize = 128;

/// Replays that one endpoint may have waiting.
pub const MAX_REPLAYS: usize = 8;

/// One endpoint, as the log knows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Webhook {
    /// Everything up to here is delivered, filtered out, held or parked.
    pub cursor: Seq,
    /// Until when its place is kept, if it is not configured any more.
    pub kept_until: Option<Timestamp>,
    /// Why nothing is sent for the time being.
    pub paused: Option<Paused>,
    /// Why nothing is sent until somebody resumes it.
    pub disabled: Option<Disabled>,
    /// Since when each attempt fails.
    pub failing: Option<Failing>,
    /// Lanes whose first undelivered event is tried again.
    pub held: OrdMap<Lane, Held>,
    /// Lanes whose first undelivered event was given up.
    pub parked: OrdMap<Lane, Parked>,
    /// What is sent once more, first the one under way.
    pub replays: Vec<Replay>,
}

/// A pause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Paused {
    /// Since when.
    pub since: Timestamp,
    /// Why.
    pub by: WebhookPauseReason,
}

/// The end of an endpoint until somebody resumes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Disabled {
    /// Since when.
    pub since: Timestamp,
    /// Why.
    pub by: WebhookDisableReason,
    /// The last failure.
    pub reason: String,
}

/// A streak of failures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failing {
    /// Since when.
    pub since: Timestamp,
    /// What the first failures were.
    pub reason: String,
}

/// A lane that waits for another try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The first event of the lane at or behind this position is next.
    pub from: Seq,
    /// Failed tries of it so far.
    pub attempt: u32,
    /// When it is tried again.
    pub retry_at: Timestamp,
    /// Later events of the lane that were met so far.
    pub behind: u64,
    /// The event that took it out of the parked ones; a checkpoint made without knowing of it keeps it.
    pub released: Seq,
}

/// A lane whose first undelivered event was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    /// That event.
    pub seq: Seq,
    /// Its type.
    pub event_type: String,
    /// Since when.
    pub since: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
    /// The last failure.
    pub reason: String,
    /// Later events of the lane that wait behind it, as of the last checkpoint.
    pub behind: u64,
}

/// Events that are sent once more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// The event that asked for it.
    pub id: Seq,
    /// Everything up to here is done.
    pub cursor: Seq,
    /// The last event of it.
    pub upto: Seq,
    /// Only these types; empty for all that the endpoint takes.
    pub types: Vec<String>,
    /// Delivered so far.
    pub delivered: u64,
    /// Given up so far.
    pub failed: u64,
}

/// Why an endpoint is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WebhookPauseReason {
    /// A request.
    Request,
    /// It has as many events parked as it may.
    ParkedLimit,
}

/// Why an endpoint is disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WebhookDisableReason {
    /// It answered 410.
    Gone,
    /// Each attempt of five days failed.
    Failing,
}

/// A held lane in a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookHeld {
    /// The lane.
    pub lane: Lane,
    /// The first event of the lane at or behind this position is next.
    pub from: Seq,
    /// Failed tries of it so far.
    pub attempt: u32,
    /// When it is tried again.
    pub retry_at: Timestamp,
    /// Later events of the lane that were met so far.
    pub behind: u64,
}

/// How many events wait behind a parked one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookBehind {
    /// The lane.
    pub lane: Lane,
    /// How many.
    pub events: u64,
}

/// How far a replay is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookReplayPoint {
    /// The event that asked for it.
    pub replay: Seq,
    /// Everything up to here is done.
    pub cursor: Seq,
    /// Delivered so far.
    pub delivered: u64,
    /// Given up so far.
    pub failed: u64,
}

/// Something about an endpoint to decide.
#[derive(Clone, Debug, PartialEq)]
pub struct WebhookCommand {
    /// The endpoint.
    pub endpoint: EndpointName,
    /// What.
    pub step: WebhookStep,
}

/// What is to be decided about an endpoint: what its worker saw, and what was asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum WebhookStep {
    /// How far it is.
    Checkpoint(WebhookCheckpoint),
    /// Attempts fail, since then.
    Failing {
        /// The first failure without a success after it.
        since: Timestamp,
        /// The event of the last attempt.
        seq: Seq,
        /// What it came to.
        reason: String,
    },
    /// An attempt succeeded after a streak of failures.
    Recovered,
    /// It answered 410.
    Gone {
        /// Its words.
        reason: String,
    },
    /// An event is given up.
    Park {
        /// The event.
        seq: Seq,
        /// Its type.
        event_type: String,
        /// Its lane.
        lane: Lane,
        /// How often it was tried.
        attempts: u32,
        /// The last failure.
        reason: String,
    },
    /// An event of a replay is given up.
    ReplayMissed {
        /// The event that asked for the replay.
        replay: Seq,
        /// The event.
        seq: Seq,
        /// Its type.
        event_type: String,
        /// Its lane.
        lane: Lane,
        /// How often it was tried.
        attempts: u32,
        /// The last failure.
        reason: String,
    },
    /// A replay came to its end.
    ReplayEnded {
        /// The event that asked for it.
        replay: Seq,
        /// Delivered.
        delivered: u64,
        /// Given up.
        failed: u64,
    },
    /// A test event was sent.
    Tested {
        /// Whether it was taken.
        delivered: bool,
        /// The status of the answer.
        status: Option<u16>,
        /// Why it was not taken.
        reason: Option<String>,
        /// Milliseconds that the attempt took.
        duration_ms: u64,
    },
    /// Send nothing for the time being.
    Pause,
    /// Send again; ends a pause and a disablement.
    Resume,
    /// Try parked events again.
    Retry {
        /// The one; none for all.
        seq: Option<Seq>,
    },
    /// Give a parked event up for good.
    Drop {
        /// The event.
        seq: Seq,
        /// And all that wait behind it.
        behind: bool,
    },
    /// Send events once more.
    Replay {
        /// The first one.
        from: Seq,
        /// Only these types; empty for all that the endpoint takes.
        types: Vec<String>,
        /// Only those that are parked.
        only_failed: bool,
    },
}

/// How far an endpoint is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WebhookCheckpoint {
    /// Everything up to here is delivered, filtered out, held or parked.
    pub cursor: Seq,
    /// What waits for another try.
    pub held: Vec<WebhookHeld>,
    /// What came behind parked events since the last checkpoint: the sums.
    pub behind: Vec<WebhookBehind>,
    /// How far the replay under way is.
    pub replay: Option<WebhookReplayPoint>,
    /// Head of the State that this was made with.
    pub seen: Seq,
}

impl Webhook {
    /// Whether anything is sent.
    pub fn is_active(&self) -> bool {
        self.paused.is_none() && self.disabled.is_none() && self.kept_until.is_none()
    }

    /// The first event that may still be sent: the log must keep everything from there on.
    pub fn needs_from(&self) -> Seq {
        let held = self.held.values().map(|held| held.from);
        let parked = self.parked.values().map(|parked| parked.seq);
        let replays = self.replays.iter().map(|replay| replay.cursor.next());
        held.chain(parked).chain(replays).fold(self.cursor.next(), Seq::min)
    }

    /// A parked event and its lane.
    pub fn parked_at(&self, seq: Seq) -> Option<(&Lane, &Parked)> {
        self.parked.iter().find(|(_, parked)| parked.seq == seq)
    }
}

impl Lane {
    /// Which events must arrive in order: those of one container, else of one allocation, else of one
    /// template; those of the service are a lane of their own.
    pub fn of(event: &Event) -> Self {
        let vmid = event.vmid().map(|vmid| format!("container/{vmid}"));
        vmid.or_else(|| event.allocation_id().map(|id| format!("allocation/{id}")))
            .or_else(|| event.template().map(|template| format!("template/{template}")))
            .map_or_else(|| Self("service".to_owned()), Self)
    }
}

impl State {
    /// The endpoint, if it is configured.
    pub fn webhook(&self, endpoint: &EndpointName) -> Option<&Webhook> {
        self.webhooks.get(endpoint).filter(|webhook| webhook.kept_until.is_none())
    }
}
