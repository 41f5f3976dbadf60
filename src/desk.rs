//! The front desk: what a request asks of the engine, and how long it waits for the end of it.
//!
//! It knows neither HTTP nor PVE: a template that the pool does not know is read through a function that it
//! was given. Whoever drops the future of [`Desk::allocate`] no longer waits, and the engine is told so.

mod reading;
mod refusal;

#[cfg(test)]
pub(crate) mod played;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::clock::Clock;
use crate::domain::command::{Allocate, Command, Leave, Rejection, Reply, TemplateFacts};
use crate::domain::event::{Cause, Envelope, Event, FailureCode};
use crate::domain::fault::Fault;
use crate::domain::ids::{AllocationId, InstanceId, Node, Seq, Vmid};
use crate::domain::settings::{Settings, SizeOverrides};
use crate::domain::state::{Container, ServicePhase};
use crate::domain::time::Timestamp;
use crate::domain::webhook::WebhookCommand;
use crate::engine::{Decided, Engine, Outcome, Published, Refused};

pub use refusal::{Refusal, WayOut};

/// Reads a template's configuration at PVE, once per call.
pub type ReadTemplate =
    Arc<dyn Fn(Vmid) -> BoxFuture<'static, Result<TemplateFacts, Fault>> + Send + Sync + 'static>;

/// How long a request waits.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the end of a release or removal; what was begun goes on after it.
    pub leave: Duration,
    /// For an allocation behind its own deadline: an engine that cannot write cannot tell its end.
    pub allocate_slack: Duration,
    /// Between two reads of a template while PVE does not answer.
    pub read_again: Duration,
    /// For State to reach an event that a reader has already heard of.
    pub seq: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        // Callers give up after 120 s: an answer must be on its way before that.
        Self {
            leave: Duration::from_secs(110),
            allocate_slack: Duration::from_secs(5),
            read_again: Duration::from_secs(1),
            seq: Duration::from_secs(2),
        }
    }
}

/// The front desk. Clones are cheap.
#[derive(Clone)]
pub struct Desk {
    engine: Engine,
    clock: Clock,
    read_template: ReadTemplate,
    patience: Patience,
    knows_nothing: bool,
    /// Callers who wait before the engine knows of them.
    outside: Arc<AtomicU32>,
}

/// Who asks, and whether it is meant.
#[derive(Clone, Debug)]
pub struct Call {
    /// The request's id, as its answer carries it and the events name it.
    pub request_id: String,
    /// Decide only: nothing is written and nothing is waited for.
    pub dry_run: bool,
}

/// What a request that was not refused led to.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer<T> {
    /// It is done.
    Done {
        /// The last event that led to the answer.
        seq: Seq,
        /// What was asked for.
        value: T,
    },
    /// It was a dry run.
    WouldHappen {
        /// The head of the log.
        seq: Seq,
        /// The events that it would begin with.
        events: Vec<Envelope>,
    },
}

/// A container that was handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandedOut {
    /// The allocation.
    pub allocation_id: AllocationId,
    /// The caller's name of the sandbox, and the container's hostname.
    pub instance_id: InstanceId,
    /// The template.
    pub template: Vmid,
    /// The container.
    pub vmid: Vmid,
    /// The node that it is on.
    pub node: Node,
    /// Whether it was ready when it was asked for.
    pub from_pool: bool,
    /// When it is released by itself.
    pub expires_at: Option<Timestamp>,
}

/// What a warm does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Warming {
    /// Clones that were queued for it.
    pub queued: u32,
    /// Inventory before.
    pub current: u32,
    /// Inventory to reach.
    pub target: u32,
}

impl Desk {
    /// A desk in front of `engine`.
    pub fn new(engine: Engine, clock: Clock, read_template: ReadTemplate, patience: Patience) -> Self {
        Self { engine, clock, read_template, patience, knows_nothing: false, outside: Arc::default() }
    }

    /// PVE was never looked at in this log: it may have containers with which earlier requests were answered,
    /// so that allocations wait until it was looked at.
    #[must_use]
    pub fn knowing_nothing(mut self) -> Self {
        self.knows_nothing = true;
        self
    }

    /// The pool as it is now.
    pub fn published(&self) -> Published {
        self.engine.published()
    }

