//! A healthy PVE, and each single right that is missing. Other faults are injected under the whole program: tests/it.

use super::*;
use crate::domain::ids::{Hostname, Node, Vmid};
use crate::pve::CloneRequest;
use crate::sim::{DEMO_TOKEN, Effect, FaultRule, On, Which};

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
async fn a_vnet_is_used_in_its_own_zone() {
    let sim = healthy();
    sim.with(|model| {
        model.add_vnet("tenants", "overlay");
        model.outside_set(TEMPLATE, "net0", Some("name=eth0,bridge=tenants,ip=dhcp"));
    });
    let named = "privileges /sdn/zones/localnetwork/tenants".to_owned();
    assert_eq!(wrong(&examined(&sim, &[], None).await), BTreeSet::from([named]));
    sim.grant(DEMO_TOKEN, "/sdn/zones/overlay/tenants", &["SDN.Use"]);
    let findings = examined(&sim, &[], None).await;
    assert_eq!(wrong(&findings), BTreeSet::new(), "{findings:#?}");
}

/// A healthy cluster with templates on two nodes, and the settings for both.
fn two_nodes(bridge: &str) -> (Sim, [(&'static str, &'static str); 1]) {
    let sim = healthy();
    let interface = format!("name=eth0,bridge={bridge},ip=dhcp");
    sim.with(|model| {
        model.add_node("pve2");
        model.add_ct(CtSpec::new(9021, "another").template().on("pve2").set("net0", &interface));
        model.outside_set(TEMPLATE, "net0", Some(&interface));
    });
    (sim, [("POOL_TEMPLATES", "9020,9021")])
}

#[tokio::test(start_paused = true)]
async fn the_bridge_of_two_nodes_is_looked_at_once() {
    const PATH: &str = "/sdn/zones/localnetwork/vmbr0";
    let (sim, settings) = two_nodes("vmbr0");
    let of_network = || sim.calls().iter().filter(|call| call.path.ends_with("/network")).count();
    assert_eq!(wrong(&examined(&sim, &settings, Some(0)).await), BTreeSet::new());
    assert_eq!(of_network(), 0, "the right is there");
    sim.revoke(DEMO_TOKEN, PATH, &["SDN.Use"]);
    let findings = examined(&sim, &settings, Some(0)).await;
    let failed: Vec<_> = findings.iter().filter(|finding| finding.level == Level::Fail).collect();
    assert_eq!(failed.len(), 1, "{findings:#?}");
    assert!(failed[0].subject == PATH && failed[0].mend[0].contains("vnets"), "{failed:#?}");
    assert_eq!(of_network(), 2, "it may be a vnet of either");
    let asked =
        sim.calls().iter().filter(|call| call.params.get("path").is_some_and(|it| it == PATH)).count();
    assert_eq!(asked, 2, "once each time");

    let (sim, settings) = two_nodes("tenants");
    sim.with(|model| model.add_vnet("tenants", "overlay"));
    sim.grant(DEMO_TOKEN, "/sdn/zones/overlay/tenants", &["SDN.Use"]);
    let findings = examined(&sim, &settings, Some(0)).await;
    assert_eq!(wrong(&findings), BTreeSet::new(), "{findings:#?}");
    assert_eq!(findings.iter().filter(|finding| finding.subject == "tenants").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn rights_that_are_not_told_are_not_given() {
    let sim = healthy();
    // After those of the guests, of the template and of its storage: the bridge's.
    let on = On::call("GET", "/access/permissions");
    let effect = Effect::FailBefore { status: 500, reason: "no".to_owned() };
    sim.with(|model| model.add_fault(FaultRule { which: Which::Nth(4), ..FaultRule::once(on, effect) }));
    let findings = examined(&sim, &[], Some(0)).await;
    let failed: Vec<_> = findings.iter().filter(|finding| finding.level == Level::Fail).collect();
    assert_eq!(failed.len(), 1, "{findings:#?}");
    assert!(failed[0].found.contains("cannot be had") && failed[0].mend.len() == 1, "{failed:#?}");
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
async fn a_template_that_is_being_cloned_is_well() {
    let sim = healthy();
    let pve = Pve::new(Arc::new(sim.demo_transport()));
    let request = CloneRequest {
        newid: Vmid(300),
        hostname: Hostname::from("clone"),
        description: String::new(),
        full: true,
        pool: None,
    };
    pve.clone_ct(&Node("pve1".to_owned()), Vmid(TEMPLATE), &request).await.unwrap();
    let findings = examined(&sim, &[], Some(0)).await;
    assert_eq!(sim.clones_in_flight(TEMPLATE), 1, "it locks its template");
    assert_eq!(wrong(&findings), BTreeSet::new(), "{findings:#?}");
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
