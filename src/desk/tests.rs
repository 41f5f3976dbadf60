//! What the desk asks of the engine, and how each end comes back.

use std::sync::atomic::{AtomicU32, Ordering};

use super::played::{HEAD, Played, allocation_id, decided, engine, envelope, running};
use super::*;
use crate::domain::event::{
    AllocationCancelled, AllocationCompleted, AllocationFailed, CancelReason, ContainerLost, LeaveReason,
    OwnershipDoubted, ReleaseFailed, Released, RemovalFailed, Removed,
};
use crate::domain::fault::FaultKind;
use crate::domain::ids::Hostname;

const TEMPLATE: Vmid = Vmid(9009);
const VMID: Vmid = Vmid(205);

fn desk_reading(read: ReadTemplate) -> (Desk, Played) {
    let (engine, played) = engine(running());
    (Desk::new(engine, Clock::virtual_from(Timestamp(0)), read, Patience::default()), played)
}

fn desk() -> (Desk, Played) {
    desk_reading(Arc::new(|_| Box::pin(async { panic!("no template is to be read") })))
}

/// A PVE that does not answer.
fn silent() -> ReadTemplate {
    Arc::new(|_| Box::pin(async { Err(Fault::new(FaultKind::NotSent, "refused")) }))
}

/// What the engine says of a template that it does not know.
fn unread<T>() -> Result<T, Refused> {
    Err(Refused::Rejected(Rejection::TemplateUnread { template: TEMPLATE }))
}

fn call() -> Call {
    Call { request_id: "01REQUEST".to_owned(), dry_run: false }
}

fn ask() -> Allocate {
    Allocate {
        template: TEMPLATE,
        instance_id: None,
        metadata: std::collections::BTreeMap::new(),
        start: true,
        ttl_seconds: None,
        facts: None,
    }
}

fn leave() -> Leave {
    Leave { vmid: VMID, instance_id: None }
}

fn allocating() -> Reply {
    Reply::Allocating { allocation_id: allocation_id() }
}

fn leaving() -> Reply {
    Reply::Leaving { vmid: VMID, by: LeaveReason::Request }
}

fn fault() -> Fault {
    Fault::new(FaultKind::Locked, "CT is locked (backup)")
}

fn instance() -> InstanceId {
    InstanceId("pvelxc-1".to_owned())
}

#[tokio::test]
async fn an_allocation_is_answered_by_its_end() {
    let (desk, mut played) = desk();
    let asked = tokio::spawn(async move { desk.allocate(&call(), ask()).await });
    let submission = played.next().await;
    assert_eq!(submission.cause, Some(Cause::Request("01REQUEST".to_owned())));
    assert_eq!(submission.command, Command::Allocate(ask()));
    let (end, outcome) = Outcome::for_tests();
    submission.answer.send(Ok(Decided { outcome: Some(outcome), ..decided(allocating()) })).unwrap();
    end.send(envelope(AllocationCompleted {
        allocation_id: allocation_id(),
        instance_id: instance(),
        template: TEMPLATE,
        vmid: VMID,
        node: "pve1".into(),
        from_pool: true,
        expires_at: None,
        duration_ms: 5,
    }))
    .unwrap();
    let value = HandedOut {
        allocation_id: allocation_id(),
        instance_id: instance(),
        template: TEMPLATE,
        vmid: VMID,
        node: "pve1".into(),
        from_pool: true,
        expires_at: None,
    };
    assert_eq!(asked.await.unwrap().unwrap(), Answer::Done { seq: HEAD.next(), value });
}

#[tokio::test]
async fn a_caller_that_leaves_is_seen_by_the_engine() {
    let (desk, mut played) = desk();
    let asked = tokio::spawn(async move { desk.allocate(&call(), ask()).await });
    let (_, mut end) = played.begin(allocating()).await;
    assert!(!end.is_closed());
    asked.abort();
    end.closed().await;
}

