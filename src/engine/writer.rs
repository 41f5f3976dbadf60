//! The loop of the single writer, and how a round of commands becomes one write and one sync.
//!
//! Everything that waits is decided together, each command on the State that those before it lead to. Until
//! the round is durable nobody hears of it; if it cannot be written, it never was.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use ulid::Ulid;

use super::outcome::Outcomes;
use super::{Decided, Engine, Published, QUEUE, Refused, Submission, watch};
use crate::causes::chain;
use crate::clock::{Clock, Stopwatch};
use crate::domain::command::Command;
use crate::domain::decide::{Decision, decide};
use crate::domain::event::{Cause, Envelope, is_trouble};
use crate::domain::ids::{AllocationId, Seq};
use crate::domain::plan::wake_at;
use crate::domain::state::State;
use crate::domain::webhook::Webhook;
use crate::log::{AppendError, AppendStats, Projection, Retention, Sizes, Writer};

/// Commands decided in one round: enough to fill a sync, few enough to answer soon.
const ROUND: usize = 256;

/// While the log cannot be written, it is tried again this often.
const UNWRITABLE_RETRY: Duration = Duration::from_secs(2);

impl Projection for State {
    fn head(&self) -> Seq {
        self.head
    }

    fn apply(&mut self, envelope: &Envelope) {
        State::apply(self, envelope);
    }

    fn restored(&mut self) {
        self.rebuild_index();
    }
}

/// What the log just did, for whoever measures it.
#[derive(Clone, Copy, Debug)]
pub enum LogStep {
    /// It is open and this large.
    Open(Sizes),
    /// Events became durable.
    Appended(AppendStats, Sizes),
    /// Events could not be written; none of them happened.
    NotWritten,
}

/// Is told what the log does, on the engine's thread: it must not wait.
pub type LogObserver = Box<dyn Fn(LogStep) + Send + Sync>;

/// The engine before it runs.
pub struct EngineLoop {
    log: Writer,
    state: Arc<State>,
    clock: Clock,
    chance: fastrand::Rng,
    queue: mpsc::Receiver<Submission>,
    published: watch::Sender<Published>,
    outcomes: Outcomes,
    left: mpsc::UnboundedReceiver<AllocationId>,
    /// Whose callers have all left, which the log does not know yet.
    gone: Vec<AllocationId>,
    unwritable: Option<(String, Stopwatch)>,
    observer: Option<LogObserver>,
    keep: Keep,
    /// The last command of the process came, whether or not it could be written.
    told_to_end: bool,
}

/// How much of the log is kept; all of it unless something is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Events of so many days.
    pub days: Option<u32>,
    /// So many bytes.
    pub bytes: Option<u64>,
}

/// A command that was decided in this round and waits for the disk.
struct Pending {
    answer: oneshot::Sender<Result<Decided, Refused>>,
    result: Result<Decided, Refused>,
}

impl EngineLoop {
    /// An engine over an open log and the State that it amounts to, and a handle on it.
    pub fn new(log: Writer, state: State, clock: Clock, chance: fastrand::Rng) -> (Self, Engine) {
        let (sender, queue) = mpsc::channel(QUEUE);
        let (outcomes, left) = Outcomes::new();
        let state = Arc::new(state);
        let (published, receiver) =
            watch::channel(Published { state: Arc::clone(&state), head: state.head, unwritable: None });
        let engine = Engine::new(sender, receiver);
        let engine_loop = Self {
            log,
            state,
            clock,
            chance,
            queue,
            published,
            outcomes,
            left,
            gone: Vec::new(),
            unwritable: None,
            observer: None,
            keep: Keep::default(),
            told_to_end: false,
        };
        (engine_loop, engine)
    }

    /// The same, telling `observer` what its log does.
    #[must_use]
    pub fn observed_by(mut self, observer: LogObserver) -> Self {
        observer(LogStep::Open(self.log.sizes()));
        self.observer = Some(observer);
        self
    }

    /// The same, deleting segments that are older or more than `keep` says, once a snapshot covers them.
    #[must_use]
    pub fn keeping(mut self, keep: Keep) -> Self {
        self.keep = keep;
        self
    }

