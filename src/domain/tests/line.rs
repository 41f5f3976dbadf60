//! The line of those who wait: first come, first served, and everybody gets an answer.

use super::pool::{Pool, T, allocate, fault, unusable};
use crate::domain::fault::FaultKind;

#[test]
fn who_comes_first_is_served_first() {
    let mut pool = Pool::new();
    pool.allocate("a").allocate("b").allocate("c").prepared(T).submitted(200).made(200);
    pool.then("CloneSucceeded 200; Allocated 200 a");
    pool.clone(T);
    pool.then("CloneSucceeded 201; Allocated 201 b");
    pool.clone(T);
    pool.then("CloneSucceeded 202; Allocated 202 c");
}

#[test]
fn a_released_container_serves_the_line() {
    let mut pool = Pool::new().stocked(1);
    pool.handed_out("a");
    pool.allocate("b")
        .release(200)
        .parked(200)
        .then("Released 200 reused; Allocated 200 b; CloneCancelled 9009");
}

#[test]
fn who_waits_too_long_gets_an_error() {
    let mut pool = Pool::new();
    pool.allocate("a").later(10).allocate("b").later(100);
    pool.then("AllocationFailed a allocate_timeout; CloneCancelled 9009");
    pool.later(10).then("AllocationFailed b allocate_timeout; CloneCancelled 9009");
}

#[test]
fn who_leaves_the_line_takes_its_clone_along() {
    let mut pool = Pool::new();
    pool.allocate("a").allocate("b").leaves("a");
    pool.then("AllocationCancelled a caller_gone; CloneCancelled 9009");
}

#[test]
fn a_clone_that_runs_is_kept_when_its_waiter_leaves() {
    let mut pool = Pool::new();
    pool.allocate("a").prepared(T).submitted(200).leaves("a").then("AllocationCancelled a caller_gone");
    pool.made(200).holds("200 ready");
}

#[test]
fn a_waiter_that_was_put_back_is_served_before_the_others() {
    let mut pool = Pool::new().stocked(1);
    pool.allocate("a").allocate("b").allocate("c").hindered(200, unusable(FaultKind::ConfigChanged));
    for expected in ["Allocated 201 a", "Allocated 202 b", "Allocated 203 c"] {
        pool.clone(T);
        pool.then_has(expected);
    }
}

#[test]
fn a_waiter_whose_name_is_not_free_yet_keeps_nobody_else_waiting() {
    let mut pool = Pool::new().stocked(2);
    pool.allocate("a").renamed(200).start_failed(200).holds("200 removing; 201 ready");
    pool.allocate("b").then_has("Allocated 201 b");
    pool.clone(T);
    pool.then("CloneSucceeded 202").renamed_back(200).then_has("Allocated 202 a");
}

#[test]
fn a_waiter_that_was_put_back_keeps_its_deadline() {
    let mut pool = Pool::new().stocked(1);
    pool.allocate("a").later(60).hindered(200, unusable(FaultKind::Locked)).later(49).then("").later(1);
    pool.then_has("AllocationFailed a allocate_timeout");
}

#[test]
fn a_waiter_outlasts_lock_refusals_until_its_time_is_up() {
    let mut pool = Pool::new();
    pool.allocate("a");
    for attempt in 1..=10 {
        pool.prepared(T);
        let vmid = pool.state.containers.keys().next().unwrap().0;
        pool.sent(vmid, Err(fault(FaultKind::Locked)));
        pool.then(&format!("CloneRetryScheduled 9009 locked try={attempt}")).later(8);
    }
    pool.later(30).then_has("AllocationFailed a allocate_timeout");
}

#[test]
fn a_drain_tells_everybody_who_waits() {
    let mut pool = Pool::new();
    pool.allocate("a").allocate("b").drain(T).then(
        "TemplateDrained 9009; AllocationFailed a template_drained; AllocationFailed b template_drained; \
         CloneCancelled 9009 ×2",
    );
}

#[test]
fn a_request_that_is_put_back_after_a_drain_is_told_too() {
    let mut pool = Pool::new().stocked(1);
    pool.allocate("a").drain(T).hindered(200, unusable(FaultKind::Locked));
    pool.then_has("AllocationFailed a template_drained");
}

#[test]
fn a_line_in_the_next_template_does_not_hold_this_one_up() {
    let mut pool = Pool::new();
    pool.allocate("a").run(super::pool::allocate_from(super::pool::U, "b"));
    pool.prepared(T).submitted(200).made(200).then_has("Allocated 200 a").refuses(allocate("b"), "9010");
}

#[test]
fn a_container_for_a_waiter_whose_name_is_not_free_yet_is_no_surplus() {
    let mut pool = Pool::new().stocked(1);
    pool.allocate("a").put(T, 0, 0, 0).renamed(200).start_failed(200).pve_said(200, FaultKind::Forbidden);
    pool.clone(T);
    pool.then("CloneSucceeded 201").holds("200 removing; 201 ready").later(2).renamed_back(200);
    pool.then_has("Allocated 201 a");
}
