//! A pool to play with: its State, its log, and a clock that moves when told.
//!
//! Everything goes through `decide`; what PVE would say is said by the test.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ulid::Ulid;

use super::{promises, words};
use crate::domain::command::{
    Allocate, CloneEnd, Command, Finding, Hindrance, Leave, Leftover, Observation, Prepared, Rejection,
    Reply, TemplateFacts,
};
use crate::domain::decide::decide;
use crate::domain::event::{Envelope, Event};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{CloneId, InstanceId, Upid, Vmid, pool_hostname};
use crate::domain::plan::{Action, ActionKey, Plan, plan};
use crate::domain::settings::{Settings, SizeOverrides, Sizes};
use crate::domain::state::{Container, State};
use crate::domain::time::Timestamp;

/// The template that a test means unless it says otherwise.
pub(super) const T: u32 = 9009;
/// Another one.
pub(super) const U: u32 = 9010;

/// A pool, driven by a test.
pub(super) struct Pool {
    pub(super) state: State,
    pub(super) now: Timestamp,
    pub(super) chance: fastrand::Rng,
    pub(super) log: Vec<Envelope>,
    /// What the last command led to.
    pub(super) events: Vec<Event>,
    pub(super) reply: Reply,
    /// Guests of the cluster that are not the pool's.
    pub(super) foreign: BTreeSet<Vmid>,
    told: String,
    hands: promises::Hands,
}

impl Pool {
    /// A running pool that keeps nothing in stock: min and target 0, max 10.
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    /// A running pool that keeps `min`, `target`, `max` of template [`T`], none of which is made yet.
    pub(super) fn sized(min: u32, target: u32, max: u32) -> Self {
        let mut pool = Self::with(|settings| settings.sizes = Sizes { min, target, max });
        pool.run(put(T, SizeOverrides::default()));
        pool
    }

    /// The same with other settings; PVE is yet to be looked at.
    pub(super) fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings { sizes: Sizes { min: 0, target: 0, max: 10 }, ..Settings::default() };
        change(&mut settings);
        let mut pool = Self {
            state: State::default(),
            now: Timestamp(1_795_489_579_000),
            chance: fastrand::Rng::with_seed(7),
            log: Vec::new(),
            events: Vec::new(),
            reply: Reply::Done,
            foreign: BTreeSet::new(),
            told: String::new(),
            hands: promises::Hands::default(),
        };
        pool.start_with(settings);
        pool.see(Observation::Reconciled { as_of: pool.state.head, findings: Vec::new() });
        pool
    }

    pub(super) fn start_with(&mut self, settings: Settings) {
        self.run(Command::Start { version: "0.1.0".to_owned(), settings: Box::new(settings) });
    }

    /// The process dies and starts again on the same log.
    pub(super) fn restart(&mut self) -> &mut Self {
        let settings = self.state.settings.clone();
        self.start_with(settings);
        self
    }

    /// Decides a command that is carried out.
    pub(super) fn run(&mut self, command: Command) -> &mut Self {
        if let Err(rejection) = self.attempt(command) {
            panic!("rejected: {rejection}");
        }
        self
    }

    /// Decides a command, and keeps the promises' watch over what comes of it.
    pub(super) fn attempt(&mut self, command: Command) -> Result<(), Rejection> {
        let decision = decide(&self.state, command, self.now, &mut self.chance)?;
        let last = decision.events.len();
        for (nth, event) in decision.events.iter().enumerate() {
            let envelope = Envelope {
                seq: self.state.head.next(),
                id: Ulid::from_parts(0, self.log.len() as u128),
                at: decision.at,
                event: event.clone(),
                cause: None,
                more: nth + 1 < last,
            };
            self.state.apply(&envelope);
            self.log.push(envelope);
        }
        assert_eq!(self.state, decision.state, "what was decided is not what its events fold to");
        promises::hold_in(&self.state);
        promises::nothing_is_left_to_do(&self.state);
        promises::time_alone_changes_nothing_before_the_plan_wakes(&self.state, self.now);
        self.hands.watch(&decision.events);
        self.told = words::tell(&self.state, &decision.events);
        (self.events, self.reply) = (decision.events, decision.reply);
        Ok(())
    }

    /// What the last command led to, all of it.
    #[track_caller]
    pub(super) fn then(&mut self, expected: &str) -> &mut Self {
        assert_eq!(self.told, expected);
        self
    }

    /// Part of what the last command led to.
    #[track_caller]
    pub(super) fn then_has(&mut self, expected: &str) -> &mut Self {
        assert!(self.told.contains(expected), "no `{expected}` in `{}`", self.told);
        self
    }

    /// What the last command did not lead to.
    #[track_caller]
    pub(super) fn then_lacks(&mut self, unexpected: &str) -> &mut Self {
        assert!(!self.told.contains(unexpected), "`{unexpected}` in `{}`", self.told);
        self
    }

    /// The command is not carried out, for this reason.
    #[track_caller]
    pub(super) fn refuses(&mut self, command: Command, reason: &str) -> &mut Self {
        match self.attempt(command) {
            Ok(()) => panic!("not refused: {}", self.told),
            Err(rejection) => {
                let said = rejection.to_string();
                assert!(said.contains(reason), "`{reason}` is not in `{said}`");
            }
        }
        self
    }

    /// Time passes, and the clock is looked at.
    pub(super) fn later(&mut self, seconds: u64) -> &mut Self {
        self.now = self.now.after(Duration::from_secs(seconds));
        self.run(Command::Tick)
    }

    /// The containers in words: `200 ready; 201 allocated box`.
    #[track_caller]
    pub(super) fn holds(&mut self, expected: &str) -> &mut Self {
        let line = |c: &Container| {
            let holder = c.instance_id().map(|instance_id| format!(" {instance_id}")).unwrap_or_default();
            let doubt = if c.doubt.is_some() { " in doubt" } else { "" };
            format!("{} {}{holder}{doubt}", c.vmid, c.phase.name())
        };
        let held: Vec<_> = self.state.containers.values().map(line).collect();
        assert_eq!(held.join("; "), expected);
        self
    }
}

