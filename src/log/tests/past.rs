//! Looking back: the state at any place is the fold over the events up to it, from wherever it is folded.

use super::*;
use crate::log::past::replay_at_on;

fn look(moment: Moment) -> Look<'static> {
    Look {
        moment,
        now: Timestamp(1_795_489_600_000),
        head: Seq(u64::MAX),
        build: "1.0.0",
        given_up: &|| false,
    }
}

/// A log of several segments with a snapshot in its middle.
fn long_log() -> (MemoryDisk, Vec<Envelope>, Opened<Toy>) {
    let disk = MemoryDisk::default();
    let mut opened = open_memory(&disk, small_segments());
    let mut events = Vec::new();
    for at in 0..8 {
        events.extend(append(&mut opened.writer, &[2, 1]));
        if at == 3 {
            opened.writer.snapshot(&fold(&events)).unwrap();
        }
    }
    (disk, events, opened)
}

#[test]
fn every_place_shows_the_fold_up_to_it() {
    let (disk, events, _opened) = long_log();
    for (at, envelope) in events.iter().enumerate() {
        let wanted = fold(&events[..=at]);
        for moment in [Moment::Event(envelope.seq), Moment::Instant(envelope.at)] {
            let past = replay_at_on::<Toy>(&disk, &look(moment)).unwrap();
            assert_eq!(past.projection.facts(), wanted.facts(), "{moment}");
            assert_eq!((past.head, past.at), (envelope.seq, envelope.at), "{moment}");
            assert_eq!(past.projection.restored, envelope.seq >= Seq(12), "{moment}");
        }
    }
}

#[test]
fn a_snapshot_that_does_not_fit_is_left_aside() {
    let (disk, events, _opened) = long_log();
    let other = MemoryDisk::default();
    let mut opened =
        open_memory(&other, Options { on_sync_failure: Arc::new(|_, _| {}), ..Options::new(7, "1.0.0") });
    let foreign: Vec<_> = (0..4).flat_map(|_| append(&mut opened.writer, &[1, 2])).collect();
    opened.writer.snapshot(&fold(&foreign)).unwrap();
    let name = layout::snapshot_name(Seq(12));
    disk.put(&name, &other.bytes(&name));
    let past = replay_at_on::<Toy>(&disk, &look(Moment::Event(Seq(14)))).unwrap();
    assert_eq!(past.projection.facts(), fold(&events[..14]).facts());
    assert!(!past.projection.restored);
}

#[test]
fn what_is_not_there_yet_is_not_shown() {
    let (disk, events, _opened) = long_log();
    let future = |look: Look<'_>| match replay_at_on::<Toy>(&disk, &look) {
        Err(PastError::Future { head, .. }) => head,
        other => panic!("{other:?}"),
    };
    assert_eq!(future(look(Moment::Event(Seq(25)))), Seq(24));
    assert_eq!(future(look(Moment::Instant(Timestamp(1_795_489_600_001)))), Seq(24));
    assert_eq!(future(Look { head: Seq(4), ..look(Moment::Event(Seq(5))) }), Seq(4));
    let last = Look { head: Seq(3), ..look(Moment::Event(Seq(3))) };
    assert_eq!(replay_at_on::<Toy>(&disk, &last).unwrap().head, Seq(3));
    let late = look(Moment::Instant(Timestamp(1_795_489_600_000)));
    let past = replay_at_on::<Toy>(&disk, &late).unwrap();
    assert_eq!(
        (past.projection.facts(), past.at),
        (fold(&events).facts(), late.now),
        "the instant that was asked for"
    );
    let durable = Look { head: Seq(6), ..late };
    assert_eq!(replay_at_on::<Toy>(&disk, &durable).unwrap().head, Seq(6));
}

#[test]
fn what_is_pruned_is_said_to_be() {
    let (disk, events, mut opened) = long_log();
    opened.writer.snapshot(&fold(&events)).unwrap();
    let oldest = opened.writer.prune(Seq(99)).unwrap();
    assert!(oldest > Seq(4), "{oldest}");
    for moment in [Moment::Event(Seq(11)), Moment::Instant(events[3].at)] {
        let refused = replay_at_on::<Toy>(&disk, &look(moment));
        let first = layout::list(&disk).unwrap().snapshots[0];
        assert!(matches!(refused, Err(PastError::Pruned { oldest, .. }) if oldest == first), "{refused:?}");
    }
    let past = replay_at_on::<Toy>(&disk, &look(Moment::Event(Seq(24)))).unwrap();
    assert_eq!(past.projection.facts(), fold(&events).facts());
}

#[test]
fn before_a_whole_log_nothing_can_be_shown_and_its_first_event_can() {
    let (disk, events, _opened) = long_log();
    let refused = replay_at_on::<Toy>(&disk, &look(Moment::Instant(Timestamp(events[0].at.0 - 1))));
    assert!(matches!(refused, Err(PastError::Pruned { oldest: Seq(1), .. })), "{refused:?}");
}

#[test]
fn a_snapshot_right_before_the_oldest_event_is_a_place_too() {
    let (disk, events, _opened) = long_log();
    let header = layout::read(&disk).unwrap().segments[1].header.clone();
    let before = header.first_seq.0 - 1;
    let events = &events[..usize::try_from(before).unwrap()];
    put_snapshot(&disk, events, header.log_id, header.prev_crc);
    disk::Disk::remove(&disk, &first_segment()).unwrap();
    let past = replay_at_on::<Toy>(&disk, &look(Moment::Event(Seq(before)))).unwrap();
    assert_eq!((past.head, past.projection.facts()), (Seq(before), fold(events).facts()));
}

#[test]
fn a_long_look_back_is_given_up_when_nobody_waits_for_it() {
    let disk = MemoryDisk::default();
    let mut opened = open_memory(&disk, options());
    append(&mut opened.writer, &[100; 11]);
    let patient = look(Moment::Event(Seq(1100)));
    assert_eq!(replay_at_on::<Toy>(&disk, &patient).unwrap().head, Seq(1100));
    let impatient = Look { given_up: &|| true, ..patient };
    assert!(matches!(replay_at_on::<Toy>(&disk, &impatient), Err(PastError::GivenUp)));
}

#[test]
fn a_batch_that_is_being_written_is_left_out() {
    let (disk, events, _opened) = long_log();
    let name = layout::segment_name(*layout::list(&disk).unwrap().segments.last().unwrap());
    let mut bytes = disk.bytes(&name);
    bytes.truncate(bytes.len() - 9);
    disk.put(&name, &bytes);
    let now = look(Moment::Instant(Timestamp(1_795_489_600_000)));
    let past = replay_at_on::<Toy>(&disk, &now).unwrap();
    let known = events.iter().filter(|envelope| envelope.seq <= past.head);
    assert_eq!(past.projection.facts(), fold(&known.cloned().collect::<Vec<_>>()).facts());
    assert!(past.head < Seq(24));
}

#[test]
fn a_place_is_read_as_it_is_written() {
    assert_eq!("57".parse(), Ok(Moment::Event(Seq(57))));
    let instant = "2026-11-24T03:06:19.007Z";
    assert_eq!(instant.parse(), Ok(Moment::Instant(Timestamp(1_795_489_579_007))));
    assert_eq!(
        [Moment::Event(Seq(57)), instant.parse().unwrap()].map(|it| it.to_string()),
        ["event 57", instant]
    );
    for bad in ["", "0", "-1", "yesterday", "2026-11-24"] {
        assert_eq!(bad.parse::<Moment>(), Err(InvalidMoment), "{bad}");
    }
}
