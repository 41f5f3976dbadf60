//! What there is to count about followers, and the place that each one takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::http::stall::Stalled;

/// Counts since the start, and how many follow now.
#[derive(Debug, Default)]
pub struct StreamFigures {
    subscribers: AtomicUsize,
    opened: AtomicU64,
    refused: AtomicU64,
    evicted: AtomicU64,
    resets: AtomicU64,
    frames: AtomicU64,
}

impl StreamFigures {
    /// Streams that are open.
    pub fn subscribers(&self) -> usize {
        self.subscribers.load(Ordering::Relaxed)
    }

    /// Streams that were opened.
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Streams that were not let in because of the limit.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Streams that were ended because their client took nothing.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Streams that could not go on where they were asked to.
    pub fn resets(&self) -> u64 {
        self.resets.load(Ordering::Relaxed)
    }

    /// Frames of events that were sent, over all streams.
    pub fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    /// A stream could not go on where it was asked to.
    pub(super) fn count_reset(&self) {
        self.resets.fetch_add(1, Ordering::Relaxed);
    }

    /// Frames of events are on their way.
    pub(super) fn count_frames(&self, frames: u64) {
        self.frames.fetch_add(frames, Ordering::Relaxed);
    }
}

/// A follower's place, until it is dropped.
pub(super) struct Seat {
    figures: Arc<StreamFigures>,
    stalled: Stalled,
}

impl Seat {
    /// A place among at most `most`, if there is one.
    pub(super) fn take(figures: &Arc<StreamFigures>, most: usize, stalled: Stalled) -> Option<Self> {
        let more = |taken: usize| (taken < most).then_some(taken + 1);
        if figures.subscribers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err() {
            figures.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        figures.opened.fetch_add(1, Ordering::Relaxed);
        Some(Self { figures: Arc::clone(figures), stalled })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.figures.subscribers.fetch_sub(1, Ordering::Relaxed);
        if self.stalled.is_so() {
            self.figures.evicted.fetch_add(1, Ordering::Relaxed);
        }
    }
}
