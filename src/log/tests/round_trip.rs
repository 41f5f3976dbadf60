//! What is written is what is read, whatever the text.

use proptest::prelude::*;

use super::*;
use crate::domain::ids::{AllocationId, InstanceId, Vmid};

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        Just(",\"crc\":\"00000000\"}\n".to_owned()),
        Just("{\"seq\":1,\"synced\":99\u{2028}\0\u{feff}\\".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_event_reads_back(
        id in any::<u128>(),
        at in 0_i64..253_402_300_799_999,
        metadata in prop::collection::btree_map(text(), text(), 0..5),
        ttl_seconds in any::<Option<u64>>(),
        cause in prop_oneof![
            Just(None),
            any::<u64>().prop_map(|seq| Some(Cause::Event(Seq(seq)))),
            text().prop_map(|request| Some(Cause::Request(request))),
        ],
        cut in any::<prop::sample::Index>(),
    ) {
        let event = AllocationQueued {
            allocation_id: AllocationId(Ulid(id)),
            instance_id: InstanceId("an-instance".to_owned()),
            template: Vmid(9000),
            start: true,
            ttl_seconds,
            metadata,
            deadline: Timestamp(at),
        };
        let envelope = Envelope { seq: Seq(2), id: Ulid(id), at: Timestamp(at), event: event.into(), cause, more: false };
        let disk = MemoryDisk::default();
        let mut opened = open_memory(&disk, Options { recent_records: 0, ..options() });
        append(&mut opened.writer, &[1]);
        opened.writer.append(&[vec![envelope.clone()]]).unwrap();
        let read = opened.reader.read(Seq(1), 1, Seq(2)).unwrap();
        prop_assert_eq!(&read[0].envelope, &envelope);
        drop(opened);
        prop_assert_eq!(open_memory(&disk.copy(), options()).report.head, Seq(2));
        let file = disk.bytes(&first_segment());
        let second = file.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(1).unwrap().0 + 1;
        disk.put(&first_segment(), &file[..second + cut.index(file.len() - second)]);
        prop_assert_eq!(open_memory(&disk, options()).report.head, Seq(1));
    }
}
