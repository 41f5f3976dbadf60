//! A container at PVE that State does not know: the pool's own of before a lost log, or somebody else's.
//!
//! Only a marker that names the very container, or without any marker the exact pool hostname, makes it the
//! pool's. Everything else is foreign, and read no second time.

use std::collections::BTreeSet;

use super::inventory::{Inventory, Listed};
use crate::domain::command::Discovered;
use crate::domain::fault::Fault;
use crate::domain::ids::{CloneId, Hostname, InstanceId, Vmid, parse_pool_hostname};
use crate::domain::marker::Marker;
use crate::provision::look::locked;
use crate::provision::made::set_free;
use crate::provision::site::Site;
use crate::provision::template::{longest_ago, running_clone};
use crate::pve::{CtConfig, CtRow, Error};

/// Containers that were read and are not the pool's; no more than PVE has.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    foreign: BTreeSet<(Vmid, Option<String>)>,
    had_containers: Option<bool>,
}

impl Strangers {
    /// Forgets those that are no more, and says once if there is nothing to be seen.
    pub(super) fn seen(&mut self, inventory: &Inventory) {
        let is_there = |vmid: &Vmid, name: &Option<String>| {
            inventory.containers.get(vmid).is_some_and(|listed| listed.row.name == *name)
        };
        self.foreign.retain(|(vmid, name)| is_there(vmid, name));
        let has_containers = !inventory.containers.is_empty();
        if self.had_containers.replace(has_containers) != Some(has_containers) && !has_containers {
            tracing::warn!(
                "PVE shows no container at all, not even a template: if there are any, the token has no \
                 right to see them (compare GET /access/permissions)"
            );
        }
    }

    /// Whether the container was read before.
    pub(super) fn knows(&self, vmid: Vmid, row: &CtRow) -> bool {
        self.foreign.contains(&(vmid, row.name.clone()))
    }

    /// The container need not be read again.
    pub(super) fn remember(&mut self, vmid: Vmid, name: Option<String>) {
        self.foreign.insert((vmid, name));
    }
}

/// What a look at an unknown container shows.
#[derive(Debug, PartialEq)]
pub(super) enum Sighting {
    /// It is the pool's.
    Ours(Discovered),
    /// It is somebody else's.
    Foreign,
    /// Somebody is at it: it is nobody's yet that could be handed out.
    Later,
    /// It could not be read, so it may be anybody's.
    Unread(Fault),
}

/// Reads the container and says whose it is.
pub(super) async fn look(site: &Site, vmid: Vmid, listed: &Listed, prefix: &str) -> Sighting {
    match try_look(site, vmid, listed, prefix).await {
        Ok(sighting) => sighting,
        Err(error) => {
            let fault = site.fault(error);
            tracing::debug!(%vmid, %fault, "a container cannot be read");
            Sighting::Unread(fault)
        }
    }
}

async fn try_look(site: &Site, vmid: Vmid, listed: &Listed, prefix: &str) -> Result<Sighting, Error> {
    let config = site.pve.config(&listed.node, vmid).await?;
    let lock = config.lock.as_deref();
    let Some(claim) = claim(vmid, &config, prefix) else {
        // Its configuration is written in pieces while it is made.
        return Ok(if lock == Some("create") { Sighting::Later } else { Sighting::Foreign });
    };
    let never_ends = |lock| Some(locked(vmid, lock).with_hint(format!("pct unlock {vmid}")));
    let (making, stuck) = match lock {
        None => (None, None),
        Some("create") => match running_clone(site, &listed.node, claim.template, longest_ago(site)).await? {
            Some(task) => (Some(task.upid), None),
            None => (None, never_ends("create")),
        },
        // What a destroy that was cut off leaves; nobody holds it any more.
        Some("destroyed") if site.pve.running_tasks(&listed.node, vmid).await?.is_empty() => {
            (None, never_ends("destroyed"))
        }
        Some("destroyed") => return Ok(Sighting::Later),
        // Its holder's backup does not make it less his.
        Some(_) if claim.instance_id.is_some() => (None, None),
        Some(_) => return Ok(Sighting::Later),
    };
    // One that runs is never handed out: whoever uses it is not known, so it is held by its own name.
    let by_running = || listed.row.running.then(|| InstanceId(claim.hostname.0.clone()));
    let instance_id = claim.instance_id.clone().or_else(by_running);
    if instance_id.is_none() && making.is_none() && stuck.is_none() {
        set_free(site, &listed.node, vmid, &config).await?;
    }
    Ok(Sighting::Ours(Discovered {
        vmid,
        clone_id: claim.clone_id,
        template: claim.template,
        node: listed.node.clone(),
        instance_id,
        hostname: claim.hostname,
        making,
        stuck,
    }))
}

/// What a container of the pool says of itself.
#[derive(Debug, PartialEq)]
struct Claim {
    clone_id: Option<CloneId>,
    template: Vmid,
    instance_id: Option<InstanceId>,
    hostname: Hostname,
}

/// The container's claim to be the pool's, if it has one.
fn claim(vmid: Vmid, config: &CtConfig, prefix: &str) -> Option<Claim> {
    if config.template {
        return None;
    }
    let hostname = Hostname(config.hostname.clone()?);
    let of_pool = parse_pool_hostname(prefix, hostname.as_str());
    match config.description.as_deref().and_then(Marker::parse) {
        Some(marker) if marker.vmid != vmid => None,
        Some(Marker { clone_id, template, instance_id, .. }) => {
            let of_instance =
                instance_id.as_ref().is_some_and(|instance_id| instance_id.as_str() == hostname.as_str());
            let named = of_instance || of_pool == Some(template);
            named.then_some(Claim { clone_id: Some(clone_id), template, instance_id, hostname })
        }
        None => of_pool.map(|template| Claim { clone_id: None, template, instance_id: None, hostname }),
    }
}
