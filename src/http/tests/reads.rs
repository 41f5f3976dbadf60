//! Reads: their shapes, field for field.

use serde_json::json;
use ulid::Ulid;

use super::*;
use crate::desk::played::{allocation_id, running};
use crate::domain::ids::{CloneId, Hostname, InstanceId, Seq, Vmid};
use crate::domain::settings::CloneMode;
use crate::domain::state::{Backoff, Container, Counts, Delay, HandOut, Holding, Phase, Template, Waiting};

fn container(vmid: u32, phase: Phase) -> Container {
    Container {
        vmid: Vmid(vmid),
        clone_id: CloneId(Ulid::nil()),
        template: Vmid(9009),
        node: "pve1".into(),
        hostname: Hostname(format!("pool-9009-00000{vmid}")),
        created_at: Timestamp(NOW.0 - 90_000),
        created_seq: Seq(3),
        uses: 0,
        touched: Seq(9),
        doubt: None,
        delay: None,
        phase,
    }
}

fn holding() -> Holding {
    Holding {
        allocation_id: allocation_id(),
        instance_id: InstanceId("pvelxc-1".to_owned()),
        metadata: [("teamId".to_owned(), "t".to_owned())].into(),
        start: true,
        from_pool: true,
        ttl_seconds: Some(60),
        asked_at: NOW,
        attempt: 0,
        deadline: NOW,
        stage: HandOut::Done,
        completed_at: Some(NOW),
        expires_at: Some(NOW),
        orphaned: false,
    }
}

/// One template with a ready, a held and a quarantined container, and one waiter.
fn pool() -> State {
    let mut state = running();
    state.service.started_at = NOW;
    let fault = Fault::new(FaultKind::Locked, "CT is locked (create)").with_hint("pct unlock 203");
    let quarantined = Phase::Quarantined { fault: fault.clone(), instance_id: None };
    let held = Container { uses: 1, ..container(202, Phase::Allocated(holding())) };
    for it in [container(201, Phase::Ready { since: NOW }), held, container(203, quarantined)] {
        state.containers.insert(it.vmid, it);
    }
    let waiting = Waiting {
        instance_id: InstanceId("pvelxc-2".to_owned()),
        template: Vmid(9009),
        start: true,
        ttl_seconds: None,
        metadata: std::collections::BTreeMap::new(),
        asked_at: NOW,
        deadline: NOW,
        attempt: 0,
        spoiled: None,
    };
    state.waiting.insert(allocation_id(), waiting);
    let template = Template {
        line: vec![allocation_id()],
        counts: Counts { ready: 1, allocated: 1, quarantined: 1, ..Counts::default() },
        ..Template::new(Some("pve1".into()), Some(true), NOW)
    };
    state.templates.insert(Vmid(9009), template);
    state.rebuild_index();
    state
}

fn pool_front(change: impl FnOnce(&mut State)) -> (Front, Played) {
    let mut state = pool();
    change(&mut state);
    front_with(state, Guards::default(), Limits::default())
}

#[tokio::test(start_paused = true)]
async fn the_status_has_its_shape() {
    let (front, _played) = pool_front(|_| {});
    let got = ask(&front, "GET", "/status", "").await;
    let row = |vmid: u32, state: &str, allocated_to: Option<&str>, uses: u32| {
        json!({
            "vmid": vmid,
            "hostname": format!("pool-9009-00000{vmid}"),
            "state": state,
            "created_at": "2026-11-24T03:04:49.000Z",
            "allocated_to": allocated_to,
            "node": "pve1",
            "template_vmid": 9009,
            "uses": uses,
            "age_seconds": 90,
        })
    };
    let mut held = row(202, "allocated", Some("pvelxc-1"), 1);
    held["allocation_id"] = json!(allocation_id().to_string());
    held["expires_at"] = json!("2026-11-24T03:06:19.000Z");
    let mut quarantined = row(203, "quarantined", None, 0);
    quarantined["reason"] = json!("CT is locked (create)");
    quarantined["hint"] = json!("pct unlock 203");
    let expected = json!({
        "templates": {
            "9009": {
                "template_vmid": 9009,
                "ready_count": 1,
                "allocated_count": 1,
                "creating_count": 0,
                "target_size": 5,
                "containers": [row(201, "ready", None, 0), held, quarantined],
                "min_size": 3,
                "max_size": 10,
                "own_sizes": { "min": null, "target": null, "max": null },
                "releasing_count": 0,
                "removing_count": 0,
                "quarantined_count": 1,
                "waiting_count": 1,
                "waiters": [{
                    "allocation_id": "00000000010000000000000002",
                    "instance_id": "pvelxc-2",
                    "asked_at": "2026-11-24T03:06:19.000Z",
                    "deadline": "2026-11-24T03:06:19.000Z",
                }],
                "queued_clones": 0,
                "queue": [],
                "drained": false,
                "node": "pve1",
            }
        },
        "total_ready": 1,
        "total_allocated": 1,
        "total_creating": 0,
        "clone_queue_length": 0,
        "total_releasing": 0,
        "total_removing": 0,
        "total_quarantined": 1,
        "total_waiting": 1,
        "head": 41,
        "service": {
            "version": "1.2.3",
            "started_at": "2026-11-24T03:06:19.000Z",
            "phase": "running",
            "reconciled": true,
            "pve_reachable": true,
        },
    });
    assert_eq!(got.body, expected);
    assert_eq!(got.header("x-event-seq"), Some("41"));
}

