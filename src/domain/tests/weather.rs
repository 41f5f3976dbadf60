//! Chance: any sequence of commands and observations keeps the promises, and PVE in any mood calms down.
//!
//! [`Pool::attempt`](super::pool::Pool::attempt) holds every State against the promises; here is only what
//! happens. Work at PVE takes its time: what was seen may be told much later, after other commands.

use proptest::prelude::*;

use super::pool::{Pool, T, U, doubt, fault, put, request, stray, unusable, upid};
use super::promises::replay_gives;
use super::scope::scopes_go_on_from;
use crate::domain::command::{
    Allocate, CloneEnd, Command, Discovered, Finding, Hindrance, Leave, Leftover, Observation, Prepared,
};
use crate::domain::fault::FaultKind;
use crate::domain::ids::{Seq, Vmid};
use crate::domain::plan::{Action, Target};
use crate::domain::settings::{ReleasePolicy, Settings, SizeOverrides, Sizes};

/// One thing that happens. Numbers are reduced to what there is when it does.
#[derive(Clone, Copy, Debug)]
enum Step {
    Allocate {
        instance: u8,
        other: bool,
        start: bool,
        ttl: Option<u64>,
    },
    Leave(usize),
    Release(usize),
    Remove(usize),
    Warm {
        other: bool,
        count: u32,
    },
    Put {
        other: bool,
        target: u32,
        spare: u32,
    },
    Drain {
        other: bool,
    },
    Refresh {
        other: bool,
    },
    /// An action of the plan is carried out and told at once.
    Act {
        nth: usize,
        mood: u64,
    },
    /// An action of the plan is carried out and told later.
    Look {
        nth: usize,
        mood: u64,
    },
    Tell(usize),
    Find {
        nth: usize,
        what: u8,
        late: bool,
    },
    Later(u64),
    SleepUntilWoken,
    Pve {
        answers: bool,
    },
    Reload {
        target: u32,
        spare: u32,
    },
    Restart,
    StopAndStart,
}

fn step() -> impl Strategy<Value = Step> {
    let act = || (any::<usize>(), prop_oneof![3 => Just(0), 2 => any::<u64>()]);
    prop_oneof![
        6 => (0..5u8, any::<bool>(), any::<bool>(), proptest::option::of(0..200u64))
            .prop_map(|(instance, other, start, ttl)| Step::Allocate { instance, other, start, ttl }),
        2 => any::<usize>().prop_map(Step::Leave),
        3 => any::<usize>().prop_map(Step::Release),
        2 => any::<usize>().prop_map(Step::Remove),
        1 => (any::<bool>(), 0..6u32).prop_map(|(other, count)| Step::Warm { other, count }),
        1 => (any::<bool>(), 0..4u32, 0..3u32)
            .prop_map(|(other, target, spare)| Step::Put { other, target, spare }),
        1 => any::<bool>().prop_map(|other| Step::Drain { other }),
        1 => any::<bool>().prop_map(|other| Step::Refresh { other }),
        20 => act().prop_map(|(nth, mood)| Step::Act { nth, mood }),
        5 => act().prop_map(|(nth, mood)| Step::Look { nth, mood }),
        5 => any::<usize>().prop_map(Step::Tell),
        3 => (any::<usize>(), any::<u8>(), any::<bool>())
            .prop_map(|(nth, what, late)| Step::Find { nth, what, late }),
        3 => prop_oneof![Just(1), Just(5), Just(30), Just(120), Just(700), Just(90_000)].prop_map(Step::Later),
        4 => Just(Step::SleepUntilWoken),
        1 => any::<bool>().prop_map(|answers| Step::Pve { answers }),
        1 => (0..4u32, 0..3u32).prop_map(|(target, spare)| Step::Reload { target, spare }),
        1 => Just(Step::Restart),
        1 => Just(Step::StopAndStart),
    ]
}

