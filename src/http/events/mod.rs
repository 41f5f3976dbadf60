//! `GET /events`: the log as a stream of server-sent events, or page by page as NDJSON.
//!
//! A follower is a cursor into the log and nothing else: no queue is kept for it, so that one that reads slowly
//! costs the others nothing and misses nothing. Frames of new events are encoded once and shared by all. What is
//! not yet durable and published is never sent.
//!
//! ## What is promised
//! - `id` is `<log id>.<seq>`. Every frame has one and has `data`, so that whatever a client saw last is where
//!   it goes on; each event comes exactly once, in order, over any number of reconnects.
//! - The first frame is `stream.opened`. When the place that was asked for cannot be gone on from, the next is
//!   `stream.reset`: read `snapshot` (`status`), whose `head` is at least the frame's, and go on with the events
//!   that follow. Nothing is ever left out without it.
//! - `stream.bookmark` comes each 15 seconds and moves the place of a follower whose filters let nothing pass.
//! - `stream.closing` is the last frame when the service ends a stream; its `retry` is a random one.
//!
//! ## Filters
//! An event passes if it passes each one that is given.
//! - `types`: it is one of these, separated by commas.
//! - `vmid`: it names the container.
//! - `template`: it names the template, or a container that is one of the template's at that time.
//! - `instance`: it names the instance, or the allocation or the container that are the instance's at that time:
//!   from its `AllocationQueued` or `Allocated` until `Released`, `Removed`, `ContainerLost` or the next holder.
//!
//! What belonged to whom at the place where a follower begins is known from State and from the 4096 events
//! before that place. A container that is gone since and belonged to somebody from even earlier on is known only
//! by the events that name its template or instance, which are all that begin or end such a belonging.

mod figures;
mod filter;
mod frame;
mod history;
mod page;
mod recent;
mod start;
mod stream;

#[cfg(test)]
pub(crate) mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::engine::watch;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use warp::Filter as _;
use warp::filters::BoxedFilter;
use warp::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use warp::http::{HeaderMap, HeaderName, HeaderValue};
use warp::reply::Response;

use super::codes::Code;
use super::errors::Problem;
use super::request::{Asked, Query};
use super::respond::{answer, at};
use super::routes;
use super::stall::Stalled;
use crate::engine::{Engine, Published};
use crate::log::Reader;

pub use figures::StreamFigures;
pub use history::{History, history};

use filter::Filter;
use recent::Recent;
use start::{LAST_EVENT_ID, Place};

/// Readers of the files at once: a crowd that catches up takes turns and leaves the disk to the writer.
const DISK_READERS: usize = 4;

/// When there is no place for another follower.
const RETRY_FULL: Duration = Duration::from_secs(5);

/// Parameters of `GET /events`.
const PARAMETERS: [&str; 8] = ["after", "from", "types", "template", "vmid", "instance", "follow", "limit"];

/// A script for browsers that follows events also where EventSource alone gives up.
pub const FOLLOW_JS: &str = include_str!("follow.js");

/// Everything that followers share. Clones are cheap.
#[derive(Clone)]
pub struct Streams(Arc<Shared>);

struct Shared {
    reader: Reader,
    published: watch::Receiver<Published>,
    recent: Recent,
    figures: Arc<StreamFigures>,
    chance: Mutex<fastrand::Rng>,
    max_streams: usize,
    closing: CancellationToken,
    disk: Semaphore,
}

impl Streams {
    /// Streams of what `engine` publishes and `reader` reads, at most `max_streams` at once.
    ///
    /// When `closing` is cancelled they send what is left in memory and end. They also end with the engine.
    pub fn new(
        engine: &Engine,
        reader: Reader,
        max_streams: usize,
        chance: fastrand::Rng,
        closing: CancellationToken,
    ) -> Self {
        Self(Arc::new(Shared {
            recent: Recent::new(reader.clone()),
            reader,
            published: engine.watch(),
            figures: Arc::default(),
            chance: Mutex::new(chance),
            max_streams,
            closing,
            disk: Semaphore::new(DISK_READERS),
        }))
    }

    /// What there is to measure.
    pub fn figures(&self) -> Arc<StreamFigures> {
        Arc::clone(&self.0.figures)
    }

    /// The log's id as it stands before the dot.
    fn log_id(&self) -> String {
        format!("{:08x}", self.0.reader.log_id())
    }

