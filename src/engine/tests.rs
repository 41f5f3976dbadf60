//! The engine with a log of its own: rounds, snapshots, pruning, and a log that cannot be written. And who is
//! told of which event.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::FutureExt;

use super::outcome::Outcomes;
use super::*;
use crate::clock::Clock;
use crate::domain::command::{Allocate, Observation, TemplateFacts};
use crate::domain::event::{Event, LeaveReason};
use crate::domain::ids::{AllocationId, InstanceId, Vmid};
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

/// An allocation that waits, in an engine whose disk has become full.
async fn waiting_on_a_full_disk() -> (log::MemoryDisk, Engine, Outcome, tokio::task::JoinHandle<()>) {
    let disk = log::MemoryDisk::default();
    let (engine_loop, engine, _, _) = on(&disk, Keep::default());
    let ended = tokio::spawn(engine_loop.run());
    engine.submit(start(), None, false).await.unwrap();
    assert!(engine.is_running());
    let waiting = engine.submit(allocate("box"), None, false).await.unwrap().outcome.unwrap();
    disk.fail(|op, _| (op == log::Op::Write).then(|| std::io::ErrorKind::StorageFull.into()));
    (disk, engine, waiting, ended)
}

#[tokio::test(start_paused = true)]
async fn a_command_that_cannot_be_written_leaves_no_trace() {
    let (_disk, engine, _waiting, _ended) = waiting_on_a_full_disk().await;
    let before = engine.published();
    let refused = engine.submit(allocate("other"), None, false).await;
    assert!(matches!(refused, Err(Refused::LogUnwritable(_))), "{refused:?}");
    let after = engine.published();
    assert_eq!((after.head, &after.state), (before.head, &before.state));
    assert!(after.unwritable.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_cannot_be_written_still_tells_whoever_waits() {
    let (_disk, engine, waiting, ended) = waiting_on_a_full_disk().await;
    let refused = engine.submit(Command::BeginStop, None, false).await;
    assert!(matches!(refused, Err(Refused::LogUnwritable(_))), "{refused:?}");
    let refused = engine.submit(Command::Stop, None, false).await;
    assert!(matches!(refused, Err(Refused::LogUnwritable(_))), "{refused:?}");
    assert_eq!(waiting.ended().await, None, "the end of the engine is its answer");
    ended.await.unwrap();
    assert!(matches!(engine.submit(Command::Tick, None, false).await, Err(Refused::Stopped)));
    assert!(!engine.is_running());
}

#[tokio::test(start_paused = true)]
async fn callers_that_leave_while_nothing_can_be_written_are_gone_once_it_can() {
    for refused_before in [false, true] {
        let (disk, engine, waiting, running) = waiting_on_a_full_disk().await;
        if refused_before {
            engine.submit(allocate("other"), None, false).await.unwrap_err();
        }
        drop(waiting);
        let mut published = engine.watch();
        published.wait_for(|published| published.unwritable.is_some()).await.unwrap();
        // The round with their leaving was refused, and so is the one after it.
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(engine.published().state.waiting.len(), 1);
        disk.heal();
        published.wait_for(|published| published.state.waiting.is_empty()).await.unwrap();
        running.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn more_commands_than_the_queue_takes_are_refused_at_once() {
    let disk = log::MemoryDisk::default();
    let (engine_loop, engine, _, _) = on(&disk, Keep::default());
    let mut asked: Vec<_> =
        (0..=QUEUE).map(|_| Box::pin(engine.submit(Command::Tick, None, false))).collect();
    let refused = asked.iter_mut().filter_map(FutureExt::now_or_never).collect::<Vec<_>>();
    assert!(matches!(refused.as_slice(), [Err(Refused::Overloaded)]), "{refused:?}");
    // The end of the service is none of them: it waits for its turn.
    let stop = tokio::spawn({
        let engine = engine.clone();
        async move { engine.submit_in_turn(Command::Stop).await }
    });
    tokio::task::yield_now().await;
    let running = tokio::spawn(engine_loop.run());
    for asked in asked.into_iter().take(QUEUE) {
        asked.await.expect("an answer");
    }
    stop.await.unwrap().expect("a clean end");
    running.await.unwrap();
}

/// What the log's observer was told.
type Steps = Arc<Mutex<Vec<LogStep>>>;

/// An engine on a disk in memory whose segments are full after a few events.
fn on(disk: &log::MemoryDisk, keep: Keep) -> (EngineLoop, Engine, log::Reader, Steps) {
    let opened = log::open_memory::<State>(disk, small_segments()).unwrap();
    let clock = Clock::virtual_from(Timestamp(0));
    let (engine_loop, engine) =
        EngineLoop::new(opened.writer, opened.projection, clock, fastrand::Rng::with_seed(1));
    let steps = Steps::default();
    let told = Arc::clone(&steps);
    let engine_loop = engine_loop.keeping(keep).observed_by(Box::new(move |step| {
        told.lock().unwrap().push(step);
    }));
    (engine_loop, engine, opened.reader, steps)
}

fn small_segments() -> log::Options {
    log::Options { segment_bytes: 2000, ..log::Options::new(1, "1.2.3") }
}

/// How many appends were told of, and how many that failed.
fn counted(steps: &Steps) -> (usize, usize) {
    let steps = steps.lock().unwrap();
    let appended = steps.iter().filter(|step| matches!(step, LogStep::Appended(..))).count();
    (appended, steps.iter().filter(|step| matches!(step, LogStep::NotWritten)).count())
}

/// Something that is new each time.
fn news(nth: usize) -> Observation {
    if nth % 2 == 1 {
        return Observation::PveReachable;
    }
    Observation::PveUnreachable { reason: "connection refused".to_owned() }
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_one_append_for_each_256_commands() {
    for (commands, appends) in [(3, 1), (255, 1), (256, 2)] {
        let disk = log::MemoryDisk::default();
        let (engine_loop, engine, _, steps) = on(&disk, Keep::default());
        let start = engine.submit(start(), None, false);
        let many = (0..commands).map(|nth| {
            let (engine, news) = (engine.clone(), news(nth));
            async move { engine.submit(Command::Observed(news), None, false).await }
        });
        let all = futures_util::future::join(start, futures_util::future::join_all(many));
        tokio::select! {
            biased;
            (started, _) = all => assert!(started.is_ok()),
            () = engine_loop.run() => panic!("the engine ended"),
        }
        assert_eq!(counted(&steps), (appends, 0), "{commands} and the start");
    }
}

#[tokio::test(start_paused = true)]
async fn each_new_segment_is_followed_by_a_snapshot_and_pruning_keeps_what_is_asked() {
    for (keep, pruned) in [(Keep::default(), false), (Keep { bytes: Some(1), days: None }, true)] {
        let disk = log::MemoryDisk::default();
        let (engine_loop, engine, reader, _) = on(&disk, keep);
        let running = tokio::spawn(engine_loop.run());
        engine.submit(start(), None, false).await.unwrap();
        for nth in 0..30 {
            engine.submit(allocate(&format!("box-{nth}")), None, false).await.unwrap();
        }
        assert_eq!(reader.oldest() > Seq(1), pruned);
        // As the disk is now: at the end there would be one in any case.
        let again = log::open_memory::<State>(&disk.copy(), small_segments()).unwrap();
        assert!(matches!(again.report.snapshot, log::SnapshotUse::Used(..)), "{:?}", again.report);
        assert_eq!(again.projection, *engine.published().state);
        running.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_has_space_again_is_found_within_two_seconds() {
    let disk = log::MemoryDisk::default();
    let (engine_loop, engine, _, steps) = on(&disk, Keep::default());
    let running = tokio::spawn(engine_loop.run());
    engine.submit(start(), None, false).await.unwrap();
    disk.fail(|op, _| (op == log::Op::Write).then(|| std::io::ErrorKind::StorageFull.into()));
    disk.take_trace();
    for instance in ["one", "other"] {
        let refused = engine.submit(allocate(instance), None, false).await;
        assert!(matches!(refused, Err(Refused::LogUnwritable(_))), "{refused:?}");
    }
    assert_eq!(counted(&steps), (1, 1), "the second was not even tried");
    let writes = disk.take_trace().into_iter().filter(|op| *op == log::Op::Write).count();
    assert_eq!(writes, 1);
    disk.heal();
    let clock = Clock::virtual_from(Timestamp(0));
    engine.watch().wait_for(|published| published.unwritable.is_none()).await.unwrap();
    assert_eq!(clock.now().since(Timestamp(0)), Duration::from_secs(2));
    engine.submit(allocate("one"), None, false).await.unwrap();
    running.abort();
}

/// The event of the catalogue's sample of this type.
fn sample(type_name: &str) -> Envelope {
    let path = format!("{}/events/{type_name}/v1.sample.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect(&path);
    let sample: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let event = Event::decode(type_name, 1, &sample["data"].to_string()).expect("a payload");
    Envelope { seq: Seq(1), id: ulid::Ulid(1), at: Timestamp(0), event, cause: None, more: false }
}

#[test]
fn whoever_waits_is_told_of_each_event_that_may_be_the_end() {
    let end_of_allocation = ["AllocationCompleted", "AllocationCancelled", "AllocationFailed"];
    let end_of_leaving = [
        "Released",
        "ReleaseFailed",
        "Removed",
        "RemovalFailed",
        "ContainerLost",
        "ContainerQuarantined",
        "OwnershipDoubted",
    ];
    for type_name in Event::TYPES {
        let envelope = sample(type_name);
        let (mut outcomes, _left) = Outcomes::new();
        let (vmid, allocation_id) = (envelope.event.vmid(), envelope.event.allocation_id());
        let vmid = vmid.unwrap_or(Vmid(205));
        let allocation_id = allocation_id.unwrap_or(AllocationId(ulid::Ulid(7)));
        let mut wait = |reply: Reply| [outcomes.of(&reply).unwrap(), outcomes.of(&reply).unwrap()];
        let allocating = wait(Reply::Allocating { allocation_id });
        let leaving = wait(Reply::Leaving { vmid, by: LeaveReason::Request });
        outcomes.tell(&envelope);
        for (waiting, ends) in [(allocating, &end_of_allocation[..]), (leaving, &end_of_leaving[..])] {
            for outcome in waiting {
                let told = outcome.ended().now_or_never().flatten();
                assert_eq!(told, ends.contains(type_name).then(|| envelope.clone()), "{type_name}");
            }
        }
    }
}

#[test]
fn the_last_caller_that_leaves_is_noticed() {
    let (mut outcomes, mut left) = Outcomes::new();
    let (asked, other) = (AllocationId(ulid::Ulid(7)), AllocationId(ulid::Ulid(8)));
    let reply = Reply::Allocating { allocation_id: asked };
    let (first, second) = (outcomes.of(&reply), outcomes.of(&reply));
    assert!(outcomes.is_awaited(asked) && !outcomes.is_awaited(other) && !outcomes.is_left(other));
    drop(first);
    assert_eq!(left.try_recv(), Ok(asked));
    assert!(outcomes.is_awaited(asked) && !outcomes.is_left(asked), "one stays");
    drop(second);
    assert_eq!(left.try_recv(), Ok(asked));
    assert!(!outcomes.is_awaited(asked) && outcomes.is_left(asked) && !outcomes.is_left(asked), "once");
}
