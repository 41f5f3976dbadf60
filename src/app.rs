//! The composition root: opens the log, starts engine, workers and HTTP, and stops them in order.
//!
//! It is handed the world (listener, PVE, clock, order to stop), so that a test runs the whole service on a
//! free port against a simulated PVE and a virtual clock.

mod listen;
mod measure;
mod opening;
mod reload;
mod signals;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::net::TcpListener;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::causes::chain;
use crate::clock::{self, Clock};
use crate::config::{Checks, Config, HttpConfig, MOST_READY};
use crate::desk::{Desk, Patience, ReadTemplate};
use crate::domain::command::Command;
use crate::domain::ids::Node;
use crate::domain::settings::Settings;
use crate::domain::state::{HandOut, State};
use crate::engine::{Engine, EngineLoop, Keep, Published, Refused};
use crate::http::auth::Tokens;
use crate::http::browser::AllowedHosts;
use crate::http::events::Streams;
use crate::http::limits::Limits;
use crate::http::{App, Front, Guards, LookBack};
use crate::log::{self, Opened};
use crate::metrics::{self, Opening};
use crate::pve::{BuildError, Fingerprint, HttpTransport, InvalidFingerprint, Pve, TlsOptions};
use crate::webhook::{Deliveries, Endpoint, Webhooks};
use crate::{notify, provision, reconcile};

pub use listen::{Passed, listen};
pub use reload::{ReadConfig, ReloadError, Reloads};
pub use signals::{told_to_reload, told_to_stop};

/// How long hand-outs under way may take to finish when the service stops.
const HAND_OUT_GRACE: Duration = Duration::from_secs(10);

/// Everything that the service takes from the outside.
pub struct World {
    /// Where it serves; already bound, so that requests wait while the log is read.
    pub listener: TcpListener,
    /// The PVE that it works on.
    pub pve: Pve,
    /// Its clock.
    pub clock: Clock,
    /// Its source of chance.
    pub chance: fastrand::Rng,
}

