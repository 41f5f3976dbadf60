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
fn a_whole_log_is_repaired_into_the_same_events() {
    let (disk, events) = three_segments();
    let into = MemoryDisk::default();
    let report = repair::repair_on(&disk, Arc::new(into.clone()), 7, "1.0.0").unwrap();
    assert_eq!((report.kept, &report.left_out[..]), (15, &[][..]));
    let opened = open_memory(&into, options());
    assert_eq!((opened.report.log_id, read_everything(&opened.reader, 9)), (7, events));
    assert!(repair::repair_on(&disk, Arc::new(into), 8, "1.0.0").is_err(), "never over a log");
}

/// One bad byte costs its batch, at most the next one too, and everything else is kept.
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
            let opened = open_memory(&into, options());
            let kept = opened.projection.ids.clone();
            assert_eq!(opened.report.head, report.head, "{place}");
            assert!(kept.len() + 5 >= events.len() && !report.left_out.is_empty(), "{place}");
            let whole: Vec<Ulid> =
                events.iter().map(|envelope| envelope.id).filter(|id| kept.contains(id)).collect();
            assert_eq!(kept, whole, "{place}");
            for envelope in read_everything(&opened.reader, 100) {
                let old = events.iter().find(|old| old.id == envelope.id).unwrap();
                assert_eq!((&envelope.event, envelope.more), (&old.event, old.more), "{place}");
            }
        }
    }
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
