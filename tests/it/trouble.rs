//! What PVE may have against a clone or a hand-out: each a clear reason, and never a wrong consequence.

use std::time::Duration;

use sandbox_pool::domain::event::Event;
use sandbox_pool::domain::ids::Vmid;
use sandbox_pool::domain::state::{Container, State};
use sandbox_pool::sim::{CtSpec, DEMO_TOKEN, Demo, Effect, FaultRule, Model, On, Storage, Which};
use serde_json::json;

use crate::world::{EPOCH, World, request};

/// A demo cluster with something changed.
fn with(change: impl FnOnce(&mut Model)) -> World {
    let mut model = Demo::model(EPOCH, 1);
    change(&mut model);
    World::with_model(model)
}

fn is_quarantined(container: &Container) -> bool {
    container.phase.name() == "quarantined"
}

/// The template backs off; the reason is in an allocate's answer, in the status and in the log, and another
/// template works.
async fn clear_reason(mut world: World, words: &str) {
    world.change("POOL_TEMPLATES", "9009,9010");
    world.start().await;
    world
        .until("a template that backs off", |state| {
            state.template(Vmid(9009)).is_some_and(|template| template.backoff.is_some())
        })
        .await;
    let answer = world.allocate("box").await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(answer.retry_after.is_some());
    assert!(answer.body["detail"].as_str().expect("a detail").contains(words), "{}", answer.body);
    let status = world.get("/status").await.ok();
    let backoff = status["templates"]["9009"]["backoff"].to_string();
    assert!(backoff.contains(words), "{backoff}");
    assert!(world.events().iter().any(|envelope| {
        envelope.event.type_name() == "TemplateBackedOff"
            && serde_json::to_string(&envelope.event).expect("JSON").contains(words)
    }));
    let other = json!({ "template_vmid": 9010, "instance_id": "other" });
    world.post("/allocate", Some(other)).await.ok();
    assert!(world.sim.violations().is_empty(), "{:?}", world.sim.violations());
}

#[tokio::test(start_paused = true)]
async fn storage_without_linked_clones_is_a_clear_reason_where_only_those_are_wanted() {
    let world = with(|model| {
        model.outside_destroy(9009);
        model.set_storage("plain", Storage { linkable: false, ..Storage::btrfs() });
        model.grant(DEMO_TOKEN, "/storage/plain", &["Datastore.AllocateSpace", "Datastore.Audit"]);
        model.add_ct(CtSpec::new(9009, "plain").storage("plain").template());
    });
    clear_reason(world.set("CLONE_MODE", "linked"), "linked").await;
}

