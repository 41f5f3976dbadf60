//! `GET /status?at=…` and `GET /explain`: what was, read from the log beside everything else that goes on.
//!
//! Reading back may be long, so it has threads of its own, few of them, and ends when its client leaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::codes::Code;
use super::errors::Problem;
use crate::domain::ids::Seq;
use crate::domain::state::State;
use crate::domain::time::Timestamp;
use crate::explain::{Story, Subject, Teller, Unknown};
use crate::log::{Moment, Past, PastError, ReadError, Reader};

/// Looks back at once: each has a State of its own in memory and keeps a disk busy.
const AT_ONCE: usize = 2;
/// Records read at once.
const PAGE: usize = 1024;

/// A way back in the log. Clones are cheap.
#[derive(Clone)]
pub struct LookBack {
    reader: Reader,
    free: Arc<Semaphore>,
}

impl LookBack {
    /// Back in the log of this reader.
    pub fn new(reader: Reader) -> Self {
        Self { reader, free: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// The state at a moment; `now` is the clock.
    pub(super) async fn state(&self, moment: Moment, now: Timestamp) -> Result<Past<State>, Problem> {
        let build = env!("CARGO_PKG_VERSION");
        let read = self.back(move |reader, given_up| reader.replay_at(moment, now, build, given_up)).await?;
        read.map_err(|error| problem(&error))
    }

    /// What the log up to `head` tells of a subject.
    pub(super) async fn story(&self, subject: Subject, head: Seq) -> Result<Result<Story, Unknown>, Problem> {
        self.back(move |reader, given_up| story(reader, &subject, head, given_up)).await?.map_err(|error| {
            tracing::error!(%error, "the log cannot be looked back on");
            Problem::new(Code::Internal, error.to_string())
        })
    }

    /// Reads where it may block, in turn with others, and until its client leaves.
    async fn back<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reader, &dyn Fn() -> bool) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() else {
            let busy = "others look back at the moment; each of these reads the log anew";
            return Err(Problem::new(Code::Overloaded, busy).retry_after(Duration::from_secs(1)));
        };
        let left = Left::default();
        let (reader, gone) = (self.reader.clone(), Arc::clone(&left.0));
        let read = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            read(&reader, &|| gone.load(Ordering::Relaxed))
        });
        read.await.map_err(|error| Problem::new(Code::Internal, error.to_string()))
    }
}

/// Hears everything that is kept. If its oldest part goes meanwhile, what is left is heard anew.
fn story(
    reader: &Reader,
    subject: &Subject,
    head: Seq,
    given_up: &dyn Fn() -> bool,
) -> Result<Result<Story, Unknown>, ReadError> {
    let (mut teller, mut cursor) = (Teller::new(subject.clone()), before(reader.oldest()));
    while !given_up() {
        match reader.read(cursor, PAGE, head) {
            Ok(records) => {
                let Some(last) = records.last() else { break };
                cursor = last.envelope.seq;
                for record in &records {
                    teller.hear(&record.envelope);
                }
            }
            Err(ReadError::Pruned { oldest }) => {
                (teller, cursor) = (Teller::new(subject.clone()), before(oldest));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(teller.tell())
}

fn before(oldest: Seq) -> Seq {
    Seq(oldest.0.saturating_sub(1))
}

/// Tells the reading thread that nobody waits for it any more.
#[derive(Default)]
struct Left(Arc<AtomicBool>);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn problem(error: &PastError) -> Problem {
    let code = match error {
        PastError::Pruned { .. } => Code::EventsPruned,
        PastError::Future { .. } => Code::InTheFuture,
        PastError::GivenUp => Code::Internal,
        PastError::Log(error) => {
            tracing::error!(%error, "the log cannot be looked back on");
            Code::Internal
        }
    };
    Problem::new(code, error.to_string())
}
