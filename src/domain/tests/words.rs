//! Events in few words: the type and what a rule is about, so that an expectation fits on a line.

use crate::domain::event::Event;
use crate::domain::ids::{AllocationId, InstanceId};
use crate::domain::state::State;

/// The events in words, `; ` between them, with `×n` for neighbours that read the same.
pub(super) fn tell(state: &State, events: &[Event]) -> String {
    let mut told: Vec<(String, usize)> = Vec::new();
    for line in events.iter().map(|event| words(state, event)) {
        match told.last_mut() {
            Some((last, times)) if *last == line => *times += 1,
            _ => told.push((line, 1)),
        }
    }
    let lines = told.into_iter().map(|(line, times)| match times {
        1 => line,
        n => format!("{line} ×{n}"),
    });
    lines.collect::<Vec<_>>().join("; ")
}

/// One event in words.
fn words(state: &State, event: &Event) -> String {
    let details = match event {
        Event::TemplateWarmed(e) => format!("{} to {}", e.template, e.goal),
        Event::TemplateBackedOff(e) => {
            let pause = e.until.since(state.at).as_secs();
            format!("{} {} for {pause}s", e.template, e.fault.kind.code())
        }
        Event::CloneQueued(e) => format!("{} {}", e.template, code(&e.purpose)),
        Event::CloneUncertain(e) => format!("{} {}", e.vmid, e.fault.kind.code()),
        Event::CloneRetryScheduled(e) => {
            format!("{} {} try={}", e.template, e.fault.kind.code(), e.attempt)
        }
        Event::CloneFailed(e) => format!("{} {}", e.template, e.fault.kind.code()),
        Event::AllocationQueued(e) => e.instance_id.to_string(),
        Event::Allocated(e) => format!("{} {}", e.vmid, e.instance_id),
        Event::AllocationRequeued(e) => {
            format!("{} off {} try={}", named(state, e.allocation_id), e.vmid, e.attempt)
        }
        Event::AllocationCompleted(e) => format!("{} {}", e.vmid, e.instance_id),
        Event::AllocationCancelled(e) => format!("{} {}", e.instance_id, code(&e.reason)),
        Event::AllocationFailed(e) => format!("{} {}", e.instance_id, code(&e.code)),
        Event::ContainerRenamed(e) => format!("{} {}", e.vmid, short(e.hostname.as_str())),
        Event::ContainerStartFailed(e) => format!("{} {}", e.vmid, e.fault.kind.code()),
        Event::ContainerDiscovered(e) => format!("{}{}", e.vmid, held(e.instance_id.as_ref())),
        Event::ContainerMoved(e) => format!("{} {}", e.vmid, e.node),
        Event::ContainerLost(e) => format!("{}{}", e.vmid, held(e.instance_id.as_ref())),
        Event::ContainerQuarantined(e) => format!("{} {}", e.vmid, e.fault.kind.code()),
        Event::ActionDelayed(e) => format!("{} {} try={}", e.vmid, e.fault.kind.code(), e.attempt),
        Event::ReleaseRequested(e) => format!("{} {}", e.vmid, code(&e.by)),
        Event::Released(e) => format!("{} {}", e.vmid, if e.reused { "reused" } else { "spent" }),
        Event::ReleaseFailed(e) => {
            format!("{} {} {}", e.vmid, e.fault.kind.code(), e.retry_at.map_or("kept", |_| "again"))
        }
        Event::RemovalRequested(e) => format!("{} {}", e.vmid, code(&e.by)),
        Event::RemovalFailed(e) => format!("{} {} try={}", e.vmid, e.fault.kind.code(), e.attempt),
        other => match (other.vmid(), other.template()) {
            (Some(vmid), _) => vmid.to_string(),
            (None, Some(template)) => template.to_string(),
            (None, None) => String::new(),
        },
    };
    format!("{} {details}", event.type_name()).trim_end().to_owned()
}

fn code(word: &impl serde::Serialize) -> String {
    serde_json::to_value(word).unwrap().as_str().unwrap().to_owned()
}

fn held(instance_id: Option<&InstanceId>) -> String {
    instance_id.map(|instance_id| format!(" {instance_id}")).unwrap_or_default()
}

/// A pool hostname ends in chance: its beginning tells enough.
fn short(hostname: &str) -> &str {
    if hostname.starts_with("pool-") { "pool" } else { hostname }
}

fn named(state: &State, allocation_id: AllocationId) -> String {
    let waiting = state.waiting.get(&allocation_id).map(|waiting| waiting.instance_id.to_string());
    let held = || {
        let holds = state.containers.values().filter_map(|container| container.holding());
        holds.filter(|h| h.allocation_id == allocation_id).map(|h| h.instance_id.to_string()).next()
    };
    waiting.or_else(held).unwrap_or_else(|| "somebody".to_owned())
}
