//! The lines that come out, against files, a service, and a service that breaks off.

use std::convert::Infallible;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use ulid::Ulid;
use url::Url;

use super::*;
use crate::domain::event::{Cause, Envelope, PveReachable, PveUnreachable};
use crate::domain::state::State;
use crate::http::events::tests::{NOW, service};
use crate::log::{Options, open};

fn wanted(since: Option<&str>, types: &[&str]) -> Wanted {
    let types = types.iter().map(|it| it.parse().unwrap()).collect();
    Wanted { follow: false, since: since.map(|it| it.parse().unwrap()), types }
}

/// What is printed as JSON, by position, and the remarks.
struct Printed {
    out: Vec<u8>,
    remarks: Vec<u8>,
}

impl Printed {
    fn new() -> Self {
        Self { out: Vec::new(), remarks: Vec::new() }
    }

    fn printer(&mut self) -> Printer<'_> {
        Printer { out: &mut self.out, remarks: &mut self.remarks, json: true, colour: false }
    }

    fn seqs(&self) -> Vec<u64> {
        let lines = std::str::from_utf8(&self.out).unwrap().lines();
        lines
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["seq"].as_u64().unwrap())
            .collect()
    }
}

fn events() -> Vec<Envelope> {
    let event = |seq: u64| match seq % 2 {
        0 => PveReachable {}.into(),
        _ => PveUnreachable { reason: "connection \"refused\"\n".to_owned() }.into(),
    };
    let envelope = |seq: u64| Envelope {
        seq: Seq(seq),
        id: Ulid(u128::from(seq)),
        at: Timestamp(NOW.0 + i64::try_from(seq).unwrap()),
        event: event(seq),
        cause: (seq == 3).then_some(Cause::Event(Seq(1))),
        more: seq == 5,
    };
    (1..=6).map(envelope).collect()
}

#[test]
fn files_give_the_lines_of_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open::<State>(dir.path(), Options::new(1, "test")).unwrap();
    let mut batches: Vec<_> = events().chunks(1).map(<[_]>::to_vec).collect();
    let last = batches.pop().unwrap();
    batches[4].extend(last);
    opened.writer.append(&batches).unwrap();
    let mut printed = Printed::new();
    offline(dir.path(), &wanted(None, &[]), &mut printed.printer()).unwrap();
    let records = opened.reader.read(Seq(0), 100, Seq(100)).unwrap();
    let lines: Vec<_> = records.iter().map(|record| &*record.json).collect();
    assert_eq!(std::str::from_utf8(&printed.out).unwrap(), lines.join("\n") + "\n");

    let cases: [(Option<&str>, &[&str], &[u64]); 5] = [
        (Some("5"), &[], &[5, 6]),
        (Some("2026-11-24T03:06:19.005Z"), &[], &[5, 6]),
        (Some("2026-11-24T04:06:19.003+01:00"), &["PveReachable"], &[4, 6]),
        (None, &["pveunreachable"], &[1, 3, 5]),
        (Some("7"), &[], &[]),
    ];
    for (since, types, expected) in cases {
        let mut printed = Printed::new();
        offline(dir.path(), &wanted(since, types), &mut printed.printer()).unwrap();
        assert_eq!(printed.seqs(), expected, "{since:?} {types:?}");
    }
    let follow = Wanted { follow: true, ..Wanted::default() };
    let refused = offline(dir.path(), &follow, &mut printed.printer());
    assert!(matches!(refused, Err(TailError::FilesDoNotFollow)));
    let none = offline(&dir.path().join("x"), &Wanted::default(), &mut printed.printer());
    assert!(matches!(none, Err(TailError::Log(_))));
}

async fn listen() -> (TcpListener, Url) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/pool/", listener.local_addr().unwrap()).parse().unwrap();
    (listener, url)
}

fn at(url: &Url) -> Service {
    Service::new(url, Some("secret".to_owned()), fastrand::Rng::with_seed(7)).unwrap()
}

#[tokio::test]
async fn a_service_gives_the_same_page_by_page() {
    let mut service = service();
    service.happen_often(2100);
    let (listener, mut url) = listen().await;
    url.set_path("");
    let front = service.front.clone();
    tokio::spawn(crate::http::serve(listener, front, std::future::pending()));
    let cases: [(Option<&str>, &[&str], u64, usize); 6] = [
        (None, &[], 1, 2100),
        (None, &["PveReachable"], 2, 1050),
        (Some("1500"), &[], 1500, 601),
        (Some("2026-11-24T03:06:20.000Z"), &[], 1000, 1101),
        (Some("2026-11-24T03:06:21.100Z"), &[], 2100, 1),
        (Some("2020-01-01T00:00:00Z"), &[], 1, 2100),
    ];
    for (since, types, first, count) in cases {
        let mut printed = Printed::new();
        online(at(&url), &wanted(since, types), &mut printed.printer()).await.unwrap();
        let seqs = printed.seqs();
        assert_eq!((seqs.first(), seqs.len()), (Some(&first), count), "{since:?} {types:?}");
        assert!(seqs.is_sorted());
    }
    for since in ["2101", "2030-01-01T00:00:00Z"] {
        let mut printed = Printed::new();
        online(at(&url), &wanted(Some(since), &[]), &mut printed.printer()).await.unwrap();
        assert_eq!(printed.seqs(), [0; 0]);
    }
    let ahead = online(at(&url), &wanted(Some("5000"), &[]), &mut Printed::new().printer()).await;
    assert!(matches!(ahead, Err(TailError::Refused { status: 410, .. })), "{ahead:?}");
}

