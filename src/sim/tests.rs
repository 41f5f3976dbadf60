//! The model's own promises, in virtual time: locks, deaths, waiting, visibility, faults and what is noted.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    CtSpec, DEMO_TOKEN, Demo, Effect, FaultRule, InProcess, Model, On, Sim, Storage, ViolationRule, Which,
};
use crate::clock::Stopwatch;
use crate::domain::time::Timestamp;
use crate::pve::{Answer, Method, Request, Transport, Unanswered};

const EPOCH: Timestamp = Timestamp(1_795_489_579_000);
const CLONE: &str = "/nodes/pve1/lxc/9009/clone";

fn demo() -> Sim {
    Sim::demo(EPOCH, 1)
}

fn request(method: Method, path: &str, params: &[(&str, &str)]) -> Request {
    let params = params.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    Request { method, path: path.to_owned(), params }
}

async fn call(sim: &Sim, method: Method, path: &str, params: &[(&str, &str)]) -> Answer {
    sim.demo_transport().call(request(method, path, params)).await.unwrap()
}

async fn lost(sim: &Sim, method: Method, path: &str, params: &[(&str, &str)]) -> Unanswered {
    sim.demo_transport().call(request(method, path, params)).await.unwrap_err()
}

async fn post(sim: &Sim, path: &str, params: &[(&str, &str)]) -> Answer {
    call(sim, Method::Post, path, params).await
}

async fn get(sim: &Sim, path: &str) -> Value {
    let answer = call(sim, Method::Get, path, &[]).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.reason);
    serde_json::from_slice::<Value>(&answer.body).unwrap()["data"].take()
}

fn upid(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.reason);
    let document: Value = serde_json::from_slice(&answer.body).unwrap();
    document["data"].as_str().unwrap().to_owned()
}

