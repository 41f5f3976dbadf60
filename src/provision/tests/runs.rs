//! The probe, and when actions are started.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::domain::state::ServicePhase;
use crate::engine::Published;
use crate::provision::report::report;
use crate::provision::roster::Roster;
use crate::provision::{carry_out, start_what_is_due};

#[tokio::test(start_paused = true)]
async fn pve_is_asked_until_it_answers() {
    let version = ("GET version", (200, r#"{"data":{"version":"9.2.11"}}"#));
    let silence = ("GET version", SILENCE);
    for (answers, seconds) in [
        (vec![version], 0),
        (vec![silence, silence, silence, silence, silence, version], 17),
        (vec![("GET version", (502, "Bad Gateway")), version], 1),
        (vec![("GET version", (401, "Authentication failed!"))], 0),
    ] {
        let clock = Clock::virtual_from(EPOCH);
        let site = Site::new(Pve::new(Script::new(&answers)), clock);
        assert_eq!(perform(&site, Action::ProbePve).await, Observation::PveReachable);
        assert_eq!(clock.now().since(EPOCH).as_secs(), seconds);
    }
}

#[tokio::test(start_paused = true)]
async fn an_action_is_started_once_and_nothing_while_the_log_is_unwritable() {
    let mut state = State::default();
    state.service.phase = ServicePhase::Running;
    state.service.pve_unreachable = Some((EPOCH, "connection refused".to_owned()));
    let mut published = Published { state: Arc::new(state), head: Seq(5), unwritable: None };
    let clock = Clock::virtual_from(EPOCH);
    let mut roster = Roster::default();
    let mut started = Vec::new();
    published.unwritable = Some("no space left on device".to_owned());
    start_what_is_due(&published, &mut roster, clock, |action| started.push(action));
    assert_eq!(started, []);
    published.unwritable = None;
    for _ in 0..2 {
        start_what_is_due(&published, &mut roster, clock, |action| started.push(action));
    }
    assert_eq!(started, [Action::ProbePve]);
    roster.ended(Action::ProbePve.key(), Seq(6));
    start_what_is_due(&published, &mut roster, clock, |action| started.push(action));
    assert_eq!(started.len(), 1, "the plan of a State without its outcome is stale");
    published.head = Seq(6);
    start_what_is_due(&published, &mut roster, clock, |action| started.push(action));
    assert_eq!(started.len(), 2);
}

#[test]
fn the_work_can_be_moved_between_threads() {
    fn is_send<F: Future + Send>(_: impl Fn(Engine, Pve, Clock) -> F) {}
    is_send(|engine, pve, clock| crate::provision::run(engine, pve, clock, CancellationToken::new()));
    is_send(|engine, pve, clock| {
        crate::reconcile::run(engine, pve, clock, Duration::from_secs(30), true, CancellationToken::new())
    });
}

#[tokio::test(start_paused = true)]
async fn clones_of_the_last_day_may_still_run() {
    let site = Site::new(Pve::new(Script::new(&[])), Clock::virtual_from(EPOCH));
    let since = crate::provision::template::longest_ago(&site);
    assert_eq!(EPOCH.since(since), Duration::from_hours(24));
}

#[tokio::test]
async fn the_panic_of_an_action_is_the_programs() {
    let panicked = tokio::spawn(async { panic!("as a test") }).await.unwrap_err();
    let passed_on = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        crate::provision::end_of(panicked);
    }));
    assert!(passed_on.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_was_seen_is_told_however_long_the_log_cannot_be_written() {
    let disk = log::MemoryDisk::default();
    let engine = running_engine(&disk).await;
    disk.fail(|op, _| (op == log::Op::Write).then(|| std::io::ErrorKind::StorageFull.into()));
    let clock = Clock::virtual_from(EPOCH);
    let told = |observation: Observation| {
        let engine = engine.clone();
        async move { report(&engine, clock, observation, None).await.unwrap().changed }
    };
    let unreachable = || Observation::PveUnreachable { reason: "connection refused".to_owned() };
    let waits = tokio::spawn(told(unreachable()));
    clock.sleep(Duration::from_mins(1)).await;
    assert!(!waits.is_finished());
    disk.heal();
    assert!(waits.await.unwrap());
    assert!(!told(unreachable()).await, "it is no news any more");
    assert!(engine.published().state.service.pve_unreachable.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_lost_makes_pve_unreachable_only_if_the_next_is_too() {
    for (version, unreachable) in [((200, r#"{"data":{"version":"9.2.11"}}"#), false), (SILENCE, true)] {
        let engine = running_engine(&log::MemoryDisk::default()).await;
        let script = Script::new(&[("GET lxc/205/config", SILENCE), ("GET version", version)]);
        let site = Site::new(Pve::new(script), Clock::virtual_from(EPOCH));
        let rename = Action::Rename { target: target(Some("box")), marker: held(), resumed: false };
        carry_out(engine.clone(), site, rename).await;
        assert_eq!(engine.published().state.service.pve_unreachable.is_some(), unreachable, "{version:?}");
    }
}
