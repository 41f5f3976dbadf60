//! When a failed attempt is made again, and what an attempt's end means for its event.

use std::time::Duration;

use crate::domain::time::Timestamp;

/// Pauses before each attempt, the first one's being none: the schedule of Standard Webhooks, 75 hours long.
pub const SCHEDULE: [Duration; 10] = [
    Duration::ZERO,
    Duration::from_secs(5),
    Duration::from_mins(5),
    Duration::from_mins(30),
    Duration::from_hours(2),
    Duration::from_hours(5),
    Duration::from_hours(10),
    Duration::from_hours(14),
    Duration::from_hours(20),
    Duration::from_hours(24),
];

/// Each pause is at most this much shorter or longer, in thousandths, so that failures do not stay in step.
const JITTER: u64 = 200;

/// What an endpoint may ask for with `Retry-After`; nothing is put off for longer.
const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(24);

/// How an attempt ended, as metrics count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AttemptResult {
    /// Answered with 2xx.
    Delivered,
    /// Answered with 3xx, which is not followed.
    Redirected,
    /// Answered with any other 4xx.
    Refused,
    /// Answered with 410.
    Gone,
    /// Answered with 429.
    Throttled,
    /// Answered with 408, 425 or 5xx.
    Failed,
    /// Not answered in time.
    TimedOut,
    /// Not connected, or cut off.
    Unreachable,
    /// The address may not be sent to.
    Blocked,
}

impl AttemptResult {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Delivered,
        Self::Redirected,
        Self::Refused,
        Self::Gone,
        Self::Throttled,
        Self::Failed,
        Self::TimedOut,
        Self::Unreachable,
        Self::Blocked,
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Redirected => "redirected",
            Self::Refused => "refused",
            Self::Gone => "gone",
            Self::Throttled => "throttled",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Unreachable => "unreachable",
            Self::Blocked => "blocked",
        }
    }

    /// What a status means.
    pub(super) fn of(status: u16) -> Self {
        match status {
            200..=299 => Self::Delivered,
            300..=399 => Self::Redirected,
            410 => Self::Gone,
            429 => Self::Throttled,
            400..=499 if !matches!(status, 408 | 425) => Self::Refused,
            _ => Self::Failed,
        }
    }
}

/// The end of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) result: AttemptResult,
    /// The answer's status, if there was one.
    pub(super) status: Option<u16>,
    /// When the endpoint wants to be asked again, as it wrote it.
    pub(super) retry_after: Option<String>,
    /// What it came to, in few words.
    pub(super) reason: String,
}

impl Ended {
    /// How long the endpoint is to be left alone.
    pub(super) fn leave_alone(&self, now: Timestamp) -> Option<Duration> {
        if !matches!(self.status, Some(429 | 502 | 503 | 504)) {
            return None;
        }
        let text = self.retry_after.as_deref()?.trim();
        let span = match text.parse() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => date(text)?.since(now),
        };
        Some(span.min(LONGEST_RETRY_AFTER))
    }
}

/// The pause after so many failed attempts; none if the schedule is at its end.
pub(super) fn pause(failed: u32, chance: &mut fastrand::Rng) -> Option<Duration> {
    let pause = *SCHEDULE.get(usize::try_from(failed).ok()?)?;
    let thousandths = chance.u64(1000 - JITTER..=1000 + JITTER);
    let millis = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
    Some(Duration::from_millis(millis.saturating_mul(thousandths) / 1000))
}

/// An HTTP date, in the form that is written today.
fn date(text: &str) -> Option<Timestamp> {
    let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(Timestamp(at.as_millisecond()))
}
