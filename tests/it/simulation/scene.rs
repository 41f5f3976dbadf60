//! Where a story is played: a cluster, a disk, and one process of the service after another.
//!
//! Everything runs on one thread under tokio's paused clock. A process ends by a kill, a power cut, or an
//! order; the disk then keeps what it was given, or what it happens to have of it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use sandbox_pool::app::{Service, World as Outside};
use sandbox_pool::clock::Clock;
use sandbox_pool::config::{Config, Sources};
use sandbox_pool::domain::event::Envelope;
use sandbox_pool::domain::ids::Seq;
use sandbox_pool::domain::state::State;
use sandbox_pool::domain::time::Timestamp;
use sandbox_pool::log::{self, MemoryDisk, Op, Options, Reader};
use sandbox_pool::pve::{Answer, Method, Pve, Request, Transport, Unanswered};
use sandbox_pool::sim::{CtSpec, DEMO_SECRET, DEMO_TOKEN, InProcess, Model, Sim, Storage};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::invariants::{self, Ledger};
use super::script::Setting;
use crate::world::EPOCH;

/// The first template; the others follow it.
pub const TEMPLATE: u32 = 9009;

/// The disk as a panic of the process that it belonged to.
struct PowerCut;

/// That the power is gone, and waking whoever is to see to it.
#[derive(Default)]
struct Power {
    gone: AtomicBool,
    noticed: Notify,
}

/// The real client's patience, which the simulated cluster does not have.
struct Patient(InProcess);

#[async_trait]
impl Transport for Patient {
    async fn call(&self, request: Request) -> Result<Answer, Unanswered> {
        let limit = if request.method == Method::Get { 35 } else { 40 };
        match tokio::time::timeout(Duration::from_secs(limit), self.0.call(request)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Unanswered::MaybeSent("no answer in time".to_owned())),
        }
    }
}

/// A cluster, a disk, and the service.
pub struct Scene {
    pub sim: Sim,
    pub clock: Clock,
    pub setting: Setting,
    pub ledger: Arc<Mutex<Ledger>>,
    pub chance: fastrand::Rng,
    pub clients: Vec<JoinHandle<()>>,
    disk: MemoryDisk,
    power: Arc<Power>,
    config: Config,
    service: Option<Service>,
    reader: Option<Reader>,
    /// Everything that was ever published.
    pub published: Vec<Envelope>,
    /// What that amounts to.
    pub folded: State,
    /// PVE may say that the token has no right to see what runs.
    pub blind: bool,
    /// Calls may come later than they are waited for.
    pub delays: bool,
    /// Answers may come long after what they say was so.
    pub slow_answers: bool,
    /// The log was lost once: there may be more containers than the pool would make.
    pub lost_log: bool,
}

impl Scene {
    /// The cluster; nothing runs yet.
    pub fn new(seed: u64, setting: &Setting) -> Self {
        let sim = Sim::new(EPOCH, cluster(seed, setting));
        Self {
            sim,
            clock: Clock::virtual_from(EPOCH),
            setting: setting.clone(),
            ledger: Arc::default(),
            chance: fastrand::Rng::with_seed(seed ^ 0xd15c),
            clients: Vec::new(),
            disk: MemoryDisk::default(),
            power: Arc::default(),
            config: config(setting),
            service: None,
            reader: None,
            published: Vec::new(),
            folded: State::default(),
            blind: false,
            delays: false,
            slow_answers: false,
            lost_log: false,
        }
    }

    pub fn templates(&self) -> impl Iterator<Item = u32> + use<> {
        (0..self.setting.templates).map(|nth| TEMPLATE + nth)
    }

    pub fn service(&self) -> Option<&Service> {
        self.service.as_ref()
    }

    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// State as it is published, while a process runs.
    pub fn state(&self) -> Option<Arc<State>> {
        self.service.as_ref().map(|service| service.engine().published().state)
    }

    pub fn note(&self, text: impl Into<String>) {
        let now = self.clock.now();
        self.ledger().trace.push((now, text.into()));
    }

    /// Starts a process, however often the power fails meanwhile.
    pub async fn start(&mut self) -> Result<(), String> {
        // Whoever starts it has made room before: without that it refuses to.
        self.fill_disk(false);
        for _ in 0..20 {
            match self.try_start().await {
                Ok(()) => return self.take_events(),
                Err(_) if self.power.gone.load(Ordering::SeqCst) => self.power_is_back(),
                Err(error) => return Err(error),
            }
        }
        Err("the power fails at each start".to_owned())
    }

