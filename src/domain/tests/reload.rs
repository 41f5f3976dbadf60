//! A configuration that is read again while the pool is kept.

use super::pool::{Pool, T, U, allocate, put};
use crate::domain::command::Command;
use crate::domain::ids::{EndpointName, Vmid};
use crate::domain::settings::{Settings, SizeOverrides, Sizes};

fn reload(pool: &mut Pool, change: impl FnOnce(&mut Settings)) -> &mut Pool {
    let mut settings = pool.state.settings.clone();
    change(&mut settings);
    pool.run(Command::Reload { settings: Box::new(settings), webhooks: Vec::new() })
}

#[test]
fn the_same_settings_are_no_event() {
    reload(&mut Pool::sized(1, 2, 3), |_| {}).then("");
}

#[test]
fn a_larger_size_is_filled_at_once() {
    let mut pool = Pool::sized(1, 2, 10).stocked(2);
    reload(&mut pool, |it| it.sizes = Sizes { min: 1, target: 4, max: 10 })
        .then("SettingsChanged; CloneQueued 9009 refill ×2");
}

#[test]
fn a_smaller_maximum_trims_the_surplus() {
    let mut pool = Pool::sized(0, 4, 10).stocked(4);
    reload(&mut pool, |it| it.sizes = Sizes { min: 0, target: 1, max: 2 }).then_has("SettingsChanged");
    pool.then_has("RemovalRequested");
    assert_eq!(pool.ready(T), 2);
}

#[test]
fn a_size_that_was_set_by_hand_stays() {
    let mut pool = Pool::new();
    pool.run(put(T, SizeOverrides { target: Some(3), ..SizeOverrides::default() })).clone_all();
    reload(&mut pool, |it| it.sizes.target = 1).then("SettingsChanged");
    assert_eq!(pool.state.sizes(Vmid(T)).target, 3);
}

#[test]
fn a_template_that_is_new_in_the_settings_is_filled() {
    let mut pool = Pool::with(|it| it.sizes = Sizes { min: 0, target: 1, max: 1 });
    let with_another = |it: &mut Settings| it.templates = [(Vmid(U), SizeOverrides::default())].into();
    reload(&mut pool, with_another).then("SettingsChanged; TemplateAdded 9010; CloneQueued 9010 refill");
}

#[test]
fn whoever_waits_or_holds_something_is_not_disturbed() {
    let mut pool = Pool::sized(0, 1, 10).stocked(1);
    let held = pool.handed_out("holder");
    pool.run(allocate("waiter"));
    reload(&mut pool, |it| it.sizes = Sizes { min: 0, target: 0, max: 0 }).then_lacks("Allocation");
    assert!(pool.container(held).holding().is_some());
    assert_eq!(pool.state.waiting.len(), 1);
}

#[test]
fn endpoints_come_and_go_with_it() {
    let mut pool = Pool::new();
    let mut configured = |names: &[&str]| {
        let webhooks = names.iter().map(|name| EndpointName::from(*name)).collect();
        let settings = Box::new(pool.state.settings.clone());
        pool.run(Command::Reload { settings, webhooks });
        pool.events.iter().map(crate::domain::event::Event::type_name).collect::<Vec<_>>()
    };
    assert_eq!(configured(&["a", "b"]), ["WebhookAdded", "WebhookAdded"]);
    assert_eq!(configured(&["b"]), ["WebhookRemoved"]);
    assert_eq!(configured(&["b"]), [""; 0]);
}

#[test]
fn a_pool_that_is_stopping_takes_nothing_on() {
    let mut pool = Pool::new();
    pool.run(Command::BeginStop);
    let settings = Box::new(Settings::default());
    pool.refuses(Command::Reload { settings, webhooks: Vec::new() }, "stop");
}
