//! What holds in every State, whatever led to it.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::command::Command;
use crate::domain::decide::decide;
use crate::domain::event::{Envelope, Event};
use crate::domain::ids::{InstanceId, Vmid};
use crate::domain::plan::plan;
use crate::domain::state::{Counts, Phase, ServicePhase, State};
use crate::domain::time::Timestamp;

/// Panics with the promise that State breaks.
pub(super) fn hold_in(state: &State) {
    index_is_what_a_rebuild_makes_it(state);
    counts_are_what_a_recount_makes_them(state);
    nobody_shares_a_container_and_no_instance_has_two_places(state);
    lines_and_waiters_agree(state);
    one_clone_of_a_template_at_a_time(state);
    the_tries_of_a_cancelled_clone_are_for_the_next_that_is_queued(state);
    if state.service.phase == ServicePhase::Running {
        inventory_stays_within_its_maximum(state);
        drained_templates_keep_nobody_waiting(state);
        everything_due_was_done(state);
    }
}

/// Panics unless State is the fold of the log, also over a snapshot of any earlier State.
pub(super) fn replay_gives(state: &State, log: &[Envelope]) {
    let mut replayed = State::default();
    for (nth, envelope) in log.iter().enumerate() {
        replayed.apply(envelope);
        if nth % 97 == 0 {
            replayed = over_a_snapshot(&replayed);
        }
    }
    assert_eq!(json(&replayed), json(state), "a replay gives another State");
    assert_eq!(&replayed, state, "a replay gives another index");
}

fn over_a_snapshot(state: &State) -> State {
    let mut read: State = serde_json::from_str(&json(state)).unwrap();
    read.rebuild_index();
    assert_eq!(&read, state, "a snapshot does not read back as it was written");
    read
}

fn json(state: &State) -> String {
    serde_json::to_string(state).unwrap()
}

fn index_is_what_a_rebuild_makes_it(state: &State) {
    let mut rebuilt = state.clone();
    rebuilt.rebuild_index();
    assert_eq!(rebuilt.index, state.index, "the index is not what a rebuild makes it");
}

fn counts_are_what_a_recount_makes_them(state: &State) {
    let mut counts: BTreeMap<_, Counts> = BTreeMap::new();
    for container in state.containers.values() {
        *counts.entry(container.template).or_default().of(&container.phase) += 1;
    }
    for (vmid, template) in &state.templates {
        let counted = counts.remove(vmid).unwrap_or_default();
        assert_eq!(template.counts, counted, "counts of template {vmid}");
    }
    assert!(counts.is_empty(), "containers of templates that State does not know: {counts:?}");
}

fn nobody_shares_a_container_and_no_instance_has_two_places(state: &State) {
    let waiting = state.waiting.values().map(|waiting| &waiting.instance_id);
    let held = state.containers.values().filter_map(|container| container.instance_id());
    let mut seen = BTreeSet::new();
    for instance_id in waiting.chain(held) {
        assert!(seen.insert(instance_id), "instance {instance_id} has two places");
        assert!(state.place(instance_id).is_some(), "instance {instance_id} is not found");
    }
    let clones: BTreeSet<_> = state.containers.values().map(|container| container.clone_id).collect();
    assert_eq!(clones.len(), state.containers.len(), "two containers come from one clone");
}

fn lines_and_waiters_agree(state: &State) {
    let mut in_line = 0;
    for template in state.templates.values() {
        for id in &template.line {
            assert!(state.waiting.contains_key(id), "{id} stands in line and waits for nothing");
        }
        in_line += template.line.len();
    }
    assert_eq!(in_line, state.waiting.len(), "somebody waits in no line");
}

fn one_clone_of_a_template_at_a_time(state: &State) {
    for (vmid, template) in &state.templates {
        assert!(template.counts.creating <= 1, "template {vmid} has two clones under way");
    }
}

