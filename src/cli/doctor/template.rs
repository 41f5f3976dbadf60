//! Checks of the configured templates, and of the storages and bridges that their clones need.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::finding::{Finding, Level};
use super::pve::{Examination, unlisted};
use super::rights;
use super::settings::change;
use crate::domain::fault::FaultKind;
use crate::domain::ids::{Node, Vmid};
use crate::domain::settings::CloneMode;
use crate::pve::{CtConfig, Error, GuestKind, Pve, StorageRow};

/// A few linked clones that are written to.
const GOOD_SPACE: u64 = 10 << 30;
/// Nearly nothing.
const LEAST_SPACE: u64 = 1 << 30;

/// What clones of the templates need.
#[derive(Default)]
struct Needs {
    storages: BTreeSet<(String, Node)>,
    bridges: BTreeMap<String, BTreeSet<Node>>,
}

/// Examines each configured template, and then what they need.
pub(super) async fn examine(it: &mut Examination<'_>) {
    let mut needs = Needs::default();
    let templates: Vec<Vmid> = it.config.settings.templates.keys().copied().collect();
    for vmid in templates {
        one(it, vmid, &mut needs).await;
    }
    let paths: BTreeSet<String> = needs.storages.iter().map(|(storage, _)| storage.clone()).collect();
    let mut seen = BTreeSet::new();
    for storage in paths {
        if it.privileges(rights::STORAGE, &format!("/storage/{storage}")).await.contains("Datastore.Audit") {
            seen.insert(storage);
        }
    }
    for (storage, node) in &needs.storages {
        if seen.contains(storage) {
            space(it, storage, node).await;
        } else {
            it.findings.push(Finding::skip("storage", "not looked at: no right to").of(storage));
        }
    }
    // Bridges need no right before PVE 8.
    if it.major.is_some_and(|major| major >= 8) {
        for (name, nodes) in &needs.bridges {
            bridge(it, name, nodes).await;
        }
    }
}

/// Whether the token may use a bridge. A vnet is in a zone of its own, which nobody tells to a token that may only use
/// it; but its nodes show it.
async fn bridge(it: &mut Examination<'_>, name: &str, nodes: &BTreeSet<Node>) {
    let path = format!("/sdn/zones/localnetwork/{name}");
    let Some(has) = it.permissions(&path).await else { return };
    if !has.iter().any(|privilege| privilege.starts_with("SDN.")) {
        for node in nodes {
            if it.pve.bridges(node).await.is_ok_and(|bridges| bridges.contains(name)) {
                it.findings.push(Finding::ok("privileges", "a vnet, which the token may use").of(name));
                return;
            }
        }
    }
    let mut finding = it.judged(rights::BRIDGE, &path, &has);
    if finding.level == Level::Fail {
        let zone = "pvesh get /cluster/sdn/vnets   # of a vnet, its zone stands for localnetwork below";
        finding.mend.insert(0, zone.to_owned());
    }
    it.findings.push(finding);
}

