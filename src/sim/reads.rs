//! What a node says of its containers, virtual machines and storages: always as they are now.

use serde_json::{Map, Value, json};

use super::ct::{Ct, storage_of};
use super::model::{Context, Model};
use super::reply::{Done, Halt, data};

const GIB: u64 = 1 << 30;

impl Model {
    pub(super) fn ct_list(&self, context: &Context) -> Value {
        let rows: Vec<Value> = self
            .cts
            .iter()
            .filter(|(vmid, ct)| {
                ct.node == context.node() && self.may(context, &format!("/vms/{vmid}"), "VM.Audit")
            })
            .map(|(vmid, ct)| Value::Object(self.status_row(*vmid, ct)))
            .collect();
        data(json!(rows))
    }

    pub(super) fn ct_status(&self, context: &Context) -> Done {
        let vmid = context.vmid().unwrap_or_default();
        let ct = self.ct_on(context.node(), vmid)?;
        let mut row = self.status_row(vmid, ct);
        row.insert("ha".to_owned(), json!({ "managed": 0 }));
        Ok(data(Value::Object(row)))
    }

    pub(super) fn ct_interfaces(&self, context: &Context) -> Value {
        let ct = context.vmid().and_then(|vmid| self.cts.get(&vmid)).filter(|ct| ct.node == context.node());
        let running = ct.filter(|ct| ct.running_since.is_some());
        data(running.map_or(Value::Null, |ct| {
            let net = ct.get("net0").unwrap_or_default();
            let mac = net.split(',').find_map(|part| part.strip_prefix("hwaddr=")).unwrap_or_default();
            json!([{ "name": "eth0", "hwaddr": mac.to_lowercase() }])
        }))
    }

    pub(super) fn ct_feature(&self, context: &Context) -> Done {
        let ct = self.ct_on(context.node(), context.vmid().unwrap_or_default())?;
        let linkable = ct.volumes().all(|(_, volume)| self.is_linkable(volume));
        let has = match context.get("feature") {
            Some("clone") => linkable && ct.is("template"),
            Some("snapshot") => linkable && !ct.is("template"),
            Some("copy") => true,
            Some(other) => {
                let text = format!(
                    "value '{other}' does not have a value in the enumeration 'snapshot, clone, copy'"
                );
                return Err(Halt::parameter("feature", &text));
            }
            None => false,
        };
        Ok(data(json!({ "hasFeature": u8::from(has) })))
    }

    /// Whether the storage of a volume can make linked clones of it.
    pub(super) fn is_linkable(&self, volume: &str) -> bool {
        storage_of(volume).and_then(|name| self.storages.get(name)).is_some_and(|storage| storage.linkable)
    }

    pub(super) fn qemu_list(&self, context: &Context) -> Value {
        let rows: Vec<Value> = self
            .vms
            .iter()
            .filter(|(vmid, vm)| {
                vm.node == context.node() && self.may(context, &format!("/vms/{vmid}"), "VM.Audit")
            })
            .map(|(vmid, vm)| json!({ "vmid": vmid, "name": vm.name, "status": "stopped" }))
            .collect();
        data(json!(rows))
    }

    pub(super) fn storage_list(&self, context: &Context) -> Value {
        let rows: Vec<Value> = self
            .storages
            .keys()
            .filter(|name| {
                let path = format!("/storage/{name}");
                self.may(context, &path, "Datastore.Audit")
                    || self.may(context, &path, "Datastore.AllocateSpace")
            })
            .filter_map(|name| self.storage_row(name, context.node()))
            .map(Value::Object)
            .collect();
        data(json!(rows))
    }

    pub(super) fn storage_status(&self, context: &Context) -> Done {
        let mut row = self
            .storage_row(context.name(), context.node())
            .ok_or_else(|| Halt::parameter("storage", "No such storage."))?;
        for absent in ["storage", "used_fraction"] {
            row.remove(absent);
        }
        Ok(data(Value::Object(row)))
    }

    /// Why a storage cannot be used on a node.
    pub(super) fn storage_fault(&self, name: &str, node: &str) -> Option<String> {
        match self.storages.get(name) {
            None => Some(format!("storage '{name}' does not exist")),
            Some(storage) if !storage.enabled => Some(format!("storage '{name}' is disabled")),
            Some(storage) if !storage.is_on(node) => {
                Some(format!("storage '{name}' is not available on node '{node}'"))
            }
            Some(_) => None,
        }
    }

    /// A container's row without name of the node, as `/nodes/{node}/lxc` shows it.
    pub(super) fn status_row(&self, vmid: u32, ct: &Ct) -> Map<String, Value> {
        let running = ct.running_since.is_some();
        let used = if running { ct.bytes("memory", 512) / 8 } else { 0 };
        let mut row = object(json!({
            "vmid": vmid,
            "name": ct.name(vmid),
            "type": "lxc",
            "status": if running { "running" } else { "stopped" },
            "uptime": ct.running_since.map_or(0, |since| self.now.since(since).as_secs()),
            "cpus": ct.get("cores").and_then(|text| text.parse().ok()).unwrap_or(2_u64),
            "cpu": 0,
            "mem": used,
            "maxmem": ct.bytes("memory", 512),
            "swap": 0,
            "maxswap": ct.bytes("swap", 512),
            "disk": if running { GIB / 2 } else { 0 },
            "maxdisk": if ct.get("rootfs").is_some() { GIB } else { 4 * GIB },
            "netin": 0,
            "netout": 0,
            "diskread": 0,
            "diskwrite": 0,
        }));
        if running {
            row.insert("pid".to_owned(), json!(5000 + vmid));
            for kind in ["cpu", "io", "memory"] {
                for share in ["some", "full"] {
                    row.insert(format!("pressure{kind}{share}"), Value::Null);
                }
            }
        }
        for option in ["lock", "tags"] {
            if let Some(text) = ct.get(option) {
                row.insert(option.to_owned(), json!(text));
            }
        }
        if ct.is("template") {
            row.insert("template".to_owned(), json!(1));
        }
        row
    }

    fn storage_row(&self, name: &str, node: &str) -> Option<Map<String, Value>> {
        let storage = self.storages.get(name).filter(|storage| storage.is_on(node))?;
        let total = 256 * GIB;
        let used = total.saturating_sub(storage.free);
        let active = storage.enabled && storage.active;
        let (total, used) = if active { (total, used) } else { (0, 0) };
        Some(object(json!({
            "storage": name,
            "type": storage.kind,
            "content": storage.content,
            "enabled": u8::from(storage.enabled),
            "active": u8::from(active),
            "shared": u8::from(storage.shared),
            "total": total,
            "used": used,
            "avail": total - used,
            "used_fraction": if total > 0 { used as f64 / total as f64 } else { 0.0 },
        })))
    }
}

/// The map inside an object made by `json!`.
pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    }
}
