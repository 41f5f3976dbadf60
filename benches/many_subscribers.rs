//! What nine thousand followers cost: `cargo bench --bench many_subscribers [-- FOLLOWERS [SECONDS]]`.
//!
//! Starts the simulated Proxmox VE and the service, follows its events from this process, one in a hundred without
//! ever reading, takes and gives back sandboxes meanwhile, and checks that every reader got every event once and in
//! order. A delivery is the time from an event's decision until this process has read it; on a machine with few
//! cores the readers' own work is part of it.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use sandbox_pool::clock::{Clock, Stopwatch};
use sandbox_pool::domain::time::Timestamp;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;

const PROGRAM: &str = env!("CARGO_BIN_EXE_sandbox-pool");
const TOKEN: &str = "sandbox@pve!pool=5a1b0c3d-0000-4000-8000-00000000demo";
/// One allocation with its release; each is some eight events.
const PAUSE: Duration = Duration::from_millis(800);
/// How long readers may take for what is left at the end.
const PATIENCE: Duration = Duration::from_mins(2);

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let followers = numbers.first().copied().unwrap_or(9000);
    let lasts = Duration::from_secs(numbers.get(1).copied().unwrap_or(240));
    let data = tempfile::tempdir()?;
    let pair = Pair::start(data.path()).await?;
    let (before, start) = (resident(pair.service.id())?, pair.head().await?);
    let mut silent = Vec::new();
    for _ in 0..followers / 100 {
        silent.push(open(pair.address, start, true).await?);
    }
    let (upto, told) = watch::channel(u64::MAX);
    let mut readers = tokio::task::JoinSet::new();
    for _ in silent.len() as u64..followers {
        let stream = open(pair.address, start, false).await?;
        readers.spawn(read(stream, start, told.clone()));
    }
    let watch = Stopwatch::start();
    while watch.elapsed() < lasts {
        pair.use_a_sandbox().await?;
        tokio::time::sleep(PAUSE).await;
    }
    let during = resident(pair.service.id())?;
    let head = pair.head().await?;
    upto.send_replace(head);
    let mut waits = Vec::new();
    while let Some(read) = tokio::time::timeout(PATIENCE, readers.join_next()).await? {
        waits.extend(read??);
    }
    waits.sort_unstable();
    let (events, count) = (head - start, followers - silent.len() as u64);
    let ended = pair.figure("sandbox_pool_stream_evictions_total").await?;
    let at = |percent: usize| waits.get(waits.len() * percent / 100).copied().unwrap_or_default();
    let mut out = std::io::stdout();
    writeln!(out, "{count} readers got {events} events each, once and in order")?;
    writeln!(out, "{} never read, {ended} of them were ended for it", silent.len())?;
    writeln!(out, "{:.0} deliveries/s", (events * count) as f64 / lasts.as_secs_f64())?;
    let each = during.saturating_sub(before) as f64 / followers as f64 / 1000.0;
    writeln!(
        out,
        "memory: {} MB before, {} MB with them: {each:.1} kB each",
        before / 1_000_000,
        during / 1_000_000
    )?;
    writeln!(out, "delivery: p50 {} ms, p90 {} ms, p99 {} ms", at(50), at(90), at(99))?;
    Ok(())
}

/// The simulated PVE and the service, as processes of their own.
struct Pair {
    pve: Child,
    service: Child,
    address: SocketAddr,
    client: reqwest::Client,
}

impl Pair {
    async fn start(data: &Path) -> anyhow::Result<Self> {
        // A client can only be made once there is something that could speak TLS.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (client, [pve, address]) = (reqwest::Client::new(), [free()?, free()?]);
        let sim = Command::new(PROGRAM)
            .args(["sim", "--hurry", "10", "--listen", &pve.to_string()])
            .stdout(Stdio::null())
            .spawn()?;
        let service = Command::new(PROGRAM)
            .arg("serve")
            .env("PVE_API_URL", format!("http://{pve}"))
            .env("PVE_API_TOKEN", TOKEN)
            .env("POOL_DATA_DIR", data)
            .env("POOL_LISTEN", address.to_string())
            .env("POOL_TEMPLATES", "9009:target=3:max=6")
            .env("POOL_LOG_LEVEL", "error")
            .stdout(Stdio::null())
            .spawn()?;
        let pair = Self { pve: sim, service, address, client };
        let full = async {
            while pair.get("/status").await.is_none_or(|status| status["total_ready"].as_u64() < Some(3)) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(PATIENCE, full).await.context("the pool did not fill")?;
        Ok(pair)
    }

    async fn get(&self, path: &str) -> Option<Value> {
        let answer = self.client.get(format!("http://{}{path}", self.address)).send().await.ok()?;
        serde_json::from_str(&answer.text().await.ok()?).ok()
    }

    async fn head(&self) -> anyhow::Result<u64> {
        self.get("/status").await.and_then(|status| status["head"].as_u64()).context("no status")
    }

    async fn use_a_sandbox(&self) -> anyhow::Result<()> {
        let allocate = format!("http://{}/allocate?start=false", self.address);
        let body = json!({ "template_vmid": 9009 }).to_string();
        let post = self.client.post(allocate).header("Content-Type", "application/json").body(body);
        let got: Value = serde_json::from_str(&post.send().await?.error_for_status()?.text().await?)?;
        let release = format!("http://{}/release/{}", self.address, got["vmid"]);
        self.client.post(release).send().await?.error_for_status()?;
        Ok(())
    }

    /// A counter that has no labels.
    async fn figure(&self, name: &str) -> anyhow::Result<f64> {
        let text = self.client.get(format!("http://{}/metrics", self.address)).send().await?.text().await?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.with_context(|| format!("there is no {name}"))?.parse()?)
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for child in [&mut self.service, &mut self.pve] {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn free() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// Bytes that a process has in memory.
fn resident(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    let kilobytes: u64 = line.split_whitespace().nth(1).context("no figure")?.parse()?;
    Ok(kilobytes * 1024)
}

/// Asks for everything behind an event; one that will never read has next to no room for what comes.
async fn open(address: SocketAddr, after: u64, silent: bool) -> anyhow::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if silent {
        socket.set_recv_buffer_size(4096)?;
    }
    let mut stream = socket.connect(address).await?;
    stream.write_all(format!("GET /events?after={after} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await?;
    Ok(stream)
}

/// Reads until `upto`; how many milliseconds each event took. What chunked transfer puts between the frames has no
/// line that begins with `data: `.
async fn read(stream: TcpStream, after: u64, mut upto: watch::Receiver<u64>) -> anyhow::Result<Vec<u32>> {
    let clock = Clock::system();
    let mut lines = BufReader::with_capacity(2048, stream).split(b'\n');
    let (mut last, mut own, mut waits) = (after, false, Vec::new());
    while last < *upto.borrow() {
        let line = tokio::select! {
            line = lines.next_segment() => line?.context("the service ended a stream")?,
            told = upto.changed() => { told?; continue }
        };
        if let Some(kind) = line.strip_prefix(b"event: ") {
            own = kind.starts_with(b"stream.");
        } else if let Some(data) = line.strip_prefix(b"data: ").filter(|_| !own) {
            let event: Envelope = serde_json::from_slice(data)?;
            ensure!(event.seq == last + 1, "event {} came after {last}", event.seq);
            last = event.seq;
            waits.push(u32::try_from(clock.now().since(event.at).as_millis())?);
        }
    }
    Ok(waits)
}

/// What is of interest here of an event.
#[derive(serde::Deserialize)]
struct Envelope {
    seq: u64,
    at: Timestamp,
}
