//! Exchanges recorded from PVE 9.2, sent again to the simulation over its HTTP face.
//!
//! Each file of `recorded/` is a conversation: `>` is a call with its parameters percent-encoded, below it the
//! status line, the `Connection` headers and the body; `status:` and `log:` are what the last task (or the one
//! that `@upid` names) says once it has ended. Lines with `@` arrange the cluster. Compared are the status
//! line, the connection, the keys and types of the body, and its texts but for UPIDs, digests and MACs.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{CtSpec, Durations, Effect, FaultRule, Model, On, Sim, Storage, http};
use crate::domain::time::Timestamp;

const TOKEN: &str = "sandbox@pve!pool";

macro_rules! conversations {
    ($($name:ident),* $(,)?) => {
        $(
            #[tokio::test]
            async fn $name() {
                Conversation::run(include_str!(concat!("recorded/", stringify!($name), ".txt"))).await;
            }
        )*
    };
}

conversations! {
    bodies, clone, clone_fails, clone_killed, clone_stopped, daemon_down, description, destroy, front_page,
    hostname, inherited, methods, nextid, overrule, parameters, power, privileges, resources, second_clone,
    separated_token, several, status, tasks, token, unknown_ct, unknown_node, vmid_taken,
}

/// What a call is expected to be answered with.
#[derive(Debug, Default)]
struct Expected {
    call: String,
    status_line: Option<String>,
    connections: Vec<String>,
    body: Option<String>,
}

struct Conversation {
    sim: Sim,
    address: std::net::SocketAddr,
    token: String,
    authorization: Option<String>,
    send: Option<(String, String)>,
    upids: Vec<String>,
    upid: Option<usize>,
    foreign: String,
}

/// An answer as bytes, and whether the connection stayed open.
#[derive(Debug)]
struct Got {
    status_line: String,
    connections: Vec<String>,
    has_length: bool,
    body: String,
}

fn world() -> Model {
    let epoch = Timestamp(1_795_489_579_000);
    let mut model = Model::new(epoch, 7, "pve1");
    *model.durations_mut() = Durations {
        clone_linked: Duration::from_mins(1),
        read: Duration::ZERO,
        write: Duration::ZERO,
        auth_brake: Duration::from_millis(1),
        ..Durations::default()
    };
    model.set_storage("local", Storage::dir());
    model.set_storage("pool", Storage::btrfs());
    model.add_pool("sandboxes");
    model.add_ct(CtSpec::new(9000, "tmpl").template());
    model.add_ct(CtSpec::new(100, "box"));
    model.add_ct(CtSpec::new(200, "pool-200"));
    model.add_token(TOKEN, "secret", true);
    model.grant_pool_role(TOKEN, &["pool"]);
    model.advance(epoch);
    model
}

