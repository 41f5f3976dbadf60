//! Takes a container back or out: the stop, the pool's name again, the end.
//!
//! Each round looks anew and then does the one next thing, so that ownership is read right before whatever
//! is done, and a container that somebody starts again meanwhile is stopped again.

use super::hand_out::{change_config, is_named, set_name};
use super::look::{LOOKS, Looked, look, never_still, seen, what_holds, why_not};
use super::site::Site;
use super::task::{self, Pace};
use crate::domain::command::{Hindrance, Observation};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{Hostname, Upid};
use crate::domain::marker::{Marker, Ownership, judge};
use crate::domain::plan::Target;
use crate::pve::{ConfigChange, Error, Warnings};

/// Stops the container and gives it a pool hostname.
pub(super) async fn park(site: &Site, target: &Target, hostname: Hostname, marker: &Marker) -> Observation {
    let (vmid, as_of) = (target.vmid, target.as_of);
    match try_park(site, target, &hostname, marker).await {
        Ok(()) => Observation::Parked { vmid, as_of, hostname },
        Err(by) => Observation::Hindered { vmid, as_of, by },
    }
}

async fn try_park(
    site: &Site,
    target: &Target,
    hostname: &Hostname,
    marker: &Marker,
) -> Result<(), Hindrance> {
    for _ in 0..LOOKS {
        let Some(looked) = stopped(site, target).await? else { continue };
        let named = is_named(&looked.config, hostname, marker);
        if named || set_name(site, target, &looked, hostname, marker).await? {
            return Ok(());
        }
    }
    Err(never_still(target.vmid))
}

/// The container if it is ours, unlocked and does not run. If it runs it is stopped, and to be looked at
/// again.
async fn stopped(site: &Site, target: &Target) -> Result<Option<Looked>, Hindrance> {
    let looked = look(site, target).await?;
    if let Some(lock) = &looked.lock {
        return what_holds(site, target, lock).await.map_or(Ok(None), Err);
    }
    if looked.running {
        stop(site, target).await?;
        return Ok(None);
    }
    Ok(Some(looked))
}

async fn stop(site: &Site, target: &Target) -> Result<(), Hindrance> {
    let upid = match begin_stop(site, target).await {
        Ok(upid) => upid,
        Err(error) if error.kind == FaultKind::NotRunning => return Ok(()),
        Err(error) => return Err(why_not(site, &target.node, target.vmid, error).await),
    };
    match task::follow(site, &upid, Pace::unknown(site)).await {
        Ok(Ok(_)) => Ok(()),
        // What came of it shows in the next look.
        Ok(Err(fault)) if matches!(fault.kind, FaultKind::NotRunning | FaultKind::Gone) => Ok(()),
        Ok(Err(fault)) | Err(fault) => Err(Hindrance::Pve { fault }),
    }
}

/// A shutdown that its user began must not hold the stop up; old releases do not know how to say that.
async fn begin_stop(site: &Site, target: &Target) -> Result<Upid, Error> {
    match site.pve.stop(&target.node, target.vmid, true).await {
        Err(error) if error.kind == FaultKind::Invalid => {
            site.pve.stop(&target.node, target.vmid, false).await
        }
        outcome => outcome,
    }
}

/// Destroys the container; one that has its instance's name is only given its pool hostname back.
///
/// That is an end of its own because the name is free from then on, which is to be known at once.
pub(super) async fn destroy(
    site: &Site,
    target: &Target,
    rename_back: Option<Hostname>,
    marker: &Marker,
) -> Observation {
    let (vmid, as_of) = (target.vmid, target.as_of);
    let outcome = match &rename_back {
        Some(hostname) => try_park(site, target, hostname, marker).await,
        None => try_destroy(site, target).await,
    };
    match (outcome, rename_back) {
        (Ok(()), Some(hostname)) => Observation::RenamedBack { vmid, as_of, hostname },
        (Ok(()), None) => Observation::Destroyed { vmid, as_of },
        (Err(by), _) => Observation::Hindered { vmid, as_of, by },
    }
}

async fn try_destroy(site: &Site, target: &Target) -> Result<(), Hindrance> {
    for _ in 0..LOOKS {
        let Some(looked) = stopped(site, target).await? else { continue };
        if looked.config.protection {
            let digest = looked.config.digest;
            let change = ConfigChange { clear_protection: true, digest, ..ConfigChange::default() };
            change_config(site, target, &change).await?;
            continue;
        }
        let ended = match site.pve.destroy(&target.node, target.vmid).await {
            Ok(upid) => task::follow(site, &upid, Pace::unknown(site)).await,
            Err(error) => Ok(Err(site.fault(error))),
        };
        if is_gone(site, target, ended).await? {
            return Ok(());
        }
    }
    Err(never_still(target.vmid))
}

/// Whether the container is gone after a try to destroy it; false if that may be tried again at once.
async fn is_gone(
    site: &Site,
    target: &Target,
    ended: Result<Result<Warnings, Fault>, Fault>,
) -> Result<bool, Hindrance> {
    match ended {
        Ok(Ok(_)) => confirm(site, target).await,
        // The next look shows which of these it is.
        Ok(Err(fault))
            if matches!(
                fault.kind,
                FaultKind::Gone
                    | FaultKind::Forbidden
                    | FaultKind::Locked
                    | FaultKind::StillRunning
                    | FaultKind::Protected
                    | FaultKind::Interrupted
            ) =>
        {
            match look(site, target).await {
                Err(Hindrance::Gone) => Ok(true),
                Err(hindrance) => Err(hindrance),
                // PVE lets us see it and not destroy it.
                Ok(_) if fault.kind == FaultKind::Forbidden => Err(Hindrance::Pve { fault }),
                Ok(_) => Ok(false),
            }
        }
        Ok(Err(fault)) | Err(fault) => Err(Hindrance::Pve { fault }),
    }
}

/// Whether the task did what it says.
async fn confirm(site: &Site, target: &Target) -> Result<bool, Hindrance> {
    match site.pve.config(&target.node, target.vmid).await {
        Err(error) if matches!(error.kind, FaultKind::Gone | FaultKind::Forbidden) => Ok(true),
        Err(error) => Err(Hindrance::Pve { fault: site.fault(error) }),
        // Somebody made another of it at once.
        Ok(config) => Ok(matches!(judge(&target.known, &seen(&config)), Ownership::Foreign(_))),
    }
}
