//! Which calls exist, which daemon answers them, and the parameters that their schemas know.

use percent_encoding::percent_decode_str;

use super::incoming::Params;
use super::reply::{Halt, Reply};

/// The calls that the simulation answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Version,
    Nodes,
    Resources,
    NextId,
    ClusterStatus,
    Permissions,
    Pools,
    CtList,
    CtConfig,
    CtPending,
    CtUpdate,
    CtStatus,
    CtInterfaces,
    CtFeature,
    CtClone,
    CtStart,
    CtStop,
    CtShutdown,
    CtReboot,
    CtDestroy,
    SnapshotList,
    SnapshotCreate,
    SnapshotDelete,
    SnapshotRollback,
    TaskList,
    TaskStatus,
    TaskLog,
    TaskStop,
    StorageList,
    NetworkList,
    StorageStatus,
    QemuList,
}

/// A call that exists, with what its path names.
#[derive(Clone, Debug)]
pub(super) struct Routed {
    /// Which.
    pub(super) route: Route,
    /// The node in the path.
    pub(super) node: Option<String>,
    /// The VMID in the path, unchecked.
    pub(super) vmid: Option<String>,
    /// The snapshot, storage or UPID in the path.
    pub(super) name: Option<String>,
}

/// Finds the call, or nothing for PVE's 501.
pub(super) fn find(method: &str, path: &str) -> Option<Routed> {
    let decoded: Vec<String> = path
        .strip_prefix('/')?
        .trim_end_matches('/')
        .split('/')
        .map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned())
        .collect();
    let parts: Vec<&str> = decoded.iter().map(String::as_str).collect();
    let plain = |route| Routed { route, node: None, vmid: None, name: None };
    let (node, rest) = match (method, parts.as_slice()) {
        ("GET", ["version"]) => return Some(plain(Route::Version)),
        ("GET", ["nodes"]) => return Some(plain(Route::Nodes)),
        ("GET", ["cluster", "resources"]) => return Some(plain(Route::Resources)),
        ("GET", ["cluster", "nextid"]) => return Some(plain(Route::NextId)),
        ("GET", ["cluster", "status"]) => return Some(plain(Route::ClusterStatus)),
        ("GET", ["access", "permissions"]) => return Some(plain(Route::Permissions)),
        ("GET", ["pools"]) => return Some(plain(Route::Pools)),
        (_, ["nodes", node, rest @ ..]) => (*node, rest),
        _ => return None,
    };
    let (route, vmid, name) = match (method, rest) {
        ("GET", ["lxc"]) => (Route::CtList, None, None),
        ("GET", ["qemu"]) => (Route::QemuList, None, None),
        ("GET", ["network"]) => (Route::NetworkList, None, None),
        ("GET", ["storage"]) => (Route::StorageList, None, None),
        ("GET", ["storage", name, "status"]) => (Route::StorageStatus, None, Some(*name)),
        ("GET", ["tasks"]) => (Route::TaskList, None, None),
        ("GET", ["tasks", upid, "status"]) => (Route::TaskStatus, None, Some(*upid)),
        ("GET", ["tasks", upid, "log"]) => (Route::TaskLog, None, Some(*upid)),
        ("DELETE", ["tasks", upid]) => (Route::TaskStop, None, Some(*upid)),
        (_, ["lxc", vmid, below @ ..]) => {
            let (route, name) = ct_route(method, below)?;
            (route, Some(*vmid), name)
        }
        _ => return None,
    };
    Some(Routed {
        route,
        node: Some(node.to_owned()),
        vmid: vmid.map(str::to_owned),
        name: name.map(str::to_owned),
    })
}

