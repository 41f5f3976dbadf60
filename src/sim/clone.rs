//! Clones: the checks and locks of the call, and the task that makes the volume.
//!
//! The template has `lock: disk` and the new container `lock: create`, and no root file system until its
//! volume exists. A clone that fails cleans up; one whose worker is killed leaves both locks.

use std::time::Duration;

use serde_json::json;

use super::ct::{Ct, storage_of};
use super::model::{Context, Model};
use super::reply::{Done, Halt, data};
use super::tasks::{CloneWork, Exit, Work};
use crate::domain::time::Timestamp;

impl Model {
    pub(super) fn ct_clone(&mut self, context: &Context) -> Done {
        let (Some(vmid), Some(newid)) = (context.vmid(), context.number("newid")) else {
            return Err(Halt::because("no vmid"));
        };
        let newid = u32::try_from(newid).unwrap_or_default();
        self.check_clone_targets(context)?;
        self.check_quorum()?;
        if self.file_locks.contains_key(&vmid) {
            return Err(Halt::FileLock(vmid));
        }
        let source = self.unlocked_ct(context.node(), vmid)?.clone();
        self.check_vmid_unused(newid)?;
        let clone = self.plan_clone(context, newid, &source)?;

        let watched = context.caller.name == self.watched;
        let mut config = source.config.clone();
        if let Some(name) = context.get("snapname").and_then(|name| source.snapshots.get(name)) {
            config.clone_from(&name.config);
        }
        for dropped in ["rootfs", "template", "lock"] {
            config.remove(dropped);
        }
        let mac = self.fresh_mac();
        if let Some(net) = config.get_mut("net0") {
            *net = net
                .split(',')
                .map(
                    |part| {
                        if part.starts_with("hwaddr=") { format!("hwaddr={mac}") } else { part.to_owned() }
                    },
                )
                .collect::<Vec<_>>()
                .join(",");
        }
        for option in ["hostname", "description"] {
            if let Some(text) = context.get(option) {
                config.insert(option.to_owned(), text.trim_end_matches('\n').to_owned());
            }
        }
        let target = context.get("target").unwrap_or(context.node());
        let mut ct = Ct::new(target, config);
        ct.lock("create", self.now, watched);
        ct.made_by = Some(context.caller.name.clone());
        ct.linked_from = (!clone.full).then_some(vmid);
        ct.ignores_shutdown = source.ignores_shutdown;
        self.cts.insert(newid, ct);
        let now = self.now;
        if let Some(source) = self.cts.get_mut(&vmid) {
            source.lock("disk", now, watched);
        }
        let upid = self.begin_task(context, "vzclone", vmid, Work::Clone(clone));
        let in_flight = self.clones_in_flight(vmid);
        let seen = self.clones_seen.entry(vmid).or_default();
        *seen = (*seen).max(in_flight);
        Ok(data(json!(upid)))
    }

    fn check_clone_targets(&self, context: &Context) -> Result<(), Halt> {
        if let Some(pool) = context.get("pool").filter(|pool| !self.pools.contains_key(*pool)) {
            return Err(Halt::forbidden(&format!("pool '{pool}' does not exist")));
        }
        if let Some(target) = context.get("target").filter(|target| !self.nodes.contains_key(*target)) {
            return Err(Halt::because(format!("no such cluster node '{target}'")));
        }
        context.get("storage").map_or(Ok(()), |storage| {
            self.storage_fault(storage, context.node()).map_or(Ok(()), |text| Err(Halt::because(text)))
        })
    }

    fn check_vmid_unused(&self, vmid: u32) -> Result<(), Halt> {
        let taken =
            |kind: &str, node: &str| Halt::because(format!("{kind} {vmid} already exists on node '{node}'"));
        match (self.cts.get(&vmid), self.vms.get(&vmid)) {
            (Some(ct), _) => Err(taken("CT", &ct.node)),
            (None, Some(vm)) => Err(taken("VM", &vm.node)),
            (None, None) => Ok(()),
        }
    }

    fn plan_clone(&self, context: &Context, newid: u32, source: &Ct) -> Result<CloneWork, Halt> {
        let full = context.flag("full").unwrap_or(!source.is("template"));
        if let Some(name) = context.get("snapname").filter(|name| !source.snapshots.contains_key(*name)) {
            return Err(Halt::because(format!("snapshot '{name}' does not exist")));
        }
        if full && source.running_since.is_some() && context.get("snapname").is_none() {
            return Err(Halt::because("Full clone of a running container is only possible from a snapshot"));
        }
        let volume = source.get("rootfs").unwrap_or_default();
        if let Some((option, _)) = source.volumes().find(|(_, volume)| volume.starts_with('/')) {
            return Err(Halt::because(format!("unable to clone mountpoint '{option}' (type bind)")));
        }
        let own = source.storage().unwrap_or_default();
        if !full {
            if context.get("storage").is_some() {
                return Err(Halt::because("parameter 'storage' not allowed for linked clones"));
            }
            let cannot = |(_, volume): &(&str, &str)| !source.is("template") || !self.is_linkable(volume);
            if let Some((_, volume)) = source.volumes().find(cannot) {
                let name = volume.split(',').next().unwrap_or_default();
                return Err(Halt::because(format!("Linked clone feature for '{name}' is not available")));
            }
        }
        if let Some(target) = context.get("target").filter(|target| *target != context.node())
            && !self.storages.get(own).is_some_and(|storage| storage.shared)
        {
            return Err(Halt::because(format!("can't clone CT to node '{target}' (CT uses local storage)")));
        }
        for (_, volume) in source.volumes() {
            let storage = context.get("storage").or(storage_of(volume)).unwrap_or_default();
            self.require(context, &format!("/storage/{storage}"), &["Datastore.AllocateSpace"])?;
        }
        let storage = context.get("storage").unwrap_or(own);
        if let Some(bridge) = source.bridge() {
            self.require(context, &self.bridge_path(bridge), &["SDN.Use"])?;
        }
        Ok(CloneWork {
            newid,
            full,
            pool: context.get("pool").map(str::to_owned),
            storage: storage.to_owned(),
            source: volume.to_owned(),
            volume_made: false,
            rest: Duration::ZERO,
        })
    }

