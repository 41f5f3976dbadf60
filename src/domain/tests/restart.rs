//! Stop, crash and start: nothing is lost, nothing is handed out twice, nobody is kept waiting.

use super::pool::{Pool, T, allocate, fault, upid};
use crate::domain::command::{Command, Observation};
use crate::domain::fault::FaultKind;
use crate::domain::ids::{EndpointName, Vmid};
use crate::domain::state::ServicePhase;

#[test]
fn waiters_of_before_a_restart_are_cancelled_and_their_clones_kept() {
    let mut pool = Pool::new();
    pool.allocate("a").allocate("b").prepared(T).submitted(200).restart();
    pool.then("ServiceStarted; AllocationCancelled a restarted; AllocationCancelled b restarted; CloneCancelled 9009");
    pool.plans("FollowClone 200").made(200).holds("200 ready");
}

#[test]
fn a_clone_that_was_being_sent_is_looked_for() {
    let mut pool = Pool::new();
    pool.allocate("a").prepared(T).restart().plans("FindClone 200");
    let clone_id = pool.clone_of(200);
    pool.see(Observation::CloneFound { vmid: Vmid(200), clone_id, upid: upid() }).plans("FollowClone 200");
}

#[test]
fn a_hand_out_that_nobody_asks_for_again_is_never_answered_and_goes_back() {
    let mut pool = Pool::new().stocked(1);
    pool.allocate("box").restart().then("ServiceStarted").plans("");
    pool.later(119).then("").later(1);
    pool.then("AllocationCancelled box restarted; ReleaseRequested 200 allocation_ended");
    pool.parked(200).holds("200 ready");
    assert_eq!(pool.container(200).uses, 0);
}

#[test]
fn a_start_that_nobody_asks_for_again_goes_back_as_used() {
    let mut pool = Pool::new().stocked(1);
    pool.allocate("box").renamed(200).restart().plans("").later(120);
    pool.then("AllocationCancelled box restarted; ReleaseRequested 200 allocation_ended").parked(200);
    assert_eq!(pool.container(200).uses, 1);
}

#[test]
fn a_hand_out_that_is_asked_for_again_goes_on_where_it_was() {
    let mut pool = Pool::new().stocked(2);
    pool.allocate("box").renamed(200).restart().later(60).allocate("box");
    pool.then("AllocationResumed 200")
        .plans("Start 200")
        .started(200)
        .then_has("AllocationCompleted 200 box");
}

#[test]
fn a_hand_out_that_is_asked_for_again_has_its_own_time() {
    let mut pool = Pool::new().stocked(1);
    pool.allocate("box").restart().later(60).allocate("box").later(109).then("").later(1);
    pool.then_has("AllocationFailed box pve_timeout");
}

#[test]
fn a_second_look_at_an_answered_container_ends_quietly_after_a_restart() {
    let mut pool = Pool::new().stocked(1);
    pool.handed_out("box");
    pool.allocate("box").restart().later(120).then("AllocationCancelled box restarted");
    pool.holds("200 allocated box").plans("");
}

#[test]
fn what_was_answered_stays_answered() {
    let mut pool = Pool::new().stocked(1);
    pool.handed_out("box");
    pool.restart().then("ServiceStarted").holds("200 allocated box").later(3600).then("");
}

#[test]
fn releases_and_removals_go_on() {
    let mut pool = Pool::new().stocked(2);
    pool.handed_out("box");
    pool.release(200).remove(201).restart().plans("Park 200; Destroy 201");
}

#[test]
fn a_stop_tells_who_waits_and_lets_hand_outs_finish() {
    let mut pool = Pool::new().stocked(1);
    pool.allocate("a").allocate("b").run(Command::BeginStop);
    pool.then("ServiceStopping; AllocationCancelled b stopping").plans("Rename 200");
    pool.refuses(allocate("c"), "stopping").renamed(200).started(200).then_has("AllocationCompleted 200 a");
    pool.run(Command::Stop).then("ServiceStopped").plans("");
}

#[test]
fn who_is_put_back_in_line_while_the_service_stops_is_told() {
    let mut pool = Pool::new().stocked(1);
    pool.allocate("a").run(Command::BeginStop).hindered(200, super::pool::unusable(FaultKind::Locked));
    pool.then_has("AllocationCancelled a stopping");
}

#[test]
fn nothing_new_is_begun_while_the_service_stops() {
    let mut pool = Pool::sized(0, 2, 10);
    pool.prepared(T).submitted(200).run(Command::BeginStop).plans("");
    pool.made(200).then("CloneSucceeded 200").plans("").run(Command::BeginStop).then("");
}

#[test]
fn nothing_is_written_behind_a_stop() {
    let mut pool = Pool::new().stocked(1);
    pool.allocate("box").run(Command::Stop).then("ServiceStopped");
    let allocation_id = pool.container(200).holding().unwrap().allocation_id;
    pool.renamed(200).then("").run(Command::CallersGone { allocation_id }).then("");
    pool.run(Command::Tick).then("").run(Command::Stop).then("");
    pool.refuses(Command::RegisterWebhooks(vec![EndpointName::from("audit")]), "stopping");
    assert_eq!(pool.state.service.phase, ServicePhase::Stopped);
    pool.restart().then("ServiceStarted").plans("");
}

#[test]
fn a_clock_that_ran_back_does_not_take_time_back() {
    let mut pool = Pool::new();
    pool.allocate("a").prepare(T, Err(fault(FaultKind::Locked)));
    let at = pool.state.at;
    pool.now = crate::domain::time::Timestamp(0);
    pool.run(Command::Tick).leaves("a");
    assert_eq!(pool.state.at, at);
}

#[test]
fn until_pve_was_looked_at_only_who_waits_gets_clones() {
    let mut pool = Pool::sized(0, 1, 10);
    pool.plans("PrepareClone 9009").restart().plans("");
    pool.allocate("a").plans("PrepareClone 9009").leaves("a").plans("");
    pool.see(Observation::Reconciled { as_of: pool.state.head, findings: Vec::new() }).then("Reconciled");
    pool.plans("PrepareClone 9009");
}
