//! What holds of every story: nothing about its subject is passed over, and what is not known is said.

use std::fs;
use std::path::Path;

use super::events::{allocated, clone_started, completed, released, renamed, to_release};
use super::*;
use crate::domain::event::LeaveReason;
use crate::explain::words::words;

/// The published sample of each type.
fn samples() -> Vec<Event> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("events");
    let read = |name: &&str| {
        let text = fs::read_to_string(folder.join(name).join("v1.sample.json")).unwrap();
        let sample: Value = serde_json::from_str(&text).unwrap();
        Event::decode(name, 1, &sample["data"].to_string()).unwrap()
    };
    Event::TYPES.iter().map(read).collect()
}

#[test]
fn every_event_about_a_container_or_an_allocation_has_words() {
    for event in samples() {
        let is_part = event.vmid().is_some() || event.allocation_id().is_some();
        let words = words(&event);
        assert!(!is_part || words.is_some(), "{} has no words", event.type_name());
        if let Some(words) = words {
            // A task's name ends as PVE ends it.
            let is_sentence = words.ends_with('.') && !words.ends_with("..");
            assert!(is_sentence || matches!(event, Event::CloneSubmitted(_)), "{words}");
        }
    }
}

#[test]
fn a_story_whose_beginning_is_not_kept_says_so() {
    let given = [at(0, to_release(201, "box", LeaveReason::Request)), at(1000, released(201, "box", true))];
    for about in [instance("box"), container(201)] {
        let story = tell_from(500, &given, about).unwrap();
        assert_eq!(story.oldest, Seq(500));
        assert!(!story.chapters[0].beginning_is_known);
        assert!(story.summary.starts_with("Its beginning is older than the log."), "{}", story.summary);
    }
    let story = tell_from(500, &given[1..], instance("box")).unwrap();
    assert!(story.summary.ends_with("given back: why is older than the log."), "{}", story.summary);
}

#[test]
fn who_is_not_known_is_told_what_is() {
    let given = [at(0, allocated(1, "box", 201, true)), at(1, clone_started(10, 202, 1))];
    let unknown = tell_from(7, &given, instance("bos")).unwrap_err();
    assert_eq!(
        unknown.in_words(),
        "the log, read from event 7 of 2026-11-24T09:00:00.000Z to event 8, knows no instance bos; the last that \
         it names are box. Events before 7 were pruned: a copy of the log from before may tell, by \
         `sandbox-pool explain --instance bos --data-dir COPY`"
    );
    let unknown = tell_from(1, &given, container(999)).unwrap_err();
    assert_eq!(
        unknown.in_words(),
        "the log, read from its first event to event 2, knows no container 999; the last that it names are 202"
    );
    let unknown = tell_from(1, &[], container(999)).unwrap_err();
    assert!(unknown.in_words().ends_with("it names no container at all"), "{}", unknown.in_words());
}

#[test]
fn a_long_story_keeps_its_beginning_and_its_end() {
    let mut given = vec![at(0, allocated(1, "box", 201, true))];
    for round in 0..300 {
        given.push(at(round, renamed(1, "box", 201)));
    }
    let story = tell(&given, instance("box"));
    let chapter = &story.chapters[0];
    assert_eq!((chapter.steps.len(), chapter.steps_left_out), (200, 101));
    assert_eq!((chapter.steps[0].seq, chapter.steps[199].seq), (Seq(1), Seq(301)));

    let mut given = Vec::new();
    for number in 0..25 {
        given.push(at(0, allocated(number, "box", 201, true)));
        given.push(at(0, completed(number, "box", 201, 0)));
        given.push(at(0, released(201, "box", true)));
    }
    let story = tell(&given, instance("box"));
    assert_eq!((story.chapters.len(), story.chapters_left_out), (20, 5));
}
