//! Why something is gone, and by whom.

use serde_json::json;

use super::events::{
    TEMPLATE, allocated, allocation, clone_started, cloned, completed, queued, released, removed, to_release,
    to_remove,
};
use super::*;
use crate::domain::event::{
    AllocationCancelled, AllocationFailed, CancelReason, ContainerDiscovered, ContainerLost, FailureCode,
    LeaveReason,
};
use crate::domain::ids::{CloneId, Hostname, Node};

/// `box` holds container 201 from the first second on.
fn held() -> Vec<At> {
    vec![at(0, allocated(1, "box", 201, true)), at(1000, completed(1, "box", 201, 1000))]
}

#[test]
fn who_let_a_container_go_is_told() {
    let asked_for = |by| asked(61_000, "REQ", to_release(201, "box", by));
    let lost = || ContainerLost {
        vmid: Vmid(201),
        template: TEMPLATE,
        instance_id: Some(InstanceId::from("box")),
        reason: "its configuration is gone and the VMID is free".to_owned(),
    };
    let cases: [(Vec<At>, Outcome, &str); 5] = [
        (
            vec![asked_for(LeaveReason::Request), at(62_000, released(201, "box", true))],
            Outcome::Released,
            "Held for 1 min 0 s, then given back: a request asked for it (REQ).",
        ),
        (
            vec![
                at(61_000, to_release(201, "box", LeaveReason::Expired)),
                at(62_000, released(201, "box", true)),
            ],
            Outcome::Released,
            "Held for 1 min 0 s, then given back: its time to live was over.",
        ),
        (
            vec![
                asked(61_000, "REQ", to_remove(201, LeaveReason::Request)),
                at(62_000, removed(201, Some("box"))),
            ],
            Outcome::Removed,
            "Held for 1 min 0 s, then destroyed: a request asked for it (REQ).",
        ),
        (
            vec![at(61_000, lost())],
            Outcome::Lost,
            "Held for 1 min 0 s, then container 201 was gone from PVE, not by the pool: its configuration is gone \
             and the VMID is free.",
        ),
        (vec![asked_for(LeaveReason::Request)], Outcome::Releasing, "It is being given back."),
    ];
    for (then, outcome, end) in cases {
        let mut given = held();
        given.extend(then);
        let story = tell(&given, instance("box"));
        assert_eq!(story.chapters[0].outcome, outcome);
        assert!(story.summary.ends_with(end), "{}", story.summary);
        assert_eq!(durations(&story)["held_ms"], json!(60_000));
    }
}

#[test]
fn whoever_gave_a_container_back_did_not_have_it_to_its_end() {
    let mut given = held();
    given.extend([
        at(61_000, to_release(201, "box", LeaveReason::Request)),
        at(62_000, released(201, "box", true)),
        asked(70_000, "REQ", to_remove(201, LeaveReason::Request)),
        at(71_000, removed(201, None)),
    ]);
    let story = tell(&given, container(201));
    let end =
        "box had it for 1 min 0 s, until it was given back. Then destroyed: a request asked for it (REQ).";
    assert!(story.summary.ends_with(end), "{}", story.summary);
}

#[test]
fn what_was_given_back_goes_on_as_a_container_and_ends_as_an_allocation() {
    let mut given = held();
    given.extend([
        at(61_000, to_release(201, "box", LeaveReason::Request)),
        at(62_000, released(201, "box", true)),
        at(70_000, allocated(2, "other", 201, true)),
        at(71_000, completed(2, "other", 201, 1000)),
        at(80_000, queued(3, "box")),
    ]);
    let story = tell(&given, instance("box"));
    let outcomes: Vec<_> = story.chapters.iter().map(|chapter| chapter.outcome).collect();
    assert_eq!(outcomes, [Outcome::Released, Outcome::Waiting]);
    assert_eq!(story.chapters[0].steps.len(), 4, "what others did with it later is not box's");
    let story = tell(&given, container(201));
    assert_eq!((story.chapters.len(), story.chapters[0].outcome), (1, Outcome::Held));
    assert!(story.summary.contains("2 had it, the last one was other."), "{}", story.summary);
}

#[test]
fn an_allocation_that_was_never_answered_says_why() {
    let failed = AllocationFailed {
        allocation_id: allocation(1),
        instance_id: InstanceId::from("box"),
        template: TEMPLATE,
        vmid: None,
        code: FailureCode::AllocateTimeout,
        reason: "no container within 110 s".to_owned(),
    };
    let story = tell(&[at(0, queued(1, "box")), at(110_000, failed)], instance("box"));
    assert!(story.summary.ends_with("Answered with an error after 1 min 50 s: no container within 110 s."));
    assert_eq!(durations(&story), json!({ "in_line_ms": 110_000 }));

    let cancelled = AllocationCancelled {
        allocation_id: allocation(1),
        instance_id: InstanceId::from("box"),
        template: TEMPLATE,
        vmid: Some(Vmid(201)),
        reason: CancelReason::CallerGone,
    };
    let given = [
        at(0, allocated(1, "box", 201, true)),
        at(500, cancelled),
        at(500, to_release(201, "box", LeaveReason::AllocationEnded)),
        at(900, released(201, "box", true)),
    ];
    let story = tell(&given, instance("box"));
    assert!(
        story.summary.ends_with("Cancelled after 500 ms: its last caller went away."),
        "{}",
        story.summary
    );
    assert_eq!(story.chapters[0].steps.len(), 4, "what became of its container is told too");
}

#[test]
fn a_vmid_that_changed_hands_has_a_chapter_for_each_container() {
    let found = ContainerDiscovered {
        vmid: Vmid(201),
        clone_id: CloneId(Ulid(12)),
        template: TEMPLATE,
        node: Node::from("pve1"),
        hostname: Hostname::from("web"),
        instance_id: Some(InstanceId::from("web")),
    };
    let given = [
        at(0, clone_started(10, 201, 1)),
        at(3000, cloned(10, 201, 3000)),
        at(4000, to_remove(201, LeaveReason::Surplus)),
        at(5000, removed(201, None)),
        at(9000, found),
    ];
    let story = tell(&given, container(201));
    let ends: Vec<_> = story.chapters.iter().map(|chapter| chapter.summary.as_str()).collect();
    assert_eq!(
        ends,
        [
            "Queued at 2026-11-24T09:00:00.000Z; cloned from template 9009 in 3.0 s. It stood ready for 1.0 s. \
             Then destroyed: there were more than there may be.",
            "Found at PVE at 2026-11-24T09:00:09.000Z. It is web's now.",
        ]
    );
    let story = tell(&given, instance("web"));
    assert_eq!(story.summary, "Found at PVE at 2026-11-24T09:00:09.000Z, holding container 201. It is held.");
}
