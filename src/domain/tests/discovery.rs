//! What a comparison with PVE's inventory finds.

use super::pool::{Pool, T, allocate, fault, stray, upid};
use crate::domain::command::{Discovered, Finding, Observation};
use crate::domain::fault::FaultKind;
use crate::domain::ids::{CloneId, Seq, Vmid};

fn lost(vmid: u32) -> Finding {
    Finding::Lost { vmid: Vmid(vmid), reason: "gone".to_owned() }
}

#[test]
fn the_first_comparison_is_an_event_and_the_others_are_not() {
    let mut pool = Pool::new();
    pool.restart().see(Observation::Reconciled { as_of: Seq(0), findings: vec![] }).then("Reconciled");
    pool.see(Observation::Reconciled { as_of: Seq(0), findings: vec![] }).then("");
}

#[test]
fn a_comparison_that_fails_is_an_event_once_and_the_next_that_does_not_ends_it() {
    let mut pool = Pool::new();
    let failed = |kind| Observation::ReconcileFailed { fault: fault(kind) };
    pool.see(failed(FaultKind::Unauthorized)).then("ReconcileFailed");
    pool.see(failed(FaultKind::Unauthorized)).then("");
    pool.see(failed(FaultKind::ClusterDegraded)).then("ReconcileFailed");
    pool.see(Observation::Reconciled { as_of: Seq(0), findings: vec![] }).then("Reconciled");
    pool.see(Observation::Reconciled { as_of: Seq(0), findings: vec![] }).then("");
}

#[test]
fn a_container_of_the_pool_is_adopted() {
    let mut pool = Pool::new();
    pool.found(Finding::Discovered(stray(300, None))).then("TemplateAdded 9009; ContainerDiscovered 300");
    pool.allocate("box").then("Allocated 300 box");
}

#[test]
fn a_clone_that_runs_is_followed_like_any_other() {
    let mut pool = Pool::new();
    let making = || Finding::Discovered(Discovered { making: Some(upid()), ..stray(300, None) });
    pool.found(making()).then("TemplateAdded 9009; CloneStarted 300; CloneSubmitted 300");
    pool.holds("300 creating").plans("FollowClone 300").found(making()).then("");
    pool.made(300).holds("300 ready");
    let next = Discovered { making: Some(upid()), ..stray(301, None) };
    pool.found(Finding::Discovered(next)).then("CloneStarted 301; CloneSubmitted 301");
}

#[test]
fn a_clone_that_runs_waits_for_the_one_that_is_known() {
    let mut pool = Pool::new();
    pool.allocate("box").prepared(T);
    pool.found(Finding::Discovered(Discovered { making: Some(upid()), ..stray(300, None) })).then("");
}

#[test]
fn an_adopted_container_goes_behind_those_that_surely_had_no_holder() {
    let mut pool = Pool::new();
    pool.found(Finding::Discovered(stray(300, None))).warm(T, Some(2)).clone(T);
    pool.allocate("box").then("Allocated 200 box");
}

#[test]
fn a_container_of_the_python_service_gets_a_clone_id() {
    let mut pool = Pool::new();
    pool.found(Finding::Discovered(Discovered { clone_id: None, ..stray(300, None) }));
    assert_ne!(pool.clone_of(300), CloneId(ulid::Ulid::nil()));
}

#[test]
fn a_held_container_is_adopted_with_its_holder() {
    let mut pool = Pool::new();
    pool.found(Finding::Discovered(stray(300, Some("box")))).holds("300 allocated box").plans("");
    pool.allocate("box").then("AllocationResumed 300");
}

#[test]
fn a_locked_one_is_adopted_into_quarantine_and_freed_without_its_lock() {
    let mut pool = Pool::new();
    pool.found(Finding::Discovered(Discovered { stuck: Some(fault(FaultKind::Locked)), ..stray(300, None) }));
    pool.then_has("ContainerDiscovered 300; ContainerQuarantined 300 locked").plans("");
    pool.found(Finding::Freed { vmid: Vmid(300) }).then("RemovalRequested 300 freed").plans("Destroy 300");
}

#[test]
fn a_known_vmid_or_clone_is_not_adopted() {
    let mut pool = Pool::new().stocked(1);
    pool.handed_out("box");
    let known_clone = Discovered { clone_id: Some(pool.clone_of(200)), ..stray(300, None) };
    for known in [stray(200, None), known_clone] {
        pool.found(Finding::Discovered(known)).then("");
    }
}

