//! Writes: what reaches the engine, and what its answers become.

use serde_json::json;
use tokio::sync::oneshot;

use super::*;
use crate::desk::played::{HEAD, allocation_id, decided, envelope};
use crate::domain::command::{Allocate, Command, Leave, Rejection, Reply};
use crate::domain::event::{AllocationCompleted, ClonePurpose, CloneQueued, Envelope, LeaveReason, Released};
use crate::domain::ids::{CloneId, Hostname, InstanceId, Vmid};
use crate::domain::settings::SizeOverrides;
use crate::domain::state::Template;
use crate::engine::{Decided, Refused};

const BODY: &str = r#"{"template_vmid":9009,"instance_id":"pvelxc-abc123","metadata":{"teamId":"t"}}"#;

fn asking(front: &Front, method: &str, target: &str, body: &str) -> tokio::task::JoinHandle<Got> {
    let (front, method) = (front.clone(), method.to_owned());
    let (target, body) = (target.to_owned(), body.to_owned());
    tokio::spawn(async move { ask(&front, &method, &target, &body).await })
}

fn completed() -> Envelope {
    envelope(AllocationCompleted {
        allocation_id: allocation_id(),
        instance_id: InstanceId("pvelxc-abc123".to_owned()),
        template: Vmid(9009),
        vmid: Vmid(205),
        node: "pve1".into(),
        from_pool: true,
        expires_at: None,
        duration_ms: 5,
    })
}

#[tokio::test]
async fn an_allocation_is_answered_field_for_field() {
    let (front, mut played) = front();
    let asked = asking(&front, "POST", "/allocate?start=true", BODY);
    let (command, end) = played.begin(Reply::Allocating { allocation_id: allocation_id() }).await;
    assert_eq!(
        command,
        Command::Allocate(Allocate {
            template: Vmid(9009),
            instance_id: Some(InstanceId("pvelxc-abc123".to_owned())),
            metadata: [("teamId".to_owned(), "t".to_owned())].into(),
            start: true,
            ttl_seconds: None,
            facts: None,
        })
    );
    end.send(completed()).unwrap();
    let got = asked.await.unwrap();
    assert_eq!((got.status.as_u16(), got.header("x-event-seq")), (200, Some("42")));
    assert_eq!(
        got.body,
        json!({
            "vmid": 205,
            "hostname": "pvelxc-abc123",
            "instance_id": "pvelxc-abc123",
            "template_vmid": 9009,
            "allocated_from_pool": true,
            "node": "pve1",
            "allocation_id": allocation_id().to_string(),
        })
    );
}

