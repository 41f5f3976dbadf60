//! The log's promises, each as a test that can fail. Shared: a small log in memory and a toy projection.

mod bytes;
mod crash;
mod nonsense;
mod offline_use;
mod past;
mod reading;
mod recovery;
mod redacting;
mod retention;
mod round_trip;
mod writing;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::open::open_on;
use super::*;
use crate::domain::event::*;
use crate::domain::ids::Seq;
use crate::domain::time::Timestamp;

/// Counts events by type, and keeps their ids in order so that a swap shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Toy {
    head: Seq,
    counts: BTreeMap<String, u64>,
    ids: Vec<Ulid>,
    #[serde(skip)]
    restored: bool,
}

impl Projection for Toy {
    fn head(&self) -> Seq {
        self.head
    }

    fn apply(&mut self, envelope: &Envelope) {
        assert_eq!(envelope.seq, self.head.next());
        self.head = envelope.seq;
        *self.counts.entry(envelope.event.type_name().to_owned()).or_default() += 1;
        self.ids.push(envelope.id);
    }

    fn restored(&mut self) {
        self.restored = true;
    }
}

impl Toy {
    /// The same without how it came to be.
    fn facts(&self) -> (Seq, &BTreeMap<String, u64>, &[Ulid]) {
        (self.head, &self.counts, &self.ids)
    }
}

fn options() -> Options {
    Options { on_sync_failure: Arc::new(|_, _| {}), ..Options::new(0x0bad_cafe, "1.0.0") }
}

fn small_segments() -> Options {
    Options { segment_bytes: 700, ..options() }
}

fn try_open(disk: &MemoryDisk, options: Options) -> Result<Opened<Toy>, OpenError> {
    open_on(Arc::new(disk.clone()), options, None)
}

fn open_memory(disk: &MemoryDisk, options: Options) -> Opened<Toy> {
    try_open(disk, options).unwrap_or_else(|error| panic!("{error}: {error:?}"))
}

/// A batch of `len` events behind `head`.
fn batch(head: Seq, len: u64) -> Vec<Envelope> {
    let event = |seq: u64| match seq % 3 {
        0 => PveReachable {}.into(),
        1 => PveUnreachable { reason: format!("connection {seq} \"refused\"\n{{\"seq\":9") }.into(),
        _ => TemplateDrained { template: crate::domain::ids::Vmid(9000) }.into(),
    };
    (1..=len)
        .map(|at| Envelope {
            seq: Seq(head.0 + at),
            id: Ulid(u128::from(head.0 + at) << 64),
            at: Timestamp(1_795_489_579_000 + i64::try_from(head.0 + at).unwrap()),
            event: event(head.0 + at),
            cause: (head.0 > 0).then_some(Cause::Event(head)),
            more: at < len,
        })
        .collect()
}

/// Batches of these lengths behind `head`.
fn batches(head: Seq, lens: &[u64]) -> Vec<Vec<Envelope>> {
    let mut head = head;
    let mut all = Vec::new();
    for len in lens {
        all.push(batch(head, *len));
        head = Seq(head.0 + len);
    }
    all
}

fn stop(head: Seq) -> Vec<Envelope> {
    let mut batch = batch(head, 1);
    batch[0].event = ServiceStopped {}.into();
    batch
}

/// Appends batches of these lengths with one sync.
fn append(writer: &mut Writer, lens: &[u64]) -> Vec<Envelope> {
    let batches = batches(writer.head(), lens);
    writer.append(&batches).unwrap();
    batches.into_iter().flatten().collect()
}

fn fold(events: &[Envelope]) -> Toy {
    let mut toy = Toy::default();
    for envelope in events {
        toy.apply(envelope);
    }
    toy
}

fn first_segment() -> String {
    layout::segment_name(Seq(1))
}

/// The checksum of each record in a segment.
fn checksums(segment: &[u8]) -> Vec<u32> {
    let lines = segment.split(|byte| *byte == b'\n').skip(1);
    lines.filter_map(|line| line::unseal(line).map(|(_, crc)| crc)).collect()
}

/// The snapshot that a log with this id and this last record would have of `events`.
fn put_snapshot(disk: &MemoryDisk, events: &[Envelope], log_id: u32, record_crc: u32) {
    let snapshot = snapshot::Snapshot::of(&fold(events), log_id, record_crc, "1.0.0").unwrap();
    snapshot.write(disk).unwrap();
}

/// An event whose record is about `bytes` longer than others.
fn long_event(head: Seq, bytes: usize) -> Vec<Envelope> {
    let mut batch = batch(head, 1);
    (batch[0].event, batch[0].cause) = (PveUnreachable { reason: "x".repeat(bytes) }.into(), None);
    batch
}

/// Every event that a reader gives, page by page.
fn read_everything(reader: &Reader, page: usize) -> Vec<Envelope> {
    let mut all = Vec::new();
    let mut cursor = Seq(reader.oldest().0 - 1);
    loop {
        let records = reader.read(cursor, page, Seq(u64::MAX)).unwrap();
        let Some(last) = records.last() else { return all };
        cursor = last.envelope.seq;
        all.extend(records.iter().map(|record| record.envelope.clone()));
    }
}
