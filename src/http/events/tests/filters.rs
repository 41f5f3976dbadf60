//! Filters, over the life of two containers of two templates, from every place where a reader can begin.

use std::collections::BTreeMap;

use super::*;
use crate::domain::event::*;
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{AllocationId, CloneId, Hostname, InstanceId, Vmid};

const A: Vmid = Vmid(9009);
const B: Vmid = Vmid(9010);

fn clone_started(template: Vmid, vmid: u32) -> Event {
    CloneStarted {
        clone_id: CloneId(Ulid(u128::from(vmid))),
        template,
        vmid: Vmid(vmid),
        node: "pve1".into(),
        hostname: Hostname(format!("pool-{vmid}")),
        linked: true,
        attempt: 1,
    }
    .into()
}

fn cloned(template: Vmid, vmid: u32) -> Event {
    let clone_id = CloneId(Ulid(u128::from(vmid)));
    CloneSucceeded { clone_id, template, vmid: Vmid(vmid), duration_ms: 1, warnings: false }.into()
}

/// An allocation that is asked for by the event of that position.
fn allocation(seq: u64) -> AllocationId {
    AllocationId(Ulid::from_parts(u64::try_from(NOW.0).unwrap() + seq, 1))
}

fn instance(name: &str) -> InstanceId {
    InstanceId(name.to_owned())
}

fn queued(seq: u64, name: &str, template: Vmid) -> Event {
    AllocationQueued {
        allocation_id: allocation(seq),
        instance_id: instance(name),
        template,
        start: true,
        ttl_seconds: None,
        metadata: BTreeMap::new(),
        deadline: Timestamp(NOW.0 + 100_000),
    }
    .into()
}

fn allocated(seq: u64, name: &str, template: Vmid, vmid: u32) -> Event {
    Allocated {
        allocation_id: allocation(seq),
        instance_id: instance(name),
        template,
        vmid: Vmid(vmid),
        from_pool: true,
        start: true,
        ttl_seconds: None,
        metadata: BTreeMap::new(),
        deadline: Timestamp(NOW.0 + 100_000),
    }
    .into()
}

fn started(seq: u64, vmid: u32) -> Event {
    ContainerStarted { vmid: Vmid(vmid), allocation_id: allocation(seq), duration_ms: Some(1) }.into()
}

fn moved(vmid: u32) -> Event {
    ContainerMoved { vmid: Vmid(vmid), node: "pve2".into() }.into()
}

fn completed(seq: u64, name: &str, template: Vmid, vmid: u32) -> Event {
    AllocationCompleted {
        allocation_id: allocation(seq),
        instance_id: instance(name),
        template,
        vmid: Vmid(vmid),
        node: "pve1".into(),
        from_pool: true,
        expires_at: None,
        duration_ms: 1,
    }
    .into()
}

fn leaves(name: &str, template: Vmid, vmid: u32) -> [Event; 2] {
    let (vmid, instance_id) = (Vmid(vmid), Some(instance(name)));
    let hostname = Hostname(format!("pool-{vmid}"));
    let asked = ReleaseRequested { vmid, instance_id: instance_id.clone(), by: LeaveReason::Request };
    [asked.into(), Released { vmid, template, instance_id, hostname, reused: true }.into()]
}

fn removed(template: Vmid, vmid: u32) -> [Event; 3] {
    let (vmid, fault) = (Vmid(vmid), Fault::new(FaultKind::Locked, "CT is locked (backup)"));
    [
        RemovalRequested { vmid, by: LeaveReason::Request }.into(),
        RemovalFailed { vmid, fault, attempt: 1, retry_at: NOW }.into(),
        Removed { vmid, template, instance_id: None }.into(),
    ]
}

/// What happens, and beside each event which of `A`, `x` (an instance) and `201` it belongs to.
pub(super) fn story() -> Vec<(Event, &'static str)> {
    let mut story = vec![
        (TemplateAdded { template: A, node: Some("pve1".into()), linkable: Some(true) }.into(), "A"),
        (TemplateAdded { template: B, node: Some("pve1".into()), linkable: Some(true) }.into(), ""),
        (clone_started(A, 201), "A 201"),
        (cloned(A, 201), "A 201"),
        (clone_started(B, 202), ""),
        (cloned(B, 202), ""),
        (moved(202), ""),
        (moved(201), "A 201"),
        (allocated(9, "x", A, 201), "A x 201"),
        (started(9, 201), "A x 201"),
        (allocated(11, "y", B, 202), ""),
        (started(11, 202), ""),
        (completed(9, "x", A, 201), "A x 201"),
        (moved(201), "A x 201"),
        (moved(202), ""),
        (PveReachable {}.into(), ""),
    ];
    story.extend(leaves("x", A, 201).map(|event| (event, "A x 201")));
    story.extend([
        (moved(201), "A 201"),
        (allocated(20, "y2", A, 201), "A 201"),
        (started(20, 201), "A 201"),
        (completed(20, "y2", A, 201), "A 201"),
        (queued(23, "x", B), "x"),
    ]);
    story.extend(leaves("y2", A, 201).map(|event| (event, "A 201")));
    story.extend(removed(A, 201).map(|event| (event, "A 201")));
    story.extend([
        (clone_started(B, 201), "201"),
        (cloned(B, 201), "201"),
        (moved(201), "201"),
        (allocated(23, "x", B, 201), "x 201"),
        (started(23, 201), "x 201"),
        (completed(23, "x", B, 201), "x 201"),
        (moved(201), "x 201"),
    ]);
    story
}