#[tokio::test]
async fn other_ends_of_an_allocation_are_refusals() {
    let failed = |code| {
        envelope(AllocationFailed {
            allocation_id: allocation_id(),
            instance_id: instance(),
            template: TEMPLATE,
            vmid: None,
            code,
            reason: "why".to_owned(),
        })
    };
    let cancelled = |reason| {
        envelope(AllocationCancelled {
            allocation_id: allocation_id(),
            instance_id: instance(),
            template: TEMPLATE,
            vmid: None,
            reason,
        })
    };
    let cases = [
        (Some(failed(FailureCode::PveRefused)), "why"),
        (Some(cancelled(CancelReason::Stopping)), "the allocation was cancelled: the service is stopping"),
        (None, "the service has stopped"),
    ];
    for (end, expected) in cases {
        let (desk, mut played) = desk();
        let asked = tokio::spawn(async move { desk.allocate(&call(), ask()).await });
        let (_, ending) = played.begin(allocating()).await;
        match end {
            Some(end) => ending.send(end).unwrap(),
            None => drop(ending),
        }
        assert_eq!(asked.await.unwrap().unwrap_err().to_string(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_cannot_tell_the_end_does_not_hold_a_caller_for_ever() {
    let (desk, mut played) = desk();
    let asked = tokio::spawn(async move { desk.allocate(&call(), ask()).await });
    let (_, mut end) = played.begin(allocating()).await;
    let refusal = asked.await.unwrap().unwrap_err();
    assert!(
        matches!(refusal, Refusal::AllocationFailed { code: FailureCode::AllocateTimeout, .. }),
        "{refusal:?}"
    );
    end.closed().await;
}

#[tokio::test]
async fn an_unknown_template_is_read_once_and_asked_for_again() {
    let reads = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&reads);
    let facts = TemplateFacts { node: "pve1".into(), linkable: Some(true) };
    let found = facts.clone();
    let (desk, mut played) = desk_reading(Arc::new(move |template| {
        assert_eq!(template, TEMPLATE);
        counted.fetch_add(1, Ordering::Relaxed);
        let found = found.clone();
        Box::pin(async move { Ok(found) })
    }));
    let asked = tokio::spawn(async move { desk.warm(&call(), TEMPLATE, Some(2)).await });
    let warm = |facts| Command::Warm { template: TEMPLATE, count: Some(2), facts };
    assert_eq!(played.answer(unread()).await, warm(None));
    assert_eq!(played.answer(unread()).await, warm(Some(facts)));
    assert!(matches!(asked.await.unwrap(), Err(Refusal::Engine(Refused::Rejected(_)))));
    assert_eq!(reads.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_template_that_cannot_be_read_is_a_refusal() {
    let (desk, mut played) = desk_reading(Arc::new(|_| Box::pin(async { Err(fault()) })));
    let asked = tokio::spawn(async move { desk.allocate(&call(), ask()).await });
    played.answer(unread()).await;
    let refusal = asked.await.unwrap().unwrap_err();
    assert_eq!(refusal.to_string(), "template 9009 cannot be used: CT is locked (backup)");
}

#[tokio::test(start_paused = true)]
async fn an_allocation_waits_for_a_pve_that_does_not_answer_until_its_time_is_up() {
    for (answers_after, served) in [(20, true), (u32::MAX, false)] {
        let reads = Arc::new(AtomicU32::new(0));
        let (desk, mut played) = desk_reading(Arc::new(move |_| {
            let read = reads.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move {
                let facts = TemplateFacts { node: "pve1".into(), linkable: Some(true) };
                if read < answers_after { Err(Fault::new(FaultKind::NotSent, "refused")) } else { Ok(facts) }
            })
        }));
        let asked = tokio::spawn(async move { desk.allocate(&call(), ask()).await });
        played.answer(unread()).await;
        if served {
            let (command, _end) = played.begin(allocating()).await;
            assert!(matches!(command, Command::Allocate(Allocate { facts: Some(_), .. })), "{command:?}");
            asked.abort();
        } else {
            let refusal = asked.await.unwrap().unwrap_err();
            assert_eq!(refusal.to_string(), "template 9009 cannot be used: refused");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_wait_for_a_pve_that_does_not_answer_than_may_wait_in_line() {
    let (desk, mut played) = desk_reading(silent());
    played.publish(|published| Arc::make_mut(&mut published.state).settings.max_waiting = 2);
    let mut asked = Vec::new();
    for _ in 0..3 {
        let desk = desk.clone();
        asked.push(tokio::spawn(async move { desk.allocate(&call(), ask()).await }));
        played.answer(unread()).await;
    }
    let refusal = asked.pop().unwrap().await.unwrap().unwrap_err();
    assert!(
        matches!(refusal, Refusal::Engine(Refused::Rejected(Rejection::TooManyWaiting { waiting: 2 }))),
        "{refusal:?}"
    );
    // Whoever leaves makes room.
    let left = asked.pop().unwrap();
    left.abort();
    assert!(left.await.unwrap_err().is_cancelled());
    let next = tokio::spawn(async move { desk.allocate(&call(), ask()).await });
    played.answer(unread()).await;
    tokio::task::yield_now().await;
    assert!(!next.is_finished());
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_pve_is_told_of_the_stop() {
    let (desk, mut played) = desk_reading(silent());
    let asked = tokio::spawn(async move { desk.allocate(&call(), ask()).await });
    played.answer(unread()).await;
    played.stop();
    let refusal = asked.await.unwrap().unwrap_err();
    assert!(matches!(refusal, Refusal::Engine(Refused::Rejected(Rejection::Stopping))), "{refusal:?}");
}

async fn seen_out(way: WayOut, end: Option<Envelope>) -> Result<Answer<()>, Refusal> {
    let (desk, mut played) = desk();
    let asked = tokio::spawn(async move {
        match way {
            WayOut::Release => desk.release(&call(), leave()).await,
            WayOut::Removal => desk.remove(&call(), leave()).await,
        }
    });
    let (_, ending) = played.begin(leaving()).await;
    match end {
        Some(end) => ending.send(end).unwrap(),
        None => drop(ending),
    }
    asked.await.unwrap()
}

#[tokio::test]
async fn each_end_of_a_leaving_has_its_answer() {
    use WayOut::{Release, Removal};
    let released = || {
        envelope(Released {
            vmid: VMID,
            template: TEMPLATE,
            instance_id: None,
            hostname: Hostname("pool-9009-00000000".to_owned()),
            reused: true,
        })
    };
    let removed = || envelope(Removed { vmid: VMID, template: TEMPLATE, instance_id: None });
    let lost = || {
        let reason = "gone".to_owned();
        envelope(ContainerLost { vmid: VMID, template: TEMPLATE, instance_id: None, reason })
    };
    let stays = || envelope(ReleaseFailed { vmid: VMID, fault: fault(), retry_at: None });
    let retried = || {
        let (fault, retry_at) = (fault(), Timestamp(5000));
        envelope(RemovalFailed { vmid: VMID, fault, attempt: 1, retry_at })
    };
    let doubted = || envelope(OwnershipDoubted { vmid: VMID, reason: "renamed".to_owned() });
    let cases = [
        (Release, Some(released()), "done"),
        (Release, Some(removed()), "done"),
        (Release, Some(lost()), "done"),
        (Release, Some(stays()), "container 205: CT is locked (backup)"),
        (Release, Some(doubted()), "container 205 is left alone: renamed"),
        (Release, None, "the service has stopped"),
        (Removal, Some(removed()), "done"),
        (Removal, Some(lost()), "done"),
        (Removal, Some(retried()), "container 205: CT is locked (backup)"),
        (Removal, Some(released()), "the engine answered Released to another question"),
    ];
    for (way, end, expected) in cases {
        let type_name = end.as_ref().map(|end| end.event.type_name());
        let got = match seen_out(way, end).await {
            Ok(answer) => {
                assert_eq!(answer, Answer::Done { seq: HEAD.next(), value: () });
                "done".to_owned()
            }
            Err(refusal) => refusal.to_string(),
        };
        assert_eq!(got, expected, "{way:?} {type_name:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn patience_with_a_leaving_ends() {
    let (desk, mut played) = desk();
    let asked = tokio::spawn(async move { desk.remove(&call(), leave()).await });
    let (_, _end) = played.begin(leaving()).await;
    let refusal = asked.await.unwrap().unwrap_err();
    assert!(matches!(refusal, Refusal::StillLeaving { way: WayOut::Removal, .. }), "{refusal:?}");
}

#[tokio::test]
async fn whoever_waits_for_a_leaving_is_told_of_the_stop() {
    let (desk, mut played) = desk();
    let asked = tokio::spawn(async move { desk.release(&call(), leave()).await });
    let (_, _end) = played.begin(leaving()).await;
    played.stop();
    let refusal = asked.await.unwrap().unwrap_err();
    assert!(matches!(refusal, Refusal::Engine(Refused::Rejected(Rejection::Stopping))), "{refusal:?}");
}

#[tokio::test]
async fn nothing_to_wait_for_is_done() {
    let (desk, mut played) = desk();
    let asked = tokio::spawn(async move { desk.release(&call(), leave()).await });
    played.answer(Ok(decided(Reply::Done))).await;
    assert_eq!(asked.await.unwrap().unwrap(), Answer::Done { seq: HEAD, value: () });
}

#[tokio::test(start_paused = true)]
async fn a_reader_waits_for_its_event_but_not_for_ever() {
    let (desk, played) = desk();
    assert_eq!(desk.published_from(HEAD).await.unwrap().head, HEAD);
    let waiting = tokio::spawn({
        let desk = desk.clone();
        async move { desk.published_from(HEAD.next()).await }
    });
    played.publish(|published| published.head = published.head.next());
    assert_eq!(waiting.await.unwrap().unwrap().head, HEAD.next());
    assert!(desk.published_from(Seq(1000)).await.is_none());
}
