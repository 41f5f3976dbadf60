//! A page of events as NDJSON: what a program wants that comes by from time to time.

use warp::http::header::CONTENT_TYPE;
use warp::http::{HeaderName, HeaderValue};
use warp::reply::Response;

use super::Streams;
use super::filter::Filter;
use super::start::{Extent, Place, Reset, Start};
use crate::domain::ids::Seq;
use crate::engine::Published;
use crate::http::codes::Code;
use crate::http::errors::{EventRange, Problem};
use crate::log::{ReadError, Reader};

/// Most events of a page.
pub(super) const MOST: u64 = 1000;
/// Events of a page unless said otherwise.
const USUAL: u64 = 100;
/// A page ends behind so many bytes; the next goes on.
const MOST_BYTES: usize = 1024 * 1024;
/// Events looked through for a page, if few pass: about a quarter of a second.
const MOST_LOOKED_AT: u64 = 100_000;
/// Records read at once.
const PAGE: usize = 1024;

const NEXT_AFTER: HeaderName = HeaderName::from_static("x-next-after");
const HEAD: HeaderName = HeaderName::from_static("x-head");
const LOG_ID: HeaderName = HeaderName::from_static("x-log-id");

/// A page, and behind which event the next begins.
struct Page {
    lines: String,
    cursor: Seq,
}

/// The page that begins at `place`.
pub(super) async fn page(
    streams: &Streams,
    place: Place,
    mut filter: Filter,
    limit: Option<u64>,
) -> Result<Response, Problem> {
    let place = if place == Place::Unsaid { Place::Earliest } else { place };
    let Published { state, head, .. } = streams.0.published.borrow().clone();
    let reader = streams.0.reader.clone();
    let log = Extent { log_id: reader.log_id(), oldest: reader.oldest(), head };
    let after = match place.start(log) {
        Start::Live => log.head,
        Start::Resumed(after) => after,
        Start::Lost(reason) => return Err(lost(reason, log)),
    };
    let limit = limit.unwrap_or(USUAL);
    let read = streams.on_disk(move || {
        if filter.has_scopes() && after < log.head {
            filter.begin_behind(after, head, &state, &reader);
        }
        read(&reader, &mut filter, after, limit, log.head)
    });
    let page = read.await.map_err(|error| unreadable(&error, log))?;
    let mut response = Response::new(page.lines.into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    headers.insert(NEXT_AFTER, HeaderValue::from(page.cursor.0));
    headers.insert(HEAD, HeaderValue::from(log.head.0));
    if let Ok(log_id) = HeaderValue::from_str(&streams.log_id()) {
        headers.insert(LOG_ID, log_id);
    }
    Ok(response)
}

fn read(reader: &Reader, filter: &mut Filter, after: Seq, limit: u64, head: Seq) -> Result<Page, ReadError> {
    let mut page = Page { lines: String::new(), cursor: after };
    let mut events = 0;
    while page.cursor < head && page.cursor.0 - after.0 < MOST_LOOKED_AT {
        let wanted = if filter.wants_all() { usize::try_from(limit - events).unwrap_or(PAGE) } else { PAGE };
        let records = reader.read(page.cursor, wanted, head)?;
        if records.is_empty() {
            break;
        }
        for record in records {
            page.cursor = record.envelope.seq;
            if !filter.passes(&record.envelope) {
                continue;
            }
            page.lines.push_str(&record.json);
            page.lines.push('\n');
            events += 1;
            if events == limit || page.lines.len() >= MOST_BYTES {
                return Ok(page);
            }
        }
    }
    Ok(page)
}

fn lost(reason: Reset, log: Extent) -> Problem {
    let Extent { oldest, head, .. } = log;
    let (code, detail) = match reason {
        Reset::Pruned => (Code::EventsPruned, format!("the log begins with event {oldest}")),
        Reset::Future => (Code::EventsElsewhere, format!("the log ends with event {head}")),
        Reset::OtherLog | Reset::UnreadableId | Reset::Damaged => {
            (Code::EventsElsewhere, format!("the log is {:08x}", log.log_id))
        }
    };
    let detail = format!("{detail}; take up GET /status and go on behind its head");
    Problem { events: Some(EventRange { oldest, head }), ..Problem::new(code, detail) }
}

fn unreadable(error: &ReadError, log: Extent) -> Problem {
    match error {
        ReadError::Pruned { oldest } => lost(Reset::Pruned, Extent { oldest: *oldest, ..log }),
        ReadError::Damaged { .. } | ReadError::Io { .. } => {
            tracing::error!(%error, "a page of events could not be read");
            Problem::new(Code::Internal, error.to_string())
        }
    }
}
