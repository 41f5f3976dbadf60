//! The worker beside an engine: what it tells when not all of PVE says what it has.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::log::MemoryDisk;
use crate::provision::tests::running_engine;
use crate::reconcile::{run, tell, too_early};

#[tokio::test(start_paused = true)]
async fn in_a_new_log_a_comparison_that_lacks_a_silent_node_does_not_count() {
    let nodes = r#"{"data":[{"node":"pve1","status":"online"},{"node":"pve2","status":"online"}]}"#;
    let answers = [
        ("GET nodes", (200, nodes)),
        ("GET lxc", (200, r#"{"data":[]}"#)),
        ("GET nodes/pve2/lxc", (595, "No route to host")),
    ];
    for (new, counts) in [(true, false), (false, true)] {
        let engine = running_engine(&MemoryDisk::default()).await;
        let (pve, clock) = (Pve::new(Script::new(&answers)), Clock::virtual_from(EPOCH));
        let stop = CancellationToken::new();
        tokio::spawn(run(engine.clone(), pve, clock, Duration::from_secs(30), new, stop.clone()));
        let told = |published: &Published| {
            let service = &published.state.service;
            service.reconciled || service.reconcile_fault.is_some()
        };
        engine.watch().wait_for(told).await.unwrap();
        stop.cancel();
        assert_eq!(engine.published().state.service.reconciled, counts, "new: {new}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_found_is_told_although_one_call_had_no_answer() {
    let fault = Fault::new(FaultKind::OutcomeUnknown, "connection reset");
    for (observation, found) in [
        (Observation::Reconciled { as_of: Seq(1), findings: Vec::new() }, true),
        (Observation::ReconcileFailed { fault }, false),
    ] {
        let engine = running_engine(&MemoryDisk::default()).await;
        let site = Site::new(Pve::new(Script::new(&[(CONFIG, SILENCE)])), Clock::virtual_from(EPOCH));
        site.fault(site.pve.config(&"pve1".into(), Vmid(205)).await.unwrap_err());
        assert!(tell(&engine, &site, Some(observation)).await);
        let service = engine.published().state.service.clone();
        assert!(service.pve_unreachable.is_some());
        assert_eq!((service.reconciled, service.reconcile_fault), (found, None));
    }
}

#[test]
fn only_what_may_pass_by_itself_is_looked_at_again_before_it_is_told() {
    let is_early = |kind| too_early(&State::default(), &Err(Fault::new(kind, "no"))).is_some();
    assert!(is_early(FaultKind::NodeUnreachable) && !is_early(FaultKind::Unauthorized));
}
