//! Erasing metadata: it is gone from events and from what stands for pruned ones, and all else is as it was.

use super::*;
use crate::domain::ids::{AllocationId, InstanceId, Vmid};
use crate::log::redact::redact_on;

/// A toy that knows who said what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Gossip {
    head: Seq,
    said: BTreeMap<String, String>,
}

impl Projection for Gossip {
    fn head(&self) -> Seq {
        self.head
    }

    fn apply(&mut self, envelope: &Envelope) {
        self.head = envelope.seq;
        if let Event::AllocationQueued(e) = &envelope.event
            && let Some(mail) = e.metadata.get("mail")
        {
            self.said.insert(e.instance_id.to_string(), mail.clone());
        }
    }

    fn restored(&mut self) {}
}

fn task(instance: &str) -> Redaction<'_, Gossip> {
    Redaction {
        instance,
        forget: |gossip, instance| gossip.said.remove(instance).is_some(),
        log_id: 7,
        id: Ulid(9),
        at: Timestamp(0),
        build: "1.0.0",
    }
}

fn queued(instance: &str) -> Event {
    AllocationQueued {
        allocation_id: AllocationId(Ulid(1)),
        instance_id: InstanceId::from(instance),
        template: Vmid(9000),
        start: true,
        ttl_seconds: None,
        metadata: [("mail".to_owned(), format!("{instance}@example.org"))].into(),
        deadline: Timestamp(1),
    }
    .into()
}

/// A log in which `jane` and `john` asked twice each, with a stop in its middle.
fn gossip(segment_bytes: u64) -> (MemoryDisk, Vec<Envelope>) {
    let disk = MemoryDisk::default();
    let mut events: Vec<Envelope> = Vec::new();
    for instance in ["jane", "john"].into_iter().cycle().take(4) {
        let mut opened: Opened<Gossip> =
            open_on(Arc::new(disk.clone()), Options { segment_bytes, ..options() }, None).unwrap();
        let mut asked = batch(opened.writer.head(), 2);
        asked[0].event = queued(instance);
        opened.writer.append(std::slice::from_ref(&asked)).unwrap();
        let stopped = stop(opened.writer.head());
        opened.writer.append(std::slice::from_ref(&stopped)).unwrap();
        events.extend(asked.into_iter().chain(stopped));
    }
    (disk, events)
}

fn everything(disk: &MemoryDisk) -> Vec<Envelope> {
    let mut all = Vec::new();
    read_memory(disk, Seq(1), &mut |envelope| {
        all.push(envelope);
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    all
}

#[test]
fn what_an_instance_said_is_erased_and_every_event_keeps_its_place() {
    let (disk, mut events) = gossip(options().segment_bytes);
    let into = MemoryDisk::default();
    assert_eq!(redact_on(&disk, Arc::new(into.clone()), &task("jane")).unwrap(), 2);
    let mut new = everything(&into);
    let last = new.pop().unwrap();
    assert_eq!((last.seq, last.at), (Seq(13), events.last().unwrap().at));
    assert_eq!(last.event, LogRedacted { instance_id: InstanceId::from("jane"), events: 2 }.into());
    for envelope in &mut events {
        envelope.event.forget_metadata("jane");
    }
    assert_eq!(new, events);
    let nobody = redact_on(&disk, Arc::new(MemoryDisk::default()), &task("jim"));
    assert!(matches!(nobody, Err(RedactError::Nothing(_))), "{nobody:?}");
}

#[test]
fn it_is_erased_too_where_only_a_snapshot_of_pruned_events_has_it() {
    let (disk, events) = gossip(100);
    let segments = layout::read(&disk).unwrap().segments;
    // All that `jane` asked for is pruned, and one time that `john` did is not.
    let header = segments.iter().map(|it| it.header.clone()).find(|it| it.first_seq > Seq(9)).unwrap();
    let base = Seq(header.first_seq.0 - 1);
    let mut known = Gossip::default();
    for envelope in &events[..usize::try_from(base.0).unwrap()] {
        known.apply(envelope);
    }
    snapshot::Snapshot::of(&known, header.log_id, header.prev_crc, "1.0.0").unwrap().write(&disk).unwrap();
    for segment in segments.iter().filter(|it| it.header.first_seq < header.first_seq) {
        disk::Disk::remove(&disk, &segment.name).unwrap();
    }
    for (instance, other, in_events) in [("jane", "john", 0), ("john", "jane", 1)] {
        let into = MemoryDisk::default();
        assert_eq!(redact_on(&disk, Arc::new(into.clone()), &task(instance)).unwrap(), in_events);
        let opened: Opened<Gossip> = open_on(Arc::new(into), options(), None).unwrap();
        assert_eq!(opened.report.head, Seq(13));
        assert_eq!(opened.projection.said.keys().collect::<Vec<_>>(), [other]);
        assert_eq!(opened.reader.oldest(), header.first_seq);
    }
}
