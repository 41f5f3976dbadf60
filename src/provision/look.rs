//! Looks at one container before anything is done to it: whether it is there, ours, and free of locks.
//!
//! Lists only nominate; what decides is the container's own configuration, and for its absence that nobody
//! in the cluster has its VMID.

use std::collections::BTreeSet;
use std::time::Duration;

use super::site::Site;
use super::task::{self, Pace};
use crate::domain::command::Hindrance;
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{Node, Vmid};
use crate::domain::marker::{Known, Ownership, Seen, judge};
use crate::domain::plan::Target;
use crate::pve::{CtConfig, CtStatus, Error, GuestKind, GuestRow};

/// How often one action looks at its container anew because it changed meanwhile.
pub(super) const LOOKS: u32 = 6;
/// Locks that PVE takes off within moments, or never.
const BRIEF_OR_FOR_EVER: [&str; 2] = ["create", "destroyed"];
/// Looks at such a lock before it is taken for one that stays, and the pause before each.
const LOCK_LOOKS: (u32, Duration) = (3, Duration::from_secs(1));

/// A container that is surely ours, as it is now.
#[derive(Clone, Debug)]
pub(super) struct Looked {
    /// Its configuration.
    pub(super) config: CtConfig,
    /// It runs.
    pub(super) running: bool,
    /// The lock that stands in its configuration.
    pub(super) lock: Option<String>,
}

/// Reads the container's configuration and status; what is not ours is a hindrance.
///
/// A task of ours that a lost answer or a restart left running at the container is waited for: what it does
/// must show, and a second one must not come between.
pub(super) async fn look(site: &Site, target: &Target) -> Result<Looked, Hindrance> {
    let (node, vmid) = (&target.node, target.vmid);
    let mut ended = BTreeSet::new();
    loop {
        let (config, status, tasks) = tokio::join!(
            site.pve.config(node, vmid),
            site.pve.status(node, vmid),
            site.pve.running_tasks(node, vmid)
        );
        let tasks = match tasks {
            Ok(tasks) => tasks,
            // Who may not see the list has nothing to wait for; PVE's own locks then keep the two apart.
            Err(error) if matches!(error.kind, FaultKind::Forbidden | FaultKind::Unsupported) => Vec::new(),
            Err(error) => return Err(Hindrance::Pve { fault: site.fault(error) }),
        };
        // The list may name a task for some seconds after its end.
        let Some(task) = tasks.into_iter().find(|task| !ended.contains(&task.upid)) else {
            return judged(site, target, config, status).await;
        };
        match task::follow(site, &task.upid, Pace::unknown(site)).await {
            // However it ended, the next look shows what came of it.
            Ok(_) => {}
            Err(fault) if fault.kind == FaultKind::NoSuchTask => {}
            // It may run still.
            Err(fault) => return Err(Hindrance::Pve { fault }),
        }
        ended.insert(task.upid);
    }
}

async fn judged(
    site: &Site,
    target: &Target,
    config: Result<CtConfig, Error>,
    status: Result<CtStatus, Error>,
) -> Result<Looked, Hindrance> {
    let (node, vmid) = (&target.node, target.vmid);
    let config = match config {
        Ok(config) => config,
        Err(error) => return Err(why_not(site, node, vmid, error).await),
    };
    must_be_ours(&target.known, &config)?;
    let status = match status {
        Ok(status) => status,
        Err(error) => return Err(why_not(site, node, vmid, error).await),
    };
    let lock = config.lock.clone().or(status.lock);
    Ok(Looked { config, running: status.running, lock })
}

/// What a configuration says of its container.
pub(crate) fn seen(config: &CtConfig) -> Seen {
    Seen {
        hostname: config.hostname.clone(),
        description: config.description.clone(),
        template: config.template,
    }
}

fn must_be_ours(known: &Known, config: &CtConfig) -> Result<(), Hindrance> {
    match judge(known, &seen(config)) {
        Ownership::Ours => Ok(()),
        Ownership::Foreign(reason) => Err(Hindrance::Foreign { reason }),
        Ownership::Doubtful(reason) => Err(Hindrance::Doubt { reason }),
    }
}