    /// The worker's first lines; returns how long it takes until the volume is made.
    pub(super) fn clone_begins(&mut self, id: u64) -> Duration {
        let (linked, full) = (self.durations.clone_linked, self.durations.clone_full);
        let mut first = Duration::ZERO;
        self.edit_task(id, |task| {
            let vmid = task.vmid;
            let Work::Clone(clone) = &mut task.work else { return };
            let span = if clone.full { full } else { linked };
            first = span / 4 * 3;
            clone.rest = span.saturating_sub(first);
            let kind = if clone.full { "full" } else { "linked" };
            let volume = clone.source.split(',').next().unwrap_or_default();
            task.log.push(format!("creating a clone of container {vmid} with ID {}", clone.newid));
            task.log.push(format!("create {kind} clone of mount point rootfs ({volume})"));
        });
        first
    }

    /// The volume exists now, or cannot be made; returns when the clone ends.
    pub(super) fn clone_makes_volume(
        &mut self,
        id: u64,
        vmid: u32,
        clone: &CloneWork,
    ) -> Result<Timestamp, String> {
        let node = self.cts.get(&clone.newid).map_or_else(String::new, |ct| ct.node.clone());
        let full = self.storages.get(&clone.storage).is_some_and(|storage| storage.free == 0);
        let trouble = if full {
            let (from, to) = self.volume_paths(vmid, clone);
            Some(format!("command 'btrfs subvolume snapshot -- {from} {to}' failed: no space left on device"))
        } else {
            self.storage_fault(&clone.storage, &node)
        };
        if let Some(text) = trouble {
            self.clone_undone(vmid, clone);
            return Err(format!("clone failed: {text}"));
        }
        let size = clone.source.split(',').find(|part| part.starts_with("size=")).unwrap_or("size=1G");
        let volume = self.volume(&clone.storage, clone.newid, "vm");
        if let Some(ct) = self.cts.get_mut(&clone.newid) {
            ct.config.insert("rootfs".to_owned(), format!("{volume},{size}"));
        }
        self.edit_task(id, |task| {
            if let Work::Clone(clone) = &mut task.work {
                clone.volume_made = true;
            }
        });
        Ok(self.now.after(clone.rest))
    }

    /// Pool membership and the end of both locks.
    pub(super) fn clone_ends(&mut self, vmid: u32, clone: &CloneWork) {
        if let Some(pool) = &clone.pool {
            self.pools.entry(pool.clone()).or_default().insert(clone.newid);
        }
        for vmid in [vmid, clone.newid] {
            if let Some(ct) = self.cts.get_mut(&vmid) {
                ct.unlock();
            }
        }
    }

    /// A failing clone takes everything back.
    pub(super) fn clone_undone(&mut self, vmid: u32, clone: &CloneWork) {
        self.cts.remove(&clone.newid);
        if let Some(source) = self.cts.get_mut(&vmid) {
            source.unlock();
        }
    }

    /// A running clone is told to stop.
    pub(super) fn clone_interrupted(&mut self, id: u64, vmid: u32, clone: &CloneWork) {
        let (from, to) = self.volume_paths(vmid, clone);
        self.clone_undone(vmid, clone);
        self.end_task(
            id,
            Exit::Failed(format!(
                "clone failed: command 'btrfs subvolume snapshot -- {from} {to}' failed: interrupted by signal"
            )),
        );
    }

    /// Clones of a container whose tasks run.
    pub fn clones_in_flight(&self, vmid: u32) -> usize {
        self.running_tasks().filter(|task| task.is_clone_of(vmid)).count()
    }

    /// The most clones of a container that ran at the same time.
    pub fn max_clones_in_flight_seen(&self, vmid: u32) -> usize {
        self.clones_seen.get(&vmid).copied().unwrap_or_default()
    }

    /// A volume's name; `role` is `vm` or `base`.
    pub(super) fn volume(&self, storage: &str, vmid: u32, role: &str) -> String {
        match self.storages.get(storage).map(|storage| storage.kind.as_str()) {
            Some("btrfs" | "dir") => format!("{storage}:{vmid}/{role}-{vmid}-disk-0.raw"),
            Some(_) | None => format!("{storage}:{role}-{vmid}-disk-0"),
        }
    }

    pub(super) fn fresh_mac(&mut self) -> String {
        format!("BC:24:11:{:02X}:{:02X}:{:02X}", self.rng.u8(..), self.rng.u8(..), self.rng.u8(..))
    }

    fn volume_paths(&self, vmid: u32, clone: &CloneWork) -> (String, String) {
        let (storage, newid) = (&clone.storage, clone.newid);
        let role = if self.cts.get(&vmid).is_some_and(|ct| ct.is("template")) { "base" } else { "vm" };
        (
            format!("/srv/{storage}/images/{vmid}/{role}-{vmid}-disk-0"),
            format!("/srv/{storage}/images/{newid}/vm-{newid}-disk-0"),
        )
    }
}