/// What callers ask.
impl Pool {
    pub(super) fn allocate(&mut self, instance: &str) -> &mut Self {
        self.run(allocate(instance))
    }

    pub(super) fn release(&mut self, vmid: u32) -> &mut Self {
        self.run(release(vmid))
    }

    pub(super) fn remove(&mut self, vmid: u32) -> &mut Self {
        self.run(remove(vmid))
    }

    pub(super) fn warm(&mut self, template: u32, count: Option<u32>) -> &mut Self {
        self.run(Command::Warm { template: Vmid(template), count, facts: Some(facts()) })
    }

    pub(super) fn put(&mut self, template: u32, min: u32, target: u32, max: u32) -> &mut Self {
        self.run(put(template, SizeOverrides { min: Some(min), target: Some(target), max: Some(max) }))
    }

    pub(super) fn drain(&mut self, template: u32) -> &mut Self {
        self.run(Command::DrainTemplate { template: Vmid(template) })
    }

    pub(super) fn refresh(&mut self, template: u32) -> &mut Self {
        self.run(Command::RefreshTemplate { template: Vmid(template) })
    }

    /// The last caller of the instance disconnects.
    pub(super) fn leaves(&mut self, instance: &str) -> &mut Self {
        let waiting = self.state.waiting.iter().find(|(_, w)| w.instance_id.as_str() == instance);
        let held = self.state.containers.values().filter_map(|container| container.holding());
        let held = held.filter(|h| h.instance_id.as_str() == instance).map(|h| h.allocation_id).next();
        let allocation_id = waiting.map(|(id, _)| *id).or(held).unwrap();
        self.run(Command::CallersGone { allocation_id })
    }
}

/// What PVE shows.
impl Pool {
    pub(super) fn see(&mut self, observation: Observation) -> &mut Self {
        self.run(Command::Observed(observation))
    }

    pub(super) fn plan(&self) -> Plan {
        plan(&self.state, self.now)
    }

    /// The planned actions in words: `Rename 200; PrepareClone 9009`.
    #[track_caller]
    pub(super) fn plans(&mut self, expected: &str) -> &mut Self {
        let line = |action: &Action| {
            let debug = format!("{action:?}");
            let name = debug.split([' ', '{']).next().unwrap_or_default().to_owned();
            match action.key() {
                ActionKey::Pve => name,
                ActionKey::Template(vmid) | ActionKey::Container(vmid) => format!("{name} {vmid}"),
            }
        };
        let planned: Vec<_> = self.plan().actions.iter().map(line).collect();
        assert_eq!(planned.join("; "), expected);
        self
    }

    /// The next clone of a template is looked up, with this outcome.
    pub(super) fn prepare(&mut self, template: u32, outcome: Result<Prepared, Fault>) -> &mut Self {
        let template = Vmid(template);
        let wanted = |action: &Action| match action {
            Action::PrepareClone { clone_id, template: of, .. } if *of == template => Some(*clone_id),
            _ => None,
        };
        let clone_id = self.plan().actions.iter().find_map(wanted).expect("no clone is planned");
        self.see(Observation::ClonePrepared { clone_id, template, outcome })
    }

