//! The whole service in a simulated world, from one seed: random requests, faults, meddling, kills and power
//! cuts, with the promises checked after each step, and a pool that must come to rest at the end.
//!
//! `cargo test` plays two hundred seeds. As many as asked, over all cores:
//!
//! ```text
//! SEEDS=20000 FROM=0 cargo test --release --test it simulation::seeds -- --nocapture
//! ```
//!
//! A failure names its seed and tells the end of its story; `SEEDS=1 FROM=<seed> STORY=1000` tells more of it.
//! The run goes on until `FAILURES` (1) have failed.

mod invariants;
mod meddle;
mod play;
mod regressions;
mod script;
mod scene;

use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use sandbox_pool::clock::Stopwatch;
use sandbox_pool::domain::event::Envelope;
use sandbox_pool::domain::time::Timestamp;

use scene::{Scene, since_start};
use script::Script;

/// Seeds that `cargo test` plays.
const SEEDS: u64 = 200;

/// Lines that are told of a failure.
const STORY: usize = 40;

/// What a story came to.
struct Played {
    events: Vec<Envelope>,
    answers: usize,
    failure: Option<String>,
    story: Vec<(Timestamp, String)>,
}

/// Plays a seed's story.
fn play_seed(seed: u64) -> Played {
    play_script(seed, &Script::of(seed))
}

fn play_script(seed: u64, script: &Script) -> Played {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(async {
        let mut scene = Scene::new(seed, &script.setting);
        let playing = AssertUnwindSafe(play::play(&mut scene, script));
        let outcome = futures_util::FutureExt::catch_unwind(playing).await;
        let failure = match outcome {
            Ok(Ok(())) => None,
            Ok(Err(failure)) => Some(failure),
            Err(panic) => Some(format!("a panic: {}", words_of(&*panic))),
        };
        // What the log has, also of a process that is no more.
        let events = scene.events().unwrap_or_default();
        let mut story = scene.ledger().trace.clone();
        if failure.is_some() {
            story.extend(events.iter().map(|envelope| (envelope.at, line_of(envelope))));
            story.sort_by_key(|(at, _)| *at);
        }
        let answers = scene.ledger().answers.values().sum();
        Played { events, answers, failure, story }
    })
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("without words")
}

/// An event on one line.
fn line_of(envelope: &Envelope) -> String {
    let mut data = serde_json::to_value(&envelope.event).unwrap_or_default();
    if let Some(data) = data.as_object_mut() {
        for noise in ["settings", "metadata", "type", "v"] {
            data.remove(noise);
        }
    }
    let data: String = data.to_string().chars().take(260).collect();
    format!("  {} {} {data}", envelope.seq.0, envelope.event.type_name())
}

/// The end of a story that went wrong.
fn tell(seed: u64, played: &Played) -> String {
    let lines = std::env::var("STORY").ok().and_then(|text| text.parse().ok()).unwrap_or(STORY);
    let skipped = played.story.len().saturating_sub(lines);
    let line = |(at, text): &(Timestamp, String)| format!("{:>9.3} {text}", since_start(*at) as f64 / 1000.0);
    let story: Vec<String> = played.story.iter().skip(skipped).map(line).collect();
    let failure = played.failure.as_deref().unwrap_or("all is well");
    format!("seed {seed}: {failure}\n{}\n", story.join("\n"))
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn seeds_keep_every_promise() {
    let (count, from) = (number("SEEDS", SEEDS), number("FROM", 0));
    let most = number("FAILURES", 1);
    let begun = Stopwatch::start();
    let (next, events, answers) = (AtomicU64::new(from), AtomicU64::new(0), AtomicU64::new(0));
    let failures: Mutex<Vec<u64>> = Mutex::default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while (failures.lock().expect("failures").len() as u64) < most {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= from + count {
                        return;
                    }
                    let played = play_seed(seed);
                    events.fetch_add(played.events.len() as u64, Ordering::SeqCst);
                    answers.fetch_add(played.answers as u64, Ordering::SeqCst);
                    if played.failure.is_some() {
                        // At once: a long run that is broken off has not been for nothing.
                        println!("{}", tell(seed, &played));
                        failures.lock().expect("failures").push(seed);
                    }
                }
            });
        }
    });
    let seconds = begun.elapsed().as_secs_f64();
    let played = next.load(Ordering::SeqCst).min(from + count) - from;
    println!(
        "{played} seeds from {from}: {:.1} seeds/s on {cores} cores, {} events, {} answers",
        played as f64 / seconds,
        events.load(Ordering::SeqCst),
        answers.load(Ordering::SeqCst),
    );
    let failures = failures.into_inner().expect("failures");
    assert!(failures.is_empty(), "{} failed: {failures:?}", failures.len());
}

#[test]
fn a_seed_plays_the_same_way_each_time() {
    for seed in 0..8 {
        let (one, other) = (play_seed(seed), play_seed(seed));
        let differs = one.events.iter().zip(&other.events).position(|(one, other)| one != other);
        assert_eq!(
            differs,
            None,
            "seed {seed}: {:?} {:?}",
            differs.map(|n| &one.events[n]),
            differs.map(|n| &other.events[n])
        );
        assert_eq!(one.events.len(), other.events.len(), "seed {seed}");
        assert_eq!(one.failure, other.failure, "seed {seed}");
    }
}