#[tokio::test]
async fn what_is_left_out_of_an_allocation_has_a_default() {
    let cases = [
        ("/allocate", r#"{"template_vmid":9009}"#, true, None),
        ("/allocate?start=0", r#"{"template_vmid":"9009","instance_id":"","metadata":null}"#, false, None),
        ("/allocate?start=off&start=ON", r#"{"template_vmid":9009,"ttl_seconds":60,"x":1}"#, true, Some(60)),
        (
            "/allocate?start=",
            r#"{"template_vmid":9009,"instance_id":null,"metadata":{"a":null}}"#,
            true,
            None,
        ),
    ];
    for (target, body, start, ttl_seconds) in cases {
        let (front, mut played) = front();
        let _asked = asking(&front, "POST", target, body);
        let Command::Allocate(allocate) = played.next().await.command else { panic!("{target} {body}") };
        assert_eq!((allocate.start, allocate.ttl_seconds), (start, ttl_seconds), "{target} {body}");
        assert_eq!((allocate.instance_id, allocate.metadata.len()), (None, 0), "{target} {body}");
    }
}

#[tokio::test]
async fn a_client_that_disconnects_leaves_the_line() {
    let (front, mut played) = front();
    let asked = asking(&front, "POST", "/allocate", BODY);
    let (_, mut end) = played.begin(Reply::Allocating { allocation_id: allocation_id() }).await;
    asked.abort();
    end.closed().await;
}

async fn left(method: &str, target: &str) -> (Command, Got) {
    let (front, mut played) = front();
    let asked = asking(&front, method, target, "");
    let reply = Reply::Leaving { vmid: Vmid(205), by: LeaveReason::Request };
    let (command, end): (_, oneshot::Sender<_>) = played.begin(reply).await;
    let end = end.send(if method == "DELETE" {
        envelope(crate::domain::event::Removed { vmid: Vmid(205), template: Vmid(9009), instance_id: None })
    } else {
        envelope(Released {
            vmid: Vmid(205),
            template: Vmid(9009),
            instance_id: None,
            hostname: Hostname("pool-9009-00000000".to_owned()),
            reused: true,
        })
    });
    end.unwrap();
    (command, asked.await.unwrap())
}

#[tokio::test]
async fn release_and_remove_say_what_was_done() {
    let leave = |instance: Option<&str>| Leave { vmid: Vmid(205), instance_id: instance.map(str::to_owned) };
    let (command, got) = left("POST", "/release/205").await;
    assert_eq!(command, Command::Release(leave(None)));
    assert_eq!(got.body, json!({ "status": "released", "vmid": 205 }));
    assert_eq!(got.header("x-event-seq"), Some("42"));
    let (command, got) = left("DELETE", "/containers/205?instance_id=pvelxc-1").await;
    assert_eq!(command, Command::Remove(leave(Some("pvelxc-1"))));
    assert_eq!(got.body, json!({ "status": "removed", "vmid": 205 }));
}

#[tokio::test]
async fn a_warm_says_what_it_does() {
    let (front, mut played) = front();
    let asked = asking(&front, "POST", "/warm/9009?count=5", "");
    let command = played.answer(Ok(decided(Reply::Warming { queued: 3, current: 2, target: 5 }))).await;
    assert_eq!(command, Command::Warm { template: Vmid(9009), count: Some(5), facts: None });
    assert_eq!(
        asked.await.unwrap().body,
        json!({ "status": "warming", "template_vmid": 9009, "queued": 3, "current": 2, "target": 5 })
    );
}

#[tokio::test]
async fn a_write_on_a_template_answers_the_template() {
    let template = Vmid(9009);
    let sizes = SizeOverrides { min: None, target: Some(7), max: None };
    let cases = [
        (
            "PUT",
            "/templates/9009",
            r#"{"target":7,"min":null}"#,
            Command::ConfigureTemplate { template, sizes, facts: None },
        ),
        (
            "PUT",
            "/templates/9009",
            "",
            Command::ConfigureTemplate { template, sizes: SizeOverrides::default(), facts: None },
        ),
        ("DELETE", "/templates/9009", "", Command::DrainTemplate { template }),
        ("POST", "/templates/9009/refresh", "", Command::RefreshTemplate { template }),
    ];
    for (method, target, body, expected) in cases {
        let mut state = crate::desk::played::running();
        state.templates.insert(template, Template::new(None, None, NOW));
        let (front, mut played) = front_with(state, Guards::default(), Limits::default());
        let asked = asking(&front, method, target, body);
        assert_eq!(played.answer(Ok(decided(Reply::Done))).await, expected);
        let got = asked.await.unwrap();
        assert_eq!((got.status.as_u16(), &got.body["template_vmid"]), (200, &json!(9009)), "{method}");
    }
}

#[tokio::test]
async fn a_dry_run_of_any_write_says_what_would_happen_and_waits_for_nothing() {
    let clone_id = CloneId(ulid::Ulid::nil());
    for route in routes::ALL.iter().filter(|route| route.is_write()) {
        let (front, mut played) = front();
        let (method, mut target) = (route.method.as_str(), route.path.to_owned());
        for (part, value) in
            [("{vmid}", "205"), ("{template_vmid}", "9009"), ("{name}", "hook"), ("{seq}", "7")]
        {
            target = target.replace(part, value);
        }
        if target.starts_with("/templates") {
            target = target.replace("205", "9009");
        }
        let body = match (method, &target) {
            ("PUT", _) => "{}",
            (_, target) if target.ends_with("/replay") => r#"{"from_seq":7}"#,
            _ => BODY,
        };
        let asked = asking(&front, method, &format!("{target}?dry_run=true"), body);
        let submission = played.next().await;
        assert!(submission.dry_run, "{method} {target}");
        let events =
            vec![envelope(CloneQueued { clone_id, template: Vmid(9009), purpose: ClonePurpose::Waiter })];
        let decided = Decided { seq: HEAD, events, reply: Reply::Done, outcome: None };
        submission.answer.send(Ok(decided)).unwrap();
        let got = asked.await.unwrap();
        let data = json!({ "clone_id": clone_id.to_string(), "template": 9009, "purpose": "waiter" });
        assert_eq!(
            got.body,
            json!({ "dry_run": true, "events": [{ "type": "CloneQueued", "data": data }] }),
            "{method} {target}"
        );
        assert_eq!(got.header("x-event-seq"), Some("41"));
    }
}

#[tokio::test]
async fn a_refusal_is_a_problem_with_the_head() {
    let (front, mut played) = front();
    let asked = asking(&front, "POST", "/release/205", "");
    played.answer(Err(Refused::Rejected(Rejection::ContainerUnknown { vmid: Vmid(205) }))).await;
    let got = asked.await.unwrap();
    assert_eq!((got.status.as_u16(), got.code()), (404, "container_not_found"));
    assert_eq!(got.body["detail"], "The pool has no container 205");
    assert_eq!(got.header("x-event-seq"), Some("41"));

    let asked = asking(&front, "POST", "/allocate", BODY);
    played.answer(Err(Refused::Rejected(Rejection::TooManyWaiting { waiting: 100 }))).await;
    let got = asked.await.unwrap();
    assert_eq!((got.status.as_u16(), got.code()), (503, "too_many_waiting"));
    assert_eq!((got.header("retry-after"), &got.body["retry_after"]), (Some("5"), &json!(5)));

    let asked = asking(&front, "POST", "/allocate", BODY);
    played.answer(Err(Refused::Rejected(Rejection::TemplateUnread { template: Vmid(9009) }))).await;
    let got = asked.await.unwrap();
    assert_eq!((got.status.as_u16(), got.code()), (404, "template_not_found"));
}
