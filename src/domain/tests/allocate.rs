//! A request for a container: which one it gets, and what the same instance gets when it asks again.

use super::pool::{Pool, T, U, allocate, allocate_from, request};
use crate::domain::command::{Command, Finding, Hindrance, Reply};
use crate::domain::event::Event;
use crate::domain::fault::FaultKind;
use crate::domain::ids::Vmid;
use crate::domain::settings::ReleasePolicy;
use crate::domain::state::{HandOut, Place, State};

#[test]
fn a_ready_container_is_handed_out_at_once() {
    Pool::new().stocked(1).allocate("box").then("Allocated 200 box").plans("Rename 200");
}

#[test]
fn the_oldest_ready_container_goes_first() {
    let mut pool = Pool::new().stocked(3);
    pool.allocate("a").then("Allocated 200 a");
    pool.allocate("b").then("Allocated 201 b");
}

#[test]
fn a_never_used_container_goes_before_a_reused_one() {
    let mut pool = Pool::new().stocked(1);
    pool.handed_out("a");
    pool.release(200).parked(200).holds("200 ready");
    pool.later(60);
    pool.warm(T, Some(2)).clone(T);
    pool.allocate("b").then("Allocated 201 b");
    pool.allocate("c").then("Allocated 200 c");
}

#[test]
fn an_unknown_template_is_read_before_anything_is_decided() {
    let unread = Command::Allocate(crate::domain::command::Allocate { facts: None, ..request(U, "box") });
    let mut pool = Pool::new();
    pool.refuses(unread, "not known yet");
    assert_eq!(pool.state.template(Vmid(U)), None);
    pool.run(allocate_from(U, "box"))
        .then("TemplateAdded 9010; AllocationQueued box; CloneQueued 9010 waiter");
}

#[test]
fn an_absent_instance_gets_a_name_of_its_own() {
    let mut pool = Pool::new().stocked(1);
    pool.run(Command::Allocate(crate::domain::command::Allocate { instance_id: None, ..request(T, "") }));
    pool.then_has("Allocated 200 pvelxc-");
}

#[test]
fn the_same_instance_joins_while_it_waits() {
    let mut pool = Pool::new();
    pool.allocate("box");
    let first = pool.reply.clone();
    pool.allocate("box").then("");
    assert_eq!(pool.reply, first);
}

#[test]
fn the_same_instance_joins_while_it_is_renamed_and_started() {
    let mut pool = Pool::new().stocked(1);
    pool.allocate("box");
    let first = pool.reply.clone();
    pool.allocate("box").then("");
    pool.renamed(200).then("ContainerRenamed 200 box").allocate("box").then("");
    assert_eq!(pool.reply, first);
}

#[test]
fn an_answered_instance_is_looked_at_again_before_the_same_answer() {
    let mut pool = Pool::new().stocked(1);
    pool.handed_out("box");
    pool.allocate("box").then("AllocationResumed 200").plans("Rename 200");
    pool.renamed_while(200, true).then("AllocationCompleted 200 box").holds("200 allocated box");
    assert_eq!(pool.container(200).uses, 1);
}

#[test]
fn an_answered_instance_that_was_stopped_is_started_again() {
    let mut pool = Pool::new().stocked(1);
    pool.handed_out("box");
    pool.allocate("box").renamed(200).plans("Start 200").started(200);
    pool.then("ContainerStarted 200; AllocationCompleted 200 box");
}

#[test]
fn an_answered_instance_that_was_stopped_stays_so_without_start() {
    let mut pool = Pool::new().stocked(1);
    pool.handed_out("box");
    pool.run(Command::Allocate(crate::domain::command::Allocate { start: false, ..request(T, "box") }));
    pool.renamed(200).then("AllocationCompleted 200 box").holds("200 allocated box").plans("");
}

#[test]
fn an_answered_instance_keeps_the_metadata_of_its_first_request() {
    let with = |team: &str| {
        let metadata = [("team".to_owned(), team.to_owned())].into_iter().collect();
        Command::Allocate(crate::domain::command::Allocate { metadata, ..request(T, "box") })
    };
    let mut pool = Pool::new().stocked(1);
    pool.run(with("red")).renamed(200).started(200).run(with("blue"));
    assert_eq!(pool.container(200).holding().unwrap().metadata["team"], "red");
}

#[test]
fn a_caller_that_leaves_as_its_allocation_completes_leaves_a_holder() {
    let mut pool = Pool::new().stocked(1);
    pool.handed_out("box");
    pool.leaves("box").then("").holds("200 allocated box").plans("");
}