async fn one(it: &mut Examination<'_>, vmid: Vmid, needs: &mut Needs) {
    let rights = it.privileges(rights::TEMPLATE, &format!("/vms/{vmid}")).await;
    if !rights.contains("VM.Audit") {
        it.findings.push(Finding::skip("template", "not looked at: no right to see it").of(vmid));
        return;
    }
    let Some(guests) = &it.guests else {
        it.findings.push(Finding::skip("template", "not looked at: the guests cannot be listed").of(vmid));
        return;
    };
    let Some(row) = guests.iter().find(|row| row.vmid == vmid).cloned() else {
        let found = "no guest of the cluster has this VMID";
        it.findings.push(
            unusable(vmid, found).mend("pct list   # on each node; then set POOL_TEMPLATES to what is there"),
        );
        return;
    };
    if row.kind == GuestKind::Qemu {
        let found = "is a virtual machine; the pool is for containers";
        it.findings.push(
            unusable(vmid, found).mend("pct list   # on each node; then set POOL_TEMPLATES to a container"),
        );
        return;
    }
    let only = it.config.settings.node.clone().filter(|only| *only != *row.node.as_str());
    if let Some(only) = only {
        if !it.node_is_well(&Node(only.clone())) {
            it.findings.push(Finding::skip("template", "not looked at: PVE_NODE is not well").of(vmid));
            return;
        }
        let found = format!("is on {}, and only {only} is cloned on", row.node);
        let mend =
            format!("pct migrate {vmid} {only}   # on {0}; or set PVE_NODE to {0}, or to nothing", row.node);
        it.findings.push(unusable(vmid, &found).mend(mend));
        return;
    }
    if !it.node_is_well(&row.node) {
        it.findings.push(Finding::skip("template", "not looked at: its node is not well").of(vmid));
        return;
    }
    match settled(it.pve, &row.node, vmid).await {
        Ok(config) => {
            let linked = it.pve.can_link(&row.node, vmid).await.ok();
            it.findings.push(judge(vmid, &row.node, &config, linked, it.config.settings.clone_mode, it.file));
            needs.storages.extend(storages(&config).map(|storage| (storage.to_owned(), row.node.clone())));
            for bridge in config.bridges {
                needs.bridges.entry(bridge).or_default().insert(row.node.clone());
            }
        }
        Err(error) if is_silence(error.kind) => {
            it.is_silent(&row.node, &error);
            it.findings.push(Finding::skip("template", "not looked at: its node is not well").of(vmid));
        }
        Err(error) => {
            let finding = unusable(vmid, &format!("cannot be read: {error}"));
            it.findings.push(finding.mend(format!("pct config {vmid}   # on {}", row.node)));
        }
    }
}

/// A template's configuration, without the lock of a task that works on it: each clone locks its template, and a
/// pool at work makes one after the other.
async fn settled(pve: &Pve, node: &Node, vmid: Vmid) -> Result<CtConfig, Error> {
    // The task may have ended in between, and the next one begun.
    for _ in 0..2 {
        let config = pve.config(node, vmid).await?;
        let works = || pve.running_tasks(node, vmid);
        if config.lock.is_none() || works().await.is_ok_and(|tasks| !tasks.is_empty()) {
            return Ok(CtConfig { lock: None, ..config });
        }
    }
    pve.config(node, vmid).await
}

/// The storages that a clone takes space on: those of its root file system and of its mount points.
fn storages(config: &CtConfig) -> impl Iterator<Item = &str> {
    let volumes = config.rootfs.iter().chain(config.mounts.values());
    volumes.filter(|volume| is_volume(volume)).filter_map(|volume| Some(volume.split_once(':')?.0))
}

/// Whether it is `STORAGE:NAME`, and no path of the node.
fn is_volume(mount: &str) -> bool {
    !mount.starts_with('/')
}

