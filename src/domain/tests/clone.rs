//! One clone: its choices, its refusals, its unknown outcomes, and what it leaves behind.

use super::pool::{Pool, T, fault, stray, upid};
use crate::domain::command::{Finding, Leftover, Observation, Prepared};
use crate::domain::event::Event;
use crate::domain::fault::FaultKind;
use crate::domain::ids::Vmid;
use crate::domain::plan::{Action, CLONE_SEARCH};
use crate::domain::settings::CloneMode;

#[test]
fn a_clone_of_unknown_outcome_is_looked_for_until_a_minute_after_it_was_sent() {
    let mut pool = Pool::new();
    pool.allocate("a").prepared(T);
    let sent = pool.now;
    pool.later(40).sent(200, Err(fault(FaultKind::OutcomeUnknown)));
    for restarts in [false, true] {
        if restarts {
            pool.restart();
        }
        let until = pool.plan().actions.into_iter().find_map(|action| match action {
            Action::FindClone { give_up_at, .. } => Some(give_up_at),
            _ => None,
        });
        assert_eq!(until, Some(sent.after(CLONE_SEARCH)));
    }
}

#[test]
fn everything_is_chosen_before_pve_hears_of_the_clone() {
    let mut pool = Pool::new();
    pool.allocate("a").prepared(T).then("CloneStarted 200");
    let plan = pool.plan();
    let Action::SendClone { target, marker, full, .. } = &plan.actions[0] else { panic!("{plan:?}") };
    assert_eq!(target.known.hostname, pool.container(200).hostname);
    assert_eq!(
        (marker.vmid, marker.clone_id, marker.instance_id.is_none()),
        (Vmid(200), target.clone_id, true)
    );
    assert!(!full);
}

#[test]
fn the_lowest_free_vmid_is_taken_over_all_guests() {
    let mut pool = Pool::new();
    pool.foreign = [200, 201, 203].map(Vmid).into();
    pool.allocate("a").prepared(T).then("CloneStarted 202");
}

#[test]
fn a_vmid_of_state_is_taken_although_pve_does_not_list_it() {
    let mut pool = Pool::new().stocked(1);
    pool.warm(T, Some(2));
    let blind = Prepared { node: "pve1".into(), taken: [].into(), linkable: true };
    pool.prepare(T, Ok(blind)).then("CloneStarted 201");
}

#[test]
fn a_freed_vmid_rests_for_ten_minutes() {
    let mut pool = Pool::new().stocked(1);
    pool.remove(200).destroyed(200).later(599).allocate("a").prepared(T).then("CloneStarted 201");
    pool.leaves("a").submitted(201).made(201).later(1).warm(T, Some(2)).prepared(T).then("CloneStarted 200");
}

#[test]
fn so_does_one_that_was_lost() {
    let mut pool = Pool::new().stocked(1);
    pool.found(Finding::Lost { vmid: Vmid(200), reason: "gone".to_owned() });
    pool.later(599).allocate("a").prepared(T).then("CloneStarted 201");
    pool.leaves("a").submitted(201).made(201).later(1).warm(T, Some(2)).prepared(T).then("CloneStarted 200");
}

#[test]
fn a_resting_vmid_is_taken_when_no_other_is_free() {
    let mut pool = Pool::with(|settings| settings.vmid_start = Vmid::HIGHEST).stocked(1);
    pool.remove(Vmid::HIGHEST).destroyed(Vmid::HIGHEST).allocate("a").prepared(T);
    pool.then(&format!("CloneStarted {}", Vmid::HIGHEST));
}

#[test]
fn no_free_vmid_is_an_error_that_is_told() {
    let mut pool = Pool::with(|settings| settings.vmid_start = Vmid::HIGHEST);
    pool.foreign = [Vmid(Vmid::HIGHEST)].into();
    pool.allocate("a").prepared(T).then_has("AllocationFailed a template_backed_off");
}

#[test]
fn a_vmid_that_is_taken_after_all_leads_to_the_next_without_counting() {
    let mut pool = Pool::new();
    pool.allocate("a");
    for vmid in 200..210 {
        pool.prepared(T).then(&format!("CloneStarted {vmid}")).sent(vmid, Err(fault(FaultKind::VmidTaken)));
        pool.then("CloneRetryScheduled 9009 vmid_taken try=0");
    }
    pool.prepared(T).then("CloneStarted 210");
}

