//! Each action against a scripted PVE: what it calls, what it makes of the answers, what it reports.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use ulid::Ulid;

use super::perform;
use super::site::Site;
use crate::clock::Clock;
use crate::domain::command::{Command, Hindrance, Observation};
use crate::domain::fault::FaultKind;
use crate::domain::ids::{CloneId, InstanceId, Seq, Vmid};
use crate::domain::marker::{Known, Marker};
use crate::domain::plan::{Action, Target};
use crate::domain::settings::Settings;
use crate::domain::state::State;
use crate::domain::time::Timestamp;
use crate::engine::{Engine, EngineLoop};
use crate::log;
use crate::pve::{Answer, Method, Pve, Request, Transport, Unanswered};

mod clone;
mod hand_out;
mod leave;
mod runs;
mod template;

/// When the tests take place.
pub(crate) const EPOCH: Timestamp = Timestamp(1_795_489_579_000);
pub(crate) const POOL_NAME: &str = "pool-9009-00000007";
pub(crate) const UPID: &str = "UPID:pve1:00001887:000736EB:6B04FF43:vzclone:9009:sandbox@pve!pool:";
pub(crate) const RUNNING: (u16, &str) = (200, r#"{"data":{"status":"running"}}"#);
pub(crate) const STOPPED: (u16, &str) = (200, r#"{"data":{"status":"stopped"}}"#);
pub(crate) const ENDED_OK: (u16, &str) = (200, r#"{"data":{"status":"stopped","exitstatus":"OK"}}"#);
pub(crate) const DONE: (u16, &str) = (200, r#"{"data":null}"#);
pub(crate) const GONE: (u16, &str) = (500, "Configuration file 'nodes/pve1/lxc/205.conf' does not exist");
pub(crate) const FORBIDDEN: (u16, &str) = (403, "Permission check failed (/vms/205, VM.Audit)");
pub(crate) const CHANGED: (u16, &str) =
    (500, "detected modified configuration - file changed by other user? Try again.");
pub(crate) const FREE: (u16, &str) = (200, r#"{"data":"205"}"#);
/// Status 400 with this text as the field that is wrong.
pub(crate) const TAKEN: (u16, &str) = (400, "vmid=VM 205 already exists");
/// No answer at all.
pub(crate) const SILENCE: (u16, &str) = (0, "connection reset");

/// Lists that are empty unless a script says more: tasks of the container that run, guests of the cluster.
const UNLESS_SAID: [&str; 2] = ["GET tasks active", "GET cluster/resources type=vm"];

/// PVE's answers by call, written short: `GET lxc/205/config`, `PUT lxc/205/config hostname=x`.
///
/// The answers of a call are given in turn, the last of them from then on.
pub(crate) struct Script {
    answers: Mutex<BTreeMap<String, VecDeque<(u16, String)>>>,
    calls: Mutex<Vec<String>>,
    /// Changes of a configuration that did not say of which one.
    unguarded: Mutex<Vec<String>>,
}

impl Script {
    pub(crate) fn new(answers: &[(&str, (u16, &str))]) -> Arc<Self> {
        let mut by_call: BTreeMap<String, VecDeque<(u16, String)>> = BTreeMap::new();
        for (call, (status, text)) in answers {
            by_call.entry((*call).to_owned()).or_default().push_back((*status, (*text).to_owned()));
        }
        Arc::new(Self { answers: Mutex::new(by_call), calls: Mutex::default(), unguarded: Mutex::default() })
    }

    /// What was asked of PVE beyond reading.
    pub(crate) fn writes(&self) -> Vec<String> {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.iter().filter(|call| !call.starts_with("GET")).cloned().collect()
    }

    /// How often a call was made.
    pub(crate) fn count(&self, call: &str) -> usize {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.iter().filter(|made| *made == call).count()
    }
}

#[async_trait]
impl Transport for Script {
    async fn call(&self, request: Request) -> Result<Answer, Unanswered> {
        let call = short(&request);
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call.clone());
        let guarded = request.params.iter().any(|(name, value)| name == "digest" && value == "d");
        if matches!(request.method, Method::Put) && !guarded {
            self.unguarded.lock().unwrap_or_else(PoisonError::into_inner).push(call.clone());
        }
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let scripted = answers.get_mut(&call);
        if scripted.is_none() && UNLESS_SAID.contains(&call.as_str()) {
            return Ok(Answer { status: 200, reason: "OK".to_owned(), body: br#"{"data":[]}"#.to_vec() });
        }
        let Some(answers) = scripted else {
            return Err(Unanswered::NotSent(format!("the script has no answer for {call}")));
        };
        let (status, text) = match answers.len() {
            1 => answers[0].clone(),
            _ => answers.pop_front().unwrap_or_default(),
        };
        let answer =
            |reason: &str, body: String| Answer { status, reason: reason.to_owned(), body: body.into() };
        match (status, text.split_once('=')) {
            (0, _) => Err(Unanswered::MaybeSent(text)),
            (200, _) => Ok(answer("OK", text)),
            (400, Some((field, text))) => Ok(answer(
                "Parameter verification failed.",
                format!(r#"{{"errors":{{"{field}":"{text}"}}}}"#),
            )),
            _ => Ok(answer(&text, r#"{"data":null}"#.to_owned())),
        }
    }
}

/// A call without what is the same in all of them.
fn short(request: &Request) -> String {
    let path = request.path.strip_prefix("/nodes/pve1").unwrap_or(&request.path).trim_start_matches('/');
    let path = path.replace(&UPID.replace(':', "%3A").replace('@', "%40").replace('!', "%21"), "UPID");
    let params = request.params.iter().filter(|(name, _)| name != "digest" && name != "current");
    let params: Vec<String> = params.map(|(name, value)| format!("{name}={value}")).collect();
    let params = params.join(" ").replace(&held().to_string(), "HELD").replace(&ours().to_string(), "OURS");
    let params = match path.as_str() {
        "tasks" if params.starts_with("source=active") => "active".to_owned(),
        "tasks" => String::new(),
        _ => params,
    };
    let method = match request.method {
        Method::Get => "GET",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
    };
    format!("{method} {path} {params}").trim_end().to_owned()
}

/// The marker of the container that nobody holds.
pub(crate) fn ours() -> Marker {
    Marker { vmid: Vmid(205), clone_id: CloneId(Ulid(7)), template: Vmid(9009), instance_id: None }
}

/// The marker of the container that `box` holds.
pub(crate) fn held() -> Marker {
    Marker { instance_id: Some(InstanceId::from("box")), ..ours() }
}

/// A container's configuration; `OURS` and `HELD` stand for markers.
pub(crate) fn config(hostname: &str, description: &str, more: &str) -> String {
    let description = description.replace("OURS", &ours().to_string()).replace("HELD", &held().to_string());
    let data = format!(r#""hostname":"{hostname}","description":"{description}\n","digest":"d""#);
    format!(r#"{{"data":{{{data}{more}}}}}"#)
}

/// Ours and made, with more fields: `,"lock":"create"`.
pub(crate) fn pooled(more: &str) -> String {
    config(POOL_NAME, "OURS", &format!(r#","rootfs":"pool:205/vm-205-disk-0"{more}"#))
}

/// A task that ended with `exit`.
pub(crate) fn ended(exit: &str) -> String {
    format!(r#"{{"data":{{"status":"stopped","exitstatus":"{exit}"}}}}"#)
}

/// The answer that names the task.
pub(crate) fn upid() -> String {
    format!(r#"{{"data":"{UPID}"}}"#)
}

/// An engine that runs on a log of its own.
pub(crate) async fn running_engine(disk: &log::MemoryDisk) -> Engine {
    let opened = log::open_memory::<State>(disk, log::Options::new(1, "1.2.3")).unwrap();
    let (clock, chance) = (Clock::virtual_from(EPOCH), fastrand::Rng::with_seed(1));
    let (engine_loop, engine) = EngineLoop::new(opened.writer, opened.projection, clock, chance);
    tokio::spawn(engine_loop.run());
    let start = Command::Start { version: "1.2.3".to_owned(), settings: Box::new(Settings::default()) };
    engine.submit(start, None, false).await.unwrap();
    engine
}

/// A container that nobody holds, or is about to get its instance's name.
fn target(instance: Option<&str>) -> Target {
    Target {
        vmid: Vmid(205),
        clone_id: CloneId(Ulid(7)),
        node: "pve1".into(),
        known: Known {
            vmid: Vmid(205),
            clone_id: CloneId(Ulid(7)),
            hostname: POOL_NAME.into(),
            instance_id: instance.map(InstanceId::from),
        },
        as_of: Seq(40),
    }
}

/// A container that has its instance's name.
fn named_target() -> Target {
    let target = target(Some("box"));
    Target { known: Known { hostname: "box".into(), ..target.known }, ..target }
}

/// Carries the action out; what it reported, what it changed at PVE, and whether PVE failed to answer.
async fn act(action: Action, answers: &[(&str, (u16, &str))]) -> (Observation, Vec<String>, bool) {
    let script = Script::new(answers);
    let site = Site::new(Pve::new(script.clone()), Clock::virtual_from(EPOCH));
    let observation = perform(&site, action).await;
    let unguarded = script.unguarded.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(unguarded.is_empty(), "written whatever had changed since the look: {unguarded:?}");
    (observation, script.writes(), site.outage().is_some())
}

/// The hindrance in a few words: its name and what can be told apart in it.
fn brief(observation: &Observation) -> String {
    let kind = |name: &str, kind: FaultKind| format!("{name} {}", kind.code());
    match observation {
        Observation::Hindered { vmid: Vmid(205), as_of: Seq(40), by } => match by {
            Hindrance::Gone => "gone".to_owned(),
            Hindrance::Foreign { .. } => "foreign".to_owned(),
            Hindrance::Doubt { .. } => "doubt".to_owned(),
            Hindrance::Moved { node } => format!("moved {node}"),
            Hindrance::Unusable { fault } => kind("unusable", fault.kind),
            Hindrance::Stuck { fault } => format!("stuck: {}", fault.hint.as_deref().unwrap_or_default()),
            Hindrance::Pve { fault } => kind("pve", fault.kind),
        },
        Observation::Renamed { running, .. } => format!("renamed, running {running}"),
        Observation::Started { .. } => "started".to_owned(),
        Observation::StartFailed { fault, .. } => kind("start failed", fault.kind),
        Observation::Parked { hostname, .. } => format!("parked {hostname}"),
        Observation::RenamedBack { hostname, .. } => format!("renamed back {hostname}"),
        Observation::Destroyed { .. } => "destroyed".to_owned(),
        other => format!("{other:?}"),
    }
}
