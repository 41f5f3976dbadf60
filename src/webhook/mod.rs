//! Webhooks: each endpoint gets the events of the log behind its cursor, signed, at least once, and those of
//! one container in order.
//!
//! They read State and the log and never call PVE. What an endpoint is told is in `message.rs`, where it may
//! be in `guard.rs`, who works at it in `deliveries.rs`, what is done when it does not answer in `schedule.rs`, `health.rs` and `worker.rs`.
//!
//! - A cursor begins at the head when its endpoint is first configured, is a fact in the log from then on, and
//!   is kept for thirty days after the endpoint is taken out of the configuration.
//! - Progress is an event at most every five seconds. After a kill, what was delivered since the last one is
//!   delivered again, under the same `webhook-id`; after a clean stop nothing is.
//! - Order holds within a lane: a container, else an allocation, else a template. Eight lanes are under way
//!   at once. An event that fails is tried again by schedule while other lanes flow; one that is given up is
//!   parked, and its lane waits behind it.

mod client;
mod deliveries;
mod endpoint;
mod figures;
mod guard;
mod health;
mod lanes;
mod message;
mod owners;
mod schedule;
mod source;
mod worker;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError, RwLock};

#[cfg(test)]
use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

use crate::clock::{Clock, Stopwatch};
use crate::config::WebhookConfig;
use crate::domain::command::Command;
use crate::domain::ids::{EndpointName, Seq};
use crate::domain::time::Timestamp;
use crate::domain::webhook::WebhookStep;
use crate::engine::{Engine, Refused};
use crate::log::{ReadError, Reader};

use client::Post;
use message::Message;

pub use client::ClientError;
pub use deliveries::{Deliveries, Wanted};
pub use endpoint::{Endpoint, EndpointError, SHORT_FORM, known_types};
pub use figures::{Figures, LastFailure, Reading};
pub use guard::{Blocked, Guard};
pub use message::TEST_TYPE;
pub use schedule::{AttemptResult, SCHEDULE};

/// The endpoints and what is to be seen of them. Clones are cheap.
#[derive(Clone)]
pub struct Webhooks(Arc<Shared>);

/// An endpoint, and what its worker says of it.
pub type Watched = (Arc<Endpoint>, Arc<Figures>);

struct Shared {
    in_force: RwLock<InForce>,
    reader: Reader,
    clock: Clock,
    chance: Mutex<fastrand::Rng>,
}

/// What is configured now.
#[derive(Clone)]
struct InForce {
    endpoints: Vec<Watched>,
    post: Post,
}

/// Why webhooks cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The endpoints are not what they must be.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// Nothing can be sent.
    #[error("webhooks cannot be sent")]
    Client(#[from] ClientError),
    /// The engine does not take the endpoints on.
    #[error("the webhook endpoints cannot be noted")]
    Register(#[source] Refused),
}

/// What came of a test event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestOutcome {
    /// Whether it was taken.
    pub delivered: bool,
    /// The answer's status, if there was one.
    pub status: Option<u16>,
    /// Why it was not taken.
    pub reason: Option<String>,
    /// Milliseconds that the attempt took.
    pub duration_ms: u64,
}

impl Webhooks {
    /// Notes which endpoints are configured, and sets a worker to each. They end when `stop` is cancelled.
    pub async fn start(
        config: &WebhookConfig,
        engine: &Engine,
        reader: Reader,
        clock: Clock,
        chance: fastrand::Rng,
        stop: &CancellationToken,
    ) -> Result<(Self, Deliveries), StartError> {
        let this = Self::new(reader, clock, chance);
        let mut deliveries = Deliveries::new(this.clone(), engine.clone(), stop.clone());
        deliveries.begin(Wanted::load(config)?).await?;
        Ok((this, deliveries))
    }

    fn new(reader: Reader, clock: Clock, chance: fastrand::Rng) -> Self {
        let in_force = RwLock::new(InForce { endpoints: Vec::new(), post: client::nobody() });
        Self(Arc::new(Shared { in_force, reader, clock, chance: Mutex::new(chance) }))
    }

    /// Endpoints that take everything, without workers.
    #[cfg(test)]
    pub(crate) fn for_tests(endpoints: Vec<Endpoint>, reader: Reader, clock: Clock) -> Self {
        let taken = || schedule::Ended {
            result: AttemptResult::Delivered,
            status: Some(204),
            retry_after: None,
            reason: String::new(),
        };
        let this = Self::new(reader, clock, fastrand::Rng::with_seed(1));
        let endpoints = endpoints.into_iter().map(|endpoint| (Arc::new(endpoint), Arc::default()));
        this.put_in_force(InForce {
            endpoints: endpoints.collect(),
            post: Arc::new(move |_| async move { taken() }.boxed()),
        });
        this
    }

    /// The endpoints in the order of the configuration, each with its figures.
    pub fn endpoints(&self) -> Vec<Watched> {
        self.in_force().endpoints
    }

    /// One endpoint with its figures.
    pub fn endpoint(&self, name: &EndpointName) -> Option<Watched> {
        self.endpoints().into_iter().find(|(endpoint, _)| endpoint.name == *name)
    }

    fn in_force(&self) -> InForce {
        self.0.in_force.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn put_in_force(&self, in_force: InForce) {
        *self.0.in_force.write().unwrap_or_else(PoisonError::into_inner) = in_force;
    }

    /// Sends a test event at once, whether or not the endpoint is paused; none if there is no such endpoint.
    pub async fn test(&self, name: &EndpointName) -> Option<TestOutcome> {
        let (endpoint, _) = self.endpoint(name)?;
        let now = self.0.clock.now();
        let id = Ulid::from_parts(u64::try_from(now.0).unwrap_or(0), self.chance().u128(..));
        let watch = Stopwatch::start();
        let post = self.in_force().post;
        let ended = post(Message::test(name, id, now).attempt(&endpoint, now)).await;
        let delivered = ended.result == AttemptResult::Delivered;
        Some(TestOutcome {
            delivered,
            status: ended.status,
            reason: (!delivered).then_some(ended.reason),
            duration_ms: u64::try_from(watch.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }

    /// The first event at or after an instant.
    pub async fn seq_at(&self, at: Timestamp) -> Result<Seq, ReadError> {
        let reader = self.0.reader.clone();
        match tokio::task::spawn_blocking(move || source::seq_at(&reader, at)).await {
            Ok(seq) => seq,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    /// The oldest event that can be sent once more.
    pub fn oldest(&self) -> Seq {
        self.0.reader.oldest()
    }

    fn chance(&self) -> std::sync::MutexGuard<'_, fastrand::Rng> {
        self.0.chance.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TestOutcome {
    /// What is noted of it.
    pub fn step(self) -> WebhookStep {
        let Self { delivered, status, reason, duration_ms } = self;
        WebhookStep::Tested { delivered, status, reason, duration_ms }
    }
}
