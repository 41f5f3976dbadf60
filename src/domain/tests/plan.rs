//! What should be running, and when that changes by time alone.

use std::time::Duration;

use super::pool::{Pool, T, U, allocate_from, fault};
use crate::domain::command::Observation;
use crate::domain::event::Event;
use crate::domain::fault::FaultKind;
use crate::domain::ids::Vmid;
use crate::domain::plan::Action;

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

#[test]
fn a_pool_at_rest_sleeps() {
    let mut pool = Pool::new().stocked(2);
    pool.handed_out("box");
    assert_eq!(pool.plan().wake_at, None);
}

#[test]
fn an_action_names_the_event_that_led_to_it() {
    let mut pool = Pool::new().stocked(1);
    pool.allocate("a").allocate("b").plans("Rename 200; PrepareClone 9009");
    let causes: Vec<_> = pool.plan().actions.iter().map(Action::cause).collect();
    let (Some(seq), None) = (causes[0], causes[1]) else { panic!("{causes:?}") };
    let cause = pool.log.iter().find(|envelope| envelope.seq == seq).unwrap();
    assert!(matches!(&cause.event, Event::Allocated(e) if e.instance_id.as_str() == "a"), "{cause:?}");
}

#[test]
fn a_start_is_expected_to_take_as_long_as_those_before() {
    let mut pool = Pool::new().stocked(3);
    for (vmid, expected, took) in [(200, None, 900), (201, Some(900), 1300), (202, Some(1000), 1000)] {
        pool.allocate(&format!("box-{vmid}")).renamed(vmid);
        let plan = pool.plan();
        let Action::Start { expected: is, .. } = &plan.actions[0] else { panic!("{plan:?}") };
        assert_eq!(*is, expected.map(Duration::from_millis));
        let as_of = pool.container(vmid).touched;
        pool.see(Observation::Started { vmid: Vmid(vmid), as_of, duration_ms: Some(took) });
    }
}
