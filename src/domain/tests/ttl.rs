//! Containers that are released by themselves.

use super::pool::{Pool, T, request};
use crate::domain::command::{Allocate, Command, Finding, Observation};
use crate::domain::fault::FaultKind;
use crate::domain::ids::{Seq, Vmid};

/// Containers whose holders gave them `ttls` seconds, by their order.
fn held_for(ttls: &[u64]) -> Pool {
    let mut pool = Pool::new().stocked(u32::try_from(ttls.len()).unwrap());
    for (nth, ttl) in ttls.iter().enumerate() {
        let instance = format!("box-{nth}");
        pool.run(Command::Allocate(Allocate { ttl_seconds: Some(*ttl), ..request(T, &instance) }));
        let vmid = pool.vmid_of(&instance);
        pool.renamed(vmid).started(vmid);
    }
    pool
}

#[test]
fn a_time_to_live_counts_from_the_answer() {
    let mut pool = Pool::new().stocked(1);
    pool.run(Command::Allocate(Allocate { ttl_seconds: Some(60), ..request(T, "box") }));
    pool.later(30).renamed(200).started(200).later(59).then("").later(1).then("ReleaseRequested 200 expired");
}

#[test]
fn a_second_answer_does_not_prolong_it() {
    let mut pool = held_for(&[60]);
    pool.later(50).run(super::pool::allocate("box-0")).renamed_while(200, true).later(10);
    pool.then("ReleaseRequested 200 expired");
}

#[test]
fn a_second_look_under_way_is_told_that_it_is_over() {
    let mut pool = held_for(&[60]);
    pool.later(59).run(super::pool::allocate("box-0")).later(1);
    pool.then("AllocationCancelled box-0 released; ReleaseRequested 200 expired");
}

#[test]
fn after_a_downtime_it_is_over_only_once_pve_was_looked_at() {
    let mut pool = held_for(&[60]);
    pool.restart().later(3600).then("");
    pool.see(Observation::Reconciled { as_of: Seq(0), findings: vec![] });
    pool.then("Reconciled; ReleaseRequested 200 expired");
}

#[test]
fn in_doubt_it_is_not_over() {
    let mut pool = held_for(&[60]);
    pool.found(Finding::Doubtful { vmid: Vmid(200), reason: "renamed".to_owned() }).later(60).then("");
    pool.found(Finding::Confirmed { vmid: Vmid(200) })
        .then("OwnershipConfirmed 200; ReleaseRequested 200 expired");
}

#[test]
fn one_in_doubt_does_not_hide_the_next_one() {
    for (seconds, left) in [(60, 30), (70, 20)] {
        let mut pool = held_for(&[60, 90]);
        pool.found(Finding::Doubtful { vmid: Vmid(200), reason: "renamed".to_owned() }).later(seconds);
        assert_eq!(pool.plan().wake_at.unwrap().since(pool.now).as_secs(), left);
    }
}

#[test]
fn a_release_that_pve_refuses_is_tried_again_after_a_while() {
    let mut pool = held_for(&[60]);
    pool.later(60).pve_said(200, FaultKind::Forbidden).then("ReleaseFailed 200 forbidden kept");
    pool.later(59).then("").later(1).then("ReleaseRequested 200 expired");
}

#[test]
fn a_time_to_live_beyond_all_time_can_be_written_and_read() {
    let pool = held_for(&[u64::MAX, u64::from(u32::MAX) * 1000]);
    super::promises::replay_gives(&pool.state, &pool.log);
}