impl Conversation {
    async fn run(text: &str) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sim = Sim::new(Timestamp(1_795_489_579_000), world());
        tokio::spawn(http::serve(listener, sim.clone(), std::future::pending()));
        let mut conversation = Self {
            sim,
            address,
            token: TOKEN.to_owned(),
            authorization: None,
            send: None,
            upids: Vec::new(),
            upid: None,
            foreign: String::new(),
        };
        let mut open: Option<Expected> = None;
        for line in text.lines().chain([""]) {
            let ends = line.is_empty() || line.starts_with(['@', '>', '#']) || line.starts_with("status:");
            if ends && let Some(expected) = open.take() {
                conversation.exchange(expected).await;
            }
            if let Some(call) = line.strip_prefix("> ") {
                open = Some(Expected { call: call.to_owned(), ..Expected::default() });
            } else if let Some(directive) = line.strip_prefix('@') {
                conversation.arrange(directive).await;
            } else if let Some(body) = line.strip_prefix("status: ") {
                conversation.task("status", body).await;
            } else if let Some(body) = line.strip_prefix("log:    ") {
                conversation.task("log", body).await;
            } else if let Some(expected) = &mut open {
                if line.starts_with("HTTP/1.1 ") {
                    expected.status_line = Some(line.to_owned());
                } else if let Some(connection) = line.strip_prefix("Connection: ") {
                    expected.connections.push(connection.to_owned());
                } else {
                    expected.body = Some(line.to_owned());
                }
            } else {
                assert!(line.is_empty() || line.starts_with('#'), "what is this: {line}");
            }
        }
    }

    async fn exchange(&mut self, expected: Expected) {
        let got = self.call(&expected.call).await;
        let what = format!("{}\n{got:#?}", expected.call);
        let status_line = expected.status_line.as_deref().unwrap_or("HTTP/1.1 200 OK");
        assert_eq!(got.status_line, status_line, "{what}");
        if !expected.connections.is_empty() {
            assert_eq!(got.connections, expected.connections, "{what}");
        }
        match expected.body {
            Some(body) if body.starts_with('{') => same(&body, &got.body, &what),
            Some(body) => assert_eq!(got.body, body, "{what}"),
            None => {
                assert_eq!(got.body, "", "{what}");
                assert!(!got.has_length, "{what}");
            }
        }
    }

    async fn task(&mut self, part: &str, body: &str) {
        self.sim.skip_tasks();
        let upid = self.upids[self.upid.unwrap_or(self.upids.len() - 1)].clone();
        let got = self.call(&format!("GET /nodes/pve1/tasks/{upid}/{part}")).await;
        same(body, &got.body, &format!("{part} of {upid}"));
    }

    /// Sends a call on a fresh connection and sees to its end, or to a second answer on it.
    async fn call(&mut self, call: &str) -> Got {
        let mut words = call.split(' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let params = words.collect::<Vec<_>>().join("&");
        let encoded = self.foreign.replace(':', "%3A").replace('@', "%40").replace('!', "%21");
        let first = self.upids.first().cloned().unwrap_or_default();
        let path = path
            .replace("{upid0}", &first)
            .replace("{foreign%}", &encoded)
            .replace("{foreign}", &self.foreign);
        let authorization = match self.authorization.as_deref() {
            Some("none") => String::new(),
            Some(header) => format!("Authorization: {header}\r\n"),
            None => format!("Authorization: PVEAPIToken={}=secret\r\n", self.token),
        };
        let query = matches!(method, "GET" | "DELETE") && !params.is_empty();
        let target = if query { format!("{path}?{params}") } else { path.clone() };
        let (kind, body) = self.send.take().unwrap_or_else(|| {
            let body = if query { String::new() } else { params };
            ("application/x-www-form-urlencoded".to_owned(), body)
        });
        let head = format!("Host: x\r\n{authorization}");
        let content = format!("Content-Type: {kind}\r\nContent-Length: {}\r\n", body.len());
        let message = format!("{method} /api2/json{target} HTTP/1.1\r\n{head}{content}\r\n{body}");
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(message.as_bytes()).await.unwrap();
        let got = read(&mut stream).await;
        if got.connections == ["Keep-Alive"] {
            let again = format!("GET /api2/json/version HTTP/1.1\r\n{head}\r\n");
            stream.write_all(again.as_bytes()).await.unwrap();
            assert_eq!(read(&mut stream).await.status_line, "HTTP/1.1 200 OK", "{call}: not kept");
        } else {
            assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0, "{call}: not closed");
        }
        if let Some(upid) =
            got.body.strip_prefix("{\"data\":\"UPID:").and_then(|rest| rest.strip_suffix("\"}"))
        {
            self.upids.push(format!("UPID:{upid}"));
            self.upid = None;
        }
        got
    }

    async fn arrange(&mut self, directive: &str) {
        let words: Vec<&str> = directive.split(' ').collect();
        let vmid = words.get(1).and_then(|word| word.parse::<u32>().ok()).unwrap_or_default();
        let sim = self.sim.clone();
        match words.as_slice() {
            ["token", name] => {
                sim.with(|model| model.add_token(name, "secret", true));
                (*name).clone_into(&mut self.token);
            }
            ["authorization", ..] => self.authorization = Some(words[1..].join(" ")),
            ["grant", path, privileges] => {
                sim.grant(&self.token, path, &privileges.split(',').collect::<Vec<_>>());
            }
            ["revoke", path, privilege] => sim.revoke(&self.token, path, &[*privilege]),
            ["userright", user, path, privilege] => sim.grant(user, path, &[*privilege]),
            ["ct", _, hostname, options @ ..] => {
                let spec = options.iter().fold(CtSpec::new(vmid, hostname), |spec, option| {
                    let (name, text) = option.split_once('=').unwrap();
                    spec.set(name, &decoded(text))
                });
                sim.add_ct(spec);
            }
            ["member", pool, vmid] => {
                let vmid: u32 = vmid.parse().unwrap();
                sim.with(|model| model.pools.entry((*pool).to_owned()).or_default().insert(vmid));
            }
            ["set", _, options @ ..] => {
                for option in options {
                    let (name, text) = option.split_once('=').map_or((*option, None), |(n, t)| (n, Some(t)));
                    sim.with(|model| model.outside_set(vmid, name, text));
                }
            }
            ["start", _] => sim.outside_start(vmid),
            ["stop", _] => sim.outside_stop(vmid),
            ["stubborn", _] => {
                sim.with(|model| model.cts.get_mut(&vmid).unwrap().ignores_shutdown = true);
            }
            ["send", kind, body @ ..] => self.send = Some(((*kind).to_owned(), body.join(" "))),
            ["storage", "full"] => {
                sim.with(|model| model.edit_storage("pool", |storage| storage.free = 0));
            }
            ["fault", "start", "warns"] => {
                sim.add_fault(FaultRule::once(On::start(), Effect::TaskWarns));
            }
            ["fault", "start", "fails", text @ ..] => {
                let exitstatus = text.join(" ");
                sim.add_fault(FaultRule::once(On::start(), Effect::TaskFails { exitstatus }));
            }
            ["foreign", caller, _, vmid] => {
                let vmid = vmid.parse().unwrap();
                self.foreign = sim.with(|model| model.add_foreign_task(caller, "vzcreate", vmid));
            }
            ["daemon", "down"] => sim.daemon_down("pve1"),
            ["kill", _] => assert_eq!(sim.kill_running_clone(vmid), 1),
            ["patience", ms] => {
                let span = Duration::from_millis(ms.parse().unwrap());
                sim.with(|model| model.durations_mut().file_lock = span);
            }
            ["quiet", ..] => {
                self.call(&words[1..].join(" ")).await;
            }
            ["settle"] => sim.skip_tasks(),
            ["skip", seconds] => sim.skip(Duration::from_secs(seconds.parse().unwrap())),
            ["upid", index] => self.upid = Some(index.parse().unwrap()),
            _ => panic!("unknown directive: {directive}"),
        }
    }
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned()
}