#[tokio::test(start_paused = true)]
async fn a_templates_troubles_are_shown() {
    let fault = Fault::new(FaultKind::NoSpace, "no space left").with_hint("lvs");
    let (front, _played) = pool_front(|state| {
        let template = &mut state.templates[&Vmid(9009)];
        template.backoff = Some(Backoff { fault: fault.clone(), until: NOW, step: 2 });
        template.linkable = Some(false);
        let container = &mut state.containers[&Vmid(201)];
        container.delay = Some(Delay { fault, attempt: 3, until: NOW });
        container.doubt = Some("renamed".to_owned());
    });
    let got = ask(&front, "GET", "/templates/9009", "").await;
    let until = "2026-11-24T03:06:19.000Z";
    let (reason, code, hint) = ("no space left", "no_space", "lvs");
    assert_eq!(
        got.body["backoff"],
        json!({ "reason": reason, "code": code, "hint": hint, "until": until, "step": 2 })
    );
    assert!(got.body["warning"].as_str().unwrap().contains("linked clones"));
    assert_eq!(got.body["containers"][0]["doubt"], "renamed");
    assert_eq!(
        got.body["containers"][0]["delay"],
        json!({ "reason": reason, "code": code, "hint": hint, "attempt": 3, "until": until })
    );
}

#[tokio::test(start_paused = true)]
async fn a_warning_is_for_what_lasts() {
    let cases = [
        (Some(Timestamp(NOW.0 - 59_000)), 0, CloneMode::Auto, Some(true), None),
        (Some(Timestamp(NOW.0 - 60_000)), 1, CloneMode::Auto, Some(true), None),
        (Some(Timestamp(NOW.0 - 60_000)), 0, CloneMode::Auto, Some(true), Some("pct unlock 9009")),
        (None, 0, CloneMode::Full, Some(false), None),
        (None, 0, CloneMode::Auto, None, None),
        (None, 0, CloneMode::Auto, Some(false), Some("full copies")),
    ];
    for (locked_since, creating, mode, linkable, expected) in cases {
        let (front, _played) = pool_front(|state| {
            state.settings.clone_mode = mode;
            let template = &mut state.templates[&Vmid(9009)];
            template.locked_since = locked_since;
            template.linkable = linkable;
            template.counts.creating = creating;
        });
        let got = ask(&front, "GET", "/templates/9009", "").await;
        let warning = got.body["warning"].as_str();
        match expected {
            None => assert_eq!(warning, None),
            Some(part) => assert!(warning.unwrap().contains(part), "{warning:?}"),
        }
    }
}

