//! The single writer: takes commands, decides, makes the events durable, publishes, and only then answers.
//!
//! It owns log and State. It never calls PVE and never waits for a reader: readers get the head and a cheap
//! copy of State through a watch, and pull events from the log themselves.

mod outcome;
pub mod watch;
mod writer;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::domain::command::{Command, Rejection, Reply};
use crate::domain::event::{Cause, Envelope};
use crate::domain::ids::Seq;
use crate::domain::state::State;
use crate::log::Past;

pub use outcome::Outcome;
pub use writer::{EngineLoop, Keep, LogObserver, LogStep};

/// How many commands may wait for the engine; a full queue is back-pressure, not loss.
pub const QUEUE: usize = 1024;

/// What everybody may see, renewed after each batch of events is durable.
#[derive(Clone, Debug)]
pub struct Published {
    /// State up to and with [`head`](Self::head).
    pub state: Arc<State>,
    /// The last durable event.
    pub head: Seq,
    /// Why nothing can be written at the moment: the disk's own words.
    pub unwritable: Option<String>,
}

impl From<Past<State>> for Published {
    /// What was published then.
    fn from(past: Past<State>) -> Self {
        Self { state: Arc::new(past.projection), head: past.head, unwritable: None }
    }
}

/// A handle on the engine. Clones are cheap.
#[derive(Clone, Debug)]
pub struct Engine {
    queue: mpsc::Sender<Submission>,
    published: watch::Receiver<Published>,
}

/// A command on its way to the engine.
#[derive(Debug)]
pub struct Submission {
    /// What to decide.
    pub command: Command,
    /// What led to it.
    pub cause: Option<Cause>,
    /// Decide only: append nothing.
    pub dry_run: bool,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Result<Decided, Refused>>,
}

/// A command that was decided, and whose events are durable (unless it was a dry run).
#[derive(Debug)]
pub struct Decided {
    /// The last event that the command led to; the head if it led to none.
    pub seq: Seq,
    /// Its events.
    pub events: Vec<Envelope>,
    /// What it answers.
    pub reply: Reply,
    /// Where the end of what it began will be told; none if there is nothing to wait for.
    pub outcome: Option<Outcome>,
}

/// Why a command was not decided, or its events not written.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The rules say no.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The log cannot be written at the moment; the command left no trace.
    #[error("the event log cannot be written: {0}")]
    LogUnwritable(String),
    /// The engine has more waiting than it takes.
    #[error("the engine's queue is full")]
    Overloaded,
    /// The engine has ended.
    #[error("the service has stopped")]
    Stopped,
}

impl Engine {
    /// A handle on whatever takes submissions from `queue` and renews `published`.
    pub fn new(queue: mpsc::Sender<Submission>, published: watch::Receiver<Published>) -> Self {
        Self { queue, published }
    }

    /// Has a command decided and its events made durable.
    pub async fn submit(
        &self,
        command: Command,
        cause: Option<Cause>,
        dry_run: bool,
    ) -> Result<Decided, Refused> {
        let (answer, answered) = oneshot::channel();
        let submission = Submission { command, cause, dry_run, answer };
        self.queue.try_send(submission).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Refused::Overloaded,
            mpsc::error::TrySendError::Closed(_) => Refused::Stopped,
        })?;
        answered.await.unwrap_or(Err(Refused::Stopped))
    }

    /// The same for what must not be refused because others were faster: it waits for a place in the queue.
    pub async fn submit_in_turn(&self, command: Command) -> Result<Decided, Refused> {
        let (answer, answered) = oneshot::channel();
        let submission = Submission { command, cause: None, dry_run: false, answer };
        self.queue.send(submission).await.map_err(|_| Refused::Stopped)?;
        answered.await.unwrap_or(Err(Refused::Stopped))
    }

    /// Whether it takes commands.
    pub fn is_running(&self) -> bool {
        !self.queue.is_closed()
    }

    /// What is published now.
    pub fn published(&self) -> Published {
        self.published.borrow()
    }

    /// Wakes at each change of what is published.
    pub fn watch(&self) -> watch::Receiver<Published> {
        self.published.clone()
    }
}
