//! How many containers are kept: minimum, target, maximum, warm, surplus.

use super::pool::{Pool, T, put};
use crate::domain::command::Reply;
use crate::domain::settings::{SizeOverrides, Sizes};

#[test]
fn what_is_missing_is_queued_by_how_badly_it_is_missed() {
    let mut pool = Pool::sized(3, 5, 10);
    pool.then(
        "TemplateAdded 9009; TemplateConfigured 9009; CloneQueued 9009 urgent ×3; CloneQueued 9009 refill ×2",
    );
    pool.clone_all();
    assert_eq!(pool.ready(T), 5);
    pool.plans("");
}

#[test]
fn refill_follows_an_allocation_at_once() {
    let mut pool = Pool::sized(1, 2, 10);
    pool.clone_all().allocate("box").then("Allocated 200 box; CloneQueued 9009 refill");
}

#[test]
fn waiters_come_on_top_of_the_target() {
    let mut pool = Pool::sized(1, 2, 2);
    pool.allocate("a").then("AllocationQueued a; CloneQueued 9009 refill");
    pool.allocate("b").allocate("c").clone_all();
    assert_eq!(pool.state.containers.len(), 5);
    assert_eq!(pool.ready(T), 2);
}

#[test]
fn warm_raises_the_inventory_once() {
    let mut pool = Pool::sized(0, 2, 10);
    pool.clone_all().warm(T, Some(4)).then("TemplateWarmed 9009 to 4; CloneQueued 9009 warm ×2");
    assert_eq!(pool.reply, Reply::Warming { queued: 2, current: 2, target: 4 });
    pool.clone_all();
    assert_eq!(pool.ready(T), 4);
    pool.allocate("box").then("Allocated 200 box");
    pool.plans("Rename 200");
}

#[test]
fn warm_is_clamped_to_the_maximum() {
    let mut pool = Pool::sized(0, 2, 3);
    pool.warm(T, Some(50)).then("TemplateWarmed 9009 to 3; CloneQueued 9009 warm");
    assert_eq!(pool.reply, Reply::Warming { queued: 3, current: 0, target: 3 });
}

#[test]
fn warm_without_a_count_means_the_target() {
    let mut pool = Pool::sized(0, 2, 3);
    pool.clone(T);
    pool.warm(T, None);
    assert_eq!(pool.reply, Reply::Warming { queued: 1, current: 1, target: 2 });
}

#[test]
fn warm_counts_what_is_being_made() {
    let mut pool = Pool::sized(0, 2, 10);
    pool.prepared(T).warm(T, Some(2));
    assert_eq!(pool.reply, Reply::Warming { queued: 1, current: 1, target: 2 });
}

#[test]
fn warm_of_what_is_there_does_nothing() {
    let mut pool = Pool::new().stocked(3);
    pool.warm(T, Some(2)).then("");
    assert_eq!(pool.reply, Reply::Warming { queued: 0, current: 3, target: 2 });
}

#[test]
fn warm_outlasts_a_refusal_of_its_last_clone() {
    let mut pool = Pool::new();
    pool.warm(T, Some(1)).prepared(T);
    pool.sent(200, Err(super::pool::fault(crate::domain::fault::FaultKind::Locked)));
    pool.then("CloneRetryScheduled 9009 locked try=1").later(7).clone(T);
    assert_eq!(pool.ready(T), 1);
}

#[test]
fn sizes_that_are_set_end_a_warm() {
    let mut pool = Pool::sized(0, 2, 10);
    pool.warm(T, Some(8)).put(T, 0, 3, 10).clone_all();
    assert_eq!(pool.ready(T), 3);
}

#[test]
fn a_batch_size_caps_the_refills_in_the_queue() {
    let mut pool = Pool::with(|settings| {
        settings.sizes = Sizes { min: 0, target: 5, max: 10 };
        settings.replenish_batch_size = 2;
    });
    pool.warm(T, None).then_has("CloneQueued 9009 refill ×2").allocate("a").clone_all();
    assert_eq!(pool.ready(T), 5, "the batch is renewed as it is worked off");
}

#[test]
fn a_release_above_the_maximum_is_destroyed() {
    let mut pool = Pool::new().stocked(1);
    pool.handed_out("box");
    pool.put(T, 0, 1, 1).clone_all().release(200).parked(200);
    pool.then("Released 200 spent; RemovalRequested 200 surplus").holds("200 removing; 201 ready");
}

#[test]
fn a_release_at_the_maximum_still_serves_who_waits() {
    let mut pool = Pool::new().stocked(1);
    pool.handed_out("box");
    pool.put(T, 0, 0, 0).allocate("b").release(200).parked(200).then_has("Allocated 200 b");
}

#[test]
fn lowered_sizes_trim_the_surplus_newest_and_used_ones_first() {
    let mut pool = Pool::new().stocked(3);
    pool.handed_out("box");
    pool.release(200).parked(200).put(T, 0, 1, 1);
    pool.then("TemplateConfigured 9009; RemovalRequested 200 surplus; RemovalRequested 202 surplus");
}

#[test]
fn lowered_sizes_cancel_what_was_not_started() {
    let mut pool = Pool::sized(0, 5, 10);
    pool.prepared(T).put(T, 0, 2, 10).then("TemplateConfigured 9009; CloneCancelled 9009 ×3");
}

#[test]
fn sizes_that_contradict_each_other_are_refused() {
    let mut pool = Pool::sized(0, 2, 10);
    for (min, target, max) in [(3, 2, 10), (0, 4, 3)] {
        let sizes = SizeOverrides { min: Some(min), target: Some(target), max: Some(max) };
        pool.refuses(put(T, sizes), "does not hold");
    }
    let target_alone = SizeOverrides { target: Some(20), ..SizeOverrides::default() };
    pool.run(put(T, target_alone)).then_has("TemplateConfigured 9009");
    assert_eq!(pool.state.sizes(crate::domain::ids::Vmid(T)), Sizes { min: 0, target: 20, max: 20 });
}

#[test]
fn own_sizes_win_over_configured_ones_until_they_are_taken_back() {
    let configured = SizeOverrides { target: Some(2), ..SizeOverrides::default() };
    let mut pool = Pool::with(|settings| {
        settings.templates.insert(crate::domain::ids::Vmid(T), configured);
    });
    let target = |pool: &Pool| pool.state.sizes(crate::domain::ids::Vmid(T)).target;
    assert_eq!(target(&pool), 2);
    pool.put(T, 0, 4, 10).restart();
    assert_eq!(target(&pool), 4);
    pool.run(put(T, SizeOverrides::default()));
    assert_eq!(target(&pool), 2);
}

#[test]
fn enormous_sizes_queue_a_bounded_number_of_clones() {
    let mut pool = Pool::new();
    pool.put(T, u32::MAX, u32::MAX, u32::MAX).refresh(T).warm(T, Some(u32::MAX));
    assert!(pool.state.queued_clones() <= 1000);
    pool.allocate("box").then_has("AllocationQueued box");
    pool.clone(T);
    pool.then_has("Allocated 200 box");
}

#[test]
fn a_release_counts_what_is_being_made_against_the_maximum() {
    let mut pool = Pool::new().stocked(2);
    pool.handed_out("box");
    pool.put(T, 0, 2, 2).prepared(T).then("CloneStarted 202");
    pool.release(200).parked(200).then("Released 200 spent; RemovalRequested 200 surplus");
}