#[tokio::test]
async fn containers_are_found_by_filters() {
    let (front, _played) = pool_front(|_| {});
    let cases: &[(&str, &[u64])] = &[
        ("/containers", &[201, 202, 203]),
        ("/containers?state=ready", &[201]),
        ("/containers?state=removing", &[]),
        ("/containers?template=9009&state=allocated", &[202]),
        ("/containers?template=9010", &[]),
        ("/containers?instance=pvelxc-1", &[202]),
        ("/containers?instance=nobody", &[]),
        ("/containers/", &[201, 202, 203]),
    ];
    for (target, expected) in cases {
        let got = ask(&front, "GET", target, "").await;
        let rows = got.body["containers"].as_array().unwrap();
        let vmids: Vec<_> = rows.iter().map(|row| row["vmid"].as_u64().unwrap()).collect();
        assert_eq!(vmids, *expected, "{target}");
        assert_eq!((&got.body["total"], &got.body["head"]), (&json!(expected.len()), &json!(41)));
    }
}

#[tokio::test]
async fn one_container_tells_all_that_is_known() {
    let (front, _played) = pool_front(|_| {});
    let got = ask(&front, "GET", "/containers/202", "").await;
    assert_eq!((&got.body["vmid"], &got.body["last_seq"]), (&json!(202), &json!(9)));
    assert_eq!(got.body["allocation"]["metadata"], json!({ "teamId": "t" }));
    assert_eq!(got.body["allocation"]["stage"], "done");
    let got = ask(&front, "GET", "/containers/299", "").await;
    assert_eq!((got.status.as_u16(), got.code()), (404, "container_not_found"));
    let got = ask(&front, "GET", "/templates/9010", "").await;
    assert_eq!((got.status.as_u16(), got.code()), (404, "template_not_found"));
}

#[tokio::test(start_paused = true)]
async fn a_reader_may_wait_for_its_write() {
    let (front, played) = front();
    let asked = tokio::spawn({
        let front = front.clone();
        async move { ask(&front, "GET", "/status?min_seq=42", "").await }
    });
    tokio::task::yield_now().await;
    played.publish(|published| published.head = Seq(42));
    assert_eq!(asked.await.unwrap().body["head"], 42);
    let got = ask(&front, "GET", "/status?min_seq=43", "").await;
    assert_eq!((got.status.as_u16(), got.code()), (503, "not_yet_there"));
}

#[tokio::test(start_paused = true)]
async fn health_and_readiness_follow_pve_and_the_disk() {
    let (front, played) = front();
    let got = ask(&front, "GET", "/health", "").await;
    assert_eq!(got.body["status"], "healthy");
    assert_eq!(got.body["timestamp"], "2026-11-24T03:06:19.000Z");
    let got = ask(&front, "GET", "/ready", "").await;
    assert_eq!((got.status.as_u16(), &got.body["ready"]), (200, &json!(true)));

    played.publish(|published| published.unwritable = Some("no space left".to_owned()));
    let got = ask(&front, "GET", "/health", "").await;
    assert_eq!((got.status.as_u16(), &got.body["status"]), (200, &json!("degraded")));
    assert_eq!(got.body["parts"]["log"]["reason"], "no space left");
    let got = ask(&front, "GET", "/ready", "").await;
    assert_eq!((got.status.as_u16(), &got.body["checks"]["log_writable"]), (503, &json!(false)));

    played.publish(|published| {
        let mut state = (*published.state).clone();
        state.service.pve_unreachable = Some((NOW, "connection refused".to_owned()));
        state.service.reconciled = false;
        published.state = Arc::new(state);
        published.unwritable = None;
    });
    let got = ask(&front, "GET", "/health", "").await;
    assert_eq!(got.body["parts"]["pve"]["reason"], "connection refused");
    let got = ask(&front, "GET", "/ready", "").await;
    assert_eq!(
        got.body["checks"],
        json!({ "running": true, "pve_reachable": false, "log_writable": true, "reconciled": false })
    );

    for (kind, status) in [(FaultKind::Unauthorized, "degraded"), (FaultKind::Busy, "healthy")] {
        played.publish(|published| {
            let mut state = (*published.state).clone();
            state.service.pve_unreachable = None;
            state.service.reconcile_fault = Some(Fault::new(kind, "no"));
            published.state = Arc::new(state);
        });
        let got = ask(&front, "GET", "/health", "").await;
        assert_eq!(
            (&got.body["status"], got.body["parts"]["pve"]["reachable"].as_bool()),
            (&json!(status), Some(true))
        );
        assert_eq!(got.body["parts"]["pve"]["reason"].as_str(), (status == "degraded").then_some("no"));
    }
}