    /// Runs until the command `Stop`, or until every handle is gone.
    ///
    /// A log that cannot be written does not keep it: whoever waits hears of the end, and the next start
    /// finds what is durable.
    pub async fn run(mut self) {
        while !self.told_to_end
            && let Some(round) = self.next_round().await
        {
            self.told_to_end = round.iter().any(|submission| submission.command == Command::Stop);
            self.work(round);
        }
        if let Err(error) = self.log.snapshot(&*self.state) {
            tracing::warn!(%error, "no snapshot was written; the next start replays more");
        }
    }

    /// Everything that waits, once something does.
    async fn next_round(&mut self) -> Option<Vec<Submission>> {
        let due = wake_at(&self.state, self.clock.now());
        let pause = self.unwritable.is_some().then_some(UNWRITABLE_RETRY);
        let mut round = Vec::new();
        tokio::select! {
            biased;
            submission = self.queue.recv() => round.push(submission?),
            Some(allocation_id) = self.left.recv() => self.leave(allocation_id),
            () = self.clock.sleep_until_any(due) => round.push(internal(Command::Tick)),
            () = sleep(self.clock, pause) => round.push(internal(Command::Tick)),
        }
        while round.len() < ROUND {
            let Ok(submission) = self.queue.try_recv() else { break };
            round.push(submission);
        }
        while let Ok(allocation_id) = self.left.try_recv() {
            self.leave(allocation_id);
        }
        round.extend(self.gone.iter().map(|id| internal(Command::CallersGone { allocation_id: *id })));
        Some(round)
    }

    fn leave(&mut self, allocation_id: AllocationId) {
        if self.outcomes.is_left(allocation_id) {
            self.gone.push(allocation_id);
        }
    }

    /// Decides a round, makes it durable, publishes, and answers, in this order.
    fn work(&mut self, round: Vec<Submission>) {
        if !self.may_write() {
            return self.refuse(round);
        }
        let mut state = (*self.state).clone();
        let mut batches: Vec<Vec<Envelope>> = Vec::new();
        let mut pending = Vec::with_capacity(round.len());
        for submission in round {
            pending.push(self.decide(submission, &mut state, &mut batches));
        }
        if batches.is_empty() {
            self.gone.clear();
            return answer(pending);
        }
        match self.log.append(&batches) {
            Ok(appended) => {
                self.gone.clear();
                self.observe(LogStep::Appended(appended, self.log.sizes()));
                self.state = Arc::new(state);
                self.unwritable = None;
                self.publish();
                for envelope in batches.iter().flatten() {
                    note(envelope);
                    self.outcomes.tell(envelope);
                }
                answer(pending);
                self.snapshot_if_due();
            }
            Err(error) => self.not_written(&error, pending),
        }
    }

    fn decide(
        &mut self,
        submission: Submission,
        state: &mut State,
        batches: &mut Vec<Vec<Envelope>>,
    ) -> Pending {
        let Submission { mut command, cause, dry_run, answer } = submission;
        // Between the leaving of its last caller and this decision another may have joined.
        if matches!(command, Command::CallersGone { allocation_id } if self.outcomes.is_awaited(allocation_id))
        {
            command = Command::Tick;
        }
        let result = match decide(state, command, self.clock.now(), &mut self.chance) {
            Err(rejection) => Err(Refused::Rejected(rejection)),
            Ok(decision) => {
                let events = seal(&decision, state.head, cause.as_ref(), &mut self.chance);
                let reply = decision.reply.clone();
                let outcome = if dry_run { None } else { self.outcomes.of(&reply) };
                let seq = if dry_run { state.head } else { decision.state.head };
                if !dry_run {
                    *state = decision.state;
                    if !events.is_empty() {
                        batches.push(events.clone());
                    }
                }
                Ok(Decided { seq, events, reply, outcome })
            }
        };
        Pending { answer, result }
    }

    /// Nothing of the round happened.
    fn not_written(&mut self, error: &AppendError, pending: Vec<Pending>) {
        let reason = chain(error);
        tracing::error!(%reason, "the event log cannot be written: nothing new is begun until it can");
        self.observe(LogStep::NotWritten);
        self.set_unwritable(&reason);
        self.publish();
        for Pending { answer, .. } in pending {
            let _ = answer.send(Err(Refused::LogUnwritable(reason.clone())));
        }
    }

