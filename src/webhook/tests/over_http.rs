//! Over a real socket: what stands in the request, and answers that are late, long, cut off or elsewhere.

use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// What one receiver got, and what it says to that, byte by byte.
struct Socket {
    listener: TcpListener,
    url: String,
}

impl Socket {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?x=1", listener.local_addr().unwrap());
        Self { listener, url }
    }

    /// Sends a test event to it.
    fn sending(&self, timeout: Duration) -> JoinHandle<Ended> {
        let guard = Guard::new(["127.0.0.0/8".parse().unwrap()]);
        let post = client::post(guard, &client::system_lookup()).unwrap();
        let target = Endpoint { url: self.url.parse().unwrap(), timeout, ..endpoint("a") };
        let message = Message::test(&target.name, Ulid::from_parts(1, 2), EPOCH);
        tokio::spawn(post(message.attempt(&Arc::new(target), EPOCH)))
    }

    /// Takes one request and answers with these bytes; the connection stays open until the return is dropped.
    async fn answer(&self, bytes: &[u8]) -> (String, tokio::net::TcpStream) {
        let (mut stream, _) = self.listener.accept().await.unwrap();
        let mut got = Vec::new();
        while !got.ends_with(b"}") {
            assert!(stream.read_buf(&mut got).await.unwrap() > 0, "{}", String::from_utf8_lossy(&got));
        }
        stream.write_all(bytes).await.unwrap();
        (String::from_utf8(got).unwrap(), stream)
    }
}

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_request_is_what_the_specification_asks_for() {
    let socket = Socket::new().await;
    let sending = socket.sending(LONG);
    let (got, _open) = socket.answer(b"HTTP/1.1 204 No Content\r\n\r\n").await;
    let ended = sending.await.unwrap();
    assert_eq!((ended.result, ended.status), (AttemptResult::Delivered, Some(204)));
    let (head, body) = got.split_once("\r\n\r\n").unwrap();
    let (line, headers) = head.split_once("\r\n").unwrap();
    assert_eq!(line, "POST /hook?x=1 HTTP/1.1");
    let header = |name: &str| {
        let found = headers.lines().filter_map(|line| line.split_once(": "));
        found.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next().unwrap()
    };
    assert_eq!(header("content-type"), "application/json");
    assert_eq!(header("webhook-id"), Ulid::from_parts(1, 2).to_string());
    assert_eq!(header("webhook-timestamp"), (EPOCH.0 / 1000).to_string());
    let key = standardwebhooks::Webhook::new(KEY).unwrap();
    let expected = key.sign(header("webhook-id"), EPOCH.0 / 1000, body.as_bytes()).unwrap();
    assert_eq!(header("webhook-signature"), expected);
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        (&body["type"], &body["data"]["endpoint"]),
        (&serde_json::json!(TEST_TYPE), &serde_json::json!("a"))
    );
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_not_followed() {
    let (socket, elsewhere) = (Socket::new().await, Socket::new().await);
    for status in ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let sending = socket.sending(LONG);
        let to = format!("HTTP/1.1 {status}\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", elsewhere.url);
        let _open = socket.answer(to.as_bytes()).await;
        assert_eq!(sending.await.unwrap().result, AttemptResult::Redirected, "{status}");
    }
    assert!(elsewhere.listener.accept().now_or_never().is_none());
}

#[tokio::test]
async fn silence_ends_at_the_endpoints_own_limit() {
    let socket = Socket::new().await;
    let sending = socket.sending(Duration::from_millis(100));
    let _open = socket.answer(b"HTTP/1.1 200 OK\r\nx-slow: ").await;
    assert_eq!(sending.await.unwrap().result, AttemptResult::TimedOut);
}

#[tokio::test]
async fn a_body_that_drips_or_does_not_end_takes_nothing_back() {
    let socket = Socket::new().await;
    let sending = socket.sending(Duration::from_millis(200));
    let _open = socket.answer(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nx").await;
    assert_eq!(sending.await.unwrap().result, AttemptResult::Delivered);
}

#[tokio::test]
async fn of_a_long_answer_little_is_read_and_less_is_kept() {
    let socket = Socket::new().await;
    let sending = socket.sending(LONG);
    let mut answer = b"HTTP/1.1 500 Oops\r\ncontent-length: 100000000\r\n\r\n".to_vec();
    answer.extend(b"no\nwonder\x1b[31m ".repeat(1024));
    let _open = socket.answer(&answer).await;
    // The rest never comes: it is not waited for.
    let ended = sending.await.unwrap();
    assert_eq!(ended.result, AttemptResult::Failed);
    assert!(ended.reason.starts_with("status 500: no wonder [31m no"), "{}", ended.reason);
    assert!(ended.reason.len() < 250 && !ended.reason.contains('\x1b'));
}

#[tokio::test]
async fn a_connection_that_is_cut_or_refused_is_a_failure() {
    let socket = Socket::new().await;
    let sending = socket.sending(LONG);
    drop(socket.answer(b"").await);
    assert_eq!(sending.await.unwrap().result, AttemptResult::Unreachable);
    let Socket { listener, url } = socket;
    drop(listener);
    let target = Socket { listener: TcpListener::bind("127.0.0.1:0").await.unwrap(), url };
    let ended = target.sending(LONG).await.unwrap();
    assert_eq!(ended.result, AttemptResult::Unreachable);
    assert!(!ended.reason.contains("/hook"), "{}", ended.reason);
}

#[tokio::test]
async fn retry_after_is_passed_on() {
    let socket = Socket::new().await;
    let sending = socket.sending(LONG);
    let answer = b"HTTP/1.1 429 Slow\r\nretry-after: 120\r\ncontent-length: 0\r\n\r\n";
    let _open = socket.answer(answer).await;
    let ended = sending.await.unwrap();
    assert_eq!(ended.leave_alone(EPOCH), Some(Duration::from_mins(2)));
}

/// The whole of it over HTTP: bodies are whole and verified, as any receiver would.
#[tokio::test]
async fn a_receiver_verifies_what_it_gets_with_the_crate() {
    let socket = Socket::new().await;
    let guard = Guard::new(["127.0.0.0/8".parse().unwrap()]);
    let post = client::post(guard, &client::system_lookup()).unwrap();
    let target = Arc::new(Endpoint { url: socket.url.parse().unwrap(), ..endpoint("a") });
    let now = Clock::system().now();
    let message = Message::test(&target.name, Ulid::from_parts(1, 2), now);
    let sending = tokio::spawn(post(message.attempt(&target, now)));
    let (stream, _) = socket.listener.accept().await.unwrap();
    let verify = hyper::service::service_fn(|request: http::Request<hyper::body::Incoming>| async move {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let key = standardwebhooks::Webhook::new(KEY).unwrap();
        let status = if key.verify(&body, &parts.headers).is_ok() { 204 } else { 400 };
        let response = http::Response::builder().status(status).body(String::new()).unwrap();
        Ok::<_, hyper::Error>(response)
    });
    let stream = hyper_util::rt::TokioIo::new(stream);
    let serving = tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(stream, verify));
    assert_eq!(sending.await.unwrap().status, Some(204));
    serving.abort();
}
