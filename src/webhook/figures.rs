//! What is to be seen of an endpoint from outside its worker: numbers for metrics and for `GET /webhooks`.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::schedule::{AttemptResult, Ended};
use crate::domain::ids::Seq;
use crate::domain::time::Timestamp;

/// Written by an endpoint's worker, read by whoever wants to know.
#[derive(Debug, Default)]
pub struct Figures {
    pub(super) paused: AtomicBool,
    pub(super) disabled: AtomicBool,
    pub(super) cursor: AtomicU64,
    pub(super) lag_events: AtomicU64,
    /// When the oldest undelivered event was decided; 0 for none.
    pub(super) oldest: AtomicI64,
    pub(super) held: AtomicU64,
    pub(super) parked: AtomicU64,
    pub(super) in_flight: AtomicU64,
    /// Until when it asked for nothing to be sent; 0 if it did not.
    pub(super) left_alone_until: AtomicI64,
    attempts: [AtomicU64; AttemptResult::ALL.len()],
    duration_ms: AtomicU64,
    /// 0 for never.
    last_delivered: AtomicI64,
    last_failure: Mutex<Option<LastFailure>>,
}

/// The last attempt that did not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastFailure {
    /// When it ended.
    pub at: Timestamp,
    /// The event that was sent.
    pub seq: Seq,
    /// The answer's status, if there was one.
    pub status: Option<u16>,
    /// What it came to.
    pub reason: String,
}

/// The figures of one endpoint at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Whether it is paused: nothing is sent until somebody resumes it.
    pub paused: bool,
    /// Whether it is disabled: the same, by the service's own judgement.
    pub disabled: bool,
    /// Everything up to here is delivered, filtered out, held or parked.
    pub cursor: Seq,
    /// Events that are not delivered yet and not parked.
    pub lag_events: u64,
    /// How long the oldest of them has waited.
    pub lag: Duration,
    /// Lanes that wait for another try.
    pub held: u64,
    /// Lanes that wait for somebody.
    pub parked: u64,
    /// Attempts under way.
    pub in_flight: u64,
    /// Attempts since the start, by how they ended; all results are there.
    pub attempts: Vec<(AttemptResult, u64)>,
    /// Time that all attempts took together.
    pub duration: Duration,
    /// Until when it asked for nothing to be sent.
    pub left_alone_until: Option<Timestamp>,
    /// When the last event was taken.
    pub last_delivered: Option<Timestamp>,
    /// The last attempt that did not work.
    pub last_failure: Option<LastFailure>,
}

impl Figures {
    /// The figures as they are now.
    pub fn read(&self, now: Timestamp) -> Reading {
        let number = |value: &AtomicU64| value.load(Ordering::Relaxed);
        let instant =
            |value: &AtomicI64| Some(Timestamp(value.load(Ordering::Relaxed))).filter(|at| at.0 != 0);
        Reading {
            paused: self.paused.load(Ordering::Relaxed),
            disabled: self.disabled.load(Ordering::Relaxed),
            cursor: Seq(number(&self.cursor)),
            lag_events: number(&self.lag_events),
            lag: instant(&self.oldest).map_or(Duration::ZERO, |at| now.since(at)),
            held: number(&self.held),
            parked: number(&self.parked),
            in_flight: number(&self.in_flight),
            attempts: AttemptResult::ALL.into_iter().zip(self.attempts.iter().map(number)).collect(),
            duration: Duration::from_millis(number(&self.duration_ms)),
            left_alone_until: instant(&self.left_alone_until),
            last_delivered: instant(&self.last_delivered),
            last_failure: self.last_failure.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Counts an attempt.
    pub(super) fn note(&self, seq: Seq, ended: &Ended, took: Duration, now: Timestamp) {
        for (result, count) in AttemptResult::ALL.into_iter().zip(&self.attempts) {
            count.fetch_add(u64::from(result == ended.result), Ordering::Relaxed);
        }
        self.duration_ms.fetch_add(u64::try_from(took.as_millis()).unwrap_or(0), Ordering::Relaxed);
        if ended.result == AttemptResult::Delivered {
            self.last_delivered.store(now.0, Ordering::Relaxed);
        } else {
            let failure = LastFailure { at: now, seq, status: ended.status, reason: ended.reason.clone() };
            *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
        }
    }
}
