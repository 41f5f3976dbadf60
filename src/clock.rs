//! The only place that asks for the time and for chance; everything else is handed them.
//!
//! Waiting goes through tokio's timer, so that a test with a paused runtime has a virtual clock.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::time::Timestamp;

/// Where the time comes from.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    source: Source,
}

/// What the machine's clock last showed, and when. It is one for the process, as the machine's is.
static LAST: Mutex<Option<(Timestamp, Instant)>> = Mutex::new(None);

#[derive(Clone, Copy, Debug)]
enum Source {
    /// The machine's, without its steps back.
    System,
    /// A chosen instant plus what tokio's timer says has passed.
    Virtual { epoch: Timestamp, since: Instant },
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self { source: Source::System }
    }

    /// A clock that shows `epoch` now and runs with tokio's timer. Needs a runtime.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn virtual_from(epoch: Timestamp) -> Self {
        Self { source: Source::Virtual { epoch, since: Instant::now() } }
    }

    /// The time; never earlier than it was before, and never standing still.
    pub fn now(&self) -> Timestamp {
        match self.source {
            Source::System => system_now(),
            Source::Virtual { epoch, since } => epoch.after(since.elapsed()),
        }
    }

    /// Returns when the clock shows `at`, or at once if it already did.
    pub async fn sleep_until(&self, at: Timestamp) {
        tokio::time::sleep(at.since(self.now())).await;
    }

    /// The same; never, if there is nothing to wait for.
    pub async fn sleep_until_any(&self, at: Option<Timestamp>) {
        match at {
            Some(at) => self.sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    /// Returns after `span`.
    pub async fn sleep(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }
}

/// The machine's time. Where it was set back, time goes on from where it was.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
fn system_now() -> Timestamp {
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let (shown, instant) = (Timestamp(jiff::Timestamp::now().as_millisecond()), Instant::now());
    let now = last.map_or(shown, |(at, then)| shown.max(at.after(instant.duration_since(then))));
    // Kept only when the machine's clock leads, so that no rounding adds up.
    if now == shown {
        *last = Some((now, instant));
    }
    now
}

/// A point of a clock that only runs forward, to measure spans with.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Begins to measure.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// A source of chance, seeded by the machine.
#[expect(clippy::disallowed_methods, reason = "this is where chance comes from")]
pub fn chance() -> fastrand::Rng {
    fastrand::Rng::new()
}