fn the_tries_of_a_cancelled_clone_are_for_the_next_that_is_queued(state: &State) {
    for (vmid, template) in &state.templates {
        assert!(template.interrupted.is_none() || template.queue.is_empty(), "template {vmid} keeps tries");
    }
}

fn inventory_stays_within_its_maximum(state: &State) {
    for (vmid, template) in &state.templates {
        let coming = |c: &&crate::domain::state::Container| {
            c.template == *vmid && c.creating().is_some_and(|creating| creating.unwanted.is_none())
        };
        let coming = state.containers.values().filter(coming).count();
        let ready = state.ready(*vmid).count();
        let inventory = (ready + coming + template.queue.len()).saturating_sub(template.line.len());
        let most = state.sizes(*vmid).max as usize + usize::from(template.refresh_before.is_some());
        // A clone that cannot be stopped ends first; it is destroyed then.
        let most = if ready == 0 { most.max(coming) } else { most.max(ready.min(most) + coming) };
        assert!(inventory <= most, "template {vmid} has an inventory of {inventory}, not {most}");
    }
}

fn drained_templates_keep_nobody_waiting(state: &State) {
    for (vmid, template) in &state.templates {
        assert!(!template.drained || template.line.is_empty(), "{vmid} is drained and has a line");
    }
}

/// What is over at the time of the last event, by time alone.
fn everything_due_was_done(state: &State) {
    for waiting in state.waiting.values() {
        assert!(waiting.deadline > state.at, "{} waits past its time", waiting.instance_id);
    }
    for container in state.containers.values() {
        if let Phase::Allocated(holding) = &container.phase {
            let unanswered = holding.completed_at.is_none();
            assert!(
                !unanswered || holding.deadline > state.at,
                "{} is handed out past its time",
                holding.instance_id
            );
        }
    }
}

/// A look at the clock right after a decision finds nothing more to do.
pub(super) fn nothing_is_left_to_do(state: &State) {
    let again = decide(state, Command::Tick, state.at, &mut fastrand::Rng::with_seed(9)).unwrap();
    assert!(again.events.is_empty(), "a tick right after finds more to do: {:?}", again.events);
}

/// Neither a rule nor the plan has anything new to say before the instant that the plan names.
pub(super) fn time_alone_changes_nothing_before_the_plan_wakes(state: &State, now: Timestamp) {
    let now = now.max(state.at);
    let awake = plan(state, now);
    let week = now.after(std::time::Duration::from_hours(24 * 7));
    let before = Timestamp(awake.wake_at.unwrap_or(week).0 - 1);
    let early = decide(state, Command::Tick, before, &mut fastrand::Rng::with_seed(9)).unwrap();
    assert!(early.events.is_empty(), "due before the plan wakes: {:?}", early.events);
    assert_eq!(plan(state, before).actions, awake.actions, "the plan changes before it wakes");
}

/// Who was told of which container, until it is surely no longer theirs.
#[derive(Default)]
pub(super) struct Hands(BTreeMap<Vmid, InstanceId>);

impl Hands {
    pub(super) fn watch(&mut self, events: &[Event]) {
        for event in events {
            match event {
                Event::AllocationCompleted(e) => {
                    let other = self.0.iter().find(|(vmid, id)| **vmid != e.vmid && **id == e.instance_id);
                    assert_eq!(other, None, "{} was told of two containers", e.instance_id);
                    let before = self.0.insert(e.vmid, e.instance_id.clone());
                    assert!(
                        before.as_ref().is_none_or(|id| *id == e.instance_id),
                        "{} is in the hands of {before:?} and {}",
                        e.vmid,
                        e.instance_id
                    );
                }
                Event::Released(e) => drop(self.0.remove(&e.vmid)),
                Event::Removed(e) => drop(self.0.remove(&e.vmid)),
                Event::ContainerLost(e) => drop(self.0.remove(&e.vmid)),
                _ => {}
            }
        }
    }
}