    fn refuse(&self, round: Vec<Submission>) {
        let Some((reason, _)) = &self.unwritable else { return };
        for submission in round {
            let _ = submission.answer.send(Err(Refused::LogUnwritable(reason.clone())));
        }
    }

    /// Whether the log takes events; while it does not, a snapshot tells when there is space again.
    fn may_write(&mut self) -> bool {
        let Some((_, since)) = &self.unwritable else { return true };
        if since.elapsed() < UNWRITABLE_RETRY {
            return false;
        }
        match self.log.snapshot(&*self.state) {
            Ok(()) => {
                tracing::info!("the event log can be written again");
                self.unwritable = None;
                self.publish();
                true
            }
            Err(error) => {
                self.set_unwritable(&chain(&error));
                false
            }
        }
    }

    fn observe(&self, step: LogStep) {
        if let Some(observer) = &self.observer {
            observer(step);
        }
    }

    fn set_unwritable(&mut self, reason: &str) {
        self.unwritable = Some((reason.to_owned(), Stopwatch::start()));
    }

    fn publish(&mut self) {
        self.published.send_replace(Published {
            state: Arc::clone(&self.state),
            head: self.state.head,
            unwritable: self.unwritable.as_ref().map(|(reason, _)| reason.clone()),
        });
    }

    fn snapshot_if_due(&mut self) {
        if !self.log.wants_snapshot() {
            return;
        }
        if let Err(error) = self.log.snapshot(&*self.state) {
            tracing::warn!(%error, "no snapshot was written; the next start replays more");
        } else if self.keep != Keep::default() {
            self.prune();
        }
    }

    fn prune(&mut self) {
        let day = Duration::from_hours(24);
        let since = self.keep.days.map(|days| self.clock.now().before(day.saturating_mul(days)));
        let retention = Retention { since, bytes: self.keep.bytes };
        let behind = self.state.webhooks.values().map(Webhook::needs_from);
        let needed = behind.min().unwrap_or(self.state.head.next());
        match self.log.retain(retention, needed) {
            Ok(oldest) => tracing::debug!(oldest = oldest.0, "the log was pruned"),
            Err(error) => tracing::warn!(%error, "old segments of the log cannot be deleted"),
        }
    }
}

/// A command of the engine's own, whose answer nobody reads.
fn internal(command: Command) -> Submission {
    let (answer, _) = oneshot::channel();
    Submission { command, cause: None, dry_run: false, answer }
}

fn answer(pending: Vec<Pending>) {
    for Pending { answer, result } in pending {
        // Whoever asked may have left; an outcome in the result then says so to the engine.
        let _ = answer.send(result);
    }
}

/// Puts a decision's events into envelopes.
fn seal(decision: &Decision, head: Seq, cause: Option<&Cause>, chance: &mut fastrand::Rng) -> Vec<Envelope> {
    let last = decision.events.len().saturating_sub(1);
    let millis = u64::try_from(decision.at.0).unwrap_or(0);
    (decision.events.iter().enumerate())
        .map(|(nth, event)| Envelope {
            seq: Seq(head.0 + 1 + nth as u64),
            id: Ulid::from_parts(millis, chance.u128(..)),
            at: decision.at,
            event: event.clone(),
            cause: cause.cloned(),
            more: nth < last,
        })
        .collect()
}

/// One line for each event. The caller's own words stay out of it.
fn note(envelope: &Envelope) {
    let (seq, type_name) = (envelope.seq.0, envelope.event.type_name());
    let trouble = is_trouble(type_name);
    if !(tracing::enabled!(tracing::Level::INFO) || trouble && tracing::enabled!(tracing::Level::WARN)) {
        return;
    }
    let mut data = serde_json::to_value(&envelope.event).unwrap_or_default();
    if let Some(fields) = data.as_object_mut() {
        fields.remove("metadata");
        fields.remove("settings");
    }
    if trouble {
        tracing::warn!(seq, %data, "{type_name}");
    } else {
        tracing::info!(seq, %data, "{type_name}");
    }
}

async fn sleep(clock: Clock, span: Option<Duration>) {
    match span {
        Some(span) => clock.sleep(span).await,
        None => std::future::pending().await,
    }
}
