//! Faults at PVE.

use sandbox_pool::sim::{DEMO_TOKEN, Effect, FaultRule, On, Storage};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::ground::{Ground, TEMPLATE, listener};
use super::{Case, case};
use crate::program::nowhere;

/// What the pool's token may do with what is in its resource pool.
const IN_THE_POOL: [&str; 5] =
    ["VM.Audit", "VM.Allocate", "VM.PowerMgmt", "VM.Config.Network", "VM.Config.Options"];

pub const CASES: &[Case] = &[
    case("front end down", "pve-address", |it| {
        it.set("PVE_API_URL", nowhere());
        it.show(nowhere(), "http://127.0.0.1:8006");
    }),
    case("a name that nobody knows", "pve-address", |it| it.set("PVE_API_URL", "https://pve.invalid:8006")),
    case("something else at PVE's address", "pve-address", |it| {
        let another = listener();
        let address = another.local_addr().expect("an address");
        it.set("PVE_API_URL", format!("http://{address}"));
        it.show(address.to_string(), "127.0.0.1:8006");
        let another = tokio::net::TcpListener::from_std(another).expect("a listener");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = another.accept().await {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
            }
        });
    }),
    case("token disabled", "pve-token", |it| it.model.set_token_enabled(DEMO_TOKEN, false)),
    case("an old PVE", "pve-version", |it| it.model.set_version("7.4-17")),
    case("a PVE that is too old", "pve-version", |it| it.model.set_version("6.4-15")),
    case("clocks twenty seconds apart", "clock", |it| it.epoch.0 -= 20_000),
    case("clocks an hour apart", "clock", |it| it.epoch.0 += 3_600_000),
    case("no list of nodes", "node", |it| refuse(it, &["/nodes"])),
    case("no such node", "node pve7", |it| it.set("PVE_NODE", "pve7")),
    case("node down", "node pve2", |it| {
        it.model.add_node("pve2");
        it.model.set_node_up("pve2", false);
        it.set("PVE_NODE", "pve2");
    }),
    case("node down for its guests", "node pve1", |it| it.model.set_daemon_up("pve1", false)),
    case("no list of rights", "privileges /vms", |it| {
        it.model.add_fault(FaultRule::once(On::call("GET", "/access/permissions"), no()));
    }),
    case("no right to make containers", "privileges /vms", |it| {
        it.model.revoke(DEMO_TOKEN, "/vms", &["VM.Allocate"]);
    }),
    case("a resource pool that the token has no rights in", "privileges /pool/other", |it| {
        it.set("PVE_RESOURCE_POOL", "other");
    }),
    case("no such resource pool", "resource-pool gone", |it| {
        it.model.grant(DEMO_TOKEN, "/pool/gone", &[&IN_THE_POOL[..], &["Pool.Audit"]].concat());
        it.set("PVE_RESOURCE_POOL", "gone");
    }),
    case("a resource pool that the token may not see", "resource-pool warm", |it| {
        it.model.add_pool("warm");
        it.model.grant(DEMO_TOKEN, "/pool/warm", &IN_THE_POOL);
        it.set("PVE_RESOURCE_POOL", "warm");
    }),
    case("no list of resource pools", "resource-pool warm", |it| {
        it.model.add_pool("warm");
        it.model.grant(DEMO_TOKEN, "/pool/warm", &[&IN_THE_POOL[..], &["Pool.Audit"]].concat());
        it.set("PVE_RESOURCE_POOL", "warm");
        refuse(it, &["/pools"]);
    }),
    case("no list of guests", "template", |it| {
        refuse(it, &["/cluster/resources", "/nodes/*/lxc", "/nodes/*/qemu"]);
    }),
    case("no template configured", "template", |it| it.set("POOL_TEMPLATES", "")),
    case("no right to clone the template", "privileges /vms/9020", |it| {
        it.model.revoke(DEMO_TOKEN, "/vms", &["VM.Clone"]);
    }),
    case("no right to see the template", "privileges /vms/9020", |it| {
        it.model.add_pool("warm");
        it.model.grant(DEMO_TOKEN, "/pool/warm", &[&IN_THE_POOL[..], &["Pool.Audit"]].concat());
        it.model.revoke(DEMO_TOKEN, "/vms", &["VM.Audit"]);
        it.set("PVE_RESOURCE_POOL", "warm");
    }),
    case("no template", "template 9020", |it| it.model.outside_destroy(TEMPLATE)),
    case("a virtual machine", "template 200", |it| it.set("POOL_TEMPLATES", "200")),
    case("no template but a container", "template 101", |it| it.set("POOL_TEMPLATES", "101")),
    case("template locked", "template 9020", |it| it.model.outside_lock(TEMPLATE, "backup")),
    case("template elsewhere", "template 9020", |it| {
        it.model.add_node("pve2");
        it.model.outside_migrate(TEMPLATE, "pve2");
        it.set("PVE_NODE", "pve1");
    }),
    case("a template's configuration that cannot be read", "template 9020", |it| {
        refuse(it, &["/nodes/*/lxc/9020/config"]);
    }),
    case("a mount point that is a directory of the node", "template 9020", |it| {
        it.model.outside_set(TEMPLATE, "mp0", Some("/srv/shared,mp=/srv"));
    }),
    case("no linked clones", "template 9020", |it| edit_storage(it, |storage| storage.linkable = false)),
    case("no linked clones, and no others wanted", "template 9020", |it| {
        edit_storage(it, |storage| storage.linkable = false);
        it.set("CLONE_MODE", "linked");
    }),
    case("a mount point on a storage without linked clones", "template 9020", |it| {
        mount(it, Storage { linkable: false, ..Storage::btrfs() });
    }),
    case("no list of storages", "storage pool", |it| refuse(it, &["/nodes/*/storage"])),
    case("storage not on the node", "storage pool", |it| {
        edit_storage(it, |storage| storage.nodes = Some(["pve2".to_owned()].into()));
    }),
    case("storage disabled", "storage pool", |it| edit_storage(it, |storage| storage.enabled = false)),
    case("storage out of the node's reach", "storage pool", |it| {
        edit_storage(it, |storage| storage.active = false);
    }),
    case("storage not for containers", "storage pool", |it| {
        edit_storage(it, |storage| "iso".clone_into(&mut storage.content));
    }),
    case("storage nearly full", "storage pool", |it| edit_storage(it, |storage| storage.free = 5 << 30)),
    case("storage full", "storage pool", |it| edit_storage(it, |storage| storage.free = 0)),
    case("a mount point's storage full", "storage data", |it| {
        mount(it, Storage { free: 0, ..Storage::btrfs() });
    }),
    case("no right on the storage", "privileges /storage/pool", |it| {
        it.model.revoke(DEMO_TOKEN, "/storage/pool", &["Datastore.AllocateSpace"]);
    }),
    case("no right to see the storage", "privileges /storage/pool", |it| {
        it.model.revoke(DEMO_TOKEN, "/storage/pool", &["Datastore.Audit"]);
    }),
    case("no right on a mount point's storage", "privileges /storage/data", |it| {
        mount(it, Storage::btrfs());
        it.model.revoke(DEMO_TOKEN, "/storage/data", &["Datastore.AllocateSpace"]);
    }),
    case("no right on the bridge", "privileges /sdn/zones/localnetwork/vmbr0", |it| {
        it.model.revoke(DEMO_TOKEN, "/sdn/zones/localnetwork/vmbr0", &["SDN.Use"]);
    }),
];

fn edit_storage(ground: &mut Ground, edit: fn(&mut Storage)) {
    ground.model.edit_storage("pool", edit);
}

/// Gives the template a second volume, on a storage that the token may use.
fn mount(ground: &mut Ground, storage: Storage) {
    let model = &mut ground.model;
    model.set_storage("data", storage);
    model.outside_set(TEMPLATE, "mp0", Some("data:base-9020-disk-0,mp=/srv,size=1G"));
    model.grant(DEMO_TOKEN, "/storage/data", &["Datastore.AllocateSpace", "Datastore.Audit"]);
}

fn no() -> Effect {
    Effect::FailBefore { status: 500, reason: "no".to_owned() }
}

/// Has PVE refuse what is read at these paths.
fn refuse(ground: &mut Ground, paths: &[&str]) {
    for path in paths {
        ground.model.add_fault(FaultRule::always(On::call("GET", path), no()));
    }
}