fn ct_route<'a>(method: &str, below: &[&'a str]) -> Option<(Route, Option<&'a str>)> {
    let route = match (method, below) {
        ("DELETE", []) => Route::CtDestroy,
        ("GET", ["config"]) => Route::CtConfig,
        ("PUT", ["config"]) => Route::CtUpdate,
        ("GET", ["pending"]) => Route::CtPending,
        ("GET", ["interfaces"]) => Route::CtInterfaces,
        ("GET", ["feature"]) => Route::CtFeature,
        ("POST", ["clone"]) => Route::CtClone,
        ("GET", ["status", "current"]) => Route::CtStatus,
        ("POST", ["status", "start"]) => Route::CtStart,
        ("POST", ["status", "stop"]) => Route::CtStop,
        ("POST", ["status", "shutdown"]) => Route::CtShutdown,
        ("POST", ["status", "reboot"]) => Route::CtReboot,
        ("GET", ["snapshot"]) => Route::SnapshotList,
        ("POST", ["snapshot"]) => Route::SnapshotCreate,
        ("DELETE", ["snapshot", name]) => return Some((Route::SnapshotDelete, Some(name))),
        ("POST", ["snapshot", name, "rollback"]) => return Some((Route::SnapshotRollback, Some(name))),
        _ => return None,
    };
    Some((route, None))
}

/// What a schema demands of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Vmid,
    Integer,
    Boolean,
    DnsName,
    Tags,
    Text,
}

impl Route {
    /// The front end answers it itself; the others go through the privileged daemon.
    pub(super) fn is_front_end(self) -> bool {
        matches!(
            self,
            Self::Version
                | Self::Nodes
                | Self::Resources
                | Self::NextId
                | Self::Permissions
                | Self::Pools
                | Self::CtConfig
                | Self::CtPending
                | Self::TaskList
                | Self::NetworkList
        )
    }

    /// It changes a container.
    pub(super) fn is_write(self) -> bool {
        matches!(
            self,
            Self::CtUpdate
                | Self::CtClone
                | Self::CtStart
                | Self::CtStop
                | Self::CtShutdown
                | Self::CtReboot
                | Self::CtDestroy
                | Self::SnapshotCreate
                | Self::SnapshotDelete
                | Self::SnapshotRollback
        )
    }

    fn fields(self) -> &'static [(&'static str, Kind)] {
        use Kind::{Boolean, DnsName, Integer, Tags, Text, Vmid};
        match self {
            Self::Resources | Self::NetworkList => &[("type", Text)],
            Self::NextId => &[("vmid", Vmid)],
            Self::Permissions => &[("path", Text), ("userid", Text)],
            Self::CtConfig => &[("current", Boolean), ("snapshot", Text)],
            Self::CtFeature => &[("feature", Text), ("snapname", Text)],
            Self::CtClone => &[
                ("newid", Vmid),
                ("hostname", DnsName),
                ("description", Text),
                ("pool", Text),
                ("snapname", Text),
                ("storage", Text),
                ("full", Boolean),
                ("target", Text),
                ("bwlimit", Integer),
            ],
            Self::CtUpdate => &[
                ("arch", Text),
                ("cores", Integer),
                ("cpulimit", Text),
                ("cpuunits", Integer),
                ("delete", Text),
                ("description", Text),
                ("digest", Text),
                ("features", Text),
                ("hostname", DnsName),
                ("lock", Text),
                ("memory", Integer),
                ("nameserver", Text),
                ("net0", Text),
                ("net1", Text),
                ("onboot", Boolean),
                ("ostype", Text),
                ("protection", Boolean),
                ("revert", Text),
                ("rootfs", Text),
                ("searchdomain", Text),
                ("startup", Text),
                ("swap", Integer),
                ("tags", Tags),
                ("template", Boolean),
                ("timezone", Text),
                ("unprivileged", Boolean),
            ],
            Self::CtStart => &[("debug", Boolean), ("skiplock", Boolean)],
            Self::CtStop => &[("overrule-shutdown", Boolean), ("skiplock", Boolean)],
            Self::CtShutdown => &[("timeout", Integer), ("forceStop", Boolean)],
            Self::CtReboot => &[("timeout", Integer)],
            Self::CtDestroy => {
                &[("force", Boolean), ("purge", Boolean), ("destroy-unreferenced-disks", Boolean)]
            }
            Self::SnapshotCreate => &[("snapname", Text), ("description", Text)],
            Self::SnapshotDelete => &[("force", Boolean)],
            Self::SnapshotRollback => &[("start", Boolean)],
            Self::TaskList => &[
                ("source", Text),
                ("vmid", Vmid),
                ("typefilter", Text),
                ("userfilter", Text),
                ("since", Integer),
                ("until", Integer),
                ("statusfilter", Text),
                ("errors", Boolean),
                ("start", Integer),
                ("limit", Integer),
            ],
            Self::TaskLog => &[("start", Integer), ("limit", Integer), ("download", Boolean)],
            Self::StorageList => &[
                ("content", Text),
                ("storage", Text),
                ("enabled", Boolean),
                ("target", Text),
                ("format", Boolean),
            ],
            Self::QemuList => &[("full", Boolean)],
            Self::Version
            | Self::Nodes
            | Self::ClusterStatus
            | Self::CtList
            | Self::CtPending
            | Self::CtStatus
            | Self::CtInterfaces
            | Self::SnapshotList
            | Self::TaskStatus
            | Self::TaskStop
            | Self::StorageStatus
            | Self::Pools => &[],
        }
    }

    fn required(self) -> Option<&'static str> {
        match self {
            Self::CtClone => Some("newid"),
            Self::CtFeature => Some("feature"),
            Self::SnapshotCreate => Some("snapname"),
            _ => None,
        }
    }
}

