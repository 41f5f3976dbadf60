//! Which events are a template's or an instance's, wherever its scope begins to hear them.

use std::collections::BTreeSet;

use super::pool::{Pool, T, U, allocate_from, stray, unusable};
use crate::domain::command::{Finding, Leftover};
use crate::domain::event::{ContainerMoved, Envelope, Event};
use crate::domain::fault::FaultKind;
use crate::domain::ids::{InstanceId, Seq, Vmid};
use crate::domain::scope::{Begin, OfInstance, OfTemplate};
use crate::domain::state::State;

/// State behind the first `events` of a log.
fn state_behind(log: &[Envelope], events: usize) -> State {
    let mut state = State::default();
    log[..events].iter().for_each(|envelope| state.apply(envelope));
    state
}

fn instances(log: &[Envelope]) -> BTreeSet<InstanceId> {
    let asked = log.iter().filter_map(|envelope| match &envelope.event {
        Event::AllocationQueued(e) => Some(e.instance_id.clone()),
        Event::Allocated(e) => Some(e.instance_id.clone()),
        _ => None,
    });
    asked.collect()
}

/// The events that a scope has, heard in order.
fn belonging(log: &[Envelope], mut has: impl FnMut(&Event) -> bool) -> Vec<(Seq, &'static str)> {
    let its = log.iter().filter(|envelope| has(&envelope.event));
    its.map(|envelope| (envelope.seq, envelope.event.type_name())).collect()
}

/// Panics unless a scope that takes over State behind each of `places` goes on like one that heard it all.
pub(super) fn scopes_go_on_from(log: &[Envelope], places: impl Iterator<Item = usize>) {
    for place in places {
        let (before, after) = log.split_at(place);
        let state = state_behind(log, place);
        for instance_id in instances(log) {
            let mut heard = OfInstance::new(instance_id.clone());
            let mut seeded = heard.clone();
            belonging(before, |event| heard.has(event));
            seeded.seed(&state, None);
            let [seeded, heard] = [seeded, heard].map(|mut it| belonging(after, |event| it.has(event)));
            assert_eq!(seeded, heard, "{instance_id} behind event {place}");
        }
        for template in [T, U].map(Vmid) {
            let mut heard = OfTemplate::new(template);
            let mut seeded = heard.clone();
            belonging(before, |event| heard.has(event));
            seeded.seed(&state, None);
            let [seeded, heard] = [seeded, heard].map(|mut it| belonging(after, |event| it.has(event)));
            assert_eq!(seeded, heard, "{template} behind event {place}");
        }
    }
}

/// Containers that change hands, are looked at again, are found, fail, and are never made.
fn story() -> Pool {
    let mut pool = Pool::new().stocked(2);
    pool.later(1).handed_out("a");
    pool.later(1).allocate("a").leaves("a").later(1).allocate("a").renamed_while(200, true);
    pool.later(1).release(200).parked(200).later(1).handed_out("b");
    pool.later(1).release(201).pve_said(201, FaultKind::Forbidden).then("ReleaseFailed 201 forbidden kept");
    pool.later(1).allocate("b").renamed_while(201, true);
    pool.later(1).allocate("c").allocate("d").hindered(200, unusable(FaultKind::Locked)).later(1);
    pool.run(allocate_from(U, "e")).later(1).prepared(U);
    let vmid = pool.creating();
    pool.submitted(vmid).clone_failed(vmid, FaultKind::Other, Leftover::Removable).destroyed(vmid);
    pool.later(1).leaves("e").found(Finding::Discovered(stray(300, Some("f")))).later(1).allocate("f");
    pool.renamed_while(300, true).later(1).remove(300).destroyed(300);
    pool.later(1).found(Finding::Lost { vmid: Vmid(201), reason: "gone".to_owned() }).leaves("c");
    pool
}

#[test]
fn a_scope_that_takes_over_state_goes_on_like_one_that_heard_everything() {
    let log = story().log;
    scopes_go_on_from(&log, 0..log.len());
}

