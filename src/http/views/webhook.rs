//! Webhook endpoints: where each stands, and what is parked for it. Neither keys nor whole URLs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::state::State;
use crate::domain::time::Timestamp;
use crate::domain::webhook::{Parked, Replay, Webhook, WebhookDisableReason, WebhookPauseReason};
use crate::engine::Published;
use crate::webhook::{Endpoint, Figures, LastFailure, TestOutcome, Webhooks};

/// All endpoints.
#[derive(Debug, Serialize, ToSchema)]
pub struct WebhookList {
    /// The endpoints, in the order of the configuration.
    pub webhooks: Vec<WebhookStatus>,
    /// The last event that is in here.
    pub head: u64,
}

/// One endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub struct WebhookStatus {
    /// Its name.
    pub name: String,
    /// Where events are sent: scheme, host and port. The rest may be as good as a key.
    #[schema(example = "https://hooks.example.com")]
    pub target: String,
    /// The last characters of each key, the newest first.
    #[schema(example = json!(["whsec_…x7Qz"]))]
    pub secrets: Vec<String>,
    /// Types that are sent; null for all but those about webhooks.
    pub types: Option<Vec<&'static str>>,
    /// Templates whose events are sent; empty for all.
    pub templates: Vec<u32>,
    /// How long it may take to answer.
    pub timeout_seconds: u64,
    /// `active`, `failing`, `paused` or `disabled`.
    #[schema(example = "active")]
    pub state: &'static str,
    /// Why it is not active: `request`, `parked_limit`, `gone`, `failing`, or what failures said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when it is not active.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// Everything up to here is delivered, filtered out, held or parked.
    pub cursor: u64,
    /// Events that are not delivered yet and not parked.
    pub lag_events: u64,
    /// How long the oldest of them has waited.
    pub lag_seconds: f64,
    /// Lanes that wait for another try: containers, or what else is kept in order.
    pub held: u64,
    /// Attempts under way.
    pub in_flight: u64,
    /// Attempts since the start of the service, by how they ended.
    pub attempts: BTreeMap<&'static str, u64>,
    /// Until when it asked for nothing to be sent, by `Retry-After`; `resume` ends that.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub left_alone_until: Option<Timestamp>,
    /// When the last event was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_delivered_at: Option<Timestamp>,
    /// The last attempt that did not work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<WebhookError>,
    /// Events that were given up; the later ones of their lanes wait behind them.
    pub parked: Vec<ParkedEvent>,
    /// What is sent once more, first the one under way.
    pub replays: Vec<ReplayStatus>,
}

/// An attempt that did not work.
#[derive(Debug, Serialize, ToSchema)]
pub struct WebhookError {
    /// When it ended.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The event that was sent.
    pub seq: u64,
    /// The answer's status; null if there was none.
    pub status: Option<u16>,
    /// What it came to.
    pub reason: String,
}

/// An event that was given up.
#[derive(Debug, Serialize, ToSchema)]
pub struct ParkedEvent {
    /// The event.
    pub seq: u64,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is about.
    #[schema(example = "container/205")]
    pub lane: String,
    /// Since when it is parked.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
    /// The last failure.
    pub reason: String,
    /// Later events of the lane that wait behind it, as of the last checkpoint.
    pub behind: u64,
}

/// Events that are sent once more.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReplayStatus {
    /// The event that asked for it.
    pub id: u64,
    /// Everything up to here is done, as of the last checkpoint.
    pub cursor: u64,
    /// The last event of it.
    pub upto: u64,
    /// Only these types; empty for all that the endpoint takes.
    pub types: Vec<String>,
    /// Delivered, as of the last checkpoint.
    pub delivered: u64,
    /// Given up, as of the last checkpoint.
    pub failed: u64,
}

/// What came of a test event.
#[derive(Debug, Serialize, ToSchema)]
pub struct WebhookTest {
    /// Whether it was taken.
    pub delivered: bool,
    /// The answer's status; null if there was none.
    pub status: Option<u16>,
    /// Why it was not taken.
    pub reason: Option<String>,
    /// Milliseconds that the attempt took.
    pub duration_ms: u64,
}

