//! The promises, as what is checked after each step, at each event, at each answer, and at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sandbox_pool::domain::event::{Allocated, Envelope, Event};
use sandbox_pool::domain::ids::{AllocationId, Vmid};
use sandbox_pool::domain::state::{Container, HandOut, Phase, ServicePhase, State, VMID_REST};
use sandbox_pool::domain::time::Timestamp;
use sandbox_pool::sim::{CtView, DEMO_TOKEN, Violation, ViolationRule};

use super::scene::{Scene, since_start};
use crate::world::Answer;

/// Callers go away after this long; every answer is on its way before.
const CALLERS_PATIENCE: Duration = Duration::from_mins(2);

/// Between the look at a container and what is done to it somebody else may be quicker by this much.
const RACE: Duration = Duration::from_millis(100);

/// The longest that a call is on its way.
pub const LONGEST_WAY: Duration = Duration::from_secs(50);

/// What those outside know.
#[derive(Default)]
pub struct Ledger {
    /// What happened, for the story of a failure.
    pub trace: Vec<(Timestamp, String)>,
    /// Broken promises that callers saw.
    pub wrong: Vec<String>,
    /// Requests without an answer, and when they were made.
    pub open: BTreeMap<u64, (Timestamp, String)>,
    /// Who was answered with which container.
    pub held: BTreeMap<u32, Held>,
    /// When somebody last asked for a container's release or removal, or meddled with it.
    pub disturbed: BTreeMap<u32, Timestamp>,
    /// When a node last went down, which stops its containers.
    pub outage: Timestamp,
    /// Each time that a VMID became somebody else's container.
    pub replaced: BTreeMap<u32, Vec<Timestamp>>,
    /// Other people's containers.
    pub foreign: BTreeMap<u32, CtView>,
    /// Answers by status.
    pub answers: BTreeMap<u16, usize>,
}

/// A container that somebody was answered with.
#[derive(Clone, Debug)]
pub struct Held {
    pub instance: String,
    pub asked_at: Timestamp,
    pub until: Option<Timestamp>,
}

impl Ledger {
    /// Whether a hold may be over.
    fn may_be_over(&self, vmid: u32, held: &Held, now: Timestamp) -> bool {
        held.until.is_some_and(|until| until <= now)
            || self.disturbed.get(&vmid).is_some_and(|at| *at >= held.asked_at)
    }

    /// An allocation was answered with a container.
    pub fn handed_out(&mut self, vmid: u32, held: Held, started: bool, ct: Option<&CtView>, now: Timestamp) {
        let Held { instance, asked_at, .. } = &held;
        for (other, before) in &self.held {
            let same = before.instance == *instance;
            if same == (*other == vmid) || self.may_be_over(*other, before, now) {
                continue;
            }
            if same {
                self.wrong.push(format!("{instance} holds CT {other} and was given CT {vmid}"));
            } else if *other == vmid {
                self.wrong.push(format!("CT {vmid} is {}'s and was given to {instance}", before.instance));
            }
        }
        let undisturbed = self.disturbed.get(&vmid).is_none_or(|at| at < asked_at);
        if undisturbed && held.until.is_none_or(|until| until > now) {
            let named = ct.is_some_and(|ct| ct.hostname.as_deref() == Some(instance));
            let runs = ct.is_some_and(|ct| ct.running) || self.outage >= *asked_at;
            if !named || (started && !runs) {
                self.wrong.push(format!("{instance} was given CT {vmid} as {ct:?}"));
            }
        }
        self.held.insert(vmid, held);
    }

    /// Whether an instance was answered with a container.
    pub fn holds(&self, instance: &str) -> bool {
        self.held.values().any(|held| held.instance == instance)
    }

    /// Any answer.
    pub fn answered(&mut self, what: &str, answer: &Answer) {
        *self.answers.entry(answer.status).or_default() += 1;
        if ![200, 404, 409, 422, 502, 503, 504].contains(&answer.status) {
            self.wrong.push(format!("{what} was answered with {} {}", answer.status, answer.body));
        }
    }
}