fn settings() -> impl Strategy<Value = Settings> {
    (0..4u32, 0..3u32, 0..2u32, 1..3u32, any::<bool>(), prop_oneof![Just(0), Just(3), Just(6)]).prop_map(
        |(target, spare, batch, clone_concurrency, recycle, max_total)| Settings {
            sizes: Sizes { min: target / 2, target, max: target + spare },
            max_total,
            replenish_batch_size: batch,
            clone_concurrency,
            max_waiting: 4,
            release_policy: if recycle { ReleasePolicy::Recycle } else { ReleasePolicy::Reuse },
            ..Settings::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_keeps_every_promise(
        settings in settings(),
        steps in proptest::collection::vec(step(), 1..90),
    ) {
        let mut pool = Pool::with(|own| *own = settings);
        let mut seen = Vec::new();
        for step in steps {
            take(&mut pool, &mut seen, step);
        }
        replay_gives(&pool.state, &pool.log);
        scopes_go_on_from(&pool.log, (0..pool.log.len()).step_by(pool.log.len() / 4 + 1));
    }

    #[test]
    fn in_any_mood_of_pve_the_plan_comes_to_rest_without_time(
        settings in settings(),
        steps in proptest::collection::vec(step(), 1..40),
        mood in any::<u64>(),
    ) {
        let mut pool = Pool::with(|own| *own = settings);
        let mut seen = Vec::new();
        for step in steps {
            take(&mut pool, &mut seen, step);
        }
        come_to_rest(&mut pool, mood)?;
    }

    #[test]
    fn with_pve_well_again_everything_ends_and_nobody_is_left_waiting(
        settings in settings(),
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut pool = Pool::with(|own| *own = settings);
        let mut seen = Vec::new();
        for step in steps {
            take(&mut pool, &mut seen, step);
        }
        for _ in 0..40 {
            let doubtful = pool.state.containers.values().filter(|container| container.doubt.is_some());
            let findings = doubtful.map(|container| Finding::Confirmed { vmid: container.vmid }).collect();
            pool.see(Observation::Reconciled { as_of: pool.state.head, findings });
            come_to_rest(&mut pool, 0)?;
            pool.now = pool.plan().wake_at.unwrap_or(pool.now);
            pool.run(Command::Tick);
        }
        come_to_rest(&mut pool, 0)?;
        prop_assert!(pool.state.waiting.is_empty(), "somebody waits for ever: {:?}", pool.state.waiting);
        prop_assert_eq!(pool.state.busy().next(), None, "a container is stuck");
        prop_assert_eq!(pool.state.queued_clones(), 0, "a clone is never made");
    }
}

/// PVE answers each kind of call in one way, until nothing more is planned at this instant.
fn come_to_rest(pool: &mut Pool, mood: u64) -> Result<(), TestCaseError> {
    let mut rounds = 0;
    while let Some(action) = pool.plan().actions.first() {
        let before = format!("{action:?}");
        let observations = observe(&pool.lookup(), action, mood);
        tell(pool, observations);
        rounds += 1;
        prop_assert!(rounds < 300, "always again: {before}");
    }
    Ok(())
}

fn take(pool: &mut Pool, seen: &mut Vec<Vec<Observation>>, step: Step) {
    let template = |other: bool| if other { U } else { T };
    let nth_container = |pool: &Pool, nth: usize| {
        let vmids: Vec<Vmid> = pool.state.containers.keys().copied().collect();
        vmids.get(nth.checked_rem(vmids.len()).unwrap_or(0)).copied().unwrap_or(Vmid(999))
    };
    let command = match step {
        Step::Allocate { instance, other, start, ttl } => Command::Allocate(Allocate {
            start,
            ttl_seconds: ttl,
            ..request(template(other), &format!("box-{instance}"))
        }),
        Step::Leave(nth) => {
            let held = pool.state.containers.values().filter_map(|container| container.holding());
            let ids: Vec<_> =
                pool.state.waiting.keys().copied().chain(held.map(|h| h.allocation_id)).collect();
            let Some(nth) = nth.checked_rem(ids.len()) else { return };
            Command::CallersGone { allocation_id: ids[nth] }
        }
        Step::Release(nth) => Command::Release(Leave { vmid: nth_container(pool, nth), instance_id: None }),
        Step::Remove(nth) => Command::Remove(Leave { vmid: nth_container(pool, nth), instance_id: None }),
        Step::Warm { other, count } => Command::Warm {
            template: Vmid(template(other)),
            count: Some(count),
            facts: Some(super::pool::facts()),
        },
        Step::Put { other, target, spare } => {
            let sizes = SizeOverrides { min: None, target: Some(target), max: Some(target + spare) };
            put(template(other), sizes)
        }
        Step::Drain { other } => Command::DrainTemplate { template: Vmid(template(other)) },
        Step::Refresh { other } => Command::RefreshTemplate { template: Vmid(template(other)) },
        Step::Act { nth, mood } => {
            let observations = look(pool, nth, mood);
            return tell(pool, observations);
        }
        Step::Look { nth, mood } => return seen.push(look(pool, nth, mood)),
        Step::Tell(nth) => {
            let Some(nth) = nth.checked_rem(seen.len()) else { return };
            let observations = seen.swap_remove(nth);
            return tell(pool, observations);
        }
        Step::Find { nth, what, late } => {
            let head = pool.state.head;
            let as_of = if late { Seq(head.0.saturating_sub(3)) } else { head };
            let findings = vec![find(nth_container(pool, nth), what)];
            Command::Observed(Observation::Reconciled { as_of, findings })
        }
        Step::Later(seconds) => {
            pool.later(seconds);
            return;
        }
        Step::SleepUntilWoken => {
            pool.now = pool.plan().wake_at.unwrap_or(pool.now);
            Command::Tick
        }
        Step::Pve { answers: true } => Command::Observed(Observation::PveReachable),
        Step::Pve { answers: false } => {
            Command::Observed(Observation::PveUnreachable { reason: "connection refused".to_owned() })
        }
        Step::Reload { target, spare } => {
            let mut settings = Box::new(pool.state.settings.clone());
            settings.sizes = Sizes { min: target / 2, target, max: target + spare };
            Command::Reload { settings, webhooks: Vec::new() }
        }
        Step::Restart => {
            // What the old process was at is never told.
            seen.clear();
            pool.restart();
            return;
        }
        Step::StopAndStart => {
            seen.clear();
            pool.run(Command::BeginStop);
            let observations = look(pool, 0, 0);
            tell(pool, observations);
            pool.run(Command::Stop).restart();
            return;
        }
    };
    // Refusals are answers too: that they change nothing is what the next step stands on.
    let _ = pool.attempt(command);
}

/// What the nth planned action sees, nothing if none is planned.
fn look(pool: &Pool, nth: usize, mood: u64) -> Vec<Observation> {
    let actions = pool.plan().actions;
    let nth = nth.checked_rem(actions.len());
    nth.map(|nth| observe(&pool.lookup(), &actions[nth], mood)).unwrap_or_default()
}

fn tell(pool: &mut Pool, observations: Vec<Observation>) {
    for observation in observations {
        pool.see(observation);
    }
}

const KINDS: [FaultKind; 10] = [
    FaultKind::NotSent,
    FaultKind::OutcomeUnknown,
    FaultKind::NodeUnreachable,
    FaultKind::Forbidden,
    FaultKind::Gone,
    FaultKind::Locked,
    FaultKind::NoSpace,
    FaultKind::NotLinkable,
    FaultKind::ConfigChanged,
    FaultKind::Other,
];

/// One of `many` for this kind of action: a mood answers each kind always in the same way; 0 is all well.
fn pick(mood: u64, kind: u32, many: usize) -> usize {
    usize::try_from(mood.rotate_right(kind * 7) % many as u64).unwrap()
}

/// What an action sees, by PVE's mood.
fn observe(lookup: &Prepared, action: &Action, mood: u64) -> Vec<Observation> {
    let kind = KINDS[pick(mood, 8, KINDS.len())];
    let hindered = |target: &Target, which: usize| {
        let by = hindrance(which, kind);
        vec![Observation::Hindered { vmid: target.vmid, as_of: target.as_of, by }]
    };
    match action {
        Action::ProbePve => vec![Observation::PveReachable],
        Action::PrepareClone { clone_id, template, .. } => {
            let outcome = match pick(mood, 0, 4) {
                0 | 1 => Ok(lookup.clone()),
                2 => Ok(Prepared { linkable: false, ..lookup.clone() }),
                _ => Err(fault(kind)),
            };
            vec![Observation::ClonePrepared { clone_id: *clone_id, template: *template, outcome }]
        }
        Action::SendClone { target, .. } => {
            let outcome = if pick(mood, 1, 2) == 0 { Ok(upid()) } else { Err(fault(kind)) };
            vec![Observation::CloneSent { vmid: target.vmid, clone_id: target.clone_id, outcome }]
        }
        Action::FindClone { target, .. } => {
            let (vmid, clone_id) = (target.vmid, target.clone_id);
            vec![match pick(mood, 2, 2) {
                0 => Observation::CloneFound { vmid, clone_id, upid: upid() },
                _ => Observation::CloneNotMade { vmid, clone_id },
            }]
        }
        Action::FollowClone { target, .. } => {
            let failed = |leftover| CloneEnd::Failed { fault: fault(kind), leftover };
            let end = match pick(mood, 3, 12) {
                0..4 => CloneEnd::Made { warnings: false },
                4 => failed(Leftover::Nothing),
                5 => failed(Leftover::Removable),
                6 => failed(Leftover::Locked { hint: "pct unlock".to_owned() }),
                which => return hindered(target, which),
            };
            vec![Observation::CloneEnded { vmid: target.vmid, clone_id: target.clone_id, end }]
        }
        Action::Rename { target, .. } => match pick(mood, 4, 14) {
            0..5 => vec![Observation::Renamed { vmid: target.vmid, as_of: target.as_of, running: false }],
            5 => vec![Observation::Renamed { vmid: target.vmid, as_of: target.as_of, running: true }],
            which => hindered(target, which),
        },
        Action::Start { target, .. } => {
            let (vmid, as_of) = (target.vmid, target.as_of);
            match pick(mood, 5, 14) {
                0..5 => vec![Observation::Started { vmid, as_of, duration_ms: Some(900) }],
                5 => vec![Observation::StartFailed { vmid, as_of, fault: fault(kind) }],
                which => hindered(target, which),
            }
        }
        Action::Park { target, hostname, .. } => match pick(mood, 6, 14) {
            0..6 => {
                let (vmid, as_of) = (target.vmid, target.as_of);
                vec![Observation::Parked { vmid, as_of, hostname: hostname.clone() }]
            }
            which => hindered(target, which),
        },
        Action::Destroy { target, rename_back, marker: _ } => {
            let (vmid, as_of) = (target.vmid, target.as_of);
            let back = rename_back.clone();
            let mut seen: Vec<_> =
                back.into_iter().map(|hostname| Observation::RenamedBack { vmid, as_of, hostname }).collect();
            match pick(mood, 7, 14) {
                0..6 => seen.push(Observation::Destroyed { vmid, as_of }),
                which => seen.extend(hindered(target, which)),
            }
            seen
        }
    }
}

fn hindrance(which: usize, kind: FaultKind) -> Hindrance {
    match which % 8 {
        0 => Hindrance::Gone,
        1 => Hindrance::Foreign { reason: "replaced".to_owned() },
        2 => doubt(),
        3 => Hindrance::Moved { node: "pve2".into() },
        4 => unusable(FaultKind::Locked),
        5 => Hindrance::Stuck { fault: fault(FaultKind::Locked) },
        _ => Hindrance::Pve { fault: fault(kind) },
    }
}

fn find(vmid: Vmid, what: u8) -> Finding {
    let reason = || "seen".to_owned();
    match what % 9 {
        0 => Finding::Lost { vmid, reason: reason() },
        1 => Finding::Moved { vmid, node: "pve2".into() },
        2 => Finding::Doubtful { vmid, reason: reason() },
        3 => Finding::Confirmed { vmid },
        4 => Finding::Unready { vmid, fault: fault(FaultKind::StillRunning) },
        5 => Finding::Freed { vmid },
        6 => Finding::Discovered(stray(300 + u32::from(what) % 3, None)),
        7 => Finding::Discovered(stray(300 + u32::from(what) % 3, Some("box-1"))),
        _ => Finding::Discovered(Discovered { stuck: Some(fault(FaultKind::Locked)), ..stray(304, None) }),
    }
}
