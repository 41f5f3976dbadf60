//! What the engine does while its log cannot be written.

use std::collections::BTreeMap;

use super::*;
use crate::clock::Clock;
use crate::domain::command::{Allocate, TemplateFacts};
use crate::domain::ids::{InstanceId, Vmid};
use crate::domain::settings::Settings;
use crate::domain::time::Timestamp;
use crate::log;

fn start() -> Command {
    Command::Start { version: "1.2.3".to_owned(), settings: Box::new(Settings::default()) }
}

fn allocate(instance: &str) -> Command {
    Command::Allocate(Allocate {
        template: Vmid(9009),
        instance_id: Some(InstanceId::from(instance)),
        metadata: BTreeMap::new(),
        start: true,
        ttl_seconds: None,
        facts: Some(TemplateFacts { node: "pve1".into(), linkable: Some(true) }),
    })
}

/// An allocation that waits, in an engine whose directory was taken away: the next segment cannot be begun.
async fn waiting_on_a_lost_disk() -> (Engine, Outcome, tokio::task::JoinHandle<()>) {
    let dir = tempfile::tempdir().unwrap();
    let options = log::Options { segment_bytes: 900, ..log::Options::new(1, "1.2.3") };
    let opened = log::open::<State>(dir.path(), options).unwrap();
    let clock = Clock::virtual_from(Timestamp(0));
    let (engine_loop, engine) =
        EngineLoop::new(opened.writer, opened.projection, clock, fastrand::Rng::with_seed(1));
    let ended = tokio::spawn(engine_loop.run());
    engine.submit(start(), None, false).await.unwrap();
    let waiting = engine.submit(allocate("box"), None, false).await.unwrap().outcome.unwrap();
    dir.close().unwrap();
    (engine, waiting, ended)
}

#[tokio::test(start_paused = true)]
async fn a_command_that_cannot_be_written_leaves_no_trace() {
    let (engine, _waiting, _ended) = waiting_on_a_lost_disk().await;
    let before = engine.published();
    let refused = engine.submit(allocate("other"), None, false).await;
    assert!(matches!(refused, Err(Refused::LogUnwritable(_))), "{refused:?}");
    let after = engine.published();
    assert_eq!((after.head, &after.state), (before.head, &before.state));
    assert!(after.unwritable.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_cannot_be_written_still_tells_whoever_waits() {
    let (engine, waiting, ended) = waiting_on_a_lost_disk().await;
    let refused = engine.submit(Command::BeginStop, None, false).await;
    assert!(matches!(refused, Err(Refused::LogUnwritable(_))), "{refused:?}");
    let refused = engine.submit(Command::Stop, None, false).await;
    assert!(matches!(refused, Err(Refused::LogUnwritable(_))), "{refused:?}");
    assert_eq!(waiting.ended().await, None, "the end of the engine is its answer");
    ended.await.unwrap();
    assert!(matches!(engine.submit(Command::Tick, None, false).await, Err(Refused::Stopped)));
}
