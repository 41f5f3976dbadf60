//! Which privilege each call asks for, checked before its parameters, with PVE's words for what is missing.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::ct::Ct;
use super::model::{Context, Model};
use super::reply::{Halt, Reply, data};
use super::routes::Route;

/// Any of these lets a caller change a configuration at all.
const CONFIG: [&str; 5] =
    ["VM.Config.Disk", "VM.Config.CPU", "VM.Config.Memory", "VM.Config.Network", "VM.Config.Options"];

impl Model {
    /// PVE's check of permissions before anything else.
    pub(super) fn check_access(&self, context: &Context) -> Result<(), Halt> {
        let vms = format!("/vms/{}", context.routed.vmid.as_deref().unwrap_or_default());
        match context.routed.route {
            Route::Version
            | Route::Nodes
            | Route::Resources
            | Route::NextId
            | Route::Permissions
            | Route::Pools
            | Route::CtList
            | Route::QemuList
            | Route::TaskList
            | Route::TaskStatus
            | Route::TaskLog
            | Route::TaskStop
            | Route::StorageList
            | Route::NetworkList => Ok(()),
            Route::ClusterStatus => self.require(context, "/", &["Sys.Audit"]),
            Route::CtConfig
            | Route::CtPending
            | Route::CtStatus
            | Route::CtInterfaces
            | Route::CtFeature
            | Route::SnapshotList => self.require(context, &vms, &["VM.Audit"]),
            Route::CtUpdate => self.require(context, &vms, &CONFIG),
            Route::CtStart | Route::CtStop | Route::CtShutdown | Route::CtReboot => {
                self.require(context, &vms, &["VM.PowerMgmt"])
            }
            Route::CtDestroy => self.require(context, &vms, &["VM.Allocate"]),
            Route::SnapshotCreate | Route::SnapshotDelete => self.require(context, &vms, &["VM.Snapshot"]),
            Route::SnapshotRollback => self.require(context, &vms, &["VM.Snapshot", "VM.Snapshot.Rollback"]),
            Route::StorageStatus => self.require(
                context,
                &format!("/storage/{}", context.name()),
                &["Datastore.Audit", "Datastore.AllocateSpace"],
            ),
            Route::CtClone => {
                self.require(context, &vms, &["VM.Clone"])?;
                let newid = context.get("newid").unwrap_or_default();
                let on_vm = self.may(context, &format!("/vms/{newid}"), "VM.Allocate");
                let on_pool = context
                    .get("pool")
                    .is_some_and(|pool| self.may(context, &format!("/pool/{pool}"), "VM.Allocate"));
                let refusal = || Halt::Refused(Reply::refused(403, "Permission check failed"));
                (on_vm || on_pool).then_some(()).ok_or_else(refusal)
            }
        }
    }

    /// Refuses a caller that has none of these privileges at a path.
    pub(super) fn require(&self, context: &Context, path: &str, any: &[&str]) -> Result<(), Halt> {
        if any.iter().any(|privilege| self.may(context, path, privilege)) {
            return Ok(());
        }
        Err(Halt::forbidden(&format!("{path}, {}", any.join("|"))))
    }

    /// Whether the caller has a privilege at a path.
    pub(super) fn may(&self, context: &Context, path: &str, privilege: &str) -> bool {
        self.access.privileges(&context.caller, path, self.pool_at(path)).contains_key(privilege)
    }

    /// The resource pool of the guest that a path names.
    fn pool_at(&self, path: &str) -> Option<&str> {
        self.pool_of(path.strip_prefix("/vms/")?.parse().ok()?)
    }

    /// The resource pool of a guest.
    pub(super) fn pool_of(&self, vmid: u32) -> Option<&str> {
        self.pools.iter().find(|(_, members)| members.contains(&vmid)).map(|(name, _)| name.as_str())
    }

    /// Refuses changes while the cluster has no quorum.
    pub(super) fn check_quorum(&self) -> Result<(), Halt> {
        if self.quorate { Ok(()) } else { Err(Halt::because("cluster not ready - no quorum?")) }
    }

    pub(super) fn pool_list(&self, context: &Context) -> Value {
        let seen = self.pools.keys().filter(|name| self.may(context, &format!("/pool/{name}"), "Pool.Audit"));
        data(seen.map(|name| json!({ "poolid": name })).collect())
    }

    /// Where the right to use a bridge is looked for: a vnet is in a zone of its own.
    pub(super) fn bridge_path(&self, bridge: &str) -> String {
        let zone = self.vnets.get(bridge).map_or("localnetwork", String::as_str);
        format!("/sdn/zones/{zone}/{bridge}")
    }

    /// The bridges that containers have, and the vnets, as far as the caller may see them; other interfaces there
    /// are none.
    pub(super) fn network_list(&self, context: &Context) -> Value {
        let with_vnets = matches!(context.get("type"), Some("any_bridge" | "include_sdn"));
        let names: BTreeSet<&str> =
            self.cts.values().filter_map(Ct::bridge).chain(self.vnets.keys().map(String::as_str)).collect();
        let row = |name: &str| {
            let path = self.bridge_path(name);
            let seen = ["SDN.Audit", "SDN.Use"].iter().any(|right| self.may(context, &path, right));
            let vnet = self.vnets.contains_key(name);
            let kind = if vnet { "vnet" } else { "bridge" };
            (seen && (with_vnets || !vnet)).then(|| json!({ "iface": name, "type": kind, "active": 1 }))
        };
        data(names.into_iter().filter_map(row).collect())
    }

    pub(super) fn permissions(&self, context: &Context) -> Value {
        let paths = if let Some(path) = context.get("path") {
            vec![path.to_owned()]
        } else {
            let mut paths = self.access.paths();
            paths.extend(["/", "/access", "/nodes", "/pool", "/sdn", "/storage", "/vms"].map(str::to_owned));
            paths.extend(self.pools.values().flatten().map(|vmid| format!("/vms/{vmid}")));
            paths.into_iter().collect()
        };
        let found: Map<String, Value> = paths
            .into_iter()
            .filter_map(|path| {
                let rights = self.access.privileges(&context.caller, &path, self.pool_at(&path));
                let rights: Map<String, Value> =
                    rights.into_iter().map(|(name, propagate)| (name, json!(u8::from(propagate)))).collect();
                (!rights.is_empty() || context.get("path").is_some()).then_some((path, Value::Object(rights)))
            })
            .collect();
        data(Value::Object(found))
    }
}
