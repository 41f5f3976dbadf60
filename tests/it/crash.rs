//! The service is killed at every call that it makes to PVE, and nothing is lost, doubled or forgotten.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sandbox_pool::domain::state::{CloneStage, Container};
use sandbox_pool::pve::{Answer, Request, Transport, Unanswered};
use sandbox_pool::sim::{Effect, FaultRule, On};
use tokio::sync::Notify;

use crate::world::World;

/// Lets calls through until one is reached; that one is carried out or not, and is never answered.
struct Fuse {
    inner: Arc<dyn Transport>,
    calls: AtomicUsize,
    blows_at: usize,
    carried_out: bool,
    blown: Notify,
}

/// The fuse of one process.
struct Fused(Arc<Fuse>);

#[async_trait]
impl Transport for Fused {
    async fn call(&self, request: Request) -> Result<Answer, Unanswered> {
        let nth = self.0.calls.fetch_add(1, Ordering::SeqCst);
        if nth < self.0.blows_at {
            return self.0.inner.call(request).await;
        }
        if nth == self.0.blows_at && self.0.carried_out {
            let _ = self.0.inner.call(request).await;
        }
        self.0.blown.notify_one();
        std::future::pending().await
    }
}

/// Puts a fuse between the service and PVE.
fn fuse(world: &mut World, blows_at: usize, carried_out: bool) -> Arc<Fuse> {
    let mut made = None;
    world.through(|inner| {
        let fuse =
            Arc::new(Fuse { inner, calls: AtomicUsize::new(0), blows_at, carried_out, blown: Notify::new() });
        made = Some(Arc::clone(&fuse));
        Arc::new(Fused(fuse))
    });
    made.expect("a fuse")
}

/// A short life of a pool: it fills, hands one out, takes it back, and destroys another.
async fn live(world: &World) {
    let first = world.allocate("first").await;
    if first.status == 200 {
        let vmid = &first.body["vmid"];
        world.post(&format!("/release/{vmid}"), None).await;
        let second = world.allocate("second").await;
        world.delete(&format!("/containers/{}", second.body["vmid"])).await;
    }
    world.settle().await;
}

/// How many calls a whole life makes.
async fn calls_of_a_life() -> usize {
    let mut world = small();
    let fuse = fuse(&mut world, usize::MAX, true);
    world.start().await;
    live(&world).await;
    world.check();
    fuse.calls.load(Ordering::SeqCst)
}

fn small() -> World {
    World::new().set("POOL_TARGET_SIZE", "1").set("POOL_MIN_SIZE", "0").set("POOL_MAX_SIZE", "1")
}

/// Kills the service at its nth call, starts it again, and looks at what it makes of that.
async fn killed_at(nth: usize, carried_out: bool) {
    let mut world = small();
    let fuse = fuse(&mut world, nth, carried_out);
    world.start().await;
    tokio::select! {
        biased;
        () = fuse.blown.notified() => {}
        () = live(&world) => {}
    }
    world.kill().await;
    world.through(|inner| inner);
    world.start().await;
    world.settle().await;
    // Whoever asks again for what was being handed out gets it, or a new one; nobody gets another's.
    let again = world.allocate("first").await;
    assert!([200, 409].contains(&again.status), "call {nth}: {}", again.body);
    world.settle().await;
    world.check();
    assert_eq!(world.sim.max_clones_in_flight_seen(9009), 1, "call {nth}");
}

#[tokio::test(start_paused = true)]
async fn killed_before_any_call_takes_effect_nothing_is_lost_or_doubled() {
    for nth in 0..calls_of_a_life().await {
        killed_at(nth, false).await;
    }
}

#[tokio::test(start_paused = true)]
async fn killed_after_any_call_took_effect_nothing_is_lost_or_doubled() {
    for nth in 0..calls_of_a_life().await {
        killed_at(nth, true).await;
    }
}

/// A small world whose first clone runs at PVE.
async fn cloning() -> World {
    let mut world = small();
    world.start().await;
    let runs = |container: &Container| {
        container.creating().is_some_and(|creating| matches!(creating.stage, CloneStage::Running { .. }))
    };
    world.until("a clone under way", |state| state.containers.values().any(runs)).await;
    world
}

#[tokio::test(start_paused = true)]
async fn a_clone_under_way_when_the_log_is_lost_is_followed_to_its_end() {
    let mut world = cloning().await;
    world.kill().await;
    for file in std::fs::read_dir(world.dir()).expect("the directory") {
        std::fs::remove_file(file.expect("a file").path()).expect("its end");
    }
    world.start().await;
    world.settle().await;
    assert_eq!((world.count("CloneStarted"), world.count("CloneSucceeded")), (1, 1), "it was not made twice");
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_clone_under_way_at_a_stop_is_followed_to_its_end() {
    let mut world = cloning().await;
    world.stop().await;
    world.start().await;
    world.settle().await;
    assert_eq!(world.count("CloneStarted"), 1, "it was not made twice");
    assert_eq!(world.count("CloneSucceeded"), 1);
    world.check();
}

#[tokio::test(start_paused = true)]
async fn what_a_waiter_had_cloned_is_in_the_pool_after_a_kill() {
    let mut world = World::new().set("POOL_TARGET_SIZE", "0").set("POOL_MIN_SIZE", "0");
    world.start().await;
    let asked = world.allocating("first");
    world.until("a clone under way", |state| state.containers.len() == 1).await;
    world.restart().await;
    asked.abort();
    world
        .until("a ready container", |state| state.containers.values().any(Container::may_be_handed_out))
        .await;
    let second = world.allocate("second").await.ok();
    assert_eq!(second["allocated_from_pool"], true);
    assert_eq!(world.count("CloneStarted"), 1, "nobody's clone is thrown away or made twice");
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_stop_lets_a_hand_out_finish_for_ten_seconds() {
    for (takes, status) in [(5, 200), (30, 503)] {
        let mut world = small().full().await;
        let takes = Effect::TaskTakes(Duration::from_secs(takes));
        world.sim.add_fault(FaultRule::always(On::start(), takes));
        let asked = world.allocating("box");
        world.until("a hand-out", |state| state.containers.values().any(|c| c.holding().is_some())).await;
        let told = world.clock.now();
        world.stop().await;
        let answer = asked.await.expect("an answer");
        assert_eq!(answer.status, status, "{}", answer.body);
        assert!(world.clock.now().since(told) < Duration::from_secs(15));
        world.start().await;
        world.allocate("box").await.ok();
        world.settle().await;
        world.check();
    }
}