/// Waits for a task's end and returns its exit status.
async fn exit(sim: &Sim, upid: &str) -> String {
    loop {
        let status = get(sim, &format!("/nodes/pve1/tasks/{upid}/status")).await;
        if let Some(exit) = status["exitstatus"].as_str() {
            return exit.to_owned();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn cloned(sim: &Sim, newid: &str) -> String {
    let upid = upid(&post(sim, CLONE, &[("newid", newid)]).await);
    exit(sim, &upid).await
}

fn rules(sim: &Sim) -> Vec<ViolationRule> {
    sim.violations().into_iter().map(|violation| violation.rule).collect()
}

#[tokio::test(start_paused = true)]
async fn a_whole_life_under_the_minimal_role_violates_nothing() {
    let sim = demo();
    assert_eq!(cloned(&sim, "201").await, "OK");
    let ct = "/nodes/pve1/lxc/201";
    let digest = get(&sim, &format!("{ct}/config")).await["digest"].as_str().unwrap().to_owned();
    let change = [("hostname", "box-1"), ("description", "mine"), ("digest", digest.as_str())];
    assert_eq!(call(&sim, Method::Put, &format!("{ct}/config"), &change).await.status, 200);
    for (verb, running) in [("start", true), ("stop", false)] {
        let upid = upid(&post(&sim, &format!("{ct}/status/{verb}"), &[]).await);
        assert_eq!(exit(&sim, &upid).await, "OK");
        assert_eq!(sim.ct(201).unwrap().running, running);
    }
    let upid = upid(&call(&sim, Method::Delete, ct, &[("purge", "1")]).await);
    assert_eq!(exit(&sim, &upid).await, "OK");
    assert_eq!(sim.ct(201), None);
    assert_eq!(sim.violations(), []);
}

#[tokio::test(start_paused = true)]
async fn of_eight_clones_at_once_one_wins() {
    let sim = demo();
    let calls = (201..209).map(|newid| {
        let (sim, newid) = (sim.clone(), newid.to_string());
        async move { post(&sim, CLONE, &[("newid", newid.as_str())]).await }
    });
    let answers = futures_util::future::join_all(calls).await;
    let refused = answers.iter().filter(|answer| answer.reason == "CT is locked (disk)").count();
    assert_eq!((refused, answers.len()), (7, 8));
    assert_eq!(sim.max_clones_in_flight_seen(9009), 1);
    assert!(rules(&sim).contains(&ViolationRule::SecondClone));
}

#[tokio::test(start_paused = true)]
async fn a_clone_refused_by_somebody_elses_lock_is_no_violation() {
    let sim = demo();
    sim.outside_lock(9009, "backup");
    assert_eq!(post(&sim, CLONE, &[("newid", "201")]).await.reason, "CT is locked (backup)");
    assert_eq!(sim.violations(), []);
}

#[tokio::test(start_paused = true)]
async fn the_locks_of_a_dead_worker_stay_until_somebody_removes_them() {
    let sim = demo();
    let upid = upid(&post(&sim, CLONE, &[("newid", "201")]).await);
    assert_eq!(sim.kill_running_clone(9009), 1);
    assert_eq!(exit(&sim, &upid).await, "unexpected status");
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert_eq!(sim.ct(9009).unwrap().lock.as_deref(), Some("disk"));
    assert_eq!(sim.ct(201).unwrap().lock.as_deref(), Some("create"));
    let destroy = call(&sim, Method::Delete, "/nodes/pve1/lxc/201", &[("force", "1")]).await;
    assert_eq!((destroy.status, destroy.reason.as_str()), (500, "CT is locked (create)"));
    sim.outside_unlock(201);
    sim.outside_unlock(9009);
    let destroy = call(&sim, Method::Delete, "/nodes/pve1/lxc/201", &[]).await;
    assert_eq!(destroy.status, 200);
    assert_eq!(cloned(&sim, "202").await, "OK");
}

#[tokio::test(start_paused = true)]
async fn a_dead_clone_is_listed_as_running_until_pvestatd_looks() {
    let sim = demo();
    let transport = sim.demo_transport();
    let listed = |source: &'static str| {
        let request = request(Method::Get, "/nodes/pve1/tasks", &[("source", source)]);
        let transport = &transport;
        async move {
            let answer = transport.call(request).await.unwrap();
            let rows: Value = serde_json::from_slice(&answer.body).unwrap();
            rows["data"].as_array().unwrap().len()
        }
    };
    post(&sim, CLONE, &[("newid", "201")]).await;
    sim.kill_running_clone(9009);
    assert_eq!((listed("active").await, listed("archive").await), (1, 0));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!((listed("active").await, listed("archive").await), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_failing_clone_cleans_up_and_its_number_can_be_used_again() {
    let sim = demo();
    sim.with(|model| model.edit_storage("pool", |storage| storage.free = 0));
    assert!(cloned(&sim, "201").await.ends_with("no space left on device"));
    assert_eq!(sim.ct(201), None);
    assert_eq!(sim.ct(9009).unwrap().lock, None);
    sim.with(|model| model.edit_storage("pool", |storage| storage.free = 1 << 30));
    assert_eq!(cloned(&sim, "201").await, "OK");
}

#[tokio::test(start_paused = true)]
async fn a_clone_is_refused_what_it_cannot_have() {
    let sim = demo();
    sim.with(|model| {
        model.set_storage("thick", Storage { kind: "lvm".to_owned(), linkable: false, ..Storage::btrfs() });
        model.add_ct(CtSpec::new(9011, "thick").template().storage("thick"));
        model.add_node("pve2");
        model.add_ct(CtSpec::new(300, "elsewhere").on("pve2"));
        model.grant_pool_role(DEMO_TOKEN, &["thick"]);
    });
    let refusals = [
        (CLONE, "200", "VM 200 already exists on node 'pve1'"),
        (CLONE, "300", "CT 300 already exists on node 'pve2'"),
        (
            "/nodes/pve1/lxc/9011/clone",
            "201",
            "Linked clone feature for 'thick:base-9011-disk-0' is not available",
        ),
        ("/nodes/pve2/lxc/9009/clone", "201", "Configuration file 'nodes/pve2/lxc/9009.conf' does not exist"),
    ];
    for (path, newid, reason) in refusals {
        assert_eq!(post(&sim, path, &[("newid", newid)]).await.reason, reason);
    }
    let full = post(&sim, "/nodes/pve1/lxc/9011/clone", &[("newid", "201"), ("full", "1")]).await;
    assert_eq!(exit(&sim, &upid(&full)).await, "OK");
}

#[tokio::test(start_paused = true)]
async fn a_change_waits_ten_seconds_for_a_shutdown() {
    let sim = demo();
    sim.add_ct(CtSpec::new(201, "stubborn").running().ignoring_shutdown().made_by(DEMO_TOKEN));
    sim.add_ct(CtSpec::new(202, "quick").running().made_by(DEMO_TOKEN));
    for vmid in [201, 202] {
        post(&sim, &format!("/nodes/pve1/lxc/{vmid}/status/shutdown"), &[]).await;
    }
    let began = Stopwatch::start();
    let change = [("hostname", "waits")];
    let late = call(&sim, Method::Put, "/nodes/pve1/lxc/202/config", &change).await;
    assert_eq!((late.status, began.elapsed().as_secs()), (200, 5));
    let began = Stopwatch::start();
    let never = call(&sim, Method::Put, "/nodes/pve1/lxc/201/config", &change).await;
    assert_eq!(never.reason, "can't lock file '/run/lock/lxc/pve-config-201.lock' - got timeout");
    assert_eq!(began.elapsed().as_secs(), 10);
    assert_eq!(rules(&sim), [ViolationRule::BusyWrite, ViolationRule::BusyWrite]);
}

#[tokio::test(start_paused = true)]
async fn waiting_changes_hold_the_workers_of_the_node() {
    let sim = demo();
    sim.add_ct(CtSpec::new(201, "stubborn").running().ignoring_shutdown());
    post(&sim, "/nodes/pve1/lxc/201/status/shutdown", &[("timeout", "600")]).await;
    let began = Stopwatch::start();
    let change = || async {
        let answer = call(&sim, Method::Put, "/nodes/pve1/lxc/201/config", &[("onboot", "0")]).await;
        (answer.status, began.elapsed().as_secs())
    };
    let changes = futures_util::future::join_all((0..12).map(|_| change()));
    let list = async {
        let answer = call(&sim, Method::Get, "/nodes/pve1/lxc", &[]).await;
        (answer.status, began.elapsed().as_secs())
    };
    let config = async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        get(&sim, "/nodes/pve1/lxc/9009/config").await;
        began.elapsed().as_secs()
    };
    let (changes, list, config) = tokio::join!(changes, list, config);
    let answered = |end: (u16, u64)| changes.iter().filter(|change| **change == end).count();
    assert_eq!((answered((500, 10)), answered((500, 20)), answered((500, 30))), (3, 3, 3));
    assert_eq!((answered((596, 30)), list, config), (3, (596, 30), 0));
}

#[tokio::test(start_paused = true)]
async fn a_token_of_a_resource_pool_sees_its_clone_only_at_the_end() {
    let sim = demo();
    let token = "pooled@pve!t";
    sim.with(|model| {
        model.add_pool("warm");
        model.add_token(token, "s", true);
        model.grant(token, "/pool/warm", &["VM.Allocate", "VM.Audit"]);
        model.grant(token, "/vms/9009", &["VM.Clone", "VM.Audit"]);
        model.grant(token, "/storage/pool", &["Datastore.AllocateSpace"]);
        model.grant(token, "/sdn/zones/localnetwork/vmbr0", &["SDN.Use"]);
    });
    let transport: InProcess = sim.transport(token, "s");
    let clone = request(Method::Post, CLONE, &[("newid", "201"), ("pool", "warm")]);
    assert_eq!(transport.call(clone).await.unwrap().status, 200);
    let config = || transport.call(request(Method::Get, "/nodes/pve1/lxc/201/config", &[]));
    assert_eq!(config().await.unwrap().reason, "Permission check failed (/vms/201, VM.Audit)");
    sim.skip_tasks();
    assert_eq!(config().await.unwrap().status, 200);
    assert_eq!(sim.ct(201).unwrap().pool.as_deref(), Some("warm"));
}

#[tokio::test(start_paused = true)]
async fn resources_show_a_reused_number_with_its_predecessors_name() {
    let sim = demo();
    let name = || async {
        let rows = get(&sim, "/cluster/resources").await;
        let row = rows.as_array().unwrap().iter().find(|row| row["vmid"] == 101).cloned();
        row.map(|row| (row["name"].as_str().map(str::to_owned), row["status"].as_str().unwrap().to_owned()))
    };
    let seen = |name: Option<&str>, status: &str| Some((name.map(str::to_owned), status.to_owned()));
    assert_eq!(name().await, seen(Some("pool-9009-customer"), "stopped"));
    sim.outside_destroy(101);
    assert_eq!(name().await, None);
    sim.add_ct(CtSpec::new(101, "successor").running());
    assert_eq!(name().await, seen(Some("pool-9009-customer"), "stopped"));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(name().await, seen(Some("successor"), "running"));
    sim.with(|model| model.set_pvestatd_up(false));
    tokio::time::sleep(Duration::from_mins(6)).await;
    assert_eq!(name().await, seen(None, "unknown"));
}

#[tokio::test(start_paused = true)]
async fn a_fault_strikes_before_or_after_the_effect() {
    let sim = demo();
    let reason = || "Connection timed out".to_owned();
    let effects = [
        (Effect::FailBefore { status: 596, reason: reason() }, false),
        (Effect::FailAfter { status: 596, reason: reason() }, true),
        (Effect::NotSent, false),
        (Effect::DropBefore, false),
        (Effect::DropAfter, true),
    ];
    for (index, (effect, happened)) in effects.into_iter().enumerate() {
        let newid = (201 + index).to_string();
        sim.add_fault(FaultRule::once(On::clone_of(9009), effect.clone()));
        let clone = request(Method::Post, CLONE, &[("newid", newid.as_str())]);
        match sim.demo_transport().call(clone).await {
            Ok(answer) => assert_eq!((answer.status, answer.body.len()), (596, 0)),
            Err(Unanswered::NotSent(_)) => assert_eq!(effect, Effect::NotSent),
            Err(Unanswered::MaybeSent(_)) => {
                assert!(matches!(effect, Effect::DropBefore | Effect::DropAfter));
            }
        }
        assert_eq!(sim.ct(newid.parse().unwrap()).is_some(), happened, "{effect:?}");
        sim.skip_tasks();
    }
    assert_eq!(cloned(&sim, "220").await, "OK");
}

#[tokio::test(start_paused = true)]
async fn a_fault_strikes_the_nth_call_and_tasks() {
    let sim = demo();
    sim.add_fault(FaultRule { on: On::clone_of_any(), which: Which::Nth(2), effect: Effect::TaskWarns });
    assert_eq!(cloned(&sim, "201").await, "OK");
    assert_eq!(cloned(&sim, "202").await, "WARNINGS: 1");
    let exitstatus = "clone failed: bad luck".to_owned();
    sim.add_fault(FaultRule::once(On::clone_of_any(), Effect::TaskFails { exitstatus }));
    assert_eq!(cloned(&sim, "203").await, "clone failed: bad luck");
    assert_eq!(sim.ct(203), None);
    sim.add_fault(FaultRule::once(On::clone_of_any(), Effect::TaskDies));
    assert_eq!(cloned(&sim, "204").await, "unexpected status");
    assert_eq!(sim.ct(204).unwrap().lock.as_deref(), Some("create"));
    assert_eq!(sim.ct(204).unwrap().config.get("rootfs"), None);
}

#[tokio::test(start_paused = true)]
async fn a_fault_delays_or_stalls() {
    let sim = demo();
    let began = Stopwatch::start();
    sim.add_fault(FaultRule::once(On::anything(), Effect::Delay(Duration::from_secs(7))));
    get(&sim, "/version").await;
    assert_eq!(began.elapsed().as_secs(), 7);
    for (effect, happened) in [(Effect::Stall, false), (Effect::StallAfter, true)] {
        sim.add_fault(FaultRule::once(On::update(), effect));
        sim.add_ct(CtSpec::new(201, "before").made_by(DEMO_TOKEN));
        let change = call(&sim, Method::Put, "/nodes/pve1/lxc/201/config", &[("hostname", "after")]);
        assert!(tokio::time::timeout(Duration::from_mins(5), change).await.is_err());
        assert_eq!(sim.ct(201).unwrap().hostname.as_deref() == Some("after"), happened);
    }
    assert_eq!(sim.violations(), []);
}

#[tokio::test(start_paused = true)]
async fn a_call_goes_on_when_its_caller_has_gone() {
    let sim = demo();
    sim.add_fault(FaultRule::once(On::clone_of_any(), Effect::Delay(Duration::from_secs(5))));
    let clone = post(&sim, CLONE, &[("newid", "201")]);
    assert!(tokio::time::timeout(Duration::from_secs(1), clone).await.is_err());
    assert_eq!(sim.ct(201), None);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(sim.ct(201).unwrap().lock, None);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_token_costs_three_seconds() {
    let sim = demo();
    let began = Stopwatch::start();
    sim.set_token_enabled(DEMO_TOKEN, false);
    let answer = call(&sim, Method::Get, "/version", &[]).await;
    assert_eq!(
        (answer.status, answer.reason.as_str(), answer.body.len()),
        (401, "Authentication failed!", 0)
    );
    assert_eq!(began.elapsed().as_secs(), 3);
    sim.set_token_enabled(DEMO_TOKEN, true);
    get(&sim, "/version").await;
}

#[tokio::test(start_paused = true)]
async fn what_a_good_client_never_does_is_noted() {
    let sim = demo();
    sim.add_ct(CtSpec::new(201, "mine").made_by(DEMO_TOKEN));
    sim.add_ct(CtSpec::new(202, "old").adoptable());
    let rename = [("hostname", "x")];
    call(&sim, Method::Put, "/nodes/pve1/lxc/202/config", &rename).await;
    assert_eq!(sim.violations(), []);
    call(&sim, Method::Put, "/nodes/pve1/lxc/101/config", &[("hostname", "x"), ("digest", "0")]).await;
    assert_eq!(sim.violations(), []);
    call(&sim, Method::Put, "/nodes/pve1/lxc/101/config", &rename).await;
    assert_eq!(rules(&sim), [ViolationRule::ForeignWrite]);
    sim.outside_lock(201, "backup");
    call(&sim, Method::Put, "/nodes/pve1/lxc/201/config", &rename).await;
    assert_eq!(rules(&sim).len(), 1);
    tokio::time::sleep(Duration::from_secs(3)).await;
    call(&sim, Method::Put, "/nodes/pve1/lxc/201/config", &rename).await;
    assert_eq!(rules(&sim).last(), Some(&ViolationRule::LockedWrite));
    sim.outside_unlock(201);
    post(&sim, "/nodes/pve1/lxc/201/status/start", &[]).await;
    post(&sim, "/nodes/pve1/lxc/201/status/start", &[]).await;
    assert_eq!(rules(&sim).last(), Some(&ViolationRule::BusyWrite));
    sim.skip_tasks();
    sim.with(|model| model.convert_to_template(201));
    call(&sim, Method::Delete, "/nodes/pve1/lxc/201", &[]).await;
    assert_eq!(rules(&sim).last(), Some(&ViolationRule::TemplateDestroyed));
    let reads = (0..5).map(|_| get(&sim, "/nodes/pve1/lxc"));
    futures_util::future::join_all(reads).await;
    assert_eq!(rules(&sim).last(), Some(&ViolationRule::TooManyReads));
}

#[tokio::test(start_paused = true)]
async fn nodes_daemons_and_the_front_end_go_down() {
    let sim = demo();
    sim.with(|model| {
        model.add_node("pve2");
        model.add_ct(CtSpec::new(300, "elsewhere").on("pve2"));
    });
    sim.node_down("pve2");
    let answer = call(&sim, Method::Get, "/nodes/pve2/lxc/300/config", &[]).await;
    assert_eq!((answer.status, answer.reason.as_str()), (595, "No route to host"));
    let clone = upid(&post(&sim, CLONE, &[("newid", "201")]).await);
    sim.daemon_down("pve1");
    assert_eq!(call(&sim, Method::Get, "/nodes/pve1/lxc", &[]).await.status, 595);
    get(&sim, "/nodes/pve1/lxc/201/config").await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    sim.daemon_up("pve1");
    assert_eq!(exit(&sim, &clone).await, "OK");
    sim.front_end_down();
    assert!(matches!(lost(&sim, Method::Get, "/version", &[]).await, Unanswered::NotSent(_)));
    sim.front_end_up();
    get(&sim, "/version").await;
}

#[tokio::test(start_paused = true)]
async fn snapshots_are_made_and_rolled_back_to() {
    let sim = demo();
    sim.add_ct(CtSpec::new(201, "before").made_by(DEMO_TOKEN));
    sim.grant(DEMO_TOKEN, "/vms", &["VM.Snapshot", "VM.Snapshot.Rollback"]);
    let made = post(&sim, "/nodes/pve1/lxc/201/snapshot", &[("snapname", "clean")]).await;
    assert_eq!(exit(&sim, &upid(&made)).await, "OK");
    sim.outside_rename(201, "after");
    let back = post(&sim, "/nodes/pve1/lxc/201/snapshot/clean/rollback", &[]).await;
    assert_eq!(exit(&sim, &upid(&back)).await, "OK");
    assert_eq!(sim.ct(201).unwrap().hostname.as_deref(), Some("before"));
    let again = post(&sim, "/nodes/pve1/lxc/201/snapshot", &[("snapname", "clean")]).await;
    assert_eq!(exit(&sim, &upid(&again)).await, "snapshot name 'clean' already used");
    assert_eq!(get(&sim, "/nodes/pve1/lxc/201/snapshot").await.as_array().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_digest_differs_after_every_change() {
    let sim = demo();
    let digest = || async { get(&sim, "/nodes/pve1/lxc/101/config").await["digest"].clone() };
    let first = digest().await;
    assert_eq!(first, digest().await);
    sim.outside_rename(101, "other");
    assert_ne!(first, digest().await);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let mut model: Model = Demo::model(EPOCH, seed);
        model.durations_mut().jitter = Duration::from_secs(2);
        let on = On::clone_of_any();
        model.add_fault(FaultRule { on, which: Which::Chance(0.5), effect: Effect::DropBefore });
        for step in 0..20 {
            let newid = (201 + step).to_string();
            let clone = request(Method::Post, CLONE, &[("newid", newid.as_str())]);
            let header = format!("PVEAPIToken={DEMO_TOKEN}={}", super::DEMO_SECRET);
            let at = EPOCH.after(Duration::from_secs(4 * step));
            model.begin(at, super::Incoming::from_request(&clone, &header));
        }
        model.advance(EPOCH.after(Duration::from_mins(5)));
        format!("{model:?}")
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}

#[tokio::test(start_paused = true)]
async fn a_call_may_happen_after_its_596() {
    let sim = demo();
    sim.with(|model| model.durations_mut().proxy_limit = Duration::from_secs(3));
    sim.add_ct(CtSpec::new(201, "before").running().made_by(DEMO_TOKEN));
    post(&sim, "/nodes/pve1/lxc/201/status/shutdown", &[]).await;
    let change = call(&sim, Method::Put, "/nodes/pve1/lxc/201/config", &[("hostname", "after")]).await;
    assert_eq!((change.status, sim.ct(201).unwrap().hostname.as_deref()), (596, Some("before")));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(sim.ct(201).unwrap().hostname.as_deref(), Some("after"));
}

#[tokio::test(start_paused = true)]
async fn three_writes_at_a_node_are_too_many() {
    let sim = demo();
    for vmid in 201..204 {
        sim.add_ct(CtSpec::new(vmid, "mine").made_by(DEMO_TOKEN));
    }
    let start = |vmid: u32| {
        let path = format!("/nodes/pve1/lxc/{vmid}/status/start");
        let sim = &sim;
        async move { post(sim, &path, &[]).await }
    };
    tokio::join!(start(201), start(202));
    assert_eq!(sim.violations(), []);
    sim.skip_tasks();
    for vmid in [201, 202] {
        sim.outside_stop(vmid);
    }
    tokio::join!(start(201), start(202), start(203));
    assert_eq!(rules(&sim), [ViolationRule::TooManyWrites]);
}

#[tokio::test]
async fn over_http_a_dropped_connection_closes_without_an_answer() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let sim = demo();
    sim.add_fault(FaultRule::once(On::clone_of_any(), Effect::DropAfter));
    tokio::spawn(super::http::serve(listener, sim.clone(), std::future::pending()));
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /api2/json{CLONE}?newid=201 HTTP/1.1\r\nAuthorization: PVEAPIToken={DEMO_TOKEN}={}\r\n\r\n",
        super::DEMO_SECRET
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"");
    assert!(sim.ct(201).is_some());
}
