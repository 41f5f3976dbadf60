//! What others do to the cluster: its administrator, its users, and misfortune. No permission is asked.

use std::collections::BTreeMap;

use super::ct::{Ct, CtSpec, CtView};
use super::faults::{Armed, FaultRule};
use super::model::Model;
use super::tasks::{Exit, Work};
use super::violations::Violation;
use super::world::{Durations, Node, Storage, Vm};

impl Model {
    /// Adds a node.
    pub fn add_node(&mut self, name: &str) {
        self.nodes.insert(name.to_owned(), Node::default());
    }

    /// Adds or replaces a storage.
    pub fn set_storage(&mut self, name: &str, storage: Storage) {
        self.storages.insert(name.to_owned(), storage);
    }

    /// Changes a storage.
    pub fn edit_storage(&mut self, name: &str, edit: impl FnOnce(&mut Storage)) {
        if let Some(storage) = self.storages.get_mut(name) {
            edit(storage);
        }
    }

    /// Has it be another release of PVE; only what it says of itself is that one's.
    pub fn set_version(&mut self, version: &str) {
        version.clone_into(&mut self.version);
    }

    /// Adds an empty resource pool.
    pub fn add_pool(&mut self, name: &str) {
        self.pools.entry(name.to_owned()).or_default();
    }

    /// Adds a vnet to a zone of the software-defined network.
    pub fn add_vnet(&mut self, name: &str, zone: &str) {
        self.vnets.insert(name.to_owned(), zone.to_owned());
    }

    /// Adds a container.
    pub fn add_ct(&mut self, spec: CtSpec) {
        let CtSpec { vmid, storage, mut config, .. } = spec;
        let role = if config.get("template").is_some_and(|flag| flag == "1") { "base" } else { "vm" };
        let volume = self.volume(&storage, vmid, role);
        config.entry("rootfs".to_owned()).or_insert_with(|| format!("{volume},size=1G"));
        let mac = self.fresh_mac();
        config
            .entry("net0".to_owned())
            .or_insert_with(|| format!("name=eth0,bridge=vmbr0,hwaddr={mac},ip=dhcp,type=veth"));
        let mut ct = Ct::new(spec.node.as_deref().unwrap_or(&self.entry), config);
        ct.running_since = spec.running.then_some(self.now);
        ct.adoptable = spec.adoptable;
        ct.made_by = spec.made_by;
        ct.ignores_shutdown = spec.ignores_shutdown;
        if ct.get("lock").is_some() {
            ct.locked = Some((self.now, false));
        }
        self.cts.insert(vmid, ct);
        if let Some(pool) = spec.pool {
            self.pools.entry(pool).or_default().insert(vmid);
        }
    }

    /// Adds a QEMU guest, which occupies its VMID.
    pub fn add_qemu(&mut self, vmid: u32, node: &str, name: &str) {
        self.vms.insert(vmid, Vm { node: node.to_owned(), name: name.to_owned() });
    }

    /// A container as it is.
    pub fn ct(&self, vmid: u32) -> Option<CtView> {
        let ct = self.cts.get(&vmid)?;
        let text = |option: &str| ct.get(option).map(str::to_owned);
        Some(CtView {
            vmid,
            node: ct.node.clone(),
            hostname: text("hostname"),
            description: text("description"),
            tags: text("tags"),
            running: ct.running_since.is_some(),
            lock: text("lock"),
            template: ct.is("template"),
            onboot: ct.is("onboot"),
            protection: ct.is("protection"),
            pool: self.pool_of(vmid).map(str::to_owned),
            linked_from: ct.linked_from,
            made_by: ct.made_by.clone(),
            config: ct.config.clone(),
        })
    }

    /// VMIDs of all containers, ascending.
    pub fn vmids(&self) -> Vec<u32> {
        self.cts.keys().copied().collect()
    }

    /// What the watched token did that a good client does not.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// How many of the last calls are remembered for [`Model::calls`].
    pub fn remember_calls(&mut self, most: usize) {
        self.history_max = most;
    }

    /// The token whose conduct is watched.
    pub fn watch_token(&mut self, name: &str) {
        name.clone_into(&mut self.watched);
    }

    /// How long things take, from now on.
    pub fn durations_mut(&mut self) -> &mut Durations {
        &mut self.durations
    }

    /// Destroys a container at once.
    pub fn outside_destroy(&mut self, vmid: u32) {
        self.remove_ct(vmid);
    }

    /// Changes one option of a container, or removes it.
    pub fn outside_set(&mut self, vmid: u32, option: &str, text: Option<&str>) {
        if let Some(ct) = self.cts.get_mut(&vmid) {
            match text {
                Some(text) => ct.config.insert(option.to_owned(), text.to_owned()),
                None => ct.config.remove(option),
            };
        }
    }

    /// Renames a container.
    pub fn outside_rename(&mut self, vmid: u32, hostname: &str) {
        self.outside_set(vmid, "hostname", Some(hostname));
    }

    /// Starts a container at once.
    pub fn outside_start(&mut self, vmid: u32) {
        let now = self.now;
        if let Some(ct) = self.cts.get_mut(&vmid) {
            ct.running_since.get_or_insert(now);
        }
    }

    /// Stops a container at once.
    pub fn outside_stop(&mut self, vmid: u32) {
        if let Some(ct) = self.cts.get_mut(&vmid) {
            ct.running_since = None;
        }
    }

    /// Puts a lock into a container's configuration, as a backup does.
    pub fn outside_lock(&mut self, vmid: u32, lock: &str) {
        let now = self.now;
        if let Some(ct) = self.cts.get_mut(&vmid) {
            ct.lock(lock, now, false);
        }
    }

