//! What goes over the wire, byte for byte, and what the client makes of PVE's odder answers.

use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use url::Url;

use crate::pve::http::IDLE_TIMEOUT;
use crate::pve::{Answer, HttpTransport, Method, Request, TlsOptions, Transport as _, Unanswered};

/// What the server says to each request that it reads on a connection, before it hangs up.
type Connection = Vec<&'static str>;

const OK: &str = "HTTP/1.1 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 13\r\n\
                  Content-Type: application/json;charset=UTF-8\r\n\r\n{\"data\":null}";
const OK_AND_CLOSE: &str = "HTTP/1.1 200 OK\r\nCache-Control: max-age=0\r\nConnection: close\r\n\
                            Connection: Keep-Alive\r\nContent-Length: 13\r\n\r\n{\"data\":null}";

/// Reads one request: its head, and as much body as the head announces.
pub(super) async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let announced = head.lines().find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned)
            });
            if body.len() >= announced.map_or(0, |length| length.parse().unwrap_or(0)) {
                return text;
            }
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return text,
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
        }
    }
}

/// A server that serves these connections one after the other, and hands back what it read.
async fn serve(connections: Vec<Connection>) -> (Url, JoinHandle<(Vec<String>, TcpListener)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let server = tokio::spawn(async move {
        let mut requests = Vec::new();
        for answers in connections {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            for answer in answers {
                requests.push(read_request(&mut stream).await);
                stream.write_all(answer.as_bytes()).await.expect("an open connection");
            }
        }
        (requests, listener)
    });
    (Url::parse(&url).expect("a URL"), server)
}

fn client(url: &Url) -> HttpTransport {
    let tls = TlsOptions { verify: false, ..TlsOptions::default() };
    HttpTransport::new(url, "pool@pve!svc=s3cret", &tls).expect("a client")
}

pub(super) fn request(method: Method, path: &str, params: &[(&str, &str)]) -> Request {
    let params = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Request { method, path: path.to_owned(), params }
}

/// One call of a server that answers once: the outcome, and what the server read.
async fn exchange(answer: &'static str, call: Request) -> (Result<Answer, Unanswered>, String) {
    let (url, server) = serve(vec![vec![answer]]).await;
    let outcome = client(&url).call(call).await;
    let (requests, listener) = server.await.expect("the server");
    assert!(listener.accept().now_or_never().is_none(), "the call was repeated");
    (outcome, requests.concat())
}

#[tokio::test]
async fn a_read_has_a_query_and_no_body() {
    for (method, verb) in [(Method::Get, "GET"), (Method::Delete, "DELETE")] {
        let call = request(method, "/nodes/pve1/lxc/201", &[("purge", "1"), ("x", "a;b&c=d+e f")]);
        let (outcome, sent) = exchange(OK, call).await;
        assert_eq!(
            outcome.expect("an answer"),
            Answer { status: 200, reason: "OK".to_owned(), body: br#"{"data":null}"#.to_vec() }
        );
        let line =
            format!("{verb} /api2/json/nodes/pve1/lxc/201?purge=1&x=a%3Bb%26c%3Dd%2Be%20f HTTP/1.1\r\n");
        assert!(sent.starts_with(&line), "{sent}");
        let head = sent.to_ascii_lowercase();
        assert!(!head.contains("content-") && !head.contains("transfer-encoding"), "{sent}");
        assert!(sent.contains("authorization: PVEAPIToken=pool@pve!svc=s3cret\r\n"), "{sent}");
        assert!(head.contains("accept-encoding: gzip\r\n"), "{sent}");
        assert!(sent.ends_with("\r\n\r\n"), "{sent}");
    }
}

#[tokio::test]
async fn a_write_has_a_form_with_its_length() {
    let call =
        request(Method::Post, "/nodes/pve1/lxc/9000/clone", &[("newid", "201"), ("description", "a b\nc")]);
    let (_, sent) = exchange(OK, call).await;
    assert!(sent.starts_with("POST /api2/json/nodes/pve1/lxc/9000/clone HTTP/1.1\r\n"), "{sent}");
    assert!(sent.ends_with("\r\n\r\nnewid=201&description=a%20b%0Ac"), "{sent}");
    assert!(sent.contains("content-length: 31\r\n"), "{sent}");
    assert!(sent.contains("content-type: application/x-www-form-urlencoded\r\n"), "{sent}");
    assert!(!sent.contains("transfer-encoding"), "{sent}");

    let (_, sent) = exchange(OK, request(Method::Post, "/nodes/pve1/lxc/201/status/start", &[])).await;
    assert!(sent.ends_with("\r\n\r\n"), "{sent}");
    assert_eq!(sent.matches("content-length: 0\r\n").count(), 1, "{sent}");
    assert!(!sent.contains("content-type"), "{sent}");
}

#[tokio::test]
async fn odd_answers_keep_their_words() {
    let refused = "HTTP/1.1 401 Authentication failed!\r\nCache-Control: max-age=0\r\nConnection: close\r\n\
                   Date: Tue, 24 Nov 2026 03:05:43 GMT\r\nPragma: no-cache\r\nServer: pve-api-daemon/3.0\r\n\
                   Expires: Tue, 24 Nov 2026 03:05:43 GMT\r\n\r\n";
    for (answer, status, reason, body) in [
        (refused, 401, "Authentication failed!", ""),
        ("HTTP/1.1 596 Connection timed out\r\nConnection: close\r\n\r\n", 596, "Connection timed out", ""),
        ("HTTP/1.1 595 Connection refused\r\nConnection: close\r\n\r\n", 595, "Connection refused", ""),
        (
            "HTTP/1.1 501 Unexpected content for method 'DELETE'\r\nConnection: close\r\n\
                 Content-Length: 38\r\n\r\nUnexpected content for method 'DELETE'",
            501,
            "Unexpected content for method 'DELETE'",
            "Unexpected content for method 'DELETE'",
        ),
        (
            "HTTP/1.1 506 upload 'Content-Type 'text/plain' not implemented\r\nConnection: close\r\n\r\nupload",
            506,
            "upload 'Content-Type 'text/plain' not implemented",
            "upload",
        ),
        (
            "HTTP/1.1 301 Moved Permanently\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
            301,
            "Moved Permanently",
            "",
        ),
        // The status line has said everything, whatever becomes of the body.
        ("HTTP/1.1 500 CT is locked (disk)\r\nContent-Length: 99\r\n\r\n{", 500, "CT is locked (disk)", "{"),
    ] {
        let (outcome, _) = exchange(answer, request(Method::Get, "/version", &[])).await;
        let expected = Answer { status, reason: reason.to_owned(), body: body.as_bytes().to_vec() };
        assert_eq!(outcome.expect("an answer"), expected);
    }
}

#[tokio::test]
async fn a_compressed_answer_is_read_as_it_was_meant() {
    let body: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xab\x56\x4a\x49\x2c\
                        \x49\x54\xb2\x8a\x8e\xad\x05\x00\x94\x64\xb2\x5e\x0b\x00\x00\x00";
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        read_request(&mut stream).await;
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(&[head.as_bytes(), body].concat()).await.expect("an open connection");
    });
    let client = client(&Url::parse(&url).expect("a URL"));
    let answer = client.call(request(Method::Get, "/nodes/pve1/lxc", &[])).await.expect("an answer");
    assert_eq!(answer.body, br#"{"data":[]}"#);
    server.await.expect("the server");
}

