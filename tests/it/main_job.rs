//! The main job: a container from the pool, asked for as its callers do.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use sandbox_pool::domain::event::{Envelope, Event};
use serde_json::{Value, json};

use crate::world::World;

#[tokio::test(start_paused = true)]
async fn a_caller_gets_a_running_container_under_its_name() {
    let world = World::new().full().await;
    let clones = world.count("CloneStarted");
    let answer = world.allocate("pvelxc-1a2b3c4d").await;
    assert!(answer.seq.is_some());
    let body = answer.ok();
    assert_eq!(body["hostname"], "pvelxc-1a2b3c4d");
    assert_eq!(body["instance_id"], "pvelxc-1a2b3c4d");
    assert_eq!(body["template_vmid"], 9009);
    assert_eq!(body["allocated_from_pool"], true);
    let vmid = u32::try_from(body["vmid"].as_u64().expect("a number")).expect("a VMID");
    let ct = world.sim.ct(vmid).expect("a CT");
    assert_eq!(ct.hostname.as_deref(), Some("pvelxc-1a2b3c4d"));
    assert!(ct.running);
    assert_eq!(world.container(vmid).holding().expect("a hold").metadata["teamId"], "t");
    world.settle().await;
    assert_eq!(world.count("CloneStarted"), clones + 1, "the pool refills what it gave");
    world.check();
}

#[tokio::test(start_paused = true)]
async fn the_vmid_of_a_virtual_machine_and_foreign_containers_are_left_alone() {
    let world = World::new().full().await;
    let before: Vec<_> = [100, 101].map(|vmid| world.sim.ct(vmid)).to_vec();
    assert_eq!(world.made_at_pve(), BTreeSet::from([201, 202, 203, 204, 205]));
    world.allocate("box").await.ok();
    world.settle().await;
    let named = |view: &Option<sandbox_pool::sim::CtView>| {
        view.as_ref().map(|view| (view.hostname.clone(), view.running))
    };
    let after: Vec<_> = [100, 101].map(|vmid| world.sim.ct(vmid)).to_vec();
    assert_eq!(before.iter().map(named).collect::<Vec<_>>(), after.iter().map(named).collect::<Vec<_>>());
    assert_eq!(world.get("/containers/100").await.status, 404);
    world.check();
}

#[tokio::test(start_paused = true)]
async fn status_has_the_fields_that_callers_know() {
    let world = World::new().full().await;
    world.allocate("box").await.ok();
    let status = world.get("/status").await.ok();
    let template = &status["templates"]["9009"];
    assert_eq!(template["template_vmid"], 9009);
    assert_eq!(template["ready_count"], 4);
    assert_eq!(template["allocated_count"], 1);
    assert_eq!(template["creating_count"], 1);
    assert_eq!(template["target_size"], 5);
    let held = &template["containers"][0];
    for (field, value) in [
        ("vmid", json!(201)),
        ("hostname", json!("box")),
        ("state", json!("allocated")),
        ("allocated_to", json!("box")),
    ] {
        assert_eq!(held[field], value, "{field}");
    }
    assert!(held["created_at"].is_string());
    assert_eq!(template["containers"][1]["allocated_to"], Value::Null);
    for (field, value) in
        [("total_ready", 4), ("total_allocated", 1), ("total_creating", 1), ("clone_queue_length", 0)]
    {
        assert_eq!(status[field], value, "{field}");
    }
}

#[tokio::test(start_paused = true)]
async fn warm_release_and_remove_answer_as_callers_know() {
    let world = World::new().full().await;
    let warmed = world.post("/warm/9009?count=8", None).await.ok();
    assert_eq!(
        warmed,
        json!({ "status": "warming", "template_vmid": 9009, "queued": 3, "current": 5, "target": 8 })
    );
    world.until("a warm pool", |state| state.containers.len() == 8).await;
    world.settle().await;
    world.allocate("box").await.ok();
    assert_eq!(world.post("/release/201", None).await.ok(), json!({ "status": "released", "vmid": 201 }));
    let ct = world.sim.ct(201).expect("a CT");
    assert!(!ct.running);
    assert!(ct.hostname.expect("a hostname").starts_with("pool-9009-"));
    assert_eq!(world.delete("/containers/202").await.ok(), json!({ "status": "removed", "vmid": 202 }));
    assert!(world.sim.ct(202).is_none());
    assert_eq!(world.get("/status").await.ok()["templates"]["9009"]["target_size"], 5);
    world.settle().await;
    world.check();
}

/// The part of the time from the first clone's begin to the last one's end in which PVE was cloning.
fn busy(events: &[Envelope]) -> f64 {
    let times = |wanted: fn(&Event) -> Option<u64>| -> Vec<(i64, u64)> {
        events.iter().filter_map(|it| Some((it.at.0, wanted(&it.event)?))).collect()
    };
    let begun = times(|event| matches!(event, Event::CloneSubmitted(_)).then_some(0));
    let ended = times(|event| match event {
        Event::CloneSucceeded(e) => Some(e.duration_ms),
        _ => None,
    });
    let span = ended[ended.len() - 1].0 - begun[begun.len() - ended.len()].0;
    ended.iter().map(|(_, duration_ms)| *duration_ms as f64).sum::<f64>() / span as f64
}

