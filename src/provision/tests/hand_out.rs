//! The rename and the start of a hand-out.

use std::time::Duration;

use super::*;

const PUT: &str = "PUT lxc/205/config hostname=box description=HELD";

async fn rename(
    config: &[(u16, &str)],
    status: (u16, &str),
    more: &[(&str, (u16, &str))],
    resumed: bool,
) -> String {
    let mut answers: Vec<_> = config.iter().map(|answer| ("GET lxc/205/config", *answer)).collect();
    answers.push(("GET lxc/205/status/current", status));
    answers.extend(more);
    let action = Action::Rename { target: target(Some("box")), marker: held(), resumed };
    let (observation, writes, outage) = act(action, &answers).await;
    let writes: Vec<_> = writes.iter().map(|write| write.replace(PUT, "PUT")).collect();
    format!(
        "{}{}{}",
        brief(&observation),
        if outage { " OUTAGE" } else { "" },
        writes.iter().fold(String::new(), |all, write| format!("{all} [{write}]"))
    )
}

#[tokio::test(start_paused = true)]
async fn a_container_gets_its_instances_name_in_one_write() {
    let (pool, named) = (pooled(""), config("box", "HELD", ""));
    let put = [(PUT, DONE)];
    for (config, status, resumed, expected) in [
        (&pool, STOPPED, false, "renamed, running false [PUT]"),
        (&named, STOPPED, false, "renamed, running false"),
        (&named, RUNNING, false, "renamed, running true"),
        (&named, RUNNING, true, "renamed, running true"),
        (&pool, RUNNING, true, "renamed, running true [PUT]"),
        (&pool, RUNNING, false, "unusable already_running"),
        (&config_of("box", "OURS"), STOPPED, false, "renamed, running false [PUT]"),
        (&config_of("web", "OURS"), STOPPED, false, "doubt"),
        (&config_of("web", "notes"), STOPPED, false, "foreign"),
        (&pooled(r#","template":1"#), STOPPED, false, "foreign"),
        (&pooled(r#","lock":"backup""#), STOPPED, false, "unusable locked"),
        (&pooled(r#","lock":"destroyed""#), STOPPED, false, "stuck: pct unlock 205"),
        (&config("box", "HELD", r#","lock":"backup""#), RUNNING, true, "renamed, running true"),
    ] {
        let observed = rename(&[(200, config)], status, &put, resumed).await;
        assert_eq!(observed, expected, "{config} {status:?} {resumed}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_starts_or_keeps_a_container_by_itself_goes_with_the_name() {
    let config = pooled(r#","onboot":1,"protection":1"#);
    let put = [("PUT lxc/205/config hostname=box description=HELD onboot=0 protection=0", DONE)];
    let observed = rename(&[(200, &config)], STOPPED, &put, false).await;
    assert_eq!(observed, "renamed, running false [PUT onboot=0 protection=0]");
}

fn config_of(hostname: &str, description: &str) -> String {
    config(hostname, description, "")
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_passes_is_waited_for() {
    let (held_by, free) = (pooled(r#","lock":"create""#), pooled(""));
    let configs = [(200, held_by.as_str()), (200, held_by.as_str()), (200, free.as_str())];
    assert_eq!(rename(&configs, STOPPED, &[(PUT, DONE)], false).await, "renamed, running false [PUT]");
}

#[tokio::test(start_paused = true)]
async fn a_container_that_changes_meanwhile_is_looked_at_again() {
    let config = pooled("");
    let observed = rename(&[(200, &config)], STOPPED, &[(PUT, CHANGED), (PUT, DONE)], false).await;
    assert_eq!(observed, "renamed, running false [PUT] [PUT]");
    let observed = rename(&[(200, &config)], STOPPED, &[(PUT, CHANGED)], false).await;
    assert!(observed.starts_with("pve config_changed"), "{observed}");
}

#[tokio::test(start_paused = true)]
async fn gone_is_only_what_nobody_has() {
    let guest = |row: &str| format!(r#"{{"data":[{{"vmid":205,{row}}}]}}"#);
    let moved = guest(r#""type":"lxc","node":"pve2""#);
    let machine = guest(r#""type":"qemu","node":"pve1""#);
    let here = guest(r#""type":"lxc","node":"pve1""#);
    let nobody = r#"{"data":[]}"#;
    for (config, nextid, guests, expected) in [
        (GONE, FREE, nobody, "gone"),
        (GONE, TAKEN, moved.as_str(), "moved pve2"),
        (GONE, TAKEN, machine.as_str(), "foreign"),
        (GONE, TAKEN, here.as_str(), "pve gone"),
        (GONE, TAKEN, nobody, "pve forbidden"),
        (GONE, (595, "no route"), nobody, "pve node_unreachable"),
        (FORBIDDEN, FREE, nobody, "gone"),
        (FORBIDDEN, TAKEN, nobody, "pve forbidden"),
        (FORBIDDEN, TAKEN, machine.as_str(), "pve forbidden"),
        ((595, "no route"), FREE, nobody, "pve node_unreachable"),
        (SILENCE, FREE, nobody, "pve outcome_unknown OUTAGE"),
    ] {
        let more =
            [("GET cluster/nextid vmid=205", nextid), ("GET cluster/resources type=vm", (200, guests))];
        let observed = rename(&[config], STOPPED, &more, false).await;
        assert_eq!(observed, expected, "{config:?} {nextid:?} {guests}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_pve_does_not_tell_who_has_a_vmid_every_node_is_asked_twice() {
    let nodes = r#"{"data":[{"node":"pve1","status":"online"},{"node":"pve2","status":"online"},
        {"node":"pve3","status":"offline"}]}"#;
    let (unknown, pool) = ((501, "Method 'GET /cluster/nextid' not implemented"), pooled(""));
    let there = (200, pool.as_str());
    for (of_other, expected) in [
        (vec![GONE], "gone"),
        (vec![GONE, there], "pve gone"),
        (vec![there], "pve gone"),
        (vec![GONE, (595, "no route")], "pve node_unreachable"),
        (vec![FORBIDDEN], "pve forbidden"),
    ] {
        let mut more = vec![("GET cluster/nextid vmid=205", unknown), ("GET nodes", (200, nodes))];
        more.push((
            "GET cluster/resources type=vm",
            (200, r#"{"data":[{"vmid":205,"type":"lxc","node":"pve1"}]}"#),
        ));
        more.extend(of_other.iter().map(|answer| ("GET nodes/pve2/lxc/205/config", *answer)));
        assert_eq!(rename(&[GONE], STOPPED, &more, false).await, expected, "{of_other:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_pve_refuses_blames_pve() {
    let pool = pooled("");
    for (answer, expected) in [
        ((500, "CT is locked (backup)"), "pve locked [PUT]"),
        ((500, "can't lock file '/run/lock/lxc/pve-config-205.lock' - got timeout"), "pve busy [PUT]"),
        (SILENCE, "pve outcome_unknown OUTAGE [PUT]"),
        (FORBIDDEN, "pve forbidden [PUT]"),
    ] {
        let more = [(PUT, answer), ("GET cluster/nextid vmid=205", TAKEN)];
        assert_eq!(rename(&[(200, &pool)], STOPPED, &more, false).await, expected);
    }
}

async fn start(status: &[(u16, &str)], post: (u16, &str), task: &[(u16, &str)]) -> String {
    let named = config("box", "HELD", "");
    let mut answers = vec![
        ("GET lxc/205/config", (200, named.as_str())),
        ("GET cluster/nextid vmid=205", TAKEN),
        ("POST lxc/205/status/start", post),
    ];
    answers.extend(status.iter().map(|answer| ("GET lxc/205/status/current", *answer)));
    answers.extend(task.iter().map(|answer| ("GET tasks/UPID/status", *answer)));
    let action = Action::Start { target: named_target(), expected: Some(Duration::from_secs(1)) };
    let (observation, writes, _) = act(action, &answers).await;
    format!("{} {}", brief(&observation), writes.len())
}

#[tokio::test(start_paused = true)]
async fn a_start_that_ended_is_judged_by_its_end() {
    let upid = upid();
    let task = (200, upid.as_str());
    for (exit, expected) in [
        ("OK", "started 1"),
        ("WARNINGS: 1", "started 1"),
        ("CT 205 already running", "started 1"),
        ("startup for container '205' failed", "start failed other 1"),
        ("CT is locked (backup)", "unusable locked 1"),
        ("can't lock file '/run/lock/lxc/pve-config-205.lock' - got timeout", "pve busy 1"),
        ("storage 's' is disabled", "pve storage_unusable 1"),
        ("unexpected status", "pve interrupted 1"),
    ] {
        let ended = ended(exit);
        assert_eq!(start(&[STOPPED], task, &[RUNNING, (200, &ended)]).await, expected, "{exit}");
    }
    let unexpected = ended("unexpected status");
    assert_eq!(start(&[STOPPED, RUNNING], task, &[(200, &unexpected)]).await, "started 1");
    let unknown = (400, "upid=no such task");
    assert_eq!(start(&[STOPPED, RUNNING], task, &[unknown]).await, "started 1");
    assert_eq!(start(&[STOPPED], task, &[SILENCE, SILENCE, ENDED_OK]).await, "started 1");
    assert_eq!(start(&[STOPPED], task, &[SILENCE]).await, "pve outcome_unknown 1");
    let thrice = [SILENCE, SILENCE, SILENCE, ENDED_OK];
    assert_eq!(start(&[STOPPED, RUNNING], task, &thrice).await, "pve outcome_unknown 1");
    let refused = [(403, "Permission check failed"), ENDED_OK];
    assert_eq!(start(&[STOPPED], task, &refused).await, "pve forbidden 1");
}

#[tokio::test(start_paused = true)]
async fn a_running_container_is_not_started_twice() {
    assert_eq!(start(&[RUNNING], SILENCE, &[]).await, "started 0");
    assert_eq!(start(&[STOPPED], (500, "CT 205 already running"), &[]).await, "started 1");
    assert_eq!(
        start(&[STOPPED], (403, "Permission check failed (/vms/205, VM.PowerMgmt)"), &[]).await,
        "pve forbidden 1"
    );
    assert_eq!(start(&[STOPPED], (500, "CT is locked (backup)"), &[]).await, "unusable locked 1");
    assert_eq!(start(&[STOPPED], SILENCE, &[]).await, "pve outcome_unknown 1");
}

#[tokio::test(start_paused = true)]
async fn a_task_that_runs_at_the_container_is_waited_for() {
    let (pool, task) = (pooled(""), "GET tasks/UPID/status");
    let row = format!(r#"{{"data":[{{"upid":"{UPID}","status":"RUNNING","starttime":1}}]}}"#);
    let listed = ("GET tasks active", (200, row.as_str()));
    let none = ("GET tasks active", (200, r#"{"data":[]}"#));
    let done = "renamed, running false [PUT]";
    for (answers, expected) in [
        (vec![listed, none, (task, RUNNING), (task, ENDED_OK)], done),
        (vec![listed, (task, ENDED_OK)], done),
        (vec![listed, (task, (400, "upid=no such task"))], done),
        (vec![listed, (task, SILENCE)], "pve outcome_unknown OUTAGE"),
        (vec![("GET tasks active", (403, "Permission check failed"))], done),
        (vec![("GET tasks active", (501, "Method not implemented"))], done),
        (vec![("GET tasks active", (595, "no route"))], "pve node_unreachable"),
        (vec![("GET tasks active", (500, "no such cluster node 'pve1'"))], "pve no_such_node"),
    ] {
        let more: Vec<_> = answers.iter().copied().chain([(PUT, DONE)]).collect();
        assert_eq!(rename(&[(200, &pool)], STOPPED, &more, false).await, expected, "{answers:?}");
    }
    let script = Script::new(&[
        ("GET lxc/205/config", (200, &pool)),
        ("GET lxc/205/status/current", STOPPED),
        listed,
        (task, ENDED_OK),
        (PUT, DONE),
    ]);
    let site = Site::new(Pve::new(script.clone()), Clock::virtual_from(EPOCH));
    perform(&site, Action::Rename { target: target(Some("box")), marker: held(), resumed: false }).await;
    assert_eq!(script.count(task), 1, "the list may name it for some time after its end");
}