/// Positions of the story's events that belong to `word`, behind `after`.
fn belonging(word: &str, after: u64) -> Vec<u64> {
    let of = |words: &str| words.split(' ').any(|it| it == word);
    let all = (1..).zip(story()).filter(|(seq, (_, words))| *seq > after && of(words));
    all.map(|(seq, _)| seq).collect()
}

const FILTERS: [(&str, &str); 3] = [("template=9009", "A"), ("instance=x", "x"), ("vmid=201", "201")];

#[tokio::test(start_paused = true)]
async fn a_scope_is_the_same_from_every_place_of_a_finished_story() {
    for recent_records in [3, 1000] {
        let mut service = service_with(Options { recent_records, ..small() }, 1000);
        service.happen(story().into_iter().map(|(event, _)| event));
        let head = service.writer.head().0;
        for after in 0..head {
            for (filter, word) in FILTERS {
                let expected = belonging(word, after);
                let Some(last) = expected.last() else { continue };
                let mut follower = service.follow(&format!("/events?after={after}&{filter}")).await;
                follower.expect("stream.opened").await;
                assert_eq!(follower.events_to(*last).await, expected, "{filter} behind {after}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_scope_is_the_same_live_from_every_place() {
    for begin in 0..story().len() {
        let mut service = service();
        let mut events = story().into_iter().map(|(event, _)| event);
        service.happen(events.by_ref().take(begin));
        let mut followers = Vec::new();
        for (filter, word) in FILTERS {
            let mut follower = service.follow(&format!("/events?{filter}")).await;
            follower.expect("stream.opened").await;
            followers.push((follower, word));
        }
        for event in events {
            service.happen([event]);
        }
        for (mut follower, word) in followers {
            let expected = belonging(word, begin as u64);
            if let Some(last) = expected.last() {
                assert_eq!(follower.events_to(*last).await, expected, "{word} from {begin}");
            }
            // Nothing else comes.
            assert_eq!(follower.expect("stream.bookmark").await.0, id(story().len() as u64));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn filters_are_combined() {
    let mut service = service();
    service.happen(story().into_iter().map(|(event, _)| event));
    let cases: &[(&str, &[u64])] = &[
        ("types=Allocated", &[9, 11, 20, 32]),
        ("types=Allocated&types=Removed,ContainerStarted", &[9, 10, 11, 12, 20, 21, 28, 32, 33]),
        ("types=Allocated&template=9009", &[9, 20]),
        ("types=ContainerMoved&instance=x", &[14, 35]),
        ("vmid=202&types=ContainerMoved", &[7, 15]),
        ("vmid=201&instance=x&template=9010", &[32, 33, 34, 35]),
    ];
    for (filter, expected) in cases {
        let mut follower = service.follow(&format!("/events?from=earliest&{filter}")).await;
        follower.expect("stream.opened").await;
        assert_eq!(follower.events_to(*expected.last().unwrap()).await, *expected, "{filter}");
    }
}

#[tokio::test]
async fn what_nobody_knows_is_refused() {
    let service = service();
    let cases = [
        ("colour=red", 400, "unknown_filter", "colour"),
        ("type=Allocated", 400, "unknown_filter", "type"),
        ("types=Allocated,Alocated", 400, "unknown_filter", "types"),
        ("types=stream.opened", 400, "unknown_filter", "types"),
        ("vmid=x", 422, "invalid_request", "vmid"),
        ("template=1", 422, "invalid_request", "template"),
        ("after=x", 422, "invalid_request", "after"),
        ("from=x", 422, "invalid_request", "from"),
        ("follow=perhaps", 422, "invalid_request", "follow"),
        ("limit=5", 422, "invalid_request", "limit"),
        ("follow=false&limit=1001", 422, "invalid_request", "limit"),
        ("follow=false&limit=0", 422, "invalid_request", "limit"),
    ];
    for (query, status, code, field) in cases {
        let (got, word, body) = service.problem(&format!("/events?{query}")).await;
        assert_eq!((got, word.as_str()), (status, code), "{query}");
        assert_eq!(body["errors"][0]["field"], field, "{query}");
    }
    let long = "x".repeat(256);
    assert_eq!(service.problem(&format!("/events?instance={long}")).await.0, 422);
}
