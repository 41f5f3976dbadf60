//! The service over HTTPS, while the line to PVE breaks: answers end in their middle, nobody speaks TLS, the
//! certificate is another one, connections hang. Real sockets, so real time passes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use sandbox_pool::sim::{self, DEMO_SECRET, DEMO_TOKEN, Demo, Sim};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::program::Running;
use crate::world::EPOCH;

/// How the line is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Line {
    Good,
    /// What answers there has another certificate.
    Strange,
    /// It speaks, but no TLS.
    Plain,
    /// Nothing comes, not even a handshake.
    Mute,
    /// An answer ends after so many bytes.
    Cut(usize),
}

/// A certificate for 127.0.0.1, and its fingerprint.
fn certificate() -> (TlsAcceptor, String) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
    let leaf = params.self_signed(&key).expect("a certificate");
    let bytes: Vec<String> = Sha256::digest(leaf.der()).iter().map(|byte| format!("{byte:02x}")).collect();
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], private)
        .expect("a server");
    (TlsAcceptor::from(Arc::new(config)), bytes.join(":"))
}

/// What stands before a PVE and speaks TLS for it. A change of the line breaks every connection.
struct Front {
    line: watch::Sender<Line>,
    port: u16,
    fingerprint: String,
}

impl Front {
    async fn before(pve: u16) -> Self {
        let (line, lines) = watch::channel(Line::Good);
        let ((ours, fingerprint), (strange, _)) = (certificate(), certificate());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let mut lines = lines.clone();
                let line = *lines.borrow_and_update();
                let acceptor = if line == Line::Strange { strange.clone() } else { ours.clone() };
                tokio::spawn(async move {
                    tokio::select! {
                        () = passed_on(stream, acceptor, line, pve) => {}
                        _ = lines.changed() => {}
                    }
                });
            }
        });
        Self { line, port, fingerprint }
    }
}

async fn passed_on(mut stream: TcpStream, acceptor: TlsAcceptor, line: Line, pve: u16) {
    match line {
        Line::Plain => return drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await),
        Line::Mute => return std::future::pending().await,
        Line::Good | Line::Strange | Line::Cut(_) => {}
    }
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let behind = TcpStream::connect(("127.0.0.1", pve)).await.expect("the simulated PVE");
    let (mut from_client, mut to_client) = tokio::io::split(stream);
    let (from_pve, mut to_pve) = behind.into_split();
    let most = if let Line::Cut(bytes) = line { bytes as u64 } else { u64::MAX };
    let mut answers = from_pve.take(most);
    tokio::select! {
        _ = copy(&mut from_client, &mut to_pve) => {}
        _ = copy(&mut answers, &mut to_client) => {}
    }
    // No farewell: the line broke.
}

async fn simulated() -> (Sim, u16) {
    let mut model = Demo::model(EPOCH, 1);
    model.durations_mut().hurry(20);
    let sim = Sim::new(EPOCH, model);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(sim::http::serve(listener, sim.clone(), std::future::pending()));
    (sim, port)
}

fn service(front: &Front, dir: &Path) -> (Running, String) {
    let url = format!("https://127.0.0.1:{}", front.port);
    let (token, data) = (format!("{DEMO_TOKEN}={DEMO_SECRET}"), dir.join("data"));
    let settings = [
        ("PVE_API_URL", &*url),
        ("PVE_API_TOKEN", &token),
        ("PVE_FINGERPRINT", &front.fingerprint),
        ("POOL_DATA_DIR", data.to_str().expect("a path")),
        ("POOL_TEMPLATES", "9009"),
        ("POOL_TARGET_SIZE", "1"),
        ("POOL_MIN_SIZE", "0"),
        ("REPLENISH_INTERVAL_SECONDS", "1"),
    ];
    Running::service(&settings, dir)
}

/// Lines of the log with this word.
fn lines_with(data: &Path, word: &str) -> Vec<String> {
    let files = std::fs::read_dir(data).expect("a directory").map(|file| file.expect("a file").path());
    let logs = files.filter(|path| path.extension().is_some_and(|it| it == "jsonl"));
    let texts: Vec<String> = logs.map(|path| std::fs::read_to_string(path).expect("a log")).collect();
    texts.iter().flat_map(|text| text.lines()).filter(|line| line.contains(word)).map(str::to_owned).collect()
}

async fn ask(method: reqwest::Method, url: String, body: Option<Value>) -> (u16, Value) {
    // A machine may have no certificates at all.
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().expect("a client");
    let mut request = client.request(method, url);
    if let Some(body) = body {
        request = request.json(&body);
    }
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_breaks_in_every_way_costs_no_container() {
    // Another test may have been first.
    let _ = ring::default_provider().install_default();
    let dir = TempDir::new().expect("a directory");
    let (sim, pve) = simulated().await;
    let front = Front::before(pve).await;
    let (mut service, address) = service(&front, dir.path());
    let get = |path: &str| ask(reqwest::Method::GET, format!("http://{address}{path}"), None);
    let allocate = |instance: String| {
        let body = json!({ "template_vmid": 9009, "instance_id": instance });
        ask(reqwest::Method::POST, format!("http://{address}/allocate?start=true"), Some(body))
    };
    service.until_it_logs("CloneSucceeded");
    let mut held = Vec::new();
    // Cut in the head of an answer, and in its body.
    let lines = [
        (Line::Strange, "is not the pinned one"),
        (Line::Plain, "corrupt message"),
        (Line::Cut(20), "closed connection"),
        (Line::Cut(260), "closed connection"),
        (Line::Mute, "timed out"),
    ];
    for (nth, (line, words)) in lines.into_iter().enumerate() {
        front.line.send_replace(line);
        let asked = tokio::spawn(allocate(format!("box-{nth}")));
        service.until_it_logs("PveUnreachable");
        let (status, ready) = get("/ready").await;
        assert_eq!((status, &ready["checks"]["pve_reachable"]), (503, &json!(false)), "{line:?}: {ready}");
        let (_, status) = get("/status").await;
        let reason = status["service"]["pve_reason"].as_str().expect("a reason");
        assert!(reason.contains(words), "{line:?}: {reason}");
        front.line.send_replace(Line::Good);
        service.until_it_logs("PveReachable");
        let (status, answer) = asked.await.expect("an end");
        assert_eq!(status, 200, "{line:?}: {answer}");
        held.push(answer["vmid"].as_u64().expect("a VMID"));
    }
    held.sort_unstable();
    let (_, containers) = get("/containers?state=allocated").await;
    let mut listed: Vec<u64> = containers["containers"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| row["vmid"].as_u64().expect("a VMID"))
        .collect();
    listed.sort_unstable();
    assert_eq!(listed, held);
    assert_eq!(lines_with(&dir.path().join("data"), "ContainerLost"), [""; 0]);
    assert!(sim.violations().is_empty(), "{:?}", sim.violations());
    tokio::time::timeout(Duration::from_mins(1), tokio::task::spawn_blocking(|| service.terminate()))
        .await
        .expect("an end")
        .expect("an exit code");
}
