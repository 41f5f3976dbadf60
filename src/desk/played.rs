//! An engine that a test plays: it sees each submission and answers as the test says.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use ulid::Ulid;

use crate::domain::command::{Command, Reply};
use crate::domain::event::{Envelope, Event};
use crate::domain::ids::{AllocationId, Seq};
use crate::domain::state::{ServicePhase, State};
use crate::domain::time::Timestamp;
use crate::engine::{Decided, Engine, Outcome, Published, Refused, Submission, watch};

/// Where the played log stands.
pub(crate) const HEAD: Seq = Seq(41);

/// The test's side of a played engine.
pub(crate) struct Played {
    /// Commands as they come in.
    pub(crate) queue: mpsc::Receiver<Submission>,
    /// What readers see.
    pub(crate) published: watch::Sender<Published>,
}

/// A played engine and the test's side of it.
pub(crate) fn engine(state: State) -> (Engine, Played) {
    let (commands, queue) = mpsc::channel(16);
    let (published, watch) =
        watch::channel(Published { state: Arc::new(state), head: HEAD, unwritable: None });
    (Engine::new(commands, watch), Played { queue, published })
}

/// A state of a service that runs, with nothing in it.
pub(crate) fn running() -> State {
    let mut state = State::default();
    state.service.phase = ServicePhase::Running;
    state.service.version = "1.2.3".to_owned();
    state.service.reconciled = true;
    state
}

impl Played {
    /// The next submission.
    pub(crate) async fn next(&mut self) -> Submission {
        self.queue.recv().await.unwrap()
    }

    /// Answers the next submission and returns its command.
    pub(crate) async fn answer(&mut self, answer: Result<Decided, Refused>) -> Command {
        let submission = self.next().await;
        // Whoever asked may have left by now.
        let _ = submission.answer.send(answer);
        submission.command
    }

    /// Answers the next submission with an outcome to come; the returned end decides it.
    pub(crate) async fn begin(&mut self, reply: Reply) -> (Command, oneshot::Sender<Envelope>) {
        let (end, outcome) = Outcome::for_tests();
        let command = self.answer(Ok(Decided { outcome: Some(outcome), ..decided(reply) })).await;
        (command, end)
    }

    /// Tells the service to stop.
    pub(crate) fn stop(&self) {
        self.publish(|published| Arc::make_mut(&mut published.state).service.phase = ServicePhase::Stopping);
    }

    /// Publishes a changed state.
    pub(crate) fn publish(&self, change: impl FnOnce(&mut Published)) {
        self.published.send_modify(change);
    }
}

/// A decision without events.
pub(crate) fn decided(reply: Reply) -> Decided {
    Decided { seq: HEAD, events: Vec::new(), reply, outcome: None }
}

/// An event behind the head.
pub(crate) fn envelope(event: impl Into<Event>) -> Envelope {
    Envelope {
        seq: HEAD.next(),
        id: Ulid::nil(),
        at: Timestamp(0),
        event: event.into(),
        cause: None,
        more: false,
    }
}

/// An allocation's id.
pub(crate) fn allocation_id() -> AllocationId {
    AllocationId(Ulid::from_parts(1, 2))
}
