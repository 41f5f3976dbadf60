//! What a token may see and do: the least that suffices, and what becomes of a pool whose token loses a right.

use std::sync::Arc;
use std::time::Duration;

use sandbox_pool::sim::{CtSpec, Demo, Effect, FaultRule, On, Which};
use serde_json::json;

use crate::world::{EPOCH, World};

const TOKEN: &str = "narrow@pve!pool";
/// What the token may do with what is in its resource pool,
const IN_THE_POOL: [&str; 6] =
    ["VM.Audit", "VM.Allocate", "VM.PowerMgmt", "VM.Config.Network", "VM.Config.Options", "Pool.Audit"];
/// with a template,
const WITH_A_TEMPLATE: [&str; 2] = ["VM.Audit", "VM.Clone"];
/// with the storage,
const WITH_THE_STORAGE: [&str; 2] = ["Datastore.AllocateSpace", "Datastore.Audit"];
/// and with the network.
const WITH_THE_NETWORK: [&str; 1] = ["SDN.Use"];

/// A cluster of two nodes with a template on each, and a token that sees a clone only once it is made.
fn narrow() -> World {
    let mut model = Demo::model(EPOCH, 1);
    model.add_node("pve2");
    model.add_ct(CtSpec::new(9200, "elsewhere").on("pve2").template());
    model.add_installed_token(TOKEN, "secret");
    model.grant(TOKEN, "/vms/9200", &WITH_A_TEMPLATE);
    model.watch_token(TOKEN);
    let mut world = World::with_model(model)
        .set("PVE_RESOURCE_POOL", "warm")
        .set("POOL_TEMPLATES", "9009,9200")
        .set("POOL_TARGET_SIZE", "2");
    let transport = world.sim.transport(TOKEN, "secret");
    world.through(|_| Arc::new(transport));
    world
}

#[tokio::test(start_paused = true)]
async fn the_least_role_on_a_resource_pool_suffices_for_a_whole_life() {
    let mut world = narrow().set("RELEASE_POLICY", "recycle").full().await;
    for template in [Demo::TEMPLATE, 9200] {
        let asked = |instance: &str| {
            let instance = format!("{instance}-{template}");
            Some(json!({ "template_vmid": template, "instance_id": instance }))
        };
        let kept = world.post("/allocate?start=true", asked("kept")).await.ok();
        let released = world.post("/allocate?start=true", asked("released")).await.ok();
        let removed = world.post("/allocate?start=false", asked("removed")).await.ok();
        world.post(&format!("/release/{}", released["vmid"]), None).await.ok();
        world.delete(&format!("/containers/{}", removed["vmid"])).await.ok();
        let again = world.post("/allocate?start=true", asked("kept")).await.ok();
        assert_eq!(again["vmid"], kept["vmid"]);
    }
    let failed = "clone failed: can't lock file '/var/lock/lvm' - got timeout".to_owned();
    let fails = Effect::TaskFails { exitstatus: failed };
    world.sim.add_fault(FaultRule { on: On::clone_of_any(), which: Which::Nth(1), effect: fails });
    world.allocate("one-more").await.ok();
    world.restart().await;
    world.settle().await;
    assert!(world.sim.violations().is_empty(), "{:?}", world.sim.violations());
    // The other retry is for VMID 200: the token cannot see whose it is.
    assert_eq!((world.count("CloneRetryScheduled"), world.count("ContainerLost")), (2, 0));
    let pve: Vec<u32> = world.sim.vmids().into_iter().filter(|vmid| (201..1000).contains(vmid)).collect();
    assert_eq!(pve, world.state().containers.keys().map(|vmid| vmid.0).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn ready_containers_that_cannot_be_read_are_reported_kept_and_not_handed_out() {
    let world = narrow().full().await;
    let ready = world.state().containers.len();
    world.allocate("held").await.ok();
    world.settle().await;
    world.sim.revoke(TOKEN, "/pool/warm", &IN_THE_POOL);
    tokio::time::sleep(Duration::from_mins(2)).await;
    assert_eq!((world.count("OwnershipDoubted"), world.count("ContainerLost")), (ready, 0));
    assert!(world.state().containers.values().all(|container| !container.may_be_handed_out()));
    world.sim.grant(TOKEN, "/pool/warm", &IN_THE_POOL);
    tokio::time::sleep(Duration::from_mins(2)).await;
    assert_eq!(world.count("OwnershipConfirmed"), ready);
    let answer = world.allocate("box").await.ok();
    assert_eq!(answer["allocated_from_pool"], true);
    assert!(world.sim.violations().is_empty(), "{:?}", world.sim.violations());
}

#[test]
fn the_readme_and_the_installer_make_the_roles_that_are_tried_here() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in ["README.md", "deploy/install.sh"] {
        let text = std::fs::read_to_string(root.join(file)).expect("a file").replace(['"', '\''], "");
        for (name, rights) in [
            ("WarmPool", &IN_THE_POOL[..]),
            ("WarmTemplate", &WITH_A_TEMPLATE),
            ("WarmStore", &WITH_THE_STORAGE),
            ("WarmNet", &WITH_THE_NETWORK),
        ] {
            let mut lines = text.lines().filter(|line| {
                line.contains(&format!("role {name} ")) || line.contains(&format!("role add {name} "))
            });
            let line = lines.next().unwrap_or_else(|| panic!("{file} makes no {name}"));
            let rights = format!(" {}", rights.join(" "));
            assert!(line.ends_with(&rights), "{file}: {line}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_any_one_right_of_the_role_it_says_which_and_goes_on_once_it_is_granted() {
    let of =
        |path: &'static str, rights: &'static [&'static str]| rights.iter().map(move |right| (path, *right));
    let role = of("/pool/warm", &IN_THE_POOL)
        .chain(of("/vms/9009", &WITH_A_TEMPLATE))
        .chain(of("/storage/pool", &WITH_THE_STORAGE))
        .chain(of("/sdn/zones/localnetwork/vmbr0", &WITH_THE_NETWORK));
    for (path, right) in role {
        let mut world =
            narrow().set("POOL_TEMPLATES", "9009").set("POOL_TARGET_SIZE", "1").set("POOL_MIN_SIZE", "0");
        world.sim.revoke(TOKEN, path, &[right]);
        world.start().await;
        let answer = world.allocate("box").await;
        tokio::time::sleep(Duration::from_mins(2)).await;
        let status = world.get("/status").await.ok().to_string();
        // What looks at storages and resource pools is the doctor alone.
        if ["Datastore.Audit", "Pool.Audit"].contains(&right) {
            assert_eq!(answer.status, 200, "{path} {right}: {}", answer.body);
            continue;
        }
        assert!(
            [404, 502, 503, 504].contains(&answer.status),
            "{path} {right}: {} {}",
            answer.status,
            answer.body
        );
        // PVE does not say by which of two paths VM.Allocate is missing.
        let words = if right == "VM.Allocate" { "Permission check failed" } else { right };
        assert!(answer.body.to_string().contains(words), "{path} {right}: {}", answer.body);
        assert!(status.contains(words), "{path} {right}: {status}");
        world.sim.grant(TOKEN, path, &[right]);
        tokio::time::sleep(Duration::from_mins(20)).await;
        world.allocate("later").await.ok();
        assert_eq!(world.get("/status").await.ok()["templates"]["9009"].get("failure"), None);
        world.settle().await;
        assert_eq!(world.count("ContainerLost"), 0, "{path} {right}");
        assert!(world.sim.violations().is_empty(), "{path} {right}: {:?}", world.sim.violations());
    }
}
