//! The stream from the outside: over a real log in memory, beside an engine that the tests play.

mod ends;
mod filters;
mod following;
mod pages;
mod places;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use serde_json::Value;
use ulid::Ulid;
use warp::http::{HeaderMap, Request, StatusCode};

use super::*;
use crate::clock::Clock;
use crate::desk::played::{self, Played};
use crate::desk::{Desk, Patience};
use crate::domain::event::{Envelope, Event, PveReachable, PveUnreachable};
use crate::domain::ids::Seq;
use crate::domain::state::State;
use crate::domain::time::Timestamp;
use crate::http::limits::Limits;
use crate::http::{App, Front, Guards};
use crate::log::{Memory, Options, Writer, open_in_memory};
use crate::tail::sse::{Frame, Parser};

/// 2026-11-24T03:06:19.000Z
pub(crate) const NOW: Timestamp = Timestamp(1_795_489_579_000);
const LOG_ID: &str = "0badcafe";

/// A service that has nothing but events.
pub(crate) struct Service {
    writer: Writer,
    state: State,
    played: Played,
    streams: Streams,
    pub(crate) front: Front,
    pub(crate) closing: CancellationToken,
}

/// An answer whose body is still coming.
struct Follower {
    status: StatusCode,
    headers: HeaderMap,
    body: Pin<Box<dyn Body<Data = Bytes, Error = warp::Error> + Send>>,
    parser: Parser,
    frames: VecDeque<Frame>,
}

fn small() -> Options {
    Options { recent_records: 7, segment_bytes: 4000, ..Options::new(0x0bad_cafe, "test") }
}

fn service_with(options: Options, max_streams: usize) -> Service {
    let opened = open_in_memory::<State>(&Memory::default(), options);
    let (engine, played) = played::engine(State::default());
    played.publish(|published| published.head = Seq(0));
    let unread = Arc::new(|_| -> futures_util::future::BoxFuture<'static, _> { unreachable!() });
    let desk = Desk::new(engine.clone(), Clock::virtual_from(NOW), unread, Patience::default());
    let closing = CancellationToken::new();
    let chance = fastrand::Rng::with_seed(7);
    let streams = Streams::new(&engine, opened.reader.clone(), max_streams, chance.clone(), closing.clone());
    let app = App::new(desk, Limits::default(), opened.reader);
    let front = Front::new(app, Guards::default(), chance, [room(&streams)]);
    Service { writer: opened.writer, state: opened.projection, played, streams, front, closing }
}

pub(crate) fn service() -> Service {
    service_with(small(), 100)
}

impl Service {
    /// Makes a batch durable and tells nobody.
    fn append(&mut self, events: impl IntoIterator<Item = Event>) {
        let events: Vec<_> = events.into_iter().collect();
        let head = self.writer.head().0;
        let batch: Vec<_> = (head + 1..)
            .zip(events.iter())
            .map(|(seq, event)| Envelope {
                seq: Seq(seq),
                id: Ulid(u128::from(seq)),
                at: Timestamp(NOW.0 + i64::try_from(seq).unwrap()),
                event: event.clone(),
                cause: None,
                more: seq < head + events.len() as u64,
            })
            .collect();
        for envelope in &batch {
            self.state.apply(envelope);
        }
        self.writer.append(&[batch]).unwrap();
    }

    /// Tells everybody.
    fn publish(&self) {
        let (state, head) = (Arc::new(self.state.clone()), self.writer.head());
        self.played.publish(|published| (published.state, published.head) = (state, head));
    }

    pub(crate) fn happen(&mut self, events: impl IntoIterator<Item = Event>) {
        self.append(events);
        self.publish();
    }

    /// So many events, one batch each.
    pub(crate) fn happen_often(&mut self, count: u64) {
        for nth in 0..count {
            let reason = "connection refused\n".to_owned();
            let event = if nth % 2 == 0 { PveUnreachable { reason }.into() } else { PveReachable {}.into() };
            self.happen([event]);
        }
    }

    async fn ask(&self, target: &str, headers: &[(&str, &str)]) -> warp::reply::Response {
        let mut request = Request::builder().uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.front.answer(request.body(Full::new(Bytes::new())).unwrap()).await
    }

    async fn follow(&self, target: &str) -> Follower {
        self.resume(target, None).await
    }

    async fn resume(&self, target: &str, last: Option<&str>) -> Follower {
        let headers: Vec<_> = last.map(|last| ("last-event-id", last)).into_iter().collect();
        let response = self.ask(target, &headers).await;
        Follower::of(response)
    }

    /// An answer that ends, as JSON.
    async fn problem(&self, target: &str) -> (u16, String, Value) {
        let response = self.ask(target, &[]).await;
        let status = response.status().as_u16();
        let body: Value =
            serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap();
        (status, body["code"].as_str().unwrap().to_owned(), body)
    }
}

impl Follower {
    fn of(response: warp::reply::Response) -> Self {
        let (parts, body) = response.into_parts();
        Self {
            status: parts.status,
            headers: parts.headers,
            body: Box::pin(body),
            parser: Parser::default(),
            frames: VecDeque::new(),
        }
    }

    /// The next chunk as it is sent.
    async fn chunk(&mut self) -> Option<Bytes> {
        Some(self.body.frame().await?.unwrap().into_data().unwrap())
    }

    /// The next frame; none at the end.
    async fn next(&mut self) -> Option<Frame> {
        while self.frames.is_empty() {
            let chunk = self.chunk().await?;
            assert!(!chunk.starts_with(b":") && !chunk.windows(2).any(|pair| pair == b"\n:"), "{chunk:?}");
            self.frames.extend(self.parser.push(&chunk).unwrap());
        }
        self.frames.pop_front()
    }

    /// The next frame, which is of that name, as its place and its data.
    async fn expect(&mut self, name: &str) -> (String, Value) {
        let frame = self.next().await.unwrap_or_else(|| panic!("the stream ended before {name}"));
        assert_eq!(frame.event, name, "{frame:?}");
        (frame.id, serde_json::from_str(&frame.data).unwrap())
    }

    /// Positions of the events up to `last`.
    async fn events_to(&mut self, last: u64) -> Vec<u64> {
        let mut seqs = Vec::new();
        while seqs.last() != Some(&last) {
            let Some(frame) = self.next().await else { panic!("the stream ended at {seqs:?}") };
            if frame.event.starts_with("stream.") {
                assert_eq!(frame.event, "stream.bookmark");
                assert_ne!(frame.id, id(last), "event {last} did not come: {seqs:?}");
                continue;
            }
            let data: Value = serde_json::from_str(&frame.data).unwrap();
            let seq = data["seq"].as_u64().unwrap();
            assert_eq!((frame.id, frame.event.as_str()), (id(seq), data["type"].as_str().unwrap()));
            seqs.push(seq);
        }
        seqs
    }
}

fn id(seq: u64) -> String {
    format!("{LOG_ID}.{seq}")
}

fn range(first: u64, last: u64) -> Vec<u64> {
    (first..=last).collect()
}
