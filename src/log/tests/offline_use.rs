//! Looking at a log and repairing one, without holding it.

use std::ops::ControlFlow;

use super::*;

fn three_segments() -> (MemoryDisk, Vec<Envelope>) {
    let disk = MemoryDisk::default();
    let mut opened = open_memory(&disk, Options { segment_bytes: 900, ..options() });
    let mut events = Vec::new();
    for _ in 0..5 {
        events.extend(append(&mut opened.writer, &[2, 1]));
    }
    (disk, events)
}

#[test]
fn a_log_is_read_beside_its_writer() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open::<Toy>(dir.path(), small_segments()).unwrap();
    let events: Vec<Envelope> = (0..4).flat_map(|_| append(&mut opened.writer, &[2, 1])).collect();
    let mut seen = Vec::new();
    read_all(dir.path(), Seq(3), &mut |envelope| {
        seen.push(envelope);
        if seen.len() < 7 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })
    .unwrap();
    assert_eq!(seen, events[2..9]);
    let report = verify(dir.path()).unwrap();
    assert_eq!((report.events, report.head, report.torn), (12, Seq(12), None));
    assert!(matches!(verify(&dir.path().join("lock")), Err(OpenError::Io { .. })));
}

#[test]
fn verifying_says_which_snapshots_fit() {
    let disk = MemoryDisk::default();
    let mut opened = open_memory(&disk, options());
    let mut events = Vec::new();
    for _ in 0..2 {
        events.extend(append(&mut opened.writer, &[2, 1]));
        opened.writer.snapshot(&fold(&events)).unwrap();
    }
    let crcs = checksums(&disk.bytes(&first_segment()));
    disk.put(&layout::snapshot_name(Seq(1)), &disk.bytes(&layout::snapshot_name(Seq(3))));
    put_snapshot(&disk, &events[..2], 7, crcs[1]);
    put_snapshot(&disk, &events[..4], 0x0bad_cafe, crcs[3]);
    put_snapshot(&disk, &events[..5], 0x0bad_cafe, crcs[5]);
    let report = offline::verify_on(&disk).unwrap();
    assert_eq!(report.snapshots, [Seq(3), Seq(6)]);
    let expected = [
        (1, "its name is another's"),
        (2, "of another log"),
        (4, "does not fit the log"),
        (5, "does not fit the log"),
    ];
    let expected = expected.map(|(seq, why)| format!("{}: {why}", layout::snapshot_name(Seq(seq))));
    assert_eq!(report.bad_snapshots, expected, "the fourth event is no batch's last, the fifth is another");
}

#[test]
fn what_is_damaged_is_told_before_the_snapshots_behind_it() {
    let disk = MemoryDisk::default();
    let mut opened = open_memory(&disk, options());
    let mut events = Vec::new();
    for _ in 0..6 {
        events.extend(append(&mut opened.writer, &[2, 1]));
    }
    opened.writer.snapshot(&fold(&events)).unwrap();
    let mut bytes = disk.bytes(&first_segment());
    let third = usize::try_from(records(&bytes)[2].start).unwrap();
    bytes[third + 20] ^= 1;
    disk.put(&first_segment(), &bytes);
    let told = offline::verify_on(&disk).unwrap_err();
    assert!(matches!(&told, OpenError::Damaged(damage) if damage.line == 4), "{told:?}");
}

#[test]
fn a_whole_log_is_repaired_into_the_same_events() {
    let (disk, events) = three_segments();
    let into = MemoryDisk::default();
    let report = repair::repair_on(&disk, Arc::new(into.clone()), 7, "1.0.0").unwrap();
    assert_eq!((report.kept, &report.left_out[..]), (15, &[][..]));
    let opened = open_memory(&into, options());
    assert_eq!((opened.report.log_id, read_everything(&opened.reader, 9)), (7, events));
    assert!(repair::repair_on(&disk, Arc::new(into), 8, "1.0.0").is_err(), "never over a log");
}

/// Where the records of a segment are.
fn records(segment: &[u8]) -> Vec<std::ops::Range<u64>> {
    let ends: Vec<u64> = (1..).zip(segment).filter(|(_, byte)| **byte == b'\n').map(|(end, _)| end).collect();
    ends.windows(2).map(|ends| ends[0]..ends[1]).collect()
}

