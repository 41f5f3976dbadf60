//! A container is given back.

use super::pool::{Pool, T, doubt, fault, release};
use crate::domain::command::{Command, Hindrance, Leave, Reply};
use crate::domain::event::LeaveReason;
use crate::domain::fault::FaultKind;
use crate::domain::ids::Vmid;
use crate::domain::settings::ReleasePolicy;

fn held() -> Pool {
    let mut pool = Pool::new().stocked(1);
    pool.handed_out("box");
    pool
}

#[test]
fn an_allocated_container_is_stopped_and_ready_again() {
    let mut pool = held();
    pool.release(200).then("ReleaseRequested 200 request").plans("Park 200");
    assert_eq!(pool.reply, Reply::Leaving { vmid: Vmid(200), by: LeaveReason::Request });
    pool.parked(200).then("Released 200 reused").holds("200 ready");
    assert!(pool.container(200).hostname.as_str().starts_with("pool-9009-"));
}

#[test]
fn under_recycle_it_is_destroyed_and_refilled() {
    let mut pool = Pool::with(|settings| settings.release_policy = ReleasePolicy::Recycle).stocked(1);
    pool.handed_out("box");
    pool.put(T, 0, 1, 2).clone_all().release(200).parked(200);
    pool.then("Released 200 spent; RemovalRequested 200 recycled");
}

#[test]
fn under_recycle_one_that_nobody_was_given_is_ready_again() {
    let mut pool = Pool::with(|settings| settings.release_policy = ReleasePolicy::Recycle).stocked(1);
    pool.allocate("box").leaves("box").parked(200).then("Released 200 reused");
}

#[test]
fn under_recycle_one_that_was_started_for_a_caller_that_left_is_destroyed() {
    let mut pool = Pool::with(|settings| settings.release_policy = ReleasePolicy::Recycle).stocked(1);
    pool.allocate("box").renamed(200).leaves("box").parked(200);
    pool.then_has("Released 200 spent; RemovalRequested 200 recycled");
}

#[test]
fn a_ready_one_is_released_already() {
    let mut pool = Pool::new().stocked(1);
    pool.release(200).then("");
    assert_eq!(pool.reply, Reply::Done);
}

#[test]
fn one_that_is_starting_is_released_after_its_start_and_its_caller_is_told() {
    let mut pool = Pool::new().stocked(1);
    pool.allocate("box").renamed(200).release(200);
    pool.then("AllocationCancelled box released; ReleaseRequested 200 request").plans("Park 200");
}

#[test]
fn a_second_call_joins_the_first() {
    let mut pool = held();
    pool.release(200).release(200).then("");
    assert_eq!(pool.reply, Reply::Leaving { vmid: Vmid(200), by: LeaveReason::Request });
}

#[test]
fn what_is_creating_quarantined_or_removing_cannot_be_released() {
    let mut pool = Pool::new();
    pool.warm(T, Some(1)).prepared(T).refuses(release(200), "creating");
    pool.submitted(200).made(200).remove(200).refuses(release(200), "removing");
    pool.hindered(200, Hindrance::Stuck { fault: fault(FaultKind::Locked) });
    pool.refuses(release(200), "quarantined");
}

#[test]
fn an_unknown_one_cannot_be_released() {
    Pool::new().refuses(release(999), "no container 999");
}

#[test]
fn another_holders_container_cannot_be_released() {
    let guarded = Command::Release(Leave { vmid: Vmid(200), instance_id: Some("other".to_owned()) });
    held().refuses(guarded, "not held by other");
}

#[test]
fn a_release_that_pve_refuses_leaves_the_container_with_its_holder() {
    let mut pool = held();
    pool.release(200).pve_said(200, FaultKind::Forbidden).then("ReleaseFailed 200 forbidden kept");
    pool.holds("200 allocated box").plans("");
}

#[test]
fn a_release_that_pve_keeps_from_going_on_is_tried_again() {
    let mut pool = held();
    pool.release(200).pve_said(200, FaultKind::NodeUnreachable).plans("").later(2).plans("Park 200");
}

#[test]
fn a_release_of_what_nobody_was_given_is_tried_until_it_works() {
    let mut pool = Pool::new().stocked(1);
    pool.allocate("box").leaves("box").pve_said(200, FaultKind::Forbidden);
    pool.then("ReleaseFailed 200 forbidden again").plans("").later(2).plans("Park 200");
    pool.pve_said(200, FaultKind::Forbidden).later(3).plans("").later(1).plans("Park 200");
}

#[test]
fn a_release_in_doubt_touches_nothing() {
    let mut pool = held();
    pool.release(200)
        .hindered(200, doubt())
        .then("ReleaseFailed 200 config_changed kept; OwnershipDoubted 200");
    pool.plans("").refuses(release(200), "left alone");
}

#[test]
fn a_release_of_what_is_gone_or_replaced_loses_it() {
    for by in [Hindrance::Gone, Hindrance::Foreign { reason: "replaced".to_owned() }] {
        held().release(200).hindered(200, by).then("ContainerLost 200 box").holds("");
    }
}

#[test]
fn a_locked_container_is_waited_for() {
    let mut pool = held();
    pool.release(200).hindered(200, super::pool::unusable(FaultKind::Locked));
    pool.then("ActionDelayed 200 locked try=1");
}

#[test]
fn a_stuck_one_goes_into_quarantine() {
    let mut pool = held();
    pool.release(200).hindered(200, Hindrance::Stuck { fault: fault(FaultKind::Locked) });
    pool.then("ContainerQuarantined 200 locked").holds("200 quarantined box");
}
