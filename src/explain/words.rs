//! An event as a sentence, for a reader who knows no types.

use std::time::Duration;

use crate::domain::event::{CancelReason, ClonePurpose, Event, LeaveReason};
use crate::domain::fault::Fault;

/// What happened; `None` for what is no part of a container's or an instance's story.
pub(super) fn words(event: &Event) -> Option<String> {
    service(event).or_else(|| clone(event)).or_else(|| allocation(event)).or_else(|| container(event))
}

fn service(event: &Event) -> Option<String> {
    Some(match event {
        Event::ServiceStarted(it) => format!("The service starts, version {}.", it.version),
        Event::ServiceStopping(_) => "The service is told to stop.".to_owned(),
        Event::ServiceStopped(_) => "The service has stopped.".to_owned(),
        Event::PveUnreachable(it) => format!("PVE does not answer: {}.", it.reason),
        Event::PveReachable(_) => "PVE answers again.".to_owned(),
        Event::TemplateBackedOff(it) => {
            let (template, until) = (it.template, it.until);
            format!(
                "Clones of template {template} fail: {}. One is tried again at {until}.",
                fault(&it.fault)
            )
        }
        Event::TemplateConfigured(it) => format!("The sizes of template {} are set.", it.template),
        Event::TemplateDrained(it) => format!("Template {} is drained: it serves nobody.", it.template),
        _ => return None,
    })
}

fn clone(event: &Event) -> Option<String> {
    Some(match event {
        Event::CloneQueued(it) => {
            let why = match it.purpose {
                ClonePurpose::Waiter => "somebody waits for it",
                ClonePurpose::Urgent => "there are fewer than the minimum",
                ClonePurpose::Refill => "there are fewer than the target",
                ClonePurpose::Warm => "a larger or newer stock was asked for",
                ClonePurpose::Probe => "to see whether clones work again",
            };
            format!("A clone of template {} is queued: {why}.", it.template)
        }
        Event::CloneStarted(it) => {
            let kind = if it.linked { "linked" } else { "full" };
            let again = if it.attempt > 1 { format!(", try {}", it.attempt) } else { String::new() };
            format!("PVE is asked for a {kind} clone: container {} on {}{again}.", it.vmid, it.node)
        }
        Event::CloneSubmitted(it) => format!("PVE clones container {} by the task {}", it.vmid, it.upid),
        Event::CloneUncertain(it) => {
            format!("Whether PVE clones container {} is not known: {}.", it.vmid, fault(&it.fault))
        }
        Event::CloneRetryScheduled(it) => {
            format!(
                "PVE refuses the clone for now: {}. It is tried again at {}.",
                fault(&it.fault),
                it.retry_at
            )
        }
        Event::CloneSucceeded(it) => {
            let warned = if it.warnings { ", with warnings" } else { "" };
            format!("Container {} is made: the clone took {}{warned}.", it.vmid, span_ms(it.duration_ms))
        }
        Event::CloneFailed(it) => format!("The clone is given up: {}.", fault(&it.fault)),
        Event::CloneCancelled(_) => "The clone is not needed any more.".to_owned(),
        _ => return None,
    })
}

fn allocation(event: &Event) -> Option<String> {
    Some(match event {
        Event::AllocationQueued(it) => {
            format!("{} asks for a container of template {}; none is ready.", it.instance_id, it.template)
        }
        Event::Allocated(it) => format!("Container {} is {}'s.", it.vmid, it.instance_id),
        Event::AllocationRequeued(it) => {
            let (vmid, attempt) = (it.vmid, it.attempt);
            let why = fault(&it.fault);
            format!("Container {vmid} is not usable: {why}. First in line again, for the {attempt}. time.")
        }
        Event::AllocationResumed(it) => {
            format!("The same instance is asked for again; container {} is looked at.", it.vmid)
        }
        Event::AllocationCompleted(it) => {
            let until = it.expires_at.map(|at| format!("; it is released by itself at {at}"));
            format!("Answered: container {} on {}{}.", it.vmid, it.node, until.unwrap_or_default())
        }
        Event::AllocationCancelled(it) => format!("The allocation is cancelled: {}.", cancelled(it.reason)),
        Event::AllocationFailed(it) => format!("Answered with an error: {}.", it.reason),
        _ => return None,
    })
}

