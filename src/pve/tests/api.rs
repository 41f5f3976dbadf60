//! Typed calls over a scripted transport: what they send, and what they make of PVE's answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use crate::domain::fault::FaultKind;
use crate::domain::ids::{Node, Upid, Vmid};
use crate::domain::time::Timestamp;
use crate::pve::{
    Answer, CALLS, CloneRequest, ConfigChange, CtConfig, CtRow, CtStatus, Error, GuestKind, NodeRow, Outcome,
    Pve, Request, TaskRow, TaskState, Transport, Unanswered, Warnings,
};

const UPID: &str = "UPID:pve1:00001887:000736EB:6B04FF43:vzclone:9000:sandbox@pve!pool:";
const ESCAPED_UPID: &str =
    "UPID%3Apve1%3A00001887%3A000736EB%3A6B04FF43%3Avzclone%3A9000%3Asandbox%40pve%21pool%3A";

/// Answers by call (`GET /version`, with parameters as `GET /x?a=1&b=2`); an unknown one is not sent.
struct Script {
    answers: BTreeMap<String, (u16, String)>,
    calls: Mutex<Vec<String>>,
}

#[async_trait]
impl Transport for Script {
    async fn call(&self, request: Request) -> Result<Answer, Unanswered> {
        let params: Vec<String> =
            request.params.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mark = if params.is_empty() { "" } else { "?" };
        let call = format!("{} {}{mark}{}", request.method, request.path, params.join("&"));
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call.clone());
        match self.answers.get(&call) {
            Some((0, text)) => Err(Unanswered::MaybeSent(text.clone())),
            Some((200, body)) => {
                Ok(Answer { status: 200, reason: "OK".to_owned(), body: body.clone().into() })
            }
            Some((status, reason)) => {
                Ok(Answer { status: *status, reason: reason.clone(), body: b"{\"data\":null}".to_vec() })
            }
            None => Err(Unanswered::NotSent(format!("no answer for {call}"))),
        }
    }
}

fn script(answers: &[(&str, u16, &str)]) -> (Pve, Arc<Script>) {
    let answers =
        answers.iter().map(|(call, status, text)| ((*call).to_owned(), (*status, (*text).to_owned())));
    let script = Arc::new(Script { answers: answers.collect(), calls: Mutex::default() });
    (Pve::new(script.clone()), script)
}

fn pve(call: &str, status: u16, text: &str) -> Pve {
    script(&[(call, status, text)]).0
}

fn node() -> Node {
    "pve1".into()
}

fn kind<T>(outcome: Result<T, Error>) -> Result<T, FaultKind> {
    outcome.map_err(|error| error.kind)
}

#[tokio::test]
async fn the_clusters_list_tells_what_it_knows() {
    let list = r#"{"data":[{"status":"unknown","vmid":261,"pool":"sandboxes","id":"lxc/261","node":"pve1","type":"lxc"},
        {"status":"stopped","vmid":9000,"name":"tmpl","type":"lxc","node":"pve1","id":"lxc/9000","template":1,"lock":"disk"},
        {"status":"running","vmid":"300","type":"qemu","node":"pve2","id":"qemu/300","template":0},
        {"type":"node","node":"pve1"}]}"#;
    let pve = pve("GET /cluster/resources?type=vm", 200, list);
    let guests = pve.guests().await.expect("a list");
    let brief: Vec<_> = guests
        .iter()
        .map(|guest| (guest.vmid.0, guest.node.as_str(), guest.kind, guest.template, guest.status.as_deref()))
        .collect();
    assert_eq!(
        brief,
        [
            (261, "pve1", GuestKind::Lxc, None, None),
            (9000, "pve1", GuestKind::Lxc, Some(true), Some("stopped")),
            (300, "pve2", GuestKind::Qemu, Some(false), Some("running")),
        ]
    );
    assert_eq!(guests[1].lock.as_deref(), Some("disk"));
    assert_eq!(pve.find(Vmid(300)).await, Ok(Some("pve2".into())));
    assert_eq!(pve.find(Vmid(301)).await, Ok(None));
}

