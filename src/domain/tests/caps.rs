//! The cap on everything in State: who gets the last places.

use super::pool::{Pool, T, U, allocate, allocate_from, doubt, fault, stray};
use crate::domain::command::{Finding, Hindrance, Leftover};
use crate::domain::fault::FaultKind;
use crate::domain::ids::Vmid;
use crate::domain::settings::{ReleasePolicy, Sizes};

fn capped(max_total: u32) -> Pool {
    Pool::with(|settings| settings.max_total = max_total)
}

#[test]
fn refill_stops_at_the_cap() {
    let mut pool = Pool::with(|settings| {
        settings.max_total = 3;
        settings.sizes = Sizes { min: 0, target: 5, max: 10 };
    });
    pool.warm(T, None).clone_all();
    assert_eq!(pool.state.containers.len(), 3);
}

#[test]
fn at_the_cap_an_allocation_fails_at_once() {
    let mut pool = capped(1).stocked(1);
    pool.handed_out("a");
    pool.refuses(allocate("b"), "as many as it may");
}

#[test]
fn at_the_cap_a_waiter_keeps_its_place_while_a_container_is_made_for_it() {
    let mut pool = capped(1);
    pool.allocate("a").prepared(T).submitted(200).refuses(allocate("b"), "as many as it may");
    pool.made(200).then_has("Allocated 200 a");
}

#[test]
fn at_the_cap_a_waiter_keeps_its_place_while_a_container_comes_back() {
    let mut pool = capped(1).stocked(1);
    pool.handed_out("a");
    pool.release(200).allocate("b").then("AllocationQueued b").parked(200).then_has("Allocated 200 b");
}

#[test]
fn at_the_cap_a_waiter_keeps_its_place_while_a_place_becomes_free() {
    let mut pool = capped(1).stocked(1);
    pool.handed_out("a");
    pool.remove(200).allocate("b").then("AllocationQueued b");
    pool.destroyed(200).then("Removed 200; CloneQueued 9009 waiter").clone(T);
    pool.then_has("Allocated 201 b");
}

#[test]
fn a_recycled_container_frees_a_place_too() {
    let mut pool = Pool::with(|settings| {
        settings.max_total = 1;
        settings.release_policy = ReleasePolicy::Recycle;
    })
    .stocked(1);
    pool.handed_out("a");
    pool.release(200).run(allocate_from(U, "b")).then_has("AllocationQueued b");
    pool.parked(200).destroyed(200).then("Removed 200; CloneQueued 9010 waiter");
}

#[test]
fn a_waiter_whose_hope_ends_is_told() {
    let mut pool = capped(1).stocked(1);
    pool.handed_out("a");
    pool.release(200).allocate("b").pve_said(200, FaultKind::Forbidden);
    pool.then("ReleaseFailed 200 forbidden kept; AllocationFailed b max_total");
}

#[test]
fn a_refill_does_not_take_the_last_place_that_a_waiter_needs() {
    let mut pool = Pool::with(|settings| {
        settings.max_total = 2;
        settings.sizes = Sizes { min: 0, target: 2, max: 10 };
    });
    pool.warm(T, None).then_has("CloneQueued 9009 refill ×2");
    pool.clone(T);
    pool.run(allocate_from(U, "box")).then_has("AllocationQueued box; CloneCancelled 9009; CloneQueued 9010");
}

#[test]
fn the_last_in_line_is_the_one_too_many() {
    let mut pool = capped(2);
    pool.allocate("a").allocate("b").refuses(allocate("c"), "as many as it may");
    pool.found(Finding::Discovered(stray(300, Some("old")))).then_has("AllocationFailed b max_total");
}

#[test]
fn what_is_in_quarantine_or_in_doubt_counts() {
    let mut pool = capped(2);
    let mut stuck = stray(300, None);
    stuck.stuck = Some(fault(FaultKind::Locked));
    pool.found(Finding::Discovered(stuck)).found(Finding::Discovered(stray(301, None)));
    pool.found(Finding::Doubtful { vmid: Vmid(301), reason: "renamed".to_owned() });
    pool.refuses(allocate("a"), "as many as it may");
}

