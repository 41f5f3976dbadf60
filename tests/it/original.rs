//! What the service that this one replaces got wrong.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::join_all;
use sandbox_pool::domain::ids::Vmid;
use sandbox_pool::sim::{CtSpec, Demo, Effect, FaultRule, On};
use serde_json::Value;

use crate::world::{EPOCH, World};

#[tokio::test(start_paused = true)]
async fn a_caller_that_comes_when_a_waiters_clone_completes_never_gets_the_same_container() {
    let world = World::new().set("POOL_TARGET_SIZE", "0").set("POOL_MIN_SIZE", "0");
    let mut world = world;
    world.start().await;
    let mut watch = Vec::new();
    for nth in 0..8 {
        watch.push(world.allocating(&format!("waiter-{nth}")));
        let made = nth + 1;
        // The next one arrives in the very moment in which a clone is made.
        world
            .until("a clone", move |state| {
                state.containers.values().filter(|c| c.uses > 0 || c.holding().is_some()).count() >= made
            })
            .await;
    }
    let answers = join_all(watch).await;
    let vmids: BTreeSet<u64> =
        answers.into_iter().filter_map(|answer| answer.expect("an answer").ok()["vmid"].as_u64()).collect();
    assert_eq!(vmids.len(), 8);
    world.check();
}

#[tokio::test(start_paused = true)]
async fn twenty_cold_allocations_leave_no_more_than_the_maximum() {
    let mut world = World::new();
    world.start().await;
    let answers = join_all((0..20).map(|nth| world.allocating(&format!("box-{nth}")))).await;
    let vmids: BTreeSet<u64> =
        answers.into_iter().filter_map(|answer| answer.expect("an answer").ok()["vmid"].as_u64()).collect();
    assert_eq!(vmids.len(), 20);
    world.settle().await;
    let counts = world.state().template(Vmid(9009)).expect("the template").counts;
    assert_eq!((counts.allocated, counts.ready), (20, 5));
    world.check();
}