#[tokio::test]
async fn without_the_clusters_list_the_nodes_are_asked() {
    let nodes = r#"{"data":[{"node":"pve1","status":"online"},{"node":"pve2","status":"offline"}]}"#;
    for (status, text) in
        [(501, "not implemented"), (403, "Permission check failed"), (200, r#"{"data":null}"#)]
    {
        let (pve, script) = script(&[
            ("GET /cluster/resources?type=vm", status, text),
            ("GET /nodes", 200, nodes),
            ("GET /nodes/pve1/lxc", 200, r#"{"data":[{"vmid":"201","status":"running","name":"a"}]}"#),
            ("GET /nodes/pve1/qemu", 200, r#"{"data":[{"vmid":300,"status":"stopped"}]}"#),
        ]);
        let guests = pve.guests().await.expect("a list");
        let brief: Vec<_> = guests.iter().map(|guest| (guest.vmid.0, guest.kind, guest.template)).collect();
        assert_eq!(
            brief,
            [(201, GuestKind::Lxc, Some(false)), (300, GuestKind::Qemu, Some(false))],
            "{status}"
        );
        let calls = script.calls.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(
            !calls.iter().any(|call| call.contains("pve2")),
            "a node that is down is not asked: {calls:?}"
        );
    }
}

#[tokio::test]
async fn a_list_that_cannot_be_had_is_never_an_empty_one() {
    let down = pve("GET /cluster/resources?type=vm", 595, "Connection refused");
    assert_eq!(kind(down.guests().await), Err(FaultKind::NodeUnreachable));
    let (broken, _) = script(&[
        ("GET /cluster/resources?type=vm", 501, ""),
        ("GET /nodes", 200, r#"{"data":[{"node":"pve1","status":"online"}]}"#),
        ("GET /nodes/pve1/lxc", 200, r#"{"data":[]}"#),
        ("GET /nodes/pve1/qemu", 596, "Connection timed out"),
    ]);
    assert_eq!(kind(broken.guests().await), Err(FaultKind::OutcomeUnknown));
    let nameless = pve("GET /nodes/pve1/lxc", 200, r#"{"data":[{"status":"running"}]}"#);
    assert_eq!(kind(nameless.containers(&node()).await), Err(FaultKind::Unreadable));
}

#[tokio::test]
async fn a_vmid_is_free_when_nextid_says_so() {
    let pve = |status, text| pve("GET /cluster/nextid?vmid=200", status, text);
    assert_eq!(pve(200, r#"{"data":"200"}"#).vmid_free(Vmid(200)).await, Ok(true));
    let taken = pve(500, "VM 200 already exists on node 'pve1'");
    assert_eq!(taken.vmid_free(Vmid(200)).await, Ok(false));
    assert_eq!(kind(pve(401, "No ticket").vmid_free(Vmid(200)).await), Err(FaultKind::Unauthorized));
    assert_eq!(kind(pve(0, "reset").vmid_free(Vmid(200)).await), Err(FaultKind::OutcomeUnknown));
}

#[tokio::test]
async fn a_container_is_read_with_what_perl_leaves_out() {
    let config = r#"{"data":{"unprivileged":1,"hostname":"c210","protection":1,"tags":"base","onboot":1,
        "rootfs":"pool:210/vm-210-disk-0.raw,size=1G","mp0":"data:vm-210-disk-0,mp=/srv","digest":"923d","net0":"bridge=vmbr0","description":"tmpl-text\n"}}"#;
    let (pve, _) = script(&[
        ("GET /nodes/pve1/lxc/210/config?current=1", 200, config),
        (
            "GET /nodes/pve1/lxc/211/config?current=1",
            200,
            r#"{"data":{"lock":"create","template":"1","digest":"1"}}"#,
        ),
        (
            "GET /nodes/pve1/lxc/212/config?current=1",
            500,
            "Configuration file 'nodes/pve1/lxc/212.conf' does not exist",
        ),
        (
            "GET /nodes/pve1/lxc/210/status/current",
            200,
            r#"{"data":{"status":"running","vmid":210,"name":"c210","pressurecpufull":null}}"#,
        ),
        (
            "GET /nodes/pve1/lxc",
            200,
            r#"{"data":[{"vmid":"210","status":"stopped","name":"c210","lock":"create","template":1}]}"#,
        ),
        (
            "GET /nodes",
            200,
            r#"{"data":[{"node":"pve1","status":"online"},{"node":"pve2","status":"unknown"}]}"#,
        ),
        ("GET /version", 200, r#"{"data":{"version":"9.2.11","repoid":"14a22df3","release":"9.2"}}"#),
    ]);
    assert_eq!(
        pve.config(&node(), Vmid(210)).await,
        Ok(CtConfig {
            hostname: Some("c210".to_owned()),
            description: Some("tmpl-text".to_owned()),
            onboot: true,
            protection: true,
            digest: Some("923d".to_owned()),
            rootfs: Some("pool:210/vm-210-disk-0.raw,size=1G".to_owned()),
            mounts: [("mp0".to_owned(), "data:vm-210-disk-0,mp=/srv".to_owned())].into(),
            bridges: vec!["vmbr0".to_owned()],
            ..CtConfig::default()
        })
    );
    let half_made = pve.config(&node(), Vmid(211)).await.expect("a configuration");
    assert_eq!(
        (half_made.template, half_made.lock.as_deref(), half_made.rootfs),
        (true, Some("create"), None)
    );
    assert_eq!(kind(pve.config(&node(), Vmid(212)).await), Err(FaultKind::Gone));
    let status = CtStatus { running: true, lock: None, name: Some("c210".to_owned()), template: false };
    assert_eq!(pve.status(&node(), Vmid(210)).await, Ok(status));
    let row = CtRow {
        vmid: Vmid(210),
        name: Some("c210".to_owned()),
        running: false,
        lock: Some("create".to_owned()),
        template: true,
    };
    assert_eq!(pve.containers(&node()).await, Ok(vec![row]));
    let nodes = [("pve1", true), ("pve2", false)].map(|(name, online)| NodeRow { name: name.into(), online });
    assert_eq!(pve.nodes().await, Ok(nodes.to_vec()));
    assert_eq!(pve.version().await, Ok("9.2.11".to_owned()));
}

#[tokio::test]
async fn writes_send_what_was_asked_and_answer_with_their_task() {
    let answer = format!(r#"{{"data":"{UPID}"}}"#);
    let lxc = "/nodes/pve1/lxc/201";
    let calls = [
        "POST /nodes/pve1/lxc/9000/clone?newid=201&hostname=pool-9000-0a1b2c3d&description=mine&full=0&pool=warm"
            .to_owned(),
        format!("POST {lxc}/status/start"),
        format!("POST {lxc}/status/stop"),
        format!("POST {lxc}/status/stop?overrule-shutdown=1"),
        format!("DELETE {lxc}?purge=1"),
        format!("PUT {lxc}/config?hostname=box&description=d&onboot=0&protection=0&digest=923d"),
    ];
    let answers: Vec<_> = calls.iter().map(|call| (call.as_str(), 200, answer.as_str())).collect();
    let (pve, script) = script(&answers);
    let (node, vmid, upid) = (node(), Vmid(201), Ok(Upid::from(UPID)));
    let request = CloneRequest {
        newid: vmid,
        hostname: "pool-9000-0a1b2c3d".into(),
        description: "mine".to_owned(),
        full: false,
        pool: Some("warm".to_owned()),
    };
    assert_eq!(pve.clone_ct(&node, Vmid(9000), &request).await, upid);
    assert_eq!(pve.start(&node, vmid).await, upid);
    assert_eq!(pve.stop(&node, vmid, false).await, upid);
    assert_eq!(pve.stop(&node, vmid, true).await, upid);
    assert_eq!(pve.destroy(&node, vmid).await, upid);
    let change = ConfigChange {
        hostname: Some("box".into()),
        description: Some("d".to_owned()),
        digest: Some("923d".to_owned()),
        clear_onboot: true,
        clear_protection: true,
    };
    assert_eq!(pve.set_config(&node, vmid, &change).await, Ok(()));
    assert_eq!(*script.calls.lock().unwrap_or_else(PoisonError::into_inner), calls);
}

#[tokio::test]
async fn a_write_without_a_upid_may_have_happened() {
    for (status, text, expected) in [
        (200, r#"{"data":null}"#, FaultKind::Unreadable),
        (200, r#"{"data":"OK"}"#, FaultKind::Unreadable),
        (200, "", FaultKind::Unreadable),
        (0, "connection reset", FaultKind::OutcomeUnknown),
        (596, "Connection timed out", FaultKind::OutcomeUnknown),
        (500, "can't lock file '/var/log/pve/tasks/.active.lock' - got timeout", FaultKind::OutcomeUnknown),
    ] {
        let pve = pve("POST /nodes/pve1/lxc/201/status/start", status, text);
        let error = pve.start(&node(), Vmid(201)).await.expect_err(text);
        assert_eq!(error.kind, expected);
        assert!(error.kind.may_have_happened());
        assert_eq!(error.call, "POST /nodes/pve1/lxc/201/status/start");
    }
}

#[tokio::test]
async fn tasks_are_asked_of_their_own_node() {
    let status = format!("GET /nodes/pve1/tasks/{ESCAPED_UPID}/status");
    let log = format!("GET /nodes/pve1/tasks/{ESCAPED_UPID}/log?limit=50");
    let list = "GET /nodes/pve1/tasks?source=all&typefilter=vzclone&vmid=9000&since=1795489603&limit=100";
    let rows = format!(
        r#"{{"data":[{{"status":"RUNNING","starttime":1795489603,"saved":"0","upid":"{UPID}"}},
        {{"status":"OK","starttime":1795489600,"endtime":1795489602,"upid":"{UPID}"}}],"total":2}}"#
    );
    let (pve, _) = script(&[
        (&status, 200, r#"{"data":{"status":"stopped","exitstatus":"WARNINGS: 1"}}"#),
        (&log, 200, r#"{"total":2,"data":[{"n":1,"t":"creating"},{"t":"TASK OK","n":2}]}"#),
        (list, 200, &rows),
    ]);
    let upid = Upid::from(UPID);
    assert_eq!(pve.task(&upid).await, Ok(TaskState::Ended(Ok(Warnings(true)))));
    assert_eq!(pve.task_log(&upid, 50).await, Ok(vec!["creating".to_owned(), "TASK OK".to_owned()]));
    let row = |running, seconds: i64, exit: Option<&str>| TaskRow {
        upid: upid.clone(),
        running,
        started: Timestamp(seconds * 1000),
        exit: exit.map(str::to_owned),
    };
    assert_eq!(
        pve.clone_tasks(&node(), Vmid(9000), Timestamp(1_795_489_603_999)).await,
        Ok(vec![row(true, 1_795_489_603, None), row(false, 1_795_489_600, Some("OK"))])
    );
    assert_eq!(kind(pve.task(&"garbage".into()).await), Err(FaultKind::Invalid));
}

#[tokio::test]
async fn rights_storages_and_links_are_told() {
    let (pve, _) = script(&[
        (
            "GET /access/permissions?path=/pool/warm",
            200,
            r#"{"data":{"/pool/warm":{"VM.Audit":1,"VM.Allocate":0}}}"#,
        ),
        ("GET /access/permissions?path=/vms/1", 200, r#"{"data":{}}"#),
        ("GET /nodes/pve1/lxc/9000/feature?feature=clone", 200, r#"{"data":{"hasFeature":1}}"#),
        ("GET /nodes/pve1/lxc/9001/feature?feature=clone", 200, r#"{"data":{}}"#),
        (
            "GET /nodes/pve1/storage",
            200,
            r#"{"data":[{"content":"images,rootdir","avail":2597666816,"total":"3221225472","type":"btrfs","enabled":1,"storage":"pool","active":0}]}"#,
        ),
    ]);
    let rights = BTreeSet::from(["VM.Allocate".to_owned(), "VM.Audit".to_owned()]);
    assert_eq!(pve.permissions("/pool/warm").await, Ok(rights));
    assert_eq!(pve.permissions("/vms/1").await, Ok(BTreeSet::new()));
    assert_eq!(pve.can_link(&node(), Vmid(9000)).await, Ok(true));
    assert_eq!(pve.can_link(&node(), Vmid(9001)).await, Ok(false));
    let storages = pve.storages(&node()).await.expect("a list");
    assert_eq!(storages[0].content, ["images", "rootdir"]);
    assert_eq!((storages[0].enabled, storages[0].active), (true, false));
    assert_eq!(
        (storages[0].available_bytes, storages[0].total_bytes),
        (Some(2_597_666_816), Some(3_221_225_472))
    );
}

/// Makes every call there is; what they answer does not matter here.
pub(super) async fn call_everything(pve: &Pve) {
    let (node, ct, template) = (node(), Vmid(205), Vmid(9000));
    let clone = CloneRequest {
        newid: ct,
        hostname: "pool-9000-1".into(),
        description: String::new(),
        full: false,
        pool: None,
    };
    let _ = (pve.version().await, pve.nodes().await, pve.guests().await, pve.containers(&node).await);
    let _ = (pve.vmid_free(ct).await, pve.config(&node, ct).await, pve.status(&node, ct).await);
    let _ = (pve.set_config(&node, ct, &ConfigChange::default()).await, pve.can_link(&node, template).await);
    let _ = (pve.clone_ct(&node, template, &clone).await, pve.start(&node, ct).await);
    let _ = (pve.stop(&node, ct, false).await, pve.destroy(&node, ct).await, pve.storages(&node).await);
    let _ = (pve.task(&Upid::from(UPID)).await, pve.task_log(&Upid::from(UPID), 10).await);
    let _ = (pve.clone_tasks(&node, template, Timestamp(0)).await, pve.permissions("/pool/warm").await);
}

#[tokio::test]
async fn an_observer_is_told_of_every_call_by_name() {
    let nodes = r#"{"data":[{"node":"pve1","status":"online"}]}"#;
    let (pve, _) = script(&[
        ("GET /version", 200, r#"{"data":{"version":"9.2.11"}}"#),
        ("GET /nodes", 200, nodes),
        ("GET /cluster/resources?type=vm", 501, "not implemented"),
        ("GET /nodes/pve1/lxc", 200, r#"{"data":[]}"#),
        ("GET /nodes/pve1/lxc/205/config?current=1", 500, "CT is locked (disk)"),
        ("GET /nodes/pve1/lxc/205/status/current", 403, "Permission check failed"),
    ]);
    let told: Arc<Mutex<BTreeMap<&str, Outcome>>> = Arc::default();
    let observed = Arc::clone(&told);
    let pve = pve.observed_by(Arc::new(move |called| {
        let is_write = ["set_config", "clone", "start", "stop", "destroy"].contains(&called.name);
        assert_eq!(called.write, is_write, "{}", called.name);
        observed.lock().unwrap_or_else(PoisonError::into_inner).insert(called.name, called.outcome);
    }));
    call_everything(&pve).await;
    let told = told.lock().unwrap_or_else(PoisonError::into_inner);
    let names: BTreeSet<_> = told.keys().copied().collect();
    let known: BTreeSet<_> = CALLS.iter().copied().filter(|name| *name != "other").collect();
    assert_eq!(names, known);
    assert_eq!(told["version"], Outcome::Ok);
    assert_eq!(told["config"], Outcome::Locked);
    assert_eq!(told["status"], Outcome::Refused);
    assert_eq!(told["start"], Outcome::Unanswered);
}
