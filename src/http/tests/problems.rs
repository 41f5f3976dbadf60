//! Every way in which the desk refuses, and the problem that it becomes.

use super::*;
use crate::desk::{Refusal, WayOut};
use crate::domain::command::Rejection;
use crate::domain::event::{CancelReason, FailureCode};
use crate::domain::ids::{EndpointName, InstanceId, Seq, Vmid};
use crate::domain::settings::Sizes;
use crate::domain::webhook::MAX_REPLAYS;
use crate::engine::Refused;
use crate::http::errors::Problem;
use crate::http::examples;

const TEMPLATE: Vmid = Vmid(9009);
const VMID: Vmid = Vmid(205);
/// 7.5 seconds from now: a caller is told 8.
const UNTIL: Timestamp = Timestamp(NOW.0 + 7_500);

fn check(refusal: &Refusal, status: u16, code: &str, retry_after: Option<u64>) {
    let problem = Problem::of(refusal, NOW);
    assert_eq!(
        (problem.code.status().as_u16(), problem.code.as_str(), problem.retry_after),
        (status, code, retry_after),
        "{refusal:?}"
    );
    assert_eq!(problem.detail.to_lowercase(), refusal.to_string().to_lowercase());
    let response = problem.into_response();
    let header = response.headers().get("retry-after").map(|it| it.to_str().unwrap().to_owned());
    assert_eq!(header, retry_after.map(|seconds| seconds.to_string()));
}

fn fault(kind: FaultKind) -> Fault {
    Fault::new(kind, "PVE's own words")
}

#[test]
fn rejections() {
    let instance_id = || InstanceId("pvelxc-1".to_owned());
    let backed_off =
        Rejection::TemplateBackedOff { template: TEMPLATE, fault: fault(FaultKind::NoSpace), until: UNTIL };
    let cases = [
        (Rejection::TemplateUnread { template: TEMPLATE }, 500, "internal", None),
        (Rejection::TemplateUnknown { template: TEMPLATE }, 404, "template_not_found", None),
        (Rejection::TemplateDrained { template: TEMPLATE }, 409, "template_drained", None),
        (backed_off, 503, "template_backed_off", Some(8)),
        (
            Rejection::InstanceOfOtherTemplate { instance_id: instance_id(), template: TEMPLATE },
            409,
            "instance_of_other_template",
            None,
        ),
        (
            Rejection::InstanceLeaving { instance_id: instance_id(), vmid: VMID, what: "released" },
            409,
            "instance_leaving",
            Some(5),
        ),
        (Rejection::TooManyWaiting { waiting: 100 }, 503, "too_many_waiting", Some(5)),
        (Rejection::MaxTotal { max_total: 50 }, 503, "max_total", Some(30)),
        (Rejection::ContainerUnknown { vmid: VMID }, 404, "container_not_found", None),
        (Rejection::HeldByAnother { vmid: VMID, asked: "x".to_owned() }, 409, "held_by_another", None),
        (Rejection::WrongState { vmid: VMID, state: "creating", what: "released" }, 409, "wrong_state", None),
        (
            Rejection::OwnershipDoubted { vmid: VMID, reason: "renamed".to_owned() },
            409,
            "ownership_doubted",
            None,
        ),
        (
            Rejection::SizesContradict { sizes: Sizes { min: 5, target: 2, max: 1 } },
            422,
            "sizes_contradict",
            None,
        ),
        (Rejection::Stopping, 503, "stopping", Some(5)),
    ];
    for (rejection, status, code, retry_after) in cases {
        check(&Refusal::Engine(Refused::Rejected(rejection)), status, code, retry_after);
    }
}

/// The example of a problem in the API document is what is answered.
#[track_caller]
fn exemplary(problem: Problem) {
    let document: Value = serde_json::to_value(problem.document()).unwrap();
    let code = document["code"].as_str().unwrap();
    let code = Code::ALL.iter().find(|known| known.as_str() == code).unwrap();
    assert_eq!(examples::problem(*code), document);
}

