//! Clones: sent once, found again, followed, booked by what is there.

use std::time::Duration;

use super::*;
use crate::domain::command::{CloneEnd, Leftover};
use crate::domain::ids::Upid;

const RUNS: &str = r#"{"data":[{"upid":"UPID:pve1:00001887:000736EB:6B04FF43:vzclone:9009:sandbox@pve!pool:","status":"RUNNING","starttime":1}]}"#;
const NONE: &str = r#"{"data":[]}"#;
const CONFIG: &str = "GET lxc/205/config";
const TASK: &str = "GET tasks/UPID/status";
const NEXTID: &str = "GET cluster/nextid vmid=205";

async fn observe(action: Action, answers: &[(&str, (u16, &str))]) -> String {
    let (observation, writes, outage) = act(action, answers).await;
    let told = match &observation {
        Observation::CloneSent { outcome: Ok(_), .. } => "sent".to_owned(),
        Observation::CloneSent { outcome: Err(fault), .. } => format!("not sent {}", fault.kind.code()),
        Observation::CloneFound { .. } => "found".to_owned(),
        Observation::CloneNotMade { .. } => "not made".to_owned(),
        Observation::CloneEnded { end: CloneEnd::Made { warnings }, .. } => format!("made {warnings}"),
        Observation::CloneEnded { end: CloneEnd::Failed { fault, leftover }, .. } => {
            let leftover = match leftover {
                Leftover::Nothing => "nothing",
                Leftover::Removable => "removable",
                Leftover::Locked { hint } => hint,
            };
            format!("failed {}, left {leftover}", fault.kind.code())
        }
        other => brief(other),
    };
    format!(
        "{told}{}{}",
        if outage { " OUTAGE" } else { "" },
        writes.iter().fold(String::new(), |all, write| format!("{all} [{write}]"))
    )
}

fn send() -> Action {
    let (target, marker) = (target(None), ours());
    Action::SendClone {
        target,
        template: Vmid(9009),
        marker,
        full: false,
        resource_pool: Some("warm".to_owned()),
    }
}

fn find() -> Action {
    Action::FindClone {
        target: target(None),
        template: Vmid(9009),
        sent_after: EPOCH,
        give_up_at: EPOCH.after(Duration::from_mins(1)),
    }
}

fn follow() -> Action {
    Action::FollowClone {
        target: target(None),
        template: Vmid(9009),
        upid: Upid(UPID.to_owned()),
        started_at: EPOCH,
        expected: Some(Duration::from_secs(3)),
    }
}

