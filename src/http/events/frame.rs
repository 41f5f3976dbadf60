//! How frames are written. Every frame has `data` and an `id`, but for a first one that a reset follows: who
//! lost the connection between the two would go on from the head and never hear of the reset.
//!
//! Some clients take a frame without data for nothing, others for a new place: with data all agree.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::start::{Extent, Reset, Start};
use crate::domain::ids::Seq;
use crate::log::Record;

/// Where a client that was reset finds the pool as it is now, relative to where it follows.
const SNAPSHOT: &str = "status";

/// An event.
pub(super) fn event(out: &mut String, log_id: u32, record: &Record) {
    let seq = record.envelope.seq;
    frame(out, log_id, seq, record.envelope.event.type_name(), &record.json);
}

/// The first frames of a stream.
pub(super) fn opening(log: Extent, start: Start, retry: Duration) -> String {
    #[derive(Serialize)]
    struct Opened<'a> {
        log_id: &'a str,
        head: Seq,
        oldest: Seq,
        resumed_from: Option<Seq>,
    }
    let (cursor, resumed_from) = match start {
        Start::Live => (Some(log.head), None),
        Start::Lost(_) => (None, None),
        Start::Resumed(after) => (Some(after), Some(after)),
    };
    let log_id = format!("{:08x}", log.log_id);
    let opened = Opened { log_id: &log_id, head: log.head, oldest: log.oldest, resumed_from };
    let mut out = format!("retry: {}\n", retry.as_millis());
    match cursor {
        Some(cursor) => frame(&mut out, log.log_id, cursor, "stream.opened", &json(&opened)),
        None => fields(&mut out, "stream.opened", &json(&opened)),
    }
    out
}

/// It cannot be gone on from where it was asked for; what follows is behind the head.
pub(super) fn reset(log: Extent, reason: Reset) -> String {
    #[derive(Serialize)]
    struct ResetTo {
        reason: Reset,
        oldest: Seq,
        head: Seq,
        snapshot: &'static str,
    }
    let data = ResetTo { reason, oldest: log.oldest, head: log.head, snapshot: SNAPSHOT };
    let mut out = String::new();
    frame(&mut out, log.log_id, log.head, "stream.reset", &json(&data));
    out
}

/// Everything up to here was sent or did not pass.
pub(super) fn bookmark(log_id: u32, cursor: Seq, head: Seq) -> String {
    #[derive(Serialize)]
    struct Bookmark {
        seq: Seq,
        head: Seq,
    }
    let mut out = String::new();
    frame(&mut out, log_id, cursor, "stream.bookmark", &json(&Bookmark { seq: cursor, head }));
    out
}

/// The service ends the stream; the client is to come back after `retry`.
pub(super) fn closing(log_id: u32, cursor: Seq, reason: &str, retry: Duration) -> String {
    #[derive(Serialize)]
    struct Closing<'a> {
        reason: &'a str,
        retry_ms: u128,
    }
    let retry_ms = retry.as_millis();
    let mut out = format!("retry: {retry_ms}\n");
    frame(&mut out, log_id, cursor, "stream.closing", &json(&Closing { reason, retry_ms }));
    out
}

fn frame(out: &mut String, log_id: u32, seq: Seq, name: &str, data: &str) {
    // Writing to a String does not fail.
    let _ = writeln!(out, "id: {log_id:08x}.{seq}");
    fields(out, name, data);
}

fn fields(out: &mut String, name: &str, data: &str) {
    let _ = write!(out, "event: {name}\ndata: {data}\n\n");
}

fn json<T: Serialize>(data: &T) -> String {
    serde_json::to_string(data).unwrap_or_else(|_| "{}".to_owned())
}
