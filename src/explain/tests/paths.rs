//! How containers come to be somebody's.

use serde_json::json;

use super::events::{
    TEMPLATE, allocated, clone_queued, clone_refused, clone_started, clone_submitted, cloned, completed,
    locked, queued, removed, renamed, requeued, start_failed, started, to_remove,
};
use super::*;
use crate::domain::event::{
    ClonePurpose, LeaveReason, PveReachable, PveUnreachable, ServiceStarted, TemplateBackedOff,
};
use crate::domain::settings::Settings;

/// Container 201, cloned in three seconds.
fn ready() -> Vec<At> {
    vec![
        at(0, clone_queued(10, ClonePurpose::Refill)),
        at(50, clone_started(10, 201, 1)),
        at(100, clone_submitted(10, 201)),
        at(3100, cloned(10, 201, 3050)),
    ]
}

#[test]
fn a_ready_container_is_answered_at_once() {
    let mut given = ready();
    given.extend([
        asked(60_000, "REQ", allocated(1, "box", 201, true)),
        at(60_100, renamed(1, "box", 201)),
        at(62_150, started(1, 201, 2050)),
        at(62_150, completed(1, "box", 201, 2150)),
    ]);
    let story = check(
        &given,
        instance("box"),
        Outcome::Held,
        "Asked for at 2026-11-24T09:01:00.000Z: container 201 of template 9009 was ready. \
         Answered after 2.1 s with container 201 (renaming 100 ms, starting 2.0 s). It is held.",
        &[
            "0 box asks for a container of template 9009; container 201 is ready (its clone took 3.0 s) and is its own now.",
            "100 Container 201 has the hostname box.",
            "2150 Container 201 runs: the start took 2.0 s.",
            "2150 Answered: container 201 on pve1.",
        ],
    );
    assert_eq!(durations(&story), json!({ "rename_ms": 100, "start_ms": 2050, "answer_ms": 2150 }));
    assert_eq!(story.chapters[0].steps[0].request_id.as_deref(), Some("REQ"));

    check(
        &given,
        container(201),
        Outcome::Held,
        "Queued at 2026-11-24T09:00:00.000Z; cloned from template 9009 in 3.0 s after 50 ms in the queue. \
         It stood ready for 56.9 s. It is box's now.",
        &[
            "0 A clone of template 9009 is queued: there are fewer than the target.",
            "50 PVE is asked for a linked clone: container 201 on pve1.",
            "100 PVE clones container 201 by the task UPID:pve1:1",
            "3100 Container 201 is made: the clone took 3.0 s.",
            "60000 Container 201 is box's.",
            "60100 Container 201 has the hostname box.",
            "62150 Container 201 runs: the start took 2.0 s.",
            "62150 Answered: container 201 on pve1.",
        ],
    );
}

#[test]
fn a_waiter_is_told_behind_whom_it_stood_and_what_the_lane_did() {
    let given = [
        at(0, queued(1, "a")),
        at(0, clone_queued(10, ClonePurpose::Waiter)),
        at(50, clone_started(10, 201, 1)),
        at(1000, queued(2, "b")),
        at(1000, clone_queued(11, ClonePurpose::Waiter)),
        at(3000, cloned(10, 201, 2950)),
        at(3000, allocated(1, "a", 201, false)),
        at(3050, clone_started(11, 202, 1)),
        at(3100, clone_submitted(11, 202)),
        at(5000, completed(1, "a", 201, 5000)),
        at(6000, cloned(11, 202, 2950)),
        at(6000, allocated(2, "b", 202, false)),
        at(6100, renamed(2, "b", 202)),
        at(8100, started(2, 202, 2000)),
        at(8100, completed(2, "b", 202, 7100)),
    ];
    let story = check(
        &given,
        instance("b"),
        Outcome::Held,
        "Asked for at 2026-11-24T09:00:01.000Z: no container of template 9009 was ready, and a stood in line \
         before it. Answered after 7.1 s with container 202 (in line 5.0 s, renaming 100 ms, starting 2.0 s). \
         It is held.",
        &[
            "0 b asks for a container of template 9009; none is ready. Before it stands a. Container 201 is being cloned.",
            "0 A clone of template 9009 is queued: somebody waits for it.",
            "2000 Container 201 is made: the clone took 2.9 s.",
            "2000 Container 201 is a's.",
            "2050 PVE is asked for a linked clone: container 202 on pve1.",
            "2100 PVE clones container 202 by the task UPID:pve1:1",
            "5000 Container 202 is made: the clone took 2.9 s.",
            "5000 Container 202 is b's.",
            "5100 Container 202 has the hostname b.",
            "7100 Container 202 runs: the start took 2.0 s.",
            "7100 Answered: container 202 on pve1.",
        ],
    );
    let expected = json!({ "in_line_ms": 5000, "clone_ms": 2950, "rename_ms": 100, "start_ms": 2000, "answer_ms": 7100 });
    assert_eq!(durations(&story), expected);
    assert_eq!(story.chapters[0].behind, [InstanceId::from("a")]);
}