/// What a failed call about a container on `node` means for it.
///
/// "Does not exist" may be another node's to deny, and so may be a right: whether the container is gone is
/// told by its VMID alone.
pub(crate) async fn why_not(site: &Site, node: &Node, vmid: Vmid, error: Error) -> Hindrance {
    if !matches!(error.kind, FaultKind::Gone | FaultKind::Forbidden) {
        return Hindrance::Pve { fault: site.fault(error) };
    }
    match site.vmid_free(vmid).await {
        Ok(true) => Hindrance::Gone,
        Ok(false) if error.kind == FaultKind::Forbidden => Hindrance::Pve { fault: site.fault(error) },
        Ok(false) => who_has(site, node, vmid, error).await,
        Err(error) => Hindrance::Pve { fault: site.fault(error) },
    }
}

/// Who has a VMID that is taken, but not on `node`.
async fn who_has(site: &Site, node: &Node, vmid: Vmid, error: Error) -> Hindrance {
    let guests = match site.pve.guests().await {
        Ok(guests) => guests,
        Err(error) => return Hindrance::Pve { fault: site.fault(error) },
    };
    match guests.into_iter().find(|guest| guest.vmid == vmid) {
        Some(guest) if guest.kind == GuestKind::Qemu => {
            Hindrance::Foreign { reason: format!("VMID {vmid} is a virtual machine's now") }
        }
        Some(guest) if guest.node != *node => Hindrance::Moved { node: guest.node },
        // It came to be this moment, or went away.
        Some(_) => Hindrance::Pve { fault: site.fault(error) },
        None => {
            let text = format!("VMID {vmid} is taken by a guest that the token may not see");
            Hindrance::Pve { fault: Fault::new(FaultKind::Forbidden, text) }
        }
    }
}

/// The other node that a container is on which is not on the target's, if any is.
pub(super) async fn elsewhere(site: &Site, target: &Target) -> Result<Option<Node>, Hindrance> {
    let guests = site.pve.guests().await.map_err(|error| Hindrance::Pve { fault: site.fault(error) })?;
    let moved = |guest: &GuestRow| {
        guest.vmid == target.vmid && guest.kind != GuestKind::Qemu && guest.node != target.node
    };
    Ok(guests.into_iter().find(moved).map(|guest| guest.node))
}

/// What a lock on a container of ours means: somebody is at it, or nobody ever takes it off. `None` if it is
/// off already, so that the container may be looked at again.
pub(super) async fn what_holds(site: &Site, target: &Target, lock: &str) -> Option<Hindrance> {
    if !BRIEF_OR_FOR_EVER.contains(&lock) {
        return Some(Hindrance::Unusable { fault: locked(target.vmid, lock) });
    }
    for _ in 0..LOCK_LOOKS.0 {
        site.clock.sleep(LOCK_LOOKS.1).await;
        match site.pve.config(&target.node, target.vmid).await {
            Ok(config) if config.lock.as_deref() == Some(lock) => {}
            Ok(_) => return None,
            Err(error) => return Some(why_not(site, &target.node, target.vmid, error).await),
        }
    }
    let fault = locked(target.vmid, lock).with_hint(format!("pct unlock {}", target.vmid));
    Some(Hindrance::Stuck { fault })
}

/// A container's lock in the words in which PVE would refuse a call.
pub(crate) fn locked(vmid: Vmid, lock: &str) -> Fault {
    Fault::new(FaultKind::Locked, format!("CT is locked ({lock}) (CT {vmid})"))
}

/// What is left to say when a container changes each time that it is looked at.
pub(super) fn never_still(vmid: Vmid) -> Hindrance {
    let text = format!("CT {vmid} is changed by somebody else again and again");
    Hindrance::Pve { fault: Fault::new(FaultKind::ConfigChanged, text) }
}
