//! One follower: a cursor, a clock, and the loop that turns what is behind the cursor into frames.
//!
//! The loop is polled by the connection only while the socket takes bytes, so that a follower that does not read
//! does not advance. It has no task and no queue.

use std::convert::Infallible;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use tokio::sync::watch;
use tokio::time::{Sleep, sleep};
use warp::reply::{Reply as _, Response};

use super::Streams;
use super::figures::Seat;
use super::filter::Filter;
use super::frame;
use super::start::{Extent, Place, Reset, Start};
use crate::clock::Stopwatch;
use crate::domain::ids::Seq;
use crate::engine::Published;
use crate::log::{ReadError, Reader};

/// From one bookmark to the next: proxies end a stream that is silent for a minute.
const BOOKMARK: Duration = Duration::from_secs(15);

/// Seconds that a stream lives, an hour give or take a fifth: followers move to whatever stands behind the address
/// by then, and not all at once.
const AGES_SECONDS: std::ops::RangeInclusive<u64> = 2880..=4320;

/// Milliseconds after which a client comes back when its connection broke; others come at other times.
const RETRY_BROKEN_MS: std::ops::RangeInclusive<u64> = 1000..=3000;
/// Milliseconds after which it comes back when the service ended the stream.
const RETRY_CLOSED_MS: std::ops::RangeInclusive<u64> = 500..=5000;

/// Records read from the files at once: about a full socket buffer.
const PAGE: usize = 128;
/// And if most of them may not pass.
const FILTERED_PAGE: usize = 1024;

/// The answer to a follower, without what is said of it in headers.
pub(super) async fn answer(streams: &Streams, seat: Seat, place: Place, filter: Filter) -> Response {
    let follower = Follower::begin(streams.clone(), seat, place, filter).await;
    let frames = stream::unfold(follower, |mut follower| async move {
        let bytes = follower.next().await?;
        Some((Ok::<_, Infallible>(bytes), follower))
    });
    warp::reply::stream(frames).into_response()
}

struct Follower {
    streams: Streams,
    published: watch::Receiver<Published>,
    /// Everything up to here was sent or did not pass.
    cursor: Seq,
    filter: Filter,
    /// Goes out before anything else.
    greeting: Option<Bytes>,
    /// Wakes for the next bookmark.
    alarm: Pin<Box<Sleep>>,
    age: Stopwatch,
    bookmark_at: Duration,
    max_age: Duration,
    ended: bool,
    _seat: Seat,
}

/// What memory has behind the cursor.
enum InMemory {
    /// An event that passes.
    Frame(Bytes),
    /// Nothing that passes up to the head.
    NoMore,
    /// Too new a beginning.
    NotThere,
}

/// What reading the files gave.
struct Caught {
    filter: Filter,
    cursor: Seq,
    text: String,
    frames: u64,
    error: Option<ReadError>,
}

impl Follower {
    async fn begin(streams: Streams, seat: Seat, place: Place, mut filter: Filter) -> Self {
        let mut published = streams.0.published.clone();
        let Published { state, head, .. } = published.borrow_and_update().clone();
        let log = extent(&streams, head);
        let start = place.start(log);
        let cursor = match start {
            Start::Live | Start::Lost(_) => log.head,
            Start::Resumed(after) => after,
        };
        if filter.has_scopes() {
            if cursor < log.head {
                let reader = streams.0.reader.clone();
                let looked = streams.on_disk(move || {
                    filter.begin_behind(cursor, head, &state, &reader);
                    filter
                });
                filter = looked.await;
            } else {
                filter.begin_live(&state);
            }
        }
        let retry = streams.chosen(|chance| chance.u64(RETRY_BROKEN_MS));
        let mut greeting = frame::opening(log, start, Duration::from_millis(retry));
        if let Start::Lost(reason) = start {
            streams.0.figures.count_reset();
            greeting.push_str(&frame::reset(log, reason));
        }
        let max_age = Duration::from_secs(streams.chosen(|chance| chance.u64(AGES_SECONDS)));
        Self {
            streams,
            published,
            cursor,
            filter,
            greeting: Some(greeting.into()),
            age: Stopwatch::start(),
            // Behind the line above: when it rings, that much has passed.
            alarm: Box::pin(sleep(BOOKMARK)),
            bookmark_at: BOOKMARK,
            max_age,
            ended: false,
            _seat: seat,
        }
    }

