//! Webhooks over a real log and engine, on a virtual clock, to receivers that a test scripts.

mod addresses;
mod delivering;
mod endpoints;
mod failing;
mod over_http;
mod owners;
mod parking;
mod reloading;
mod replaying;
mod restarting;
mod signing;
mod windows;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::engine::watch;
use futures_util::FutureExt as _;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::client::Post;
use super::message::{Attempt, Message};
use super::schedule::{AttemptResult, Ended};
use super::*;
use crate::domain::command::TemplateFacts;
use crate::domain::event::Envelope;
use crate::domain::ids::Vmid;
use crate::domain::settings::{Settings, SizeOverrides, Sizes};
use crate::domain::state::State;
use crate::domain::webhook::{Webhook, WebhookCommand, WebhookStep};
use crate::engine::{Decided, EngineLoop};
use crate::log::{self, MemoryDisk};

/// 2026-11-24T09:00:00Z.
const EPOCH: Timestamp = Timestamp(1_795_510_800_000);

/// A key of 24 bytes.
const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// How long a test may wait for something, in virtual time.
const PATIENCE: Duration = Duration::from_hours(24 * 30);

/// An attempt as its receiver saw it.
#[derive(Clone, Debug)]
struct Seen {
    at: Timestamp,
    endpoint: String,
    id: String,
    seq: u64,
    kind: String,
    lane: String,
    /// Which attempt of this event to this endpoint, from 1.
    nth: usize,
}

/// What a receiver does.
#[derive(Clone, Debug)]
enum Does {
    Answers(u16),
    Asks(u16, String),
    Takes(Duration),
    Hangs,
}

type Rule = Box<dyn Fn(&Seen) -> Does + Send>;

/// All receivers.
#[derive(Clone)]
struct Receivers {
    clock: Clock,
    seen: Arc<Mutex<Vec<Seen>>>,
    noted: Arc<watch::Sender<()>>,
    rule: Arc<Mutex<Rule>>,
    /// Attempts under way, and the most that ever were, by endpoint.
    open: Arc<Mutex<BTreeMap<String, (usize, usize)>>>,
}

impl Receivers {
    fn new(clock: Clock) -> Self {
        let rule: Rule = Box::new(|_| Does::Answers(204));
        let noted = Arc::new(watch::channel(()).0);
        Self { clock, seen: Arc::default(), noted, rule: Arc::new(Mutex::new(rule)), open: Arc::default() }
    }

    fn post(&self) -> Post {
        let this = self.clone();
        Arc::new(move |attempt| this.clone().take(attempt).boxed())
    }

    async fn take(self, attempt: Attempt) -> Ended {
        let endpoint = attempt.endpoint.name.to_string();
        let does = self.note(&attempt, &endpoint);
        {
            let mut open = self.open.lock().unwrap();
            let (now, most) = open.entry(endpoint.clone()).or_default();
            *now += 1;
            *most = (*most).max(*now);
        }
        let ended = self.act(does, &attempt).await;
        self.open.lock().unwrap().get_mut(&endpoint).unwrap().0 -= 1;
        ended
    }

    fn note(&self, attempt: &Attempt, endpoint: &str) -> Does {
        let body: Value = serde_json::from_slice(&attempt.body).unwrap();
        let seq = body["seq"].as_u64().unwrap_or(0);
        let mut seen = self.seen.lock().unwrap();
        let before = seen.iter().filter(|it| it.endpoint == endpoint && it.seq == seq).count();
        let lane = match body["data"]["template"].as_u64() {
            Some(template) => format!("template/{template}"),
            None => "service".to_owned(),
        };
        let it = Seen {
            at: self.clock.now(),
            endpoint: endpoint.to_owned(),
            id: attempt.id.clone(),
            seq,
            kind: body["type"].as_str().unwrap().to_owned(),
            lane,
            nth: before + 1,
        };
        let does = (self.rule.lock().unwrap())(&it);
        seen.push(it);
        self.noted.send_replace(());
        does
    }