async fn read(stream: &mut TcpStream) -> Got {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "closed within the head");
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let values = |name: &str| -> Vec<String> {
        head.lines().filter_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned()).collect()
    };
    let length = values("Content-Length:").first().map(|text| text.parse::<usize>().unwrap());
    while bytes.len() < end + length.unwrap_or(0) {
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "closed within the body");
    }
    Got {
        status_line: head.lines().next().unwrap().to_owned(),
        connections: values("Connection:"),
        has_length: length.is_some(),
        body: String::from_utf8(bytes[end..].to_vec()).unwrap(),
    }
}

/// Compares two JSON documents: keys and types, and the texts that do not change from call to call.
fn same(expected: &str, got: &str, what: &str) {
    let expected: Value = serde_json::from_str(expected).unwrap();
    let got: Value = serde_json::from_str(got).unwrap_or_else(|_| panic!("no JSON: {what}"));
    same_value("", &expected, &got, what);
}

fn same_value(key: &str, expected: &Value, got: &Value, what: &str) {
    match (expected, got) {
        (Value::Object(expected), Value::Object(got)) => {
            let keys = |map: &serde_json::Map<String, Value>| map.keys().cloned().collect::<BTreeSet<_>>();
            assert_eq!(keys(got), keys(expected), "keys of {key}: {what}");
            for (key, value) in expected {
                same_value(key, value, &got[key], what);
            }
        }
        (Value::Array(expected), Value::Array(got)) => {
            assert_eq!(got.len(), expected.len(), "rows of {key}: {what}");
            for (expected, got) in expected.iter().zip(got) {
                same_value(key, expected, got, what);
            }
        }
        (Value::Number(_), Value::Number(_)) => {}
        (Value::String(_), Value::String(_)) if matches!(key, "digest" | "ssl_fingerprint") => {}
        (Value::String(expected), Value::String(got)) => {
            assert_eq!(timeless(got), timeless(expected), "text of {key}: {what}");
        }
        (expected, got) => assert_eq!(got, expected, "value of {key}: {what}"),
    }
}

/// A text without what is different at every call.
fn timeless(text: &str) -> String {
    text.split([' ', ','])
        .map(|word| match word {
            upid if upid.starts_with("UPID:") => upid.split(':').skip(5).collect::<Vec<_>>().join(":"),
            mac if mac.starts_with("hwaddr=") => "hwaddr".to_owned(),
            other => other.to_owned(),
        })
        .collect::<Vec<_>>()
        .join(" ")
}
