//! `GET /status?at=…`: the pool as it was, read from the log beside everything else that goes on.
//!
//! Reading back may be long, so it has threads of its own, few of them, and ends when its client leaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::codes::Code;
use super::errors::Problem;
use crate::domain::state::State;
use crate::domain::time::Timestamp;
use crate::log::{Moment, Past, PastError, Reader};

/// Looks back at once: each has a State of its own in memory and keeps a disk busy.
const AT_ONCE: usize = 2;

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
        let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() else {
            let busy = "others look back at the moment; each of these reads the log anew";
            return Err(Problem::new(Code::Overloaded, busy).retry_after(Duration::from_secs(1)));
        };
        let left = Left::default();
        let (reader, gone) = (self.reader.clone(), Arc::clone(&left.0));
        let read = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            reader.replay_at(moment, now, env!("CARGO_PKG_VERSION"), &|| gone.load(Ordering::Relaxed))
        });
        let read = read.await.map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
        read.map_err(|error| problem(&error))
    }
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