/// What must hold after each step.
pub fn check_step(scene: &mut Scene) -> Result<(), String> {
    scene.take_events()?;
    let now = scene.clock.now();
    {
        let ledger = scene.ledger();
        if let Some(wrong) = ledger.wrong.first() {
            return Err(wrong.clone());
        }
        let overdue = ledger.open.values().find(|(asked_at, _)| now.since(*asked_at) > CALLERS_PATIENCE);
        if let Some((asked_at, what)) = overdue {
            return Err(format!("no answer since {} ms: {what}", since_start(*asked_at)));
        }
    }
    for template in scene.templates() {
        let seen = scene.sim.max_clones_in_flight_seen(template);
        if seen > 1 {
            return Err(format!("{seen} clones of {template} ran at the same time"));
        }
    }
    if let Some(violation) = scene.sim.violations().iter().find(|violation| !is_fate(scene, violation)) {
        return Err(format!("a good client does not do this: {violation:?}"));
    }
    match scene.state() {
        Some(state) => check_state(&state, scene.lost_log),
        None => Ok(()),
    }
}

/// Whether somebody was quicker between the look and the act, or while a call was on its way for long.
fn is_fate(scene: &Scene, violation: &Violation) -> bool {
    match violation.rule {
        ViolationRule::ForeignWrite | ViolationRule::TemplateDestroyed => {
            let way = if scene.delays { LONGEST_WAY } else { Duration::ZERO };
            let ledger = scene.ledger();
            let replaced = vmid_of(violation).and_then(|vmid| ledger.replaced.get(&vmid));
            let just_before = |at: &Timestamp| *at <= violation.at && violation.at.since(*at) < RACE + way;
            replaced.is_some_and(|times| times.iter().any(just_before))
        }
        // The first was given up; PVE refuses the second for the template's lock.
        ViolationRule::SecondClone => scene.delays,
        // Who may not see what runs leaves it to PVE's locks to keep two tasks apart, and so does a call that was
        // given up and comes late.
        ViolationRule::BusyWrite => scene.blind || scene.delays,
        // It was locked by somebody behind the look, whose answer was on its way that long; PVE refuses the write.
        ViolationRule::LockedWrite => scene.delays || scene.slow_answers,
        _ => false,
    }
}

/// The container that a violation is about: the first number in its path.
fn vmid_of(violation: &Violation) -> Option<u32> {
    violation.text.split(['/', ':']).find_map(|part| part.parse().ok())
}

/// What must hold in every State that anybody sees.
fn check_state(state: &State, adopts: bool) -> Result<(), String> {
    let mut again = state.clone();
    again.rebuild_index();
    if again != *state {
        return Err("the index is not the one that State amounts to".to_owned());
    }
    let mut places = BTreeSet::new();
    // One in quarantine keeps its name, and a second one is better than no answer.
    let usable = |c: &&Container| !matches!(c.phase, Phase::Quarantined { .. });
    let held = state.containers.values().filter(usable).filter_map(Container::instance_id);
    for instance in held.chain(state.waiting.values().map(|waiting| &waiting.instance_id)) {
        if !places.insert(instance) {
            return Err(format!("{instance} has two places"));
        }
    }
    let cap = state.settings.max_total as usize;
    if cap > 0 && state.containers.len() > cap && !adopts {
        return Err(format!("{} containers, at most {cap} allowed", state.containers.len()));
    }
    if state.service.phase != ServicePhase::Running {
        return Ok(());
    }
    if let Some(waiting) = state.waiting.values().find(|waiting| waiting.deadline < state.at) {
        return Err(format!("{} waits although its time is up", waiting.instance_id));
    }
    for (vmid, template) in state.templates.iter().filter(|(_, template)| !template.drained) {
        let wanted = |c: &&Container| {
            c.template == *vmid && c.creating().is_some_and(|creating| creating.unwanted.is_none())
        };
        let coming = state.containers.values().filter(wanted).count();
        let supply = state.ready_count(*vmid) as usize + coming;
        let inventory = supply.saturating_sub(template.line.len());
        let most = state.sizes(*vmid).max as usize + usize::from(template.refresh_before.is_some());
        if inventory > most.max(1) {
            return Err(format!("template {vmid} has an inventory of {inventory}, at most {most} allowed"));
        }
    }
    Ok(())
}