/// Panics unless each batch is whole in the new log or left out, and what is left out is told byte for byte.
fn expect_all_or_told(disk: &MemoryDisk, events: &[Envelope], into: &MemoryDisk, report: &RepairReport) {
    let opened = open_memory(into, options());
    assert_eq!((opened.report.head, opened.report.torn), (report.head, None));
    let new = read_everything(&opened.reader, 100);
    let new_place = |id: Ulid| new.iter().find(|envelope| envelope.id == id).map(|envelope| envelope.seq);
    let is_kept = |envelope: &Envelope| new_place(envelope.id).is_some();
    let kept: Vec<&Envelope> = events.iter().filter(|envelope| is_kept(envelope)).collect();
    assert_eq!((kept.len(), report.kept), (new.len(), new.len() as u64));
    for (old, new) in kept.into_iter().zip(&new) {
        assert_eq!((&new.event, new.more), (&old.event, old.more));
        let cause = old.cause.as_ref().and_then(|cause| match cause {
            Cause::Event(seq) => new_place(Ulid(u128::from(seq.0) << 64)).map(Cause::Event),
            Cause::Request(_) => panic!("no request is in this log"),
        });
        assert_eq!(new.cause, cause, "a cause is where it is now, or none");
    }
    for batch in events.split_inclusive(|envelope| !envelope.more) {
        assert!(batch.iter().all(|envelope| is_kept(envelope) == is_kept(&batch[0])), "half a batch is kept");
    }
    let mut events = events.iter();
    for first in layout::list(disk).unwrap().segments {
        let name = layout::segment_name(first);
        let file = disk::Disk::path(disk, &name);
        let left_out: Vec<_> = report
            .left_out
            .iter()
            .filter(|it| it.file == file)
            .map(|it| it.offset..it.offset + it.bytes)
            .collect();
        assert!(left_out.windows(2).all(|pair| pair[0].end < pair[1].start), "neighbours are told as one");
        for record in records(&disk.bytes(&name)) {
            let envelope = events.next().unwrap();
            let told =
                record.clone().filter(|byte| left_out.iter().any(|range| range.contains(byte))).count();
            let lost = if is_kept(envelope) { 0 } else { record.end - record.start };
            assert_eq!(told as u64, lost, "event {}", envelope.seq);
        }
    }
}

#[test]
fn a_repair_keeps_every_batch_that_is_proven() {
    let (disk, events) = three_segments();
    for segment in layout::list(&disk).unwrap().segments {
        let name = layout::segment_name(segment);
        for offset in (0..disk.bytes(&name).len()).step_by(7) {
            let damaged = disk.copy();
            let mut file = disk.bytes(&name);
            file[offset] ^= 2;
            damaged.put(&name, &file);
            let into = MemoryDisk::default();
            let report = repair::repair_on(&damaged, Arc::new(into.clone()), 7, "1.0.0").unwrap();
            let place = format!("{name} byte {offset}: {report:?}");
            assert!(report.kept + 5 >= events.len() as u64 && !report.left_out.is_empty(), "{place}");
            expect_all_or_told(&disk, &events, &into, &report);
        }
    }
}

/// A record that is not what was written costs its batch; and the next one where it hides that a batch ends there
/// or what the next checksum begins with.
#[test]
fn a_bad_byte_costs_no_more_than_it_must() {
    let disk = MemoryDisk::default();
    let mut opened = open_memory(&disk, options());
    let mut events = append(&mut opened.writer, &[2, 1]);
    events.extend(append(&mut opened.writer, &[2, 1]));
    let file = disk.bytes(&first_segment());
    for (event, in_its_checksum, lost) in [
        (1, false, vec![1, 2]),
        (1, true, vec![1, 2, 3]),
        (2, false, vec![1, 2, 3]),
        (2, true, vec![1, 2, 3]),
        (3, false, vec![3]),
        (3, true, vec![3, 4, 5]),
    ] {
        let record = &records(&file)[event - 1];
        let offset = if in_its_checksum { record.end - 5 } else { record.start + 20 };
        let mut bytes = file.clone();
        bytes[usize::try_from(offset).unwrap()] ^= 2;
        let damaged = disk.copy();
        damaged.put(&first_segment(), &bytes);
        let into = MemoryDisk::default();
        let report = repair::repair_on(&damaged, Arc::new(into.clone()), 7, "1.0.0").unwrap();
        expect_all_or_told(&disk, &events, &into, &report);
        let kept = open_memory(&into, options()).projection.ids;
        let gone: Vec<u64> = events.iter().filter(|it| !kept.contains(&it.id)).map(|it| it.seq.0).collect();
        assert_eq!(gone, lost, "event {event}, checksum {in_its_checksum}");
    }
}