#[test]
fn a_clone_that_is_to_be_destroyed_serves_nobody() {
    let mut pool = capped(1);
    pool.allocate("a").prepared(T).submitted(200).remove(200).then("RemovalRequested 200 request");
    pool.holds("200 creating");
    assert_eq!(pool.state.waiting.len(), 1, "its place becomes free");
    pool.made(200).then("CloneSucceeded 200; RemovalRequested 200 request");
    pool.destroyed(200).then("Removed 200; CloneQueued 9009 waiter");
}

#[test]
fn a_release_in_doubt_gives_nobody_hope() {
    let mut pool = capped(1).stocked(1);
    pool.allocate("a").leaves("a").allocate("b").then("AllocationQueued b");
    pool.hindered(200, doubt()).then_has("AllocationFailed b max_total");
}

#[test]
fn a_quarantined_release_gives_nobody_hope() {
    let mut pool = capped(1).stocked(1);
    pool.handed_out("a");
    pool.release(200).allocate("b").hindered(200, Hindrance::Stuck { fault: fault(FaultKind::Locked) });
    pool.then("ContainerQuarantined 200 locked; AllocationFailed b max_total");
}

#[test]
fn a_refresh_at_the_cap_replaces_what_may_be_spared() {
    let mut pool = Pool::with(|settings| {
        settings.max_total = 3;
        settings.sizes = Sizes { min: 2, target: 3, max: 3 };
    });
    pool.warm(T, None)
        .clone_all()
        .refresh(T)
        .then_has("RemovalRequested 202 refreshed")
        .holds("200 ready; 201 ready; 202 removing");
    pool.destroyed(202).clone(T);
    pool.holds("200 ready; 201 removing; 203 ready").destroyed(201).clone(T);
    pool.destroyed(200).clone(T);
    pool.holds("203 ready; 204 ready; 205 ready").plans("");
}

#[test]
fn at_the_cap_the_longest_waiting_gets_the_next_place_whatever_its_template() {
    let mut pool = capped(2).stocked(2);
    pool.handed_out("a");
    pool.handed_out("b");
    pool.remove(200).remove(201).run(allocate_from(U, "first")).later(1).allocate("second");
    pool.destroyed(200).then("Removed 200; CloneQueued 9010 waiter");
    pool.destroyed(201).then("Removed 201; CloneQueued 9009 waiter");
}

#[test]
fn at_the_cap_what_is_urgent_goes_before_refill_and_templates_take_turns() {
    let mut pool = capped(4);
    pool.put(T, 0, 4, 4).put(U, 1, 2, 4);
    let queued = |pool: &Pool| [T, U].map(|vmid| pool.state.template(Vmid(vmid)).unwrap().queue.len());
    assert_eq!(queued(&pool), [2, 2]);
    pool.found(Finding::Discovered(stray(300, Some("old"))))
        .found(Finding::Discovered(stray(301, Some("older"))));
    pool.found(Finding::Discovered(stray(302, Some("oldest"))));
    assert_eq!(queued(&pool), [0, 1]);
}

#[test]
fn at_the_cap_a_release_gives_hope_to_its_own_template_unless_that_is_drained() {
    let mut pool = capped(1);
    pool.run(allocate_from(U, "u")).clone(U);
    pool.renamed(200).started(200).release(200);
    pool.refuses(allocate("a"), "as many as it may").drain(U).allocate("a").then_has("AllocationQueued a");
}

#[test]
fn who_has_a_clone_under_way_is_not_the_one_too_many() {
    let mut pool = Pool::with(|settings| (settings.max_total, settings.clone_concurrency) = (2, 2));
    pool.allocate("a").prepared(T).submitted(200).later(1);
    pool.run(allocate_from(U, "b")).prepared(U);
    pool.clone_failed(200, FaultKind::Other, Leftover::Locked { hint: "pct unlock 200".to_owned() });
    pool.then_has("AllocationFailed a max_total").then_lacks("AllocationFailed b");
}