#[tokio::test(start_paused = true)]
async fn storage_without_linked_clones_makes_full_ones_with_a_warning_in_auto_mode() {
    let world = with(|model| {
        model.set_storage("plain", Storage { linkable: false, ..Storage::btrfs() });
        model.grant(DEMO_TOKEN, "/storage/plain", &["Datastore.AllocateSpace", "Datastore.Audit"]);
        model.add_ct(CtSpec::new(9100, "plain").storage("plain").template());
    })
    .set("POOL_TEMPLATES", "9100:target=1:max=1:min=0")
    .full()
    .await;
    assert_eq!(world.sim.ct(201).expect("a CT").linked_from, None, "a full clone");
    let status = world.get("/status").await.ok();
    assert!(status["templates"]["9100"]["warning"].is_string(), "{status}");
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_full_storage_is_a_clear_reason() {
    let world = with(|model| {
        model.set_storage("full", Storage { free: 0, ..Storage::btrfs() });
        model.grant(DEMO_TOKEN, "/storage/full", &["Datastore.AllocateSpace", "Datastore.Audit"]);
        model.outside_destroy(9009);
        model.add_ct(CtSpec::new(9009, "full").storage("full").template());
    });
    clear_reason(world, "no space left").await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_privilege_is_a_clear_reason() {
    let world = with(|model| {
        model.outside_destroy(9009);
        model.set_storage("private", Storage::btrfs());
        model.add_ct(CtSpec::new(9009, "private").storage("private").template());
    });
    clear_reason(world, "Datastore.AllocateSpace").await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_template_is_a_clear_reason() {
    clear_reason(with(|model| model.outside_destroy(9009)), "does not exist").await;
}

#[tokio::test(start_paused = true)]
async fn a_container_that_is_no_template_is_a_clear_reason() {
    let world = with(|model| {
        model.outside_destroy(9009);
        model.add_ct(CtSpec::new(9009, "plain"));
    });
    clear_reason(world, "not a template").await;
}

#[tokio::test(start_paused = true)]
async fn onboot_and_protection_of_a_template_do_not_pass_to_its_clones() {
    let world = with(|model| {
        model.outside_set(9009, "onboot", Some("1"));
        model.outside_set(9009, "protection", Some("1"));
    })
    .full()
    .await;
    for vmid in world.made_at_pve() {
        let ct = world.sim.ct(vmid).expect("a CT");
        assert!(!ct.onboot && !ct.protection, "{vmid}");
    }
    world.check();
}

#[tokio::test(start_paused = true)]
async fn in_a_cluster_each_template_is_cloned_where_it_is_and_vmids_of_other_nodes_are_skipped() {
    let mut world = with(|model| {
        model.add_node("pve2");
        model.add_ct(CtSpec::new(9200, "elsewhere").on("pve2").template());
        model.add_ct(CtSpec::new(201, "somebody").on("pve2").running());
    })
    .set("POOL_TEMPLATES", "9009,9200")
    .set("POOL_TARGET_SIZE", "1");
    world.start().await;
    world.settle().await;
    let there = world.post("/allocate", Some(json!({ "template_vmid": 9200 }))).await.ok();
    assert_eq!((&there["node"], &there["allocated_from_pool"]), (&json!("pve2"), &json!(true)));
    let here = world.allocate("here").await.ok();
    assert_eq!(here["node"], "pve1");
    world.settle().await;
    assert!(!world.made_at_pve().contains(&201), "it is somebody's on the other node");
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_template_beyond_the_only_node_is_a_clear_reason() {
    let mut world = with(|model| {
        model.add_node("pve2");
        model.add_ct(CtSpec::new(9200, "elsewhere").on("pve2").template());
    })
    .set("PVE_NODE", "pve1");
    world.start().await;
    let refused = world.post("/allocate", Some(json!({ "template_vmid": 9200 }))).await;
    assert_eq!(refused.status, 404, "{}", refused.body);
    assert!(refused.body["detail"].as_str().expect("a detail").contains("pve2"), "{}", refused.body);
    world.settle().await;
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_revoked_for_a_minute_costs_no_container() {
    let world = World::new().full().await;
    world.allocate("held").await.ok();
    world.settle().await;
    let before = world.made_at_pve();
    world.sim.set_token_enabled(DEMO_TOKEN, false);
    let answer = world.allocate("box").await;
    assert_eq!(answer.status, 502, "{}", answer.body);
    assert!(answer.body["detail"].as_str().expect("a detail").contains("Authentication failed"));
    tokio::time::sleep(Duration::from_mins(1)).await;
    world.sim.set_token_enabled(DEMO_TOKEN, true);
    world.settle().await;
    assert!(world.made_at_pve().is_superset(&before));
    assert_eq!(world.count("Removed") + world.count("ContainerLost"), 0);
    world.allocate("box").await.ok();
    world.settle().await;
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_wrong_token_is_a_clear_reason_also_before_pve_was_ever_looked_at() {
    let mut world = World::new();
    world.sim.set_token_enabled(DEMO_TOKEN, false);
    world.start().await;
    let answer = world.allocate("box").await;
    assert_eq!((answer.status, &answer.body["code"]), (502, &json!("pve_refused")), "{}", answer.body);
    assert!(answer.body["detail"].as_str().expect("a detail").contains("Authentication failed"));
    let ready = world.get("/ready").await;
    assert_eq!((ready.status, &ready.body["checks"]["reconciled"]), (503, &json!(false)));
    let status = world.get("/status").await.ok();
    for reason in [&ready.body["checks"]["reconcile_reason"], &status["service"]["reconcile_reason"]] {
        assert!(reason.as_str().expect("a reason").contains("Authentication failed"), "{reason}");
    }
    world.sim.set_token_enabled(DEMO_TOKEN, true);
    world.settle().await;
    assert_eq!(world.count("ReconcileFailed"), 1, "one event, however often it failed");
    assert_eq!(world.get("/ready").await.status, 200);
    world.allocate("box").await.ok();
    world.settle().await;
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_container_that_does_not_start_is_replaced_and_the_caller_gets_the_next() {
    let world = World::new().full().await;
    let exitstatus = "startup for container '201' failed".to_owned();
    world.sim.add_fault(FaultRule::once(On::start(), Effect::TaskFails { exitstatus }));
    let body = world.allocate("box").await.ok();
    assert_eq!(body["vmid"], 202);
    assert_eq!(world.sim.ct(202).expect("a CT").hostname.as_deref(), Some("box"));
    world.settle().await;
    assert!(world.sim.ct(201).is_none(), "the one that failed is gone");
    assert_eq!(world.count("ContainerStartFailed"), 1);
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_clone_whose_answer_was_lost_is_found_and_not_made_twice() {
    let mut world = World::new().set("POOL_TARGET_SIZE", "2").set("POOL_MIN_SIZE", "1");
    world.sim.add_fault(FaultRule::once(On::clone_of_any(), Effect::DropAfter));
    world.start().await;
    world.settle().await;
    assert_eq!(world.count("CloneUncertain"), 1);
    assert_eq!(world.made_at_pve().len(), 2);
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_clone_that_was_never_taken_on_is_made_after_it_was_looked_for() {
    let mut world = World::new().set("POOL_TARGET_SIZE", "2").set("POOL_MIN_SIZE", "1");
    world.sim.add_fault(FaultRule::once(On::clone_of_any(), Effect::DropBefore));
    world.start().await;
    world.settle().await;
    assert_eq!(world.made_at_pve().len(), 2);
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_clone_whose_worker_dies_is_quarantined_with_the_command_that_frees_it() {
    let mut world = World::new().set("POOL_TARGET_SIZE", "1").set("POOL_MIN_SIZE", "0");
    world.sim.add_fault(FaultRule::once(On::clone_of_any(), Effect::TaskDies));
    world.start().await;
    world.until("a quarantined container", |state| state.containers.values().any(is_quarantined)).await;
    let status = world.get("/status").await.ok().to_string();
    assert!(status.contains("pct unlock 9009") && status.contains("pct unlock 201"), "{status}");
    // A person does as they are told.
    world.sim.outside_unlock(9009);
    world.sim.outside_unlock(201);
    world.until("the end of it", |state| state.container(Vmid(201)).is_none()).await;
    world.settle().await;
    assert!(world.sim.ct(201).is_none(), "what the clone left is destroyed");
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_restart_of_pve_in_the_middle_of_a_clone_is_told_by_event_metric_and_command() {
    let mut world = World::new().set("POOL_TARGET_SIZE", "1").set("POOL_MIN_SIZE", "0");
    world.start().await;
    let cloning = |state: &State| state.containers.values().any(|container| container.creating().is_some());
    world.until("a clone", cloning).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.sim.front_end_down();
    assert_eq!(world.sim.kill_running_clone(9009), 1);
    tokio::time::sleep(Duration::from_secs(20)).await;
    world.sim.front_end_up();
    world
        .until("a quarantined container", |state| state.container(Vmid(201)).is_some_and(is_quarantined))
        .await;
    let quarantined = world.events().into_iter().find_map(|envelope| match envelope.event {
        Event::ContainerQuarantined(event) => Some((event.vmid.0, event.fault.hint)),
        _ => None,
    });
    assert_eq!(quarantined, Some((201, Some("pct unlock 9009; pct unlock 201".to_owned()))));
    let metrics = world.get("/metrics").await.ok().to_string();
    let counted = metrics.split("\\n").find(|line| line.contains("state=\\\"quarantined"));
    assert!(counted.is_some_and(|line| line.ends_with("} 1")), "{counted:?}");
    let status = world.get("/status").await.ok().to_string();
    assert!(status.contains("pct unlock 9009") && status.contains("pct unlock 201"), "{status}");
    world.sim.outside_unlock(9009);
    world.sim.outside_unlock(201);
    world.settle().await;
    assert_eq!(world.count("ContainerLost"), 0);
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_destroy_that_is_cut_off_is_told_with_the_command_that_frees_it() {
    let cleanup = "access permissions cleanup for VM 201 failed: cfs-lock 'file-user_cfg' error: got lock request timeout";
    for effect in [Effect::TaskDies, Effect::TaskFails { exitstatus: cleanup.to_owned() }] {
        let world = World::new().set("POOL_TARGET_SIZE", "1").set("POOL_MIN_SIZE", "0").full().await;
        world.allocate("box").await.ok();
        world.sim.add_fault(FaultRule::once(On::destroy(), effect.clone()));
        let answer = world.delete("/containers/201").await;
        assert_eq!((answer.status, &answer.body["hint"]), (502, &json!("pct unlock 201")), "{effect:?}");
        tokio::time::sleep(Duration::from_mins(5)).await;
        let status = world.get("/status").await.ok().to_string();
        assert!(status.contains("CT is locked (destroyed)") && status.contains("pct unlock 201"), "{status}");
        // A person does as they are told; the rest goes by itself.
        world.sim.outside_unlock(201);
        world.until("the end of it", |state| state.container(Vmid(201)).is_none()).await;
        world.settle().await;
        world.check();
    }
}

#[tokio::test(start_paused = true)]
async fn requests_wait_while_pve_is_away_and_are_served_when_it_returns() {
    let world = World::new().full().await;
    world.sim.front_end_down();
    let waiting = world.allocating("box");
    world.until("PVE to be missed", |state| !state.pve_reachable()).await;
    assert_eq!(world.get("/health").await.ok()["status"], "degraded");
    assert_eq!(world.get("/ready").await.status, 503);
    world.sim.front_end_up();
    waiting.await.expect("an answer").ok();
    world.settle().await;
    assert_eq!((world.count("PveUnreachable"), world.count("PveReachable")), (1, 1));
    assert_eq!(world.get("/ready").await.status, 200);
    world.check();
}

#[tokio::test(start_paused = true)]
async fn requests_wait_also_for_a_template_that_the_pool_has_never_seen() {
    let mut world = World::new().set("POOL_TEMPLATES", "");
    world.sim.front_end_down();
    world.start().await;
    let waiting = world.allocating("box");
    world.until("PVE to be missed", |state| !state.pve_reachable()).await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert!(!waiting.is_finished());
    world.sim.front_end_up();
    assert_eq!(waiting.await.expect("an answer").ok()["vmid"], 201);
    world.settle().await;
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_request_that_pve_never_hears_ends_when_its_time_is_up() {
    let mut world = World::new().set("POOL_TEMPLATES", "");
    world.sim.front_end_down();
    world.start().await;
    let asked = world.clock.now();
    let answer = world.allocate("box").await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert_eq!(answer.body["code"], "allocate_timeout", "{}", answer.body);
    let waited = world.clock.now().since(asked);
    assert!(Duration::from_secs(109) < waited && waited < Duration::from_mins(2), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn sandboxes_that_become_templates_and_their_clones_are_never_touched_or_adopted() {
    let world = World::new().set("POOL_TARGET_SIZE", "1").set("POOL_MIN_SIZE", "0").full().await;
    world.allocate("box").await.ok();
    world.settle().await;
    // Its holder clones it without a description, makes a template of the clone, and clones that.
    let inherited = world.sim.ct(201).expect("a CT").description.expect("a description");
    world.sim.with(|model| {
        // Without a hostname of its own it inherits that one, too.
        model.add_ct(CtSpec::new(7000, "box").description(&inherited));
        model.mark_foreign(7000);
    });
    tokio::time::sleep(Duration::from_mins(2)).await;
    world.sim.with(|model| {
        model.convert_to_template(7000);
        model.add_ct(CtSpec::new(7001, "from-snapshot").description(&inherited));
        model.mark_foreign(7001);
    });
    tokio::time::sleep(Duration::from_mins(2)).await;
    world.sim.with(|model| model.convert_to_template(201));
    tokio::time::sleep(Duration::from_mins(2)).await;
    assert_eq!(world.count("ContainerDiscovered"), 0);
    for vmid in [201, 7000, 7001] {
        assert!(world.sim.ct(vmid).is_some(), "{vmid} is still there");
    }
    assert!(world.state().container(Vmid(201)).is_none(), "a template is no container of the pool");
    assert!(world.sim.violations().is_empty(), "{:?}", world.sim.violations());
}

#[tokio::test(start_paused = true)]
async fn a_vmid_that_its_holder_freed_and_somebody_else_took_is_never_touched() {
    let world = World::new().set("POOL_TARGET_SIZE", "1").set("POOL_MIN_SIZE", "0").full().await;
    world.allocate("box").await.ok();
    world.sim.outside_destroy(201);
    world.sim.add_ct(CtSpec::new(201, "somebody").running());
    world.sim.with(|model| model.mark_foreign(201));
    let released = world.post("/release/201", None).await;
    assert_ne!(released.status, 500, "{}", released.body);
    let removed = world.delete("/containers/201").await;
    assert_eq!(removed.status, 404, "{}", removed.body);
    let ct = world.sim.ct(201).expect("somebody's CT");
    assert!(ct.running);
    assert_eq!(ct.hostname.as_deref(), Some("somebody"));
    assert_eq!(world.count("ContainerLost"), 1);
    assert!(world.sim.violations().is_empty(), "{:?}", world.sim.violations());
}

#[tokio::test(start_paused = true)]
async fn a_task_that_ends_with_warnings_is_no_failure() {
    let mut world = World::new().set("POOL_TARGET_SIZE", "1").set("POOL_MIN_SIZE", "0");
    world.sim.add_fault(FaultRule::always(On::clone_of_any(), Effect::TaskWarns));
    world.sim.add_fault(FaultRule::always(On::start(), Effect::TaskWarns));
    world.start().await;
    world.settle().await;
    world.allocate("box").await.ok();
    assert_eq!(world.count("CloneFailed") + world.count("ContainerStartFailed"), 0);
}

#[tokio::test(start_paused = true)]
async fn somebodys_container_that_can_never_be_read_does_not_keep_a_new_log_from_serving() {
    let unreadable = On::call("GET", "/nodes/pve1/lxc/100/config");
    let world = World::new();
    let refused = Effect::FailBefore { status: 500, reason: "internal error".to_owned() };
    world.sim.add_fault(FaultRule { on: unreadable, which: Which::Always, effect: refused });
    let world = world.full().await;
    world.allocate("box").await.ok();
    world.check();
}

/// How a container leaves its holder, and the event that says that it has.
const WAYS_OUT: [(&str, &str, &str); 2] =
    [("POST", "/release/201", "Released"), ("DELETE", "/containers/201", "Removed")];

/// A pool with one container in somebody's hands, whose stop takes long.
async fn held_and_slow_to_stop(seconds: u64) -> World {
    let world = World::new().set("POOL_TARGET_SIZE", "1").set("POOL_MIN_SIZE", "0").full().await;
    world.allocate("box").await.ok();
    world.sim.add_fault(FaultRule::once(On::stop(), Effect::TaskTakes(Duration::from_secs(seconds))));
    world
}

#[tokio::test(start_paused = true)]
async fn a_caller_of_a_release_or_remove_that_leaves_stops_nothing() {
    for (method, path, end) in WAYS_OUT {
        let world = held_and_slow_to_stop(90).await;
        let front = world.front();
        let asked = tokio::spawn(async move { request(&front, method, path, None).await });
        tokio::time::sleep(Duration::from_secs(5)).await;
        asked.abort();
        world.settle().await;
        assert_eq!(world.count(end), 1, "{path}");
        world.check();
    }
}

#[tokio::test(start_paused = true)]
async fn a_release_or_remove_that_takes_too_long_is_answered_and_goes_on() {
    for (method, path, end) in WAYS_OUT {
        let world = held_and_slow_to_stop(150).await;
        let answer = request(&world.front(), method, path, None).await;
        assert_eq!((answer.status, world.count(end)), (504, 0), "{path}: {}", answer.body);
        world.settle().await;
        assert_eq!(world.count(end), 1, "{path}");
        world.check();
    }
}