#[test]
fn the_examples_of_refusals_are_what_is_answered() {
    let instance_id = || InstanceId("pvelxc-1a2b3c4d".to_owned());
    let endpoint = || EndpointName("billing".to_owned());
    let in_a_minute = Timestamp(NOW.0 + 60_000);
    let locked = || Fault::new(FaultKind::Locked, "CT is locked (backup)");
    let rejections = [
        Rejection::SizesContradict { sizes: Sizes { min: 5, target: 2, max: 10 } },
        Rejection::TemplateUnknown { template: TEMPLATE },
        Rejection::TemplateDrained { template: TEMPLATE },
        Rejection::TemplateBackedOff {
            template: TEMPLATE,
            fault: Fault::new(FaultKind::NoSpace, "no space left on device"),
            until: in_a_minute,
        },
        Rejection::ContainerUnknown { vmid: VMID },
        Rejection::HeldByAnother { vmid: VMID, asked: instance_id().0 },
        Rejection::WrongState { vmid: VMID, state: "creating", what: "released" },
        Rejection::OwnershipDoubted {
            vmid: VMID,
            reason: "CT 205 has the hostname `mine`, not `pool-9009-1a2b3c4d`".to_owned(),
        },
        Rejection::InstanceOfOtherTemplate { instance_id: instance_id(), template: Vmid(9010) },
        Rejection::InstanceLeaving { instance_id: instance_id(), vmid: VMID, what: "released" },
        Rejection::TooManyWaiting { waiting: 100 },
        Rejection::MaxTotal { max_total: 50 },
        Rejection::WebhookUnknown { endpoint: endpoint() },
        Rejection::WebhookNotParked { endpoint: endpoint(), seq: Seq(4711) },
        Rejection::TooManyReplays { endpoint: endpoint(), replays: MAX_REPLAYS },
    ];
    let engine =
        [Refused::LogUnwritable("no space left on device".to_owned()), Refused::Overloaded, Refused::Stopped];
    let unreadable = |template, kind, words: &str| Refusal::TemplateUnreadable {
        template,
        fault: Fault::new(kind, words),
    };
    let failed =
        |code, reason: &str| Refusal::AllocationFailed { code, reason: reason.to_owned(), retry_at: None };
    let stuck = |way| Refusal::LeavingFailed {
        vmid: VMID,
        way,
        fault: locked().with_hint("pct unlock 205"),
        retry_at: Some(in_a_minute),
    };
    let no_template = Fault::new(FaultKind::NotATemplate, "CT 101 is not a template");
    let others = [
        Refusal::TemplateUnreadable { template: Vmid(101), fault: no_template.with_hint("pct template 101") },
        unreadable(TEMPLATE, FaultKind::Forbidden, "Permission check failed (/vms/9009, VM.Audit)"),
        unreadable(TEMPLATE, FaultKind::NotSent, "connection refused"),
        unreadable(TEMPLATE, FaultKind::OutcomeUnknown, "no answer within 30 s"),
        failed(FailureCode::AllocateTimeout, "no container became ready in time"),
        failed(FailureCode::ContainersUnusable, "container 205: CT is locked (backup)"),
        Refusal::AllocationCancelled { reason: CancelReason::Released },
        Refusal::AllocationCancelled { reason: CancelReason::Removed },
        Refusal::AllocationCancelled { reason: CancelReason::Restarted },
        stuck(WayOut::Release),
        stuck(WayOut::Removal),
        Refusal::StillLeaving { vmid: VMID, way: WayOut::Release },
        Refusal::StillLeaving { vmid: VMID, way: WayOut::Removal },
        Refusal::Misunderstood { what: "PveReachable" },
    ];
    let rejected = rejections.map(|rejection| Refusal::Engine(Refused::Rejected(rejection)));
    for refusal in rejected.into_iter().chain(engine.map(Refusal::Engine)).chain(others) {
        exemplary(Problem::of(&refusal, NOW));
    }
}

#[tokio::test]
async fn the_examples_of_wrong_requests_are_what_is_answered() {
    let (front, _played) = front();
    let large = format!("{{\"a\":\"{}\"}}", "b".repeat(64 * 1024));
    let text = [("content-type", "text/plain")];
    let page = [("origin", "https://elsewhere.example.com"), ("host", "127.0.0.1:8007")];
    for (method, target, headers, body) in [
        ("POST", "/allocate", &[][..], "{}"),
        ("GET", "/nothing", &[], ""),
        ("PATCH", "/status", &[], ""),
        ("POST", "/allocate", &[], &large),
        ("POST", "/allocate", &text, "{}"),
        ("POST", "/allocate", &page, "{}"),
        ("GET", "/events?types=Alocated", &[], ""),
        ("GET", "/templates/9009", &[], ""),
        ("GET", "/containers/205", &[], ""),
        ("GET", "/webhooks/billing", &[], ""),
    ] {
        let got = ask_with(&front, method, target, headers, body).await;
        let code = Code::ALL.iter().find(|known| known.as_str() == got.code()).unwrap();
        assert_eq!(examples::problem(*code), got.body, "{method} {target}");
    }
}