/// The next request: its first line, once its head is there.
async fn request(listener: &TcpListener) -> (TcpStream, String) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.contains("authorization: Bearer secret"), "{head}");
    (stream, head.lines().next().unwrap().to_owned())
}

fn frame(seq: u64, event: &str) -> String {
    format!("id: 0badcafe.{seq}\nevent: {event}\ndata: {{\"seq\":{seq}}}\n\n")
}

async fn answer(stream: &mut TcpStream, body: &str) {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
}

/// A service that breaks off in every way; ends by saying that it wants no one any more.
async fn moody(listener: TcpListener) -> Result<Infallible, Vec<String>> {
    let mut asked = Vec::new();
    let bodies = [
        format!("retry: 1\n{}{}", frame(4, "stream.opened"), frame(5, "Allocated")),
        format!("{}{}id: 0badcafe.7\nevent: Rel", frame(5, "stream.opened"), frame(6, "Released")),
        format!("retry: 2\n{}{}", frame(6, "stream.opened"), frame(9, "stream.bookmark")),
        format!("retry: 2\n{}{}", frame(9, "stream.opened"), frame(20, "stream.reset")),
        format!("retry: 2\n{}{}", frame(20, "stream.opened"), frame(21, "Removed")),
    ];
    for body in bodies {
        let (mut stream, line) = request(&listener).await;
        asked.push(line);
        answer(&mut stream, &body).await;
        drop(stream);
        // A proxy's word while the service restarts.
        let (mut stream, _) = if body.contains("Removed") { break } else { request(&listener).await };
        stream
            .write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
    }
    let (mut stream, line) = request(&listener).await;
    asked.push(line);
    let body = r#"{"detail":"No more"}"#;
    let head = format!("HTTP/1.1 403 Forbidden\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    Err(asked)
}

#[tokio::test]
async fn a_broken_stream_is_gone_on_from_where_it_was() {
    let (listener, url) = listen().await;
    let server = tokio::spawn(moody(listener));
    let follow = Wanted { follow: true, ..wanted(None, &["Allocated", "Released", "Removed"]) };
    let mut printed = Printed::new();
    let quick = at(&url).pausing(Duration::from_millis(1));
    let ended = online(quick, &follow, &mut printed.printer()).await;
    assert!(
        matches!(&ended, Err(TailError::Refused { status: 403, detail, .. }) if detail == "No more"),
        "{ended:?}"
    );
    assert_eq!(printed.seqs(), [5, 6, 21]);
    let asked = server.await.unwrap().unwrap_err();
    let places = [
        "",
        "after=0badcafe.5&",
        "after=0badcafe.6&",
        "after=0badcafe.9&",
        "after=0badcafe.20&",
        "after=0badcafe.21&",
    ];
    let expected =
        places.map(|place| format!("GET /pool/events?{place}types=Allocated%2CReleased%2CRemoved HTTP/1.1"));
    assert_eq!(asked, expected);
    let remarks = String::from_utf8(printed.remarks).unwrap();
    assert!(remarks.contains("events are left out here"), "{remarks}");
    assert_eq!(remarks.matches("502").count(), 4, "{remarks}");
}

#[tokio::test]
async fn the_first_connection_must_work() {
    let follow = Wanted { follow: true, ..Wanted::default() };
    let (listener, url) = listen().await;
    drop(listener);
    let ended = online(at(&url), &follow, &mut Printed::new().printer()).await;
    assert!(matches!(ended, Err(TailError::Unreachable { .. })), "{ended:?}");

    let (listener, url) = listen().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = request(&listener).await;
        answer(&mut stream, "<html>\n").await;
    });
    let ended = online(at(&url), &follow, &mut Printed::new().printer()).await;
    assert!(matches!(ended, Err(TailError::NotOurs { .. })), "{ended:?}");
    server.await.unwrap();
}

#[test]
fn words_of_the_command_line() {
    assert_eq!("42".parse(), Ok(Since::Seq(Seq(42))));
    assert_eq!("2026-11-24T03:06:19Z".parse(), Ok(Since::Time(NOW)));
    assert!("yesterday".parse::<Since>().is_err());
    assert_eq!("clonefailed".parse(), Ok(EventType("CloneFailed")));
    assert!("CloneFaild".parse::<EventType>().unwrap_err().contains("CloneFailed"));
}
