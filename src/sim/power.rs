//! Start, stop, shutdown and destroy, and snapshots: what is refused at once, and what their tasks do.
//!
//! Most refusals show only in the task; the call answers with a UPID.

use std::time::Duration;

use serde_json::{Value, json};

use super::ct::{Ct, Snapshot};
use super::model::{Context, Model};
use super::reply::{Done, Halt, data};
use super::tasks::{Exit, Work};

impl Model {
    pub(super) fn ct_start(&mut self, context: &Context) -> Done {
        self.check_quorum()?;
        if context.get("skiplock").is_some() {
            return Err(Halt::parameter("skiplock", "Only root may use this option."));
        }
        let vmid = context.vmid().unwrap_or_default();
        if self.is_running(context.node(), vmid) {
            return Err(Halt::because(format!("CT {vmid} already running")));
        }
        Ok(data(json!(self.begin_task(context, "vzstart", vmid, Work::Start))))
    }

    pub(super) fn ct_stop(&mut self, context: &Context) -> Done {
        if context.get("skiplock").is_some() {
            return Err(Halt::parameter("skiplock", "Only root may use this option."));
        }
        let vmid = self.running_vmid(context, "CT")?;
        let mut log = Vec::new();
        let shutdowns: Vec<(u64, String)> = self
            .running
            .iter()
            .filter_map(|id| self.tasks.get(id).map(|task| (*id, task)))
            .filter(|(_, task)| task.vmid == vmid && matches!(task.work, Work::Shutdown { .. }))
            .map(|(id, task)| (id, task.upid.clone()))
            .collect();
        let overrules = context.flag("overrule-shutdown").unwrap_or(false) && !shutdowns.is_empty();
        if overrules {
            let upids: Vec<&str> = shutdowns.iter().map(|(_, upid)| upid.as_str()).collect();
            log.push(format!("overruled vzshutdown tasks: {}", upids.join(", ")));
            log.push("trying to acquire lock...".to_owned());
            log.push(" OK".to_owned());
            for (id, _) in &shutdowns {
                self.interrupt_shutdown(*id);
            }
        }
        let (caller, node) = (context.caller.name.as_str(), context.node());
        let upid = self.add_task(caller, node, "vzstop", vmid, Work::Stop, context.fate.clone(), log);
        Ok(data(json!(upid)))
    }

    pub(super) fn ct_shutdown(&mut self, context: &Context) -> Done {
        let vmid = self.running_vmid(context, "CT")?;
        let work = Work::Shutdown {
            timeout: context.number("timeout").unwrap_or(60),
            force: context.flag("forceStop").unwrap_or(false),
        };
        Ok(data(json!(self.begin_task(context, "vzshutdown", vmid, work))))
    }

    pub(super) fn ct_reboot(&mut self, context: &Context) -> Done {
        let vmid = self.running_vmid(context, "VM")?;
        Ok(data(json!(self.begin_task(context, "vzreboot", vmid, Work::Reboot))))
    }

    pub(super) fn ct_destroy(&mut self, context: &Context) -> Done {
        let vmid = context.vmid().unwrap_or_default();
        let force = context.flag("force").unwrap_or(false);
        self.check_quorum()?;
        self.check_destroy(context.node(), vmid, force).map_err(Halt::because)?;
        let work = Work::Destroy { force, purge: context.flag("purge").unwrap_or(false) };
        Ok(data(json!(self.begin_task(context, "vzdestroy", vmid, work))))
    }

    pub(super) fn snapshot_work(&mut self, context: &Context) -> Done {
        let vmid = context.vmid().unwrap_or_default();
        let name = context.get("snapname").unwrap_or(context.name()).to_owned();
        let (kind, work) = match context.incoming.method.as_str() {
            "DELETE" => ("vzdelsnapshot", Work::SnapshotDelete { name }),
            _ if context.routed.name.is_some() => ("vzrollback", Work::SnapshotRollback { name }),
            _ if matches!(name.as_str(), "current" | "vzdump") => {
                return Err(Halt::because(format!("unable to use snapshot name '{name}' (reserved name)")));
            }
            _ => {
                let description = context.get("description").unwrap_or_default().to_owned();
                ("vzsnapshot", Work::SnapshotCreate { name, description })
            }
        };
        Ok(data(json!(self.begin_task(context, kind, vmid, work))))
    }