#[tokio::test(start_paused = true)]
async fn failed_clones_do_not_stay_listed() {
    let mut world = World::new();
    let exitstatus = "clone failed: lvcreate failed".to_owned();
    world.sim.add_fault(FaultRule {
        on: On::clone_of_any(),
        which: sandbox_pool::sim::Which::First(5),
        effect: Effect::TaskFails { exitstatus },
    });
    world.start().await;
    world.settle().await;
    let rows = world.get("/containers").await.ok();
    let states: Vec<&Value> =
        rows["containers"].as_array().expect("rows").iter().map(|row| &row["state"]).collect();
    assert_eq!(states, ["ready"; 5]);
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_slow_stop_holds_up_no_allocation() {
    let world = World::new().full().await;
    world.allocate("slow").await.ok();
    world.settle().await;
    world.sim.add_fault(FaultRule::once(On::stop(), Effect::TaskTakes(std::time::Duration::from_secs(90))));
    let front = world.front();
    let releasing =
        tokio::spawn(async move { crate::world::request(&front, "POST", "/release/201", None).await });
    world.until("a release", |state| state.containers.values().any(|c| c.phase.name() == "releasing")).await;
    let before = world.clock.now();
    world.allocate("quick").await.ok();
    assert!(world.clock.now().since(before).as_secs() < 10);
    releasing.await.expect("an answer").ok();
    world.settle().await;
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_stopped_container_is_still_its_holders_after_a_restart() {
    let mut world = World::new().full().await;
    world.allocate("box").await.ok();
    world.sim.outside_stop(201);
    world.restart().await;
    world.settle().await;
    assert_eq!(world.container(201).instance_id().expect("a holder").as_str(), "box");
    let again = world.allocate("box").await.ok();
    assert_eq!(again["vmid"], 201);
    assert!(world.sim.ct(201).expect("a CT").running, "it was started for its holder");
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_task_status_that_cannot_be_had_is_no_success() {
    let mut world = World::new().set("POOL_TARGET_SIZE", "1").set("POOL_MIN_SIZE", "0");
    world.sim.add_fault(FaultRule {
        on: On::call("GET", "/nodes/*/tasks/*/status"),
        which: sandbox_pool::sim::Which::First(20),
        effect: Effect::FailBefore { status: 500, reason: "internal error".to_owned() },
    });
    world.sim.add_fault(FaultRule::once(
        On::clone_of_any(),
        Effect::TaskFails { exitstatus: "clone failed: lvcreate failed".to_owned() },
    ));
    world.start().await;
    world.settle().await;
    assert_eq!(world.count("CloneSucceeded"), 1);
    world.check();
}

#[tokio::test(start_paused = true)]
async fn its_containers_are_adopted_and_only_those() {
    let mut world = World::new().set("POOL_TARGET_SIZE", "2").set("POOL_MIN_SIZE", "1");
    world.sim.add_ct(CtSpec::new(210, "pool-9009-0a1b2c3d").adoptable());
    world.sim.add_ct(CtSpec::new(211, "pool-9009-4e5f6a7b").running().adoptable());
    world.sim.add_ct(CtSpec::new(212, "pvelxc-held").running());
    world.start().await;
    world.settle().await;
    assert_eq!(world.container(210).phase.name(), "ready");
    assert_eq!(world.container(211).phase.name(), "allocated", "it runs: somebody uses it");
    assert!(world.state().container(Vmid(212)).is_none());
    assert_eq!(world.count("ContainerDiscovered"), 2);
    assert!(world.sim.violations().is_empty(), "{:?}", world.sim.violations());
}

#[tokio::test(start_paused = true)]
async fn what_it_left_half_made_or_renamed_is_not_touched() {
    let mut world = World::new().set("POOL_TARGET_SIZE", "1").set("POOL_MIN_SIZE", "0");
    // Its clone was cut off: the name is there, the lock too, and no task.
    world.sim.add_ct(CtSpec::new(213, "pool-9009-5d6e7f80").set("lock", "create").adoptable());
    // Its renamed ones are their holders', running or not; so is what only looks like one of its own.
    world.sim.add_ct(CtSpec::new(214, "pvelxc-stopped"));
    world.sim.add_ct(CtSpec::new(215, "pvelxc-running").running());
    world.sim.add_ct(CtSpec::new(216, "pool-9009-NOTHEX00"));
    world.sim.add_ct(CtSpec::new(217, "pool-9009-0a1b2c3d").template());
    let left = [213, 214, 215, 216, 217];
    let seen = |world: &World| left.map(|vmid| format!("{:?}", world.sim.ct(vmid)));
    let before = seen(&world);
    world.start().await;
    world.settle().await;
    for nth in 0..3 {
        let got = world.allocate(&format!("box-{nth}")).await.ok();
        assert!(!left.map(u64::from).contains(&got["vmid"].as_u64().expect("a VMID")), "{got}");
    }
    world.settle().await;
    assert_eq!(seen(&world), before, "nothing was written, started, stopped or destroyed");
    assert_eq!(world.container(213).phase.name(), "quarantined");
    let rows = world.get("/containers?state=quarantined").await.ok();
    assert!(rows.to_string().contains("pct unlock 213"), "the way out is named: {rows}");
    for vmid in [214, 215, 216, 217] {
        assert!(world.state().container(Vmid(vmid)).is_none(), "{vmid} is none of the pool's");
    }
    world.sim.outside_unlock(213);
    let freed = |state: &sandbox_pool::domain::state::State| {
        state.container(Vmid(213)).is_none_or(|container| container.phase.name() != "quarantined")
    };
    world.until("the end of its quarantine", freed).await;
    assert!(world.sim.violations().is_empty(), "{:?}", world.sim.violations());
}

/// `tests/original/env` is what its installer wrote; nothing in it names a template.
#[tokio::test(start_paused = true)]
async fn its_settings_and_its_containers_are_taken_over_together() {
    let mut model = Demo::model(EPOCH, 1);
    let (token, secret) = ("root@pam!cmux-pool", "11111111-2222-3333-4444-555555555555");
    model.add_token(token, secret, false);
    model.watch_token(token);
    for vmid in [210, 211] {
        model.add_ct(CtSpec::new(vmid, &format!("pool-9009-0000{vmid:04x}")).adoptable().made_by(token));
    }
    // Its rename never reached PVE: these are sandboxes at work, whatever they are called.
    model.add_ct(CtSpec::new(212, "pool-9009-4e5f6a7b").running().adoptable().made_by(token));
    let untouched = [
        CtSpec::new(213, "pvelxc-abc123").running().made_by(token),
        CtSpec::new(214, "pvelxc-stopped").made_by(token),
        // The service was stopped while it cloned: one with its lock, one whose lock somebody took away.
        CtSpec::new(215, "pool-9009-5d6e7f80").set("lock", "create").adoptable().made_by(token),
        CtSpec::new(216, "pool-9010-0a1b2c3d").set("lock", "create").adoptable().made_by(token),
        CtSpec::new(217, "pool-9009-customer"),
    ];
    let left: Vec<u32> = (213..=217).chain([Demo::MANAGER, Demo::CUSTOMER, 9009, 9010]).collect();
    for spec in untouched {
        model.add_ct(spec);
    }
    let mut world = World::with_model(model).reading(include_str!("../original/env"));
    let transport = world.sim.transport(token, secret);
    world.through(|_| Arc::new(transport));
    let settings = world.config().settings;
    assert_eq!((settings.sizes.min, settings.sizes.target, settings.sizes.max), (2, 2, 10));

    let seen =
        |world: &World| left.iter().map(|vmid| format!("{:?}", world.sim.ct(*vmid))).collect::<Vec<_>>();
    let before = seen(&world);
    world.start().await;
    world.settle().await;
    let states = |world: &World| {
        let containers = &world.state().containers;
        containers.iter().map(|(vmid, it)| (vmid.0, it.phase.name())).collect::<Vec<_>>()
    };
    // It had a clone of 9010 under way: that template is kept warm from now on as well, by two clones of our own.
    let adopted = [
        (201, "ready"),
        (202, "ready"),
        (210, "ready"),
        (211, "ready"),
        (212, "allocated"),
        (215, "quarantined"),
        (216, "quarantined"),
    ];
    assert_eq!(states(&world), adopted);
    assert_eq!(seen(&world), before);

    // cmux goes on as before: two at once, and the pool is filled again.
    for instance in ["pvelxc-new1", "pvelxc-new2"] {
        let got = world.allocate(instance).await.ok();
        assert_eq!((got["allocated_from_pool"].as_bool(), &got["hostname"]), (Some(true), &instance.into()));
        assert!([210, 211].contains(&got["vmid"].as_u64().expect("a VMID")), "{got}");
    }
    world.settle().await;
    assert_eq!(world.state().template(Vmid(9009)).expect("the template").counts.ready, 2);
    let ours = world.sim.ct(212).expect("a CT");
    assert!(ours.running && ours.config["hostname"] == "pool-9009-4e5f6a7b", "{ours:?}");
    assert_eq!(seen(&world), before, "nothing was written, started, stopped or destroyed");
    assert!(world.sim.violations().is_empty(), "{:?}", world.sim.violations());
}
