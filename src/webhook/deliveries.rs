//! The workers at work, one for each endpoint, and their exchange when other endpoints are configured.
//!
//! An endpoint that stays as it is keeps its worker. One that changes or goes is let finish what is under way
//! and note how far it came, before anything is said of it; so what takes its place goes on from there.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::client::{self, Post};
use super::worker::Worker;
use super::{Command, Endpoint, Guard, InForce, StartError, Watched, Webhooks};
use crate::config::WebhookConfig;
use crate::domain::ids::EndpointName;
use crate::engine::Engine;

/// Endpoints as they are configured, checked, and the way to send to them.
pub struct Wanted {
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) allowed: Vec<IpNet>,
    pub(super) post: Post,
}

impl Wanted {
    /// Reads and checks them. Nothing is begun.
    pub fn load(config: &WebhookConfig) -> Result<Self, StartError> {
        let endpoints = Endpoint::load(config, &|path| std::fs::read_to_string(path))?;
        let allowed = config.allow_cidrs.clone();
        let post = if endpoints.is_empty() {
            client::nobody()
        } else {
            client::post(Guard::new(allowed.iter().copied()), &client::system_lookup())?
        };
        Ok(Self { endpoints, allowed, post })
    }

    fn names(&self) -> Vec<EndpointName> {
        self.endpoints.iter().map(|endpoint| endpoint.name.clone()).collect()
    }
}

/// The workers at work. Dropping it ends them at once, as a kill would.
pub struct Deliveries {
    webhooks: Webhooks,
    engine: Engine,
    stop: CancellationToken,
    /// The networks that may be sent to.
    allowed: Vec<IpNet>,
    at_work: BTreeMap<EndpointName, AtWork>,
}

struct AtWork {
    stop: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Deliveries {
    /// No worker yet; those to come end when `stop` is cancelled.
    pub(super) fn new(webhooks: Webhooks, engine: Engine, stop: CancellationToken) -> Self {
        Self { webhooks, engine, stop, allowed: Vec::new(), at_work: BTreeMap::new() }
    }

    /// Notes which endpoints there are, and sets a worker to each.
    pub(super) async fn begin(&mut self, wanted: Wanted) -> Result<(), StartError> {
        let engine = self.engine.clone();
        let note = async |names| {
            let noted = engine.submit(Command::RegisterWebhooks(names), None, false).await;
            noted.map(drop).map_err(StartError::Register)
        };
        self.replace(wanted, note).await
    }

    /// Goes over to other endpoints, once `note` has made a fact of their names; else all stays as it was.
    pub async fn replace<E>(
        &mut self,
        wanted: Wanted,
        note: impl AsyncFnOnce(Vec<EndpointName>) -> Result<(), E>,
    ) -> Result<(), E> {
        let names = wanted.names();
        let before = self.webhooks.in_force();
        let same_networks = wanted.allowed == self.allowed;
        let stays = |endpoint: &Endpoint| same_networks && wanted.endpoints.contains(endpoint);
        let leaving = before.endpoints.iter().filter(|(endpoint, _)| !stays(endpoint));
        let leaving: Vec<EndpointName> = leaving.map(|(endpoint, _)| endpoint.name.clone()).collect();
        self.end(&leaving).await;
        let noted = note(names).await;
        if noted.is_ok() {
            self.allowed = wanted.allowed;
            let known = |name: &EndpointName| {
                let same = before.endpoints.iter().find(|(endpoint, _)| endpoint.name == *name);
                same.map(|(_, figures)| Arc::clone(figures)).unwrap_or_default()
            };
            let endpoints = wanted.endpoints.into_iter().map(|endpoint| {
                let figures = known(&endpoint.name);
                (Arc::new(endpoint), figures)
            });
            let endpoints = endpoints.collect();
            self.webhooks.put_in_force(InForce { endpoints, post: wanted.post });
        }
        let InForce { endpoints, post } = self.webhooks.in_force();
        for watched in &endpoints {
            self.set_to_work(watched, &post);
        }
        noted
    }

    /// Waits until all have ended, after they were told to stop.
    pub async fn ended(&mut self) {
        let all: Vec<EndpointName> = self.at_work.keys().cloned().collect();
        self.end(&all).await;
    }

    /// Lets workers finish what is under way; they have a limit of their own.
    async fn end(&mut self, names: &[EndpointName]) {
        let leaving: Vec<AtWork> = names.iter().filter_map(|name| self.at_work.remove(name)).collect();
        for worker in &leaving {
            worker.stop.cancel();
        }
        for worker in leaving {
            if let Err(error) = worker.task.await
                && error.is_panic()
            {
                std::panic::resume_unwind(error.into_panic());
            }
        }
    }

    fn set_to_work(&mut self, (endpoint, figures): &Watched, post: &Post) {
        if self.at_work.contains_key(&endpoint.name) {
            return;
        }
        let shared = &self.webhooks.0;
        let worker = Worker {
            endpoint: Arc::clone(endpoint),
            figures: Arc::clone(figures),
            engine: self.engine.clone(),
            reader: shared.reader.clone(),
            clock: shared.clock,
            chance: self.webhooks.chance().fork(),
            post: Arc::clone(post),
        };
        let stop = self.stop.child_token();
        let task = AbortOnDropHandle::new(tokio::spawn(worker.run(stop.clone())));
        self.at_work.insert(endpoint.name.clone(), AtWork { stop, task });
    }
}
