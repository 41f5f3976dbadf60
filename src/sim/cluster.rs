//! What the front end says of the cluster: resources with pvestatd's lag, nodes, free VMIDs.
//!
//! That a guest exists, its node, lock and tags are always current; its name and state are as old as pvestatd's
//! last round, and belong to whoever had the VMID then.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::model::{Context, Model};
use super::reads::object;
use super::reply::{Done, Halt, data};

/// After this long without pvestatd a node's statistics are dropped.
const STATS_LAST: Duration = Duration::from_mins(5);

impl Model {
    pub(super) fn version(&self) -> Value {
        let release = self.version.split(['.', '-']).take(2).collect::<Vec<_>>().join(".");
        data(json!({ "version": self.version, "release": release, "repoid": "14a22df3" }))
    }

    pub(super) fn node_list(&self, context: &Context) -> Value {
        let rows: Vec<Value> = self
            .nodes
            .iter()
            .map(|(name, node)| {
                let mut row = object(json!({
                    "id": format!("node/{name}"),
                    "node": name,
                    "type": "node",
                    "level": "",
                    "status": if node.up { "online" } else { "offline" },
                    "ssl_fingerprint": vec!["78"; 32].join(":"),
                }));
                if node.up && self.may(context, &format!("/nodes/{name}"), "Sys.Audit") {
                    row.extend(object(json!({
                        "cpu": 0, "maxcpu": 2, "mem": 942_362_624_u64, "maxmem": 25_276_514_304_u64,
                        "disk": 13_547_626_496_u64, "maxdisk": 270_553_174_016_u64, "uptime": 4600,
                    })));
                }
                Value::Object(row)
            })
            .collect();
        data(json!(rows))
    }

    pub(super) fn cluster_status(&self) -> Value {
        let mut rows: Vec<Value> = Vec::new();
        if self.nodes.len() > 1 {
            rows.push(json!({
                "id": "cluster", "type": "cluster", "name": "sim", "version": 1,
                "nodes": self.nodes.len(), "quorate": u8::from(self.quorate),
            }));
        }
        for (index, (name, node)) in self.nodes.iter().enumerate() {
            rows.push(json!({
                "id": format!("node/{name}"), "type": "node", "name": name, "level": "",
                "ip": format!("192.0.2.{}", 11 + index), "nodeid": index,
                "online": u8::from(node.up), "local": u8::from(*name == self.entry),
            }));
        }
        data(json!(rows))
    }

    pub(super) fn next_id(&self, context: &Context) -> Done {
        let taken = |vmid: u32| self.cts.contains_key(&vmid) || self.vms.contains_key(&vmid);
        if let Some(wanted) = context.number("vmid") {
            return if taken(u32::try_from(wanted).unwrap_or_default()) {
                Err(Halt::parameter("vmid", &format!("VM {wanted} already exists")))
            } else {
                Ok(data(json!(wanted.to_string())))
            };
        }
        let free = (100..1_000_000).find(|vmid| !taken(*vmid));
        free.map(|vmid| data(json!(vmid.to_string())))
            .ok_or_else(|| Halt::because("unable to get any free VMID in range [100, 1000000]"))
    }

    pub(super) fn resources(&self, context: &Context) -> Value {
        let kind = context.get("type");
        let mut rows: Vec<Value> = Vec::new();
        if kind.is_none_or(|kind| kind == "vm") {
            rows.extend(self.guest_rows(context));
        }
        if kind.is_none_or(|kind| kind == "node") {
            rows.extend(self.nodes.iter().map(|(name, node)| {
                json!({
                    "id": format!("node/{name}"), "type": "node", "node": name, "level": "", "cgroup-mode": 1,
                    "status": if node.up { "online" } else { "offline" },
                })
            }));
        }
        if kind.is_none_or(|kind| kind == "storage") {
            let may = |name: &str| {
                let path = format!("/storage/{name}");
                self.may(context, &path, "Datastore.Audit")
                    || self.may(context, &path, "Datastore.AllocateSpace")
            };
            for (name, storage) in self.storages.iter().filter(|(name, _)| may(name)) {
                rows.extend(self.nodes.keys().filter(|node| storage.is_on(node)).map(|node| {
                    json!({
                        "id": format!("storage/{node}/{name}"), "type": "storage", "storage": name,
                        "node": node, "status": "available", "plugintype": storage.kind,
                        "content": storage.content, "shared": u8::from(storage.shared),
                    })
                }));
            }
        }
        data(json!(rows))
    }