    /// The next clone of a template is looked up, and everything is chosen.
    pub(super) fn prepared(&mut self, template: u32) -> &mut Self {
        let outcome = self.lookup();
        self.prepare(template, Ok(outcome))
    }

    /// What a look at the cluster shows now.
    pub(super) fn lookup(&self) -> Prepared {
        let ours = self.state.containers.keys().copied();
        Prepared {
            node: "pve1".into(),
            taken: self.foreign.iter().copied().chain(ours).collect(),
            linkable: true,
        }
    }

    pub(super) fn sent(&mut self, vmid: u32, outcome: Result<Upid, Fault>) -> &mut Self {
        let clone_id = self.clone_of(vmid);
        self.see(Observation::CloneSent { vmid: Vmid(vmid), clone_id, outcome })
    }

    pub(super) fn submitted(&mut self, vmid: u32) -> &mut Self {
        self.sent(vmid, Ok(upid()))
    }

    pub(super) fn ended(&mut self, vmid: u32, end: CloneEnd) -> &mut Self {
        let clone_id = self.clone_of(vmid);
        self.see(Observation::CloneEnded { vmid: Vmid(vmid), clone_id, end })
    }

    pub(super) fn made(&mut self, vmid: u32) -> &mut Self {
        self.ended(vmid, CloneEnd::Made { warnings: false })
    }

    pub(super) fn clone_failed(&mut self, vmid: u32, kind: FaultKind, leftover: Leftover) -> &mut Self {
        self.ended(vmid, CloneEnd::Failed { fault: fault(kind), leftover })
    }

    /// One clone from look-up to ready.
    pub(super) fn clone(&mut self, template: u32) -> u32 {
        self.prepared(template);
        let creating = |c: &&Container| c.template == Vmid(template) && c.creating().is_some();
        let vmid = self.state.containers.values().find(creating).unwrap().vmid.0;
        self.submitted(vmid).made(vmid);
        vmid
    }

    /// Makes this many ready containers of [`T`], from VMID 200 on.
    pub(super) fn stocked(mut self, containers: u32) -> Self {
        self.warm(T, Some(containers));
        for _ in 0..containers {
            self.clone(T);
        }
        self
    }

    /// Makes every clone that the lane wants.
    pub(super) fn clone_all(&mut self) -> &mut Self {
        while let Some(template) = self.plan().actions.iter().find_map(|action| match action {
            Action::PrepareClone { template, .. } => Some(template.0),
            _ => None,
        }) {
            self.clone(template);
        }
        self
    }

    pub(super) fn renamed(&mut self, vmid: u32) -> &mut Self {
        self.renamed_while(vmid, false)
    }

    pub(super) fn renamed_while(&mut self, vmid: u32, running: bool) -> &mut Self {
        let as_of = self.touched(vmid);
        self.see(Observation::Renamed { vmid: Vmid(vmid), as_of, running })
    }

    pub(super) fn started(&mut self, vmid: u32) -> &mut Self {
        let as_of = self.touched(vmid);
        self.see(Observation::Started { vmid: Vmid(vmid), as_of, duration_ms: Some(900) })
    }

    pub(super) fn start_failed(&mut self, vmid: u32) -> &mut Self {
        let as_of = self.touched(vmid);
        self.see(Observation::StartFailed { vmid: Vmid(vmid), as_of, fault: fault(FaultKind::Other) })
    }

    pub(super) fn parked(&mut self, vmid: u32) -> &mut Self {
        let (as_of, hostname) = (self.touched(vmid), self.container(vmid).pool_hostname("pool"));
        self.see(Observation::Parked { vmid: Vmid(vmid), as_of, hostname })
    }

    pub(super) fn renamed_back(&mut self, vmid: u32) -> &mut Self {
        let (as_of, hostname) = (self.touched(vmid), self.container(vmid).pool_hostname("pool"));
        self.see(Observation::RenamedBack { vmid: Vmid(vmid), as_of, hostname })
    }

    pub(super) fn destroyed(&mut self, vmid: u32) -> &mut Self {
        let as_of = self.touched(vmid);
        self.see(Observation::Destroyed { vmid: Vmid(vmid), as_of })
    }

