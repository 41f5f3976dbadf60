//! What is measured, and how it is told to Prometheus.
//!
//! - Counters of what happened to containers are folded from the log ([`tally`]), so that they are the same
//!   over restarts and never count what is not durable.
//! - Gauges are written from State at each scrape; they cannot be stale.
//! - Calls of PVE, requests and the log's own work are told by whoever does them, through observers that the
//!   composition root hands out. Streams and webhooks are asked for their [`figures`].
//!
//! There is no global recorder. It reads the log and what the engine publishes, never PVE, and no room knows it.

pub mod figures;
pub mod names;
pub mod tally;

mod gauges;
mod ledger;
mod machine;
mod series;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::domain::time::Timestamp;
use crate::engine::{Engine, LogObserver, LogStep};
use crate::log::{ReadError, Reader};
use figures::{EndpointReading, Figures, StreamReading};
use gauges::EmptySince;
use ledger::Ledger;
use machine::{Place, Process};
use series::Registry;

/// How often events are counted and durations taken into their buckets without a scrape.
const UPKEEP: Duration = Duration::from_secs(5);

/// How often what was counted is written to its file.
const SAVE: Duration = Duration::from_mins(1);

/// Why nothing can be measured: the catalogue is wrong.
#[derive(Debug, thiserror::Error)]
#[error("the metrics' catalogue is wrong")]
pub struct CatalogueError(#[from] metrics_exporter_prometheus::BuildError);

/// Where measurements come from.
pub struct Sources {
    /// What is published.
    pub engine: Engine,
    /// The log.
    pub reader: Reader,
    /// The time.
    pub clock: Clock,
    /// Where the log is; what was counted is kept there too.
    pub data_dir: PathBuf,
    /// What can be foreseen of labels.
    pub known: Known,
}

/// Label values that can be foreseen: their series exist from the start, at 0.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Routes and how requests to each may end, `GET /status` with 200.
    pub answers: BTreeSet<(String, u16)>,
    /// Codes of problems that an allocation may be answered with.
    pub allocate_problems: Vec<&'static str>,
    /// Names of PVE's calls.
    pub pve_calls: &'static [&'static str],
    /// How a call of PVE may end.
    pub pve_outcomes: Vec<&'static str>,
}

/// How the log was opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Opening {
    /// How long it took.
    pub took: Duration,
    /// Events that were read one by one.
    pub replayed: u64,
}

/// Everything that is measured. Clones are cheap and the same.
#[derive(Clone)]
pub struct Metrics(Arc<Shared>);

struct Shared {
    engine: Engine,
    reader: Reader,
    clock: Clock,
    data_dir: PathBuf,
    started: Timestamp,
    /// Counters and histograms; they stay.
    registry: Registry,
    figures: Figures,
    log: LogFigures,
    opening: Mutex<Opening>,
    place: Mutex<Option<Place>>,
    empty: Mutex<EmptySince>,
    ledger: Mutex<Ledger>,
}

/// How large the log is, as its writer said last.
#[derive(Default)]
struct LogFigures {
    bytes: AtomicU64,
    segments: AtomicU64,
    next_reserved: AtomicBool,
}

impl Metrics {
    /// Begins to measure. It reads a file and must not be called from where that would hold others up.
    pub fn new(sources: Sources) -> Result<Self, CatalogueError> {
        let Sources { engine, reader, clock, data_dir, known } = sources;
        let registry = Registry::new()?;
        foresee(&registry, &known);
        let ledger = Mutex::new(Ledger::open(reader.clone(), &data_dir));
        let place = Mutex::new(Place::read(&data_dir));
        let started = clock.now();
        Ok(Self(Arc::new(Shared {
            engine,
            reader,
            clock,
            data_dir,
            started,
            registry,
            figures: Figures::default(),
            log: LogFigures::default(),
            opening: Mutex::default(),
            place,
            empty: Mutex::default(),
            ledger,
        })))
    }

    /// Where streams and webhooks are asked.
    pub fn figures(&self) -> Figures {
        self.0.figures.clone()
    }

    /// The log was opened.
    pub fn log_opened(&self, opening: Opening) {
        *lock(&self.0.opening) = opening;
    }

