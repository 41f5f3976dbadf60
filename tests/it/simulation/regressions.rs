//! Stories that once went wrong, each cut down to what it takes and named after what was wrong.

use std::time::Duration;

use sandbox_pool::sim::{Effect, FaultRule, On, Which};

use super::script::{Meddling, Part, Script, Setting, Step};
use super::{play_script, tell};

/// One template, nothing random.
fn calm(target: u32) -> Setting {
    Setting {
        templates: 1,
        two_nodes: false,
        sizes: (0, target, target.max(1)),
        max_total: 0,
        clone_concurrency: 1,
        replenish_batch: 0,
        recycle: false,
        clone_ms: 3000,
        start_ms: 2000,
        jitter_ms: 0,
        segment_bytes: 1 << 20,
    }
}

fn wait(ms: u64) -> Step {
    Step::Wait { ms }
}

fn allocate(instance: u32, start: bool, patience_ms: Option<u64>) -> Step {
    Step::Allocate { template: 0, instance: Some(instance), start, ttl: None, patience_ms }
}

fn fault(FaultRule { on, which, effect }: FaultRule) -> Step {
    Step::Fault { on, which, effect }
}

#[track_caller]
fn plays_well(setting: Setting, steps: impl IntoIterator<Item = Step>) {
    let played = play_script(1, &Script { setting, steps: steps.into_iter().collect() });
    assert!(played.failure.is_none(), "{}", tell(1, &played));
}

#[test]
fn whoever_joined_a_request_without_a_start_got_a_container_that_did_not_run() {
    plays_well(calm(0), [wait(1000), allocate(4, false, None), allocate(4, true, None), wait(20_000)]);
}

#[test]
fn a_container_that_was_moved_before_its_clone_was_looked_at_was_forgotten() {
    let moved = Step::Meddle { nth: 0, what: Meddling::Migrate };
    let steps = [
        wait(1000),
        Step::Break(Part::FrontEnd),
        wait(4000),
        moved,
        Step::Mend(Part::FrontEnd),
        wait(30_000),
    ];
    plays_well(Setting { two_nodes: true, ..calm(1) }, steps);
}

#[test]
fn a_container_was_written_to_while_a_task_that_could_not_be_followed_ran_for_it() {
    let refused = Effect::FailBefore { status: 500, reason: "internal error".to_owned() };
    let statuses = On::call("GET", "/nodes/*/tasks/*/status");
    let steps = [
        wait(10_000),
        fault(FaultRule { on: statuses, which: Which::First(8), effect: refused }),
        fault(FaultRule::once(On::start(), Effect::TaskTakes(Duration::from_secs(70)))),
        allocate(1, true, None),
        wait(200_000),
    ];
    plays_well(calm(1), steps);
}

#[test]
fn a_rename_that_was_given_up_and_came_late_left_a_ready_container_with_an_instances_name() {
    let late = Effect::Delay(Duration::from_secs(50));
    let steps = [
        wait(10_000),
        fault(FaultRule::once(On::update(), late)),
        allocate(3, true, Some(15_000)),
        wait(200_000),
    ];
    plays_well(Setting { sizes: (0, 1, 2), ..calm(1) }, steps);
}

#[test]
fn a_clone_whose_end_was_seen_late_kept_the_next_one_from_being_looked_at() {
    let steps = [
        wait(1000),
        Step::Break(Part::Daemon(0)),
        wait(2_400_000),
        wait(2_400_000),
        Step::Mend(Part::Daemon(0)),
        wait(130_000),
        allocate(1, false, None),
        wait(100),
    ];
    plays_well(calm(1), steps);
}

#[test]
fn before_a_new_log_knew_what_pve_has_an_instance_was_given_a_second_container() {
    let steps = [
        wait(10_000),
        allocate(1, true, None),
        wait(10_000),
        fault(FaultRule::once(On::call("GET", "/nodes"), Effect::SlowAnswer(Duration::from_secs(4)))),
        Step::LoseLog,
        wait(10),
        allocate(1, true, None),
        wait(30_000),
    ];
    plays_well(calm(1), steps);
}

