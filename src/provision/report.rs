//! Brings an observation to the engine, however long that takes.
//!
//! What was seen at PVE is kept until it is in the log: a full queue or an unwritable log is waited for.

use std::time::Duration;

use crate::clock::Clock;
use crate::domain::command::{Command, Observation};
use crate::domain::event::Cause;
use crate::domain::ids::Seq;
use crate::engine::{Engine, Refused};

/// Pauses between tries, the first and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reported {
    /// State is known to have it from here on.
    pub(crate) seq: Seq,
    /// It led to an event.
    pub(crate) changed: bool,
}

/// Submits an observation until it is accepted; `None` if the engine has ended.
pub(crate) async fn report(
    engine: &Engine,
    clock: Clock,
    observation: Observation,
    cause: Option<Cause>,
) -> Option<Reported> {
    let mut pause = PAUSE.0;
    loop {
        let command = Command::Observed(observation.clone());
        match engine.submit(command, cause.clone(), false).await {
            Ok(decided) => return Some(Reported { seq: decided.seq, changed: !decided.events.is_empty() }),
            Err(Refused::Stopped) => return None,
            Err(refused @ Refused::Rejected(_)) => {
                tracing::warn!(%refused, ?observation, "an observation was refused");
                return Some(Reported { seq: engine.published().head, changed: false });
            }
            Err(refused @ (Refused::LogUnwritable(_) | Refused::Overloaded)) => {
                tracing::debug!(%refused, "an observation waits for the log");
                clock.sleep(pause).await;
                pause = (pause * 2).min(PAUSE.1);
            }
        }
    }
}
