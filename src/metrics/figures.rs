//! Figures that other rooms set as they work: streams and webhooks. Each is a number; none waits for another.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::domain::ids::Seq;
use crate::domain::time::Timestamp;

/// Endpoints that have series of their own; more are not configured by anybody.
pub const MOST_ENDPOINTS: usize = 50;

/// What streams and webhooks say of themselves. Clones are the same figures.
#[derive(Clone, Default)]
pub struct Figures {
    streams: Arc<OnceLock<ReadStreams>>,
    endpoints: Arc<Mutex<BTreeMap<String, Arc<EndpointFigures>>>>,
}

/// What event streams say of themselves when they are asked.
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

/// Asks the event streams.
pub type ReadStreams = Arc<dyn Fn() -> StreamReading + Send + Sync>;

/// How a delivery that was tried ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The endpoint took it.
    Delivered,
    /// The endpoint answered with something else than 2xx.
    Refused,
    /// There was no answer.
    Unanswered,
}

impl Attempt {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Delivered, Self::Refused, Self::Unanswered];

    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Refused => "refused",
            Self::Unanswered => "unanswered",
        }
    }
}

/// What the sender to one endpoint says of it.
#[derive(Debug, Default)]
pub struct EndpointFigures {
    attempts: [AtomicU64; Attempt::ALL.len()],
    cursor: AtomicU64,
    /// Milliseconds since 1970; 0 for none.
    oldest_pending: AtomicI64,
    parked: AtomicU64,
    disabled: AtomicBool,
}

impl Figures {
    /// Where the event streams are asked. There is one such place.
    pub fn read_streams_by(&self, read: ReadStreams) {
        // A second is a mistake of the composition root's; the first stays.
        let _ = self.streams.set(read);
    }

    pub(super) fn streams(&self) -> StreamReading {
        self.streams.get().map(|read| read()).unwrap_or_default()
    }

    /// Those of an endpoint, by the name that it is configured with; never its URL.
    pub fn endpoint(&self, name: &str) -> Arc<EndpointFigures> {
        let mut endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        let known = endpoints.contains_key(name) || endpoints.len() < MOST_ENDPOINTS;
        let name = if known { name } else { super::tally::OTHER };
        Arc::clone(endpoints.entry(name.to_owned()).or_default())
    }

    /// Forgets an endpoint that is no longer configured.
    pub fn forget_endpoint(&self, name: &str) {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    pub(super) fn endpoints(&self) -> Vec<(String, Arc<EndpointFigures>)> {
        let endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        endpoints.iter().map(|(name, figures)| (name.clone(), Arc::clone(figures))).collect()
    }
}

impl EndpointFigures {
    /// A delivery was tried.
    pub fn attempted(&self, attempt: Attempt) {
        self.attempts[attempt as usize].fetch_add(1, Relaxed);
    }

    /// How far it is: everything up to `cursor` is delivered or parked, and the oldest event that is not is
    /// of `oldest_pending`.
    pub fn reached(&self, cursor: Seq, oldest_pending: Option<Timestamp>) {
        self.cursor.store(cursor.0, Relaxed);
        self.oldest_pending.store(oldest_pending.map_or(0, |at| at.0), Relaxed);
    }

    /// How many events are parked for it.
    pub fn set_parked(&self, parked: u64) {
        self.parked.store(parked, Relaxed);
    }

    /// Whether events are sent to it.
    pub fn set_enabled(&self, enabled: bool) {
        self.disabled.store(!enabled, Relaxed);
    }

    pub(super) fn attempts(&self, attempt: Attempt) -> u64 {
        self.attempts[attempt as usize].load(Relaxed)
    }

    pub(super) fn cursor(&self) -> Seq {
        Seq(self.cursor.load(Relaxed))
    }

    pub(super) fn oldest_pending(&self) -> Option<Timestamp> {
        Some(Timestamp(self.oldest_pending.load(Relaxed))).filter(|at| at.0 > 0)
    }

    pub(super) fn parked(&self) -> u64 {
        self.parked.load(Relaxed)
    }

    pub(super) fn enabled(&self) -> bool {
        !self.disabled.load(Relaxed)
    }
}