    pub(super) fn hindered(&mut self, vmid: u32, by: Hindrance) -> &mut Self {
        let as_of = self.touched(vmid);
        self.see(Observation::Hindered { vmid: Vmid(vmid), as_of, by })
    }

    pub(super) fn pve_said(&mut self, vmid: u32, kind: FaultKind) -> &mut Self {
        self.hindered(vmid, Hindrance::Pve { fault: fault(kind) })
    }

    pub(super) fn found(&mut self, finding: Finding) -> &mut Self {
        let as_of = self.state.head;
        self.see(Observation::Reconciled { as_of, findings: vec![finding] })
    }

    /// Hands a ready container out to the end, started.
    pub(super) fn handed_out(&mut self, instance: &str) -> u32 {
        self.allocate(instance);
        let vmid = self.vmid_of(instance);
        self.renamed(vmid).started(vmid);
        vmid
    }

    pub(super) fn container(&self, vmid: u32) -> &Container {
        self.state.container(Vmid(vmid)).unwrap()
    }

    pub(super) fn vmid_of(&self, instance: &str) -> u32 {
        let holds = |c: &&Container| c.instance_id().is_some_and(|id| id.as_str() == instance);
        self.state.containers.values().find(holds).unwrap().vmid.0
    }

    pub(super) fn ready(&self, template: u32) -> usize {
        self.state.ready(Vmid(template)).count()
    }

    fn touched(&self, vmid: u32) -> crate::domain::ids::Seq {
        self.container(vmid).touched
    }

    pub(super) fn clone_of(&self, vmid: u32) -> CloneId {
        self.container(vmid).clone_id
    }
}

pub(super) fn allocate(instance: &str) -> Command {
    allocate_from(T, instance)
}

pub(super) fn allocate_from(template: u32, instance: &str) -> Command {
    Command::Allocate(request(template, instance))
}

pub(super) fn request(template: u32, instance: &str) -> Allocate {
    Allocate {
        template: Vmid(template),
        instance_id: Some(InstanceId::from(instance)),
        metadata: BTreeMap::new(),
        start: true,
        ttl_seconds: None,
        facts: Some(facts()),
    }
}

pub(super) fn release(vmid: u32) -> Command {
    Command::Release(Leave { vmid: Vmid(vmid), instance_id: None })
}

pub(super) fn remove(vmid: u32) -> Command {
    Command::Remove(Leave { vmid: Vmid(vmid), instance_id: None })
}

pub(super) fn put(template: u32, sizes: SizeOverrides) -> Command {
    Command::ConfigureTemplate { template: Vmid(template), sizes, facts: Some(facts()) }
}

pub(super) fn facts() -> TemplateFacts {
    TemplateFacts { node: "pve1".into(), linkable: Some(true) }
}

pub(super) fn fault(kind: FaultKind) -> Fault {
    Fault::new(kind, format!("PVE said {}", kind.code()))
}

pub(super) fn upid() -> Upid {
    "UPID:pve1:1:1:1:vzclone:9009:root@pam:".into()
}

pub(super) fn doubt() -> Hindrance {
    Hindrance::Doubt { reason: "it has another hostname".to_owned() }
}

pub(super) fn unusable(kind: FaultKind) -> Hindrance {
    Hindrance::Unusable { fault: fault(kind) }
}

/// A container of the pool that State does not know.
pub(super) fn stray(vmid: u32, instance: Option<&str>) -> crate::domain::command::Discovered {
    let clone_id = CloneId(Ulid::from_parts(1, u128::from(vmid)));
    crate::domain::command::Discovered {
        vmid: Vmid(vmid),
        clone_id: Some(clone_id),
        template: Vmid(T),
        node: "pve1".into(),
        hostname: pool_hostname("pool", Vmid(T), clone_id),
        instance_id: instance.map(InstanceId::from),
        making: None,
        stuck: None,
    }
}

/// What tests of clones that fail say often.
impl Pool {
    /// The clone under way.
    pub(super) fn creating(&self) -> u32 {
        self.state.containers.values().find(|c| c.creating().is_some()).unwrap().vmid.0
    }

    pub(super) fn not_made(&mut self, vmid: u32) -> &mut Self {
        let clone_id = self.clone_of(vmid);
        self.see(Observation::CloneNotMade { vmid: Vmid(vmid), clone_id })
    }

    /// No clone is to be started.
    #[track_caller]
    pub(super) fn plans_no_clone(&mut self) -> &mut Self {
        let plan = self.plan();
        assert!(!plan.actions.iter().any(|action| matches!(action, Action::PrepareClone { .. })), "{plan:?}");
        self
    }
}