/// What an event may not do to the State before it.
pub fn check_event(before: &State, envelope: &Envelope) -> Result<(), String> {
    match &envelope.event {
        Event::Allocated(allocated) => check_turn(before, allocated, envelope.at),
        Event::CloneStarted(started) => check_vmid(before, started.vmid, envelope.at),
        _ => Ok(()),
    }
}

/// A clone gets a VMID that nobody has, nor had a moment ago: there are always others.
fn check_vmid(before: &State, vmid: Vmid, at: Timestamp) -> Result<(), String> {
    if before.container(vmid).is_some() {
        return Err(format!("VMID {vmid} is given to a clone and was a container's"));
    }
    match before.resting.get(&vmid) {
        Some(resting) if at.since(resting.since) < VMID_REST => {
            Err(format!("VMID {vmid} is given to a clone again too soon: {resting:?}"))
        }
        Some(_) | None => Ok(()),
    }
}

/// Nobody is passed over, neither in the line nor, whatever order that is in, who asked before.
fn check_turn(before: &State, allocated: &Allocated, at: Timestamp) -> Result<(), String> {
    let Some(template) = before.template(allocated.template) else { return Ok(()) };
    let own = before.waiting.get(&allocated.allocation_id);
    let asked_at = own.map_or(at, |own| own.asked_at);
    // Whose container was of no use is at the head of the line, also before others to whom that happened.
    let first = own.is_some_and(|own| own.spoiled.is_some());
    let asked_before = |id: &&AllocationId| {
        !first && before.waiting.get(*id).is_some_and(|waiting| waiting.asked_at < asked_at)
    };
    let in_line = template.line.iter().take_while(|id| **id != allocated.allocation_id);
    let ahead = in_line.chain(template.line.iter().filter(asked_before));
    match ahead.copied().find(|id| !waits_for_its_name(before, *id)) {
        Some(id) => Err(format!("{} was served before {id}, which came first", allocated.instance_id)),
        None => Ok(()),
    }
}

/// The container that an allocation could not use still has its name.
fn waits_for_its_name(state: &State, id: AllocationId) -> bool {
    let spoiled = state.waiting.get(&id).and_then(|waiting| waiting.spoiled);
    spoiled.and_then(|vmid| state.container(vmid)).is_some_and(|c| matches!(c.phase, Phase::Removing(_)))
}

/// A replay gives the State that is published, byte for byte.
pub fn check_replay(scene: &Scene) -> Result<(), String> {
    let Some(state) = scene.state() else { return Ok(()) };
    if scene.folded == *state {
        return Ok(());
    }
    let text = |state: &State| serde_json::to_string(state).unwrap_or_default();
    Err(format!("a replay gives another State:\n{}\n{}", text(&scene.folded), text(&state)))
}

