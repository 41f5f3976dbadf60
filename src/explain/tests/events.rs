//! Events of template 9009 in few words.

use std::collections::BTreeMap;

use ulid::Ulid;

use super::EPOCH;
use crate::domain::event::{
    Allocated, AllocationCompleted, AllocationQueued, AllocationRequeued, ClonePurpose, CloneQueued,
    CloneRetryScheduled, CloneStarted, CloneSubmitted, CloneSucceeded, ContainerRenamed,
    ContainerStartFailed, ContainerStarted, LeaveReason, ReleaseRequested, Released, RemovalRequested,
    Removed,
};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{AllocationId, CloneId, Hostname, InstanceId, Node, Upid, Vmid};
use crate::domain::time::Timestamp;

pub(super) const TEMPLATE: Vmid = Vmid(9009);

pub(super) fn allocation(number: u128) -> AllocationId {
    AllocationId(Ulid(number))
}

fn clone(number: u128) -> CloneId {
    CloneId(Ulid(number))
}

fn deadline() -> Timestamp {
    Timestamp(EPOCH.0 + 110_000)
}

pub(super) fn locked() -> Fault {
    Fault::new(FaultKind::Locked, "CT is locked (disk)")
}

pub(super) fn clone_queued(number: u128, purpose: ClonePurpose) -> CloneQueued {
    CloneQueued { clone_id: clone(number), template: TEMPLATE, purpose }
}

pub(super) fn clone_started(number: u128, vmid: u32, attempt: u32) -> CloneStarted {
    let hostname = Hostname(format!("pool-9009-{number:08x}"));
    let (clone_id, node) = (clone(number), Node::from("pve1"));
    CloneStarted { clone_id, template: TEMPLATE, vmid: Vmid(vmid), node, hostname, linked: true, attempt }
}

pub(super) fn clone_submitted(number: u128, vmid: u32) -> CloneSubmitted {
    let upid = Upid::from("UPID:pve1:1");
    CloneSubmitted { clone_id: clone(number), template: TEMPLATE, vmid: Vmid(vmid), upid }
}

pub(super) fn clone_refused(number: u128, vmid: u32, attempt: u32) -> CloneRetryScheduled {
    CloneRetryScheduled {
        clone_id: clone(number),
        template: TEMPLATE,
        vmid: Some(Vmid(vmid)),
        attempt,
        fault: locked(),
        retry_at: Timestamp(EPOCH.0 + 6000),
    }
}

pub(super) fn cloned(number: u128, vmid: u32, duration_ms: u64) -> CloneSucceeded {
    let (clone_id, vmid) = (clone(number), Vmid(vmid));
    CloneSucceeded { clone_id, template: TEMPLATE, vmid, duration_ms, warnings: false }
}

pub(super) fn queued(number: u128, instance: &str) -> AllocationQueued {
    AllocationQueued {
        allocation_id: allocation(number),
        instance_id: InstanceId::from(instance),
        template: TEMPLATE,
        start: true,
        ttl_seconds: None,
        metadata: BTreeMap::new(),
        deadline: deadline(),
    }
}

pub(super) fn allocated(number: u128, instance: &str, vmid: u32, from_pool: bool) -> Allocated {
    Allocated {
        allocation_id: allocation(number),
        instance_id: InstanceId::from(instance),
        template: TEMPLATE,
        vmid: Vmid(vmid),
        from_pool,
        start: true,
        ttl_seconds: None,
        metadata: BTreeMap::new(),
        deadline: deadline(),
    }
}

pub(super) fn requeued(number: u128, vmid: u32) -> AllocationRequeued {
    let allocation_id = allocation(number);
    AllocationRequeued {
        allocation_id,
        template: TEMPLATE,
        vmid: Vmid(vmid),
        attempt: 1,
        fault: start_fault(),
    }
}

fn start_fault() -> Fault {
    Fault::new(FaultKind::Other, "startup for container failed")
}

pub(super) fn renamed(number: u128, instance: &str, vmid: u32) -> ContainerRenamed {
    let (vmid, hostname) = (Vmid(vmid), Hostname::from(instance));
    ContainerRenamed { vmid, hostname, allocation_id: Some(allocation(number)) }
}

pub(super) fn started(number: u128, vmid: u32, duration_ms: u64) -> ContainerStarted {
    let allocation_id = allocation(number);
    ContainerStarted { vmid: Vmid(vmid), allocation_id, duration_ms: Some(duration_ms) }
}

pub(super) fn start_failed(number: u128, vmid: u32) -> ContainerStartFailed {
    ContainerStartFailed { vmid: Vmid(vmid), allocation_id: allocation(number), fault: start_fault() }
}

pub(super) fn completed(number: u128, instance: &str, vmid: u32, duration_ms: u64) -> AllocationCompleted {
    AllocationCompleted {
        allocation_id: allocation(number),
        instance_id: InstanceId::from(instance),
        template: TEMPLATE,
        vmid: Vmid(vmid),
        node: Node::from("pve1"),
        from_pool: true,
        expires_at: None,
        duration_ms,
    }
}

pub(super) fn to_release(vmid: u32, instance: &str, by: LeaveReason) -> ReleaseRequested {
    ReleaseRequested { vmid: Vmid(vmid), instance_id: Some(InstanceId::from(instance)), by }
}

pub(super) fn released(vmid: u32, instance: &str, reused: bool) -> Released {
    let hostname = Hostname::from("pool-9009-0000000a");
    let instance_id = Some(InstanceId::from(instance));
    Released { vmid: Vmid(vmid), template: TEMPLATE, instance_id, hostname, reused }
}

pub(super) fn to_remove(vmid: u32, by: LeaveReason) -> RemovalRequested {
    RemovalRequested { vmid: Vmid(vmid), by }
}

pub(super) fn removed(vmid: u32, instance: Option<&str>) -> Removed {
    Removed { vmid: Vmid(vmid), template: TEMPLATE, instance_id: instance.map(InstanceId::from) }
}
