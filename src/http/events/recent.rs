//! The newest frames, encoded once for everybody who follows live.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

use super::frame;
use crate::domain::ids::Seq;
use crate::log::{Reader, Record};

/// Frames that are kept: a follower that is further behind reads the log.
const MOST: usize = 1024;
/// Bytes of them.
const MOST_BYTES: usize = 1024 * 1024;
/// Records taken from the log at once.
const PAGE: usize = 64;

/// An event as it is sent.
pub(super) struct Frame {
    pub(super) record: Arc<Record>,
    pub(super) bytes: Bytes,
}

/// The newest frames.
pub(super) struct Recent {
    reader: Reader,
    kept: RwLock<Kept>,
}

#[derive(Default)]
struct Kept {
    /// In order and without gaps.
    frames: VecDeque<Arc<Frame>>,
    bytes: usize,
}

impl Recent {
    pub(super) fn new(reader: Reader) -> Self {
        Self { reader, kept: RwLock::default() }
    }

    /// The frame behind `after`, which is before `head`; none if it is not in memory.
    pub(super) fn behind(&self, after: Seq, head: Seq) -> Option<Arc<Frame>> {
        if let Some(frame) = self.kept.read().unwrap_or_else(PoisonError::into_inner).behind(after) {
            return Some(frame);
        }
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        kept.fill(&self.reader, after, head);
        kept.behind(after)
    }
}

impl Kept {
    fn behind(&self, after: Seq) -> Option<Arc<Frame>> {
        let first = self.frames.front()?.record.envelope.seq;
        let nth = usize::try_from(after.next().0.checked_sub(first.0)?).ok()?;
        self.frames.get(nth).cloned()
    }

    /// Takes records in until the one behind `after` is there, unless that would wait for a disk.
    fn fill(&mut self, reader: &Reader, after: Seq, head: Seq) {
        let last = self.frames.back().map(|frame| frame.record.envelope.seq);
        let mut last = match last {
            // Somebody who is behind all that is kept: there is nothing to take in for it.
            Some(last) if after < last => return,
            Some(last) if reader.is_recent(last) => last,
            _ => {
                *self = Self::default();
                after
            }
        };
        while last <= after && reader.is_recent(last) {
            let Ok(records) = reader.read(last, PAGE, head) else { return };
            let Some(newest) = records.last() else { return };
            last = newest.envelope.seq;
            for record in records {
                self.push(reader.log_id(), record);
            }
        }
    }

    fn push(&mut self, log_id: u32, record: Arc<Record>) {
        let mut text = String::with_capacity(record.json.len() + 96);
        frame::event(&mut text, log_id, &record);
        let bytes = Bytes::from(text);
        self.bytes += bytes.len();
        self.frames.push_back(Arc::new(Frame { record, bytes }));
        while self.frames.len() > MOST || (self.bytes > MOST_BYTES && self.frames.len() > 1) {
            let Some(oldest) = self.frames.pop_front() else { break };
            self.bytes -= oldest.bytes.len();
        }
    }
}