    async fn try_start(&mut self) -> Result<(), String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| error.to_string())?;
        let options = Options {
            segment_bytes: self.setting.segment_bytes,
            on_sync_failure: Arc::new(|path, error| panic!("{}: {error}", path.display())),
            ..Options::new(self.chance.u32(..), "simulated")
        };
        let disk = self.disk.clone();
        let opened = std::panic::catch_unwind(AssertUnwindSafe(|| log::open_memory::<State>(&disk, options)));
        let opened = match opened {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => return Err(format!("the log does not open: {error}: {error:?}")),
            Err(panic) if panic.is::<PowerCut>() => return Err("no power".to_owned()),
            Err(panic) => std::panic::resume_unwind(panic),
        };
        let reader = opened.reader.clone();
        let transport = self.sim.transport(DEMO_TOKEN, DEMO_SECRET);
        let pve = Pve::new(Arc::new(Patient(transport)));
        let outside = Outside { listener, pve, clock: self.clock, chance: self.chance.fork() };
        match Service::start_over(&self.config, outside, opened, None).await {
            Ok(service) => {
                let waits = service.engine().published().state.waiting.values().next().cloned();
                self.service = Some(service);
                self.reader = Some(reader);
                if let Some(waiting) = waits {
                    return Err(format!("{} waits although nobody can have asked", waiting.instance_id));
                }
                self.check_durable()
            }
            Err(error) => Err(format!("the service does not start: {error:?}")),
        }
    }

    /// Gives a process that runs other settings; one that is started later has them too.
    pub async fn reload(&mut self, sizes: (u32, u32, u32), clone_concurrency: u32, recycle: bool) {
        self.setting = Setting { sizes, clone_concurrency, recycle, ..self.setting.clone() };
        self.config = config(&self.setting);
        if let Some(service) = &mut self.service {
            // Where the log takes nothing, the old ones stay until the next start.
            let _ = service.reload(&self.config).await;
        }
    }

    /// What was published is still there, to the letter.
    fn check_durable(&self) -> Result<(), String> {
        let events = self.events()?;
        if events.len() < self.published.len() {
            return Err(format!("{} events were published, {} are left", self.published.len(), events.len()));
        }
        match self.published.iter().zip(&events).find(|(was, is)| was != is) {
            Some((was, is)) => Err(format!("a published event is another one: {was:?}, {is:?}")),
            None => Ok(()),
        }
    }

    /// Takes in what was published since the last time, and looks whether it may follow what was before.
    pub fn take_events(&mut self) -> Result<(), String> {
        let (Some(reader), Some(service)) = (&self.reader, &self.service) else { return Ok(()) };
        let head = service.engine().published().head;
        loop {
            let after = self.folded.head;
            let records = reader.read(after, 1000, head).map_err(|error| format!("{error:?}"))?;
            if records.is_empty() {
                break;
            }
            for record in records {
                invariants::check_event(&self.folded, &record.envelope)?;
                self.folded.apply(&record.envelope);
                self.published.push(record.envelope.clone());
            }
        }
        if self.folded.head < head {
            return Err(format!("event {} is published, the log ends with {}", head.0, self.folded.head.0));
        }
        Ok(())
    }

    /// Ends the process at once; its clients lose their connections.
    pub async fn kill(&mut self) -> Result<(), String> {
        self.take_events()?;
        invariants::check_replay(self)?;
        drop(self.service.take());
        self.reader = None;
        for client in self.clients.drain(..) {
            client.abort();
        }
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        self.ledger().open.clear();
        if self.power.gone.load(Ordering::SeqCst) {
            self.power_is_back();
        }
        Ok(())
    }

    /// Ends the process as a service manager does.
    pub async fn stop(&mut self) -> Result<(), String> {
        let Some(service) = self.service.take() else { return Ok(()) };
        self.reader = None;
        let ended = AssertUnwindSafe(service.run_until(std::future::ready(()))).catch_unwind();
        match tokio::time::timeout(Duration::from_mins(2), ended).await {
            _ if self.power.gone.load(Ordering::SeqCst) => {}
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => return Err(format!("no clean end: {error}")),
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(_) => return Err("the end takes more than two minutes".to_owned()),
        }
        self.kill().await
    }

    /// Power fails at the nth operation from now.
    pub fn cut_power_at(&self, operations: usize) {
        let power = Arc::clone(&self.power);
        self.disk.when_power_is_lost(move || {
            power.gone.store(true, Ordering::SeqCst);
            power.noticed.notify_one();
            std::panic::resume_unwind(Box::new(PowerCut));
        });
        self.disk.lose_power_at(operations);
    }

    /// The disk as a process finds it after a power cut.
    fn power_is_back(&mut self) {
        let kept = [0, 30, 50, 100][self.chance.usize(0..4)];
        let chance = &mut self.chance;
        self.disk = self.disk.after_crash(|| chance.u32(0..100) < kept);
        self.power = Arc::default();
        self.note(format!("    the disk comes back with {kept} % of what was not synced"));
    }

    /// The disk works from now on.
    pub fn heal_disk(&self) {
        self.disk.heal();
    }

    /// The disk is gone, and with it all that was known.
    pub fn lose_log(&mut self) {
        self.disk = MemoryDisk::default();
        self.power = Arc::default();
        self.published.clear();
        self.lost_log = true;
        self.folded = State::default();
    }

    /// From now on nothing more fits on the disk, or it does again.
    pub fn fill_disk(&self, full: bool) {
        if full {
            let no_space = |op| matches!(op, Op::Create | Op::Write | Op::Reserve);
            self.disk.fail(move |op, _| no_space(op).then(|| std::io::ErrorKind::StorageFull.into()));
        } else {
            self.disk.fail(|_, _| None);
        }
    }

    /// Lets time pass; true if the power failed meanwhile.
    pub async fn pass(&self, span: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.power.noticed.notified() => true,
            () = tokio::time::sleep(span) => false,
        }
    }

    /// Lets everything run that can without time.
    pub async fn calm(&self) {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    /// Every event in the log.
    pub fn events(&self) -> Result<Vec<Envelope>, String> {
        let mut events = Vec::new();
        log::read_memory(&self.disk, Seq(1), &mut |envelope| {
            events.push(envelope);
            ControlFlow::Continue(())
        })
        .map_err(|error| format!("the log cannot be read: {error}"))?;
        Ok(events)
    }
}