/// Why the pool is not settled yet, if it is not.
pub fn unsettled(state: &State) -> Option<String> {
    if !state.service.reconciled || !state.pve_reachable() {
        return Some("PVE was not looked at".to_owned());
    }
    if let Some(waiting) = state.waiting.values().next() {
        return Some(format!("{} waits", waiting.instance_id));
    }
    let restless = |container: &&Container| match &container.phase {
        Phase::Ready { .. } => container.doubt.is_some(),
        Phase::Allocated(holding) => container.doubt.is_some() || holding.stage != HandOut::Done,
        Phase::Creating(_) | Phase::Releasing(_) | Phase::Removing(_) | Phase::Quarantined { .. } => true,
    };
    let expires_at = |c: &Container| c.holding().and_then(|holding| holding.expires_at);
    let expired = |c: &&Container| expires_at(c).is_some_and(|at| at < state.at);
    if let Some(container) = state.containers.values().find(expired) {
        return Some(format!("container {}: its time is up", container.vmid));
    }
    if let Some(container) = state.containers.values().find(restless) {
        return Some(format!(
            "container {}: {:?} {:?} {:?}",
            container.vmid, container.phase, container.doubt, container.delay
        ));
    }
    let cap = state.settings.max_total as usize;
    for (vmid, template) in &state.templates {
        if template.drained && state.ready_count(*vmid) > 0 {
            return Some(format!("template {vmid} is drained and has containers ready"));
        }
        let target = if template.drained { 0 } else { state.sizes(*vmid).target };
        let full = state.ready_count(*vmid) >= target || (cap > 0 && state.containers.len() >= cap);
        if !full {
            let ready = state.ready_count(*vmid);
            return Some(format!("template {vmid} has {ready} of {target} ready: {template:?}"));
        }
    }
    None
}

/// What must hold once the pool is settled.
pub fn check_end(scene: &mut Scene) -> Result<(), String> {
    check_step(scene)?;
    check_replay(scene)?;
    let state = scene.state().ok_or("nothing runs")?;
    let known: BTreeSet<u32> = state.containers.keys().map(|vmid| vmid.0).collect();
    let views: Vec<CtView> =
        scene.sim.with(|model| model.vmids().into_iter().filter_map(|vmid| model.ct(vmid)).collect());
    let made = views.iter().filter(|view| view.made_by.as_deref() == Some(DEMO_TOKEN) && !view.template);
    let made: BTreeSet<u32> = made.map(|view| view.vmid).collect();
    if known != made {
        return Err(format!("State knows {known:?}, PVE has {made:?}"));
    }
    for view in views.iter().filter(|view| made.contains(&view.vmid)) {
        let Some(container) = state.container(Vmid(view.vmid)) else { continue };
        let named = view.hostname.as_deref() == Some(container.hostname.as_str());
        let ready = matches!(container.phase, Phase::Ready { .. });
        if !named || (ready && (view.running || view.lock.is_some())) {
            return Err(format!("State has {container:?}, PVE {view:?}"));
        }
    }
    let of_others =
        |it: &&Violation| matches!(it.rule, ViolationRule::ForeignWrite | ViolationRule::TemplateDestroyed);
    let violations = scene.sim.violations();
    let lost: BTreeSet<u32> = violations.iter().filter(of_others).filter_map(vmid_of).collect();
    let ledger = scene.ledger();
    let now = scene.clock.now();
    for (vmid, held) in ledger.held.iter().filter(|(vmid, held)| !ledger.may_be_over(**vmid, held, now)) {
        let holder = state.container(Vmid(*vmid)).and_then(Container::holding);
        if holder.is_none_or(|holding| holding.instance_id.as_str() != held.instance) {
            return Err(format!("{} was given CT {vmid}, which is {holder:?}'s now", held.instance));
        }
    }
    if let Some((_, what)) = ledger.open.values().next() {
        return Err(format!("settled, and no answer yet: {what}"));
    }
    for (vmid, was) in ledger.foreign.iter().filter(|(vmid, _)| !lost.contains(vmid)) {
        let is = scene.sim.ct(*vmid);
        let unlocked = |view: &CtView| {
            let mut config = view.config.clone();
            config.remove("lock");
            config
        };
        let same = is.as_ref().is_some_and(|is| unlocked(is) == unlocked(was) && is.node == was.node);
        let runs = is.as_ref().is_some_and(|is| is.running == was.running) || ledger.outage.0 > 0;
        if !same || !runs {
            return Err(format!("somebody's CT {vmid} was {was:?} and is {is:?}"));
        }
    }
    Ok(())
}