    /// What the engine tells of its log.
    pub fn log_observer(&self) -> LogObserver {
        let shared = Arc::clone(&self.0);
        let registry = &shared.registry;
        let events = registry.histogram(names::LOG_APPEND_EVENTS, &[]);
        let sync = registry.histogram(names::LOG_SYNC, &[]);
        let written = registry.counter(names::LOG_WRITTEN, &[]);
        let failures = registry.counter(names::LOG_APPEND_FAILURES, &[]);
        Box::new(move |step| {
            let sizes = match step {
                LogStep::NotWritten => return failures.increment(1),
                LogStep::Open(sizes) => sizes,
                LogStep::Appended(stats, sizes) => {
                    events.record(stats.events as f64);
                    sync.record(stats.sync);
                    written.increment(stats.bytes);
                    sizes
                }
            };
            shared.log.bytes.store(sizes.bytes, Relaxed);
            shared.log.segments.store(sizes.segments as u64, Relaxed);
            shared.log.next_reserved.store(sizes.next_reserved, Relaxed);
        })
    }

    /// A call of PVE was made.
    pub fn pve_called(&self, call: &'static str, outcome: &'static str, write: bool, took: Duration) {
        let registry = &self.0.registry;
        registry.counter(names::PVE_REQUESTS, &[call.into(), outcome.into()]).increment(1);
        let kind = if write { "write" } else { "read" };
        registry.histogram(names::PVE_DURATION, &[kind.into()]).record(took);
    }

    /// A request ended, as [`Known::answers`] has it.
    pub fn answered(&self, route: String, code: u16) {
        self.0.registry.counter(names::HTTP_REQUESTS, &[route.into(), code.to_string().into()]).increment(1);
    }

    /// An allocation was answered with a problem.
    pub fn allocate_problem(&self, code: &'static str) {
        self.0.registry.counter(names::ALLOCATE_PROBLEMS, &[code.into()]).increment(1);
    }

    /// Everything, now, in Prometheus' text form.
    pub fn render(&self) -> String {
        let shared = &*self.0;
        let (published, now) = (shared.engine.published(), shared.clock.now());
        let gauges = match Registry::new() {
            Ok(gauges) => gauges,
            Err(error) => {
                tracing::error!(%error, "gauges cannot be written");
                return shared.registry.render();
            }
        };
        {
            let mut ledger = lock(&shared.ledger);
            ledger.count_recent();
            ledger.meet(published.state.templates.keys().copied());
            ledger.show(&shared.registry);
            let mut empty = lock(&shared.empty);
            gauges::watch_empty(&mut empty, &published.state, now);
            gauges::of_state(&gauges, &published, ledger.tally(), &empty, now);
        }
        let (streams, endpoints) = (shared.figures.streams(), shared.figures.endpoints(now));
        gauges::of_figures(&gauges, streams, &endpoints);
        shared.set_own(&gauges);
        shared.count_figures(streams, &endpoints);
        let mut text = gauges.render();
        text.push_str(&shared.registry.render());
        text
    }

    /// Counts events and keeps the house until `stop` is done.
    pub async fn run(self, stop: CancellationToken) {
        let mut until_save = SAVE;
        loop {
            self.catch_up().await;
            let shared = &*self.0;
            let now = shared.clock.now();
            gauges::watch_empty(&mut lock(&shared.empty), &shared.engine.published().state, now);
            shared.registry.upkeep();
            let stopping = tokio::select! {
                () = stop.cancelled() => true,
                () = shared.clock.sleep(UPKEEP) => false,
            };
            until_save = until_save.saturating_sub(UPKEEP);
            if stopping {
                self.catch_up().await;
            }
            if stopping || until_save.is_zero() {
                self.blocking(Shared::save).await;
                until_save = SAVE;
            }
            if stopping {
                return;
            }
        }
    }

    /// Counts up to the head of the log, however far that is, and looks at the disk.
    async fn catch_up(&self) {
        self.blocking(|shared| {
            if let Err(error) = shared.count_all() {
                tracing::error!(%error, "events cannot be counted");
            }
            if let Some(place) = Place::read(&shared.data_dir) {
                *lock(&shared.place) = Some(place);
            }
        })
        .await;
    }