    pub(super) fn snapshot_list(&self, context: &Context) -> Done {
        let ct = self.ct_on(context.node(), context.vmid().unwrap_or_default())?;
        let mut rows: Vec<Value> = ct
            .snapshots
            .iter()
            .map(|(name, snapshot)| {
                json!({
                    "name": name,
                    "description": snapshot.description,
                    "snaptime": snapshot.at.0.div_euclid(1000),
                })
            })
            .collect();
        rows.push(json!({
            "name": "current",
            "description": "You are here!",
            "digest": ct.digest(),
            "running": u8::from(ct.running_since.is_some()),
        }));
        Ok(data(json!(rows)))
    }

    /// What a task finds under the file lock: how long it takes, or why it fails at once.
    pub(super) fn work_begins(&mut self, id: u64, vmid: u32, work: &Work) -> Result<Duration, String> {
        let node = self.tasks.get(&id).map(|task| task.node.clone()).unwrap_or_default();
        let spans = self.durations;
        if let Work::Destroy { force, purge } = work {
            let running = self.check_destroy(&node, vmid, *force)?;
            self.edit_task(id, |task| {
                if running {
                    task.log.push(format!("forced to stop CT {vmid} before destroying!"));
                }
                if *purge {
                    task.log.push(format!("purging CT {vmid} from related configurations.."));
                }
            });
            return Ok(spans.destroy);
        }
        if matches!(work, Work::Nothing) {
            return Ok(Duration::ZERO);
        }
        let ct = self.cts.get(&vmid).filter(|ct| ct.node == node).ok_or_else(|| missing(&node, vmid))?;
        if matches!(work, Work::Start) && ct.is("template") {
            return Err("you can't start a CT if it's a template".to_owned());
        }
        if let Some(lock) = ct.get("lock") {
            return Err(format!("CT is locked ({lock})"));
        }
        let running = ct.running_since.is_some();
        match work {
            Work::Start if running => {
                self.edit_task(id, |task| {
                    task.log
                        .push("problem with monitor socket, but continuing anyway: got timeout".to_owned());
                    task.log.push(String::new());
                });
                Ok(spans.file_lock)
            }
            Work::Start => Ok(spans.start),
            Work::Stop | Work::Shutdown { .. } | Work::Reboot if !running => Ok(Duration::ZERO),
            Work::Stop => Ok(spans.stop),
            Work::Shutdown { timeout, .. } if ct.ignores_shutdown => Ok(Duration::from_secs(*timeout)),
            Work::Shutdown { .. } => Ok(spans.shutdown),
            Work::Reboot => Ok(spans.shutdown + spans.start),
            Work::SnapshotCreate { name, .. } => self.check_snapshot(ct, name).map(|()| spans.snapshot),
            Work::SnapshotDelete { name } | Work::SnapshotRollback { name } => ct
                .snapshots
                .contains_key(name)
                .then_some(spans.snapshot)
                .ok_or_else(|| format!("snapshot '{name}' does not exist")),
            Work::Clone(_) | Work::Destroy { .. } | Work::Nothing => Ok(Duration::ZERO),
        }
    }

    /// A task's effect, at its end.
    pub(super) fn work_ends(&mut self, id: u64, vmid: u32, work: &Work) -> Result<(), String> {
        let now = self.now;
        if let Work::Destroy { .. } = work {
            return self.destroyed(vmid);
        }
        let Some(ct) = self.cts.get_mut(&vmid) else { return Ok(()) };
        match work {
            Work::Start => {
                ct.running_since.get_or_insert(now);
            }
            Work::Stop => ct.running_since = None,
            Work::Reboot => ct.running_since = Some(now),
            Work::Shutdown { timeout, force } => {
                if ct.ignores_shutdown && ct.running_since.is_some() {
                    let line = format!(
                        "command 'lxc-stop -n {vmid} --nokill --timeout {timeout}' failed: exit code 1"
                    );
                    if *force {
                        ct.running_since = None;
                    }
                    let stopped = *force;
                    self.edit_task(id, |task| task.log.push(line));
                    return stopped.then_some(()).ok_or_else(|| "container did not stop".to_owned());
                }
                ct.running_since = None;
            }
            Work::SnapshotCreate { name, description } => {
                let snapshot =
                    Snapshot { at: now, description: description.clone(), config: ct.config.clone() };
                ct.snapshots.insert(name.clone(), snapshot);
            }
            Work::SnapshotDelete { name } => {
                ct.snapshots.remove(name);
            }
            Work::SnapshotRollback { name } => {
                if let Some(snapshot) = ct.snapshots.get(name) {
                    let description = ct.config.remove("description");
                    ct.config = snapshot.config.clone();
                    ct.config.extend(description.map(|text| ("description".to_owned(), text)));
                    ct.running_since = None;
                }
            }
            Work::Clone(_) | Work::Destroy { .. } | Work::Nothing => {}
        }
        Ok(())
    }

