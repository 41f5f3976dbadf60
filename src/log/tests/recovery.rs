//! Starting: locks, snapshots, builds from the future, what is reported.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// A log of several segments with two snapshots.
fn long_log() -> (MemoryDisk, Vec<Envelope>) {
    let disk = MemoryDisk::default();
    let mut opened = open_memory(&disk, small_segments());
    let mut events = Vec::new();
    for _ in 0..8 {
        events.extend(append(&mut opened.writer, &[2, 1]));
        if opened.writer.wants_snapshot() {
            opened.writer.snapshot(&fold(&events)).unwrap();
            assert!(!opened.writer.wants_snapshot());
        }
    }
    (disk, events)
}

fn snapshots(disk: &MemoryDisk) -> Vec<Seq> {
    layout::list(disk).unwrap().snapshots
}

#[test]
fn a_second_process_is_told_who_holds_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let first = open::<Toy>(dir.path(), options()).unwrap();
    let error = open::<Toy>(dir.path(), options()).err().unwrap();
    let expected =
        format!("the data directory {} is in use by process {}", dir.path().display(), std::process::id());
    assert_eq!(error.to_string(), expected);
    drop(first);
    open::<Toy>(dir.path(), options()).unwrap();
}

#[test]
fn a_directory_is_kept_from_being_taken_without_writing_into_it() {
    let dir = tempfile::tempdir().unwrap();
    assert!(lock::DirLock::keep_out(dir.path()).unwrap().is_none(), "nobody ever took it");
    assert_eq!(dir.path().read_dir().unwrap().count(), 0);
    drop(open::<Toy>(dir.path(), options()).unwrap());
    let kept = lock::DirLock::keep_out(dir.path()).unwrap();
    assert!(kept.is_some() && matches!(open::<Toy>(dir.path(), options()), Err(OpenError::Locked { .. })));
    let no_directory = dir.path().join("lock");
    assert!(matches!(lock::DirLock::keep_out(&no_directory), Err(OpenError::Io { .. })));
}

