//! From the durable allocation to the answer: whose fault costs what.

use super::pool::{Pool, T, doubt, fault, unusable};
use crate::domain::command::{Hindrance, Observation};
use crate::domain::event::{Event, FailureCode};
use crate::domain::fault::FaultKind;
use crate::domain::ids::{Seq, Vmid};

#[test]
fn a_hand_out_is_a_rename_and_a_start() {
    let mut pool = Pool::new().stocked(1);
    pool.allocate("box").plans("Rename 200");
    pool.renamed(200).then("ContainerRenamed 200 box").plans("Start 200");
    pool.started(200).then("ContainerStarted 200; AllocationCompleted 200 box").plans("");
}

#[test]
fn a_container_whose_start_fails_is_destroyed_and_another_takes_its_place() {
    let mut pool = Pool::new().stocked(2);
    pool.allocate("box").renamed(200).start_failed(200).then(
        "ContainerStartFailed 200 other; AllocationRequeued box off 200 try=1; RemovalRequested 200 unusable",
    );
    pool.plans("Destroy 200");
}

#[test]
fn the_replacement_gets_the_name_only_once_it_is_free() {
    let mut pool = Pool::new().stocked(2);
    pool.allocate("box").renamed(200).start_failed(200).holds("200 removing; 201 ready");
    pool.renamed_back(200).then("ContainerRenamed 200 pool; Allocated 201 box");
}

#[test]
fn a_container_that_was_not_renamed_is_replaced_at_once() {
    let mut pool = Pool::new().stocked(2);
    pool.allocate("box").hindered(200, unusable(FaultKind::Locked));
    pool.then("AllocationRequeued box off 200 try=1; RemovalRequested 200 unusable; Allocated 201 box");
}

#[test]
fn a_request_whose_container_was_no_use_goes_to_the_head_of_the_line() {
    let mut pool = Pool::new().stocked(1);
    pool.allocate("a").allocate("b").hindered(200, unusable(FaultKind::Locked));
    pool.clone(T);
    pool.then_has("Allocated 201 a");
}

#[test]
fn three_containers_of_no_use_are_enough() {
    let mut pool = Pool::new().stocked(4);
    pool.allocate("box");
    pool.hindered(200, unusable(FaultKind::AlreadyRunning))
        .hindered(201, unusable(FaultKind::AlreadyRunning));
    pool.hindered(202, unusable(FaultKind::AlreadyRunning));
    pool.then("AllocationFailed box containers_unusable; RemovalRequested 202 unusable");
    pool.holds("200 removing; 201 removing; 202 removing box; 203 ready");
}

#[test]
fn a_container_that_vanished_is_lost_and_the_next_one_is_taken() {
    let mut pool = Pool::new().stocked(2);
    pool.allocate("box").hindered(200, Hindrance::Gone);
    pool.then("AllocationRequeued box off 200 try=1; ContainerLost 200 box; Allocated 201 box");
}

#[test]
fn a_vmid_that_is_somebody_elses_is_never_touched_again() {
    let mut pool = Pool::new().stocked(2);
    pool.allocate("box").hindered(200, Hindrance::Foreign { reason: "CT 200 is a template now".to_owned() });
    pool.then("AllocationRequeued box off 200 try=1; ContainerLost 200 box; Allocated 201 box");
    let lost = pool.events.iter().find_map(|event| match event {
        Event::ContainerLost(lost) => Some(lost.reason.as_str()),
        _ => None,
    });
    assert_eq!(lost, Some("replaced: CT 200 is a template now"));
    pool.holds("201 allocated box").plans("Rename 201");
}

#[test]
fn a_container_in_doubt_is_left_alone_and_the_next_one_is_taken() {
    let mut pool = Pool::new().stocked(2);
    pool.allocate("box").hindered(200, doubt());
    pool.then("AllocationRequeued box off 200 try=1; OwnershipDoubted 200; Allocated 201 box");
    pool.holds("200 ready in doubt; 201 allocated box").plans("Rename 201");
}

#[test]
fn a_container_in_doubt_keeps_nobody_from_the_name_that_it_no_longer_has() {
    let mut pool = Pool::new().stocked(2);
    pool.allocate("box").renamed(200).hindered(200, doubt());
    pool.then("AllocationRequeued box off 200 try=1; OwnershipDoubted 200; Allocated 201 box");
}

#[test]
fn a_container_that_is_stuck_keeps_nobody_waiting_for_its_name() {
    let mut pool = Pool::new().stocked(2);
    pool.allocate("box").renamed(200).hindered(200, Hindrance::Stuck { fault: fault(FaultKind::Locked) });
    pool.then("AllocationRequeued box off 200 try=1; ContainerQuarantined 200 locked; Allocated 201 box");
}

#[test]
fn a_refusal_of_pve_is_answered_at_once_and_costs_no_container() {
    for kind in [FaultKind::Unauthorized, FaultKind::Forbidden] {
        let mut pool = Pool::new().stocked(1);
        pool.allocate("box").pve_said(200, kind);
        pool.then("AllocationFailed box pve_refused; ReleaseRequested 200 allocation_ended");
        pool.parked(200).then("Released 200 reused").holds("200 ready");
        assert_eq!(pool.container(200).uses, 0, "nobody was given it");
    }
}

