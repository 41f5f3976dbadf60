//! Whether an endpoint answers: its streak of failures, and until when it asked to be left alone.

use std::time::Duration;

use crate::domain::time::Timestamp;
use crate::domain::webhook::DISABLE_AFTER;

/// Deliveries under way to one endpoint.
pub(super) const IN_FLIGHT: usize = 8;

/// A streak is an event only once it has lasted for this long, so that an endpoint that fails now and then
/// does not fill the log.
const WORTH_AN_EVENT: Duration = Duration::from_secs(3);

/// And at once if the endpoint wants to be left alone for this long, so that somebody can resume it before.
const LONG_SILENCE: Duration = Duration::from_mins(1);

/// New events fail for this long, or as many as may be under way: the endpoint is down, not an event wrong.
const DOWN_AFTER: Duration = Duration::from_mins(1);

/// While it is down, a new event is tried after this, and then after twice as long each time: eight events
/// that nobody takes must not stop all others.
const PROBE_AFTER: Duration = Duration::from_mins(1);
const LONGEST_PROBE_PAUSE: Duration = Duration::from_hours(1);

/// The health of one endpoint.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// The first failure without a success after it.
    streak: Option<Timestamp>,
    /// How many events failed at their first try since. That an event fails again says nothing new.
    fresh: usize,
    /// The streak is an event in the log.
    pub(super) reported: bool,
    /// The endpoint asked to be left alone until then.
    not_before: Option<Timestamp>,
    /// When a new lane may be tried although nothing gets through, and the pause before that.
    probe: Option<(Timestamp, Duration)>,
}

impl Health {
    /// An endpoint that failed since then, before a restart.
    pub(super) fn failing_since(since: Option<Timestamp>, now: Timestamp) -> Self {
        Self {
            streak: since,
            fresh: if since.is_some() { IN_FLIGHT } else { 0 },
            reported: since.is_some(),
            not_before: None,
            probe: since.map(|_| (now.after(PROBE_AFTER), PROBE_AFTER)),
        }
    }

    /// An attempt got through: whether that ends a time in which nothing did.
    pub(super) fn succeeded(&mut self, now: Timestamp) -> bool {
        let long = self.streak.is_some_and(|since| now.since(since) >= DOWN_AFTER);
        let down = self.fresh >= IN_FLIGHT || (self.fresh > 0 && long);
        self.streak = None;
        self.fresh = 0;
        self.probe = None;
        down
    }

    /// An attempt did not: since when none does, if the log should know of it. `fresh` if the event was new.
    pub(super) fn failed(
        &mut self,
        now: Timestamp,
        fresh: bool,
        leave_alone: Option<Duration>,
    ) -> Option<Timestamp> {
        let since = *self.streak.get_or_insert(now);
        if fresh {
            self.fresh += 1;
            self.probe.get_or_insert((now.after(PROBE_AFTER), PROBE_AFTER));
        }
        if let Some(span) = leave_alone {
            self.not_before = self.not_before.max(Some(now.after(span)));
        }
        let age = now.since(since);
        let long = age >= WORTH_AN_EVENT || leave_alone.is_some_and(|span| span >= LONG_SILENCE);
        let worth = if self.reported { age >= DISABLE_AFTER } else { long };
        worth.then_some(since)
    }

    /// Nothing is known against it any more.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Whether one new lane may be tried although nothing gets through.
    pub(super) fn may_probe(&self, busy: usize, now: Timestamp) -> bool {
        busy == 0 && self.probe.is_some_and(|(at, _)| at <= now)
    }

    /// That was done.
    pub(super) fn probed(&mut self, now: Timestamp) {
        let pause = self.probe.map_or(PROBE_AFTER, |(_, pause)| (pause * 2).min(LONGEST_PROBE_PAUSE));
        self.probe = Some((now.after(pause), pause));
    }

    /// When that may be done next.
    pub(super) fn next_probe(&self, now: Timestamp) -> Option<Timestamp> {
        self.probe.map(|(at, _)| at).filter(|at| *at > now)
    }

    /// Until when nothing may be sent.
    pub(super) fn left_alone_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.not_before.filter(|until| *until > now)
    }

    /// Whether a lane that is not waiting may begin beside so many that are under way. Each one that fails
    /// has a schedule of its own, so that a dead endpoint is not asked about all that there is.
    pub(super) fn may_begin(&self, busy: usize) -> bool {
        busy + self.fresh < IN_FLIGHT
    }
}