    fn guest_rows(&self, context: &Context) -> Vec<Value> {
        let cts = self.cts.iter().map(|(vmid, ct)| (*vmid, "lxc", ct.node.as_str()));
        let vms = self.vms.iter().map(|(vmid, vm)| (*vmid, "qemu", vm.node.as_str()));
        cts.chain(vms)
            .filter(|(vmid, ..)| self.may(context, &format!("/vms/{vmid}"), "VM.Audit"))
            .map(|(vmid, kind, node)| {
                let mut row = self.stats.get(&vmid).map(|(_, row)| row.clone()).unwrap_or_default();
                row.entry("status").or_insert_with(|| json!("unknown"));
                row.extend(object(json!({
                    "id": format!("{kind}/{vmid}"), "vmid": vmid, "node": node, "type": kind,
                })));
                for option in ["lock", "tags"] {
                    if let Some(text) = self.cts.get(&vmid).and_then(|ct| ct.get(option)) {
                        row.insert(option.to_owned(), json!(text));
                    }
                }
                let pool = self.pool_of(vmid);
                if let Some(pool) =
                    pool.filter(|pool| self.may(context, &format!("/pool/{pool}"), "Pool.Audit"))
                {
                    row.insert("pool".to_owned(), json!(pool));
                }
                Value::Object(row)
            })
            .collect()
    }

    /// Rounds of pvestatd that are over by now; only the last of them can still be seen.
    pub(super) fn pass_rounds(&mut self) {
        if self.now < self.next_round {
            return;
        }
        let span = i64::try_from(self.durations.stat_round.as_millis()).unwrap_or(i64::MAX).max(1);
        let passed = (self.now.0 - self.next_round.0) / span;
        let round = crate::domain::time::Timestamp(self.next_round.0 + passed * span);
        self.next_round = round.after(self.durations.stat_round);
        let now = self.now;
        self.stats.retain(|_, (seen, _)| now.since(*seen) < STATS_LAST);
        if !self.pvestatd_up {
            return;
        }
        let up = |node: &str| self.is_node_up(node);
        let cts = self.cts.iter().filter(|(_, ct)| up(&ct.node)).map(|(vmid, ct)| {
            let live = self.status_row(*vmid, ct);
            let mut row: Map<String, Value> = ["name", "status", "uptime", "cpu", "mem", "maxmem", "disk"]
                .into_iter()
                .chain(["maxdisk", "netin", "netout", "diskread", "diskwrite"])
                .filter_map(|key| live.get(key).map(|value| (key.to_owned(), value.clone())))
                .collect();
            row.insert("maxcpu".to_owned(), live.get("cpus").cloned().unwrap_or(json!(2)));
            row.insert("memhost".to_owned(), json!(0));
            row.insert("template".to_owned(), json!(u8::from(ct.is("template"))));
            (*vmid, (round, row))
        });
        let vms = self.vms.iter().filter(|(_, vm)| up(&vm.node)).map(|(vmid, vm)| {
            let row = object(json!({ "name": vm.name, "status": "stopped", "template": 0, "uptime": 0 }));
            (*vmid, (round, row))
        });
        let fresh: Vec<_> = cts.chain(vms).collect();
        let gone = |vmid: &u32| !self.cts.contains_key(vmid) && !self.vms.contains_key(vmid);
        let gone: Vec<u32> = self.stats.keys().copied().filter(gone).collect();
        for vmid in gone {
            self.stats.remove(&vmid);
        }
        self.stats.extend(fresh);
    }

    /// Whether a node can be reached.
    pub fn is_node_up(&self, node: &str) -> bool {
        self.nodes.get(node).is_some_and(|node| node.up)
    }
}
