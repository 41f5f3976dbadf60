//! A container of State, held against what PVE has of it.

use super::inventory::{Inventory, Listed};
use crate::domain::command::{Finding, Hindrance};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::marker::{Ownership, judge, replaced};
use crate::domain::state::{Container, Phase};
use crate::provision::look::{locked, seen, why_not};
use crate::provision::site::Site;
use crate::pve::{CtConfig, CtRow, Error};

/// What differs, if anything does and it can be told.
pub(super) async fn look(site: &Site, container: &Container, inventory: &Inventory) -> Option<Finding> {
    // What is being made is followed by its own action.
    if container.creating().is_some() {
        return None;
    }
    match inventory.containers.get(&container.vmid) {
        Some(listed) if is_as_expected(container, listed) && !is_in_use(container, &listed.row) => None,
        Some(listed) => match site.pve.config(&listed.node, container.vmid).await {
            Ok(config) => judged(site, container, listed, &config).await,
            Err(error) => absent(site, container, error).await,
        },
        None if inventory.asked.contains(&container.node) => {
            match site.pve.config(&container.node, container.vmid).await {
                // It came, or came back, behind the list.
                Ok(_) => None,
                Err(error) => absent(site, container, error).await,
            }
        }
        None => None,
    }
}

/// Whether the list alone shows the container as State knows it.
fn is_as_expected(container: &Container, listed: &Listed) -> bool {
    let name = listed.row.name.as_deref();
    let named = name == Some(container.hostname.as_str())
        || container.instance_id().is_some_and(|instance_id| name == Some(instance_id.as_str()));
    let undisputed = container.doubt.is_none() && !matches!(container.phase, Phase::Quarantined { .. });
    named && undisputed && !listed.row.template && listed.node == container.node
}

/// Whether the list shows somebody at a container that nobody was given.
fn is_in_use(container: &Container, row: &CtRow) -> bool {
    container.may_be_handed_out() && (row.running || row.lock.is_some())
}

/// What the container's own configuration says.
async fn judged(site: &Site, container: &Container, listed: &Listed, config: &CtConfig) -> Option<Finding> {
    let vmid = container.vmid;
    match judge(&container.known(), &seen(config)) {
        Ownership::Foreign(reason) => Some(Finding::Lost { vmid, reason: replaced(&reason) }),
        Ownership::Doubtful(reason) => {
            container.doubt.is_none().then_some(Finding::Doubtful { vmid, reason })
        }
        Ownership::Ours if listed.node != container.node => {
            Some(Finding::Moved { vmid, node: listed.node.clone() })
        }
        Ownership::Ours if container.doubt.is_some() => Some(Finding::Confirmed { vmid }),
        Ownership::Ours => match &container.phase {
            Phase::Quarantined { .. } => config.lock.is_none().then_some(Finding::Freed { vmid }),
            Phase::Ready { .. } if config.hostname.as_deref() != Some(container.hostname.as_str()) => {
                Some(Finding::Unready { vmid, fault: misnamed(container, config) })
            }
            Phase::Ready { .. } => unready(site, container, config).await,
            Phase::Creating(_) | Phase::Allocated(_) | Phase::Releasing(_) | Phase::Removing(_) => None,
        },
    }
}

/// A rename that was given up was carried out after all, when the name was somebody else's already.
fn misnamed(container: &Container, config: &CtConfig) -> Fault {
    let name = config.hostname.as_deref().unwrap_or_default();
    let text = format!("CT {} has the hostname `{name}`, not `{}`", container.vmid, container.hostname);
    Fault::new(FaultKind::ConfigChanged, text)
}

/// A ready container that cannot be handed out as it is, if that is still so.
async fn unready(site: &Site, container: &Container, config: &CtConfig) -> Option<Finding> {
    let vmid = container.vmid;
    let status = site.pve.status(&container.node, vmid).await.ok()?;
    if status.running {
        let text = format!("CT {vmid} runs although nobody was given it");
        return Some(Finding::Unready { vmid, fault: Fault::new(FaultKind::AlreadyRunning, text) });
    }
    config.lock.as_ref().map(|lock| Finding::Unready { vmid, fault: locked(vmid, lock) })
}

/// What a container that cannot be read is: gone only if nobody has its VMID.
async fn absent(site: &Site, container: &Container, error: Error) -> Option<Finding> {
    let vmid = container.vmid;
    match why_not(site, &container.node, vmid, error).await {
        Hindrance::Gone => Some(Finding::Lost { vmid, reason: format!("CT {vmid} is gone from PVE") }),
        Hindrance::Foreign { reason } => Some(Finding::Lost { vmid, reason: replaced(&reason) }),
        Hindrance::Pve { fault } if fault.kind == FaultKind::Forbidden => {
            tracing::warn!(%vmid, %fault, "a container of the pool cannot be read");
            let reason = format!("CT {vmid} cannot be read: {fault}");
            container.may_be_handed_out().then_some(Finding::Doubtful { vmid, reason })
        }
        hindrance => {
            tracing::debug!(%vmid, ?hindrance, "a container of the pool cannot be read now");
            None
        }
    }
}
