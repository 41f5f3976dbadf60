//! What became of a clone whose task is over: the container is made ready, or what was left behind is named.
//!
//! A task's end only nominates; what is there is read from the container.

use std::time::Duration;

use super::look::{elsewhere, locked, never_still, seen};
use super::site::Site;
use crate::domain::command::{CloneEnd, Hindrance, Leftover};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{Node, Vmid};
use crate::domain::marker::{Ownership, judge};
use crate::domain::plan::Target;
use crate::pve::{ConfigChange, CtConfig, Error};

/// A clone that ended well may be invisible until it has joined its resource pool.
const LOOKS: (u32, Duration) = (10, Duration::from_millis(500));

/// Makes a container ready that PVE has made.
pub(super) async fn made(
    site: &Site,
    target: &Target,
    template: Vmid,
    warnings: bool,
) -> Result<CloneEnd, Hindrance> {
    let mut unread = None;
    for _ in 0..LOOKS.0 {
        let config = match site.pve.config(&target.node, target.vmid).await {
            Ok(config) => config,
            Err(error) if matches!(error.kind, FaultKind::Gone | FaultKind::Forbidden) => {
                unread = Some(Fault::from(error));
                site.clock.sleep(LOOKS.1).await;
                continue;
            }
            Err(error) => return Err(Hindrance::Pve { fault: site.fault(error) }),
        };
        match judge(&target.known, &seen(&config)) {
            Ownership::Ours => {}
            // It stays in State and is not written: whoever uses it next judges it again.
            Ownership::Doubtful(_) => return Ok(CloneEnd::Made { warnings }),
            Ownership::Foreign(reason) => {
                let fault = Fault::new(FaultKind::ConfigChanged, reason);
                return Ok(CloneEnd::Failed { fault, leftover: Leftover::Nothing });
            }
        }
        if let Some(lock) = config.lock.as_deref() {
            return held(site, target, template, lock, locked(target.vmid, lock)).await;
        }
        match set_free(site, &target.node, target.vmid, &config).await {
            Ok(()) => return Ok(CloneEnd::Made { warnings }),
            Err(error) if error.kind == FaultKind::ConfigChanged => {}
            Err(error) if error.kind.is_permanent() && error.kind != FaultKind::Gone => {
                let fault = site.fault(error);
                return Ok(CloneEnd::Failed { fault, leftover: Leftover::Removable });
            }
            Err(error) => return Err(Hindrance::Pve { fault: site.fault(error) }),
        }
    }
    let Some(fault) = unread else { return Err(never_still(target.vmid)) };
    match left_behind(site, target, template, &fault).await? {
        Some(leftover) => Ok(CloneEnd::Failed { fault, leftover }),
        None => Err(Hindrance::Pve { fault }),
    }
}

/// Takes off what a clone inherits and the pool cannot use.
pub(crate) async fn set_free(site: &Site, node: &Node, vmid: Vmid, config: &CtConfig) -> Result<(), Error> {
    if !config.onboot && !config.protection {
        return Ok(());
    }
    let change = ConfigChange {
        clear_onboot: config.onboot,
        clear_protection: config.protection,
        digest: config.digest.clone(),
        ..ConfigChange::default()
    };
    site.pve.set_config(node, vmid, &change).await
}

/// Books a clone whose task failed by what it left.
pub(super) async fn failed(
    site: &Site,
    target: &Target,
    template: Vmid,
    fault: Fault,
) -> Result<CloneEnd, Hindrance> {
    match left_behind(site, target, template, &fault).await? {
        Some(leftover) => Ok(CloneEnd::Failed { fault, leftover }),
        None => made(site, target, template, false).await,
    }
}

/// What a clone left that ended with `fault`; `None` if it is the finished container after all.
async fn left_behind(
    site: &Site,
    target: &Target,
    template: Vmid,
    fault: &Fault,
) -> Result<Option<Leftover>, Hindrance> {
    let config = match site.pve.config(&target.node, target.vmid).await {
        Ok(config) => config,
        Err(error) if error.kind == FaultKind::Gone => {
            // It may have been made, and moved at once.
            return match elsewhere(site, target).await? {
                Some(node) => Err(Hindrance::Moved { node }),
                None => Ok(Some(Leftover::Nothing)),
            };
        }
        Err(error) if error.kind == FaultKind::Forbidden => {
            return match site.vmid_free(target.vmid).await {
                Ok(true) => Ok(Some(Leftover::Nothing)),
                Ok(false) => {
                    let unlock = unlock(site, target, template).await;
                    // It never joined the pool, so that the token can never destroy it.
                    let hint = format!("{unlock}; pct destroy {}", target.vmid);
                    Ok(Some(Leftover::Locked { hint }))
                }
                Err(error) => Err(Hindrance::Pve { fault: site.fault(error) }),
            };
        }
        Err(error) => return Err(Hindrance::Pve { fault: site.fault(error) }),
    };
    match (judge(&target.known, &seen(&config)), config.lock.as_deref()) {
        (Ownership::Foreign(_), _) => Ok(Some(Leftover::Nothing)),
        (_, Some(lock)) => locked_leftover(site, target, template, lock).await.map(Some),
        (_, None) if fault.kind == FaultKind::Interrupted && config.rootfs.is_some() => Ok(None),
        (_, None) => Ok(Some(Leftover::Removable)),
    }
}

async fn held(
    site: &Site,
    target: &Target,
    template: Vmid,
    lock: &str,
    fault: Fault,
) -> Result<CloneEnd, Hindrance> {
    let leftover = locked_leftover(site, target, template, lock).await?;
    Ok(CloneEnd::Failed { fault, leftover })
}

/// A clone's own lock stays when its task is gone; any other is somebody's who works on it.
async fn locked_leftover(
    site: &Site,
    target: &Target,
    template: Vmid,
    lock: &str,
) -> Result<Leftover, Hindrance> {
    if matches!(lock, "create" | "disk") {
        Ok(Leftover::Locked { hint: unlock(site, target, template).await })
    } else {
        Err(Hindrance::Pve { fault: locked(target.vmid, lock) })
    }
}

/// The command that frees what a dead clone locked. The pool destroys the container once it can.
async fn unlock(site: &Site, target: &Target, template: Vmid) -> String {
    let of_template = site.pve.config(&target.node, template).await;
    let of_container = format!("pct unlock {}", target.vmid);
    match of_template {
        Ok(config) if config.lock.is_none() => of_container,
        Ok(_) | Err(_) => format!("pct unlock {template}; {of_container}"),
    }
}
