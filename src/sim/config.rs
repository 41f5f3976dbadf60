//! A container's configuration: reading it, and the PUT that changes it under the file lock.

use serde_json::{Value, json};

use super::ct::{Ct, shown_option};
use super::model::{Context, Model};
use super::power::missing;
use super::reply::{Done, Halt, data};
use super::routes;

impl Model {
    pub(super) fn ct_config(&self, context: &Context) -> Done {
        let ct = self.ct_on(context.node(), context.vmid().unwrap_or_default())?;
        match context.get("snapshot") {
            Some(name) => {
                let snapshot = ct
                    .snapshots
                    .get(name)
                    .ok_or_else(|| Halt::because(format!("snapshot '{name}' does not exist")))?;
                Ok(data(Value::Object(super::ct::shown(&snapshot.config))))
            }
            None => Ok(data(ct.document())),
        }
    }

    pub(super) fn ct_pending(&self, context: &Context) -> Done {
        let ct = self.ct_on(context.node(), context.vmid().unwrap_or_default())?;
        let mut rows: Vec<Value> = ct
            .config
            .iter()
            .map(|(option, text)| json!({ "key": option, "value": shown_option(option, text) }))
            .collect();
        rows.push(json!({ "key": "digest", "value": ct.digest() }));
        Ok(data(json!(rows)))
    }

    pub(super) fn ct_update(&mut self, context: &Context) -> Done {
        let vmid = context.vmid().unwrap_or_default();
        let changes: Vec<(&str, &str)> = context
            .params
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "digest" | "delete" | "revert"))
            .map(|(name, text)| (name.as_str(), text.as_str()))
            .collect();
        let deleted: Vec<&str> = context
            .get("delete")
            .unwrap_or_default()
            .split([',', ';', ' '])
            .filter(|name| !name.is_empty())
            .collect();
        if changes.is_empty() && deleted.is_empty() && context.get("revert").is_none() {
            return Err(Halt::because("no options specified"));
        }
        if let Some((name, _)) = changes.iter().find(|(name, _)| deleted.contains(name)) {
            return Err(Halt::parameter(name, "-> delete and set at the same time is not possible"));
        }
        self.check_options(context, changes.iter().map(|(name, _)| *name).chain(deleted.iter().copied()))?;
        self.check_quorum()?;
        if self.file_locks.contains_key(&vmid) {
            return Err(Halt::FileLock(vmid));
        }
        let digest = self.unlocked_ct(context.node(), vmid)?.digest();
        if context.get("digest").is_some_and(|expected| expected != digest) {
            return Err(Halt::because(
                "detected modified configuration - file changed by other user? Try again.",
            ));
        }
        if let Some(ct) = self.cts.get_mut(&vmid) {
            for name in deleted {
                ct.config.remove(name);
            }
            for (name, text) in changes {
                set_option(ct, name, text);
            }
        }
        Ok(data(Value::Null))
    }

    fn check_options<'a>(
        &self,
        context: &Context,
        options: impl Iterator<Item = &'a str>,
    ) -> Result<(), Halt> {
        for option in options {
            let privilege = match option {
                "hostname" | "nameserver" | "searchdomain" => "VM.Config.Network",
                net if net.starts_with("net") => "VM.Config.Network",
                "cores" | "cpulimit" | "cpuunits" => "VM.Config.CPU",
                "memory" | "swap" => "VM.Config.Memory",
                "rootfs" => "VM.Config.Disk",
                _ => "VM.Config.Options",
            };
            self.require(context, &format!("/vms/{}", context.vmid().unwrap_or_default()), &[privilege])?;
        }
        Ok(())
    }

    /// A container, if it is on that node.
    pub(super) fn ct_on(&self, node: &str, vmid: u32) -> Result<&Ct, Halt> {
        let found = self.cts.get(&vmid).filter(|ct| ct.node == node);
        found.ok_or_else(|| Halt::because(missing(node, vmid)))
    }

    /// The same, if PVE has no lock on it.
    pub(super) fn unlocked_ct(&self, node: &str, vmid: u32) -> Result<&Ct, Halt> {
        let ct = self.ct_on(node, vmid)?;
        match ct.get("lock") {
            Some(lock) => Err(Halt::because(format!("CT is locked ({lock})"))),
            None => Ok(ct),
        }
    }
}

fn set_option(ct: &mut Ct, name: &str, text: &str) {
    let text = match name {
        "tags" => routes::tags(text).unwrap_or_default(),
        "description" => text.trim_end_matches('\n').to_owned(),
        _ => text.to_owned(),
    };
    ct.config.insert(name.to_owned(), text);
}