#[tokio::test(start_paused = true)]
async fn of_ten_at_once_five_are_answered_from_the_pool_and_five_in_order() {
    let world = World::new().full().await;
    let clones = world.count("CloneStarted");
    let waiting: Vec<_> = (0..10).map(|nth| world.allocating(&format!("box-{nth}"))).collect();
    let answers: Vec<Value> =
        join_all(waiting).await.into_iter().map(|answer| answer.expect("an answer").ok()).collect();
    let from_pool: Vec<bool> =
        answers.iter().map(|answer| answer["allocated_from_pool"].as_bool().expect("a boolean")).collect();
    assert_eq!(from_pool, [true, true, true, true, true, false, false, false, false, false]);
    let vmids: BTreeSet<u64> = answers.iter().filter_map(|answer| answer["vmid"].as_u64()).collect();
    assert_eq!(vmids.len(), 10, "each got a container of its own");
    let completed: Vec<String> = world
        .events()
        .iter()
        .filter_map(|envelope| match &envelope.event {
            sandbox_pool::domain::event::Event::AllocationCompleted(e) if !e.from_pool => {
                Some(e.instance_id.to_string())
            }
            _ => None,
        })
        .collect();
    assert_eq!(completed, ["box-5", "box-6", "box-7", "box-8", "box-9"], "first come, first served");
    let before = world.clock.now();
    world.settle().await;
    assert_eq!(world.count("CloneStarted"), clones + 10);
    assert!(busy(&world.events()) >= 0.97, "the lane was busy for {:.3} of its time", busy(&world.events()));
    assert!(world.clock.now().since(before).as_secs() < 30, "the pool refills without the tick");
    assert_eq!(world.sim.max_clones_in_flight_seen(9009), 1);
    world.check();
}

#[tokio::test(start_paused = true)]
async fn the_same_instance_gets_the_same_container_also_at_once_and_after_a_restart() {
    let mut world = World::new().full().await;
    let (first, second) = (world.allocating("box"), world.allocating("box"));
    let (first, second) = (first.await.expect("an answer").ok(), second.await.expect("an answer").ok());
    assert_eq!(first["vmid"], second["vmid"]);
    assert_eq!(world.allocate("box").await.ok()["vmid"], first["vmid"]);
    world.restart().await;
    assert_eq!(world.allocate("box").await.ok()["vmid"], first["vmid"]);
    let other = json!({ "template_vmid": 9010, "instance_id": "box" });
    let refused = world.post("/allocate", Some(other)).await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    world.settle().await;
    world.check();
}

#[tokio::test(start_paused = true)]
async fn an_unknown_container_is_not_found_and_an_unknown_template_neither() {
    let world = World::new().full().await;
    assert_eq!(world.post("/release/777", None).await.status, 404);
    assert_eq!(world.delete("/containers/777").await.status, 404);
    let missing = json!({ "template_vmid": 9999, "instance_id": "box" });
    let answer = world.post("/allocate", Some(missing)).await;
    assert_eq!(answer.status, 404, "{}", answer.body);
    let not_a_template = json!({ "template_vmid": 101, "instance_id": "box" });
    let answer = world.post("/allocate", Some(not_a_template)).await;
    assert_eq!(answer.status, 409, "{}", answer.body);
    assert_eq!(world.count("TemplateAdded"), 1, "neither was taken on");
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_says_what_would_happen_and_nothing_does() {
    let world = World::new().full().await;
    let head = world.state().head;
    let body = json!({ "template_vmid": 9009, "instance_id": "box" });
    let answer = world.post("/allocate?dry_run=true", Some(body)).await.ok();
    assert_eq!(answer["dry_run"], true);
    assert_eq!(answer["events"][0]["type"], "Allocated");
    assert_eq!(world.state().head, head);
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_the_line_is_not_served() {
    let world = World::new().set("POOL_TARGET_SIZE", "1").full().await;
    world.allocate("first").await.ok();
    let leaving = world.allocating("leaves");
    world.until("a waiter", |state| state.waiting.len() == 1).await;
    leaving.abort();
    world.until("nobody in line", |state| state.waiting.is_empty()).await;
    world.settle().await;
    assert_eq!(world.count("AllocationCancelled"), 1);
    assert_eq!(
        world.state().template(sandbox_pool::domain::ids::Vmid(9009)).expect("it").counts.allocated,
        1
    );
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_stop_tells_waiters_and_ends_the_log_cleanly() {
    let mut world = World::new().set("POOL_TARGET_SIZE", "1").full().await;
    world.allocate("first").await.ok();
    let waiting = world.allocating("second");
    world.until("a waiter", |state| state.waiting.len() == 1).await;
    world.stop().await;
    let answer = waiting.await.expect("an answer");
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(answer.retry_after.is_some());
    let events = world.events();
    assert_eq!(events.last().expect("events").event.type_name(), "ServiceStopped");
    world.start().await;
    world.settle().await;
    world.check();
}

#[tokio::test(start_paused = true)]
async fn status_shows_who_waits_and_what_is_queued_also_without_the_containers() {
    let world = World::new().set("POOL_TARGET_SIZE", "1").full().await;
    world.allocate("first").await.ok();
    let (second, third) = (world.allocating("second"), world.allocating("third"));
    world.until("two waiters", |state| state.waiting.len() == 2).await;
    let status = world.get("/status?containers=false").await.ok();
    let template = &status["templates"]["9009"];
    assert_eq!(template["containers"], json!([]));
    assert_eq!(template["allocated_count"], 1);
    assert_eq!(template["waiters"][0]["instance_id"], "second");
    assert_eq!(template["waiters"][1]["instance_id"], "third");
    assert_eq!(template["queue"].as_array().expect("a list").len(), 2);
    for waiting in [second, third] {
        waiting.await.expect("an answer").ok();
    }
    world.settle().await;
    world.check();
}