    /// The next bytes; none when the stream is over.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(greeting) = self.greeting.take() {
            return Some(greeting);
        }
        loop {
            if self.ended {
                return None;
            }
            let head = self.published.borrow_and_update().head;
            if let Some(bytes) = self.due(head) {
                return Some(bytes);
            }
            let bytes = match self.look_in_memory(head) {
                InMemory::Frame(bytes) => Some(bytes),
                InMemory::NoMore => self.wait().await,
                InMemory::NotThere if self.streams.0.closing.is_cancelled() => Some(self.close("shutdown")),
                InMemory::NotThere => self.read_files(head).await,
            };
            if bytes.is_some() {
                return bytes;
            }
        }
    }

    /// What is to be sent because of the time.
    fn due(&mut self, head: Seq) -> Option<Bytes> {
        let age = self.age.elapsed();
        if age >= self.max_age {
            return Some(self.close("age"));
        }
        if age < self.bookmark_at {
            return None;
        }
        self.bookmark_at = age + BOOKMARK;
        self.alarm.set(sleep(BOOKMARK));
        Some(frame::bookmark(self.log_id(), self.cursor, head).into())
    }

    /// Returns when there is something to look at; with the last frame if the service ends.
    async fn wait(&mut self) -> Option<Bytes> {
        let is_over = tokio::select! {
            biased;
            changed = self.published.changed() => changed.is_err(),
            () = self.streams.0.closing.cancelled() => true,
            () = self.alarm.as_mut() => false,
        };
        is_over.then(|| self.close("shutdown"))
    }

    /// The next frame that passes.
    fn look_in_memory(&mut self, head: Seq) -> InMemory {
        while self.cursor < head {
            let Some(frame) = self.streams.0.recent.behind(self.cursor, head) else {
                return InMemory::NotThere;
            };
            self.cursor = frame.record.envelope.seq;
            if self.filter.passes(&frame.record.envelope) {
                self.streams.0.figures.count_frames(1);
                return InMemory::Frame(frame.bytes.clone());
            }
        }
        InMemory::NoMore
    }

    /// The next page from the files.
    async fn read_files(&mut self, head: Seq) -> Option<Bytes> {
        let reader = self.streams.0.reader.clone();
        let (filter, after) = (std::mem::take(&mut self.filter), self.cursor);
        let caught = self.streams.on_disk(move || catch_up(&reader, filter, after, head)).await;
        (self.filter, self.cursor) = (caught.filter, caught.cursor);
        if let Some(error) = caught.error {
            return Some(self.unreadable(&error, head));
        }
        self.streams.0.figures.count_frames(caught.frames);
        (!caught.text.is_empty()).then(|| caught.text.into())
    }

    /// What is to be sent when the log cannot be read on.
    fn unreadable(&mut self, error: &ReadError, head: Seq) -> Bytes {
        let reason = match error {
            ReadError::Pruned { .. } => Reset::Pruned,
            ReadError::Damaged { .. } => {
                tracing::error!(%error, "followers of the events were sent past damage");
                Reset::Damaged
            }
            ReadError::Io { source, .. } => {
                tracing::error!(%error, %source, "a follower of the events has to come again");
                return self.close("unreadable");
            }
        };
        self.streams.0.figures.count_reset();
        self.cursor = head;
        if self.filter.has_scopes() {
            let state = self.published.borrow().state.clone();
            self.filter.begin_live(&state);
        }
        frame::reset(extent(&self.streams, head), reason).into()
    }

    fn close(&mut self, reason: &str) -> Bytes {
        self.ended = true;
        let retry = Duration::from_millis(self.streams.chosen(|chance| chance.u64(RETRY_CLOSED_MS)));
        frame::closing(self.log_id(), self.cursor, reason, retry).into()
    }

    fn log_id(&self) -> u32 {
        self.streams.0.reader.log_id()
    }
}

fn extent(streams: &Streams, head: Seq) -> Extent {
    let reader = &streams.0.reader;
    Extent { log_id: reader.log_id(), oldest: reader.oldest(), head }
}

/// Reads and encodes a page.
fn catch_up(reader: &Reader, mut filter: Filter, after: Seq, head: Seq) -> Caught {
    let limit = if filter.wants_all() { PAGE } else { FILTERED_PAGE };
    let (mut cursor, mut text, mut frames) = (after, String::new(), 0);
    let records = match reader.read(after, limit, head) {
        Ok(records) => records,
        Err(error) => return Caught { filter, cursor, text, frames, error: Some(error) },
    };
    for record in &records {
        cursor = record.envelope.seq;
        if filter.passes(&record.envelope) {
            frame::event(&mut text, reader.log_id(), record);
            frames += 1;
        }
    }
    Caught { filter, cursor, text, frames, error: None }
}
