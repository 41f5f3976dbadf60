//! Templates: drain, refresh, coming and leaving.

use super::pool::{Pool, T, U, allocate_from, fault, put};
use crate::domain::command::Command;
use crate::domain::fault::FaultKind;
use crate::domain::ids::Vmid;
use crate::domain::settings::SizeOverrides;

#[test]
fn a_drain_destroys_what_is_ready_and_what_comes_back() {
    let mut pool = Pool::new().stocked(2);
    pool.handed_out("box");
    pool.drain(T).then("TemplateDrained 9009; RemovalRequested 201 drained");
    pool.release(200).parked(200).then("Released 200 spent; RemovalRequested 200 drained");
}

#[test]
fn a_drain_destroys_the_clone_under_way_when_it_is_made() {
    let mut pool = Pool::sized(0, 2, 10);
    pool.prepared(T).drain(T).then("TemplateDrained 9009; CloneCancelled 9009; RemovalRequested 200 drained");
    pool.submitted(200).made(200).then("CloneSucceeded 200; RemovalRequested 200 drained");
}

#[test]
fn a_drained_template_is_neither_warmed_nor_refreshed_nor_drained_again() {
    let mut pool = Pool::new().stocked(1);
    pool.drain(T).drain(T).then("");
    pool.refuses(Command::Warm { template: Vmid(T), count: None, facts: None }, "drained");
    pool.refuses(Command::RefreshTemplate { template: Vmid(T) }, "drained");
}

#[test]
fn a_put_ends_the_drain() {
    let mut pool = Pool::new().stocked(1);
    pool.drain(T).put(T, 0, 1, 2).then("TemplateConfigured 9009; CloneQueued 9009 refill");
}

#[test]
fn an_unknown_template_is_neither_drained_nor_refreshed() {
    let mut pool = Pool::new();
    pool.refuses(Command::DrainTemplate { template: Vmid(U) }, "no template 9010");
    pool.refuses(Command::RefreshTemplate { template: Vmid(U) }, "no template 9010");
}

#[test]
fn a_refresh_replaces_one_by_one_with_one_more_than_the_target() {
    let mut pool = Pool::sized(1, 2, 2);
    pool.clone_all().refresh(T).then("TemplateRefreshed 9009; CloneQueued 9009 warm").clone(T);
    pool.then("CloneSucceeded 202; RemovalRequested 201 refreshed; CloneQueued 9009 warm");
    pool.destroyed(201).clone(T);
    pool.then("CloneSucceeded 203; RemovalRequested 200 refreshed")
        .destroyed(200)
        .holds("202 ready; 203 ready");
    pool.plans("").later(60).then("");
}

#[test]
fn a_refresh_never_falls_below_the_minimum() {
    let mut pool = Pool::sized(2, 2, 2);
    pool.clone_all().refresh(T);
    while pool.state.template(Vmid(T)).unwrap().refresh_before.is_some() {
        pool.clone_all();
        assert!(pool.ready(T) >= 2);
    }
    assert!(pool.state.ready(Vmid(T)).all(|container| container.vmid.0 >= 202));
}

#[test]
fn fresh_containers_go_first_while_a_refresh_is_on() {
    let mut pool = Pool::sized(0, 2, 3);
    pool.clone_all().refresh(T).clone(T);
    pool.allocate("box").then_has("Allocated 202 box");
}

#[test]
fn a_clone_of_the_old_template_is_replaced_too() {
    let mut pool = Pool::sized(0, 1, 2);
    pool.prepared(T).refresh(T).submitted(200).made(200).then_lacks("RemovalRequested").clone(T);
    pool.then_has("RemovalRequested 200 refreshed");
}

#[test]
fn a_refresh_without_a_target_just_destroys() {
    let mut pool = Pool::new().stocked(2);
    pool.refresh(T)
        .then("TemplateRefreshed 9009; RemovalRequested 201 refreshed; RemovalRequested 200 refreshed");
    pool.plans_no_clone();
}

#[test]
fn a_refresh_without_a_target_makes_nothing_for_itself() {
    let mut pool = Pool::new();
    pool.allocate("a").prepared(T).refresh(T).then("TemplateRefreshed 9009");
}

#[test]
fn a_refresh_whose_clones_fail_keeps_what_is_there() {
    let mut pool = Pool::sized(0, 1, 2);
    pool.clone_all().refresh(T).prepare(T, Err(fault(FaultKind::NoSpace)));
    pool.then_has("TemplateBackedOff").holds("200 ready").allocate("box").then_has("Allocated 200 box");
}

#[test]
fn configured_templates_are_filled_from_the_start() {
    let two = SizeOverrides { target: Some(2), ..SizeOverrides::default() };
    let pool = Pool::with(|settings| settings.templates = [(Vmid(T), two)].into());
    assert_eq!(pool.state.queued_clones(), 2);
}

#[test]
fn a_template_without_containers_or_settings_leaves_after_a_day() {
    let mut pool = Pool::new().stocked(1);
    pool.remove(200).destroyed(200).later(86_399).then("").later(1).then("TemplateRemoved 9009");
    assert_eq!(pool.plan().wake_at, None);
}

#[test]
fn a_template_whose_clones_never_worked_leaves_too() {
    for sent in [false, true] {
        let mut pool = Pool::sized(0, 2, 10);
        let began = pool.now;
        while pool.state.template(Vmid(T)).is_some() {
            assert!(pool.now.since(began).as_secs() < 90_000, "it never leaves");
            if pool.plan().actions.is_empty() {
                pool.now = pool.plan().wake_at.unwrap();
                pool.run(Command::Tick);
            } else if sent {
                pool.prepared(T);
                let vmid = pool.creating();
                pool.sent(vmid, Err(fault(FaultKind::NoSpace)));
            } else {
                pool.prepare(T, Err(fault(FaultKind::NoSpace)));
            }
        }
        pool.then_has("TemplateRemoved 9009");
    }
}

#[test]
fn a_template_with_settings_stays() {
    let mut pool = Pool::new();
    pool.run(put(T, SizeOverrides { max: Some(4), ..SizeOverrides::default() })).later(90_000).then("");
    let mut pool = Pool::with(|settings| settings.templates = [(Vmid(T), SizeOverrides::default())].into());
    pool.later(90_000).then("");
}

#[test]
fn a_template_that_is_asked_for_stays() {
    let mut pool = Pool::with(|settings| settings.allocate_timeout_seconds = 200_000);
    pool.run(allocate_from(U, "box")).later(90_000).then("");
}
