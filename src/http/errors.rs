//! Problem documents (RFC 9457): everything that goes wrong becomes an answer here and nowhere else.
//!
//! `detail` is a sentence with PVE's own words where PVE is at fault; `code` is stable; `next_step` says what to do.

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;
use warp::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use warp::http::{HeaderValue, StatusCode};
use warp::reply::Response;

use super::codes::Code;
use crate::desk::{Refusal, WayOut};
use crate::domain::command::Rejection;
use crate::domain::event::{CancelReason, FailureCode};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::Seq;
use crate::domain::time::Timestamp;
use crate::engine::Refused;

/// When a wait is of no known length: long enough for a clone or two, short for a caller.
const RETRY_SOON: Duration = Duration::from_secs(5);
/// When a person or PVE must do something first.
const RETRY_LATER: Duration = Duration::from_secs(30);

/// Something that went wrong, on its way to be an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What kind of a problem it is.
    pub code: Code,
    /// What is the matter, as a sentence.
    pub detail: String,
    /// Which fields or parameters are wrong.
    pub errors: Vec<FieldError>,
    /// Seconds after which it is worth another try.
    pub retry_after: Option<u64>,
    /// The command that a person can run at PVE to mend it.
    pub hint: Option<String>,
    /// Which events there are.
    pub events: Option<EventRange>,
}

/// Which events there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventRange {
    /// The oldest.
    pub oldest: Seq,
    /// The newest.
    pub head: Seq,
}

/// A problem document.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProblemDocument {
    /// Always `about:blank`: `code` tells problems apart.
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    pub kind: &'static str,
    /// A short phrase for people.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What is the matter, as a sentence; with PVE's own words where PVE is at fault.
    pub detail: String,
    /// What kind of a problem it is; never changes.
    pub code: Code,
    /// What to do, as a sentence.
    pub next_step: &'static str,
    /// Which fields or parameters are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub errors: Vec<FieldError>,
    /// Seconds after which it is worth another try; also the `Retry-After` header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// The command that a person can run at PVE to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The oldest event that is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest: Option<u64>,
    /// The newest event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<u64>,
}

/// A field or parameter that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Its name; parts are joined by dots.
    pub field: String,
    /// What was expected.
    pub expected: String,
}

impl Problem {
    /// A problem of that kind.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let detail = sentence(&detail.into());
        Self { code, detail, errors: Vec::new(), retry_after: None, hint: None, events: None }
    }

    /// Wrong fields or parameters.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let texts: Vec<_> = errors.iter().map(|it| format!("{}: {}", it.field, it.expected)).collect();
        Self { errors, detail: texts.join("; "), ..Self::new(Code::InvalidRequest, "") }
    }

    /// One wrong field or parameter.
    pub fn field(field: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError { field: field.into(), expected: expected.into() }])
    }

    /// The same with a time after which it is worth another try.
    #[must_use]
    pub fn retry_after(mut self, span: Duration) -> Self {
        // Rounded up: a caller that comes a little early is refused again.
        self.retry_after = Some(span.as_millis().div_ceil(1000).max(1).try_into().unwrap_or(u64::MAX));
        self
    }

    fn retry_at(self, at: Option<Timestamp>, now: Timestamp) -> Self {
        match at {
            Some(at) => self.retry_after(at.since(now)),
            None => self,
        }
    }

    fn hint(mut self, fault: &Fault) -> Self {
        self.hint.clone_from(&fault.hint);
        self
    }

    /// What the desk refused.
    pub fn of(refusal: &Refusal, now: Timestamp) -> Self {
        match refusal {
            Refusal::Engine(refused) => of_refused(refused, now),
            Refusal::TemplateUnreadable { fault, .. } => {
                let problem = Self::new(of_fault(fault.kind), refusal.to_string()).hint(fault);
                match problem.code {
                    Code::PveUnreachable | Code::PveTimeout => problem.retry_after(RETRY_SOON),
                    _ => problem,
                }
            }
            Refusal::AllocationFailed { code, reason, retry_at } => of_failure(*code, reason, *retry_at, now),
            Refusal::AllocationCancelled { reason } => {
                let code = match reason {
                    CancelReason::Released => Code::Released,
                    CancelReason::Removed => Code::Removed,
                    CancelReason::Stopping => Code::Stopping,
                    CancelReason::CallerGone | CancelReason::Restarted => Code::Cancelled,
                };
                let problem = Self::new(code, refusal.to_string());
                if code.status() == StatusCode::SERVICE_UNAVAILABLE {
                    problem.retry_after(RETRY_SOON)
                } else {
                    problem
                }
            }
            Refusal::LeavingFailed { way, fault, retry_at, .. } => {
                let code = match way {
                    WayOut::Release => Code::ReleaseFailed,
                    WayOut::Removal => Code::RemovalFailed,
                };
                Self::new(code, refusal.to_string()).hint(fault).retry_at(*retry_at, now)
            }
            Refusal::LeavingDoubted { .. } => Self::new(Code::OwnershipDoubted, refusal.to_string()),
            Refusal::StillLeaving { way, .. } => {
                let code = match way {
                    WayOut::Release => Code::StillReleasing,
                    WayOut::Removal => Code::StillRemoving,
                };
                Self::new(code, refusal.to_string())
            }
            Refusal::Misunderstood { .. } => {
                tracing::error!(%refusal, "the engine and the desk do not agree");
                Self::new(Code::Internal, refusal.to_string())
            }
        }
    }

    /// The document that tells it.
    pub(super) fn document(self) -> ProblemDocument {
        let Self { code, detail, errors, retry_after, hint, events } = self;
        ProblemDocument {
            kind: "about:blank",
            title: code.title(),
            status: code.status().as_u16(),
            detail,
            code,
            next_step: code.next_step(),
            errors,
            retry_after,
            hint,
            oldest: events.map(|events| events.oldest.0),
            head: events.map(|events| events.head.0),
        }
    }

    /// The answer.
    pub fn into_response(self) -> Response {
        let (code, retry_after) = (self.code, self.retry_after);
        let body = serde_json::to_vec(&self.document());
        let mut response = Response::new(body.unwrap_or_default().into());
        *response.status_mut() = code.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if code == Code::Unauthorized {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"sandbox-pool\""));
        }
        response.extensions_mut().insert(code);
        response
    }
}