/// Checks the parameters against the schema, as PVE does after the permissions and before anything else.
pub(super) fn check(routed: &Routed, params: &Params) -> Result<(), Halt> {
    let fields = routed.route.fields();
    let mut errors: Vec<(String, String)> = Vec::new();
    if let Some(text) = routed.vmid.as_deref()
        && let Some(error) = fault(Kind::Vmid, text)
    {
        errors.push(("vmid".to_owned(), error));
    }
    for (name, text) in params {
        let error = match fields.iter().find(|(known, _)| known == name) {
            Some((_, kind)) => fault(*kind, text),
            None => Some(
                "property is not defined in schema and the schema does not allow additional properties"
                    .to_owned(),
            ),
        };
        errors.extend(error.map(|error| (name.clone(), error)));
    }
    if let Some(name) = routed.route.required()
        && !params.contains_key(name)
    {
        errors.push((name.to_owned(), "property is missing and it is not optional".to_owned()));
    }
    if errors.is_empty() { Ok(()) } else { Err(Halt::Refused(Reply::parameters(&errors))) }
}

fn fault(kind: Kind, text: &str) -> Option<String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let error = match kind {
        Kind::Vmid | Kind::Integer if !digits => format!("type check ('integer') failed - got '{text}'"),
        Kind::Vmid if !(3..=9).contains(&text.len()) || text.starts_with('0') => {
            "invalid format - value does not look like a valid VM ID\n".to_owned()
        }
        Kind::Boolean if !matches!(text, "0" | "1") => {
            format!("type check ('boolean') failed - got '{text}'")
        }
        Kind::DnsName if !is_dns_name(text) => {
            "invalid format - value does not look like a valid DNS name\n".to_owned()
        }
        Kind::Tags if tags(text).is_none() => "invalid format - invalid characters in tag\n".to_owned(),
        Kind::Vmid | Kind::Integer | Kind::Boolean | Kind::DnsName | Kind::Tags | Kind::Text => return None,
    };
    Some(error)
}

fn is_dns_name(text: &str) -> bool {
    text.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    })
}

/// Tags as PVE stores them: lower case, sorted, once each, joined by semicolons.
pub(super) fn tags(text: &str) -> Option<String> {
    let mut tags: Vec<String> =
        text.split([';', ',', ' ']).filter(|tag| !tag.is_empty()).map(str::to_lowercase).collect();
    tags.sort();
    tags.dedup();
    let good = tags.iter().all(|tag| {
        let first = tag.bytes().next().unwrap_or_default();
        (first.is_ascii_alphanumeric() || first == b'_')
            && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+.-".contains(&byte))
    });
    good.then(|| tags.join(";"))
}