#[test]
fn every_problem_has_an_example_and_a_next_step() {
    for code in Code::ALL {
        assert!(examples::problem(*code)["detail"].is_string(), "{}", code.as_str());
        assert!(!code.next_step().is_empty(), "{}", code.as_str());
    }
}

#[test]
fn the_engines_own_refusals() {
    let unwritable = Refused::LogUnwritable("no space left on device".to_owned());
    check(&unwritable.into(), 503, "log_unwritable", Some(30));
    check(&Refused::Overloaded.into(), 503, "overloaded", Some(1));
    check(&Refused::Stopped.into(), 503, "stopping", Some(5));
    check(&Refusal::Misunderstood { what: "PveReachable" }, 500, "internal", None);
}

#[test]
fn templates_that_cannot_be_read() {
    let cases = [
        (FaultKind::Gone, 404, "template_not_found", None),
        (FaultKind::NotATemplate, 409, "not_a_template", None),
        (FaultKind::Unauthorized, 502, "pve_refused", None),
        (FaultKind::Forbidden, 502, "pve_refused", None),
        (FaultKind::NotSent, 503, "pve_unreachable", Some(5)),
        (FaultKind::NodeUnreachable, 503, "pve_unreachable", Some(5)),
        (FaultKind::OutcomeUnknown, 504, "pve_timeout", Some(5)),
        (FaultKind::Other, 502, "pve_refused", None),
        (FaultKind::ClusterDegraded, 502, "pve_refused", None),
    ];
    for (kind, status, code, retry_after) in cases {
        let refusal = Refusal::TemplateUnreadable { template: TEMPLATE, fault: fault(kind) };
        check(&refusal, status, code, retry_after);
    }
}

#[test]
fn ends_of_an_allocation() {
    let cases = [
        (FailureCode::AllocateTimeout, None, 503, "allocate_timeout", Some(5)),
        (FailureCode::PveTimeout, None, 504, "pve_timeout", None),
        (FailureCode::PveRefused, None, 502, "pve_refused", None),
        (FailureCode::TemplateBackedOff, Some(UNTIL), 503, "template_backed_off", Some(8)),
        (FailureCode::TemplateBackedOff, None, 503, "template_backed_off", Some(30)),
        (FailureCode::TemplateDrained, None, 409, "template_drained", None),
        (FailureCode::ContainersUnusable, None, 502, "containers_unusable", None),
        (FailureCode::MaxTotal, None, 503, "max_total", Some(30)),
        (FailureCode::OwnershipDoubted, None, 409, "ownership_doubted", None),
    ];
    for (code, retry_at, status, word, retry_after) in cases {
        let refusal = Refusal::AllocationFailed { code, reason: "why".to_owned(), retry_at };
        check(&refusal, status, word, retry_after);
    }
    let cases = [
        (CancelReason::Released, 409, "released", None),
        (CancelReason::Removed, 409, "removed", None),
        (CancelReason::Stopping, 503, "stopping", Some(5)),
        (CancelReason::Restarted, 503, "cancelled", Some(5)),
        (CancelReason::CallerGone, 503, "cancelled", Some(5)),
    ];
    for (reason, status, word, retry_after) in cases {
        check(&Refusal::AllocationCancelled { reason }, status, word, retry_after);
    }
}

#[test]
fn ends_of_a_leaving() {
    let failed = |way, retry_at| {
        let fault = fault(FaultKind::Locked).with_hint("pct unlock 205");
        Refusal::LeavingFailed { vmid: VMID, way, fault, retry_at }
    };
    check(&failed(WayOut::Release, None), 502, "release_failed", None);
    check(&failed(WayOut::Release, Some(UNTIL)), 502, "release_failed", Some(8));
    check(&failed(WayOut::Removal, Some(UNTIL)), 502, "removal_failed", Some(8));
    let hint = Problem::of(&failed(WayOut::Release, None), NOW).hint;
    assert_eq!(hint.as_deref(), Some("pct unlock 205"));
    let still = |way| Refusal::StillLeaving { vmid: VMID, way };
    check(&still(WayOut::Release), 504, "still_releasing", None);
    check(&still(WayOut::Removal), 504, "still_removing", None);
    let doubted = Refusal::LeavingDoubted { vmid: VMID, reason: "renamed".to_owned() };
    check(&doubted, 409, "ownership_doubted", None);
}