fn of_refused(refused: &Refused, now: Timestamp) -> Problem {
    match refused {
        Refused::Rejected(rejection) => of_rejection(rejection, now),
        Refused::LogUnwritable(_) => {
            Problem::new(Code::LogUnwritable, refused.to_string()).retry_after(RETRY_LATER)
        }
        Refused::Overloaded => {
            Problem::new(Code::Overloaded, refused.to_string()).retry_after(Duration::from_secs(1))
        }
        Refused::Stopped => Problem::new(Code::Stopping, refused.to_string()).retry_after(RETRY_SOON),
    }
}

fn of_rejection(rejection: &Rejection, now: Timestamp) -> Problem {
    let problem = |code| Problem::new(code, rejection.to_string());
    match rejection {
        Rejection::TemplateUnread { .. } => problem(Code::Internal),
        Rejection::TemplateUnknown { .. } => problem(Code::TemplateNotFound),
        Rejection::TemplateDrained { .. } => problem(Code::TemplateDrained),
        Rejection::TemplateBackedOff { fault, until, .. } => {
            problem(Code::TemplateBackedOff).hint(fault).retry_at(Some(*until), now)
        }
        Rejection::InstanceOfOtherTemplate { .. } => problem(Code::InstanceOfOtherTemplate),
        Rejection::InstanceLeaving { .. } => problem(Code::InstanceLeaving).retry_after(RETRY_SOON),
        Rejection::TooManyWaiting { .. } => problem(Code::TooManyWaiting).retry_after(RETRY_SOON),
        Rejection::MaxTotal { .. } => problem(Code::MaxTotal).retry_after(RETRY_LATER),
        Rejection::ContainerUnknown { .. } => problem(Code::ContainerNotFound),
        Rejection::HeldByAnother { .. } => problem(Code::HeldByAnother),
        Rejection::WrongState { .. } => problem(Code::WrongState),
        Rejection::OwnershipDoubted { .. } => problem(Code::OwnershipDoubted),
        Rejection::SizesContradict { .. } => problem(Code::SizesContradict),
        Rejection::WebhookUnknown { .. } => problem(Code::WebhookNotFound),
        Rejection::WebhookNotParked { .. } => problem(Code::NotParked),
        Rejection::TooManyReplays { .. } => problem(Code::TooManyReplays),
        Rejection::Stopping => problem(Code::Stopping).retry_after(RETRY_SOON),
    }
}

fn of_failure(code: FailureCode, reason: &str, retry_at: Option<Timestamp>, now: Timestamp) -> Problem {
    let problem = |code| Problem::new(code, reason);
    match code {
        FailureCode::AllocateTimeout => problem(Code::AllocateTimeout).retry_after(RETRY_SOON),
        FailureCode::PveTimeout => problem(Code::PveTimeout),
        FailureCode::PveRefused => problem(Code::PveRefused),
        FailureCode::TemplateBackedOff => {
            problem(Code::TemplateBackedOff).retry_after(retry_at.map_or(RETRY_LATER, |at| at.since(now)))
        }
        FailureCode::TemplateDrained => problem(Code::TemplateDrained),
        FailureCode::ContainersUnusable => problem(Code::ContainersUnusable),
        FailureCode::MaxTotal => problem(Code::MaxTotal).retry_after(RETRY_LATER),
        FailureCode::OwnershipDoubted => problem(Code::OwnershipDoubted),
    }
}

/// What a template that cannot be read means for who asked for it.
fn of_fault(kind: FaultKind) -> Code {
    match kind {
        FaultKind::Gone => Code::TemplateNotFound,
        FaultKind::NotATemplate => Code::NotATemplate,
        FaultKind::NotSent | FaultKind::NodeUnreachable => Code::PveUnreachable,
        FaultKind::OutcomeUnknown => Code::PveTimeout,
        _ => Code::PveRefused,
    }
}

/// Errors are lowercase fragments; `detail` is read by people.
fn sentence(fragment: &str) -> String {
    let mut rest = fragment.chars();
    rest.next().map_or_else(String::new, |first| first.to_uppercase().chain(rest).collect())
}