/// The body of `POST /webhooks/{name}/replay`. Other fields are refused.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayBody {
    /// The first event to send; this or `since`.
    #[schema(minimum = 1)]
    pub from_seq: Option<u64>,
    /// The instant from which on events are sent; this or `from_seq`.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// Only these types, of those that the endpoint takes.
    pub types: Option<Vec<String>>,
    /// `all`, or `failed` for those that are parked, which then needs no beginning.
    #[schema(example = "all")]
    pub only: Option<String>,
}

impl WebhookList {
    /// The endpoints now.
    pub fn of(webhooks: &Webhooks, published: &Published, now: Timestamp) -> Self {
        let all = webhooks.endpoints();
        Self {
            webhooks: all
                .iter()
                .map(|(endpoint, figures)| WebhookStatus::of(endpoint, figures, &published.state, now))
                .collect(),
            head: published.head.0,
        }
    }
}

impl WebhookStatus {
    /// The endpoint now.
    pub fn of(endpoint: &Endpoint, figures: &Figures, state: &State, now: Timestamp) -> Self {
        let known = state.webhook(&endpoint.name).cloned().unwrap_or_default();
        let reading = figures.read(now);
        let (word, reason, since) = standing(&known);
        let attempts = reading.attempts.iter().map(|(result, count)| (result.as_str(), *count));
        Self {
            name: endpoint.name.to_string(),
            target: endpoint.origin(),
            secrets: endpoint.secret_hints(),
            types: endpoint.types.as_ref().map(|types| types.iter().copied().collect()),
            templates: endpoint.templates.iter().map(|template| template.0).collect(),
            timeout_seconds: endpoint.timeout.as_secs(),
            state: word,
            reason,
            since,
            cursor: reading.cursor.0,
            lag_events: reading.lag_events,
            lag_seconds: reading.lag.as_secs_f64(),
            held: reading.held,
            in_flight: reading.in_flight,
            attempts: attempts.collect(),
            left_alone_until: reading.left_alone_until,
            last_delivered_at: reading.last_delivered,
            last_error: reading.last_failure.map(WebhookError::of),
            parked: known.parked.iter().map(|(lane, it)| ParkedEvent::of(lane.as_str(), it)).collect(),
            replays: known.replays.iter().map(ReplayStatus::of).collect(),
        }
    }
}

/// An endpoint's state, why, and since when.
fn standing(known: &Webhook) -> (&'static str, Option<String>, Option<Timestamp>) {
    if let Some(disabled) = &known.disabled {
        let why = match disabled.by {
            WebhookDisableReason::Gone => "gone",
            WebhookDisableReason::Failing => "failing",
        };
        return ("disabled", Some(format!("{why}: {}", disabled.reason)), Some(disabled.since));
    }
    if let Some(paused) = &known.paused {
        let why = match paused.by {
            WebhookPauseReason::Request => "request",
            WebhookPauseReason::ParkedLimit => "parked_limit",
        };
        return ("paused", Some(why.to_owned()), Some(paused.since));
    }
    match &known.failing {
        Some(failing) => ("failing", Some(failing.reason.clone()), Some(failing.since)),
        None => ("active", None, None),
    }
}

impl WebhookError {
    fn of(it: LastFailure) -> Self {
        Self { at: it.at, seq: it.seq.0, status: it.status, reason: it.reason }
    }
}

impl ParkedEvent {
    fn of(lane: &str, it: &Parked) -> Self {
        Self {
            seq: it.seq.0,
            kind: it.event_type.clone(),
            lane: lane.to_owned(),
            since: it.since,
            attempts: it.attempts,
            reason: it.reason.clone(),
            behind: it.behind,
        }
    }
}

impl ReplayStatus {
    fn of(it: &Replay) -> Self {
        Self {
            id: it.id.0,
            cursor: it.cursor.0,
            upto: it.upto.0,
            types: it.types.clone(),
            delivered: it.delivered,
            failed: it.failed,
        }
    }
}

impl From<TestOutcome> for WebhookTest {
    fn from(it: TestOutcome) -> Self {
        Self { delivered: it.delivered, status: it.status, reason: it.reason, duration_ms: it.duration_ms }
    }
}
