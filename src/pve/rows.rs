//! What PVE tells of nodes, guests, storages and tasks, in types.
//!
//! Only what the pool reads is here; what PVE adds is ignored, and what it leaves out is `None`. Nothing
//! here concludes anything: a list may lag behind, and an absent row may be a missing right.

use std::collections::BTreeMap;

use super::answer::Row;
use super::error::Error;
use super::task;
use crate::domain::ids::{Node, Upid, Vmid};
use crate::domain::time::Timestamp;

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// Its name.
    pub name: Node,
    /// The cluster sees it.
    pub online: bool,
}

/// The two kinds of guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestKind {
    /// A container.
    Lxc,
    /// A virtual machine.
    Qemu,
}

/// A guest of the cluster, from a list whose name and status may be ten seconds old or missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestRow {
    /// Its VMID.
    pub vmid: Vmid,
    /// Where it is.
    pub node: Node,
    /// Container or virtual machine.
    pub kind: GuestKind,
    /// Its hostname; may be that of a predecessor with the same VMID.
    pub name: Option<String>,
    /// Whether it is a template.
    pub template: Option<bool>,
    /// `running` or `stopped`; none where PVE says `unknown`.
    pub status: Option<String>,
    /// The lock in its configuration, up to date.
    pub lock: Option<String>,
}

/// A container of a node, from that node's list, which is always up to date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CtRow {
    /// Its VMID.
    pub vmid: Vmid,
    /// Its hostname.
    pub name: Option<String>,
    /// It runs.
    pub running: bool,
    /// The lock in its configuration.
    pub lock: Option<String>,
    /// It is a template.
    pub template: bool,
}

/// A container's configuration as it is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CtConfig {
    /// Its hostname.
    pub hostname: Option<String>,
    /// Its description, without the newline that PVE appends.
    pub description: Option<String>,
    /// It is a template.
    pub template: bool,
    /// The lock that stands in it.
    pub lock: Option<String>,
    /// It is started with its node.
    pub onboot: bool,
    /// It cannot be destroyed.
    pub protection: bool,
    /// To be sent with a change that must not overwrite another's.
    pub digest: Option<String>,
    /// Its volume; none while a clone has not made it.
    pub rootfs: Option<String>,
    /// Its other mount points, `mp0` and so on: a volume, or a path of the node.
    pub mounts: BTreeMap<String, String>,
    /// The bridges that its network interfaces are on.
    pub bridges: Vec<String>,
}

/// A container's status, up to date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CtStatus {
    /// It runs.
    pub running: bool,
    /// The lock in its configuration.
    pub lock: Option<String>,
    /// Its hostname, or `CT` and its VMID.
    pub name: Option<String>,
    /// It is a template.
    pub template: bool,
}

/// A storage as a node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageRow {
    /// Its name.
    pub name: String,
    /// `lvmthin`, `zfspool`, `dir` …
    pub kind: String,
    /// What may be on it: `rootdir`, `images` …
    pub content: Vec<String>,
    /// It is not switched off.
    pub enabled: bool,
    /// It can be reached.
    pub active: bool,
    /// Bytes free.
    pub available_bytes: Option<u64>,
    /// Bytes in all.
    pub total_bytes: Option<u64>,
}

/// A task of a node's list, which may name a dead one as running for some seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskRow {
    /// Its handle.
    pub upid: Upid,
    /// It works.
    pub running: bool,
    /// When it began, by the node's clock, in whole seconds.
    pub started: Timestamp,
    /// How it ended: `OK`, `WARNINGS: 1`, or PVE's words.
    pub exit: Option<String>,
}

impl NodeRow {
    pub(super) fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self { name: row.node()?, online: row.text("status").as_deref() == Some("online") })
    }
}

impl GuestRow {
    /// A row of the cluster's list; `None` for what is no guest.
    pub(super) fn read(row: &Row) -> Result<Option<Self>, Error> {
        let kind = match row.needed_text("type")?.as_str() {
            "lxc" => GuestKind::Lxc,
            "qemu" => GuestKind::Qemu,
            _ => return Ok(None),
        };
        Self::on(row, row.node()?, kind).map(Some)
    }

    /// A row of a node's own list, which says less and is up to date.
    pub(super) fn read_on(row: &Row, node: Node, kind: GuestKind) -> Result<Self, Error> {
        // These lists leave `template` out when it is false.
        Ok(Self { template: Some(row.is_set("template")), ..Self::on(row, node, kind)? })
    }

    fn on(row: &Row, node: Node, kind: GuestKind) -> Result<Self, Error> {
        Ok(Self {
            vmid: row.vmid()?,
            node,
            kind,
            name: row.text("name"),
            template: row.flag("template"),
            status: row.text("status").filter(|status| status != "unknown"),
            lock: row.text("lock"),
        })
    }
}

impl CtRow {
    pub(super) fn read(row: &Row) -> Result<Self, Error> {
        let vmid = row.vmid()?;
        let CtStatus { running, lock, name, template } = CtStatus::read(row)?;
        Ok(Self { vmid, name, running, lock, template })
    }
}

impl CtConfig {
    pub(super) fn read(row: &Row) -> Self {
        let description = row.text("description");
        Self {
            hostname: row.text("hostname"),
            description: description.map(|text| text.strip_suffix('\n').unwrap_or(&text).to_owned()),
            template: row.is_set("template"),
            lock: row.text("lock"),
            onboot: row.is_set("onboot"),
            protection: row.is_set("protection"),
            digest: row.text("digest"),
            rootfs: row.text("rootfs"),
            mounts: row.numbered("mp"),
            bridges: row.numbered("net").values().filter_map(|interface| bridge(interface)).collect(),
        }
    }
}

/// The bridge in `name=eth0,bridge=vmbr0,ip=dhcp`.
fn bridge(interface: &str) -> Option<String> {
    interface.split(',').find_map(|part| part.strip_prefix("bridge=")).map(str::to_owned)
}

impl CtStatus {
    pub(super) fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            running: row.needed_text("status")? == "running",
            lock: row.text("lock"),
            name: row.text("name"),
            template: row.is_set("template"),
        })
    }
}

impl StorageRow {
    pub(super) fn read(row: &Row) -> Result<Self, Error> {
        let content = row.text("content").unwrap_or_default();
        Ok(Self {
            name: row.needed_text("storage")?,
            kind: row.text("type").unwrap_or_default(),
            content: content.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect(),
            enabled: row.is_set("enabled"),
            active: row.is_set("active"),
            available_bytes: row.number("avail"),
            total_bytes: row.number("total"),
        })
    }
}

impl TaskRow {
    pub(super) fn read(row: &Row) -> Result<Self, Error> {
        let upid = Upid(row.needed_text("upid")?);
        let task = task::parse(upid.as_str()).ok_or_else(|| task::not_a_upid(&upid))?;
        let exit = row.text("status").filter(|status| status != "RUNNING");
        // A task without an end and without a word about it works, too.
        let running = exit.is_none() && row.number("endtime").is_none();
        Ok(Self { upid, running, started: row.instant("starttime").unwrap_or(task.started), exit })
    }
}
