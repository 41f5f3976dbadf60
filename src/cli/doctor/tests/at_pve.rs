//! Faults at PVE: each is injected alone, and named alone.

use super::*;
use crate::sim::{DEMO_TOKEN, Effect, FaultRule, On, Storage};

/// One fault, its settings, and the one finding that it must lead to.
pub(super) type Case = (&'static str, fn(&Sim), &'static [(&'static str, &'static str)], &'static str);

fn edit_storage(sim: &Sim, edit: fn(&mut Storage)) {
    sim.with(|model| model.edit_storage("pool", edit));
}

pub(super) const CASES: &[Case] = &[
    ("front end down", |sim| sim.front_end_down(), &[], "pve-address"),
    ("token disabled", |sim| sim.set_token_enabled(DEMO_TOKEN, false), &[], "pve-token"),
    ("node down for its guests", |sim| sim.daemon_down("pve1"), &[], "node pve1"),
    ("no such node", |_| {}, &[("PVE_NODE", "pve7")], "node pve7"),
    ("no template", |sim| sim.outside_destroy(TEMPLATE), &[], "template 9020"),
    ("a virtual machine", |_| {}, &[("POOL_TEMPLATES", "200")], "template 200"),
    ("no template but a container", |_| {}, &[("POOL_TEMPLATES", "101")], "template 101"),
    ("template locked", |sim| sim.outside_lock(TEMPLATE, "backup"), &[], "template 9020"),
    ("no linked clones", |sim| edit_storage(sim, |it| it.linkable = false), &[], "template 9020"),
    (
        "no linked clones, and no others wanted",
        |sim| edit_storage(sim, |it| it.linkable = false),
        &[("CLONE_MODE", "linked")],
        "template 9020",
    ),
    ("storage full", |sim| edit_storage(sim, |it| it.full = true), &[], "storage pool"),
    ("storage disabled", |sim| edit_storage(sim, |it| it.enabled = false), &[], "storage pool"),
    (
        "a mount point on a storage without linked clones",
        |sim| {
            sim.with(|model| {
                model.set_storage("data", Storage { linkable: false, ..Storage::btrfs() });
                model.outside_set(TEMPLATE, "mp0", Some("data:base-9020-disk-0,mp=/srv,size=1G"));
            });
            sim.grant(DEMO_TOKEN, "/storage/data", &["Datastore.AllocateSpace", "Datastore.Audit"]);
        },
        &[],
        "template 9020",
    ),
    (
        "a mount point's storage full",
        |sim| {
            sim.with(|model| {
                model.set_storage("data", Storage { full: true, ..Storage::btrfs() });
                model.outside_set(TEMPLATE, "mp0", Some("data:base-9020-disk-0,mp=/srv,size=1G"));
            });
            sim.grant(DEMO_TOKEN, "/storage/data", &["Datastore.AllocateSpace", "Datastore.Audit"]);
        },
        &[],
        "storage data",
    ),
    (
        "no right on a mount point's storage",
        |sim| {
            sim.with(|model| {
                model.set_storage("data", Storage::btrfs());
                model.outside_set(TEMPLATE, "mp0", Some("data:base-9020-disk-0,mp=/srv,size=1G"));
            });
        },
        &[],
        "privileges /storage/data",
    ),
    (
        "a mount point that is a directory of the node",
        |sim| sim.with(|model| model.outside_set(TEMPLATE, "mp0", Some("/srv/shared,mp=/srv"))),
        &[],
        "template 9020",
    ),
    (
        "storage not for containers",
        |sim| edit_storage(sim, |it| it.content = "iso".to_owned()),
        &[],
        "storage pool",
    ),
    (
        "no list of nodes",
        |sim| {
            let effect = Effect::FailBefore { status: 500, reason: "no".to_owned() };
            sim.add_fault(FaultRule::always(On::call("GET", "/nodes"), effect));
        },
        &[],
        "node",
    ),
    (
        "no list of guests",
        |sim| {
            for path in ["/cluster/resources", "/nodes/*/lxc", "/nodes/*/qemu"] {
                let effect = Effect::FailBefore { status: 500, reason: "no".to_owned() };
                sim.add_fault(FaultRule::always(On::call("GET", path), effect));
            }
        },
        &[],
        "template",
    ),
    (
        "template elsewhere",
        |sim| {
            sim.with(|model| {
                model.add_node("pve2");
                model.outside_migrate(TEMPLATE, "pve2");
            });
        },
        &[("PVE_NODE", "pve1")],
        "template 9020",
    ),
    (
        "node down",
        |sim| {
            sim.with(|model| {
                model.add_node("pve2");
                model.set_node_up("pve2", false);
            });
        },
        &[("PVE_NODE", "pve2")],
        "node pve2",
    ),
    ("no template configured", |_| {}, &[("POOL_TEMPLATES", "")], "template"),
    (
        "no right to make containers",
        |sim| sim.revoke(DEMO_TOKEN, "/vms", &["VM.Allocate"]),
        &[],
        "privileges /vms",
    ),
    (
        "no right to clone the template",
        |sim| sim.revoke(DEMO_TOKEN, "/vms", &["VM.Clone"]),
        &[],
        "privileges /vms/9020",
    ),
    (
        "no right on the storage",
        |sim| sim.revoke(DEMO_TOKEN, "/storage/pool", &["Datastore.AllocateSpace"]),
        &[],
        "privileges /storage/pool",
    ),
    (
        "no right on the bridge",
        |sim| sim.revoke(DEMO_TOKEN, "/sdn/zones/localnetwork/vmbr0", &["SDN.Use"]),
        &[],
        "privileges /sdn/zones/localnetwork/vmbr0",
    ),
    (
        "no such resource pool",
        |sim| {
            let rights =
                ["VM.Audit", "VM.Allocate", "VM.PowerMgmt", "VM.Config.Network", "VM.Config.Options"];
            sim.grant(DEMO_TOKEN, "/pool/gone", &rights);
            sim.grant(DEMO_TOKEN, "/pool/gone", &["Pool.Audit"]);
        },
        &[("PVE_RESOURCE_POOL", "gone")],
        "resource-pool gone",
    ),
    (
        "a resource pool that the token has no rights in",
        |_| {},
        &[("PVE_RESOURCE_POOL", "other")],
        "privileges /pool/other",
    ),
];

#[tokio::test(start_paused = true)]
async fn a_healthy_cluster_has_nothing_to_mend() {
    for settings in [&[][..], &[("PVE_NODE", "pve1")], &[("CLONE_MODE", "full")]] {
        let findings = examined(&healthy(), settings, Some(300)).await;
        assert_eq!(wrong(&findings), BTreeSet::new(), "{findings:#?}");
    }
    let sim = healthy();
    sim.with(|model| model.add_pool("warm"));
    let rights = ["VM.Audit", "VM.Allocate", "VM.PowerMgmt", "VM.Config.Network", "VM.Config.Options"];
    for (privileges, level) in [(&rights[..], Level::Skip), (&["Pool.Audit"], Level::Ok)] {
        sim.grant(DEMO_TOKEN, "/pool/warm", privileges);
        let findings = examined(&sim, &[("PVE_RESOURCE_POOL", "warm")], Some(300)).await;
        assert_eq!(wrong(&findings), BTreeSet::new(), "{findings:#?}");
        assert_eq!(findings.iter().find(|it| it.check == "resource-pool").unwrap().level, level);
    }
}

#[tokio::test(start_paused = true)]
async fn each_single_fault_is_named_and_nothing_else() {
    let mut misnamed = Vec::new();
    for (name, break_it, settings, check) in CASES {
        let sim = healthy();
        break_it(&sim);
        let findings = examined(&sim, settings, Some(0)).await;
        if wrong(&findings) != BTreeSet::from([(*check).to_owned()]) {
            let bad = findings.into_iter().filter(|finding| finding.level != Level::Ok);
            misnamed.push((name, bad.collect::<Vec<_>>()));
        }
    }
    assert!(misnamed.is_empty(), "{misnamed:#?}");
}

#[tokio::test(start_paused = true)]
async fn each_right_that_is_missing_is_named_with_its_path() {
    let at_vms = ["VM.Allocate", "VM.Config.Network", "VM.Config.Options", "VM.PowerMgmt"];
    let cases = at_vms.map(|privilege| ("/vms", privilege, "privileges /vms".to_owned()));
    let others = [
        ("/vms", "VM.Clone", format!("privileges /vms/{TEMPLATE}")),
        ("/storage/pool", "Datastore.AllocateSpace", "privileges /storage/pool".to_owned()),
        ("/storage/pool", "Datastore.Audit", "privileges /storage/pool".to_owned()),
        ("/sdn/zones/localnetwork/vmbr0", "SDN.Use", "privileges /sdn/zones/localnetwork/vmbr0".to_owned()),
    ];
    for (path, privilege, check) in cases.into_iter().chain(others) {
        let sim = healthy();
        sim.revoke(DEMO_TOKEN, path, &[privilege]);
        let findings = examined(&sim, &[], Some(0)).await;
        assert_eq!(wrong(&findings), BTreeSet::from([check]), "{privilege}: {findings:#?}");
        let named = findings.iter().find(|finding| finding.level == Level::Fail).unwrap();
        assert_eq!(named.found, format!("missing {privilege}"));
        assert!(named.mend.iter().any(|command| command.contains(&format!("'{DEMO_TOKEN}'"))));
    }
    // What may not be seen at all is missing at both paths, and nothing else is guessed at.
    let sim = healthy();
    sim.revoke(DEMO_TOKEN, "/vms", &["VM.Audit"]);
    let both = ["privileges /vms".to_owned(), format!("privileges /vms/{TEMPLATE}")];
    assert_eq!(wrong(&examined(&sim, &[], Some(0)).await), both.into());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_changed_at_pve() {
    let sim = healthy();
    examined(&sim, &[], None).await;
    assert!(sim.calls().iter().all(|call| call.method == "GET"));
}

#[tokio::test(start_paused = true)]
async fn clocks_that_differ_are_told() {
    for (ahead, level) in [
        (None, Level::Skip),
        (Some(4_000), Level::Ok),
        (Some(-20_000), Level::Warn),
        (Some(3_600_000), Level::Fail),
    ] {
        let findings = examined(&healthy(), &[], ahead).await;
        assert_eq!(findings.iter().find(|finding| finding.check == "clock").unwrap().level, level);
    }
}