#[test]
fn why_the_last_allocation_failed_is_known_until_one_succeeds() {
    let mut pool = Pool::new().stocked(1);
    let failed = |pool: &Pool| pool.state.templates[&Vmid(T)].failure.as_ref().map(|failure| failure.code);
    pool.allocate("box").pve_said(200, FaultKind::Forbidden).parked(200);
    assert_eq!(failed(&pool), Some(FailureCode::PveRefused));
    pool.allocate("box");
    assert_eq!(failed(&pool), Some(FailureCode::PveRefused));
    pool.renamed(200).started(200);
    assert_eq!(failed(&pool), None);
}

#[test]
fn a_pve_that_does_not_answer_keeps_the_request_and_costs_no_container() {
    for kind in [
        FaultKind::NotSent,
        FaultKind::OutcomeUnknown,
        FaultKind::NodeUnreachable,
        FaultKind::Busy,
        FaultKind::ClusterDegraded,
        FaultKind::Unreadable,
        FaultKind::Other,
    ] {
        let mut pool = Pool::new().stocked(1);
        let word = kind.code();
        pool.allocate("box").pve_said(200, kind).then(&format!("ActionDelayed 200 {word} try=1")).plans("");
        pool.later(1).plans("Rename 200").renamed(200).started(200).holds("200 allocated box");
    }
}

#[test]
fn the_pauses_of_a_hindered_hand_out_grow_to_five_seconds() {
    let mut pool = Pool::new().stocked(1);
    pool.allocate("box");
    let mut pauses = Vec::new();
    for _ in 0..6 {
        pool.pve_said(200, FaultKind::NodeUnreachable);
        let until = pool.plan().wake_at.unwrap();
        pauses.push(until.since(pool.now).as_millis());
        pool.now = until;
    }
    assert_eq!(pauses, [500, 1000, 2000, 4000, 5000, 5000]);
}

#[test]
fn a_hand_out_that_is_not_done_in_time_fails_and_its_container_goes_back() {
    let mut pool = Pool::new().stocked(1);
    pool.allocate("box").later(109).then("").later(1);
    pool.then("AllocationFailed box pve_timeout; ReleaseRequested 200 allocation_ended");
    pool.plans("Park 200").parked(200).holds("200 ready");
}

#[test]
fn a_started_container_that_was_never_answered_counts_as_used() {
    let mut pool = Pool::new().stocked(1);
    pool.allocate("box").renamed(200).later(110).parked(200);
    assert_eq!(pool.container(200).uses, 1);
}

#[test]
fn a_caller_that_leaves_while_its_container_is_renamed_costs_nothing() {
    let mut pool = Pool::new().stocked(1);
    pool.allocate("box").leaves("box");
    pool.then("AllocationCancelled box caller_gone; ReleaseRequested 200 allocation_ended");
    pool.plans("Park 200").parked(200).holds("200 ready");
    assert_eq!(pool.container(200).uses, 0);
}

#[test]
fn a_caller_that_leaves_while_its_container_starts_gives_it_back() {
    let mut pool = Pool::new().stocked(1);
    pool.allocate("box").renamed(200).leaves("box");
    pool.then("AllocationCancelled box caller_gone; ReleaseRequested 200 allocation_ended");
}

#[test]
fn a_caller_that_left_cannot_be_served_by_a_rename_that_ends_late() {
    let mut pool = Pool::new().stocked(1);
    pool.allocate("box");
    let as_of = pool.container(200).touched;
    pool.leaves("box").see(Observation::Renamed { vmid: Vmid(200), as_of, running: false }).then("");
}

#[test]
fn what_was_seen_before_the_containers_last_event_does_not_count() {
    let mut pool = Pool::new().stocked(1);
    pool.allocate("box").renamed(200);
    let (vmid, as_of) = (Vmid(200), Seq(pool.container(200).touched.0 - 1));
    pool.see(Observation::Started { vmid, as_of, duration_ms: Some(1) }).then("");
    pool.see(Observation::StartFailed { vmid, as_of, fault: fault(FaultKind::Other) }).then("");
    pool.see(Observation::Hindered { vmid, as_of, by: Hindrance::Gone }).then("");
    pool.see(Observation::Parked { vmid, as_of, hostname: "pool-9009-00000000".into() }).then("");
}

#[test]
fn a_container_on_another_node_is_handed_out_there() {
    let mut pool = Pool::new().stocked(1);
    pool.allocate("box").hindered(200, Hindrance::Moved { node: "pve2".into() });
    pool.then("ContainerMoved 200 pve2").plans("Rename 200");
}

#[test]
fn a_container_that_moved_to_where_it_is_waits_a_moment() {
    let mut pool = Pool::new().stocked(1);
    pool.allocate("box").hindered(200, Hindrance::Moved { node: "pve1".into() });
    pool.then_has("ActionDelayed 200").plans("");
}

#[test]
fn a_locked_container_of_a_holder_is_waited_for() {
    let mut pool = Pool::new().stocked(1);
    pool.handed_out("box");
    pool.allocate("box").hindered(200, unusable(FaultKind::Locked)).then("ActionDelayed 200 locked try=1");
}

#[test]
fn a_stuck_container_of_a_holder_stays_its_holders() {
    let mut pool = Pool::new().stocked(1);
    pool.handed_out("box");
    pool.allocate("box").hindered(200, Hindrance::Stuck { fault: fault(FaultKind::Locked) });
    pool.then("AllocationFailed box pve_refused").holds("200 allocated box").plans("");
}

#[test]
fn a_doubt_about_a_holders_container_is_told_and_touches_nothing() {
    let mut pool = Pool::new().stocked(1);
    pool.handed_out("box");
    pool.allocate("box").hindered(200, doubt());
    pool.then("AllocationFailed box ownership_doubted; OwnershipDoubted 200").plans("");
    pool.holds("200 allocated box in doubt");
}