#[test]
fn a_retry_comes_after_the_delay_and_at_most_the_jitter() {
    let mut pool = Pool::new();
    pool.allocate("a");
    let mut pauses = std::collections::BTreeSet::new();
    for _ in 0..15 {
        pool.prepare(T, Err(fault(FaultKind::Locked)));
        let Some(Event::CloneRetryScheduled(e)) = pool.events.first() else { panic!("{:?}", pool.events) };
        let (pause, retry_at) = (e.retry_at.since(pool.now), e.retry_at);
        assert!((5000..=7000).contains(&pause.as_millis()), "{pause:?}");
        pauses.insert(pause);
        pool.now = retry_at;
    }
    assert!(pauses.len() > 5, "the pauses are not all the same");
    assert!(pauses.last().unwrap().as_millis() > 6500, "the jitter is used to its end");
}

#[test]
fn a_linked_clone_is_made_where_the_storage_can() {
    for (mode, linkable, full) in [
        (CloneMode::Auto, true, false),
        (CloneMode::Auto, false, true),
        (CloneMode::Full, true, true),
        (CloneMode::Linked, true, false),
    ] {
        let mut pool = Pool::with(|settings| settings.clone_mode = mode);
        let outcome = Prepared { linkable, ..pool.lookup() };
        pool.allocate("a").prepare(T, Ok(outcome));
        let plan = pool.plan();
        assert!(matches!(&plan.actions[0], Action::SendClone { full: is, .. } if *is == full), "{mode:?}");
    }
}

#[test]
fn a_linked_clone_that_is_demanded_and_impossible_is_an_error() {
    let mut pool = Pool::with(|settings| settings.clone_mode = CloneMode::Linked);
    let outcome = Prepared { linkable: false, ..pool.lookup() };
    pool.allocate("a").prepare(T, Ok(outcome)).then_has("TemplateBackedOff 9009 not_linkable");
}

#[test]
fn a_linked_clone_that_pve_refuses_is_followed_by_a_full_one() {
    let mut pool = Pool::new();
    pool.allocate("a").prepared(T).sent(200, Err(fault(FaultKind::NotLinkable)));
    pool.then("CloneRetryScheduled 9009 not_linkable try=0").later(7);
    let plan = pool.plan();
    assert!(matches!(&plan.actions[0], Action::PrepareClone { linkable: Some(false), .. }), "{plan:?}");
}

#[test]
fn a_clone_of_unknown_outcome_keeps_its_template_closed_until_it_is_found() {
    let mut pool = Pool::new();
    pool.allocate("a").allocate("b").prepared(T).sent(200, Err(fault(FaultKind::OutcomeUnknown)));
    pool.then("CloneUncertain 200 outcome_unknown").plans("FindClone 200");
    let clone_id = pool.clone_of(200);
    pool.see(Observation::CloneFound { vmid: Vmid(200), clone_id, upid: upid() }).then("CloneSubmitted 200");
    pool.plans("FollowClone 200").made(200).then_has("Allocated 200 a");
}

#[test]
fn a_clone_that_was_never_made_is_replaced_under_a_new_id() {
    let mut pool = Pool::new();
    pool.allocate("a").prepared(T);
    let old = pool.clone_of(200);
    pool.sent(200, Err(fault(FaultKind::OutcomeUnknown))).not_made(200);
    pool.then_has("CloneFailed 9009 outcome_unknown; CloneQueued 9009 waiter").later(7).prepared(T);
    pool.then("CloneStarted 201");
    assert_ne!(pool.clone_of(201), old);
}

#[test]
fn a_clone_that_appears_after_it_was_given_up_is_adopted() {
    let mut pool = Pool::new();
    pool.allocate("a").prepared(T).sent(200, Err(fault(FaultKind::OutcomeUnknown))).not_made(200);
    pool.found(Finding::Discovered(stray(200, None)));
    pool.then("ContainerDiscovered 200; Allocated 200 a; CloneCancelled 9009");
}

#[test]
fn a_removal_that_is_asked_for_while_a_clone_runs_waits_for_its_end() {
    let mut pool = Pool::new();
    pool.allocate("a").prepared(T).submitted(200).remove(200);
    pool.then("RemovalRequested 200 request; CloneQueued 9009 waiter").plans("FollowClone 200");
    pool.made(200)
        .then("CloneSucceeded 200; RemovalRequested 200 request")
        .plans("PrepareClone 9009; Destroy 200");
}

