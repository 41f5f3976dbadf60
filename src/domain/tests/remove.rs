//! A container is destroyed.

use super::pool::{Pool, T, doubt, fault, remove};
use crate::domain::command::{Command, Finding, Hindrance, Leave, Observation};
use crate::domain::fault::FaultKind;
use crate::domain::ids::{Seq, Vmid};
use crate::domain::plan::Action;

#[test]
fn a_ready_container_is_destroyed_and_replaced() {
    let mut pool = Pool::sized(0, 1, 10);
    pool.clone_all().remove(200).then("RemovalRequested 200 request; CloneQueued 9009 refill");
    pool.destroyed(200).then("Removed 200").holds("");
}

#[test]
fn one_that_nobody_holds_is_not_taken_for_somebodys() {
    let mut pool = Pool::new().stocked(1);
    let command =
        |instance: &str| Command::Remove(Leave { vmid: Vmid(200), instance_id: Some(instance.to_owned()) });
    pool.refuses(command("box"), "not held by box");
    pool.handed_out("box");
    pool.refuses(command("other"), "not held by other");
    pool.run(command("box")).then("RemovalRequested 200 request");
}

#[test]
fn an_allocated_one_is_taken_from_its_holder() {
    let mut pool = Pool::new().stocked(1);
    pool.handed_out("box");
    pool.remove(200).then("RemovalRequested 200 request").plans("Destroy 200").holds("200 removing box");
}

#[test]
fn one_that_is_handed_out_is_taken_and_its_caller_told() {
    let mut pool = Pool::new().stocked(1);
    pool.allocate("box").remove(200).then("AllocationCancelled box removed; RemovalRequested 200 request");
}

#[test]
fn one_that_is_released_is_destroyed_instead() {
    let mut pool = Pool::new().stocked(1);
    pool.handed_out("box");
    pool.release(200).remove(200).then("RemovalRequested 200 request").plans("Destroy 200");
}

#[test]
fn a_second_call_joins_the_first() {
    let mut pool = Pool::new().stocked(1);
    pool.remove(200).remove(200).then("");
    pool.warm(T, Some(1)).prepared(T).remove(201).remove(201).then("");
}

#[test]
fn one_in_quarantine_is_tried() {
    let mut pool = Pool::new().stocked(1);
    pool.remove(200).hindered(200, Hindrance::Stuck { fault: fault(FaultKind::Locked) });
    pool.then("ContainerQuarantined 200 locked").plans("").remove(200).plans("Destroy 200");
}

#[test]
fn an_unknown_or_doubtful_one_is_not() {
    let mut pool = Pool::new().stocked(1);
    pool.refuses(remove(999), "no container 999");
    pool.found(Finding::Doubtful { vmid: Vmid(200), reason: "renamed".to_owned() });
    pool.refuses(remove(200), "left alone");
}

#[test]
fn a_failed_removal_stays_listed_and_is_tried_again_ever_more_rarely() {
    let mut pool = Pool::new().stocked(1);
    pool.remove(200);
    let mut pauses = Vec::new();
    for attempt in 1..=8 {
        pool.pve_said(200, FaultKind::Forbidden);
        pool.then(&format!("RemovalFailed 200 forbidden try={attempt}")).holds("200 removing").plans("");
        let until = pool.plan().wake_at.unwrap();
        pauses.push(until.since(pool.now).as_secs());
        pool.now = until;
        pool.plans("Destroy 200");
    }
    assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 120, 120]);
}

#[test]
fn a_lock_of_somebody_else_is_waited_for() {
    let mut pool = Pool::new().stocked(1);
    pool.remove(200).pve_said(200, FaultKind::Locked).then("ActionDelayed 200 locked try=1").later(2);
    pool.plans("Destroy 200");
}

#[test]
fn what_is_gone_already_is_removed() {
    Pool::new().stocked(1).remove(200).hindered(200, Hindrance::Gone).then("Removed 200").holds("");
}

#[test]
fn what_is_replaced_is_lost_and_never_destroyed() {
    let mut pool = Pool::new().stocked(1);
    pool.remove(200).hindered(200, Hindrance::Foreign { reason: "replaced".to_owned() });
    pool.then("ContainerLost 200").plans("");
}

#[test]
fn a_removal_in_doubt_rests_until_the_doubt_is_gone() {
    let mut pool = Pool::new().stocked(1);
    pool.remove(200).hindered(200, doubt()).then("OwnershipDoubted 200").plans("");
    pool.found(Finding::Confirmed { vmid: Vmid(200) }).then("OwnershipConfirmed 200").plans("Destroy 200");
}

#[test]
fn what_is_destroyed_is_removed_whenever_that_is_heard() {
    let mut pool = Pool::new().stocked(1);
    pool.remove(200).renamed_back(200).see(Observation::Destroyed { vmid: Vmid(200), as_of: Seq(1) });
    pool.then("Removed 200");
}

#[test]
fn the_instances_name_is_freed_before_the_end() {
    let mut pool = Pool::new().stocked(1);
    pool.handed_out("box");
    let rename_back = |pool: &Pool| match &pool.plan().actions[0] {
        Action::Destroy { rename_back, .. } => rename_back.clone(),
        other => panic!("{other:?}"),
    };
    pool.remove(200);
    assert_eq!(rename_back(&pool), Some(pool.container(200).pool_hostname("pool")));
    pool.renamed_back(200).then("ContainerRenamed 200 pool");
    assert_eq!(rename_back(&pool), None);
    pool.destroyed(200).then("Removed 200");
}
