//! Webhooks: each endpoint gets the events of the log behind its cursor, signed, at least once, and those of
//! one container in order.
//!
//! They read State and the log and never call PVE. What an endpoint is told is in `message.rs`, where it may
//! be in `guard.rs`, what is done when it does not answer in `schedule.rs`, `health.rs` and `worker.rs`.
//!
//! - A cursor begins at the head when its endpoint is first configured, is a fact in the log from then on, and
//!   is kept for thirty days after the endpoint is taken out of the configuration.
//! - Progress is an event at most every five seconds. After a kill, what was delivered since the last one is
//!   delivered again, under the same `webhook-id`; after a clean stop nothing is.
//! - Order holds within a lane: a container, else an allocation, else a template. Eight lanes are under way
//!   at once. An event that fails is tried again by schedule while other lanes flow; one that is given up is
//!   parked, and its lane waits behind it.

mod client;
mod endpoint;
mod figures;
mod guard;
mod health;
mod lanes;
mod message;
mod schedule;
mod source;
mod worker;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
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
use worker::Worker;

pub use client::ClientError;
pub use endpoint::{Endpoint, EndpointError, SHORT_FORM, known_types};
pub use figures::{Figures, LastFailure, Reading};
pub use guard::{Blocked, Guard};
pub use message::TEST_TYPE;
pub use schedule::{AttemptResult, SCHEDULE};

/// The endpoints and what is to be seen of them. Clones are cheap.
#[derive(Clone)]
pub struct Webhooks(Arc<Shared>);

struct Shared {
    endpoints: Vec<(Arc<Endpoint>, Arc<Figures>)>,
    post: Post,
    reader: Reader,
    clock: Clock,
    chance: Mutex<fastrand::Rng>,
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
    /// Notes which endpoints are configured, and makes the workers that send to them. They run once they are
    /// polled, and end when `stop` is cancelled.
    pub async fn start(
        config: &WebhookConfig,
        engine: &Engine,
        reader: Reader,
        clock: Clock,
        chance: fastrand::Rng,
        stop: &CancellationToken,
    ) -> Result<(Self, Vec<BoxFuture<'static, ()>>), StartError> {
        let endpoints = Endpoint::load(config, &|path: &Path| std::fs::read_to_string(path))?;
        let guard = Guard::new(config.allow_cidrs.iter().copied());
        let post = if endpoints.is_empty() {
            client::nobody()
        } else {
            client::post(guard, &client::system_lookup())?
        };
        Self::start_with(endpoints, post, engine, reader, clock, chance, stop).await
    }

    /// The same with the endpoints read and another way to send.
    async fn start_with(
        endpoints: Vec<Endpoint>,
        post: Post,
        engine: &Engine,
        reader: Reader,
        clock: Clock,
        chance: fastrand::Rng,
        stop: &CancellationToken,
    ) -> Result<(Self, Vec<BoxFuture<'static, ()>>), StartError> {
        let names = endpoints.iter().map(|endpoint| endpoint.name.clone()).collect();
        engine.submit(Command::RegisterWebhooks(names), None, false).await.map_err(StartError::Register)?;
        let this = Self::new(endpoints, post, reader, clock, chance);
        let workers = this.0.endpoints.iter().map(|(endpoint, figures)| {
            let worker = Worker {
                endpoint: Arc::clone(endpoint),
                figures: Arc::clone(figures),
                engine: engine.clone(),
                reader: this.0.reader.clone(),
                clock,
                chance: this.chance().fork(),
                post: Arc::clone(&this.0.post),
            };
            worker.run(stop.clone()).boxed()
        });
        let workers = workers.collect();
        Ok((this, workers))
    }

    fn new(
        endpoints: Vec<Endpoint>,
        post: Post,
        reader: Reader,
        clock: Clock,
        chance: fastrand::Rng,
    ) -> Self {
        let endpoints = endpoints.into_iter().map(|endpoint| (Arc::new(endpoint), Arc::default())).collect();
        Self(Arc::new(Shared { endpoints, post, reader, clock, chance: Mutex::new(chance) }))
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
        let post: Post = Arc::new(move |_| async move { taken() }.boxed());
        Self::new(endpoints, post, reader, clock, fastrand::Rng::with_seed(1))
    }

    /// The endpoints in the order of the configuration, each with its figures.
    pub fn endpoints(&self) -> impl Iterator<Item = (&Endpoint, &Figures)> {
        self.0.endpoints.iter().map(|(endpoint, figures)| (&**endpoint, &**figures))
    }

    /// One endpoint with its figures.
    pub fn endpoint(&self, name: &EndpointName) -> Option<(&Endpoint, &Figures)> {
        self.endpoints().find(|(endpoint, _)| endpoint.name == *name)
    }

    /// Sends a test event at once, whether or not the endpoint is paused; none if there is no such endpoint.
    pub async fn test(&self, name: &EndpointName) -> Option<TestOutcome> {
        let (endpoint, _) = self.0.endpoints.iter().find(|(endpoint, _)| endpoint.name == *name)?;
        let now = self.0.clock.now();
        let id = Ulid::from_parts(u64::try_from(now.0).unwrap_or(0), self.chance().u128(..));
        let watch = Stopwatch::start();
        let ended = (self.0.post)(Message::test(name, id, now).attempt(endpoint, now)).await;
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
