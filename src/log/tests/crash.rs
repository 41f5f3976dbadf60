//! Power lost before every operation of a scenario, and everything that a disk may show afterwards.

use super::*;

/// What is pending at a time stays below this, so that every mixture of it can be looked at.
const MOST_CHOICES: u32 = 12;

/// What a process knew when the power went.
#[derive(Default)]
struct Known {
    /// Everything it ever tried to append, in order.
    tried: Vec<Envelope>,
    /// How much of that was acknowledged.
    acked: usize,
}

/// Two lives with rotation, snapshots, pruning, and a clean stop between them.
fn scenario(disk: &MemoryDisk, known: &mut Known) -> Option<()> {
    for life in 0..2 {
        let Opened { mut writer, mut projection, .. } = try_open(disk, small_segments()).ok()?;
        known.tried.truncate(usize::try_from(writer.head().0).unwrap());
        for lens in [&[1][..], &[2, 1], &[3], &[1, 1, 2, 4], &[5, 7]] {
            let new = batches(writer.head(), lens);
            known.tried.extend(new.iter().flatten().cloned());
            writer.append(&new).ok()?;
            known.acked = known.tried.len();
            new.iter().flatten().for_each(|envelope| projection.apply(envelope));
            if writer.wants_snapshot() {
                writer.snapshot(&projection).ok()?;
            }
        }
        writer.prune(Seq(8)).ok()?;
        if life == 0 {
            let new = stop(writer.head());
            known.tried.extend(new.clone());
            writer.append(std::slice::from_ref(&new)).ok()?;
            known.acked = known.tried.len();
            projection.apply(&new[0]);
            writer.snapshot(&projection).ok()?;
        }
    }
    Some(())
}

fn check_recovery(disk: &MemoryDisk, known: &Known, place: &str) {
    let opened =
        try_open(disk, small_segments()).unwrap_or_else(|error| panic!("{place}: {error}: {error:?}"));
    let head = usize::try_from(opened.report.head.0).unwrap();
    assert!(known.acked <= head && head <= known.tried.len(), "{place}: {} of {head}", known.acked);
    let kept = &known.tried[..head];
    assert!(kept.last().is_none_or(|last| !last.more), "{place}: half a batch");
    assert_eq!(opened.projection.facts(), fold(kept).facts(), "{place}");
    let oldest = usize::try_from(opened.reader.oldest().0).unwrap() - 1;
    assert_eq!(read_everything(&opened.reader, 4), kept[oldest.min(head)..], "{place}");
}

/// Every state that a disk may show after a power cut: each pending choice, a sector, a rename or a truncation,
/// kept or lost.
fn states(disk: &MemoryDisk) -> impl Iterator<Item = MemoryDisk> {
    let mut choices = 0;
    let nothing_kept = disk.after_crash(|| {
        choices += 1;
        false
    });
    assert!(choices <= MOST_CHOICES, "{choices} choices are too many to walk through");
    let disk = disk.clone();
    let others = (1..1_u64 << choices).map(move |kept| {
        let mut left = kept;
        disk.after_crash(|| {
            left = left.rotate_right(1);
            left >> 63 == 1
        })
    });
    std::iter::once(nothing_kept).chain(others)
}

fn operations() -> usize {
    let disk = MemoryDisk::default();
    scenario(&disk, &mut Known::default()).unwrap();
    disk.ops()
}

#[test]
fn after_a_power_cut_at_any_operation_everything_acknowledged_is_there() {
    for op in 0..=operations() {
        let disk = MemoryDisk::default();
        disk.lose_power_at(op);
        let mut known = Known::default();
        let finished = scenario(&disk, &mut known).is_some();
        assert_eq!(finished, op == operations());
        for (at, after) in states(&disk).enumerate() {
            let place = format!("power lost at operation {op}, state {at}");
            check_recovery(&after, &known, &place);
            let again = open_memory(&after, small_segments());
            assert_eq!(again.report.torn, None, "{place}: recovered twice");
            check_recovery(&after, &known, &format!("{place}, again"));
        }
    }
}

#[test]
fn a_power_cut_during_recovery_changes_nothing() {
    for op in (0..=operations()).step_by(4) {
        let disk = MemoryDisk::default();
        disk.lose_power_at(op);
        let mut known = Known::default();
        let _ = scenario(&disk, &mut known);
        for after in states(&disk) {
            for recovery in 0.. {
                let second = after.copy();
                second.lose_power_at(recovery);
                let recovered = try_open(&second, small_segments()).is_ok();
                for (at, third) in states(&second).enumerate() {
                    check_recovery(&third, &known, &format!("operations {op} and {recovery}, state {at}"));
                }
                if recovered && second.ops() < recovery {
                    break;
                }
            }
        }
    }
}

/// A failed write leaves its bytes in the file's way; a power cut may show any of them under the next append.
#[test]
fn a_power_cut_after_a_failed_write_loses_nothing() {
    for seed in 0..200 {
        let disk = MemoryDisk::default();
        let mut opened = open_memory(&disk, options());
        let mut known = Known { tried: append(&mut opened.writer, &[2, 1]), acked: 3 };
        disk.write_short();
        let mut writes = 0;
        disk.fail(move |op, _| {
            writes += usize::from(op == disk_memory::Op::Write);
            (writes > 150 || op == disk_memory::Op::SetLen).then(|| std::io::ErrorKind::StorageFull.into())
        });
        assert!(opened.writer.append(&batches(Seq(3), &[2, 2, 2, 2])).is_err());
        disk.heal();
        let new = batches(Seq(3), &[3, 4]);
        disk.fail(|op, _| (op == disk_memory::Op::Sync).then(|| std::io::ErrorKind::Other.into()));
        assert!(matches!(opened.writer.append(&new), Err(AppendError::SyncFailed)));
        known.tried.extend(new.into_iter().flatten());
        disk.heal();
        let mut chance = fastrand::Rng::with_seed(seed);
        let after = disk.after_crash(|| chance.bool());
        let opened = try_open(&after, options()).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert!(opened.report.head >= Seq(3));
    }
}
