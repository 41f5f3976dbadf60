//! A template's own settings over HTTP: sizes that last, drain, refresh.

use std::collections::BTreeSet;

use sandbox_pool::domain::ids::Vmid;
use serde_json::{Value, json};

use crate::world::World;

#[tokio::test(start_paused = true)]
async fn a_size_that_was_set_lasts_over_a_restart_until_it_is_taken_back() {
    let mut world = World::new().full().await;
    world.put("/templates/9009", json!({ "target": 2, "min": 1, "max": 3 })).await.ok();
    world.until("the surplus to go", |state| state.containers.len() == 3).await;
    world.restart().await;
    world.settle().await;
    assert_eq!(world.get("/status").await.ok()["templates"]["9009"]["target_size"], 2);
    world.put("/templates/9009", json!({ "target": Value::Null })).await.ok();
    world.settle().await;
    assert_eq!(world.get("/status").await.ok()["templates"]["9009"]["target_size"], 5);
    assert_eq!(world.made_at_pve().len(), 5);
    world.check();
}

#[tokio::test(start_paused = true)]
async fn sizes_that_contradict_each_other_are_refused() {
    let world = World::new().full().await;
    let refused = world.put("/templates/9009", json!({ "target": 4, "max": 2 })).await;
    assert_eq!(refused.status, 422, "{}", refused.body);
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_drained_template_gives_up_its_containers_and_serves_nobody_until_it_is_set_again() {
    let world = World::new().full().await;
    world.allocate("held").await.ok();
    world.delete("/templates/9009").await.ok();
    world.until("an empty pool", |state| state.containers.len() == 1).await;
    let refused = world.allocate("box").await;
    assert_eq!((refused.status, &refused.body["code"]), (409, &json!("template_drained")));
    world.put("/templates/9009", json!({})).await.ok();
    world.settle().await;
    world.allocate("box").await.ok();
    world.settle().await;
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_refresh_replaces_every_ready_container_and_never_runs_short() {
    let world = World::new().full().await;
    let before = world.made_at_pve();
    world.post("/templates/9009/refresh", None).await.ok();
    world
        .until("today's containers", |state| {
            let counts = state.template(Vmid(9009)).expect("the template").counts;
            assert!(counts.ready >= 3, "never below the minimum");
            assert!(counts.ready + counts.creating <= 11, "one above the maximum at most");
            state.template(Vmid(9009)).expect("the template").refresh_before.is_none()
        })
        .await;
    world.settle().await;
    assert_eq!(world.made_at_pve().intersection(&before).collect::<BTreeSet<_>>(), BTreeSet::new());
    world.check();
}