#[test]
fn an_unwanted_clone_that_was_not_made_is_removed() {
    let mut pool = Pool::new();
    pool.warm(T, Some(1)).prepared(T).remove(200).sent(200, Err(fault(FaultKind::Locked)));
    pool.then_has("Removed 200; CloneFailed 9009 locked").holds("");
    let mut pool = Pool::new();
    pool.warm(T, Some(1))
        .prepared(T)
        .remove(200)
        .sent(200, Err(fault(FaultKind::OutcomeUnknown)))
        .not_made(200);
    pool.then_has("Removed 200; CloneFailed 9009 outcome_unknown").holds("");
}

#[test]
fn what_a_failed_clone_leaves_is_destroyed_or_quarantined() {
    let mut pool = Pool::new();
    pool.allocate("a").prepared(T).submitted(200).clone_failed(200, FaultKind::Other, Leftover::Removable);
    pool.then_has("RemovalRequested 200 clone_failed; CloneFailed 9009 other").plans("Destroy 200");
    let mut pool = Pool::new();
    let locked = Leftover::Locked { hint: "pct unlock 200".to_owned() };
    pool.allocate("a").prepared(T).submitted(200).clone_failed(200, FaultKind::Interrupted, locked);
    pool.then_has("ContainerQuarantined 200 interrupted; CloneFailed 9009 interrupted")
        .holds("200 quarantined");
}

#[test]
fn a_template_that_only_moved_is_looked_up_again() {
    let mut pool = Pool::new();
    pool.allocate("a").prepared(T).sent(200, Err(fault(FaultKind::Gone)));
    pool.then("CloneRetryScheduled 9009 gone try=1");
}

#[test]
fn what_is_seen_of_another_clone_is_no_matter() {
    let mut pool = Pool::new();
    pool.allocate("a").prepared(T).submitted(200);
    let clone_id = crate::domain::ids::CloneId(ulid::Ulid::from_parts(0, 1));
    pool.see(Observation::CloneNotMade { vmid: Vmid(200), clone_id }).then("");
    pool.see(Observation::CloneSent { vmid: Vmid(200), clone_id, outcome: Ok(upid()) }).then("");
}

#[test]
fn a_clone_that_cannot_be_followed_for_whatever_reason_is_looked_at_again_later() {
    use crate::domain::command::Hindrance;
    for by in [Hindrance::Gone, super::pool::doubt(), super::pool::unusable(FaultKind::Locked)] {
        let mut pool = Pool::new();
        pool.allocate("a")
            .prepared(T)
            .submitted(200)
            .hindered(200, by)
            .then_has("ActionDelayed 200")
            .plans("");
    }
}

#[test]
fn a_clone_that_is_refused_at_once_leaves_its_vmid_to_the_next() {
    let mut pool = Pool::new();
    pool.allocate("a").prepared(T).sent(200, Err(fault(FaultKind::Locked))).later(7);
    pool.prepared(T).then("CloneStarted 200");
    pool.submitted(200).clone_failed(200, FaultKind::Locked, Leftover::Nothing).later(7);
    pool.prepared(T).then("CloneStarted 201");
}

#[test]
fn whether_clones_can_be_linked_is_learnt_where_it_was_asked() {
    for (mode, linkable, learnt) in [
        (CloneMode::Auto, true, true),
        (CloneMode::Auto, false, false),
        (CloneMode::Linked, true, true),
        (CloneMode::Full, true, true),
    ] {
        let mut pool = Pool::with(|settings| settings.clone_mode = mode);
        let outcome = Prepared { linkable, ..pool.lookup() };
        pool.allocate("a").prepare(T, Ok(outcome));
        assert_eq!(pool.state.template(Vmid(T)).unwrap().linkable, Some(learnt), "{mode:?} {linkable}");
    }
}

#[test]
fn a_lock_says_nothing_about_linked_clones() {
    let mut pool = Pool::new();
    pool.allocate("a").prepared(T).sent(200, Err(fault(FaultKind::Locked))).later(7);
    let plan = pool.plan();
    assert!(matches!(&plan.actions[0], Action::PrepareClone { linkable: Some(true), .. }), "{plan:?}");
}

#[test]
fn a_template_is_locked_since_the_first_refusal_in_a_row_that_says_so() {
    let mut pool = Pool::new();
    let first = pool.now;
    let locked_since = |pool: &Pool| pool.state.template(Vmid(T)).unwrap().locked_since;
    pool.allocate("a").prepare(T, Err(fault(FaultKind::Locked))).later(7);
    pool.prepare(T, Err(fault(FaultKind::Locked)));
    assert_eq!(locked_since(&pool), Some(first));
    pool.later(7).prepare(T, Err(fault(FaultKind::NodeUnreachable)));
    assert_eq!(locked_since(&pool), None);
}
