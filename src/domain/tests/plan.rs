//! What should be running, and when that changes by time alone.

use super::pool::{Pool, T, U, allocate_from, fault};
use crate::domain::command::Observation;
use crate::domain::fault::FaultKind;

fn unreachable() -> Observation {
    Observation::PveUnreachable { reason: "connection refused".to_owned() }
}

#[test]
fn while_pve_does_not_answer_nothing_but_that_is_asked() {
    let mut pool = Pool::new().stocked(1);
    pool.allocate("a").allocate("b").see(unreachable()).then("PveUnreachable").plans("ProbePve");
    pool.see(unreachable()).then("").see(Observation::PveReachable).then("PveReachable");
    pool.plans("Rename 200; PrepareClone 9009").see(Observation::PveReachable).then("");
}

#[test]
fn requests_wait_for_pve_until_their_time_is_up() {
    let mut pool = Pool::new().stocked(1);
    pool.allocate("a").allocate("b").see(unreachable()).later(110).then(
        "AllocationFailed b allocate_timeout; AllocationFailed a pve_timeout; \
         ReleaseRequested 200 allocation_ended; CloneCancelled 9009",
    );
}

#[test]
fn hand_outs_go_first() {
    let mut pool = Pool::new().stocked(4);
    pool.handed_out("a");
    pool.release(200)
        .remove(201)
        .allocate("b")
        .warm(T, Some(5))
        .plans("Rename 202; PrepareClone 9009; Park 200; Destroy 201");
}

#[test]
fn a_plan_wakes_for_the_first_deadline_of_all() {
    let mut pool = Pool::new();
    assert_eq!(pool.plan().wake_at, None, "an idle pool sleeps");
    pool.allocate("a");
    let wakes = |pool: &Pool| pool.plan().wake_at.unwrap().since(pool.now).as_millis();
    assert_eq!(wakes(&pool), 110_000);
    pool.prepare(T, Err(fault(FaultKind::Locked)));
    assert!((5000..=7000).contains(&wakes(&pool)));
    pool.run(allocate_from(U, "b")).prepare(U, Err(fault(FaultKind::NoSpace)));
    assert!((5000..=7000).contains(&wakes(&pool)));
    pool.leaves("a");
    assert_eq!(wakes(&pool), 30_000);
}

#[test]
fn a_stopped_service_plans_nothing_and_never_wakes() {
    let mut pool = Pool::new().stocked(1);
    pool.allocate("a").run(crate::domain::command::Command::Stop).plans("");
    assert_eq!(pool.plan().wake_at, None);
}
