//! The only place that asks for the time and for chance; everything else is handed them.
//!
//! Waiting goes through tokio's timer, so that a test with a paused runtime has a virtual clock.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::time::Timestamp;

/// Where the time comes from.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    source: Source,
}

#[derive(Clone, Copy, Debug)]
enum Source {
    /// The machine's.
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

    /// The time.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn now(&self) -> Timestamp {
        match self.source {
            Source::System => Timestamp(jiff::Timestamp::now().as_millisecond()),
            Source::Virtual { epoch, since } => epoch.after(since.elapsed()),
        }
    }

    /// Returns when the clock shows `at`, or at once if it already did.
    pub async fn sleep_until(&self, at: Timestamp) {
        tokio::time::sleep(at.since(self.now())).await;
    }

    /// Returns after `span`.
    pub async fn sleep(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }
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
