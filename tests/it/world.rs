//! The whole service over a simulated PVE: HTTP without a socket, a virtual clock, a real log.
//!
//! Everything is made from one seed on one thread, so that a scenario plays the same way each time.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use sandbox_pool::app::{Service, World as Outside};
use sandbox_pool::clock::Clock;
use sandbox_pool::config::{Config, Sources, env_file};
use sandbox_pool::demo;
use sandbox_pool::domain::event::Envelope;
use sandbox_pool::domain::ids::{Seq, Vmid};
use sandbox_pool::domain::state::{Container, HandOut, State};
use sandbox_pool::domain::time::Timestamp;
use sandbox_pool::http::Front;
use sandbox_pool::log;
use sandbox_pool::pve::{Pve, Transport};
use sandbox_pool::sim::{DEMO_TOKEN, Demo, Model, Sim};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;

/// 2026-11-24T09:00:00Z.
pub const EPOCH: Timestamp = Timestamp(1_795_510_800_000);

/// How long a scenario may wait for something, in virtual time.
const PATIENCE: Duration = Duration::from_hours(1);

/// An answer over HTTP.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub seq: Option<u64>,
    pub retry_after: Option<String>,
    pub body: Value,
}

impl Answer {
    /// The body of a success.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        self.body
    }
}

/// A cluster, a data directory and the service's settings.
pub struct World {
    pub sim: Sim,
    pub clock: Clock,
    dir: TempDir,
    env: BTreeMap<String, String>,
    dotenv: String,
    transport: Arc<dyn Transport>,
    service: Option<Service>,
    seed: u64,
}

impl World {
    /// The demo cluster; nothing runs yet.
    pub fn new() -> Self {
        Self::with_model(Demo::model(EPOCH, 1))
    }

    /// A cluster of one's own.
    pub fn with_model(model: Model) -> Self {
        let sim = Sim::new(EPOCH, model);
        let dir = TempDir::new().expect("a directory");
        let env = demo::settings(dir.path()).map(|(name, value)| (name.to_owned(), value));
        Self {
            transport: Arc::new(sim.demo_transport()),
            clock: Clock::virtual_from(EPOCH),
            sim,
            dir,
            env: env.into_iter().collect(),
            dotenv: String::new(),
            service: None,
            seed: 1,
        }
    }

    /// The data directory.
    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// Sets a setting for the next start.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Takes the settings of such a file, and none but the data directory from elsewhere.
    #[must_use]
    pub fn reading(mut self, env_file: &str) -> Self {
        self.env.retain(|name, _| name == "POOL_DATA_DIR");
        env_file.clone_into(&mut self.dotenv);
        self
    }

    /// Sets a setting for the next start.
    pub fn change(&mut self, name: &str, value: &str) {
        self.env.insert(name.to_owned(), value.to_owned());
    }

    /// Puts something between the service and the simulated PVE.
    pub fn through(&mut self, wrap: impl FnOnce(Arc<dyn Transport>) -> Arc<dyn Transport>) {
        self.transport = wrap(Arc::new(self.sim.demo_transport()));
    }

    /// The settings as they are read.
    pub fn config(&self) -> Config {
        let sources =
            Sources { dotenv: env_file::parse(&self.dotenv), ..Sources::of_environment(self.env.clone()) };
        Config::load(&sources).unwrap_or_else(|errors| panic!("{errors}")).0
    }