#[tokio::test]
async fn a_connection_is_kept_unless_pve_says_close() {
    let (url, server) = serve(vec![vec![OK, OK_AND_CLOSE], vec![OK]]).await;
    let client = client(&url);
    for _ in 0..3 {
        client.call(request(Method::Get, "/version", &[])).await.expect("an answer");
    }
    let (requests, _) = server.await.expect("the server");
    assert_eq!(requests.len(), 3);
}

#[tokio::test]
async fn a_call_without_a_connection_was_not_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = Url::parse(&format!("http://{}", listener.local_addr().expect("an address"))).expect("a URL");
    drop(listener);
    let outcome = client(&url).call(request(Method::Post, "/x", &[])).await;
    let Err(Unanswered::NotSent(text)) = outcome else { panic!("{outcome:?}") };
    assert!(text.contains("Connection refused"), "{text}");
    assert!(!text.contains("http://"), "{text}");
}

#[tokio::test]
async fn a_call_that_was_read_may_have_been_carried_out_and_is_not_repeated() {
    for answers in [
        vec![""],
        // On a connection that was used before.
        vec![OK, ""],
        // Half a body.
        vec!["HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"],
    ] {
        let count = answers.len();
        let (url, server) = serve(vec![answers]).await;
        let client = client(&url);
        for _ in 1..count {
            client.call(request(Method::Get, "/version", &[])).await.expect("an answer");
        }
        let outcome = client.call(request(Method::Post, "/x", &[("a", "b")])).await;
        assert!(matches!(outcome, Err(Unanswered::MaybeSent(_))), "{outcome:?}");
        let (requests, listener) = server.await.expect("the server");
        assert_eq!(requests.len(), count);
        assert!(listener.accept().now_or_never().is_none(), "the call was repeated");
    }
}

#[tokio::test]
async fn a_call_that_is_not_answered_ends_after_pves_own_limit() {
    for (method, seconds) in [(Method::Get, 35), (Method::Post, 40)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let silent = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            read_request(&mut stream).await;
            stream.write_all(OK.as_bytes()).await.expect("an open connection");
            (read_request(&mut stream).await, stream)
        });
        let client = client(&Url::parse(&url).expect("a URL"));
        client.call(request(Method::Get, "/version", &[])).await.expect("an answer");
        // From here on time passes only while everybody waits.
        tokio::time::pause();
        let begun = crate::clock::Stopwatch::start();
        let outcome = client.call(request(method, "/x", &[])).await;
        assert_eq!(begun.elapsed().as_secs(), seconds);
        tokio::time::resume();
        assert!(matches!(outcome, Err(Unanswered::MaybeSent(_))), "{outcome:?}");
        drop(silent.await.expect("the server"));
    }
}

/// PVE hangs up on a connection that was idle for five seconds, which a call sent at that moment could not tell
/// from one that was lost on its way back. Real time has to pass: the client's pool knows no other.
#[tokio::test]
async fn a_connection_that_pve_is_about_to_close_is_not_used_again() {
    let soon = IDLE_TIMEOUT + Duration::from_millis(200);
    assert!(soon < crate::sim::http::IDLE_TIMEOUT);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = Url::parse(&format!("http://{}", listener.local_addr().expect("an address"))).expect("a URL");
    let client = client(&url);
    let call = || client.call(request(Method::Get, "/version", &[]));
    let answer = async |stream: &mut TcpStream| {
        read_request(stream).await;
        stream.write_all(OK.as_bytes()).await.expect("an open connection");
    };
    let (first, accepted) = tokio::join!(call(), async {
        let mut stream = listener.accept().await.expect("a connection").0;
        answer(&mut stream).await;
        stream
    });
    let mut kept = accepted;
    let (second, ()) = tokio::join!(call(), answer(&mut kept));
    tokio::time::sleep(soon).await;
    let (third, ()) = tokio::join!(call(), async {
        assert_eq!(read_request(&mut kept).await, "", "sent where it was idle for too long");
        answer(&mut listener.accept().await.expect("another connection").0).await;
    });
    assert!([first, second, third].iter().all(Result::is_ok));
}