    /// The pool once it has come to `seq`; none if it does not within the patience for that.
    pub async fn published_from(&self, seq: Seq) -> Option<Published> {
        let mut watch = self.engine.watch();
        let reached = watch.wait_for(|published| published.head >= seq);
        let reached = tokio::time::timeout(self.patience.seq, reached).await.ok()?;
        reached.ok()
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Waits for a container; dropping the future is how its caller leaves the line.
    pub async fn allocate(&self, call: &Call, allocate: Allocate) -> Result<Answer<HandedOut>, Refusal> {
        let seconds = self.published().state.settings.allocate_timeout_seconds;
        let until = self.clock.now().after(Settings::seconds(seconds));
        if self.knows_nothing && !call.dry_run {
            self.compared(allocate.template, until).await?;
        }
        let start = allocate.start;
        let answer = self.join_or_allocate(call, allocate.clone(), until).await?;
        match &answer {
            // It joined a request that did not ask for a start: asked for again, the container is started.
            Answer::Done { value, .. } if start && self.was_left_stopped(value) => {
                self.join_or_allocate(call, allocate, until).await
            }
            Answer::Done { .. } | Answer::WouldHappen { .. } => Ok(answer),
        }
    }

    /// Returns when PVE was compared with State for the first time.
    async fn compared(&self, template: Vmid, until: Timestamp) -> Result<(), Refusal> {
        let _place = self.place()?;
        let mut watch = self.engine.watch();
        let compared = watch.wait_for(|published| {
            let service = &published.state.service;
            service.reconciled || service.comparison_needs_a_person()
        });
        tokio::select! {
            biased;
            compared = compared => {
                let service = &compared.map_err(|_| Refused::Stopped)?.state.service;
                match service.reconcile_fault.clone().filter(|_| !service.reconciled) {
                    Some(fault) => Err(Refusal::TemplateUnreadable { template, fault }),
                    None => Ok(()),
                }
            }
            refusal = self.told_to_stop() => Err(refusal),
            () = self.clock.sleep_until(until) => Err(Refusal::AllocationFailed {
                code: FailureCode::AllocateTimeout,
                reason: format!(
                    "PVE could not be asked yet which containers of template {template} there are"
                ),
                retry_at: None,
            }),
        }
    }

    fn was_left_stopped(&self, handed_out: &HandedOut) -> bool {
        let state = self.published().state;
        let holding = state.container(handed_out.vmid).and_then(Container::holding);
        holding.is_some_and(|it| it.allocation_id == handed_out.allocation_id && !it.start)
    }

    async fn join_or_allocate(
        &self,
        call: &Call,
        allocate: Allocate,
        until: Timestamp,
    ) -> Result<Answer<HandedOut>, Refusal> {
        let template = allocate.template;
        let until_read = if call.dry_run { None } else { Some(until) };
        let decided = self
            .submit_reading(call, template, until_read, |facts| {
                Command::Allocate(Allocate { facts, ..allocate.clone() })
            })
            .await?;
        if call.dry_run {
            return Ok(would_happen(decided));
        }
        let Some(outcome) = decided.outcome else {
            return Err(Refusal::Misunderstood { what: "without an outcome" });
        };
        tokio::select! {
            biased;
            ended = outcome.ended() => match ended {
                Some(ended) => self.handed_out(ended, template),
                None => Err(Refused::Stopped.into()),
            },
            () = self.clock.sleep_until(until.after(self.patience.allocate_slack)) => {
                Err(Refusal::AllocationFailed {
                    code: FailureCode::AllocateTimeout,
                    reason: format!("no container of template {template} in time"),
                    retry_at: None,
                })
            }
        }
    }

    /// Gives a container back and waits for that to be done.
    pub async fn release(&self, call: &Call, leave: Leave) -> Result<Answer<()>, Refusal> {
        let vmid = leave.vmid;
        let decided = self.submit(call, Command::Release(leave)).await?;
        self.see_out(call, decided, vmid, WayOut::Release).await
    }

    /// Destroys a container and waits for that to be done.
    pub async fn remove(&self, call: &Call, leave: Leave) -> Result<Answer<()>, Refusal> {
        let vmid = leave.vmid;
        let decided = self.submit(call, Command::Remove(leave)).await?;
        self.see_out(call, decided, vmid, WayOut::Removal).await
    }

    /// Brings a template's inventory to a size once.
    pub async fn warm(
        &self,
        call: &Call,
        template: Vmid,
        count: Option<u32>,
    ) -> Result<Answer<Warming>, Refusal> {
        let decided = self
            .submit_reading(call, template, None, |facts| Command::Warm { template, count, facts })
            .await?;
        if call.dry_run {
            return Ok(would_happen(decided));
        }
        match decided.reply {
            Reply::Warming { queued, current, target } => {
                Ok(Answer::Done { seq: decided.seq, value: Warming { queued, current, target } })
            }
            Reply::Done | Reply::Allocating { .. } | Reply::Leaving { .. } => {
                Err(Refusal::Misunderstood { what: "no sizes" })
            }
        }
    }

    /// Sets a template's own sizes, and ends its drain or back-off.
    pub async fn configure(
        &self,
        call: &Call,
        template: Vmid,
        sizes: SizeOverrides,
    ) -> Result<Answer<()>, Refusal> {
        let decided = self
            .submit_reading(call, template, None, |facts| Command::ConfigureTemplate {
                template,
                sizes,
                facts,
            })
            .await?;
        Ok(at_once(call, decided))
    }

    /// Destroys a template's ready containers and serves nobody from it.
    pub async fn drain(&self, call: &Call, template: Vmid) -> Result<Answer<()>, Refusal> {
        Ok(at_once(call, self.submit(call, Command::DrainTemplate { template }).await?))
    }

    /// Replaces a template's ready containers by clones of it as it is today.
    pub async fn refresh(&self, call: &Call, template: Vmid) -> Result<Answer<()>, Refusal> {
        Ok(at_once(call, self.submit(call, Command::RefreshTemplate { template }).await?))
    }

    /// Asks something of a webhook endpoint.
    pub async fn webhook(&self, call: &Call, command: WebhookCommand) -> Result<Answer<()>, Refusal> {
        Ok(at_once(call, self.submit(call, Command::Webhook(command)).await?))
    }

    async fn submit(&self, call: &Call, command: Command) -> Result<Decided, Refused> {
        self.engine.submit(command, Some(Cause::Request(call.request_id.clone())), call.dry_run).await
    }

    fn handed_out(&self, ended: Envelope, template: Vmid) -> Result<Answer<HandedOut>, Refusal> {
        match ended.event {
            Event::AllocationCompleted(completed) => Ok(Answer::Done {
                seq: ended.seq,
                value: HandedOut {
                    allocation_id: completed.allocation_id,
                    instance_id: completed.instance_id,
                    template: completed.template,
                    vmid: completed.vmid,
                    node: completed.node,
                    from_pool: completed.from_pool,
                    expires_at: completed.expires_at,
                },
            }),
            Event::AllocationFailed(failed) => {
                let state = self.published().state;
                let backoff = state.template(template).and_then(|template| template.backoff.as_ref());
                Err(Refusal::AllocationFailed {
                    code: failed.code,
                    reason: failed.reason,
                    retry_at: backoff.map(|backoff| backoff.until),
                })
            }
            Event::AllocationCancelled(cancelled) => {
                Err(Refusal::AllocationCancelled { reason: cancelled.reason })
            }
            other => Err(Refusal::Misunderstood { what: other.type_name() }),
        }
    }

    /// Waits for the end of a release or removal, the end of patience, or the end of the service.
    async fn see_out(
        &self,
        call: &Call,
        decided: Decided,
        vmid: Vmid,
        way: WayOut,
    ) -> Result<Answer<()>, Refusal> {
        if call.dry_run {
            return Ok(would_happen(decided));
        }
        let Some(outcome) = decided.outcome else {
            return Ok(Answer::Done { seq: decided.seq, value: () });
        };
        tokio::select! {
            biased;
            left = left(outcome, vmid, way) => left,
            () = self.clock.sleep(self.patience.leave) => Err(Refusal::StillLeaving { vmid, way }),
            refusal = self.told_to_stop() => Err(refusal),
        }
    }

    /// Returns when the service was told to stop, with what whoever still waits is told.
    async fn told_to_stop(&self) -> Refusal {
        let mut watch = self.engine.watch();
        let stopping = |it: &Published| it.state.service.phase == ServicePhase::Stopping;
        let ended = watch.wait_for(stopping).await.is_err();
        if ended {
            // The engine ended; whoever waits for an outcome hears of it there.
            std::future::pending::<()>().await;
        }
        Refused::Rejected(Rejection::Stopping).into()
    }
}

async fn left(outcome: Outcome, vmid: Vmid, way: WayOut) -> Result<Answer<()>, Refusal> {
    let Some(ended) = outcome.ended().await else { return Err(Refused::Stopped.into()) };
    let failed = |fault, retry_at| Refusal::LeavingFailed { vmid, way, fault, retry_at };
    match (ended.event, way) {
        // Gone is gone: nobody holds it any more, which is what both ways out promise.
        (Event::Removed(_) | Event::ContainerLost(_), _) | (Event::Released(_), WayOut::Release) => {
            Ok(Answer::Done { seq: ended.seq, value: () })
        }
        (Event::ReleaseFailed(it), _) => Err(failed(it.fault, it.retry_at)),
        (Event::RemovalFailed(it), _) => Err(failed(it.fault, Some(it.retry_at))),
        (Event::ContainerQuarantined(it), _) => Err(failed(it.fault, None)),
        (Event::OwnershipDoubted(it), _) => Err(Refusal::LeavingDoubted { vmid, reason: it.reason }),
        (other, _) => Err(Refusal::Misunderstood { what: other.type_name() }),
    }
}

fn would_happen<T>(decided: Decided) -> Answer<T> {
    Answer::WouldHappen { seq: decided.seq, events: decided.events }
}

fn at_once(call: &Call, decided: Decided) -> Answer<()> {
    if call.dry_run { would_happen(decided) } else { Answer::Done { seq: decided.seq, value: () } }
}