/// One or two nodes, the templates, strangers, and the pool's token with its role.
fn cluster(seed: u64, setting: &Setting) -> Model {
    let mut model = Model::new(EPOCH, seed, "pve1");
    if setting.two_nodes {
        model.add_node("pve2");
    }
    model.set_storage("local", Storage::dir());
    model.set_storage("pool", Storage::btrfs());
    for nth in 0..setting.templates {
        let node = if setting.two_nodes && nth % 2 == 1 { "pve2" } else { "pve1" };
        model.add_ct(CtSpec::new(TEMPLATE + nth, "debian-13-sandbox").on(node).template());
    }
    model.add_ct(CtSpec::new(100, "pool-manager").running());
    model.add_ct(CtSpec::new(101, "pool-9009-customer"));
    model.add_qemu(200, "pve1", "windows");
    model.add_token(DEMO_TOKEN, DEMO_SECRET, true);
    model.watch_token(DEMO_TOKEN);
    model.grant_pool_role(DEMO_TOKEN, &["pool"]);
    model.remember_calls(0);
    let durations = model.durations_mut();
    durations.clone_linked = Duration::from_millis(setting.clone_ms);
    durations.start = Duration::from_millis(setting.start_ms);
    durations.jitter = Duration::from_millis(setting.jitter_ms);
    model.advance(EPOCH);
    model
}

fn config(setting: &Setting) -> Config {
    let templates: Vec<String> = (0..setting.templates).map(|nth| (TEMPLATE + nth).to_string()).collect();
    let (min, target, max) = setting.sizes;
    let policy = if setting.recycle { "recycle" } else { "reuse" };
    let env: BTreeMap<String, String> = [
        ("PVE_API_URL", "http://127.0.0.1:8006".to_owned()),
        ("PVE_API_TOKEN", format!("{DEMO_TOKEN}={DEMO_SECRET}")),
        ("POOL_DATA_DIR", "/memory".to_owned()),
        ("POOL_TEMPLATES", templates.join(",")),
        ("POOL_MIN_SIZE", min.to_string()),
        ("POOL_TARGET_SIZE", target.to_string()),
        ("POOL_MAX_SIZE", max.to_string()),
        ("POOL_MAX_TOTAL", setting.max_total.to_string()),
        ("CLONE_CONCURRENCY", setting.clone_concurrency.to_string()),
        ("REPLENISH_BATCH_SIZE", setting.replenish_batch.to_string()),
        ("RELEASE_POLICY", policy.to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    Config::load(&Sources::of_environment(env)).unwrap_or_else(|errors| panic!("{errors}")).0
}

/// Milliseconds since the story began.
pub fn since_start(at: Timestamp) -> i64 {
    at.0 - EPOCH.0
}