#[test]
fn a_second_container_of_an_instance_is_held_by_a_name_of_its_own_until_a_person_frees_it() {
    let mut pool = Pool::new().stocked(1);
    pool.handed_out("box");
    let own_name = stray(300, None).hostname;
    pool.found(Finding::Discovered(stray(300, Some("box"))));
    pool.then(&format!("ContainerDiscovered 300 {own_name}")).plans("");
    pool.holds(&format!("200 allocated box; 300 allocated {own_name}"));
    pool.found(Finding::Discovered(stray(300, Some("box")))).then("");
    pool.release(300).then("ReleaseRequested 300 request").plans("Park 300");
}

#[test]
fn what_was_seen_before_it_was_destroyed_is_not_adopted() {
    let mut pool = Pool::new().stocked(1);
    let as_of = pool.state.head;
    pool.remove(200).destroyed(200);
    let findings = vec![Finding::Discovered(stray(200, None))];
    pool.see(Observation::Reconciled { as_of, findings: findings.clone() }).then("").holds("");
    let as_of = pool.state.head;
    pool.see(Observation::Reconciled { as_of, findings }).then("ContainerDiscovered 200");
}

#[test]
fn a_lost_container_is_lost_and_replaced() {
    let mut pool = Pool::sized(0, 1, 2);
    pool.clone_all().found(lost(200)).then("ContainerLost 200; CloneQueued 9009 refill");
}

#[test]
fn a_finding_that_is_older_than_the_containers_last_event_does_not_count() {
    let mut pool = Pool::new().stocked(1);
    let as_of = Seq(pool.container(200).touched.0 - 1);
    for finding in [
        lost(200),
        Finding::Moved { vmid: Vmid(200), node: "pve2".into() },
        Finding::Doubtful { vmid: Vmid(200), reason: "renamed".to_owned() },
        Finding::Unready { vmid: Vmid(200), fault: fault(FaultKind::StillRunning) },
    ] {
        pool.see(Observation::Reconciled { as_of, findings: vec![finding] }).then("");
    }
}

#[test]
fn a_finding_about_a_container_at_work_does_not_count() {
    let mut pool = Pool::new();
    pool.allocate("box").prepared(T).found(lost(200)).then("");
    pool.submitted(200).made(200).found(lost(200)).then("");
    pool.renamed(200).found(lost(200)).then("").started(200).release(200).found(lost(200)).then("");
    pool.remove(200).found(lost(200)).then("").holds("200 removing box");
}

#[test]
fn a_container_that_moved_is_known_where_it_is() {
    let mut pool = Pool::new().stocked(1);
    let moved = |node: &str| Finding::Moved { vmid: Vmid(200), node: node.into() };
    pool.found(moved("pve1")).then("").found(moved("pve2")).then("ContainerMoved 200 pve2");
    pool.found(moved("pve2")).then("");
    assert_eq!(pool.container(200).node.as_str(), "pve2");
}

#[test]
fn a_ready_one_that_runs_is_not_handed_out() {
    let mut pool = Pool::new().stocked(1);
    pool.found(Finding::Unready { vmid: Vmid(200), fault: fault(FaultKind::StillRunning) });
    pool.then("RemovalRequested 200 unusable").allocate("box").then_has("AllocationQueued box");
}

#[test]
fn a_ready_one_that_is_locked_for_a_moment_stays() {
    let mut pool = Pool::new().stocked(1);
    pool.found(Finding::Unready { vmid: Vmid(200), fault: fault(FaultKind::Locked) }).then("");
}

#[test]
fn an_allocated_one_may_be_started_and_stopped_by_its_holder() {
    let mut pool = Pool::new().stocked(1);
    pool.handed_out("box");
    pool.found(Finding::Unready { vmid: Vmid(200), fault: fault(FaultKind::StillRunning) }).then("");
}

#[test]
fn a_doubt_is_reported_once_and_ends() {
    let mut pool = Pool::new().stocked(1);
    let doubtful = || Finding::Doubtful { vmid: Vmid(200), reason: "renamed".to_owned() };
    pool.found(doubtful()).then("OwnershipDoubted 200").found(doubtful()).then("");
    pool.found(Finding::Confirmed { vmid: Vmid(200) }).then("OwnershipConfirmed 200");
    pool.found(Finding::Confirmed { vmid: Vmid(200) }).then("");
}

#[test]
fn a_doubtful_one_that_is_gone_is_lost() {
    let mut pool = Pool::new().stocked(1);
    pool.remove(200).hindered(200, super::pool::doubt()).found(lost(200)).then("ContainerLost 200").holds("");
}

#[test]
fn what_is_found_in_a_drained_template_is_destroyed() {
    let mut pool = Pool::new().stocked(1);
    pool.drain(T).found(Finding::Discovered(stray(300, None)));
    pool.then("ContainerDiscovered 300; RemovalRequested 300 drained").refuses(allocate("box"), "drained");
}