    pub(super) fn interrupt_shutdown(&mut self, id: u64) {
        self.edit_task(id, |task| {
            if let Work::Shutdown { timeout, .. } = task.work {
                let vmid = task.vmid;
                task.log.push(format!(
                    "command 'lxc-stop -n {vmid} --nokill --timeout {timeout}' failed: received interrupt"
                ));
            }
        });
        self.end_task(id, Exit::Died);
    }

    fn check_snapshot(&self, ct: &Ct, name: &str) -> Result<(), String> {
        if ct.is("template") {
            return Err("you can't take a snapshot if it's a template".to_owned());
        }
        if ct.snapshots.contains_key(name) {
            return Err(format!("snapshot name '{name}' already used"));
        }
        let able = ct.storage().and_then(|name| self.storages.get(name)).is_some_and(|found| found.linkable);
        able.then_some(()).ok_or_else(|| "snapshot feature is not available".to_owned())
    }

    /// Whether the container may be destroyed; if so, whether it runs.
    fn check_destroy(&self, node: &str, vmid: u32, force: bool) -> Result<bool, String> {
        let ct = self.cts.get(&vmid).filter(|ct| ct.node == node).ok_or_else(|| missing(node, vmid))?;
        if ct.is("protection") {
            return Err(format!("can't remove CT {vmid} - protection mode enabled"));
        }
        if let Some(lock) = ct.get("lock") {
            return Err(format!("CT is locked ({lock})"));
        }
        let running = ct.running_since.is_some();
        if running && !force {
            return Err(format!("unable to destroy CT {vmid} - container is running"));
        }
        Ok(running)
    }

    /// Its disks are gone and its configuration is not.
    pub(super) fn half_destroyed(&mut self, vmid: u32) {
        if let Some(ct) = self.cts.get_mut(&vmid) {
            ct.running_since = None;
            ct.config.insert("lock".to_owned(), "destroyed".to_owned());
        }
    }

    fn destroyed(&mut self, vmid: u32) -> Result<(), String> {
        let names_its_base = self.cts.get(&vmid).and_then(Ct::storage).is_some_and(|name| {
            self.storages.get(name).is_some_and(|found| matches!(found.kind.as_str(), "zfspool" | "rbd"))
        });
        if names_its_base && self.cts.values().any(|ct| ct.linked_from == Some(vmid)) {
            let volume = self.cts.get(&vmid).and_then(|ct| ct.get("rootfs")).unwrap_or_default();
            let volume = volume.split(',').next().unwrap_or_default();
            return Err(format!("base volume '{volume}' is still in use by linked clones"));
        }
        self.remove_ct(vmid);
        Ok(())
    }

    /// A container, its access list entries and its pool membership are gone.
    pub(super) fn remove_ct(&mut self, vmid: u32) {
        self.cts.remove(&vmid);
        self.access.forget_path(&format!("/vms/{vmid}"));
        for members in self.pools.values_mut() {
            members.remove(&vmid);
        }
    }

    fn is_running(&self, node: &str, vmid: u32) -> bool {
        self.cts.get(&vmid).is_some_and(|ct| ct.node == node && ct.running_since.is_some())
    }

    fn running_vmid(&self, context: &Context, kind: &str) -> Result<u32, Halt> {
        let vmid = context.vmid().unwrap_or_default();
        let running = self.is_running(context.node(), vmid);
        running.then_some(vmid).ok_or_else(|| Halt::because(format!("{kind} {vmid} not running")))
    }
}

/// What PVE says of a container that is not on that node.
pub(super) fn missing(node: &str, vmid: u32) -> String {
    format!("Configuration file 'nodes/{node}/lxc/{vmid}.conf' does not exist")
}
