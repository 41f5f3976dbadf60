//! Templates whose clones fail: how often they are tried, who is told, what ends it.

use super::pool::{Pool, T, allocate, facts, fault, stray};
use crate::domain::command::{Command, Finding, Leftover};
use crate::domain::fault::FaultKind;
use crate::domain::ids::Vmid;

/// A pool with a target of 2 whose template backed off for want of space.
fn backed_off() -> Pool {
    let mut pool = Pool::sized(0, 2, 10);
    pool.prepared(T).sent(200, Err(fault(FaultKind::NoSpace)));
    pool
}

#[test]
fn what_no_retry_mends_fails_at_once() {
    backed_off()
        .then("CloneFailed 9009 no_space; CloneCancelled 9009; TemplateBackedOff 9009 no_space for 30s");
}

#[test]
fn everybody_who_waits_is_told_why() {
    for kind in [FaultKind::NoSpace, FaultKind::Gone, FaultKind::NotATemplate, FaultKind::StorageUnusable] {
        let mut pool = Pool::new();
        pool.allocate("a").allocate("b").prepare(T, Err(fault(kind)));
        pool.then_has("AllocationFailed a template_backed_off; AllocationFailed b template_backed_off");
    }
}

#[test]
fn a_missing_right_is_told_as_pves_refusal() {
    let mut pool = Pool::new();
    pool.allocate("a").prepare(T, Err(fault(FaultKind::Forbidden)));
    pool.then_has("AllocationFailed a pve_refused");
}

#[test]
fn a_template_that_backed_off_refuses_at_once_unless_one_is_ready() {
    let mut pool = Pool::sized(0, 2, 10);
    pool.clone(T);
    pool.prepared(T).sent(201, Err(fault(FaultKind::NoSpace)));
    pool.allocate("a").then("Allocated 200 a").refuses(allocate("b"), "PVE said no_space");
}

#[test]
fn one_clone_is_tried_when_the_pause_is_over_and_none_before() {
    let mut pool = backed_off();
    pool.plans("").later(29).then("").later(1).then("CloneQueued 9009 probe").plans("PrepareClone 9009");
    pool.prepared(T).then("CloneStarted 201").refuses(allocate("b"), "PVE said no_space");
}

#[test]
fn the_pauses_double_up_to_ten_minutes() {
    let mut pool = backed_off();
    for seconds in [60, 120, 240, 480, 600, 600] {
        let until = pool.state.template(Vmid(T)).unwrap().backoff.as_ref().unwrap().until;
        pool.now = until;
        pool.run(Command::Tick).then("CloneQueued 9009 probe").prepare(T, Err(fault(FaultKind::NoSpace)));
        pool.then_has(&format!("TemplateBackedOff 9009 no_space for {seconds}s"));
    }
}

#[test]
fn a_probe_that_fails_in_any_way_doubles_the_pause() {
    for (kind, leftover) in [
        (FaultKind::Locked, Leftover::Nothing),
        (FaultKind::Other, Leftover::Removable),
        (FaultKind::Other, Leftover::Locked { hint: "pct unlock 201".to_owned() }),
    ] {
        let mut pool = backed_off();
        pool.later(30).prepared(T).submitted(201).clone_failed(201, kind, leftover);
        pool.then_has(&format!("TemplateBackedOff 9009 {} for 60s", kind.code())).plans_no_clone();
    }
    let mut pool = backed_off();
    pool.later(30).prepared(T).sent(201, Err(fault(FaultKind::OutcomeUnknown))).not_made(201);
    pool.then_has("TemplateBackedOff 9009 outcome_unknown for 60s").plans_no_clone();
}

#[test]
fn a_probe_that_works_ends_it() {
    let mut pool = backed_off();
    pool.later(30).prepared(T).submitted(201).made(201).then("CloneSucceeded 201; CloneQueued 9009 refill");
}

#[test]
fn a_template_without_a_target_is_probed_by_the_next_request() {
    let mut pool = Pool::new();
    pool.allocate("a").prepare(T, Err(fault(FaultKind::NoSpace))).refuses(allocate("b"), "no_space");
    pool.later(30).allocate("b").then("AllocationQueued b; CloneQueued 9009 probe");
    pool.refuses(allocate("c"), "no_space").clone(T);
    pool.then_has("CloneSucceeded 200; Allocated 200 b").allocate("c").then_has("AllocationQueued c");
}

#[test]
fn the_request_that_probes_is_told_when_the_probe_fails() {
    let mut pool = Pool::new();
    pool.allocate("a").prepare(T, Err(fault(FaultKind::NoSpace))).later(30).allocate("b");
    pool.prepare(T, Err(fault(FaultKind::NoSpace)));
    pool.then_has("TemplateBackedOff 9009 no_space for 60s; AllocationFailed b template_backed_off");
}