#[test]
fn an_answered_instance_that_is_gone_is_lost_and_gets_a_new_container() {
    let mut pool = Pool::new().stocked(2);
    pool.handed_out("box");
    pool.allocate("box").hindered(200, Hindrance::Gone);
    pool.then("AllocationRequeued box off 200 try=0; ContainerLost 200 box; Allocated 201 box");
    assert!(matches!(pool.reply, Reply::Done));
    pool.renamed(201).started(201).holds("201 allocated box");
}

#[test]
fn an_answered_instance_keeps_its_container_when_its_start_fails() {
    let mut pool = Pool::new().stocked(2);
    pool.handed_out("box");
    pool.allocate("box").renamed(200).start_failed(200);
    pool.then("ContainerStartFailed 200 other; AllocationFailed box containers_unusable");
    pool.holds("200 allocated box; 201 ready").plans("");
}

#[test]
fn an_answered_instance_keeps_its_container_when_its_caller_leaves_the_second_time() {
    let mut pool = Pool::new().stocked(1);
    pool.handed_out("box");
    pool.allocate("box").leaves("box").then("AllocationCancelled box caller_gone");
    pool.holds("200 allocated box").plans("");
}

#[test]
fn an_instance_of_another_template_is_refused_in_every_place() {
    let mut pool = Pool::new();
    pool.allocate("box").refuses(allocate_from(U, "box"), "belongs to template 9009");
    pool.clone(T);
    pool.refuses(allocate_from(U, "box"), "belongs to template 9009");
    pool.renamed(200).started(200).refuses(allocate_from(U, "box"), "belongs to template 9009");
}

#[test]
fn an_instance_that_is_released_or_removed_is_refused_until_that_is_done() {
    let mut pool = Pool::new().stocked(2);
    pool.handed_out("box");
    pool.release(200).refuses(allocate("box"), "is being released");
    pool.remove(200).refuses(allocate("box"), "is being removed");
    pool.destroyed(200).allocate("box").then("Allocated 201 box");
}

#[test]
fn a_released_instance_gets_a_new_allocation() {
    let mut pool = Pool::new().stocked(1);
    pool.handed_out("box");
    pool.release(200).parked(200).allocate("box").then("Allocated 200 box");
}

#[test]
fn a_lost_instance_gets_a_new_allocation() {
    let mut pool = Pool::new().stocked(2);
    pool.handed_out("box");
    pool.found(Finding::Lost { vmid: Vmid(200), reason: "gone".to_owned() }).then("ContainerLost 200 box");
    pool.allocate("box").then("Allocated 201 box");
}

#[test]
fn a_failed_instance_gets_a_new_allocation() {
    let mut pool = Pool::new();
    pool.allocate("box").later(110).then_has("AllocationFailed box allocate_timeout");
    pool.allocate("box").then_has("AllocationQueued box");
}

#[test]
fn an_instance_that_was_never_answered_does_not_stick_to_a_quarantined_container() {
    let mut pool = Pool::new().stocked(3);
    pool.allocate("box");
    for vmid in [200, 201, 202] {
        pool.hindered(vmid, Hindrance::Stuck { fault: super::pool::fault(FaultKind::Locked) });
    }
    pool.then("AllocationFailed box containers_unusable; ContainerQuarantined 202 locked");
    pool.allocate("box").then_has("AllocationQueued box");
}

#[test]
fn a_doubtful_container_is_not_handed_out() {
    let mut pool = Pool::new().stocked(1);
    pool.found(Finding::Doubtful { vmid: Vmid(200), reason: "renamed".to_owned() });
    pool.then("OwnershipDoubted 200").holds("200 ready in doubt");
    pool.allocate("box").then("AllocationQueued box; CloneQueued 9009 waiter");
    pool.found(Finding::Confirmed { vmid: Vmid(200) });
    pool.then("OwnershipConfirmed 200; Allocated 200 box; CloneCancelled 9009");
}

#[test]
fn the_answered_instance_of_a_doubtful_container_is_refused() {
    let mut pool = Pool::new().stocked(1);
    pool.handed_out("box");
    pool.found(Finding::Doubtful { vmid: Vmid(200), reason: "renamed".to_owned() });
    pool.refuses(allocate("box"), "left alone");
}

#[test]
fn a_drained_template_serves_nobody() {
    let mut pool = Pool::new().stocked(1);
    pool.drain(T).refuses(allocate("box"), "drained");
}