/// Why the service cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The event log cannot be used.
    #[error("cannot open the event log in {}", .0.display())]
    Log(PathBuf, #[source] log::OpenError),
    /// The engine did not take the first command.
    #[error("cannot begin the event log")]
    Start(#[source] Refused),
    /// Webhooks cannot be sent.
    #[error("cannot begin webhooks")]
    Webhooks(#[from] crate::webhook::StartError),
    /// A thread cannot be had.
    #[error("cannot start the engine's thread")]
    Thread(#[source] std::io::Error),
    /// The address cannot be had.
    #[error("cannot listen on {0}; something else may: stop it, or choose another address with POOL_LISTEN")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// The service manager passed something else than a socket to serve on.
    #[error(
        "cannot serve on what the service manager passed; sandbox-pool.socket wants one ListenStream=ADDRESS:PORT"
    )]
    Passed(#[source] std::io::Error),
    /// Nothing can be measured.
    #[error("cannot set up metrics")]
    Metrics(#[from] metrics::CatalogueError),
    /// The engine ended without being told to.
    #[error("the engine ended")]
    EngineEnded,
}

/// Why PVE cannot be spoken to at all.
#[derive(Debug, thiserror::Error)]
pub enum PveError {
    /// The pinned fingerprint is none.
    #[error("PVE_FINGERPRINT cannot be used")]
    Fingerprint(#[from] InvalidFingerprint),
    /// No client can be made.
    #[error("cannot set up the connection to PVE")]
    Client(#[from] BuildError),
}

/// What the service asks of files before it begins: all that is wrong with settings is told at once.
pub const CHECKS: Checks = Checks {
    ca: |path| {
        let tls = TlsOptions { ca_file: Some(path.to_owned()), ..TlsOptions::default() };
        tls.check().map_err(|error| chain(&error))
    },
    webhooks: |config| {
        let endpoints = Endpoint::load(config, &|path| std::fs::read_to_string(path));
        endpoints.map(drop).map_err(|error| chain(&error))
    },
};

/// A client of the PVE that is configured. Nothing is sent yet.
pub fn connect(config: &Config) -> Result<Pve, PveError> {
    Ok(Pve::new(Arc::new(transport(config)?)))
}

/// The way to the PVE that is configured.
pub fn transport(config: &Config) -> Result<HttpTransport, PveError> {
    let fingerprint = config.pve.fingerprint.as_deref().map(str::parse::<Fingerprint>).transpose()?;
    let ca_file = config.pve.ca.as_ref().map(|ca| ca.path.clone());
    let tls = TlsOptions { verify: config.pve.verify, ca_file, fingerprint, ..TlsOptions::default() };
    Ok(HttpTransport::new(&config.pve.url, config.pve.token.expose(), &tls)?)
}

/// The service at work. Dropping it ends everything at once, as a kill would.
pub struct Service {
    engine: Engine,
    front: Front,
    clock: Clock,
    /// Ends when the engine does.
    ended: Task,
    workers: [Task; 2],
    deliveries: Deliveries,
    /// Counts events until the last one.
    counting: Task,
    http: Task,
    stop_workers: CancellationToken,
    stop_counting: CancellationToken,
    stop_streams: CancellationToken,
    stop_serving: CancellationToken,
}

/// A task that ends with its handle.
struct Task(AbortOnDropHandle<()>);

impl Task {
    fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(AbortOnDropHandle::new(tokio::spawn(work)))
    }

    /// Waits for its end.
    async fn ended(&mut self) {
        if let Err(error) = (&mut self.0).await
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

/// Serves until `stop` is done and everything has ended; takes on other settings when told to.
pub async fn run(
    config: Config,
    world: World,
    stop: impl Future<Output = ()>,
    mut reloads: Reloads,
) -> Result<(), RunError> {
    let clock = world.clock;
    let address = world.listener.local_addr().map(|address| address.to_string()).unwrap_or_default();
    let mut service = Service::start(&config, world).await?;
    let engine = service.engine().clone();
    let _alive = Task::spawn(notify::watchdog(clock, move || engine.is_running()));
    notify::ready();
    tracing::info!("serving on http://{address}");
    let mut stop = std::pin::pin!(stop);
    let mut at_work = config;
    loop {
        tokio::select! {
            biased;
            () = &mut stop => break,
            () = service.ended.ended() => return Err(RunError::EngineEnded),
            () = reloads.told() => at_work = reloads.carry_out(&mut service, at_work).await,
        }
    }
    notify::stopping();
    service.run_until(std::future::ready(())).await
}

impl Service {
    /// Opens the log and starts everything.
    pub async fn start(config: &Config, world: World) -> Result<Self, RunError> {
        let mut world = world;
        let (opened, opening) = opening::open_log(config, world.chance.u32(..)).await?;
        Self::start_over(config, world, opened, Some(opening)).await
    }

    /// Starts everything over a log that is open. Without an `opening` it is none of the machine's, and
    /// events are not counted.
    pub async fn start_over(
        config: &Config,
        world: World,
        opened: Opened<State>,
        opening: Option<Opening>,
    ) -> Result<Self, RunError> {
        let World { listener, pve, clock, mut chance } = world;
        let is_new = opening::was_never_compared(&opened.reader);
        let (engine_loop, engine) = EngineLoop::new(opened.writer, opened.projection, clock, chance.fork());
        let reader = opened.reader;
        let metrics = measure::metrics(engine.clone(), reader.clone(), clock, &config.data_dir)?;
        let counts = opening.is_some();
        if let Some(opening) = opening {
            metrics.log_opened(opening);
        }
        let keep = Keep { days: config.log.retention_days, bytes: config.log.retention_bytes };
        let engine_loop = engine_loop.observed_by(metrics.log_observer()).keeping(keep);
        let pve = measure::of_pve(pve, &metrics);
        let ended = spawn_engine(engine_loop)?;
        begin(&engine, &config.settings).await?;
        let (stop_workers, stop_serving) = (CancellationToken::new(), CancellationToken::new());
        let interval = config.replenish_interval;
        let stop = stop_workers.clone();
        let provision = provision::run(engine.clone(), pve.clone(), clock, stop.clone());
        let reconcile = reconcile::run(engine.clone(), pve.clone(), clock, interval, is_new, stop);
        let (webhooks, deliveries) =
            Webhooks::start(&config.webhooks, &engine, reader.clone(), clock, chance.fork(), &stop_workers)
                .await?;
        let stop_counting = CancellationToken::new();
        let counting = metrics.clone().run(stop_counting.clone());
        let counting = async move {
            if counts {
                counting.await;
            }
        };
        let stop_streams = CancellationToken::new();
        let most = config.http.max_streams;
        let streams = Streams::new(&engine, reader.clone(), most, chance.fork(), stop_streams.clone());
        measure::of_streams(&streams, &metrics);
        measure::of_webhooks(&webhooks, &metrics);
        let desk = desk(engine.clone(), pve, clock);
        let desk = if is_new { desk.knowing_nothing() } else { desk };
        let app = App::new(desk, limits(&config.http), reader.clone());
        let rendered = metrics.clone();
        let look_back = LookBack::new(reader);
        let rooms = [
            crate::http::status::room(&app, look_back.clone()),
            crate::http::explain::room(&app, look_back),
            crate::http::metrics::room(&app, Arc::new(move || rendered.render())),
            crate::http::events::room(&streams),
            crate::http::webhooks::routes(&app, &webhooks),
        ];
        let front = Front::new(app, guards(&config.http), chance, rooms);
        let front = measure::of_http(front, &metrics);
        let http = crate::http::serve(listener, front.clone(), stop_serving.clone().cancelled_owned());
        Ok(Self {
            engine,
            front,
            clock,
            ended,
            workers: [Task::spawn(provision), Task::spawn(reconcile)],
            deliveries,
            counting: Task::spawn(counting),
            http: Task::spawn(http),
            stop_workers,
            stop_counting,
            stop_streams,
            stop_serving,
        })
    }

    /// A handle on the engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// HTTP without a socket.
    pub fn front(&self) -> &Front {
        &self.front
    }

    /// Serves until `stop` is done, then ends everything in order: no new work, waiters told, hand-outs
    /// finished, the log closed. A clone under way is left to PVE and followed after the next start.
    pub async fn run_until(mut self, stop: impl Future<Output = ()>) -> Result<(), RunError> {
        tokio::select! {
            biased;
            () = stop => {}
            () = self.ended.ended() => return Err(RunError::EngineEnded),
        }
        tracing::info!("stopping: no new work is taken");
        let stopping = self.engine.submit_in_turn(Command::BeginStop).await;
        self.stop_serving.cancel();
        if stopping.is_ok() {
            finish_hand_outs(&self.engine, self.clock).await;
        }
        self.stop_workers.cancel();
        for worker in &mut self.workers {
            worker.ended().await;
        }
        self.deliveries.ended().await;
        if let Err(error) = self.engine.submit_in_turn(Command::Stop).await {
            tracing::warn!(%error, "the log has no clean end; nothing that was answered is missing");
        }
        self.ended.ended().await;
        // Watchers have seen the last event by now, or see it before their stream ends.
        self.stop_streams.cancel();
        self.http.ended().await;
        self.stop_counting.cancel();
        self.counting.ended().await;
        tracing::info!("stopped");
        Ok(())
    }
}

/// The engine gets a thread of its own, since the disk keeps it waiting. On a runtime with one thread, as in
/// tests with a virtual clock, it shares that.
fn spawn_engine(engine_loop: EngineLoop) -> Result<Task, RunError> {
    if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
        return Ok(Task::spawn(engine_loop.run()));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.map_err(RunError::Thread)?;
    let (done, ended) = tokio::sync::oneshot::channel::<()>();
    std::thread::Builder::new()
        .name("engine".to_owned())
        .spawn(move || {
            runtime.block_on(engine_loop.run());
            drop(done);
        })
        .map_err(RunError::Thread)?;
    Ok(Task::spawn(ended.map(|_| ())))
}

async fn begin(engine: &Engine, settings: &Settings) -> Result<(), RunError> {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let start = Command::Start { version, settings: Box::new(settings.clone()) };
    engine.submit(start, None, false).await.map(|_| ()).map_err(RunError::Start)
}

fn desk(engine: Engine, pve: Pve, clock: Clock) -> Desk {
    let state = engine.clone();
    let read_template: ReadTemplate = Arc::new(move |template| {
        let (pve, node) = (pve.clone(), state.published().state.settings.node.as_deref().map(Node::from));
        async move { provision::read_template(&pve, node, template).await }.boxed()
    });
    Desk::new(engine, clock, read_template, Patience::default())
}

fn limits(http: &HttpConfig) -> Limits {
    let whole = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    Limits {
        max_body_bytes: whole(http.max_body_bytes),
        max_metadata_bytes: whole(http.max_metadata_bytes),
        max_connections: u32::try_from(http.max_connections).unwrap_or(u32::MAX),
        head_timeout: http.header_timeout,
        max_pool_size: MOST_READY,
        ..Limits::default()
    }
}

fn guards(http: &HttpConfig) -> Guards {
    let exposed = |secrets: &[crate::config::Secret]| -> Vec<String> {
        secrets.iter().map(|secret| secret.expose().to_owned()).collect()
    };
    Guards {
        tokens: Tokens::new(exposed(&http.api_tokens), exposed(&http.read_tokens)),
        hosts: AllowedHosts::new(&http.allowed_hosts),
    }
}

/// Waits until nothing is being handed out, or the grace is over.
async fn finish_hand_outs(engine: &Engine, clock: Clock) {
    let mut watch = engine.watch();
    let handing_out = |published: &Published| {
        published.state.containers.values().any(|container| {
            container.holding().is_some_and(|holding| holding.stage != HandOut::Done && !holding.orphaned)
        })
    };
    tokio::select! {
        biased;
        _ = watch.wait_for(|published| !handing_out(published)) => {}
        () = clock.sleep(HAND_OUT_GRACE) => tracing::warn!("a hand-out did not finish in time"),
    }
}

/// A world with the machine's clock and chance.
pub fn world(listener: TcpListener, pve: Pve) -> World {
    World { listener, pve, clock: Clock::system(), chance: clock::chance() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, env_file};

    #[test]
    fn the_limits_that_settings_give_are_those_that_http_has_by_itself() {
        let env = "PVE_API_URL=https://pve:8006\nPVE_API_TOKEN=root@pam!cmux=12345678-aaaa\nHOME=/home/me\n";
        let sources = Sources::of_environment(env_file::parse(env).values);
        let (config, _) = Config::load(&sources).expect("a configuration");
        assert_eq!(limits(&config.http), Limits::default());
    }
}
