//! Appending: what one append costs, and what happens when the disk refuses.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::disk_memory::Op;
use super::*;

#[test]
fn one_append_is_one_write_and_one_sync_however_many_batches() {
    let disk = MemoryDisk::default();
    let mut opened = open_memory(&disk, options());
    disk.take_trace();
    append(&mut opened.writer, &[1, 4, 2, 1, 9]);
    assert_eq!(disk.take_trace(), [Op::Write, Op::Sync]);
    assert_eq!(opened.writer.append(&[]).unwrap(), AppendStats::default());
    assert_eq!(disk.take_trace(), []);
}

#[test]
fn the_file_is_plain_json_lines() {
    let disk = MemoryDisk::default();
    let mut opened = open_memory(&disk, options());
    append(&mut opened.writer, &[1, 2]);
    let text = String::from_utf8(disk.bytes(&first_segment())).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(
        lines[0],
        r#"{"format":1,"log_id":"0badcafe","first_seq":1,"prev_crc":"0badcafe","synced":0,"build":"1.0.0","crc":"7ff26525"}"#
    );
    assert_eq!(
        lines[2],
        r#"{"seq":2,"id":"00000000000010000000000000","at":"2026-11-24T03:06:19.002Z","type":"TemplateDrained","v":1,"data":{"template":9000},"cause":1,"more":true,"synced":0,"crc":"08710af1"}"#
    );
    for line in lines {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
}

#[test]
fn a_full_disk_is_survived_without_reopening() {
    for after_writes in [0, 1, 20] {
        let disk = MemoryDisk::default();
        let mut opened = open_memory(&disk, options());
        let mut events = append(&mut opened.writer, &[2]);
        let durable = disk.bytes(&first_segment());
        disk.write_short();
        let mut writes = 0;
        disk.fail(move |op, _| {
            writes += usize::from(op == Op::Write);
            (op == Op::Write && writes > after_writes).then(|| ErrorKind::StorageFull.into())
        });
        for _ in 0..2 {
            let error = opened.writer.append(&batches(Seq(2), &[1, 2])).unwrap_err();
            assert!(matches!(error, AppendError::Write { doing: "write", .. }), "{error}");
            assert_eq!(disk.bytes(&first_segment()), durable, "cut back");
            assert_eq!((opened.writer.head(), opened.reader.head()), (Seq(2), Seq(2)));
        }
        disk.heal();
        events.extend(append(&mut opened.writer, &[3]));
        drop(opened);
        let opened = open_memory(&disk, options());
        assert_eq!(read_everything(&opened.reader, 10), events);
        assert_eq!(opened.report.torn, None);
    }
}

#[test]
fn a_cut_that_fails_too_is_made_up_for_before_the_next_write() {
    let disk = MemoryDisk::default();
    let mut opened = open_memory(&disk, options());
    let mut events = append(&mut opened.writer, &[2]);
    disk.write_short();
    let mut writes = 0;
    disk.fail(move |op, _| {
        writes += usize::from(op == Op::Write);
        (writes > 50 || op == Op::SetLen).then(|| ErrorKind::StorageFull.into())
    });
    assert!(opened.writer.append(&batches(Seq(2), &[3])).is_err());
    disk.fail(|op, _| (op == Op::SetLen).then(|| ErrorKind::Other.into()));
    let error = opened.writer.append(&batches(Seq(2), &[1])).unwrap_err();
    assert!(matches!(error, AppendError::Write { doing: "cut back", .. }), "{error}");
    disk.heal();
    events.extend(append(&mut opened.writer, &[1]));
    drop(opened);
    let opened = open_memory(&disk, options());
    assert_eq!((read_everything(&opened.reader, 10), opened.report.torn), (events, None));
}

#[test]
fn a_failed_sync_calls_the_policy_and_nothing_is_acknowledged_any_more() {
    let disk = MemoryDisk::default();
    let calls = Arc::new(AtomicUsize::new(0));
    let seen = calls.clone();
    let policy: SyncFailurePolicy = Arc::new(move |path, _| {
        assert!(path.ends_with(first_segment()));
        seen.fetch_add(1, Ordering::Relaxed);
    });
    let mut opened = open_memory(&disk, Options { on_sync_failure: policy, ..options() });
    append(&mut opened.writer, &[1]);
    disk.fail(|op, _| (op == Op::Sync).then(|| ErrorKind::Other.into()));
    let next = batches(Seq(1), &[1]);
    assert!(matches!(opened.writer.append(&next), Err(AppendError::SyncFailed)));
    disk.heal();
    disk.take_trace();
    assert!(matches!(opened.writer.append(&next), Err(AppendError::SyncFailed)));
    assert_eq!(disk.take_trace(), [], "a sync is never tried again");
    assert_eq!((calls.load(Ordering::Relaxed), opened.reader.head()), (1, Seq(1)));
}

#[test]
fn every_step_of_a_rotation_may_fail_and_be_tried_again() {
    for failing in [Op::Create, Op::Reserve, Op::Write, Op::Rename] {
        let disk = MemoryDisk::default();
        // No space for the next segment from the beginning, so that it has to be made at the rotation.
        let reserve = |op: Op, name: &str| op == Op::Create && name == layout::NEXT_SEGMENT;
        let mut opened = open_memory(&disk, small_segments());
        let mut events = append(&mut opened.writer, &[2, 1]);
        disk.fail(move |op, name| {
            (op == failing || failing == Op::Create && reserve(op, name))
                .then(|| ErrorKind::StorageFull.into())
        });
        let mut refused = 0;
        for _ in 0..3 {
            let new = batches(opened.writer.head(), &[2, 1]);
            match opened.writer.append(&new) {
                Ok(_) => events.extend(new.into_iter().flatten()),
                Err(AppendError::Write { .. }) => refused += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(refused > 0, "{failing:?}");
        disk.heal();
        events.extend(append(&mut opened.writer, &[2, 1]));
        assert_eq!(read_everything(&opened.reader, 100), events, "{failing:?}");
        drop(opened);
        let opened = open_memory(&disk, small_segments());
        assert_eq!(opened.projection.facts(), fold(&events).facts(), "{failing:?}");
    }
}

#[test]
fn a_rotation_cuts_first_what_an_append_left_behind() {
    let disk = MemoryDisk::default();
    let mut opened = open_memory(&disk, small_segments());
    let mut events = append(&mut opened.writer, &[1]);
    disk.write_short();
    let mut writes = 0;
    disk.fail(move |op, _| {
        writes += usize::from(op == Op::Write);
        (writes > 5 || op == Op::SetLen).then(|| ErrorKind::StorageFull.into())
    });
    assert!(opened.writer.append(&batches(Seq(1), &[1])).is_err());
    disk.heal();
    events.extend(append(&mut opened.writer, &[4]));
    assert_eq!(opened.writer.sizes().segments, 2);
    drop(opened);
    assert_eq!(read_everything(&open_memory(&disk, small_segments()).reader, 10), events);
}

#[test]
fn a_segment_is_filled_to_its_last_byte() {
    let disk = MemoryDisk::default();
    append(&mut open_memory(&disk, options()).writer, &[1]);
    let whole = disk.bytes(&first_segment()).len() as u64;
    let mut opened = open_memory(&disk, options());
    append(&mut opened.writer, &[1]);
    let both = opened.writer.sizes().bytes;
    assert!(whole < both);
    for (segment_bytes, segments) in [(both, 1), (both - 1, 2)] {
        let mut opened = open_memory(&MemoryDisk::default(), Options { segment_bytes, ..options() });
        append(&mut opened.writer, &[1]);
        append(&mut opened.writer, &[1]);
        assert_eq!(opened.writer.sizes().segments, segments);
    }
}

#[test]
fn an_append_is_at_most_16_mebibytes() {
    let mut opened = open_memory(&MemoryDisk::default(), options());
    let others = opened.writer.append(&[long_event(Seq(0), 0)]).unwrap().bytes;
    let longest = 16 * 1024 * 1024;
    let most = usize::try_from(longest - others).unwrap();
    let refused = opened.writer.append(&[long_event(Seq(1), most + 1)]);
    assert!(matches!(refused, Err(AppendError::Invalid { .. })), "{refused:?}");
    assert_eq!(opened.writer.append(&[long_event(Seq(1), most)]).unwrap().bytes, longest);
}

#[test]
fn a_snapshot_is_written_once_for_each_place_and_none_before_the_first_event() {
    let disk = MemoryDisk::default();
    let mut opened = open_memory(&disk, options());
    opened.writer.snapshot(&Toy::default()).unwrap();
    assert_eq!(layout::list(&disk).unwrap().snapshots, []);
    let mut events = Vec::new();
    for _ in 0..2 {
        events.extend(append(&mut opened.writer, &[1]));
        opened.writer.snapshot(&fold(&events)).unwrap();
    }
    opened.writer.snapshot(&fold(&events)).unwrap();
    assert_eq!(layout::list(&disk).unwrap().snapshots, [Seq(1), Seq(2)]);
}

#[test]
fn a_batch_must_continue_the_log() {
    let disk = MemoryDisk::default();
    let mut opened = open_memory(&disk, options());
    append(&mut opened.writer, &[1]);
    let mut check = |mut batch: Vec<Envelope>, change: &dyn Fn(&mut Vec<Envelope>)| {
        change(&mut batch);
        let result = opened.writer.append(&[batch]);
        assert!(matches!(result, Err(AppendError::Invalid { .. })), "{result:?}");
    };
    check(batch(Seq(2), 1), &|_| {});
    check(batch(Seq(0), 1), &|_| {});
    check(batch(Seq(1), 2), &|batch| batch[0].more = false);
    check(batch(Seq(1), 2), &|batch| batch[1].more = true);
    check(batch(Seq(1), 2), &|batch| batch[0].event = ServiceStopped {}.into());
    opened.writer.append(&[stop(Seq(1))]).unwrap();
    assert!(matches!(opened.writer.append(&[batch(Seq(2), 1)]), Err(AppendError::Invalid { .. })));
    drop(opened);
    let mut opened = open_memory(&disk, options());
    assert!(opened.report.clean);
    append(&mut opened.writer, &[1]);
}