fn container(event: &Event) -> Option<String> {
    Some(match event {
        Event::ContainerRenamed(it) => format!("Container {} has the hostname {}.", it.vmid, it.hostname),
        Event::ContainerStarted(it) => match it.duration_ms {
            Some(took) => format!("Container {} runs: the start took {}.", it.vmid, span_ms(took)),
            None => format!("Container {} runs already.", it.vmid),
        },
        Event::ContainerStartFailed(it) => {
            format!("Container {} does not start: {}.", it.vmid, fault(&it.fault))
        }
        Event::ContainerDiscovered(it) => {
            let whose = match &it.instance_id {
                Some(instance_id) => format!("{instance_id} holds it"),
                None => "nobody holds it".to_owned(),
            };
            format!("Container {} is found at PVE, on {} as {}; {whose}.", it.vmid, it.node, it.hostname)
        }
        Event::ContainerMoved(it) => format!("Container {} is on {} now.", it.vmid, it.node),
        Event::ContainerLost(it) => {
            format!("Container {} is gone from PVE, not by the pool: {}.", it.vmid, it.reason)
        }
        Event::ContainerQuarantined(it) => {
            format!("Container {} needs a person: {}.", it.vmid, fault(&it.fault))
        }
        Event::OwnershipDoubted(it) => format!("Container {} is left alone: {}.", it.vmid, it.reason),
        Event::OwnershipConfirmed(it) => format!("Container {} is surely the pool's again.", it.vmid),
        Event::ActionDelayed(it) => {
            let vmid = it.vmid;
            format!("Container {vmid} has to wait: {}. Tried again at {}.", fault(&it.fault), it.retry_at)
        }
        Event::ReleaseRequested(it) => format!("Container {} is to be given back: {}.", it.vmid, left(it.by)),
        Event::Released(it) => {
            let next = if it.reused { "ready again" } else { "destroyed next" };
            format!("Container {} is stopped and nobody's; it is {next}.", it.vmid)
        }
        Event::ReleaseFailed(it) => {
            let next = it.retry_at.map(|at| format!("It is tried again at {at}."));
            let next = next.unwrap_or_else(|| "Its holder keeps it.".to_owned());
            format!("Container {} cannot be given back: {}. {next}", it.vmid, fault(&it.fault))
        }
        Event::RemovalRequested(it) => format!("Container {} is to be destroyed: {}.", it.vmid, left(it.by)),
        Event::Removed(it) => format!("Container {} is gone from PVE.", it.vmid),
        Event::RemovalFailed(it) => {
            let vmid = it.vmid;
            format!(
                "Container {vmid} is not destroyed: {}. Tried again at {}.",
                fault(&it.fault),
                it.retry_at
            )
        }
        _ => return None,
    })
}

/// Why a container leaves.
pub(super) fn left(by: LeaveReason) -> &'static str {
    match by {
        LeaveReason::Request => "a request asked for it",
        LeaveReason::AllocationEnded => "its allocation ended before it was answered",
        LeaveReason::Expired => "its time to live was over",
        LeaveReason::Unusable => "it was not usable",
        LeaveReason::CloneFailed => "its clone failed and left it behind",
        LeaveReason::Surplus => "there were more than there may be",
        LeaveReason::Refreshed => "a clone of today's template takes its place",
        LeaveReason::Drained => "its template is drained",
        LeaveReason::Recycled => "it was given back and is not used twice",
        LeaveReason::Freed => "a person freed it from quarantine",
    }
}

/// Why an allocation was cancelled.
pub(super) fn cancelled(reason: CancelReason) -> &'static str {
    match reason {
        CancelReason::CallerGone => "its last caller went away",
        CancelReason::Restarted => "the service restarted and nobody asked again",
        CancelReason::Stopping => "the service was stopping",
        CancelReason::Released => "its container was released meanwhile",
        CancelReason::Removed => "its container was removed meanwhile",
    }
}

/// A fault without its full stop.
pub(super) fn fault(fault: &Fault) -> String {
    fault.to_string().trim_end_matches('.').to_owned()
}

/// A span as a person says it.
pub(super) fn span(span: Duration) -> String {
    span_ms(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

/// [`span`] of milliseconds.
pub(super) fn span_ms(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0 => format!("{ms} ms"),
        1..60 => format!("{seconds}.{} s", ms % 1000 / 100),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// Names in a row: `a, b and 3 others`.
pub(super) fn names<T: ToString>(names: &[T]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<_> = names.iter().take(SHOWN).map(ToString::to_string).collect();
    match (shown.split_last(), names.len().saturating_sub(SHOWN)) {
        (None, _) => "nobody".to_owned(),
        (Some((last, [])), 0) => last.clone(),
        (Some((last, before)), 0) => format!("{} and {last}", before.join(", ")),
        (Some(_), 1) => format!("{} and 1 other", shown.join(", ")),
        (Some(_), others) => format!("{} and {others} others", shown.join(", ")),
    }
}