    /// Starts the service.
    pub async fn start(&mut self) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let pve = Pve::new(Arc::clone(&self.transport));
        self.seed += 1;
        let chance = fastrand::Rng::with_seed(self.seed);
        let outside = Outside { listener, pve, clock: self.clock, chance };
        self.service = Some(Service::start(&self.config(), outside).await.expect("a service"));
    }

    /// A world that has started and filled its pool.
    pub async fn full(mut self) -> Self {
        self.start().await;
        self.settle().await;
        self
    }

    /// Ends the service as a kill would.
    pub async fn kill(&mut self) {
        drop(self.service.take());
        // The engine's task lets go of the data directory's lock when it is next looked at.
        let lock = self.dir.path().join("lock");
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(lock.exists());
    }

    /// Ends the service as a service manager would.
    pub async fn stop(&mut self) {
        let service = self.service.take().expect("a running service");
        service.run_until(std::future::ready(())).await.expect("a clean end");
    }

    /// Ends it and starts it again.
    pub async fn restart(&mut self) {
        self.kill().await;
        self.start().await;
    }

    pub fn front(&self) -> Front {
        self.service.as_ref().expect("a running service").front().clone()
    }

    /// State as it is published.
    pub fn state(&self) -> Arc<State> {
        self.service.as_ref().expect("a running service").engine().published().state
    }

    pub fn container(&self, vmid: u32) -> Container {
        self.state().container(Vmid(vmid)).unwrap_or_else(|| panic!("no container {vmid}")).clone()
    }

    /// Waits, in virtual time, until State is as wanted.
    #[track_caller]
    pub fn until<'a>(
        &'a self,
        what: &'a str,
        wanted: impl Fn(&State) -> bool + 'a,
    ) -> impl Future<Output = ()> + 'a {
        let mut watch = self.service.as_ref().expect("a running service").engine().watch();
        async move {
            let reached = watch.wait_for(|published| wanted(&published.state));
            let reached = tokio::time::timeout(PATIENCE, reached).await.map(|ended| ended.is_ok());
            assert!(matches!(reached, Ok(true)), "waited in vain for: {what}\n{:#?}", self.state());
        }
    }

    /// Waits until nobody waits, nothing is under way, and inventory is at its target.
    pub async fn settle(&self) {
        self.until("a settled pool", is_settled).await;
    }

    pub async fn get(&self, path: &str) -> Answer {
        request(&self.front(), "GET", path, None).await
    }

    pub async fn post(&self, path: &str, body: Option<Value>) -> Answer {
        request(&self.front(), "POST", path, body).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        request(&self.front(), "PUT", path, Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        request(&self.front(), "DELETE", path, None).await
    }

    /// Asks for an instance of the demo's template.
    pub async fn allocate(&self, instance: &str) -> Answer {
        self.post("/allocate?start=true", Some(wish(instance))).await
    }

    /// The same in the background.
    pub fn allocating(&self, instance: &str) -> tokio::task::JoinHandle<Answer> {
        let (front, body) = (self.front(), wish(instance));
        tokio::spawn(async move { request(&front, "POST", "/allocate?start=true", Some(body)).await })
    }

    /// Events so far.
    pub fn events(&self) -> Vec<Envelope> {
        let mut events = Vec::new();
        log::read_all(self.dir.path(), Seq(1), &mut |envelope| {
            events.push(envelope);
            ControlFlow::Continue(())
        })
        .expect("a readable log");
        events
    }

    /// How often an event of this type happened.
    pub fn count(&self, type_name: &str) -> usize {
        self.events().iter().filter(|envelope| envelope.event.type_name() == type_name).count()
    }

    /// Containers at PVE that clones of the pool's token made and that are no templates.
    pub fn made_at_pve(&self) -> BTreeSet<u32> {
        let ours = |vmid: &u32| {
            let view = self.sim.ct(*vmid);
            view.is_some_and(|view| view.made_by.as_deref() == Some(DEMO_TOKEN) && !view.template)
        };
        self.sim.vmids().into_iter().filter(ours).collect()
    }

    /// What must hold whenever the pool is settled.
    #[track_caller]
    pub fn check(&self) {
        assert!(self.sim.violations().is_empty(), "{:#?}", self.sim.violations());
        let known: BTreeSet<u32> = self.state().containers.keys().map(|vmid| vmid.0).collect();
        assert_eq!(known, self.made_at_pve(), "State and PVE know other containers");
        let mut replayed = State::default();
        self.events().iter().for_each(|envelope| replayed.apply(envelope));
        let text = |state: &State| serde_json::to_string(state).expect("JSON");
        assert_eq!(text(&replayed), text(&self.state()), "a replay gives another State");
    }
}

/// Nobody waits, nothing is under way, and inventory is at its target.
pub fn is_settled(state: &State) -> bool {
    let at_rest = |container: &Container| match container.phase.name() {
        "ready" | "quarantined" => true,
        "allocated" => container.holding().is_some_and(|holding| holding.stage == HandOut::Done),
        _ => false,
    };
    state.service.reconciled
        && state.waiting.is_empty()
        && state.containers.values().all(at_rest)
        && state.templates.iter().all(|(vmid, template)| {
            template.queue.is_empty()
                && (template.drained || template.counts.ready >= state.sizes(*vmid).target)
        })
}

/// The body that asks for an instance of the demo's template.
pub fn wish(instance: &str) -> Value {
    serde_json::json!({
        "template_vmid": Demo::TEMPLATE,
        "instance_id": instance,
        "metadata": { "teamId": "t", "userId": "u" },
    })
}

/// One request over HTTP.
pub async fn request(front: &Front, method: &str, path: &str, body: Option<Value>) -> Answer {
    let mut request = http::Request::builder().method(method).uri(path).header("host", "127.0.0.1:8007");
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let response = front.answer(request.body(Full::from(body)).expect("a request")).await;
    let header = |name: &str| response.headers().get(name)?.to_str().ok().map(str::to_owned);
    let (status, seq, retry_after) =
        (response.status().as_u16(), header("x-event-seq"), header("retry-after"));
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    Answer {
        status,
        seq: seq.and_then(|seq| seq.parse().ok()),
        retry_after,
        body: serde_json::from_slice(&body).unwrap_or(Value::String(text)),
    }
}