    async fn blocking(&self, work: impl FnOnce(&Shared) + Send + 'static) {
        let shared = Arc::clone(&self.0);
        if tokio::task::spawn_blocking(move || work(&shared)).await.is_err() {
            tracing::error!("counting events ended in a way that nobody foresaw");
        }
    }
}

impl Shared {
    /// A scrape comes in between two pages.
    fn count_all(&self) -> Result<(), ReadError> {
        while lock(&self.ledger).count_page()? {
            self.registry.upkeep();
        }
        lock(&self.ledger).show(&self.registry);
        Ok(())
    }

    fn save(&self) {
        if let Err(error) = lock(&self.ledger).save() {
            tracing::warn!(%error, "what was counted is not saved; the next start counts again");
        }
    }

    /// Gauges of the log's files, the disk and the process.
    fn set_own(&self, gauges: &Registry) {
        let set = |name, value: f64| gauges.gauge(name, &[]).set(value);
        set(names::LOG_OLDEST, self.reader.oldest().0 as f64);
        set(names::LOG_SIZE, self.log.bytes.load(Relaxed) as f64);
        set(names::LOG_SEGMENTS, self.log.segments.load(Relaxed) as f64);
        set(names::LOG_RESERVED, if self.log.next_reserved.load(Relaxed) { 1.0 } else { 0.0 });
        let opening = *lock(&self.opening);
        set(names::LOG_REPLAY_SECONDS, opening.took.as_secs_f64());
        set(names::LOG_REPLAYED_EVENTS, opening.replayed as f64);
        if let Some(place) = *lock(&self.place) {
            set(names::DISK_FREE, place.free_bytes as f64);
            set(names::DISK_SIZE, place.size_bytes as f64);
            set(names::LOG_TORN_TAILS, place.torn_tails as f64);
        }
        set(names::PROCESS_START, self.started.0 as f64 / 1000.0);
        if let Some(process) = Process::read() {
            set(names::PROCESS_MEMORY, process.resident_bytes as f64);
            set(names::PROCESS_FDS, process.open_fds as f64);
            set(names::PROCESS_MAX_FDS, process.max_fds as f64);
            self.registry.counter(names::PROCESS_CPU, &[]).absolute(process.cpu_seconds);
        }
    }

    /// Counters that others keep.
    fn count_figures(&self, streams: StreamReading, endpoints: &[EndpointReading]) {
        self.registry.counter(names::STREAM_EVENTS, &[]).absolute(streams.events);
        self.registry.counter(names::STREAM_EVICTIONS, &[]).absolute(streams.evictions);
        self.registry.counter(names::STREAM_RESETS, &[]).absolute(streams.resets);
        for endpoint in endpoints {
            for (result, attempts) in endpoint.attempts() {
                let labels = [Cow::Owned(endpoint.name.clone()), result.into()];
                self.registry.counter(names::WEBHOOK_ATTEMPTS, &labels).absolute(attempts);
            }
        }
    }
}

/// Brings series about that would otherwise appear with the first thing that they count.
fn foresee(registry: &Registry, known: &Known) {
    for (route, code) in &known.answers {
        let _ = registry.counter(names::HTTP_REQUESTS, &[Cow::Owned(route.clone()), code.to_string().into()]);
    }
    for problem in &known.allocate_problems {
        let _ = registry.counter(names::ALLOCATE_PROBLEMS, &[(*problem).into()]);
    }
    for call in known.pve_calls {
        for outcome in &known.pve_outcomes {
            let _ = registry.counter(names::PVE_REQUESTS, &[(*call).into(), (*outcome).into()]);
        }
    }
    for kind in ["read", "write"] {
        let _ = registry.histogram(names::PVE_DURATION, &[kind.into()]);
    }
    for name in [names::LOG_APPEND_EVENTS, names::LOG_SYNC] {
        let _ = registry.histogram(name, &[]);
    }
    for name in [names::LOG_WRITTEN, names::LOG_APPEND_FAILURES] {
        let _ = registry.counter(name, &[]);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