#[test]
fn a_lock_at_the_template_is_told_to_who_waits_and_to_the_container() {
    let until = Timestamp(EPOCH.0 + 30_000);
    let backed_off = TemplateBackedOff { template: TEMPLATE, fault: locked(), until, step: 1 };
    let given = [
        at(0, queued(1, "a")),
        at(0, clone_queued(10, ClonePurpose::Waiter)),
        at(50, clone_started(10, 201, 1)),
        at(100, clone_refused(10, 201, 1)),
        at(200, backed_off),
        at(6000, clone_started(10, 201, 2)),
        at(9000, cloned(10, 201, 3000)),
        at(9000, allocated(1, "a", 201, false)),
    ];
    let refused =
        "PVE refuses the clone for now: CT is locked (disk). It is tried again at 2026-11-24T09:00:06.000Z.";
    check(
        &given,
        instance("a"),
        Outcome::HandingOut,
        "Asked for at 2026-11-24T09:00:00.000Z: no container of template 9009 was ready. It is being handed out.",
        &[
            "0 a asks for a container of template 9009; none is ready. Before it stands nobody.",
            "0 A clone of template 9009 is queued: somebody waits for it.",
            "50 PVE is asked for a linked clone: container 201 on pve1.",
            &format!("100 {refused}"),
            "200 Clones of template 9009 fail: CT is locked (disk). One is tried again at 2026-11-24T09:00:30.000Z.",
            "6000 PVE is asked for a linked clone: container 201 on pve1, try 2.",
            "9000 Container 201 is made: the clone took 3.0 s.",
            "9000 Container 201 is a's.",
        ],
    );
    let story = check(
        &given,
        container(201),
        Outcome::HandingOut,
        "Queued at 2026-11-24T09:00:00.000Z; cloned from template 9009 in 3.0 s after 6.0 s in the queue, 5.9 s \
         of it after refusals by PVE. It stood ready for 0 ms. It is a's now.",
        &[
            "0 A clone of template 9009 is queued: somebody waits for it.",
            "50 PVE is asked for a linked clone: container 201 on pve1.",
            &format!("100 {refused}"),
            "6000 PVE is asked for a linked clone: container 201 on pve1, try 2.",
            "9000 Container 201 is made: the clone took 3.0 s.",
            "9000 Container 201 is a's.",
        ],
    );
    assert_eq!(story.chapters.len(), 1, "one clone is one chapter, however often it was tried");
    let expected = json!({ "in_line_ms": 6000, "retries_ms": 5900, "clone_ms": 3000, "ready_ms": 0 });
    assert_eq!(durations(&story), expected);
    let expected = json!({ "in_line_ms": 9000, "retries_ms": 5900, "clone_ms": 3000 });
    assert_eq!(durations(&tell(&given, instance("a"))), expected);
    // Who comes while it is refused waits for the rest.
    let mut late = given.to_vec();
    late.insert(5, at(2000, queued(2, "b")));
    late.extend([at(9500, allocated(2, "b", 202, false))]);
    assert_eq!(durations(&tell(&late, instance("b")))["retries_ms"], 4000);
}

#[test]
fn a_container_that_does_not_start_is_replaced() {
    let mut given = ready();
    given.extend([
        at(10_000, allocated(1, "box", 201, true)),
        at(10_100, renamed(1, "box", 201)),
        at(10_500, start_failed(1, 201)),
        at(10_500, requeued(1, 201)),
        at(10_500, to_remove(201, LeaveReason::Unusable)),
        at(10_500, allocated(1, "box", 202, true)),
        at(11_000, removed(201, None)),
        at(11_100, renamed(1, "box", 202)),
        at(13_100, started(1, 202, 2000)),
        at(13_100, completed(1, "box", 202, 3100)),
    ]);
    check(
        &given,
        instance("box"),
        Outcome::Held,
        "Asked for at 2026-11-24T09:00:10.000Z: container 202 of template 9009 was ready. \
         Answered after 3.1 s with container 202 (renaming 600 ms, starting 2.0 s). It is held.",
        &[
            "0 box asks for a container of template 9009; container 201 is ready (its clone took 3.0 s) and is its own now.",
            "100 Container 201 has the hostname box.",
            "500 Container 201 does not start: startup for container failed.",
            "500 Container 201 is not usable: startup for container failed. First in line again, for the 1. time.",
            "500 Container 202 is box's.",
            "1100 Container 202 has the hostname box.",
            "3100 Container 202 runs: the start took 2.0 s.",
            "3100 Answered: container 202 on pve1.",
        ],
    );
    let story = tell(&given, container(201));
    assert!(story.summary.ends_with("Then destroyed: it was not usable."), "{}", story.summary);
}

#[test]
fn a_restart_and_a_pve_that_is_away_are_a_part_of_who_waited_through_them() {
    let start = || ServiceStarted { version: "1.0.0".to_owned(), settings: Settings::default() };
    let given = [
        at(0, queued(1, "a")),
        at(100, PveUnreachable { reason: "connection refused".to_owned() }),
        at(200, PveReachable {}),
        at(300, start()),
        at(400, allocated(1, "a", 201, false)),
        at(500, completed(1, "a", 201, 500)),
        at(600, start()),
        at(700, PveReachable {}),
    ];
    let story = tell(&given, instance("a"));
    let kinds: Vec<_> = story.chapters[0].steps.iter().map(|step| step.kind).collect();
    let expected = [
        "AllocationQueued",
        "PveUnreachable",
        "PveReachable",
        "ServiceStarted",
        "Allocated",
        "AllocationCompleted",
    ];
    assert_eq!(kinds, expected, "what happens to the service later is nothing to who holds its container");
}