#[test]
fn the_line_has_a_limit() {
    let mut pool = Pool::with(|settings| settings.max_waiting = 2);
    pool.allocate("a").allocate("b").refuses(allocate("c"), "2 allocations wait already");
}

#[test]
fn without_start_the_rename_is_the_end() {
    let mut pool = Pool::new().stocked(1);
    pool.run(Command::Allocate(crate::domain::command::Allocate { start: false, ..request(T, "box") }));
    pool.renamed(200).then("ContainerRenamed 200 box; AllocationCompleted 200 box").plans("");
}

#[test]
fn twenty_cold_allocations_leave_no_more_than_the_maximum() {
    let mut pool =
        Pool::with(|settings| settings.sizes = crate::domain::settings::Sizes { min: 3, target: 5, max: 10 });
    for nth in 0..20 {
        pool.allocate(&format!("box-{nth}"));
    }
    pool.clone_all();
    assert_eq!(pool.state.containers.len(), 25, "twenty for the callers, five in stock");
    assert_eq!(pool.ready(T), 5);
}

#[test]
fn callers_that_arrive_while_a_clone_ends_never_share_it() {
    let mut pool = Pool::new();
    pool.allocate("a").prepared(T).submitted(200).made(200).then_has("CloneSucceeded 200; Allocated 200 a");
    pool.allocate("b").then("AllocationQueued b; CloneQueued 9009 waiter");
}

#[test]
fn the_next_container_is_the_first_of_the_index_however_many_there_are() {
    let mut pool = Pool::new().stocked(3);
    pool.handed_out("a");
    pool.release(200).parked(200);
    let first = pool.state.ready(Vmid(T)).next().unwrap().vmid.0;
    pool.allocate("b").then(&format!("Allocated {first} b"));
    assert_eq!(first, 201);
}

#[test]
fn what_was_asked_for_is_kept_until_the_answer() {
    let mut pool = Pool::new();
    let metadata = [("team".to_owned(), "red".to_owned())].into_iter().collect();
    pool.run(Command::Allocate(crate::domain::command::Allocate { metadata, ..request(T, "box") }));
    pool.clone(T);
    let holding = pool.container(200).holding().unwrap();
    assert_eq!(holding.metadata["team"], "red");
    assert_eq!((holding.from_pool, holding.stage), (false, HandOut::Renaming));
    assert_eq!(pool.state.place(&"box".into()), Some(Place::Container(Vmid(200))));
    pool.now = pool.now.after(std::time::Duration::from_secs(3));
    pool.renamed(200).started(200);
    let Some(Event::AllocationCompleted(completed)) = pool.events.last() else { panic!("not completed") };
    assert_eq!((completed.duration_ms, completed.from_pool), (3000, false));
}

#[test]
fn reuse_or_recycle_do_not_change_what_a_new_instance_gets() {
    for policy in [ReleasePolicy::Reuse, ReleasePolicy::Recycle] {
        let mut pool = Pool::with(|settings| settings.release_policy = policy).stocked(1);
        pool.allocate("box").then("Allocated 200 box");
    }
}

#[test]
fn a_holder_whose_container_is_in_quarantine_is_told_so() {
    let mut pool = Pool::new().stocked(1);
    pool.handed_out("box");
    pool.release(200).hindered(200, Hindrance::Stuck { fault: super::pool::fault(FaultKind::Locked) });
    pool.refuses(allocate("box"), "quarantined");
}

#[test]
fn what_a_caller_said_is_forgotten_of_its_instance_alone() {
    let mut pool = Pool::new().stocked(2);
    for instance in ["held", "other", "waiting", "late"] {
        let metadata = [("mail".to_owned(), format!("{instance}@example.org"))].into_iter().collect();
        pool.run(Command::Allocate(crate::domain::command::Allocate { metadata, ..request(T, instance) }));
    }
    let is_known = |state: &State, instance: &str| {
        let text = serde_json::to_string(state).unwrap();
        text.contains(&format!("{instance}@example.org"))
    };
    for (nth, instance) in ["held", "waiting"].into_iter().enumerate() {
        assert!(is_known(&pool.state, instance));
        assert!(pool.state.forget_metadata(instance));
        assert!(!is_known(&pool.state, instance) && !pool.state.forget_metadata(instance), "once");
        let erased = pool.log.iter_mut().filter(|it| it.event.clone().forget_metadata(instance)).count();
        assert_eq!(erased, 1, "{nth}");
    }
    assert!(is_known(&pool.state, "other") && is_known(&pool.state, "late"));
    assert!(!pool.state.forget_metadata("nobody"));
}