    async fn act(&self, does: Does, attempt: &Attempt) -> Ended {
        let answer = |status: u16, retry_after: Option<String>| Ended {
            result: AttemptResult::of(status),
            status: Some(status),
            retry_after,
            reason: format!("status {status}"),
        };
        match does {
            Does::Answers(status) => answer(status, None),
            Does::Asks(status, retry_after) => answer(status, Some(retry_after)),
            Does::Takes(span) => {
                self.clock.sleep(span).await;
                answer(200, None)
            }
            Does::Hangs => {
                self.clock.sleep(attempt.endpoint.timeout).await;
                let (status, reason) = (None, "timed out".to_owned());
                Ended { result: AttemptResult::TimedOut, status, retry_after: None, reason }
            }
        }
    }
}

/// A log, an engine and the webhooks of it.
struct Rig {
    disk: MemoryDisk,
    clock: Clock,
    receivers: Receivers,
    endpoints: Vec<Endpoint>,
    at_work: Option<AtWork>,
    seed: u64,
}

/// A process.
struct AtWork {
    engine: Engine,
    webhooks: Webhooks,
    stop: CancellationToken,
    engine_task: JoinHandle<()>,
    deliveries: Deliveries,
}

/// An endpoint that takes the events about templates.
fn endpoint(name: &str) -> Endpoint {
    let types = ["TemplateAdded", "TemplateConfigured", "TemplateDrained"];
    Endpoint {
        name: name.into(),
        url: format!("https://{name}.example.com/hook").parse().unwrap(),
        secrets: vec![crate::config::Secret::new(KEY)],
        types: Some(types.into_iter().collect()),
        templates: [].into(),
        timeout: Duration::from_secs(15),
    }
}

impl Rig {
    /// One endpoint, `a`.
    async fn new() -> Self {
        Self::with(vec![endpoint("a")]).await
    }

    async fn with(endpoints: Vec<Endpoint>) -> Self {
        Self::over(MemoryDisk::default(), endpoints).await
    }

    /// Over a log of before.
    async fn over(disk: MemoryDisk, endpoints: Vec<Endpoint>) -> Self {
        let clock = Clock::virtual_from(EPOCH);
        let receivers = Receivers::new(clock);
        let mut rig = Self { disk, clock, receivers, endpoints, at_work: None, seed: 1 };
        rig.start().await;
        rig
    }

    async fn start(&mut self) {
        self.seed += 1;
        let mut chance = fastrand::Rng::with_seed(self.seed);
        let opened = log::open_memory::<State>(&self.disk, log::Options::new(1, "1.0.0")).unwrap();
        let reader = opened.reader.clone();
        let (engine_loop, engine) =
            EngineLoop::new(opened.writer, opened.projection, self.clock, chance.fork());
        let engine_task = tokio::spawn(engine_loop.run());
        // Nothing is cloned: a template's own events are all that there is.
        let sizes = Sizes { min: 0, target: 0, max: 0 };
        let settings = Box::new(Settings { sizes, ..Settings::default() });
        let start = Command::Start { version: "1.0.0".to_owned(), settings };
        engine.submit(start, None, false).await.unwrap();
        let stop = CancellationToken::new();
        let webhooks = Webhooks::new(reader, self.clock, chance);
        let mut deliveries = Deliveries::new(webhooks.clone(), engine.clone(), stop.clone());
        deliveries.begin(self.configured()).await.unwrap();
        self.at_work = Some(AtWork { engine, webhooks, stop, engine_task, deliveries });
    }

    /// The endpoints as they are configured now.
    fn configured(&self) -> Wanted {
        Wanted { endpoints: self.endpoints.clone(), allowed: Vec::new(), post: self.receivers.post() }
    }

    /// Ends the process as a kill would.
    async fn kill(&mut self) {
        let AtWork { engine_task, deliveries, .. } = self.at_work.take().unwrap();
        drop(deliveries);
        engine_task.abort();
        let _ = engine_task.await;
    }

    /// Ends the process in order.
    async fn stop(&mut self) {
        let AtWork { engine, stop, engine_task, mut deliveries, .. } = self.at_work.take().unwrap();
        stop.cancel();
        deliveries.ended().await;
        engine.submit(Command::Stop, None, false).await.unwrap();
        engine_task.await.unwrap();
    }

