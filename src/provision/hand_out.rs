//! Gives a container to its instance: the look, the name, the start.

use std::time::Duration;

use super::look::{LOOKS, Looked, look, never_still, what_holds, why_not};
use super::site::Site;
use super::task::{self, Pace};
use crate::clock::Stopwatch;
use crate::domain::command::{Hindrance, Observation};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{Hostname, InstanceId};
use crate::domain::marker::Marker;
use crate::domain::plan::Target;
use crate::pve::{ConfigChange, CtConfig};

/// Gives the container its instance's hostname and description.
pub(super) async fn rename(site: &Site, target: &Target, marker: &Marker, resumed: bool) -> Observation {
    let (vmid, as_of) = (target.vmid, target.as_of);
    match try_rename(site, target, marker, resumed).await {
        Ok(running) => Observation::Renamed { vmid, as_of, running },
        Err(by) => Observation::Hindered { vmid, as_of, by },
    }
}

async fn try_rename(site: &Site, target: &Target, marker: &Marker, resumed: bool) -> Result<bool, Hindrance> {
    let hostname =
        marker.instance_id.as_ref().map_or_else(|| target.known.hostname.clone(), InstanceId::hostname);
    for _ in 0..LOOKS {
        let looked = look(site, target).await?;
        let named = is_named(&looked.config, &hostname, marker);
        if named && resumed {
            return Ok(looked.running);
        }
        if let Some(lock) = &looked.lock {
            match what_holds(site, target, lock).await {
                Some(hindrance) => return Err(hindrance),
                None => continue,
            }
        }
        // One that runs under its instance's name was started by us, and the answer was lost.
        if looked.running && !resumed && !named {
            let text = format!("CT {} runs although nobody was given it", target.vmid);
            return Err(Hindrance::Unusable { fault: Fault::new(FaultKind::AlreadyRunning, text) });
        }
        if named || set_name(site, target, &looked, &hostname, marker).await? {
            return Ok(looked.running);
        }
    }
    Err(never_still(target.vmid))
}

/// Whether the container has this hostname and says so.
pub(super) fn is_named(config: &CtConfig, hostname: &Hostname, marker: &Marker) -> bool {
    config.hostname.as_deref() == Some(hostname.as_str())
        && config.description.as_deref().and_then(Marker::parse).as_ref() == Some(marker)
}

/// Sets hostname and description in one write, and takes off what would start the container by itself or keep it
/// from being destroyed. False if the container was changed since the look.
pub(super) async fn set_name(
    site: &Site,
    target: &Target,
    looked: &Looked,
    hostname: &Hostname,
    marker: &Marker,
) -> Result<bool, Hindrance> {
    let change = ConfigChange {
        hostname: Some(hostname.clone()),
        description: Some(marker.to_string()),
        clear_onboot: looked.config.onboot,
        clear_protection: looked.config.protection,
        digest: looked.config.digest.clone(),
    };
    change_config(site, target, &change).await
}

/// Changes the container's configuration. False if it is another than the digest says.
pub(super) async fn change_config(
    site: &Site,
    target: &Target,
    change: &ConfigChange,
) -> Result<bool, Hindrance> {
    match site.pve.set_config(&target.node, target.vmid, change).await {
        Ok(()) => Ok(true),
        Err(error) if error.kind == FaultKind::ConfigChanged => Ok(false),
        Err(error) => Err(why_not(site, &target.node, target.vmid, error).await),
    }
}

/// Why a container does not run.
enum NotStarted {
    /// Its own start failed.
    Failed(Fault),
    /// It did not come to that.
    Hindered(Hindrance),
}

impl From<Hindrance> for NotStarted {
    fn from(by: Hindrance) -> Self {
        Self::Hindered(by)
    }
}

/// Starts the container, unless it runs.
pub(super) async fn start(site: &Site, target: &Target, expected: Option<Duration>) -> Observation {
    let (vmid, as_of) = (target.vmid, target.as_of);
    match try_start(site, target, expected).await {
        Ok(duration) => {
            let duration_ms = duration.map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
            Observation::Started { vmid, as_of, duration_ms }
        }
        Err(NotStarted::Failed(fault)) => Observation::StartFailed { vmid, as_of, fault },
        Err(NotStarted::Hindered(by)) => Observation::Hindered { vmid, as_of, by },
    }
}

/// Returns how long the start took; nothing if the container ran already.
async fn try_start(
    site: &Site,
    target: &Target,
    expected: Option<Duration>,
) -> Result<Option<Duration>, NotStarted> {
    for _ in 0..LOOKS {
        let looked = look(site, target).await?;
        if looked.running {
            return Ok(None);
        }
        if let Some(lock) = &looked.lock {
            match what_holds(site, target, lock).await {
                Some(hindrance) => return Err(hindrance.into()),
                None => continue,
            }
        }
        let watch = Stopwatch::start();
        let pace = Pace { started_at: site.clock.now(), expected };
        return match site.pve.start(&target.node, target.vmid).await {
            Ok(upid) => match task::follow(site, &upid, pace).await {
                Ok(Ok(_)) => Ok(Some(watch.elapsed())),
                Ok(Err(fault)) => judge_end(site, target, fault).await.map(|()| None),
                Err(fault) if fault.kind == FaultKind::NoSuchTask => {
                    judge_end(site, target, fault).await.map(|()| None)
                }
                Err(fault) => Err(Hindrance::Pve { fault }.into()),
            },
            Err(error) if error.kind == FaultKind::AlreadyRunning => Ok(None),
            Err(error) if error.kind == FaultKind::Locked => {
                Err(Hindrance::Unusable { fault: site.fault(error) }.into())
            }
            Err(error) => Err(why_not(site, &target.node, target.vmid, error).await.into()),
        };
    }
    Err(never_still(target.vmid).into())
}

/// What the end of a start's task says of the container.
async fn judge_end(site: &Site, target: &Target, fault: Fault) -> Result<(), NotStarted> {
    match fault.kind {
        FaultKind::AlreadyRunning => Ok(()),
        FaultKind::Locked => Err(Hindrance::Unusable { fault }.into()),
        FaultKind::Gone | FaultKind::Interrupted | FaultKind::NoSuchTask | FaultKind::OutcomeUnknown => {
            let looked = look(site, target).await?;
            if looked.running { Ok(()) } else { Err(Hindrance::Pve { fault }.into()) }
        }
        FaultKind::NotSent
        | FaultKind::NodeUnreachable
        | FaultKind::Unauthorized
        | FaultKind::Forbidden
        | FaultKind::Busy
        | FaultKind::ClusterDegraded
        | FaultKind::NoSpace
        | FaultKind::StorageUnusable
        | FaultKind::NoSuchNode => Err(Hindrance::Pve { fault }.into()),
        FaultKind::VmidTaken
        | FaultKind::NotRunning
        | FaultKind::StillRunning
        | FaultKind::Protected
        | FaultKind::ConfigChanged
        | FaultKind::NotLinkable
        | FaultKind::NotATemplate
        | FaultKind::Invalid
        | FaultKind::Unsupported
        | FaultKind::DidNotStop
        | FaultKind::Unreadable
        | FaultKind::Other => Err(NotStarted::Failed(fault)),
    }
}
