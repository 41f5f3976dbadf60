//! Comparisons of a scripted PVE with a State: which findings, and how many reads they take.

use std::sync::Arc;

use ulid::Ulid;

use super::compare::{Compared, compare, vmid_of};
use super::stranger::Strangers;
use super::{may_compare, reconciled};
use crate::clock::Clock;
use crate::domain::command::{Finding, Observation};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{AllocationId, CloneId, InstanceId, Seq, Vmid};
use crate::domain::state::{Container, HandOut, Holding, Phase, ServicePhase, State};
use crate::engine::Published;
use crate::provision::site::Site;
use crate::provision::tests::{
    CHANGED, DONE, ENDED_OK, EPOCH, FORBIDDEN, FREE, GONE, POOL_NAME, RUNNING, SILENCE, Script, TAKEN,
    config, pooled,
};
use crate::pve::Pve;

mod reads;
mod running;

const CONFIG: &str = "GET lxc/205/config";
const STATUS: &str = "GET lxc/205/status/current";
const NEXTID: &str = "GET cluster/nextid vmid=205";
const NODES: (&str, (u16, &str)) = (
    "GET nodes",
    (200, r#"{"data":[{"node":"pve1","status":"online"},{"node":"pve2","status":"offline"}]}"#),
);

fn ready() -> Container {
    Container {
        vmid: Vmid(205),
        clone_id: CloneId(Ulid(7)),
        template: Vmid(9009),
        node: "pve1".into(),
        hostname: POOL_NAME.into(),
        created_at: EPOCH,
        created_seq: Seq(1),
        uses: 0,
        touched: Seq(1),
        doubt: None,
        delay: None,
        phase: Phase::Ready { since: EPOCH },
    }
}

fn allocated() -> Container {
    let holding = Holding {
        allocation_id: AllocationId(Ulid(9)),
        instance_id: InstanceId::from("box"),
        metadata: std::collections::BTreeMap::new(),
        start: true,
        from_pool: true,
        ttl_seconds: None,
        asked_at: EPOCH,
        attempt: 0,
        deadline: EPOCH,
        stage: HandOut::Done,
        completed_at: Some(EPOCH),
        expires_at: None,
        orphaned: false,
    };
    Container { hostname: "box".into(), phase: Phase::Allocated(holding), ..ready() }
}

fn doubted() -> Container {
    Container { doubt: Some("renamed".to_owned()), ..ready() }
}

fn quarantined() -> Container {
    let fault = Fault::new(FaultKind::Locked, "CT is locked (create)");
    Container { phase: Phase::Quarantined { fault, instance_id: None }, ..ready() }
}

fn state(containers: &[Container]) -> State {
    let mut state = State::default();
    state.settings = crate::domain::settings::Settings::default();
    for container in containers {
        state.containers.insert(container.vmid, container.clone());
    }
    state
}

/// A node's list with one container in it.
fn row(name: &str, status: &str, more: &str) -> String {
    format!(r#"{{"data":[{{"vmid":205,"name":"{name}","status":"{status}"{more}}}]}}"#)
}

fn brief(finding: &Finding) -> String {
    assert_eq!(vmid_of(finding), Vmid(205));
    match finding {
        Finding::Lost { reason, .. } if reason.starts_with("replaced: ") => "replaced".to_owned(),
        Finding::Lost { .. } => "lost".to_owned(),
        Finding::Discovered(found) => {
            let who = found.instance_id.as_ref().map_or("nobody", |instance_id| instance_id.as_str());
            let stuck = found.stuck.as_ref().and_then(|fault| fault.hint.clone()).unwrap_or_default();
            let clone_id = if found.clone_id.is_some() { "marked" } else { "unmarked" };
            let making = if found.making.is_some() { " in the making" } else { "" };
            format!("discovered {clone_id} {} of {}, {who}{making}{stuck}", found.hostname, found.template)
        }
        Finding::Moved { node, .. } => format!("moved {node}"),
        Finding::Doubtful { .. } => "doubtful".to_owned(),
        Finding::Confirmed { .. } => "confirmed".to_owned(),
        Finding::Unready { fault, .. } => format!("unready {}", fault.kind.code()),
        Finding::Freed { .. } => "freed".to_owned(),
    }
}

async fn check(
    containers: &[Container],
    list: &str,
    answers: &[(&str, (u16, &str))],
    expected: &str,
) -> Arc<Script> {
    let mut all = vec![NODES, ("GET lxc", (200, list))];
    all.extend(answers);
    let script = Script::new(&all);
    let site = Site::new(Pve::new(script.clone()), Clock::virtual_from(EPOCH));
    let compared = compare(&site, &state(containers), &mut Strangers::default()).await.expect("a comparison");
    let findings: Vec<String> = compared.findings.iter().map(brief).collect();
    assert_eq!(findings.join(" "), expected, "{list} {answers:?}");
    assert!(script.writes().is_empty());
    script
}

#[tokio::test(start_paused = true)]
async fn a_container_that_is_as_it_should_be_is_not_even_read() {
    let running = Container { hostname: POOL_NAME.into(), ..allocated() };
    for (container, list) in [
        (ready(), row(POOL_NAME, "stopped", "")),
        (allocated(), row("box", "running", "")),
        (allocated(), row("box", "stopped", r#","lock":"backup""#)),
        // Its instance's name is on its way.
        (running.clone(), row(POOL_NAME, "running", "")),
        (running, row("box", "running", "")),
    ] {
        let script = check(&[container], &list, &[], "").await;
        assert_eq!((script.count(CONFIG), script.count(STATUS)), (0, 0), "{list}");
    }
}

#[tokio::test(start_paused = true)]
async fn that_somebody_is_at_a_ready_container_is_read_from_itself() {
    let running = row(POOL_NAME, "running", "");
    let locked = row(POOL_NAME, "stopped", r#","lock":"backup""#);
    let (free, held) = (pooled(""), pooled(r#","lock":"backup""#));
    let [runs, stands] = [r#"{"data":{"status":"running"}}"#, r#"{"data":{"status":"stopped"}}"#];
    let no_answer = (595, "no route");
    for (list, config, status, expected) in [
        (&running, &free, (200, runs), "unready already_running"),
        (&running, &free, (200, stands), ""),
        (&running, &free, no_answer, ""),
        (&locked, &held, (200, stands), "unready locked"),
        (&locked, &free, (200, stands), ""),
    ] {
        check(&[ready()], list, &[(CONFIG, (200, config)), (STATUS, status)], expected).await;
    }
}

#[tokio::test(start_paused = true)]
async fn another_name_is_judged_by_the_configuration() {
    let renamed = row("web", "stopped", "");
    let (ours, foreign, pool) = (config("web", "OURS", ""), config("web", "notes", ""), pooled(""));
    for (container, config, expected) in [
        (ready(), &ours, "doubtful"),
        (doubted(), &ours, ""),
        (ready(), &foreign, "replaced"),
        (doubted(), &foreign, "replaced"),
        (ready(), &pool, ""),
        (doubted(), &pool, "confirmed"),
    ] {
        check(&[container], &renamed, &[(CONFIG, (200, config))], expected).await;
    }
    check(&[allocated()], &renamed, &[(CONFIG, (200, &foreign))], "replaced").await;
    let unheard_rename = config("box", "HELD", "");
    let listed = row("box", "stopped", "");
    check(&[ready()], &listed, &[(CONFIG, (200, &unheard_rename))], "unready config_changed").await;
    let template = pooled(r#","template":1"#);
    let listed = row(POOL_NAME, "stopped", r#","template":1"#);
    check(&[ready()], &listed, &[(CONFIG, (200, &template))], "replaced").await;
}

#[tokio::test(start_paused = true)]
async fn an_absent_container_is_lost_only_if_nobody_has_its_vmid() {
    let none = r#"{"data":[]}"#;
    let machine = r#"{"data":[{"vmid":205,"type":"qemu","node":"pve1"}]}"#;
    let elsewhere = r#"{"data":[{"vmid":205,"type":"lxc","node":"pve2"}]}"#;
    let pool = pooled("");
    let guests = "GET cluster/resources type=vm";
    for (answers, expected) in [
        (vec![(CONFIG, GONE), (NEXTID, FREE)], "lost"),
        (vec![(CONFIG, FORBIDDEN), (NEXTID, FREE)], "lost"),
        (vec![(CONFIG, GONE), (NEXTID, TAKEN), (guests, (200, machine))], "replaced"),
        (vec![(CONFIG, GONE), (NEXTID, TAKEN), (guests, (200, elsewhere))], ""),
        (vec![(CONFIG, GONE), (NEXTID, (595, "no route"))], ""),
        (vec![(CONFIG, (200, pool.as_str()))], ""),
        (vec![(CONFIG, (595, "no route"))], ""),
    ] {
        check(&[ready()], none, &answers, expected).await;
        check(&[allocated()], none, &answers, expected).await;
    }
    // Nobody may have it until it can be read again; whoever has it keeps it.
    for answers in [
        vec![(CONFIG, FORBIDDEN), (NEXTID, TAKEN)],
        vec![(CONFIG, GONE), (NEXTID, TAKEN), (guests, (200, none))],
    ] {
        check(&[ready()], none, &answers, "doubtful").await;
        check(&[doubted()], none, &answers, "").await;
        check(&[allocated()], none, &answers, "").await;
    }
    let of_dead_node = Container { node: "pve2".into(), ..ready() };
    let denied = [("GET nodes/pve2/lxc/205/config", GONE), (NEXTID, FREE)];
    check(&[of_dead_node], none, &denied, "").await;
}

#[tokio::test(start_paused = true)]
async fn a_container_on_another_node_has_moved_if_it_is_ours() {
    let was_on = Container { node: "pve2".into(), ..ready() };
    let (pool, foreign) = (
        pooled(""),
        config(POOL_NAME, "sandbox-pool:v1 vmid=205 clone=0000000000000000000000000A template=9009", ""),
    );
    let listed = row(POOL_NAME, "stopped", "");
    check(std::slice::from_ref(&was_on), &listed, &[(CONFIG, (200, &pool))], "moved pve1").await;
    check(&[was_on], &listed, &[(CONFIG, (200, &foreign))], "replaced").await;
}

#[tokio::test(start_paused = true)]
async fn a_quarantine_ends_with_its_lock() {
    let listed = row(POOL_NAME, "stopped", "");
    let (free, locked) = (pooled(""), pooled(r#","lock":"create""#));
    check(&[quarantined()], &listed, &[(CONFIG, (200, &free))], "freed").await;
    check(&[quarantined()], &listed, &[(CONFIG, (200, &locked))], "").await;
    check(&[quarantined()], r#"{"data":[]}"#, &[(CONFIG, GONE), (NEXTID, FREE)], "lost").await;
}

#[tokio::test(start_paused = true)]
async fn what_names_itself_is_taken_on() {
    let marked = "discovered marked pool-9009-00000007 of 9009,";
    let unmarked = "discovered unmarked pool-9009-00000007 of 9009,";
    for (description, hostname, status, more, expected) in [
        ("OURS", POOL_NAME, "stopped", "", format!("{marked} nobody")),
        ("OURS", POOL_NAME, "running", "", format!("{marked} {POOL_NAME}")),
        ("HELD", "box", "running", "", "discovered marked box of 9009, box".to_owned()),
        ("HELD", "box", "stopped", r#","lock":"backup""#, "discovered marked box of 9009, box".to_owned()),
        ("HELD", POOL_NAME, "stopped", "", format!("{marked} box")),
        ("notes", POOL_NAME, "stopped", "", format!("{unmarked} nobody")),
        ("notes", POOL_NAME, "running", "", format!("{unmarked} {POOL_NAME}")),
        ("OURS", POOL_NAME, "stopped", r#","lock":"create""#, format!("{marked} nobodypct unlock 205")),
        ("OURS", POOL_NAME, "stopped", r#","lock":"backup""#, String::new()),
        ("OURS", "web", "stopped", "", String::new()),
        ("HELD", "web", "stopped", "", String::new()),
        ("notes", "pool-manager", "stopped", "", String::new()),
        (
            "sandbox-pool:v1 vmid=204 clone=0000000000000000000000000A template=9009",
            POOL_NAME,
            "stopped",
            "",
            String::new(),
        ),
        ("OURS", POOL_NAME, "stopped", r#","template":1"#, String::new()),
    ] {
        let config = config(hostname, description, more);
        let answers = [(CONFIG, (200, config.as_str())), ("GET tasks", (200, r#"{"data":[]}"#))];
        check(&[], &row(hostname, status, ""), &answers, &expected).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_becomes_ready_is_as_if_it_had_just_been_made() {
    let put = "PUT lxc/205/config onboot=0 protection=0";
    let of_nobody = ("OURS", POOL_NAME, "stopped");
    for (whose, answer, writes, found) in [
        (of_nobody, DONE, 1, true),
        (of_nobody, CHANGED, 1, false),
        (("OURS", POOL_NAME, "running"), DONE, 0, true),
        (("HELD", "box", "stopped"), DONE, 0, true),
    ] {
        let (description, hostname, status) = whose;
        let (list, config) =
            (row(hostname, status, ""), config(hostname, description, r#","onboot":1,"protection":1"#));
        let script =
            Script::new(&[NODES, ("GET lxc", (200, &list)), (CONFIG, (200, &config)), (put, answer)]);
        let site = Site::new(Pve::new(script.clone()), Clock::virtual_from(EPOCH));
        let compared = compare(&site, &state(&[]), &mut Strangers::default()).await.expect("a comparison");
        assert_eq!(
            (compared.findings.len(), compared.unread.is_none()),
            (usize::from(found), found),
            "{whose:?}"
        );
        assert_eq!(script.writes().len(), writes, "{whose:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_being_cloned_is_found_with_the_task_that_makes_it() {
    let tasks = r#"{"data":[{"upid":"UPID:pve1:00001887:000736EB:6B04FF43:vzclone:9009:sandbox@pve!pool:","status":"RUNNING","starttime":1}]}"#;
    let locked = pooled(r#","lock":"create""#);
    let listed = row(POOL_NAME, "stopped", r#","lock":"create""#);
    let config = (CONFIG, (200, locked.as_str()));
    let (tasks, task) = (("GET tasks", (200, tasks)), "GET tasks/UPID/status");
    let making = "discovered marked pool-9009-00000007 of 9009, nobody in the making";
    check(&[], &listed, &[config, tasks, (task, RUNNING)], making).await;
    let stuck = "discovered marked pool-9009-00000007 of 9009, nobodypct unlock 205";
    check(&[], &listed, &[config, tasks, (task, ENDED_OK)], stuck).await;
}

#[tokio::test(start_paused = true)]
async fn a_stranger_is_read_once_for_each_name() {
    let (foreign, other) = (row("web", "running", ""), row("db", "running", ""));
    let config = config("web", "notes", "");
    let list = "GET lxc";
    let script = Script::new(&[
        NODES,
        (list, (200, &foreign)),
        (list, (200, &foreign)),
        (list, (200, &other)),
        (list, (200, &foreign)),
        (CONFIG, (200, &config)),
    ]);
    let site = Site::new(Pve::new(script.clone()), Clock::virtual_from(EPOCH));
    let mut strangers = Strangers::default();
    for reads in [1, 1, 2, 3, 3] {
        let compared = compare(&site, &state(&[]), &mut strangers).await;
        assert_eq!(compared, Ok(Compared { findings: vec![], unread: None }));
        assert_eq!(script.count(CONFIG), reads);
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_that_cannot_be_had_says_nothing() {
    for (nodes, list, outage) in [
        (SILENCE, SILENCE, true),
        (NODES.1, SILENCE, true),
        (NODES.1, (595, "Connection refused"), false),
        ((500, "cluster not ready - no quorum?"), SILENCE, false),
    ] {
        let script = Script::new(&[("GET nodes", nodes), ("GET lxc", list)]);
        let site = Site::new(Pve::new(script), Clock::virtual_from(EPOCH));
        assert!(compare(&site, &state(&[ready()]), &mut Strangers::default()).await.is_err());
        assert_eq!(site.outage().is_some(), outage);
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_cannot_tell_is_left_out_and_a_silent_pve_says_nothing() {
    let nodes = r#"{"data":[{"node":"pve1","status":"online"},{"node":"pve2","status":"online"}]}"#;
    let denied = [(CONFIG, GONE), (NEXTID, FREE)];
    for (other, findings) in [((595, "no route"), Some("lost")), (SILENCE, None)] {
        let mut answers = vec![("GET nodes", (200, nodes)), ("GET lxc", (200, r#"{"data":[]}"#))];
        answers.extend([("GET nodes/pve2/lxc", other)].iter().chain(&denied));
        let site = Site::new(Pve::new(Script::new(&answers)), Clock::virtual_from(EPOCH));
        let found = compare(&site, &state(&[ready()]), &mut Strangers::default()).await.ok();
        let found = found.map(|compared| compared.findings.iter().map(brief).collect::<Vec<_>>().join(" "));
        assert_eq!(found.as_deref(), findings, "{other:?}");
        assert_eq!(site.outage().is_some(), findings.is_none());
    }
}

fn published(phase: ServicePhase, reachable: bool, reconciled: bool) -> Published {
    let mut state = State::default();
    state.service.phase = phase;
    state.service.reconciled = reconciled;
    state.service.pve_unreachable = (!reachable).then(|| (EPOCH, "connection refused".to_owned()));
    Published { state: Arc::new(state), head: Seq(7), unwritable: None }
}

#[test]
fn a_comparison_is_of_use_while_the_service_runs_pve_answers_and_the_log_takes_it() {
    let running = published(ServicePhase::Running, true, true);
    assert!(may_compare(&running));
    assert!(!may_compare(&Published { unwritable: Some("no space".to_owned()), ..running }));
    assert!(!may_compare(&published(ServicePhase::Running, false, true)));
    assert!(!may_compare(&published(ServicePhase::Stopping, true, true)));
}

#[test]
fn a_comparison_without_findings_is_news_once() {
    let [first, later] = [false, true].map(|seen| published(ServicePhase::Running, true, seen));
    let freed = || vec![Finding::Freed { vmid: Vmid(205) }];
    let news = |findings| Some(Observation::Reconciled { as_of: Seq(7), findings });
    let compared = |findings| Ok(Compared { findings, unread: None });
    assert_eq!(reconciled(&first, compared(vec![])), news(vec![]));
    assert_eq!(reconciled(&first, compared(freed())), news(freed()));
    assert_eq!(reconciled(&later, compared(vec![])), None);
    assert_eq!(reconciled(&later, compared(freed())), news(freed()));
}

#[tokio::test(start_paused = true)]
async fn a_comparison_is_complete_if_all_that_is_unknown_could_be_read() {
    let nodes = r#"{"data":[{"node":"pve1","status":"online"},{"node":"pve2","status":"online"}]}"#;
    let (none, stranger) = (r#"{"data":[]}"#.to_owned(), row("web", "running", ""));
    let locked = row(POOL_NAME, "stopped", r#","lock":"create""#);
    let (foreign, in_the_making) = (config("web", "notes", ""), config("", "", r#","lock":"create""#));
    let (other, refused) = ("GET nodes/pve2/lxc", (500, "internal error"));
    for (known, list, config, of_other, complete) in [
        (None, &stranger, (200, foreign.as_str()), (200, none.as_str()), true),
        (None, &stranger, refused, (200, &none), false),
        (None, &stranger, SILENCE, (200, &none), false),
        (None, &stranger, FORBIDDEN, (200, &none), false),
        (None, &none, refused, (595, "No route to host"), false),
        (None, &locked, (200, &in_the_making), (200, &none), true),
        (Some(doubted()), &stranger, refused, (200, &none), true),
    ] {
        let answers =
            [("GET nodes", (200, nodes)), ("GET lxc", (200, list)), (other, of_other), (CONFIG, config)];
        let site = Site::new(Pve::new(Script::new(&answers)), Clock::virtual_from(EPOCH));
        let compared = compare(&site, &state(known.as_slice()), &mut Strangers::default()).await;
        let compared = compared.expect("a comparison");
        assert_eq!(
            (compared.findings, compared.unread.is_none()),
            (vec![], complete),
            "{list} {config:?} {of_other:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn of_all_that_is_unread_a_silent_node_is_what_counts() {
    let nodes = r#"{"data":[{"node":"pve1","status":"online"},{"node":"pve2","status":"online"},{"node":"pve3","status":"online"}]}"#;
    let (stranger, silent) = (row("web", "running", ""), (595, "No route to host"));
    let refused = (500, "internal error");
    for (of_second, of_third, is_silence) in
        [(silent, refused, true), (refused, silent, true), (refused, refused, false)]
    {
        let of_others = [("GET nodes/pve2/lxc", of_second), ("GET nodes/pve3/lxc", of_third)];
        let of_first =
            [("GET nodes", (200, nodes)), ("GET lxc", (200, stranger.as_str())), (CONFIG, refused)];
        let script = Script::new(&[of_first.as_slice(), &of_others].concat());
        let site = Site::new(Pve::new(script), Clock::virtual_from(EPOCH));
        let compared = compare(&site, &state(&[]), &mut Strangers::default()).await.expect("a comparison");
        let unread = compared.unread.map(|fault| fault.kind.is_silence());
        assert_eq!(unread, Some(is_silence), "{of_second:?} {of_third:?}");
    }
}
