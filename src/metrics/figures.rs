//! What streams and webhooks say of themselves: they are asked at each scrape and keep their own figures.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::domain::ids::Seq;
use crate::domain::time::Timestamp;

/// Endpoints that have series of their own; more are not configured by anybody.
pub const MOST_ENDPOINTS: usize = 50;

/// Whom to ask. Clones ask the same.
#[derive(Clone, Default)]
pub struct Figures {
    streams: Arc<OnceLock<ReadStreams>>,
    endpoints: Arc<OnceLock<ReadEndpoints>>,
}

/// What event streams say of themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamReading {
    /// Streams that are open.
    pub subscribers: u64,
    /// Events that were sent, over all streams.
    pub events: u64,
    /// Streams that were ended because their reader did not read.
    pub evictions: u64,
    /// Readers that could not go on where they were.
    pub resets: u64,
}

/// What the sender to one endpoint says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointReading {
    /// The name that it is configured with; never its URL.
    pub name: String,
    /// Everything up to here is delivered or parked.
    pub cursor: Seq,
    /// Events that are not.
    pub lag_events: u64,
    /// How long the oldest of them has waited.
    pub lag: Duration,
    /// What waits for a person.
    pub parked: u64,
    /// Whether it was paused.
    pub paused: bool,
    /// Whether it was not disabled.
    pub enabled: bool,
    /// Attempts that it answered with 2xx.
    pub delivered: u64,
    /// Attempts that it answered otherwise.
    pub refused: u64,
    /// Attempts without an answer.
    pub unanswered: u64,
}

impl EndpointReading {
    /// Attempts by how they ended.
    pub(super) fn attempts(&self) -> [(&'static str, u64); 3] {
        [("delivered", self.delivered), ("refused", self.refused), ("unanswered", self.unanswered)]
    }
}

/// Asks the event streams.
pub type ReadStreams = Arc<dyn Fn() -> StreamReading + Send + Sync>;
/// Asks the senders to all endpoints.
pub type ReadEndpoints = Arc<dyn Fn(Timestamp) -> Vec<EndpointReading> + Send + Sync>;

impl Figures {
    /// Where the event streams are asked. There is one such place.
    pub fn read_streams_by(&self, read: ReadStreams) {
        // A second is a mistake of the composition root's; the first stays.
        let _ = self.streams.set(read);
    }

    /// Where the endpoints are asked for. There is one such place.
    pub fn read_endpoints_by(&self, read: ReadEndpoints) {
        // As above.
        let _ = self.endpoints.set(read);
    }

    pub(super) fn streams(&self) -> StreamReading {
        self.streams.get().map(|read| read()).unwrap_or_default()
    }

    pub(super) fn endpoints(&self, now: Timestamp) -> Vec<EndpointReading> {
        let mut endpoints = self.endpoints.get().map(|read| read(now)).unwrap_or_default();
        endpoints.truncate(MOST_ENDPOINTS);
        endpoints
    }
}
