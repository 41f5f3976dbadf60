//! Every way in which the desk refuses, and the problem that it becomes.

use super::*;
use crate::desk::{Refusal, WayOut};
use crate::domain::command::Rejection;
use crate::domain::event::{CancelReason, FailureCode};
use crate::domain::ids::{InstanceId, Vmid};
use crate::domain::settings::Sizes;
use crate::engine::Refused;
use crate::http::errors::Problem;

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
