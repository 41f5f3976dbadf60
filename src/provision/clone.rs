//! Makes containers: asks for a clone, finds one of unknown outcome, and follows it to its end.

use std::time::Duration;

use super::look::{elsewhere, seen};
use super::made::{failed, made};
use super::site::Site;
use super::task::{self, Pace};
use super::template::running_clone;
use crate::domain::command::{CloneEnd, Hindrance, Leftover, Observation};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{Upid, Vmid};
use crate::domain::marker::{Marker, Ownership, judge};
use crate::domain::plan::Target;
use crate::domain::time::Timestamp;
use crate::pve::{CloneRequest, CtConfig, Error, Warnings};

/// Between two looks for a clone of unknown outcome.
const SEARCH_PAUSE: Duration = Duration::from_secs(2);
/// A lock whose task is not listed may be that of a clone that is just being taken on, for this long.
const UNLISTED: Duration = Duration::from_secs(10);
/// The node's clock may differ from ours by this much.
const CLOCK_SKEW: Duration = Duration::from_mins(10);

/// Asks PVE for the clone, once.
pub(super) async fn send(
    site: &Site,
    target: Target,
    template: Vmid,
    marker: &Marker,
    full: bool,
    pool: Option<String>,
) -> Observation {
    let (vmid, clone_id) = (target.vmid, target.clone_id);
    let hostname = target.known.hostname;
    let request = CloneRequest { newid: vmid, hostname, description: marker.to_string(), full, pool };
    let outcome = site.pve.clone_ct(&target.node, template, &request).await;
    Observation::CloneSent { vmid, clone_id, outcome: outcome.map_err(|error| site.fault(error)) }
}

/// Looks for a clone until it shows, or has had time enough to.
pub(super) async fn find(
    site: &Site,
    target: &Target,
    template: Vmid,
    sent_after: Timestamp,
    give_up_at: Timestamp,
) -> Observation {
    let (vmid, clone_id) = (target.vmid, target.clone_id);
    match search(site, target, template, sent_after, give_up_at).await {
        Ok(Found::Running(upid)) => Observation::CloneFound { vmid, clone_id, upid },
        Ok(Found::Ended(end)) => Observation::CloneEnded { vmid, clone_id, end },
        Ok(Found::NotMade) => Observation::CloneNotMade { vmid, clone_id },
        Err(by) => Observation::Hindered { vmid, as_of: target.as_of, by },
    }
}

/// Follows the clone's task to its end and makes the container ready.
pub(super) async fn follow(
    site: &Site,
    target: &Target,
    template: Vmid,
    upid: Upid,
    pace: Pace,
) -> Observation {
    let (vmid, clone_id) = (target.vmid, target.clone_id);
    let end = match task::follow(site, &upid, pace).await {
        Ok(Ok(Warnings(warnings))) => made(site, target, template, warnings).await,
        Ok(Err(fault)) => failed(site, target, template, fault).await,
        Err(fault) if is_unknown(&fault) => {
            let give_up_at = site.clock.now().after(UNLISTED);
            match search(site, target, template, pace.started_at, give_up_at).await {
                Ok(Found::Running(other)) if other != upid => {
                    return Observation::CloneFound { vmid, clone_id, upid: other };
                }
                Ok(Found::Running(_)) => Err(Hindrance::Pve { fault }),
                Ok(Found::Ended(end)) => Ok(end),
                Ok(Found::NotMade) => Ok(CloneEnd::Failed { fault, leftover: Leftover::Nothing }),
                Err(hindrance) => Err(hindrance),
            }
        }
        Err(fault) => Err(Hindrance::Pve { fault }),
    };
    match end {
        Ok(end) => Observation::CloneEnded { vmid, clone_id, end },
        Err(by) => Observation::Hindered { vmid, as_of: target.as_of, by },
    }
}

/// PVE does not say how the task ended, and never will.
fn is_unknown(fault: &Fault) -> bool {
    matches!(fault.kind, FaultKind::NoSuchTask | FaultKind::Forbidden | FaultKind::Invalid)
}