#[test]
fn a_new_log_was_taken_for_an_old_one_after_a_restart_before_pve_was_looked_at() {
    let steps = [
        wait(10_000),
        allocate(1, true, None),
        wait(10_000),
        Step::Break(Part::FrontEnd),
        Step::LoseLog,
        wait(100),
        Step::Kill { down_ms: 0 },
        allocate(1, true, None),
        wait(1000),
        Step::Mend(Part::FrontEnd),
        wait(30_000),
    ];
    plays_well(calm(1), steps);
}

#[test]
fn an_instance_whose_container_could_not_be_read_after_a_lost_log_was_given_a_second_one() {
    let refused = Effect::FailBefore { status: 500, reason: "internal error".to_owned() };
    let configs = On::call("GET", "/nodes/*/lxc/*/config");
    let steps = [
        wait(10_000),
        allocate(1, true, None),
        wait(10_000),
        fault(FaultRule { on: configs, which: Which::First(5), effect: refused }),
        Step::LoseLog,
        allocate(1, true, None),
        wait(20_000),
    ];
    plays_well(calm(1), steps);
}

#[test]
fn an_instance_whose_node_could_not_be_listed_after_a_lost_log_was_given_a_second_container() {
    let refused = Effect::FailBefore { status: 595, reason: "No route to host".to_owned() };
    let lists = On::call("GET", "/nodes/pve1/lxc");
    let steps = [
        wait(10_000),
        allocate(1, true, None),
        wait(10_000),
        fault(FaultRule { on: lists, which: Which::First(2), effect: refused }),
        Step::LoseLog,
        allocate(1, true, None),
        wait(20_000),
    ];
    plays_well(Setting { two_nodes: true, ..calm(1) }, steps);
}

#[test]
fn an_instance_whose_nodes_daemon_was_down_for_long_after_a_lost_log_was_given_a_second_container() {
    let steps = [
        wait(10_000),
        allocate(1, true, None),
        wait(10_000),
        Step::Break(Part::Daemon(0)),
        Step::LoseLog,
        wait(1000),
        allocate(1, true, None),
        wait(60_000),
        Step::Mend(Part::Daemon(0)),
        wait(60_000),
    ];
    plays_well(calm(1), steps);
}

#[test]
fn an_instance_whose_container_vanished_is_first_in_line_when_it_asks_again() {
    let steps = [
        wait(30_000),
        allocate(1, true, None),
        wait(10_000),
        Step::Meddle { nth: 0, what: Meddling::Destroy },
        allocate(2, true, None),
        wait(100),
        allocate(1, true, None),
        wait(60_000),
    ];
    plays_well(Setting { sizes: (0, 0, 1), ..calm(1) }, steps);
}

#[test]
fn a_container_was_written_to_while_a_task_that_could_not_be_listed_ran_for_it() {
    let strange = |path| {
        let reason = "no such cluster node 'pve1'".to_owned();
        fault(FaultRule::always(On::call("GET", path), Effect::FailBefore { status: 500, reason }))
    };
    let steps = [
        wait(10_000),
        strange("/nodes/*/tasks/*/status"),
        strange("/nodes/*/tasks"),
        allocate(1, true, None),
        wait(4000),
        Step::NoMoreFaults,
        wait(20_000),
    ];
    plays_well(calm(1), steps);
}

#[test]
fn what_a_destroy_that_was_cut_off_left_was_unknown_after_a_lost_log() {
    let steps = [
        wait(10_000),
        fault(FaultRule::always(On::destroy(), Effect::TaskDies)),
        allocate(1, false, None),
        wait(10_000),
        Step::Remove(0),
        wait(10_000),
        Step::LoseLog,
        Step::NoMoreFaults,
        wait(60_000),
    ];
    plays_well(calm(1), steps);
}
