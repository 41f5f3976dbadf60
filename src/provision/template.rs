//! Looks a template up: where it is, whether it is one, and whether it can be cloned now.

use std::time::Duration;

use super::site::Site;
use crate::domain::command::{Prepared, TemplateFacts};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{Node, Vmid};
use crate::domain::time::Timestamp;
use crate::pve::{CtConfig, Error, GuestKind, GuestRow, Pve, TaskRow, TaskState};

/// A clone that runs longer than this is not looked for in the list of tasks.
const LONGEST_CLONE: Duration = Duration::from_hours(24);

/// Reads what the pool needs to know of a template before it takes it on.
///
/// `node` is the only node that its clones may be made on. A template that is locked is one all the same.
pub async fn read_template(pve: &Pve, node: Option<Node>, vmid: Vmid) -> Result<TemplateFacts, Fault> {
    let guests = pve.guests().await?;
    let (node, _) = find(pve, &guests, node, vmid).await?;
    let linkable = match pve.can_link(&node, vmid).await {
        Ok(linkable) => Some(linkable),
        Err(error) => {
            tracing::debug!(%error, "whether a template can be cloned linked is asked again later");
            None
        }
    };
    Ok(TemplateFacts { node, linkable })
}

/// Looks up what a clone's choices need.
pub(super) async fn prepare(
    site: &Site,
    vmid: Vmid,
    node: Option<Node>,
    linkable: Option<bool>,
) -> Result<Prepared, Fault> {
    try_prepare(site, vmid, node, linkable).await.map_err(|trouble| match trouble {
        Trouble::Call(error) => site.fault(error),
        Trouble::Template(fault) => fault,
    })
}

/// Why a template cannot be cloned.
enum Trouble {
    /// PVE could not be asked.
    Call(Error),
    /// Its answers say so.
    Template(Fault),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Call(error)
    }
}

impl From<Trouble> for Fault {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Call(error) => error.into(),
            Trouble::Template(fault) => fault,
        }
    }
}

fn trouble(kind: FaultKind, text: String) -> Trouble {
    Trouble::Template(Fault::new(kind, text))
}

async fn try_prepare(
    site: &Site,
    vmid: Vmid,
    node: Option<Node>,
    linkable: Option<bool>,
) -> Result<Prepared, Trouble> {
    let guests = site.pve.guests().await?;
    let (node, config) = find(&site.pve, &guests, node, vmid).await?;
    if let Some(lock) = config.lock {
        return Err(Trouble::Template(held(site, &node, vmid, &lock).await?));
    }
    let linkable = match linkable {
        Some(linkable) => linkable,
        None => site.pve.can_link(&node, vmid).await?,
    };
    let taken = guests.into_iter().map(|guest| guest.vmid).collect();
    Ok(Prepared { node, taken, linkable })
}

/// The template's node and configuration.
async fn find(
    pve: &Pve,
    guests: &[GuestRow],
    only: Option<Node>,
    vmid: Vmid,
) -> Result<(Node, CtConfig), Trouble> {
    let listed = guests.iter().find(|guest| guest.vmid == vmid);
    if listed.is_some_and(|guest| guest.kind == GuestKind::Qemu) {
        let text = format!("{vmid} is a virtual machine, not a container template");
        return Err(trouble(FaultKind::NotATemplate, text));
    }
    let Some(node) = only.clone().or_else(|| listed.map(|guest| guest.node.clone())) else {
        return Err(unseen(pve, vmid).await?);
    };
    let config = match pve.config(&node, vmid).await {
        Ok(config) => config,
        Err(error) if error.kind == FaultKind::Gone => {
            return Err(match listed {
                Some(guest) if guest.node != node => trouble(
                    FaultKind::Gone,
                    format!("template {vmid} is on node {}, and only {node} is cloned on", guest.node),
                ),
                Some(_) | None => unseen(pve, vmid).await?,
            });
        }
        Err(error) => return Err(error.into()),
    };
    if !config.template {
        let fault = Fault::new(FaultKind::NotATemplate, format!("CT {vmid} is not a template"));
        return Err(Trouble::Template(fault.with_hint(format!("pct template {vmid}"))));
    }
    Ok((node, config))
}

/// What is to be said of a template that no list shows.
async fn unseen(pve: &Pve, vmid: Vmid) -> Result<Trouble, Error> {
    let (kind, text) = match pve.vmid_free(vmid).await {
        Ok(true) => (FaultKind::Gone, format!("template {vmid} does not exist")),
        Ok(false) => {
            (FaultKind::Forbidden, format!("template {vmid} cannot be seen: the token needs VM.Audit on it"))
        }
        Err(error) if error.kind == FaultKind::Unsupported => (
            FaultKind::Gone,
            format!(
                "template {vmid} does not exist, or the token lacks VM.Audit on it: this PVE does not tell"
            ),
        ),
        Err(error) => return Err(error),
    };
    Ok(trouble(kind, text))
}

/// A template's lock in PVE's words, and how it is taken off if nothing runs that will.
async fn held(site: &Site, node: &Node, vmid: Vmid, lock: &str) -> Result<Fault, Error> {
    let fault = Fault::new(FaultKind::Locked, format!("CT is locked ({lock}) (template {vmid} on {node})"));
    let since = longest_ago(site);
    // Other locks are those of other work, which the list of clones does not show.
    let stale = lock == "disk" && running_clone(site, node, vmid, since).await?.is_none();
    Ok(if stale { fault.with_hint(format!("pct unlock {vmid}")) } else { fault })
}

/// The clone of a template that runs, if one does; the list alone may name a dead one.
pub(crate) async fn running_clone(
    site: &Site,
    node: &Node,
    template: Vmid,
    since: Timestamp,
) -> Result<Option<TaskRow>, Error> {
    let tasks = site.pve.clone_tasks(node, template, since).await?;
    for task in tasks.into_iter().filter(|task| task.running) {
        match site.pve.task(&task.upid).await {
            Ok(TaskState::Ended(_)) => {}
            Err(error) if error.kind == FaultKind::NoSuchTask => {}
            // Somebody else's: it stands in the list of what runs.
            Err(error) if error.kind == FaultKind::Forbidden => return Ok(Some(task)),
            Ok(TaskState::Running) => return Ok(Some(task)),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// When the oldest clone that may still run began.
pub(crate) fn longest_ago(site: &Site) -> Timestamp {
    site.clock.now().before(LONGEST_CLONE)
}
