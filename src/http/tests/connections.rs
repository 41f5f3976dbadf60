//! Real sockets: how many, how slow, and how they end.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::desk::played::{allocation_id, decided, running};
use crate::domain::command::Reply;

const ALLOCATE: &str =
    "POST /allocate HTTP/1.1\r\nhost: x\r\ncontent-length: 22\r\n\r\n{\"template_vmid\":9009}";
const HEALTH: &str = "GET /health HTTP/1.1\r\nhost: x\r\n\r\n";
const RELEASE: &str = "POST /release/205 HTTP/1.1\r\nhost: x\r\n\r\n";

struct Served {
    address: std::net::SocketAddr,
    played: Played,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

async fn served(limits: Limits) -> Served {
    let (front, played) = front_with(running(), Guards::default(), limits);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let ended = tokio::spawn(crate::http::serve(listener, front, async {
        let _ = stopped.await;
    }));
    Served { address, played, stop, ended }
}

impl Served {
    async fn connect(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }
}

/// Everything until the other side closes; nothing if it does so rudely.
async fn rest(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    let _ = stream.read_to_end(&mut read).await;
    String::from_utf8(read).unwrap()
}

async fn first(stream: &mut TcpStream) -> String {
    let mut read = vec![0; 4096];
    let length = stream.read(&mut read).await.unwrap();
    String::from_utf8_lossy(&read[..length]).into_owned()
}

#[tokio::test]
async fn a_closed_socket_leaves_the_line() {
    let mut served = served(Limits::default()).await;
    let stream = served.connect(ALLOCATE).await;
    let (_, mut end) = served.played.begin(Reply::Allocating { allocation_id: allocation_id() }).await;
    drop(stream);
    end.closed().await;
}

#[tokio::test]
async fn an_answer_under_way_is_finished_at_shutdown() {
    let mut served = served(Limits::default()).await;
    let mut idle = served.connect(HEALTH).await;
    assert!(first(&mut idle).await.starts_with("HTTP/1.1 200"));
    let mut busy = served.connect(RELEASE).await;
    let submission = served.played.next().await;
    served.stop.send(()).unwrap();
    // The idle connection is closed without a word while the other one is waited for.
    assert_eq!(rest(&mut idle).await, "");
    assert!(!served.ended.is_finished());
    submission.answer.send(Ok(decided(Reply::Done))).unwrap();
    let answer = rest(&mut busy).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
    served.ended.await.unwrap();
}

#[tokio::test]
async fn what_does_not_end_is_cut_after_the_grace() {
    let grace = Duration::from_millis(20);
    let mut served = served(Limits { shutdown_grace: grace, ..Limits::default() }).await;
    let mut busy = served.connect(RELEASE).await;
    let _submission = served.played.next().await;
    served.stop.send(()).unwrap();
    served.ended.await.unwrap();
    assert_eq!(rest(&mut busy).await, "");
}

#[tokio::test]
async fn beyond_the_limit_what_is_open_is_answered_and_the_rest_is_told_to_come_later() {
    let limits = Limits { max_connections: 1, max_turned_away: 1, ..Limits::default() };
    let served = served(limits).await;
    let mut inside = served.connect(HEALTH).await;
    assert!(first(&mut inside).await.starts_with("HTTP/1.1 200"));
    assert!(rest(&mut served.connect(HEALTH).await).await.starts_with("HTTP/1.1 200"));
    let refused = rest(&mut served.connect(ALLOCATE).await).await;
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    let refused = refused.to_ascii_lowercase();
    assert!(
        ["retry-after: 1", "overloaded", "connection: close"].iter().all(|it| refused.contains(it)),
        "{refused}"
    );
}

#[tokio::test]
async fn beyond_what_can_be_turned_away_a_connection_is_closed() {
    let served = served(Limits { max_connections: 1, max_turned_away: 0, ..Limits::default() }).await;
    let mut inside = served.connect(HEALTH).await;
    assert!(first(&mut inside).await.starts_with("HTTP/1.1 200"));
    assert_eq!(rest(&mut served.connect(HEALTH).await).await, "");
}

#[tokio::test]
async fn large_bodies_that_come_slowly_leave_room_for_small_ones() {
    let mut served = served(Limits { max_large_bodies: 1, ..Limits::default() }).await;
    let large =
        format!("POST /allocate HTTP/1.1\r\nhost: x\r\ncontent-length: 9000\r\n\r\n{}", " ".repeat(8000));
    // Whichever is read first has the only place, and keeps it.
    let (mut one, mut other) = (served.connect(&large).await, served.connect(&large).await);
    let (mut a, mut b) = ([0; 4096], [0; 4096]);
    let refused = tokio::select! { read = one.read(&mut a) => a[..read.unwrap()].to_vec(), read = other.read(&mut b) => b[..read.unwrap()].to_vec() };
    let refused = String::from_utf8(refused).unwrap();
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("overloaded"), "{refused}");
    let mut small = served.connect(ALLOCATE).await;
    let submission = served.played.next().await;
    submission.answer.send(Err(crate::engine::Refused::Overloaded)).unwrap();
    assert!(first(&mut small).await.starts_with("HTTP/1.1 503"));
}

#[tokio::test]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let served = served(Limits { head_timeout: Duration::from_millis(20), ..Limits::default() }).await;
    let mut silent = served.connect("").await;
    assert!(!rest(&mut silent).await.contains("200"));
    let mut slow = served.connect("GET /health HTTP/1.1\r\nhost").await;
    assert!(!rest(&mut slow).await.contains("200"));
    let mut between = served.connect(HEALTH).await;
    assert!(rest(&mut between).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let served = served(Limits { max_head_bytes: 8192, ..Limits::default() }).await;
    let mut stream = served.connect("GET /health HTTP/1.1\r\nhost: x\r\n").await;
    // The other side may have closed before all was sent.
    let _ = stream.write_all(format!("x: {}\r\n\r\n", "x".repeat(50_000)).as_bytes()).await;
    let answer = rest(&mut stream).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
}