#[test]
fn all_of_a_broken_batch_is_told_and_each_broken_place_by_itself() {
    let disk = MemoryDisk::default();
    let mut opened = open_memory(&disk, options());
    let events = append(&mut opened.writer, &[4, 1, 1, 1, 4]);
    let mut file = disk.bytes(&first_segment());
    for event in [4, 10] {
        let record = &records(&file)[event - 1];
        file[usize::try_from(record.start + 20).unwrap()] ^= 2;
    }
    let damaged = disk.copy();
    damaged.put(&first_segment(), &file);
    let into = MemoryDisk::default();
    let report = repair::repair_on(&damaged, Arc::new(into.clone()), 7, "1.0.0").unwrap();
    expect_all_or_told(&disk, &events, &into, &report);
    assert_eq!((report.kept, report.left_out.len()), (2, 2));
}

#[test]
fn a_header_that_is_lost_costs_nothing_else() {
    let (disk, events) = three_segments();
    let name = layout::segment_name(layout::list(&disk).unwrap().segments[1]);
    let file = disk.bytes(&name);
    let header = file.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let mut damaged = file.clone();
    damaged[20] ^= 2;
    for (bytes, left_out) in [(&damaged[..], 1), (&file[header..], 0)] {
        let disk = disk.copy();
        disk.put(&name, bytes);
        let into = MemoryDisk::default();
        let report = repair::repair_on(&disk, Arc::new(into.clone()), 7, "1.0.0").unwrap();
        assert_eq!((report.kept, report.left_out.len()), (events.len() as u64, left_out));
        assert_eq!(read_everything(&open_memory(&into, options()).reader, 100), events);
    }
}

#[test]
fn a_stop_in_the_middle_is_repaired_too() {
    let disk = MemoryDisk::default();
    let mut opened = open_memory(&disk, options());
    let mut events = append(&mut opened.writer, &[2, 1]);
    opened.writer.append(&[stop(Seq(3))]).unwrap();
    events.extend(stop(Seq(3)));
    drop(opened);
    let mut opened = open_memory(&disk, options());
    events.extend(append(&mut opened.writer, &[2]));
    let into = MemoryDisk::default();
    let report = repair::repair_on(&disk, Arc::new(into.clone()), 7, "1.0.0").unwrap();
    assert_eq!((report.kept, report.left_out), (6, vec![]));
    assert_eq!(read_everything(&open_memory(&into, options()).reader, 100), events);
}

#[test]
fn a_log_without_events_is_repaired_into_one() {
    let (disk, into) = (MemoryDisk::default(), MemoryDisk::default());
    drop(open_memory(&disk, options()));
    repair::repair_on(&disk, Arc::new(into.clone()), 7, "1.0.0").unwrap();
    assert_eq!(open_memory(&into, options()).report.head, Seq(0));
}

#[test]
fn a_pruned_log_is_repaired_from_its_snapshot() {
    let disk = MemoryDisk::default();
    let mut opened = open_memory(&disk, small_segments());
    let mut events = Vec::new();
    for _ in 0..6 {
        events.extend(append(&mut opened.writer, &[2, 1]));
    }
    opened.writer.snapshot(&fold(&events)).unwrap();
    assert!(opened.writer.prune(Seq(99)).unwrap() > Seq(1));
    events.extend(append(&mut opened.writer, &[2, 1]));
    let into = MemoryDisk::default();
    let report = repair::repair_on(&disk, Arc::new(into.clone()), 7, "1.0.0").unwrap();
    assert_eq!((report.snapshot, report.kept, report.head), (Some(Seq(18)), 3, Seq(21)));
    assert_eq!(open_memory(&into, options()).projection.facts(), fold(&events).facts());
}