    fn chosen<T>(&self, choose: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        choose(&mut self.0.chance.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Runs what reads files where it may block, a few at a time.
    async fn on_disk<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        // The semaphore is never closed; without a permit it is a little less fair, not wrong.
        let _permit = self.0.disk.acquire().await;
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
}

/// `GET /events` and `GET /follow.js`.
pub fn room(streams: &Streams) -> BoxedFilter<(Response,)> {
    let streams = streams.clone();
    let events = at(&routes::EVENTS)
        .and(warp::header::headers_cloned())
        .and(warp::ext::optional::<Stalled>())
        .then(move |asked: Asked, headers: HeaderMap, stalled: Option<Stalled>| {
            let streams = streams.clone();
            async move { answer(events(&streams, &asked, &headers, stalled.unwrap_or_default()).await) }
        });
    let script = at(&routes::FOLLOW_JS).map(|_: Asked| follow_js());
    events.or(script).unify().boxed()
}

/// Events as they happen, or a page of them
///
/// Server-sent events: `id` is the log's id and the event's position, `event` its type, `data` its envelope.
/// The place to begin is `Last-Event-ID`, else `after`, else `from`, else the newest event. Frames of the
/// stream's own are `stream.opened`, `stream.reset`, `stream.bookmark` and `stream.closing`.
///
/// With `follow=false` a page of envelopes, one a line, that begins with the oldest event unless told otherwise;
/// `X-Next-After` is the `after` of the next page, `X-Head` the newest event, `X-Log-Id` the log's id.
#[utoipa::path(
    get,
    path = routes::EVENTS.path,
    tag = "service",
    params(
        ("Last-Event-ID" = Option<String>, Header, description = "The last frame's `id`; goes before `after`"),
        ("after" = Option<String>, Query, description = "Begin behind this position, or this frame's `id`"),
        ("from" = Option<String>, Query, description = "Begin with the `earliest` or behind the `latest` event"),
        ("types" = Option<String>, Query, description = "Only these types, separated by commas"),
        ("template" = Option<u32>, Query, description = "Only about this template and its containers"),
        ("vmid" = Option<u32>, Query, description = "Only about this container"),
        ("instance" = Option<String>, Query, description = "Only about this instance and what it holds"),
        ("follow" = Option<bool>, Query, description = "False for a page of what there is"),
        ("limit" = Option<u64>, Query, description = "Events of a page, at most 1000; 100 if absent"),
    ),
    responses((status = 200, description = "The events", content(
        (String = "text/event-stream"),
        (String = "application/x-ndjson"),
    ))),
)]
pub(super) async fn events(
    streams: &Streams,
    asked: &Asked,
    headers: &HeaderMap,
    stalled: Stalled,
) -> Result<Response, Problem> {
    let query = &asked.query;
    query.only(&PARAMETERS).map_err(|problem| Problem { code: Code::UnknownFilter, ..problem })?;
    let filter = Filter::of(query)?;
    let follow = query.flag("follow")?.unwrap_or(true);
    let limit = query.number("limit", 1, page::MOST)?;
    let place = place(query, headers)?;
    if !follow {
        return page::page(streams, place, filter, limit).await;
    }
    if limit.is_some() {
        return Err(Problem::field("limit", "expected only with follow=false"));
    }
    let Some(seat) = figures::Seat::take(&streams.0.figures, streams.0.max_streams, stalled) else {
        let most = streams.0.max_streams;
        let problem = Problem::new(Code::TooManyStreams, format!("{most} follow the events already"));
        return Err(problem.retry_after(RETRY_FULL));
    };
    let mut response = stream::answer(streams, seat, place, filter).await;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

/// The header wins: an EventSource that reconnects sends it to the address that it was first given.
fn place(query: &Query, headers: &HeaderMap) -> Result<Place, Problem> {
    let last = headers.get(LAST_EVENT_ID).map(HeaderValue::as_bytes).filter(|last| !last.is_empty());
    if let Some(last) = last {
        return Ok(Place::of_header(last));
    }
    Place::of_query(query.text("after"), query.text("from"))
}

/// A script that follows events in a browser
///
/// An ES module with one function: `follow(url, handlers)`.
#[utoipa::path(
    get,
    path = routes::FOLLOW_JS.path,
    tag = "service",
    responses((status = 200, description = "The script", body = String, content_type = "text/javascript")),
)]
pub(super) fn follow_js() -> Response {
    let mut response = Response::new(FOLLOW_JS.into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/javascript; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