#[test]
fn a_directory_that_is_made_is_its_owners_alone() {
    let dir = tempfile::tempdir().unwrap();
    let made = dir.path().join("state/log");
    drop(open::<Toy>(&made, options()).unwrap());
    assert_eq!(made.metadata().unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_log_on_a_real_disk_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut opened = open::<Toy>(dir.path(), small_segments()).unwrap();
    let mut events = Vec::new();
    for _ in 0..5 {
        events.extend(append(&mut opened.writer, &[2, 1]));
    }
    opened.writer.snapshot(&fold(&events)).unwrap();
    let sizes = opened.writer.sizes();
    assert!(sizes.segments > 1 && sizes.next_reserved);
    drop(opened);
    let opened = open::<Toy>(dir.path(), small_segments()).unwrap();
    assert_eq!(opened.projection.facts(), fold(&events).facts());
    assert_eq!(read_everything(&opened.reader, 4), events);
    assert_eq!(opened.report.snapshot, SnapshotUse::Used(Seq(15), vec![]));
    assert_eq!(verify(dir.path()).unwrap().events, 15);
}

#[test]
fn a_snapshot_gives_what_a_replay_gives() {
    let (disk, events) = long_log();
    assert_eq!(snapshots(&disk).len(), 2, "the last two are kept");
    let opened = open_memory(&disk.copy(), small_segments());
    assert!(opened.projection.restored && opened.report.replayed < 10 && !opened.writer.wants_snapshot());
    assert_eq!(opened.projection.facts(), fold(&events).facts());
    let replayed = disk.copy();
    for seq in snapshots(&disk) {
        disk::Disk::remove(&replayed, &layout::snapshot_name(seq)).unwrap();
    }
    let without = open_memory(&replayed, small_segments());
    assert_eq!(without.report.snapshot, SnapshotUse::Unused(vec![]));
    assert_eq!(without.report.replayed, events.len() as u64);
    assert_eq!(without.projection.facts(), opened.projection.facts());
    assert!(without.writer.wants_snapshot());
}

#[test]
fn a_bad_snapshot_costs_time_alone() {
    let (disk, events) = long_log();
    let both = snapshots(&disk);
    for bad in [&both[1..], &both[..]] {
        let disk = disk.copy();
        for seq in bad {
            let name = layout::snapshot_name(*seq);
            let mut bytes = disk.bytes(&name);
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            disk.put(&name, &bytes);
        }
        let opened = open_memory(&disk, small_segments());
        assert_eq!(opened.projection.facts(), fold(&events).facts());
        match (&opened.report.snapshot, bad.len()) {
            (SnapshotUse::Used(seq, wrong), 1) => assert_eq!((*seq, wrong.len()), (both[0], 1)),
            (SnapshotUse::Unused(wrong), 2) => assert_eq!(wrong.len(), 2),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_snapshot_that_is_damaged_or_cut_at_any_byte_is_left_aside() {
    let (disk, events) = long_log();
    let newest = *snapshots(&disk).last().unwrap();
    let name = layout::snapshot_name(newest);
    let good = disk.bytes(&name);
    for at in 0..good.len() {
        let mut flipped = good.clone();
        flipped[at] ^= 1;
        for bad in [&flipped[..], &good[..at]] {
            let disk = disk.copy();
            disk.put(&name, bad);
            let opened = open_memory(&disk, small_segments());
            let used = matches!(&opened.report.snapshot, SnapshotUse::Used(seq, _) if *seq == newest);
            // The line's end alone says nothing.
            assert!(!used || (at == good.len() - 1 && bad.len() == at), "byte {at} of {}", good.len());
            assert_eq!(opened.projection.facts(), fold(&events).facts(), "byte {at}");
        }
    }
}

#[test]
fn a_snapshot_of_another_log_or_build_is_not_used() {
    let (disk, events) = long_log();
    let newest = *snapshots(&disk).last().unwrap();
    let other = MemoryDisk::default();
    let mut opened = open_memory(&other, Options { log_id_for_new: 7, ..options() });
    let foreign = append(&mut opened.writer, &[newest.0]);
    opened.writer.snapshot(&fold(&foreign)).unwrap();
    let swapped = disk.copy();
    let name = layout::snapshot_name(newest);
    swapped.put(&name, &other.bytes(&name));
    let opened = open_memory(&swapped, small_segments());
    assert!(matches!(opened.report.snapshot, SnapshotUse::Used(seq, _) if seq < newest));
    assert_eq!(opened.projection.facts(), fold(&events).facts());
    let opened = open_memory(&disk, Options { build: "2.0.0".to_owned(), ..small_segments() });
    assert!(matches!(&opened.report.snapshot, SnapshotUse::Unused(why) if why.len() == 2));
}

#[test]
fn a_snapshot_of_another_log_says_nothing_of_what_this_one_lost() {
    let (disk, events) = long_log();
    put_snapshot(&disk, &[&events[..], &batch(Seq(events.len() as u64), 1)].concat(), 7, 7);
    assert_eq!(open_memory(&disk, small_segments()).report.head, Seq(events.len() as u64));
}

#[test]
fn a_snapshot_of_half_a_batch_or_of_another_course_of_events_is_not_used() {
    let disk = MemoryDisk::default();
    let mut opened = open_memory(&disk, options());
    let mut events = append(&mut opened.writer, &[1]);
    let fork = disk.copy();
    events.extend(append(&mut opened.writer, &[2]));
    let mut forked = open_memory(&fork, options());
    append(&mut forked.writer, &[1, 1]);
    let [crcs, other_crcs] = [&disk, &fork].map(|disk| checksums(&disk.bytes(&first_segment())));
    for (len, crc) in [(2, crcs[1]), (3, other_crcs[2])] {
        let disk = disk.copy();
        put_snapshot(&disk, &events[..len], 0x0bad_cafe, crc);
        let opened = open_memory(&disk, options());
        assert!(matches!(&opened.report.snapshot, SnapshotUse::Unused(why) if why.len() == 1), "{len}");
    }
}

#[test]
fn a_segment_of_another_log_or_place_is_named_as_that() {
    let (disk, _) = long_log();
    let segments = layout::list(&disk).unwrap().segments;
    let (second, third) = (layout::segment_name(segments[1]), layout::segment_name(segments[2]));
    let (swapped, renamed) = (disk.copy(), disk.copy());
    let other = MemoryDisk::default();
    let mut opened = open_memory(&other, Options { log_id_for_new: 7, ..small_segments() });
    for _ in 0..8 {
        append(&mut opened.writer, &[2, 1]);
    }
    swapped.put(&second, &other.bytes(&second));
    renamed.put(&second, &disk.bytes(&third));
    for disk in [swapped, renamed] {
        let result = try_open(&disk, small_segments());
        let Err(OpenError::Damaged(damage)) = result else { panic!("{:?}", result.err()) };
        assert_eq!(damage.flaw, Flaw::Foreign);
    }
}

#[test]
fn a_batch_that_does_not_end_in_a_sealed_segment_is_damage_behind_its_last_line() {
    let disk = MemoryDisk::default();
    let mut opened = open_memory(&disk, small_segments());
    for _ in 0..6 {
        append(&mut opened.writer, &[2]);
    }
    let mut file = disk.bytes(&first_segment());
    file.pop();
    file.truncate(file.iter().rposition(|byte| *byte == b'\n').unwrap() + 1);
    disk.put(&first_segment(), &file);
    let result = try_open(&disk, small_segments());
    let Err(OpenError::Damaged(damage)) = result else { panic!("{:?}", result.err()) };
    let lines = file.split(|byte| *byte == b'\n').count() as u64;
    assert_eq!((damage.flaw, damage.line, damage.offset), (Flaw::BatchOpen, lines, file.len() as u64));
}

#[test]
fn a_last_segment_of_any_length_is_written_anew_as_it_was() {
    let disk = MemoryDisk::default();
    let mut opened = open_memory(&disk, options());
    let mut events = Vec::new();
    for _ in 0..4 {
        let long = long_event(opened.writer.head(), 100_000);
        opened.writer.append(std::slice::from_ref(&long)).unwrap();
        events.extend(long);
    }
    drop(opened);
    drop(open_memory(&disk, options()));
    assert_eq!(read_everything(&open_memory(&disk, options()).reader, 100), events);
}

#[test]
fn a_missing_segment_is_damage_with_and_without_snapshot() {
    let (disk, _) = long_log();
    let segments = layout::list(&disk).unwrap().segments;
    assert!(segments.len() > 3);
    for missing in 0..segments.len() {
        for with_snapshots in [true, false] {
            let disk = disk.copy();
            disk::Disk::remove(&disk, &layout::segment_name(segments[missing])).unwrap();
            if !with_snapshots {
                for seq in snapshots(&disk) {
                    disk::Disk::remove(&disk, &layout::snapshot_name(seq)).unwrap();
                }
            }
            let result = try_open(&disk, small_segments());
            // A first segment that is missing looks pruned, and the last one's loss shows by a snapshot alone.
            match missing {
                0 if with_snapshots => assert!(result.is_ok()),
                0 => assert!(matches!(result, Err(OpenError::NoBeginning { .. }))),
                _ if missing + 1 == segments.len() => {}
                _ => assert!(matches!(result, Err(OpenError::Damaged(_))), "{missing} {:?}", result.err()),
            }
        }
    }
}

#[test]
fn an_event_of_a_newer_build_is_refused_by_name() {
    let disk = MemoryDisk::default();
    let mut opened = open_memory(&disk, Options { build: "9.1.0".to_owned(), ..options() });
    append(&mut opened.writer, &[1, 1]);
    let file = String::from_utf8(disk.bytes(&first_segment())).unwrap();
    for (from, to, why) in [
        (
            r#""type":"TemplateDrained","v":1"#,
            r#""type":"TemplateLoved","v":1"#,
            "unknown event type `TemplateLoved`",
        ),
        (r#""type":"TemplateDrained","v":1"#, r#""type":"TemplateDrained","v":2"#, "has version 2"),
        (r#""template":9000"#, r#""template":"x""#, "another shape"),
    ] {
        let lines: Vec<&str> = file.lines().collect();
        let (body, _) = line::unseal(lines[1].as_bytes()).unwrap();
        let seed = crc32c::crc32c_append(0x0bad_cafe, body);
        let changed = lines[2].replace(from, to);
        let mut bytes = line::unseal(changed.as_bytes()).unwrap().0.to_vec();
        line::seal(&mut bytes, 0, seed);
        let whole = [lines[0].as_bytes(), b"\n", lines[1].as_bytes(), b"\n", &bytes].concat();
        disk.put(&first_segment(), &whole);
        let error = try_open(&disk, options()).err().unwrap();
        assert!(
            error.to_string().contains("event 2") && error.to_string().contains("build 9.1.0"),
            "{error}"
        );
        assert!(std::error::Error::source(&error).unwrap().to_string().contains(why));
        assert_eq!(disk.bytes(&first_segment()), whole, "untouched");
    }
    let mut header = file.lines().next().unwrap().replace("\"format\":1", "\"format\":2").into_bytes();
    header.truncate(header.len() - 18);
    line::seal(&mut header, 0, 0);
    disk.put(&first_segment(), &header);
    let error = try_open(&disk, options()).err().unwrap();
    assert!(matches!(error, OpenError::NewerFormat { format: 2, .. }), "{error}");
}

#[test]
fn a_last_segment_without_its_header_is_kept_aside_unless_it_had_records() {
    let (disk, events) = long_log();
    let name = layout::segment_name(Seq(events.len() as u64 + 1));
    for torn in [&b""[..], b"{\"format\":1,\"log_i", &[0; 512]] {
        let disk = disk.copy();
        disk.put(&name, torn);
        let opened = open_memory(&disk, small_segments());
        assert_eq!(opened.projection.facts(), fold(&events).facts());
        let saved = opened.report.torn.unwrap().saved.unwrap();
        assert_eq!(disk.bytes(saved.file_name().unwrap().to_str().unwrap()), torn);
        assert_eq!(open_memory(&disk, small_segments()).report.torn, None);
    }
    // A segment is whole before the next one is begun.
    let torn_before = disk.copy();
    let last = layout::segment_name(*layout::list(&disk).unwrap().segments.last().unwrap());
    let bytes = disk.bytes(&last);
    torn_before.put(&last, &bytes[..bytes.len() - 3]);
    torn_before.put(&name, b"");
    assert!(matches!(try_open(&torn_before, small_segments()), Err(OpenError::Damaged(_))));
    for damaged in [&b"xx\n{\"seq\":25,"[..], &[0; 5000]] {
        let disk = disk.copy();
        disk.put(&name, damaged);
        assert!(matches!(try_open(&disk, small_segments()), Err(OpenError::Damaged(_))));
    }
}

#[test]
fn a_torn_tail_is_kept_aside_and_reported() {
    let disk = MemoryDisk::default();
    let mut opened = open_memory(&disk, options());
    append(&mut opened.writer, &[1]);
    let durable = disk.bytes(&first_segment()).len();
    append(&mut opened.writer, &[2]);
    drop(opened);
    let mut file = disk.bytes(&first_segment());
    file.truncate(file.len() - 3);
    disk.put(&first_segment(), &file);
    let seen = offline::verify_on(&disk).unwrap().torn.unwrap();
    assert_eq!((seen.first, seen.last, seen.saved), (Seq(2), Seq(3), None));
    let torn = open_memory(&disk, options()).report.torn.unwrap();
    assert_eq!(
        (torn.first, torn.last, torn.offset, torn.bytes),
        (Seq(2), Seq(3), durable as u64, (file.len() - durable) as u64)
    );
    let saved = torn.saved.unwrap();
    assert_eq!(disk.bytes(saved.file_name().unwrap().to_str().unwrap()), file[durable..]);
}

#[test]
fn a_batch_without_its_last_event_is_a_torn_tail() {
    let disk = MemoryDisk::default();
    let mut opened = open_memory(&disk, options());
    append(&mut opened.writer, &[1]);
    let durable = disk.bytes(&first_segment()).len();
    append(&mut opened.writer, &[2]);
    drop(opened);
    let mut file = disk.bytes(&first_segment());
    let first_line = file[durable..].iter().position(|byte| *byte == b'\n').unwrap() + 1;
    file.truncate(durable + first_line);
    disk.put(&first_segment(), &file);
    let torn = open_memory(&disk, options()).report.torn.unwrap();
    assert_eq!((torn.first, torn.offset, torn.bytes), (Seq(2), durable as u64, first_line as u64));
}

#[test]
fn a_tail_that_is_longer_than_an_append_is_damage() {
    let disk = MemoryDisk::default();
    let mut opened = open_memory(&disk, options());
    append(&mut opened.writer, &[1]);
    drop(opened);
    let longest = usize::try_from(torn::LONGEST_APPEND).unwrap();
    for (tail, is_torn) in [(longest, true), (longest + 1, false)] {
        let disk = disk.copy();
        let mut file = disk.bytes(&first_segment());
        file.resize(file.len() + tail, 0);
        disk.put(&first_segment(), &file);
        assert_eq!(offline::verify_on(&disk).is_ok(), is_torn, "{tail}");
    }
}