#[test]
fn warm_put_and_refresh_end_it() {
    let warm = Command::Warm { template: Vmid(T), count: None, facts: Some(facts()) };
    backed_off().run(warm).then_has("CloneQueued 9009 refill ×2");
    backed_off().put(T, 0, 2, 10).then("TemplateConfigured 9009; CloneQueued 9009 refill ×2");
    backed_off().refresh(T).then("TemplateRefreshed 9009; CloneQueued 9009 refill ×2");
}

#[test]
fn a_refill_meets_three_lock_retries_and_then_rests() {
    let mut pool = Pool::sized(0, 1, 10);
    for attempt in 1..=3 {
        pool.prepare(T, Err(fault(FaultKind::Locked)));
        pool.then(&format!("CloneRetryScheduled 9009 locked try={attempt}")).later(7);
    }
    pool.prepare(T, Err(fault(FaultKind::Locked)));
    pool.then("CloneFailed 9009 locked; TemplateBackedOff 9009 locked for 30s");
}

#[test]
fn clones_that_fail_in_their_task_do_not_go_on_for_ever() {
    let mut pool = Pool::sized(0, 1, 10);
    for _ in 0..3 {
        pool.prepared(T);
        let vmid = pool.creating();
        pool.submitted(vmid).clone_failed(vmid, FaultKind::Other, Leftover::Removable);
        pool.then_has("CloneFailed 9009 other; CloneQueued 9009 refill; CloneRetryScheduled")
            .plans_no_clone();
        pool.destroyed(vmid).later(7);
    }
    pool.prepared(T);
    let vmid = pool.creating();
    pool.submitted(vmid).clone_failed(vmid, FaultKind::Other, Leftover::Removable);
    pool.then_has("TemplateBackedOff 9009 other for 30s");
}

#[test]
fn clones_that_never_come_to_be_do_not_go_on_for_ever() {
    let mut pool = Pool::sized(0, 1, 10);
    for _ in 0..3 {
        pool.prepared(T);
        let vmid = pool.creating();
        pool.sent(vmid, Err(fault(FaultKind::OutcomeUnknown))).not_made(vmid).later(7);
    }
    pool.prepared(T);
    let vmid = pool.creating();
    pool.sent(vmid, Err(fault(FaultKind::OutcomeUnknown))).not_made(vmid);
    pool.then_has("TemplateBackedOff 9009 outcome_unknown for 30s");
}

#[test]
fn an_adopted_container_serves_a_template_that_backed_off() {
    let mut pool = backed_off();
    pool.found(Finding::Discovered(stray(300, None))).allocate("a").then("Allocated 300 a");
}

#[test]
fn at_the_cap_a_failed_clone_keeps_its_tries_and_its_pause() {
    let mut pool = Pool::with(|settings| settings.max_total = 1);
    pool.allocate("a").prepared(T).submitted(200).clone_failed(200, FaultKind::Other, Leftover::Removable);
    pool.then_has("CloneRetryScheduled 9009 other try=1; CloneCancelled 9009").destroyed(200);
    pool.then("Removed 200; CloneQueued 9009 waiter").plans("").later(7).plans("PrepareClone 9009");
    pool.prepare(T, Err(fault(FaultKind::Locked))).then("CloneRetryScheduled 9009 locked try=2");
}

/// The pause of the clone at the head of the queue is over.
fn wait_for_the_next_try(pool: &mut Pool) {
    pool.now = pool.state.template(Vmid(T)).unwrap().queue[0].not_before;
}

#[test]
fn the_tries_of_a_cancelled_clone_count_for_a_minute_after_its_pause() {
    for (late, attempt) in [(59, 2), (60, 1)] {
        let mut pool = Pool::new();
        pool.allocate("a").prepare(T, Err(fault(FaultKind::Locked)));
        wait_for_the_next_try(&mut pool);
        pool.leaves("a").then_has("CloneCancelled 9009").later(late);
        pool.allocate("b").prepare(T, Err(fault(FaultKind::Locked)));
        pool.then(&format!("CloneRetryScheduled 9009 locked try={attempt}"));
    }
}

#[test]
fn tries_count_also_over_two_cancelled_clones() {
    let mut pool = Pool::new();
    pool.allocate("a").prepare(T, Err(fault(FaultKind::Locked))).leaves("a").allocate("b").leaves("b");
    pool.allocate("c");
    wait_for_the_next_try(&mut pool);
    pool.prepare(T, Err(fault(FaultKind::Locked))).then("CloneRetryScheduled 9009 locked try=2");
}

#[test]
fn the_request_that_probes_is_told_when_the_probe_is_taken_away() {
    let mut pool = Pool::new();
    pool.allocate("a").prepare(T, Err(fault(FaultKind::NoSpace))).later(30).allocate("b").prepared(T);
    pool.remove(200).then("RemovalRequested 200 request; AllocationFailed b template_backed_off");
}

#[test]
fn a_template_that_lacks_nothing_is_not_probed() {
    let mut pool = backed_off();
    pool.found(Finding::Discovered(stray(300, None))).found(Finding::Discovered(stray(301, None)));
    pool.later(30).then("").plans_no_clone();
}