    fn engine(&self) -> &Engine {
        &self.at_work.as_ref().unwrap().engine
    }

    /// What receivers do from now on.
    fn rule(&self, rule: impl Fn(&Seen) -> Does + Send + 'static) {
        *self.receivers.rule.lock().unwrap() = Box::new(rule);
    }

    /// An event about a template; the first one of a template is two.
    async fn event(&self, template: u32) -> Seq {
        let template = Vmid(template);
        let facts = Some(TemplateFacts { node: "pve1".into(), linkable: Some(true) });
        let command = Command::ConfigureTemplate { template, sizes: SizeOverrides::default(), facts };
        self.engine().submit(command, None, false).await.unwrap().seq
    }

    async fn ask(&self, endpoint: &str, step: WebhookStep) -> Decided {
        let command = WebhookCommand { endpoint: endpoint.into(), step };
        self.engine().submit(Command::Webhook(command), None, false).await.unwrap()
    }

    fn seen(&self) -> Vec<Seen> {
        self.receivers.seen.lock().unwrap().clone()
    }

    /// Positions in the order in which they were sent.
    fn seqs(&self) -> Vec<u64> {
        self.seen().iter().map(|it| it.seq).collect()
    }

    fn forget_seen(&self) {
        self.receivers.seen.lock().unwrap().clear();
    }

    fn webhook(&self, name: &str) -> Webhook {
        self.engine().published().state.webhooks.get(&EndpointName::from(name)).unwrap().clone()
    }

    fn reading(&self, name: &str) -> Reading {
        let webhooks = &self.at_work.as_ref().unwrap().webhooks;
        webhooks.endpoint(&name.into()).unwrap().1.read(self.clock.now())
    }

    /// Lets virtual time pass.
    async fn pass(&self, span: Duration) {
        self.clock.sleep(span).await;
    }

    /// Waits until State is as wanted.
    async fn until(&self, what: &str, wanted: impl Fn(&Webhook) -> bool) {
        let name = EndpointName::from("a");
        let mut watch = self.engine().watch();
        let reached = watch.wait_for(|published| wanted(published.state.webhooks.get(&name).unwrap()));
        let reached = tokio::time::timeout(PATIENCE, reached).await.map(|reached| reached.is_ok());
        assert!(matches!(reached, Ok(true)), "waited in vain for: {what}\n{:#?}", self.webhook("a"));
    }

    /// Waits until so many attempts were made.
    async fn until_seen(&self, count: usize) {
        let wait = async {
            let mut noted = self.receivers.noted.subscribe();
            while self.receivers.seen.lock().unwrap().len() < count {
                noted.changed().await.unwrap();
            }
            // What the last of them led to is done before time goes on.
            self.clock.sleep(Duration::from_millis(1)).await;
        };
        let reached = tokio::time::timeout(PATIENCE, wait).await;
        assert!(reached.is_ok(), "{} of {count} attempts: {:#?}", self.seen().len(), self.seen());
    }

    /// What is in the log, while a process is at work.
    fn events(&self) -> Vec<Envelope> {
        let reader = &self.at_work.as_ref().unwrap().webhooks.0.reader;
        let (mut events, mut after) = (Vec::new(), Seq(0));
        while after < reader.head() {
            events.extend(
                reader.read(after, 1000, reader.head()).unwrap().iter().map(|it| it.envelope.clone()),
            );
            after = events.last().map_or(after, |it: &Envelope| it.seq);
        }
        events
    }

    fn count(&self, type_name: &str) -> usize {
        self.events().iter().filter(|envelope| envelope.event.type_name() == type_name).count()
    }

    /// Positions of events of these types, and of this template if one is given.
    fn wanted(&self, template: Option<u32>) -> Vec<u64> {
        let types = ["TemplateAdded", "TemplateConfigured", "TemplateDrained"];
        let of = |it: &&Envelope| {
            types.contains(&it.event.type_name())
                && template.is_none_or(|template| it.event.template() == Some(Vmid(template)))
        };
        self.events().iter().filter(of).map(|it| it.seq.0).collect()
    }
}

fn hours(span: Duration) -> f64 {
    span.as_secs_f64() / 3600.0
}
