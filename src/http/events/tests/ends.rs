//! How streams end: too many, too old, too slow, and with the service.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;

use super::*;
use crate::clock::Stopwatch;
use crate::http::serve::{Welcome, converse};

#[tokio::test]
async fn one_too_many_is_told_to_come_back() {
    let service = service_with(small(), 2);
    let mut first = service.follow("/events").await;
    first.expect("stream.opened").await;
    let _second = service.follow("/events").await;
    let figures = service.streams.figures();
    assert_eq!(figures.subscribers(), 2);
    let (status, code, body) = service.problem("/events").await;
    assert_eq!((status, code.as_str()), (503, "too_many_streams"));
    assert_eq!(body["retry_after"], 5);
    assert_eq!(service.ask("/events?follow=false", &[]).await.status(), 200, "a page is no stream");
    drop(first);
    assert_eq!(service.follow("/events").await.status, 200);
    assert_eq!((figures.opened(), figures.refused(), figures.evicted()), (3, 1, 0));
    assert_eq!(figures.subscribers(), 1);
}

/// The last frame, its pause, and the end.
async fn closed(follower: &mut Follower, reason: &str) -> (String, Duration) {
    let (place, data) = follower.expect("stream.closing").await;
    assert_eq!(data["reason"], reason);
    let retry = follower.parser.retry().unwrap();
    assert_eq!(data["retry_ms"], u64::try_from(retry.as_millis()).unwrap());
    assert!((500..=5000).contains(&retry.as_millis()), "{retry:?}");
    assert_eq!(follower.next().await, None);
    (place, retry)
}

#[tokio::test]
async fn at_shutdown_everybody_gets_what_is_left_and_another_pause() {
    let mut service = service();
    let mut followers = Vec::new();
    for _ in 0..20 {
        let mut follower = service.follow("/events").await;
        follower.expect("stream.opened").await;
        followers.push(follower);
    }
    service.happen_often(3);
    service.closing.cancel();
    let mut pauses = std::collections::BTreeSet::new();
    for follower in &mut followers {
        assert_eq!(follower.events_to(3).await, [1, 2, 3]);
        let (place, retry) = closed(follower, "shutdown").await;
        assert_eq!(place, id(3));
        pauses.insert(retry);
    }
    assert!(pauses.len() > 10, "{pauses:?}");
}

#[tokio::test]
async fn who_is_far_behind_at_shutdown_comes_back_for_the_rest() {
    let mut service = service();
    service.happen_often(40);
    let mut behind = service.follow("/events?from=earliest").await;
    behind.expect("stream.opened").await;
    service.closing.cancel();
    assert_eq!(closed(&mut behind, "shutdown").await.0, id(0));
}

#[tokio::test]
async fn streams_end_with_the_engine() {
    let mut service = service();
    let mut follower = service.follow("/events").await;
    follower.expect("stream.opened").await;
    service.happen_often(2);
    drop(service.played);
    assert_eq!(follower.events_to(2).await, [1, 2]);
    closed(&mut follower, "shutdown").await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_after_about_an_hour() {
    let service = service();
    let mut ages = std::collections::BTreeSet::new();
    for _ in 0..8 {
        let watch = Stopwatch::start();
        let mut follower = service.follow("/events").await;
        follower.expect("stream.opened").await;
        loop {
            let frame = follower.next().await.unwrap();
            if frame.event == "stream.closing" {
                break;
            }
            assert_eq!(frame.event, "stream.bookmark");
        }
        assert_eq!(follower.next().await, None);
        let minutes = watch.elapsed().as_secs_f64() / 60.0;
        assert!((48.0..=72.5).contains(&minutes), "{minutes}");
        ages.insert(watch.elapsed().as_secs());
    }
    assert!(ages.len() > 4, "{ages:?}");
}

/// A connection with room for so many bytes on their way, that asked for the stream.
async fn connected(service: &Service, room: usize) -> (DuplexStream, JoinHandle<()>) {
    let (mut client, server) = duplex(room);
    let conversation =
        converse(server, service.front.clone(), Limits::default(), Welcome::Served, service.closing.clone());
    let conversation = tokio::spawn(conversation);
    client.write_all(b"GET /events?from=earliest HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    (client, conversation)
}

#[tokio::test(start_paused = true)]
async fn who_takes_nothing_for_30_seconds_is_ended_and_counted() {
    let mut service = service();
    service.happen_often(100);
    let watch = Stopwatch::start();
    let (client, conversation) = connected(&service, 1024).await;
    conversation.await.unwrap();
    let took = watch.elapsed();
    assert!((30_000..30_100).contains(&took.as_millis()), "{took:?}");
    let figures = service.streams.figures();
    assert_eq!((figures.evicted(), figures.subscribers()), (1, 0));
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn who_reads_slowly_is_waited_for() {
    let mut service = service();
    service.happen_often(100);
    let (mut client, conversation) = connected(&service, 1024).await;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_secs(25)).await;
        client.read_exact(&mut [0; 300]).await.unwrap();
    }
    assert!(!conversation.is_finished());
    let figures = service.streams.figures();
    assert_eq!((figures.evicted(), figures.subscribers()), (0, 1));
    // Whoever closes the connection leaves at once and is not counted as slow.
    drop(client);
    conversation.await.unwrap();
    assert_eq!((figures.evicted(), figures.subscribers()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn who_reads_everything_may_be_silent_for_long() {
    let service = service();
    let (mut client, conversation) = connected(&service, 64 * 1024).await;
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert!(!conversation.is_finished());
    let mut read = vec![0; 64 * 1024];
    let length = client.read(&mut read).await.unwrap();
    assert!(String::from_utf8_lossy(&read[..length]).contains("stream.bookmark"));
    assert_eq!(service.streams.figures().evicted(), 0);
}
