//! Waits for PVE's tasks, looking often only around the time at which they should end.

use std::time::Duration;

use super::site::Site;
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::Upid;
use crate::domain::time::Timestamp;
use crate::pve::{TaskState, Warnings};

/// Looks at one task that may fail in a row before it is left to a later try.
const MISSES: u32 = 2;
/// Shortest pause between two looks, with an estimate and without one.
const SHORTEST: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(100));
/// Up to the expected end looks are this far apart, and farther the longer it takes.
const IN_BETWEEN: Duration = Duration::from_secs(2);
/// Longest pause between two looks.
const LONGEST: Duration = Duration::from_secs(1);

/// When a task's end is to be expected.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// When it was asked for.
    pub(super) started_at: Timestamp,
    /// How long such tasks take, if that is known.
    pub(super) expected: Option<Duration>,
}

impl Pace {
    /// A task that was asked for now and of whose length nothing is known.
    pub(super) fn unknown(site: &Site) -> Self {
        Self { started_at: site.clock.now(), expected: None }
    }

    /// The pause before the next look, `elapsed` after the start: up to shortly before the expected end,
    /// then a fiftieth of the task's length, so that the end is seen soon after it came. A task whose end was
    /// seen late makes the next ones look longer than they are: few looks in between show that.
    fn pause(self, elapsed: Duration) -> Duration {
        let first_look = self.expected.unwrap_or_default().mul_f64(0.8);
        if let Some(left) = first_look.checked_sub(elapsed).filter(|left| !left.is_zero()) {
            return left.min(elapsed.max(IN_BETWEEN)).max(SHORTEST.0);
        }
        let shortest = if self.expected.is_some() { SHORTEST.0 } else { SHORTEST.1 };
        (elapsed.max(self.expected.unwrap_or_default()) / 50).clamp(shortest, LONGEST)
    }
}

/// Returns how the task ended, or why that cannot be told.
pub(super) async fn follow(site: &Site, upid: &Upid, pace: Pace) -> Result<Result<Warnings, Fault>, Fault> {
    let mut misses = 0;
    loop {
        let elapsed = site.clock.now().since(pace.started_at);
        site.clock.sleep(pace.pause(elapsed)).await;
        match site.pve.task(upid).await {
            Ok(TaskState::Running) => misses = 0,
            Ok(TaskState::Ended(outcome)) => return Ok(outcome.map_err(Fault::from)),
            Err(error) if misses < MISSES && may_pass(error.kind) => misses += 1,
            Err(error) => return Err(site.fault(error)),
        }
    }
}

/// A look that failed like this may work a moment later.
fn may_pass(kind: FaultKind) -> bool {
    matches!(
        kind,
        FaultKind::NotSent | FaultKind::OutcomeUnknown | FaultKind::NodeUnreachable | FaultKind::Unreadable
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(expected: Option<u64>, ends: u64) -> (usize, u64) {
        let pace = Pace { started_at: Timestamp(0), expected: expected.map(Duration::from_millis) };
        let (mut elapsed, mut looks) = (Duration::ZERO, 0);
        while elapsed < Duration::from_millis(ends) {
            elapsed += pace.pause(elapsed);
            looks += 1;
        }
        (looks, u64::try_from(elapsed.as_millis()).unwrap() - ends)
    }

    #[test]
    fn an_end_is_seen_within_a_fiftieth_and_with_few_looks() {
        for (expected, ends) in [(3000, 3000), (3000, 3300), (3000, 2500), (60_000, 58_000), (400, 400)] {
            let (looks, late) = looks(Some(expected), ends);
            assert!(late <= (expected / 50).max(50), "{expected} {ends}: {late} ms late");
            assert!(looks <= 17, "{expected} {ends}: {looks} looks");
        }
    }

    #[test]
    fn an_end_that_comes_much_sooner_than_expected_is_seen_soon() {
        let (count, late) = looks(Some(2_500_000), 3000);
        assert!(count <= 3 && late <= 3000, "{count} looks, {late} ms late");
    }

    #[test]
    fn without_an_estimate_looks_grow_rarer() {
        let (count, late) = looks(None, 2000);
        assert!(count <= 20 && late <= 100, "{count} looks, {late} ms late");
        let (count, late) = looks(None, 600_000);
        assert!(count <= 900 && late <= 1000, "{count} looks, {late} ms late");
    }
}
