//! Which segments are deleted: by age, by size, never what somebody needs, and what is said of the size.

use super::*;
use crate::log::disk::Disk as _;

/// A log of many segments whose snapshots are at its head, so that they hold no segment back.
fn many_segments() -> (MemoryDisk, Opened<Toy>, Vec<Envelope>) {
    let disk = MemoryDisk::default();
    let mut opened = open_memory(&disk, small_segments());
    let mut events = Vec::new();
    for _ in 0..8 {
        events.extend(append(&mut opened.writer, &[2, 1]));
    }
    for _ in 0..2 {
        events.extend(append(&mut opened.writer, &[1]));
        opened.writer.snapshot(&fold(&events)).unwrap();
    }
    (disk, opened, events)
}

/// First events of the segments.
fn firsts(disk: &MemoryDisk) -> Vec<Seq> {
    layout::list(disk).unwrap().segments
}

fn len_of(disk: &MemoryDisk, first: Seq) -> u64 {
    disk.bytes(&layout::segment_name(first)).len() as u64
}

#[test]
fn a_segment_is_deleted_once_all_of_it_is_too_old() {
    let at = |events: &[Envelope], seq: Seq| events[usize::try_from(seq.0).unwrap() - 1].at;
    for nth in 0..3 {
        let (disk, mut opened, events) = many_segments();
        let segments = firsts(&disk);
        let at_its_first = Retention { since: Some(at(&events, segments[nth + 1])), bytes: None };
        assert_eq!(opened.writer.retain(at_its_first, Seq(99)).unwrap(), segments[nth]);
        let behind_it = Retention { since: Some(at(&events, segments[nth + 1].next())), bytes: None };
        assert_eq!(opened.writer.retain(behind_it, Seq(99)).unwrap(), segments[nth + 1]);
        assert_eq!(firsts(&disk), segments[nth + 1..]);
    }
}

#[test]
fn the_oldest_segments_are_deleted_until_the_rest_is_small_enough() {
    for nth in 0..3 {
        let (disk, mut opened, _) = many_segments();
        let segments = firsts(&disk);
        let rest = segments[nth..].iter().map(|first| len_of(&disk, *first)).sum();
        let just_enough = Retention { since: None, bytes: Some(rest) };
        assert_eq!(opened.writer.retain(just_enough, Seq(99)).unwrap(), segments[nth]);
        assert_eq!(opened.writer.sizes().bytes, rest);
        let too_little = Retention { since: None, bytes: Some(rest - 1) };
        assert_eq!(opened.writer.retain(too_little, Seq(99)).unwrap(), segments[nth + 1]);
    }
}

#[test]
fn what_somebody_needs_is_kept_and_so_is_all_of_a_log_without_a_limit() {
    let (disk, mut opened, _) = many_segments();
    let segments = firsts(&disk);
    assert_eq!(opened.writer.retain(Retention::default(), Seq(99)).unwrap(), segments[0]);
    let nothing = Retention { since: None, bytes: Some(0) };
    assert_eq!(opened.writer.retain(nothing, Seq(segments[2].0 - 1)).unwrap(), segments[1]);
    assert_eq!(opened.writer.retain(nothing, segments[2]).unwrap(), segments[2]);
    assert_eq!(opened.writer.retain(nothing, Seq(99)).unwrap(), *segments.last().unwrap());
}

#[test]
fn the_size_is_that_of_all_segments_also_after_a_start() {
    let (disk, opened, _) = many_segments();
    let all = |disk: &MemoryDisk| -> u64 { firsts(disk).iter().map(|first| len_of(disk, *first)).sum() };
    assert_eq!(opened.writer.sizes().bytes, all(&disk));
    drop(opened);
    let again = open_memory(&disk, small_segments());
    assert_eq!(again.writer.sizes().bytes, all(&disk));
}

#[test]
fn what_was_being_made_is_gone_after_a_start() {
    let (disk, opened, _) = many_segments();
    drop(opened);
    let half = "snapshot-00000000000000000099.json.tmp";
    disk.put(half, b"{\"format\":1");
    drop(open_memory(&disk, small_segments()));
    assert!(!disk.list().unwrap().iter().any(|name| name == half));
}
