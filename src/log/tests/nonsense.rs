//! Files that no writer wrote: refused or opened, never a panic, and what is refused is left as it was.

use proptest::prelude::*;

use super::*;

/// Pieces of which lines are made, and bytes.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let known = |text: &'static str| Just(text.as_bytes().to_vec());
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        known("\n"),
        known("{\"seq\":1,\"id\":\"01KCRTHB5V3NQ8T0A4Y6F2M70W\",\"at\":\"2026-11-24T09:00:00.000Z\","),
        known("\"type\":\"PveReachable\",\"v\":1,\"data\":{},\"more\":false"),
        known(",\"crc\":\"00000000\"}\n"),
        known("{\"format\":1,\"log_id\":\"0badcafe\",\"first\":1,\"prev_crc\":\"00000000\"}\n"),
    ]
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(piece(), 0..12).prop_map(|pieces| pieces.concat())
}

/// Opens it, reads what is there, and looks at what is left.
fn opens_or_leaves_alone(disk: &MemoryDisk) {
    let before = disk.bytes(&first_segment());
    match try_open(disk, options()) {
        Ok(opened) => {
            let head = opened.reader.head();
            let _ = opened.reader.read(Seq(0), 1000, head);
            assert_eq!(opened.projection.head, head);
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert_eq!(disk.bytes(&first_segment()), before, "{error}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_file_of_anything(text in text()) {
        let disk = MemoryDisk::default();
        disk.put(&first_segment(), &text);
        opens_or_leaves_alone(&disk);
    }

    #[test]
    fn a_log_with_anything_in_it(
        lens in prop::collection::vec(1..4_u64, 1..4),
        strange in text(),
        place in any::<prop::sample::Index>(),
        replaced in 0..60_usize,
    ) {
        let disk = MemoryDisk::default();
        append(&mut open_memory(&disk, options()).writer, &lens);
        let mut bytes = disk.bytes(&first_segment());
        let from = place.index(bytes.len() + 1);
        let to = (from + replaced).min(bytes.len());
        bytes.splice(from..to, strange);
        disk.put(&first_segment(), &bytes);
        opens_or_leaves_alone(&disk);
    }
}
