//! The API over HTTP/1.1, byte for byte as PVE's own server writes it.
//!
//! A small server of its own: PVE's answers have reason phrases with a message, two contradicting `Connection`
//! headers, and errors without a length, which a well-behaved server library does not write.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::handle::Sim;
use super::incoming::Incoming;
use super::reply::{Body, Connection, Ending, Reply};
use crate::domain::time::Timestamp;

/// Bytes of all header lines together.
const HEAD_MAX: usize = 8 * 1024;
/// Bytes of a body.
const BODY_MAX: usize = 512 * 1024;
/// An idle connection is closed after this.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// Requests per connection.
const REQUESTS_MAX: usize = 100;

/// Answers calls under `/api2/json` until `shutdown` is over.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(
    listener: TcpListener,
    sim: Sim,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let mut shutdown = std::pin::pin!(shutdown);
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            () = &mut shutdown => return Ok(()),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let sim = sim.clone();
                    connections.spawn(async move { connection(stream, sim).await });
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error),
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

/// Serves one connection; an error only ends it.
async fn connection(stream: TcpStream, sim: Sim) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    for _ in 0..REQUESTS_MAX {
        let Ok(head) = tokio::time::timeout(IDLE_TIMEOUT, read_head(&stream, &mut buffer)).await else {
            break;
        };
        let Some(head) = head? else { break };
        let ending = match receive(&stream, &mut buffer, &head).await? {
            Ok(incoming) => {
                tokio::select! {
                    ending = sim.carry_out(incoming) => ending,
                    () = peer_gone(&stream) => return Ok(()),
                }
            }
            Err(reply) => Ending::Answered(reply),
        };
        let Ending::Answered(reply) = ending else { break };
        write_all(&stream, &bytes_of(&reply, sim.now())).await?;
        if reply.connection != Connection::Kept || head.closes() {
            break;
        }
    }
    Ok(())
}

/// Request line and headers.
struct Head {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
}

impl Head {
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.split("\r\n");
        let mut first = lines.next()?.split(' ');
        let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
        first.next().filter(|version| version.starts_with("HTTP/1."))?;
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Some(Self { method, target, headers })
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

async fn read_head(stream: &TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Head>> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = buffer.split_off(end + 4);
            let head = Head::parse(&String::from_utf8_lossy(buffer));
            *buffer = rest;
            return Ok(head);
        }
        if buffer.len() > HEAD_MAX || read_some(stream, buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// Reads the body, unless PVE would refuse the call for its head.
async fn receive(
    stream: &TcpStream,
    buffer: &mut Vec<u8>,
    head: &Head,
) -> io::Result<Result<Incoming, Reply>> {
    let (path, query) = head.target.split_once('?').unwrap_or((&head.target, ""));
    if head.header("transfer-encoding").is_some() {
        return Ok(Err(Reply::text(501, "chunked transfer encoding not supported")));
    }
    let Some(path) = path.strip_prefix("/api2/json") else {
        return Ok(Err(Reply::text(404, "Not Found")));
    };
    let length: usize = head.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    if length > BODY_MAX {
        return Ok(Err(Reply::text(501, "for data too large")));
    }
    while buffer.len() < length {
        if read_some(stream, buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let rest = buffer.split_off(length);
    let body = std::mem::replace(buffer, rest);
    Ok(Ok(Incoming {
        method: head.method.clone(),
        path: path.to_owned(),
        query: query.to_owned(),
        authorization: head.header("authorization").map(str::to_owned),
        content_type: head.header("content-type").map(str::to_owned),
        body,
    }))
}

/// The whole answer.
fn bytes_of(reply: &Reply, now: Timestamp) -> Vec<u8> {
    let date = http_date(now);
    let connection = match reply.connection {
        Connection::Kept => "Connection: Keep-Alive\r\n",
        Connection::Proxied => "Connection: close\r\nConnection: Keep-Alive\r\n",
        Connection::Closed => "Connection: close\r\n",
    };
    let body = reply.bytes();
    let content = match &reply.body {
        Body::Absent => String::new(),
        Body::Text(_) => format!("Content-Length: {}\r\n", body.len()),
        Body::Json(_) => {
            format!("Content-Length: {}\r\nContent-Type: application/json;charset=UTF-8\r\n", body.len())
        }
    };
    let reason = reply.reason.replace(['\r', '\n'], " ");
    let mut bytes = format!(
        "HTTP/1.1 {} {reason}\r\nCache-Control: max-age=0\r\n{connection}Date: {date}\r\nPragma: no-cache\r\n\
         Server: pve-api-daemon/3.0\r\n{content}Expires: {date}\r\n\r\n",
        reply.status
    )
    .into_bytes();
    bytes.extend(body);
    bytes
}

fn http_date(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.0)
        .map(|at| at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
        .unwrap_or_default()
}

async fn read_some(stream: &TcpStream, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let mut chunk = [0; 4096];
    loop {
        stream.readable().await?;
        match stream.try_read(&mut chunk) {
            Ok(count) => {
                buffer.extend_from_slice(chunk.get(..count).unwrap_or_default());
                return Ok(count);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

async fn write_all(stream: &TcpStream, bytes: &[u8]) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        stream.writable().await?;
        match stream.try_write(rest) {
            Ok(count) => rest = rest.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Comes back when the client has closed its side or is lost.
async fn peer_gone(stream: &TcpStream) {
    let mut byte = [0; 1];
    match stream.peek(&mut byte).await {
        Ok(0) | Err(_) => {}
        Ok(_) => std::future::pending().await,
    }
}
