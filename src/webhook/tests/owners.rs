//! Templates of containers whose VMID another template's container has by now.

use ulid::Ulid;

use super::*;
use crate::domain::event::{
    CloneStarted, CloneSucceeded, Event, LeaveReason, OwnershipDoubted, RemovalRequested, Removed,
    TemplateAdded,
};
use crate::domain::ids::CloneId;

/// CT 200 was cloned of 9009 and removed, and is of 9010 now. Only event 5 and event 9 name no template.
fn events() -> Vec<Event> {
    let vmid = Vmid(200);
    let added = |template| TemplateAdded { template: Vmid(template), node: None, linkable: None };
    let started = |id, template| CloneStarted {
        clone_id: CloneId(Ulid::from_parts(id, 0)),
        template: Vmid(template),
        vmid,
        node: "pve1".into(),
        hostname: format!("pool-{template}-x").as_str().into(),
        linked: true,
        attempt: 1,
    };
    let made = |id, template| CloneSucceeded {
        clone_id: CloneId(Ulid::from_parts(id, 0)),
        template: Vmid(template),
        vmid,
        duration_ms: 2300,
        warnings: false,
    };
    vec![
        added(9009).into(),
        added(9010).into(),
        started(1, 9009).into(),
        made(1, 9009).into(),
        RemovalRequested { vmid, by: LeaveReason::Request }.into(),
        Removed { vmid, template: Vmid(9009), instance_id: None }.into(),
        started(2, 9010).into(),
        made(2, 9010).into(),
        OwnershipDoubted { vmid, reason: "who knows".to_owned() }.into(),
    ]
}

/// Two endpoints that take what names no template itself, each of one template.
async fn two() -> Rig {
    let disk = MemoryDisk::default();
    let mut opened = log::open_memory::<State>(&disk, log::Options::new(1, "1.0.0")).unwrap();
    for (event, seq) in events().into_iter().zip(1..) {
        let id = Ulid::from_parts(seq, 0);
        let envelope = Envelope { seq: Seq(seq), id, at: EPOCH, event, cause: None, more: false };
        opened.writer.append(&[vec![envelope]]).unwrap();
    }
    drop(opened);
    let types = ["RemovalRequested", "OwnershipDoubted"];
    let of = |name, template| Endpoint {
        types: Some(types.into_iter().collect()),
        templates: [Vmid(template)].into(),
        ..endpoint(name)
    };
    Rig::over(disk, vec![of("a", 9009), of("b", 9010)]).await
}

async fn replayed(rig: &Rig, from: u64) -> Vec<(String, u64)> {
    for name in ["a", "b"] {
        let step = WebhookStep::Replay { from: Seq(from), types: Vec::new(), only_failed: false };
        rig.ask(name, step).await;
    }
    rig.pass(Duration::from_mins(1)).await;
    let mut sent: Vec<_> = rig.seen().into_iter().map(|it| (it.endpoint, it.seq)).collect();
    sent.sort();
    rig.forget_seen();
    sent
}

#[tokio::test(start_paused = true)]
async fn an_event_goes_to_those_who_ask_for_the_template_that_its_container_had_then() {
    let rig = two().await;
    // From the beginning, and from where the container of then is nowhere to be met.
    for from in [1, 5] {
        assert_eq!(replayed(&rig, from).await, [("a".to_owned(), 5), ("b".to_owned(), 9)], "from {from}");
    }
    assert_eq!(replayed(&rig, 6).await, [("b".to_owned(), 9)]);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_has_to_wait_is_still_of_the_template_that_its_container_had_then() {
    let rig = two().await;
    rig.rule(|it| Does::Answers(if it.nth == 1 { 500 } else { 200 }));
    let sent = replayed(&rig, 5).await;
    let twice = [("a", 5), ("a", 5), ("b", 9), ("b", 9)].map(|(name, seq)| (name.to_owned(), seq));
    assert_eq!(sent, twice);
}