/// What became of a clone that was looked for.
enum Found {
    /// The task makes it.
    Running(Upid),
    /// It is over.
    Ended(CloneEnd),
    /// It never came to be.
    NotMade,
}

/// What one look for a clone shows.
enum Sight {
    /// Nothing of it, so far.
    Nothing,
    /// The task makes it.
    Running(Upid),
    /// It is there, made and unlocked.
    Made,
    /// It is there, unlocked, and was never finished.
    Unfinished,
    /// It is there, locked, and nothing runs that makes it.
    Held,
    /// Its VMID is somebody else's.
    Foreign(String),
}

async fn search(
    site: &Site,
    target: &Target,
    template: Vmid,
    sent_after: Timestamp,
    give_up_at: Timestamp,
) -> Result<Found, Hindrance> {
    let since = sent_after.before(CLOCK_SKEW);
    let mut held_since = None;
    loop {
        let now = site.clock.now();
        let sight = sight(site, target, template, since).await;
        match sight.map_err(|error| Hindrance::Pve { fault: site.fault(error) })? {
            Sight::Running(upid) => return Ok(Found::Running(upid)),
            Sight::Made => return made(site, target, template, false).await.map(Found::Ended),
            Sight::Unfinished => {
                let leftover = Leftover::Removable;
                return Ok(Found::Ended(CloneEnd::Failed { fault: died(target.vmid), leftover }));
            }
            Sight::Held if now.since(*held_since.get_or_insert(now)) >= UNLISTED => {
                let end = failed(site, target, template, died(target.vmid)).await?;
                return Ok(Found::Ended(end));
            }
            Sight::Held => {}
            Sight::Foreign(reason) => {
                tracing::warn!(vmid = %target.vmid, reason, "a clone was not made: its VMID is taken");
                return Ok(Found::NotMade);
            }
            Sight::Nothing if now >= give_up_at => {
                return match elsewhere(site, target).await? {
                    Some(node) => Err(Hindrance::Moved { node }),
                    None => Ok(Found::NotMade),
                };
            }
            Sight::Nothing => held_since = None,
        }
        site.clock.sleep(SEARCH_PAUSE).await;
    }
}

async fn sight(site: &Site, target: &Target, template: Vmid, since: Timestamp) -> Result<Sight, Error> {
    let config = match site.pve.config(&target.node, target.vmid).await {
        Ok(config) => config,
        Err(error) if error.kind == FaultKind::Gone => return Ok(Sight::Nothing),
        Err(error) if error.kind == FaultKind::Forbidden => {
            return unseen(site, target, template, since).await;
        }
        Err(error) => return Err(error),
    };
    if is_being_written(&config) {
        return Ok(Sight::Nothing);
    }
    match (judge(&target.known, &seen(&config)), config.lock) {
        (Ownership::Foreign(reason), _) => Ok(Sight::Foreign(reason)),
        (_, Some(_)) => Ok(match running_clone(site, &target.node, template, since).await? {
            Some(task) => Sight::Running(task.upid),
            None => Sight::Held,
        }),
        (_, None) => Ok(if config.rootfs.is_some() { Sight::Made } else { Sight::Unfinished }),
    }
}

/// PVE reserves the VMID by a configuration of nothing but the lock.
fn is_being_written(config: &CtConfig) -> bool {
    config.lock.as_deref() == Some("create") && config.hostname.is_none() && config.description.is_none()
}

/// A clone joins its resource pool last: until then the token may not see it, nor anybody else's.
async fn unseen(site: &Site, target: &Target, template: Vmid, since: Timestamp) -> Result<Sight, Error> {
    if site.vmid_free(target.vmid).await? {
        return Ok(Sight::Nothing);
    }
    if let Some(task) = running_clone(site, &target.node, template, since).await? {
        return Ok(Sight::Running(task.upid));
    }
    // A clone that died keeps its template locked, too; without that the VMID is not known to be ours.
    let of_template = site.pve.config(&target.node, template).await?;
    Ok(if of_template.lock.is_some() { Sight::Held } else { Sight::Nothing })
}

fn died(vmid: Vmid) -> Fault {
    Fault::new(FaultKind::Interrupted, format!("the clone that was to make CT {vmid} died"))
}
