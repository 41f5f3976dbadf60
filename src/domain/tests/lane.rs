//! The clone lane: what is cloned next, and how many at once.

use super::pool::{Pool, T, U, allocate_from, put};
use crate::domain::command::Observation;
use crate::domain::fault::FaultKind;
use crate::domain::ids::Vmid;
use crate::domain::plan::Action;
use crate::domain::settings::SizeOverrides;

fn sizes(min: u32, target: u32) -> SizeOverrides {
    SizeOverrides { min: Some(min), target: Some(target), max: Some(10) }
}

/// The template that the lane takes next.
fn next(pool: &Pool) -> Option<u32> {
    pool.plan().actions.iter().find_map(|action| match action {
        Action::PrepareClone { template, .. } => Some(template.0),
        _ => None,
    })
}

#[test]
fn one_clone_at_a_time_over_all_templates() {
    let mut pool = Pool::new();
    pool.allocate("a").run(allocate_from(U, "b")).plans("PrepareClone 9009");
    pool.prepared(T).plans("SendClone 200").submitted(200).plans("FollowClone 200");
    pool.made(200).plans("Rename 200; PrepareClone 9010");
}

#[test]
fn a_wider_lane_still_takes_one_clone_of_each_template() {
    let mut pool = Pool::with(|settings| settings.clone_concurrency = 3);
    pool.allocate("a")
        .allocate("a2")
        .run(allocate_from(U, "b"))
        .plans("PrepareClone 9009; PrepareClone 9010");
    pool.prepared(T).prepared(U).plans("SendClone 200; SendClone 201");
}

#[test]
fn a_second_look_up_does_not_start_a_second_clone() {
    let mut pool = Pool::new();
    pool.allocate("a").allocate("b");
    let template = Vmid(T);
    let outcome = Ok(pool.lookup());
    let clone_id = pool.state.template(template).unwrap().queue[1].clone_id;
    let second = crate::domain::command::Observation::ClonePrepared { clone_id, template, outcome };
    pool.see(second.clone()).then("").prepared(T).see(second).then("");
}

#[test]
fn waiters_go_before_urgent_before_refill_before_warm() {
    let mut pool = Pool::new();
    let (warm, refill, urgent, waiter) = (9001, 9002, 9003, 9004);
    pool.warm(warm, Some(1));
    pool.run(put(refill, sizes(0, 1)));
    pool.run(put(urgent, sizes(1, 1)));
    pool.run(allocate_from(waiter, "box"));
    let mut order = Vec::new();
    while let Some(template) = next(&pool) {
        order.push(template);
        pool.clone(template);
    }
    assert_eq!(order, [waiter, urgent, refill, warm]);
}

#[test]
fn within_a_class_templates_take_turns() {
    let mut pool = Pool::new();
    pool.run(put(T, sizes(0, 3))).run(put(U, sizes(0, 3)));
    let mut order = Vec::new();
    while let Some(template) = next(&pool) {
        order.push(template);
        pool.clone(template);
    }
    assert_eq!(order, [T, U, T, U, T, U]);
}

#[test]
fn waiters_of_two_templates_take_turns() {
    let mut pool = Pool::new();
    for nth in 0..3 {
        pool.run(allocate_from(T, &format!("t{nth}")));
    }
    pool.run(allocate_from(U, "u0"));
    let first = pool.clone(T);
    assert_eq!((first, next(&pool)), (200, Some(U)));
}

#[test]
fn a_refused_clone_leaves_the_lane_to_others() {
    let mut pool = Pool::new();
    pool.allocate("a").run(allocate_from(U, "b")).prepared(T);
    pool.sent(200, Err(super::pool::fault(FaultKind::Locked))).plans("PrepareClone 9010");
}

#[test]
fn a_clone_that_runs_too_long_frees_the_lane_for_others_only() {
    let mut pool = Pool::with(|settings| settings.allocate_timeout_seconds = 3600);
    pool.allocate("a").allocate("a2").run(allocate_from(U, "b")).prepared(T).submitted(200);
    pool.later(599).plans("FollowClone 200").later(1).plans("FollowClone 200; PrepareClone 9010");
}

#[test]
fn a_clone_whose_node_does_not_answer_frees_the_lane_for_others_only() {
    let mut pool = Pool::new();
    pool.allocate("a").allocate("a2").run(allocate_from(U, "b")).prepared(T).submitted(200);
    pool.pve_said(200, FaultKind::NodeUnreachable).then("ActionDelayed 200 node_unreachable try=1");
    pool.plans("PrepareClone 9010");
}

#[test]
fn a_clone_that_is_not_due_yet_waits() {
    let mut pool = Pool::new();
    pool.allocate("a").prepared(T).sent(200, Err(super::pool::fault(FaultKind::Locked))).plans("");
    pool.later(7).plans("PrepareClone 9009");
}

#[test]
fn a_waiter_whose_name_is_not_free_yet_takes_from_the_inventory() {
    for (min, other) in [(2, sizes(0, 1)), (0, sizes(0, 0))] {
        let mut pool = Pool::with(|settings| settings.clone_concurrency = 2).stocked(2);
        pool.run(put(U, other)).warm(U, Some(1)).run(put(T, sizes(min, 2)));
        pool.allocate("a").renamed(200).start_failed(200).holds("200 removing; 201 ready");
        pool.plans("PrepareClone 9009; PrepareClone 9010; Destroy 200");
    }
}

#[test]
fn a_look_up_that_ends_when_its_clone_may_not_start_any_more_starts_none() {
    let mut pool = Pool::new();
    pool.allocate("a").run(allocate_from(U, "b"));
    let looked_up = |pool: &Pool| Observation::ClonePrepared {
        clone_id: pool.state.template(Vmid(U)).unwrap().queue[0].clone_id,
        template: Vmid(U),
        outcome: Ok(pool.lookup()),
    };
    let the_lane_is_taken = looked_up(pool.prepared(T));
    pool.see(the_lane_is_taken).then("").submitted(200).made(200);
    pool.prepare(U, Err(super::pool::fault(FaultKind::Locked)));
    let it_is_to_wait = looked_up(&pool);
    pool.see(it_is_to_wait).then("").later(7).prepared(U).then("CloneStarted 201");
}