#[test]
fn what_names_an_instance_is_its_own_whatever_was_heard_before() {
    for Envelope { event, .. } in story().log {
        let payload = serde_json::to_value(&event).unwrap();
        let named = payload["instance_id"].as_str().map(InstanceId::from);
        for instance_id in ["a", "b", "c", "d", "e", "f"].map(InstanceId::from) {
            let its = OfInstance::new(instance_id.clone()).has(&event);
            assert_eq!(its, named.as_ref() == Some(&instance_id), "{instance_id}: {event:?}");
        }
    }
}

#[test]
fn whose_a_container_is_is_learnt_from_whatever_names_its_holder() {
    for Envelope { event, .. } in story().log {
        let payload = serde_json::to_value(&event).unwrap();
        let (Some(instance), Some(vmid)) = (payload["instance_id"].as_str(), event.vmid()) else { continue };
        let mut scope = OfInstance::new(InstanceId::from(instance));
        assert!(scope.has(&event));
        let has_it = matches!(
            event,
            Event::Allocated(_)
                | Event::AllocationCompleted(_)
                | Event::ContainerDiscovered(_)
                | Event::ReleaseRequested(_)
        );
        let moved = Event::from(ContainerMoved { vmid, node: "pve2".into() });
        assert_eq!(scope.has(&moved), has_it, "{event:?}");
    }
}

/// One VMID that is another's before it is that of `x`, who waits for it.
fn one_vmid_for_two() -> Pool {
    let last = Vmid::HIGHEST;
    let mut pool = Pool::with(|settings| settings.vmid_start = last);
    pool.warm(T, Some(1)).clone(T);
    pool.later(1).handed_out("y");
    pool.later(1).allocate("x").later(1).remove(last).later(1).destroyed(last);
    pool.later(1).clone(T);
    pool.renamed(last).started(last);
    pool.later(1).found(Finding::Moved { vmid: Vmid(last), node: "pve2".into() });
    pool
}

/// One container that `x` waits for while it is handed to `y`, and gets when it is back.
fn one_container_for_two() -> Pool {
    let mut pool = Pool::new().stocked(1);
    pool.later(1).allocate("y").later(1).allocate("x").later(1).renamed(200).started(200);
    pool.later(1).release(200).later(1).parked(200).later(1).renamed(200).started(200);
    pool.later(1).found(Finding::Moved { vmid: Vmid(200), node: "pve2".into() });
    pool
}

#[test]
fn what_later_state_knows_counts_from_when_it_was_so() {
    for pool in [one_vmid_for_two(), one_container_for_two()] {
        takes_over_what_was_so(&pool);
    }
}

/// Panics unless the scope of `x` that takes over the last State says the same from each place as one that heard
/// everything before it.
fn takes_over_what_was_so(Pool { state, log, .. }: &Pool) {
    // From a container's being made for it State cannot tell what it was given later.
    let being_made = |place: usize| {
        let made = state_behind(log, place);
        made.containers.values().any(|container| container.creating().is_some())
    };
    for place in (0..log.len()).filter(|place| !being_made(*place)) {
        let (before, after) = log.split_at(place);
        let begin = Begin { seq: after[0].seq, at: after[0].at };
        let mut heard = OfInstance::new(InstanceId::from("x"));
        let mut seeded = heard.clone();
        belonging(before, |event| heard.has(event));
        seeded.seed(state, Some(begin));
        let [seeded, heard] = [seeded, heard].map(|mut it| belonging(after, |event| it.has(event)));
        assert_eq!(seeded, heard, "from event {}", begin.seq);
    }
}

#[test]
fn a_template_has_from_later_state_what_was_made_before() {
    let Pool { state, .. } = Pool::new().stocked(2);
    let moved = |vmid: u32| Event::from(ContainerMoved { vmid: Vmid(vmid), node: "pve2".into() });
    let [first, second] = [200, 201].map(|vmid| state.container(Vmid(vmid)).unwrap().created_seq);
    for (begin, has) in [(first, [false, false]), (second, [true, false]), (second.next(), [true, true])] {
        let mut scope = OfTemplate::new(Vmid(T));
        scope.seed(&state, Some(Begin { seq: begin, at: state.at }));
        assert_eq!([200, 201].map(|vmid| scope.has(&moved(vmid))), has, "from event {begin}");
    }
}