#[tokio::test(start_paused = true)]
async fn a_clone_is_sent_once_with_everything_in_it() {
    let post = "POST lxc/9009/clone newid=205 hostname=pool-9009-00000007 description=OURS full=0 pool=warm";
    let upid = upid();
    for (answer, expected) in [
        ((200, upid.as_str()), "sent"),
        ((500, "CT is locked (disk)"), "not sent locked"),
        ((500, "CT 205 already exists on node 'pve1'"), "not sent vmid_taken"),
        ((596, "Connection timed out"), "not sent outcome_unknown"),
        (SILENCE, "not sent outcome_unknown OUTAGE"),
    ] {
        assert_eq!(observe(send(), &[(post, answer)]).await, format!("{expected} [{post}]"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_clone_that_ended_well_is_made_ready() {
    let (plain, protected) = (pooled(""), pooled(r#","protection":1,"onboot":1"#));
    let (plain, protected) = ((CONFIG, (200, plain.as_str())), (CONFIG, (200, protected.as_str())));
    let (ok, warned) = ((TASK, ENDED_OK), ended("WARNINGS: 1"));
    let put = "PUT lxc/205/config onboot=0 protection=0";
    assert_eq!(observe(follow(), &[(TASK, RUNNING), ok, plain]).await, "made false");
    assert_eq!(observe(follow(), &[(TASK, (200, &warned)), plain]).await, "made true");
    assert_eq!(observe(follow(), &[ok, protected, (put, DONE)]).await, format!("made false [{put}]"));
    let answers = [ok, protected, (put, CHANGED), (put, DONE)];
    assert_eq!(observe(follow(), &answers).await, format!("made false [{put}] [{put}]"));
    let answers = [ok, protected, (put, (403, "Permission check failed (/vms/205, VM.Config.Options)"))];
    assert_eq!(observe(follow(), &answers).await, format!("failed forbidden, left removable [{put}]"));
    let answers = [ok, (CONFIG, FORBIDDEN), (CONFIG, FORBIDDEN), plain];
    assert_eq!(observe(follow(), &answers).await, "made false", "it joins its pool last");
    assert_eq!(observe(follow(), &[ok, (CONFIG, GONE)]).await, "failed gone, left nothing");
    let foreign = config("web", "notes", "");
    assert_eq!(
        observe(follow(), &[ok, (CONFIG, (200, &foreign))]).await,
        "failed config_changed, left nothing"
    );
    let renamed = config("web", "OURS", "");
    assert_eq!(observe(follow(), &[ok, (CONFIG, (200, &renamed))]).await, "made false");
    let backup = pooled(r#","lock":"backup""#);
    assert_eq!(observe(follow(), &[ok, (CONFIG, (200, &backup))]).await, "pve locked");
}

#[tokio::test(start_paused = true)]
async fn a_clone_that_failed_is_booked_by_what_it_left() {
    let (full, died) = (ended("clone failed: no space left on device"), ended("unexpected status"));
    let (full, died) = ((TASK, (200, full.as_str())), (TASK, (200, died.as_str())));
    let (made, locked) = (pooled(""), config(POOL_NAME, "OURS", r#","lock":"create""#));
    let foreign = config("web", "notes", "");
    let of_template = ("GET lxc/9009/config", (200, r#"{"data":{"template":1,"lock":"disk"}}"#));
    let unlocked = ("GET lxc/9009/config", (200, r#"{"data":{"template":1}}"#));
    for (answers, expected) in [
        (vec![full, (CONFIG, GONE)], "failed no_space, left nothing"),
        (vec![full, (CONFIG, (200, &made))], "failed no_space, left removable"),
        (vec![full, (CONFIG, (200, &foreign))], "failed no_space, left nothing"),
        (vec![full, (CONFIG, FORBIDDEN), (NEXTID, FREE)], "failed no_space, left nothing"),
        (vec![died, (CONFIG, (200, &made))], "made false"),
        (
            vec![died, (CONFIG, (200, &locked)), of_template],
            "failed interrupted, left pct unlock 9009; pct unlock 205",
        ),
        (vec![died, (CONFIG, (200, &locked)), unlocked], "failed interrupted, left pct unlock 205"),
        (
            vec![died, (CONFIG, FORBIDDEN), (NEXTID, TAKEN), of_template],
            "failed interrupted, left pct unlock 9009; pct unlock 205; pct destroy 205",
        ),
        (vec![died, (CONFIG, (595, "no route"))], "pve node_unreachable"),
        (vec![(TASK, SILENCE)], "pve outcome_unknown OUTAGE"),
    ] {
        assert_eq!(observe(follow(), &answers).await, expected, "{answers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_pve_forgot_is_told_by_the_container() {
    let forgotten = (TASK, (400, "upid=no such task"));
    let (made, locked) = (pooled(""), config(POOL_NAME, "OURS", r#","lock":"create""#));
    let none = ("GET tasks", (200, NONE));
    let of_template = ("GET lxc/9009/config", (200, r#"{"data":{"template":1,"lock":"disk"}}"#));
    assert_eq!(observe(follow(), &[forgotten, (CONFIG, (200, &made))]).await, "made false");
    assert_eq!(observe(follow(), &[forgotten, (CONFIG, GONE)]).await, "failed no_such_task, left nothing");
    let answers = [forgotten, (CONFIG, (200, &locked)), none, of_template];
    assert_eq!(observe(follow(), &answers).await, "failed interrupted, left pct unlock 9009; pct unlock 205");
}

#[tokio::test(start_paused = true)]
async fn a_clone_of_unknown_outcome_is_found_or_given_up() {
    let (made, half) = (pooled(""), config(POOL_NAME, "OURS", ""));
    let locked = config(POOL_NAME, "OURS", r#","lock":"create""#);
    let (locked, made) = ((CONFIG, (200, locked.as_str())), (CONFIG, (200, made.as_str())));
    let successor = Marker { clone_id: CloneId(Ulid(8)), ..ours() }.to_string();
    let foreign = config("web", &successor, "");
    let reserved = r#"{"data":{"lock":"create"}}"#;
    let undescribed = r#"{"data":{"lock":"create","hostname":"pool-9009-00000007"}}"#;
    let (runs, none) = (("GET tasks", (200, RUNS)), ("GET tasks", (200, NONE)));
    let of_template = ("GET lxc/9009/config", (200, r#"{"data":{"template":1,"lock":"disk"}}"#));
    let unlocked = ("GET lxc/9009/config", (200, r#"{"data":{"template":1}}"#));
    let hidden = [(CONFIG, FORBIDDEN), (NEXTID, TAKEN)];
    for (answers, expected) in [
        (vec![made], "made false"),
        (vec![(CONFIG, GONE), made], "made false"),
        (vec![(CONFIG, GONE)], "not made"),
        (vec![(CONFIG, (200, reserved)), locked, runs, (TASK, RUNNING)], "found"),
        (vec![locked, runs, (TASK, RUNNING)], "found"),
        (vec![locked, made, none], "made false"),
        (vec![(CONFIG, (200, undescribed)), runs, (TASK, RUNNING)], "found"),
        (vec![locked, none, of_template], "failed interrupted, left pct unlock 9009; pct unlock 205"),
        (vec![locked, runs, (TASK, ENDED_OK), unlocked], "failed interrupted, left pct unlock 205"),
        (vec![(CONFIG, (200, &half))], "failed interrupted, left removable"),
        (vec![(CONFIG, (200, &foreign))], "not made"),
        (vec![hidden[0], hidden[1], runs, (TASK, RUNNING)], "found"),
        (vec![hidden[0], (NEXTID, FREE)], "not made"),
        (vec![hidden[0], hidden[1], none, unlocked], "not made"),
        (
            vec![hidden[0], hidden[1], none, of_template],
            "failed interrupted, left pct unlock 9009; pct unlock 205; pct destroy 205",
        ),
        (vec![(CONFIG, (595, "no route"))], "pve node_unreachable"),
        (vec![(CONFIG, SILENCE)], "pve outcome_unknown OUTAGE"),
    ] {
        assert_eq!(observe(find(), &answers).await, expected, "{answers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_clone_is_looked_for_at_least_once_and_for_a_minute() {
    let script = Script::new(&[(CONFIG, GONE)]);
    let clock = Clock::virtual_from(EPOCH);
    let site = Site::new(Pve::new(script.clone()), clock);
    perform(&site, find()).await;
    assert_eq!(script.count(CONFIG), 31, "every two seconds");
    assert_eq!(clock.now(), EPOCH.after(Duration::from_mins(1)));
    perform(&site, find()).await;
    assert_eq!(script.count(CONFIG), 32, "after a downtime, once");
}

#[tokio::test(start_paused = true)]
async fn a_lock_without_its_task_is_given_ten_seconds() {
    let locked = config(POOL_NAME, "OURS", r#","lock":"create""#);
    let of_template = ("GET lxc/9009/config", (200, r#"{"data":{"template":1}}"#));
    let script = Script::new(&[(CONFIG, (200, &locked)), ("GET tasks", (200, NONE)), of_template]);
    let clock = Clock::virtual_from(EPOCH);
    perform(&Site::new(Pve::new(script), clock), find()).await;
    assert_eq!(clock.now(), EPOCH.after(Duration::from_secs(10)));
}

#[tokio::test(start_paused = true)]
async fn a_task_is_asked_about_around_its_end() {
    let (running, made) = ((TASK, RUNNING), pooled(""));
    let mut answers = vec![running; 9];
    answers.extend([(TASK, ENDED_OK), (CONFIG, (200, made.as_str()))]);
    let script = Script::new(&answers);
    let clock = Clock::virtual_from(EPOCH);
    perform(&Site::new(Pve::new(script.clone()), clock), follow()).await;
    assert_eq!(clock.now().since(EPOCH), Duration::from_millis(2400 + 8 * 60));
}

#[tokio::test(start_paused = true)]
async fn a_clone_that_is_not_where_it_was_made_has_moved_or_was_never_made() {
    for (guest, expected) in [
        (r#"{"vmid":205,"type":"lxc","node":"pve2"}"#, "moved pve2"),
        (r#"{"vmid":205,"type":"lxc","node":"pve1"}"#, "not made"),
        (r#"{"vmid":205,"type":"qemu","node":"pve2"}"#, "not made"),
        (r#"{"vmid":206,"type":"lxc","node":"pve2"}"#, "not made"),
    ] {
        let guests = format!(r#"{{"data":[{guest}]}}"#);
        let answers = [(CONFIG, GONE), ("GET cluster/resources type=vm", (200, guests.as_str()))];
        assert_eq!(observe(find(), &answers).await, expected, "{guest}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_pve_forgot_is_followed_by_another_only_if_it_is_another() {
    let locked = config(POOL_NAME, "OURS", r#","lock":"create""#);
    let other = UPID.replace("00001887", "00001999");
    let list = format!(r#"{{"data":[{{"upid":"{other}","status":"RUNNING","starttime":1}}]}}"#);
    let path = other.replace(':', "%3A").replace('@', "%40").replace('!', "%21");
    let asked = format!("GET tasks/{path}/status");
    let forgotten = (TASK, (400, "upid=no such task"));
    let answers =
        [forgotten, (CONFIG, (200, &locked)), ("GET tasks", (200, &list)), (asked.as_str(), RUNNING)];
    assert_eq!(observe(follow(), &answers).await, "found");
    let answers = [forgotten, (TASK, RUNNING), (CONFIG, (200, &locked)), ("GET tasks", (200, RUNS))];
    assert_eq!(observe(follow(), &answers).await, "pve no_such_task");
}

#[tokio::test(start_paused = true)]
async fn a_clone_that_ended_well_and_cannot_be_written_is_looked_at_again() {
    let (ok, made) = ((TASK, ENDED_OK), pooled(""));
    let (onboot, both) = (pooled(r#","onboot":1"#), pooled(r#","protection":1,"onboot":1"#));
    let (made, both) = ((CONFIG, (200, made.as_str())), (CONFIG, (200, both.as_str())));
    let put = "PUT lxc/205/config onboot=0";
    let answers = [ok, (CONFIG, (200, onboot.as_str())), (put, DONE)];
    assert_eq!(observe(follow(), &answers).await, format!("made false [{put}]"));
    let put = "PUT lxc/205/config onboot=0 protection=0";
    let answers = [ok, both, (put, (595, "no route"))];
    assert_eq!(observe(follow(), &answers).await, format!("pve node_unreachable [{put}]"));
    let answers = [ok, both, (put, GONE)];
    assert_eq!(observe(follow(), &answers).await, format!("pve gone [{put}]"));
    let answers = [ok, (CONFIG, (595, "no route")), made];
    assert_eq!(observe(follow(), &answers).await, "pve node_unreachable");
}
