//! A PVE that is there and cannot be relied on: answers without sense, a node that goes away and comes back, work
//! that never ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sandbox_pool::domain::ids::Vmid;
use sandbox_pool::pve::{Answer, Method, Request, Transport, Unanswered};
use sandbox_pool::sim::{CtSpec, Demo, Effect, FaultRule, On};
use serde_json::json;

use crate::world::{EPOCH, World};

/// Carries out every call, and answers some of them with a body of its own.
struct Garbling {
    inner: Arc<dyn Transport>,
    call: (Method, &'static str),
    body: &'static str,
    left: AtomicUsize,
}

#[async_trait]
impl Transport for Garbling {
    async fn call(&self, request: Request) -> Result<Answer, Unanswered> {
        let meant = request.method == self.call.0 && request.path.ends_with(self.call.1);
        let answer = self.inner.call(request).await?;
        let take = |left: usize| left.checked_sub(1);
        if meant && self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok() {
            return Ok(Answer { body: self.body.as_bytes().to_vec(), ..answer });
        }
        Ok(answer)
    }
}

/// Bodies that a proxy, a restart or another release could give.
const NONSENSE: [&str; 7] = [
    "",
    "<html><body>502 Bad Gateway</body></html>",
    r#"{"data":[{"vmid":20"#,
    r#"{"data":{"vmid":"two hundred","status":7,"upid":[]}}"#,
    r#"{"data":"UPID:pve1:not one"}"#,
    r#"{"data":[null,3,"x",{}]}"#,
    r#"{"nothing":true}"#,
];

#[tokio::test(start_paused = true)]
async fn answers_without_sense_lose_and_double_nothing() {
    for call in [
        (Method::Post, "/clone"),
        (Method::Post, "/status/start"),
        (Method::Put, "/config"),
        (Method::Get, "/config"),
        (Method::Get, "/status"),
        (Method::Get, "/status/current"),
        (Method::Get, "/lxc"),
        (Method::Get, "/nodes"),
        (Method::Get, "/resources"),
        (Method::Get, "/tasks"),
    ] {
        for body in NONSENSE {
            let mut world = World::new().set("POOL_TARGET_SIZE", "1").set("POOL_MIN_SIZE", "0");
            world.through(|inner| Arc::new(Garbling { inner, call, body, left: AtomicUsize::new(3) }));
            world.start().await;
            while world.allocate("box").await.status != 200 {
                assert!(world.events().len() < 1000, "{call:?} {body}");
                tokio::time::sleep(Duration::from_secs(30)).await;
            }
            world.settle().await;
            assert_eq!(world.count("ContainerLost"), 0, "{call:?} {body}");
            assert_eq!(world.sim.max_clones_in_flight_seen(9009), 1, "{call:?} {body}");
            world.check();
        }
    }
}

/// A pool over two nodes, with a template on each.
async fn two_nodes() -> World {
    let mut model = Demo::model(EPOCH, 1);
    model.add_node("pve2");
    model.add_ct(CtSpec::new(9200, "elsewhere").on("pve2").template());
    let world = World::with_model(model);
    world.set("POOL_TEMPLATES", "9009,9200").set("POOL_TARGET_SIZE", "2").full().await
}

#[tokio::test(start_paused = true)]
async fn a_node_that_goes_away_costs_no_container_and_holds_up_no_other() {
    let world = two_nodes().await;
    let there = |instance: &str| Some(json!({ "template_vmid": 9200, "instance_id": instance }));
    let held = world.post("/allocate?start=true", there("held")).await.ok();
    world.settle().await;
    let before = world.made_at_pve();
    world.sim.node_down("pve2");
    let refused = world.post("/allocate?start=true", there("other")).await;
    assert_eq!(refused.status, 504, "{}", refused.body);
    assert!(refused.body["detail"].as_str().expect("a detail").contains("pve2"), "{}", refused.body);
    for nth in 0..4 {
        world.allocate(&format!("here-{nth}")).await.ok();
    }
    tokio::time::sleep(Duration::from_mins(20)).await;
    assert_eq!(world.count("ContainerLost") + world.count("Removed"), 0);
    world.sim.node_up("pve2");
    world.settle().await;
    assert!(world.made_at_pve().is_superset(&before));
    let again = world.post("/allocate?start=true", there("held")).await.ok();
    assert_eq!(again["vmid"], held["vmid"]);
    world.post("/allocate?start=true", there("other")).await.ok();
    world.settle().await;
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_clone_that_never_ends_holds_up_its_own_template_alone_and_says_so() {
    let mut world = World::new().set("POOL_TEMPLATES", "9009,9010").set("POOL_TARGET_SIZE", "1");
    world.sim.add_fault(FaultRule::once(On::clone_of(9009), Effect::TaskTakes(Duration::from_mins(40))));
    world.start().await;
    world
        .until("the other template's container", |state| {
            state.template(Vmid(9010)).is_some_and(|template| template.counts.ready == 1)
        })
        .await;
    let answer = world.allocate("box").await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(answer.retry_after.is_some());
    let status = world.get("/status").await.ok();
    assert_eq!(status["templates"]["9009"]["creating_count"], 1, "{status}");
    tokio::time::sleep(Duration::from_mins(50)).await;
    world.settle().await;
    world.allocate("box").await.ok();
    world.settle().await;
    assert_eq!(world.sim.max_clones_in_flight_seen(9009), 1);
    world.check();
}