    /// `pct unlock`: the only way to be rid of a lock whose holder is dead.
    pub fn pct_unlock(&mut self, vmid: u32) {
        if let Some(ct) = self.cts.get_mut(&vmid) {
            ct.unlock();
        }
    }

    /// Turns a stopped container into a template, as users of sandboxes do.
    pub fn convert_to_template(&mut self, vmid: u32) {
        let storage = self.cts.get(&vmid).and_then(Ct::storage).unwrap_or_default().to_owned();
        let volume = self.volume(&storage, vmid, "base");
        self.outside_stop(vmid);
        self.outside_set(vmid, "rootfs", Some(&format!("{volume},size=1G")));
        self.outside_set(vmid, "template", Some("1"));
    }

    /// Moves a container to another node.
    pub fn outside_migrate(&mut self, vmid: u32, node: &str) {
        if let Some(ct) = self.cts.get_mut(&vmid) {
            node.clone_into(&mut ct.node);
        }
    }

    /// Makes a container somebody else's, whoever made it.
    pub fn mark_foreign(&mut self, vmid: u32) {
        if let Some(ct) = self.cts.get_mut(&vmid) {
            ct.made_by = None;
            ct.adoptable = false;
        }
    }

    /// Adds an API token `user@realm!name`, with privilege separation or without.
    pub fn add_token(&mut self, name: &str, secret: &str, separated: bool) {
        self.access.add_token(name, secret, separated);
    }

    /// Lets a token in, or no longer.
    pub fn set_token_enabled(&mut self, name: &str, enabled: bool) {
        self.access.set_token_enabled(name, enabled);
    }

    /// Gives a token and its user privileges at a path and below it.
    pub fn grant(&mut self, token: &str, path: &str, privileges: &[&str]) {
        for privilege in privileges {
            for who in [super::access::user_of(token), token] {
                self.access.grant(who, path, privilege);
            }
        }
    }

    /// The same at that path alone, not below.
    pub fn grant_here_only(&mut self, token: &str, path: &str, privileges: &[&str]) {
        self.grant(token, path, privileges);
        for who in [super::access::user_of(token), token] {
            self.access.stop_propagating(who, path);
        }
    }

    /// Takes privileges away that were granted at exactly this path.
    pub fn revoke(&mut self, token: &str, path: &str, privileges: &[&str]) {
        for privilege in privileges {
            for who in [super::access::user_of(token), token] {
                self.access.revoke(who, path, privilege);
            }
        }
    }

    /// A node goes down or comes back; its containers are stopped, its tasks die.
    pub fn set_node_up(&mut self, name: &str, up: bool) {
        if let Some(node) = self.nodes.get_mut(name) {
            node.up = up;
        }
        if !up {
            for ct in self.cts.values_mut().filter(|ct| ct.node == name) {
                ct.running_since = None;
            }
            let tasks: Vec<u64> = self.running.iter().copied().collect();
            for id in tasks {
                if self.tasks.get(&id).is_some_and(|task| task.node == name) {
                    self.end_task(id, Exit::Died);
                }
            }
        }
    }

    /// A node's privileged daemon stops or starts; tasks outlive it.
    pub fn set_daemon_up(&mut self, name: &str, up: bool) {
        if let Some(node) = self.nodes.get_mut(name) {
            node.daemon_up = up;
        }
    }

    /// The front end accepts connections, or refuses them.
    pub fn set_front_end_up(&mut self, up: bool) {
        self.front_end_up = up;
    }

    /// pvestatd makes its rounds, or does not.
    pub fn set_pvestatd_up(&mut self, up: bool) {
        self.pvestatd_up = up;
    }

    /// The cluster has quorum, or refuses changes.
    pub fn set_quorate(&mut self, quorate: bool) {
        self.quorate = quorate;
    }

    /// Kills the worker of every running clone of a template: both locks stay. Returns how many there were.
    pub fn kill_running_clone(&mut self, template: u32) -> usize {
        let clones: Vec<u64> = self
            .running
            .iter()
            .copied()
            .filter(|id| self.tasks.get(id).is_some_and(|task| task.is_clone_of(template)))
            .collect();
        for id in &clones {
            self.end_task(*id, Exit::Died);
        }
        clones.len()
    }

    /// Runs a task of somebody else that does nothing, for what the API says of it; returns its UPID.
    pub fn add_foreign_task(&mut self, caller: &str, kind: &'static str, vmid: u32) -> String {
        let node = self.entry.clone();
        let upid = self.add_task(caller, &node, kind, vmid, Work::Nothing, None, Vec::new());
        self.advance(self.now);
        upid
    }

    /// Whether a task works on this container.
    pub fn has_task(&self, vmid: u32) -> bool {
        self.running_tasks().any(|task| task.concerns(vmid))
    }

    /// Whether any task runs.
    pub fn is_busy(&self) -> bool {
        !self.running.is_empty()
    }

    /// Scripts trouble; the number is for [`Model::remove_fault`].
    pub fn add_fault(&mut self, rule: FaultRule) -> u64 {
        self.serial += 1;
        self.faults.push(Armed { id: self.serial, rule, seen: 0 });
        self.serial
    }

    /// Ends one kind of trouble.
    pub fn remove_fault(&mut self, id: u64) {
        self.faults.retain(|armed| armed.id != id);
    }

    /// Ends all trouble.
    pub fn clear_faults(&mut self) {
        self.faults.clear();
    }

    /// All access of a token, for a test that compares; path to privileges.
    pub fn access_of(&self, token: &str) -> BTreeMap<String, Vec<String>> {
        let caller = super::access::Caller { name: token.to_owned() };
        let at = |path: &String| self.access.privileges(&caller, path, None).into_keys().collect::<Vec<_>>();
        self.access.paths().iter().map(|path| (path.clone(), at(path))).collect()
    }
}