/// What a template's configuration means for clones of it.
fn judge(
    vmid: Vmid,
    node: &Node,
    config: &CtConfig,
    linked: Option<bool>,
    mode: CloneMode,
    file: &Path,
) -> Finding {
    if !config.template {
        let found = "is a container and no template";
        // What is pasted must not make somebody's container a template for ever.
        let instead = format!("; take {vmid} out, or, if nobody needs it, on {node}: pct template {vmid}");
        return unusable(vmid, found).mend(change(file, "POOL_TEMPLATES") + &instead);
    }
    if let Some(lock) = &config.lock {
        let why = "while it is locked no clone of it can be made";
        return Finding::warn("template", format!("is locked ({lock})"), why).of(vmid).mend(format!(
            "pct unlock {vmid}   # on {node}, and only if no task works on it: pvesh get /cluster/tasks"
        ));
    }
    if let Some((option, path)) = config.mounts.iter().find(|(_, mount)| !is_volume(mount)) {
        let path = path.split(',').next().unwrap_or_default();
        let found = format!("{option} is {path} of the node, which PVE does not clone");
        return unusable(vmid, &found).mend(format!("pct set {vmid} --delete {option}   # on {node}"));
    }
    let elsewhere = || {
        format!(
            "pct clone {vmid} NEW --full 1 --storage THIN && pct template NEW   # on {node}; THIN: zfs, lvmthin, \
             btrfs or rbd; then POOL_TEMPLATES=NEW"
        )
    };
    let whole = || match storages(config).collect::<BTreeSet<_>>() {
        names if names.len() > 1 => {
            let names = names.into_iter().collect::<Vec<_>>().join(", ");
            format!("one of its storages ({names}) cannot make linked clones")
        }
        _ => "its storage cannot make linked clones".to_owned(),
    };
    match (linked, mode) {
        (Some(false), CloneMode::Linked) => {
            let why = "CLONE_MODE=linked refuses full copies";
            Finding::fail("template", whole(), why).of(vmid).mend(elsewhere())
        }
        (Some(false), CloneMode::Auto) => {
            let why = "each clone copies the whole volume: minutes instead of seconds";
            Finding::warn("template", whole(), why).of(vmid).mend(elsewhere())
        }
        (Some(true) | None, _) | (Some(false), CloneMode::Full) => {
            let clones = if mode == CloneMode::Full || linked == Some(false) { "full" } else { "linked" };
            let mut found = format!("{}: {clones} clones", config.hostname.as_deref().unwrap_or("no name"));
            if config.onboot {
                found += "; onboot is set, and taken off its clones";
            }
            if config.protection {
                found += "; protection is set, and taken off its clones";
            }
            Finding::ok("template", found).of(vmid)
        }
    }
}

fn unusable(vmid: Vmid, found: &str) -> Finding {
    Finding::fail("template", found, "no container of it can be handed out").of(vmid)
}

async fn space(it: &mut Examination<'_>, storage: &str, node: &Node) {
    match it.pve.storages(node).await {
        Ok(rows) => {
            let row = rows.iter().find(|row| row.name == storage);
            it.findings.push(judge_storage(storage, node, row).of(storage));
        }
        Err(error) if is_silence(error.kind) => {
            it.is_silent(node, &error);
            it.findings.push(Finding::skip("storage", "not looked at: its node is not well").of(storage));
        }
        Err(error) => it.findings.push(unlisted("storage", "storages", &error).of(storage)),
    }
}

/// Whether a node, or its privileged daemon, does not answer.
fn is_silence(kind: FaultKind) -> bool {
    matches!(kind, FaultKind::NodeUnreachable | FaultKind::OutcomeUnknown)
}

fn judge_storage(storage: &str, node: &Node, row: Option<&StorageRow>) -> Finding {
    let why = "clones of its templates are made there";
    let Some(row) = row else {
        return Finding::fail("storage", format!("{node} does not have it"), why)
            .mend(format!(
                "pvesh get /storage/{storage}   # its nodes are a list; where there is none, all have it"
            ))
            .mend(format!("pvesm set {storage} --nodes '…,{node}'   # …: those that it has already"));
    };
    if !row.enabled {
        return Finding::fail("storage", "is disabled", why).mend(format!("pvesm set {storage} --disable 0"));
    }
    if !row.active {
        return Finding::fail("storage", format!("cannot be reached from {node}"), why)
            .mend(format!("pvesm status --storage {storage}   # on {node}"));
    }
    if !row.content.iter().any(|content| content == "rootdir") {
        let wanted = row.content.iter().map(String::as_str).chain(["rootdir"]).collect::<Vec<_>>().join(",");
        let found = format!("is for {}, not for containers", row.content.join(", "));
        return Finding::fail("storage", found, why).mend(format!("pvesm set {storage} --content {wanted}"));
    }
    let Some(free) = row.available_bytes else { return Finding::ok("storage", "its space is not told") };
    let found = format!("{} GiB free", free >> 30);
    let mend = format!("pvesm status --storage {storage}; pvesm list {storage}   # on {node}: what may go?");
    match free {
        0..LEAST_SPACE => Finding::fail("storage", found, why).mend(mend),
        LEAST_SPACE..GOOD_SPACE => Finding::warn("storage", found, why).mend(mend),
        GOOD_SPACE.. => Finding::ok("storage", found),
    }
}
