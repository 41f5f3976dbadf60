//! Turns a command into events: the rules of the pool.
//!
//! A decision works on a copy of State into which each event is folded as it is made, so that a rule sees
//! what the rules before it decided. After every command the standing rules (`settle`) have their say.

mod clone;
mod container;
mod leave;
mod reconcile;
mod request;
mod service;
mod settle;
mod sizes;
mod template;
mod webhook;

use std::time::Duration;

use ulid::Ulid;

use super::command::{Command, Observation, Rejection, Reply};
use super::event::Event;
use super::ids::{CloneId, Vmid};
use super::settings::Settings;
use super::state::{Container, ServicePhase, State, Template};
use super::time::Timestamp;

/// What was decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// What happened; to be made durable as one batch.
    pub events: Vec<Event>,
    /// What the command answers.
    pub reply: Reply,
    /// State with the events folded in.
    pub state: State,
    /// When all of it happened.
    pub at: Timestamp,
}

/// Decides a command at the time `now`; ids and jitter come from `chance`.
pub fn decide(
    state: &State,
    command: Command,
    now: Timestamp,
    chance: &mut fastrand::Rng,
) -> Result<Decision, Rejection> {
    let now = now.max(state.at);
    let mut tx = Tx { state: state.clone(), events: Vec::new(), now, chance };
    let reply = tx.carry_out(command)?;
    tx.settle();
    Ok(Decision { events: tx.events, reply, state: tx.state, at: now })
}

/// A decision in the making.
struct Tx<'a> {
    state: State,
    events: Vec<Event>,
    now: Timestamp,
    chance: &'a mut fastrand::Rng,
}

impl Tx<'_> {
    fn carry_out(&mut self, command: Command) -> Result<Reply, Rejection> {
        let ended = self.state.service.phase == ServicePhase::Stopped;
        match command {
            // Nothing stands behind a stop; what was seen too late is seen again after the next start.
            Command::CallersGone { .. } | Command::Observed(_) if ended => {}
            Command::RegisterWebhooks(_) | Command::Webhook(_) if ended => return Err(Rejection::Stopping),
            Command::Start { version, settings } => self.start(version, *settings),
            Command::Reload { settings, webhooks } => self.reload(*settings, &webhooks)?,
            Command::BeginStop => self.begin_stop(),
            Command::Stop => self.stop(),
            Command::Tick => {}
            Command::Allocate(request) => return self.allocate(request),
            Command::CallersGone { allocation_id } => self.callers_gone(allocation_id),
            Command::Release(leave) => return self.release(&leave),
            Command::Remove(leave) => return self.remove(&leave),
            Command::Warm { template, count, facts } => return self.warm(template, count, facts),
            Command::ConfigureTemplate { template, sizes, facts } => {
                self.configure_template(template, sizes, facts)?;
            }
            Command::DrainTemplate { template } => self.drain_template(template)?,
            Command::RefreshTemplate { template } => self.refresh_template(template)?,
            Command::Observed(observation) => self.observe(observation),
            Command::RegisterWebhooks(endpoints) => self.register_webhooks(&endpoints),
            Command::Webhook(command) => self.webhook(command)?,
        }
        Ok(Reply::Done)
    }

    fn observe(&mut self, observation: Observation) {
        match observation {
            Observation::PveUnreachable { reason } => self.pve_unreachable(reason),
            Observation::PveReachable => self.pve_reachable(),
            Observation::ClonePrepared { clone_id, template, outcome } => {
                self.clone_prepared(clone_id, template, outcome);
            }
            Observation::CloneSent { vmid, clone_id, outcome } => self.clone_sent(vmid, clone_id, outcome),
            Observation::CloneFound { vmid, clone_id, upid } => self.clone_found(vmid, clone_id, upid),
            Observation::CloneNotMade { vmid, clone_id } => self.clone_not_made(vmid, clone_id),
            Observation::CloneEnded { vmid, clone_id, end } => self.clone_ended(vmid, clone_id, end),
            Observation::Renamed { vmid, as_of, running } => self.renamed(vmid, as_of, running),
            Observation::Started { vmid, as_of, duration_ms } => self.started(vmid, as_of, duration_ms),
            Observation::StartFailed { vmid, as_of, fault } => self.start_failed(vmid, as_of, &fault),
            Observation::Parked { vmid, as_of, hostname } => self.parked(vmid, as_of, hostname),
            Observation::RenamedBack { vmid, as_of, hostname } => self.renamed_back(vmid, as_of, hostname),
            Observation::Destroyed { vmid, as_of: _ } => self.destroyed(vmid),
            Observation::Hindered { vmid, as_of, by } => self.hindered(vmid, as_of, by),
            Observation::ReconcileFailed { fault } => self.reconcile_failed(fault),
            Observation::Reconciled { as_of, findings } => self.reconciled(as_of, findings),
        }
    }

    fn emit(&mut self, event: impl Into<Event>) {
        let event = event.into();
        self.state.fold(self.state.head.next(), self.now, &event);
        self.events.push(event);
    }

    fn ulid(&mut self) -> Ulid {
        Ulid::from_parts(u64::try_from(self.now.0).unwrap_or(0), self.chance.u128(..))
    }

    fn running(&self) -> Result<(), Rejection> {
        match self.state.service.phase {
            ServicePhase::Running => Ok(()),
            ServicePhase::Stopping | ServicePhase::Stopped => Err(Rejection::Stopping),
        }
    }

    fn template(&self, vmid: Vmid) -> Option<&Template> {
        self.state.templates.get(&vmid)
    }

    fn container(&self, vmid: Vmid) -> Option<&Container> {
        self.state.containers.get(&vmid)
    }

    /// The container, if it is still the one that this clone makes.
    fn clone_in_flight(&self, vmid: Vmid, clone_id: CloneId) -> Option<&Container> {
        self.container(vmid)
            .filter(|container| container.clone_id == clone_id && container.creating().is_some())
    }

    /// Clones of a template under way that are not destroyed as soon as they are made.
    fn coming(&self, template_vmid: Vmid) -> u32 {
        match self.template(template_vmid) {
            Some(template) if template.counts.creating > 0 => {
                let wanted = |c: &&Container| {
                    c.template == template_vmid && c.creating().is_some_and(|c| c.unwanted.is_none())
                };
                count(self.state.busy().filter(wanted))
            }
            Some(_) | None => 0,
        }
    }

    fn retry_delay(&mut self) -> Duration {
        let jitter_ms = u64::from(self.state.settings.clone_retry_jitter_seconds) * 1000;
        Settings::seconds(self.state.settings.clone_retry_delay_seconds)
            + Duration::from_millis(self.chance.u64(0..=jitter_ms))
    }
}

fn count<T>(items: impl Iterator<Item = T>) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}

/// A pause that doubles with each try, from `first` up to `most`.
fn doubling(first: Duration, most: Duration, tries_before: u32) -> Duration {
    first.saturating_mul(1 << tries_before.min(16)).min(most)
}
