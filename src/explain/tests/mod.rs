//! Stories as data: what the log has, whom it is asked about, and what is told.

mod ends;
mod events;
mod paths;
mod whole;

use serde_json::Value;
use ulid::Ulid;

use super::{Outcome, Story, Subject, Teller, Unknown};
use crate::domain::event::{Cause, Envelope, Event};
use crate::domain::ids::{InstanceId, Seq, Vmid};
use crate::domain::time::Timestamp;

/// 2026-11-24T09:00:00Z.
const EPOCH: Timestamp = Timestamp(1_795_510_800_000);

/// An event at so many milliseconds, and the request that led to it.
type At = (i64, Option<&'static str>, Event);

fn at(ms: i64, event: impl Into<Event>) -> At {
    (ms, None, event.into())
}

fn asked(ms: i64, request: &'static str, event: impl Into<Event>) -> At {
    (ms, Some(request), event.into())
}

fn envelopes(first: u64, given: &[At]) -> impl Iterator<Item = Envelope> {
    given.iter().zip(first..).map(|((ms, request, event), seq)| Envelope {
        seq: Seq(seq),
        id: Ulid(u128::from(seq)),
        at: Timestamp(EPOCH.0 + ms),
        event: event.clone(),
        cause: request.map(|request| Cause::Request(request.to_owned())),
        more: false,
    })
}

fn instance(name: &str) -> Subject {
    Subject::Instance(InstanceId::from(name))
}

fn container(vmid: u32) -> Subject {
    Subject::Vmid(Vmid(vmid))
}

fn tell_from(first: u64, given: &[At], about: Subject) -> Result<Story, Unknown> {
    let mut teller = Teller::new(about);
    envelopes(first, given).for_each(|envelope| teller.hear(&envelope));
    teller.tell()
}

fn tell(given: &[At], about: Subject) -> Story {
    tell_from(1, given, about).unwrap()
}

/// Milliseconds and words of the newest chapter.
fn steps(story: &Story) -> Vec<String> {
    let chapter = story.chapters.last().unwrap();
    chapter.steps.iter().map(|step| format!("{} {}", step.after_ms, step.words)).collect()
}

#[track_caller]
fn check(given: &[At], about: Subject, outcome: Outcome, summary: &str, then: &[&str]) -> Story {
    let story = tell(given, about);
    assert_eq!(steps(&story), then);
    let chapter = story.chapters.last().unwrap();
    assert_eq!((chapter.outcome, story.summary.as_str()), (outcome, summary));
    story
}

/// The durations of the newest chapter that are known.
fn durations(story: &Story) -> Value {
    serde_json::to_value(story.chapters.last().unwrap().durations).unwrap()
}
