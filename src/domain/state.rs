//! What is known now: the fold of all events. Only `apply` changes it.
//!
//! The maps are persistent, so that a copy for a reader costs a few pointers. The index beside them is
//! derived, never written out, and rebuilt after a snapshot is read.

use std::collections::BTreeMap;
use std::time::Duration;

use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};

use super::event::{ClonePurpose, FailureCode, LeaveReason};
use super::fault::Fault;
use super::ids::{
    AllocationId, CloneId, EndpointName, Hostname, InstanceId, Node, Seq, Upid, Vmid, parse_pool_hostname,
    pool_hostname,
};
use super::marker::{Known, Marker};
use super::settings::{Settings, SizeOverrides, Sizes};
use super::time::Timestamp;
use super::webhook::Webhook;

/// A VMID is not used again for this long after it was freed, lost or refused, while another is free.
pub const VMID_REST: Duration = Duration::from_mins(10);

/// A template with neither containers nor settings is forgotten after this.
pub const TEMPLATE_REST: Duration = Duration::from_hours(24);

/// The whole pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The last event that is in here.
    pub head: Seq,
    /// When that was; time never runs back behind it.
    pub at: Timestamp,
    /// The service itself.
    pub service: Service,
    /// What the rules read.
    pub settings: Settings,
    /// Every template that the pool keeps containers of.
    pub templates: OrdMap<Vmid, Template>,
    /// Every container that the pool made or adopted, until it is gone from PVE.
    pub containers: OrdMap<Vmid, Container>,
    /// Allocations without a container, in no order; the order is in each template's line.
    pub waiting: OrdMap<AllocationId, Waiting>,
    /// VMIDs that are left alone for a while.
    pub resting: OrdMap<Vmid, Resting>,
    /// Webhook endpoints.
    #[serde(default)]
    pub webhooks: OrdMap<EndpointName, Webhook>,
    /// Derived from the above.
    #[serde(skip)]
    pub(super) index: Index,
}

/// The service itself, as the log knows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Version of the program that started last.
    pub version: String,
    /// When it started.
    pub started_at: Timestamp,
    /// In which phase it is.
    pub phase: ServicePhase,
    /// PVE was compared with State since the start.
    pub reconciled: bool,
    /// Why PVE does not give its inventory, if the last comparison failed for that.
    pub reconcile_fault: Option<Fault>,
    /// Since when PVE does not answer, and what the connection said.
    pub pve_unreachable: Option<(Timestamp, String)>,
}

impl Service {
    /// Whether PVE does not let itself be compared, for a reason that does not pass by itself.
    pub fn comparison_needs_a_person(&self) -> bool {
        self.reconcile_fault.as_ref().is_some_and(|fault| fault.kind.is_permanent())
    }
}

/// Phases of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServicePhase {
    /// No process works on this log.
    #[default]
    Stopped,
    /// It serves.
    Running,
    /// It lets hand-outs finish.
    Stopping,
}

/// A template and what the pool does for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Template {
    /// Where it is, once known.
    pub node: Option<Node>,
    /// Whether its storage can make linked clones, once known.
    pub linkable: Option<bool>,
    /// Its own sizes, set by request; they win over the configured ones.
    pub sizes: SizeOverrides,
    /// It serves nobody.
    pub drained: bool,
    /// Clones to make, oldest first.
    pub queue: Vec<QueuedClone>,
    /// The last refused clone that was cancelled: for a while its successor goes on with its tries and pause.
    pub interrupted: Option<QueuedClone>,
    /// Allocations that wait, first served first.
    pub line: Vec<AllocationId>,
    /// Clones fail.
    pub backoff: Option<Backoff>,
    /// The last allocation failed.
    pub failure: Option<Failure>,
    /// Since when each clone finds the template locked.
    pub locked_since: Option<Timestamp>,
    /// Inventory to reach once.
    pub warm_goal: Option<u32>,
    /// Ready containers made before this event are to be replaced.
    pub refresh_before: Option<Seq>,
    /// When the last clone was started; templates take turns by it.
    pub last_started: Seq,
    /// Since when it has neither containers nor line nor queue.
    pub idle_since: Option<Timestamp>,
    /// Milliseconds that a clone takes, smoothed.
    pub clone_ms: Option<u64>,
    /// Milliseconds that a start takes, smoothed.
    pub start_ms: Option<u64>,
    /// Containers by state.
    pub counts: Counts,
}

/// Containers of a template by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the states' own names")]
pub struct Counts {
    pub creating: u32,
    pub ready: u32,
    pub allocated: u32,
    pub releasing: u32,
    pub removing: u32,
    pub quarantined: u32,
}

/// A clone that waits for the lane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueuedClone {
    /// The clone.
    pub clone_id: CloneId,
    /// What it was needed for when it was queued.
    pub purpose: ClonePurpose,
    /// When it was queued.
    pub queued_at: Timestamp,
    /// Counted tries so far.
    pub attempt: u32,
    /// Why the last try did not work.
    pub fault: Option<Fault>,
    /// Not to be tried before.
    pub not_before: Timestamp,
}

/// The last failed allocation of a template, until one is completed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// When.
    pub at: Timestamp,
    /// What kind of an end it was.
    pub code: FailureCode,
    /// Why, as its caller was told.
    pub reason: String,
}

/// A template whose clones fail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backoff {
    /// Why.
    pub fault: Fault,
    /// When one clone is tried again.
    pub until: Timestamp,
    /// How often in a row.
    pub step: u32,
}

/// An allocation without a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    /// The caller's name of the sandbox.
    pub instance_id: InstanceId,
    /// The template.
    pub template: Vmid,
    /// Whether the container is to be started.
    pub start: bool,
    /// Seconds after completion at which the container is released by itself.
    pub ttl_seconds: Option<u64>,
    /// The caller's own words.
    pub metadata: BTreeMap<String, String>,
    /// When it was asked for.
    pub asked_at: Timestamp,
    /// When it fails.
    pub deadline: Timestamp,
    /// Containers that were not usable.
    pub attempt: u32,
    /// The last of them, which may still have the instance's hostname.
    pub spoiled: Option<Vmid>,
}

/// A container that the pool made or adopted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// Its VMID.
    pub vmid: Vmid,
    /// The clone that made it.
    pub clone_id: CloneId,
    /// Its template.
    pub template: Vmid,
    /// The node that it is on.
    pub node: Node,
    /// The hostname that it has at PVE.
    pub hostname: Hostname,
    /// When its clone was started, or it was discovered.
    pub created_at: Timestamp,
    /// The event that started it; older than a refresh means stale.
    pub created_seq: Seq,
    /// How many holders it had.
    pub uses: u32,
    /// The last event about it; what was seen at PVE before that does not contradict it.
    pub touched: Seq,
    /// Why it is left alone, if it is not surely ours.
    pub doubt: Option<String>,
    /// What is being done with it is tried again later.
    pub delay: Option<Delay>,
    /// What it is doing.
    pub phase: Phase,
}

/// A pause in what is being done with a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delay {
    /// Why.
    pub fault: Fault,
    /// Tries so far.
    pub attempt: u32,
    /// Until when.
    pub until: Timestamp,
}

/// The end of a container, or of a clone that never became one, on a VMID that rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resting {
    /// When that was.
    pub since: Timestamp,
    /// The event that ended it; what was seen at PVE before that is no new container.
    pub ended: Seq,
}

/// What a container is doing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It is being cloned.
    Creating(Creating),
    /// It is stopped and nobody's.
    Ready {
        /// Since when.
        since: Timestamp,
    },
    /// It is somebody's.
    Allocated(Holding),
    /// It is being stopped and given back.
    Releasing(Leaving),
    /// It is being destroyed.
    Removing(Leaving),
    /// It needs a person.
    Quarantined {
        /// Why, with the command that frees it.
        fault: Fault,
        /// Who held it.
        instance_id: Option<InstanceId>,
    },
}

impl Phase {
    /// The state's name, as in answers.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Creating(_) => "creating",
            Self::Ready { .. } => "ready",
            Self::Allocated(_) => "allocated",
            Self::Releasing(_) => "releasing",
            Self::Removing(_) => "removing",
            Self::Quarantined { .. } => "quarantined",
        }
    }
}

/// A clone under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Creating {
    /// What it was queued for.
    pub purpose: ClonePurpose,
    /// Counted tries before this one.
    pub attempt: u32,
    /// Whether it shares the template's disk.
    pub linked: bool,
    /// When everything was chosen; PVE heard of it after that.
    pub started_at: Timestamp,
    /// How far it is.
    pub stage: CloneStage,
    /// It is destroyed as soon as it is made.
    pub unwanted: Option<LeaveReason>,
}

/// How far a clone is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CloneStage {
    /// It is being asked of PVE by this process.
    Sending,
    /// PVE may or may not have taken it on.
    Uncertain,
    /// PVE works on it.
    Running {
        /// PVE's task.
        upid: Upid,
    },
}

/// Somebody's hold on a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Holding {
    /// The allocation.
    pub allocation_id: AllocationId,
    /// The caller's name of the sandbox.
    pub instance_id: InstanceId,
    /// The caller's own words.
    pub metadata: BTreeMap<String, String>,
    /// Whether the container is to be started.
    pub start: bool,
    /// Whether it was ready when it was asked for.
    pub from_pool: bool,
    /// Seconds after completion at which it is released by itself.
    pub ttl_seconds: Option<u64>,
    /// When the container was asked for.
    pub asked_at: Timestamp,
    /// Containers that were not usable before this one.
    pub attempt: u32,
    /// When the hand-out fails unless answered.
    pub deadline: Timestamp,
    /// How far the hand-out is.
    pub stage: HandOut,
    /// When it was first answered; none while it never was.
    pub completed_at: Option<Timestamp>,
    /// When it is released by itself.
    pub expires_at: Option<Timestamp>,
    /// Nobody of this process waits for it: it was under way before a restart.
    pub orphaned: bool,
}

/// How far a hand-out is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HandOut {
    /// It is looked at and given the instance's hostname.
    Renaming,
    /// It is being started.
    Starting,
    /// It is answered.
    Done,
}

/// A container on its way back or out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Leaving {
    /// Who held it.
    pub instance_id: Option<InstanceId>,
    /// Who asked.
    pub by: LeaveReason,
    /// Since when.
    pub since: Timestamp,
    /// A holder was given it, so that it counts as used.
    pub used: bool,
    /// What to go back to if the release is refused.
    pub holding: Option<Box<Holding>>,
}

/// Where an instance is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a template's line.
    Waiting(AllocationId),
    /// In a container.
    Container(Vmid),
}

/// What is derived from the containers and allocations, to find them fast.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Index {
    /// Where each instance is.
    pub instances: OrdMap<InstanceId, Place>,
    /// The clones that the containers were made by.
    pub clones: OrdSet<CloneId>,
    /// Ready, undoubted containers by template, in the order in which they are handed out.
    pub ready: OrdMap<Vmid, OrdSet<Turn>>,
    /// Containers with which something is to be done or watched.
    pub busy: OrdSet<Vmid>,
    /// When held containers expire.
    pub expiring: OrdSet<(Timestamp, Vmid)>,
}

/// A ready container's turn: never used before used, then the longest ready, then the oldest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    used: bool,
    since: Timestamp,
    created_seq: Seq,
    vmid: Vmid,
}

impl State {
    /// The template, if the pool keeps containers of it.
    pub fn template(&self, template: Vmid) -> Option<&Template> {
        self.templates.get(&template)
    }

    /// The container, if it is the pool's.
    pub fn container(&self, vmid: Vmid) -> Option<&Container> {
        self.containers.get(&vmid)
    }

    /// Where the instance is, if it has a place.
    pub fn place(&self, instance_id: &InstanceId) -> Option<Place> {
        self.index.instances.get(instance_id).copied()
    }

    /// The sizes that hold for a template: its own, else the configured, else the default.
    pub fn sizes(&self, template: Vmid) -> Sizes {
        let configured = self.settings.templates.get(&template).copied().unwrap_or_default();
        let own = self.templates.get(&template).map(|t| t.sizes).unwrap_or_default();
        self.settings.sizes.with(own.or(configured))
    }

    /// Ready containers of a template that may be handed out, first the one whose turn it is.
    pub fn ready(&self, template: Vmid) -> impl Iterator<Item = &Container> {
        let turns = self.index.ready.get(&template).into_iter().flatten();
        turns.filter_map(|turn| self.containers.get(&turn.vmid))
    }

    /// How many that are. Those in doubt are not among them, other than in [`Counts::ready`].
    pub fn ready_count(&self, template: Vmid) -> u32 {
        let ready = self.index.ready.get(&template).map_or(0, OrdSet::len);
        u32::try_from(ready).unwrap_or(u32::MAX)
    }

    /// Containers with which something is to be done or watched.
    pub(super) fn busy(&self) -> impl Iterator<Item = &Container> {
        self.index.busy.iter().filter_map(|vmid| self.containers.get(vmid))
    }

    /// When held containers expire, soonest first.
    pub(super) fn expiring(&self) -> impl Iterator<Item = Timestamp> {
        self.index.expiring.iter().map(|(at, _)| *at)
    }

    /// Held containers whose time to live is over.
    pub(super) fn expired(&self, now: Timestamp) -> Vec<Vmid> {
        self.index.expiring.iter().take_while(|(at, _)| *at <= now).map(|(_, vmid)| *vmid).collect()
    }

    /// Whether PVE answers, as far as is known.
    pub fn pve_reachable(&self) -> bool {
        self.service.pve_unreachable.is_none()
    }

    /// Whether a container of the pool was made by this clone.
    pub(super) fn has_clone(&self, clone_id: CloneId) -> bool {
        self.index.clones.contains(&clone_id)
    }

    /// Clones that wait for the lane, over all templates.
    pub fn queued_clones(&self) -> usize {
        self.templates.values().map(|template| template.queue.len()).sum()
    }

    /// Builds the index anew, after the state was read from a snapshot.
    pub fn rebuild_index(&mut self) {
        self.index = Index::default();
        for (allocation_id, waiting) in &self.waiting {
            self.index.instances.insert(waiting.instance_id.clone(), Place::Waiting(*allocation_id));
        }
        for container in self.containers.values() {
            self.index.add(container);
        }
    }
}

impl Index {
    pub(super) fn add(&mut self, container: &Container) {
        if let Some(instance_id) = container.instance_id() {
            self.instances.insert(instance_id.clone(), Place::Container(container.vmid));
        }
        self.clones.insert(container.clone_id);
        if let Some(turn) = container.turn() {
            self.ready.entry(container.template).or_default().insert(turn);
        }
        if container.is_busy() {
            self.busy.insert(container.vmid);
        }
        if let Some(expires_at) = container.expires_at() {
            self.expiring.insert((expires_at, container.vmid));
        }
    }

    pub(super) fn remove(&mut self, container: &Container) {
        if let Some(instance_id) = container.instance_id()
            && self.instances.get(instance_id) == Some(&Place::Container(container.vmid))
        {
            self.instances.remove(instance_id);
        }
        self.clones.remove(&container.clone_id);
        if let Some(turn) = container.turn()
            && let Some(ready) = self.ready.get_mut(&container.template)
        {
            ready.remove(&turn);
            if ready.is_empty() {
                self.ready.remove(&container.template);
            }
        }
        self.busy.remove(&container.vmid);
        if let Some(expires_at) = container.expires_at() {
            self.expiring.remove(&(expires_at, container.vmid));
        }
    }
}

impl Template {
    /// A template of which nothing is known yet.
    pub fn new(node: Option<Node>, linkable: Option<bool>, now: Timestamp) -> Self {
        Self {
            node,
            linkable,
            sizes: SizeOverrides::default(),
            drained: false,
            queue: Vec::new(),
            interrupted: None,
            line: Vec::new(),
            backoff: None,
            failure: None,
            locked_since: None,
            warm_goal: None,
            refresh_before: None,
            last_started: Seq(0),
            idle_since: Some(now),
            clone_ms: None,
            start_ms: None,
            counts: Counts::default(),
        }
    }

    /// It backed off, the pause is over, and no clone of it is under way.
    pub(super) fn may_be_probed(&self, now: Timestamp) -> bool {
        self.backoff.as_ref().is_some_and(|backoff| now >= backoff.until) && self.counts.creating == 0
    }

    /// Nothing of it exists and nobody asks for it. Clones that are tried do not count: they may never work.
    pub fn is_idle(&self) -> bool {
        let made = Counts { creating: 0, ..self.counts };
        made == Counts::default() && self.line.is_empty()
    }
}

impl Counts {
    /// The count that a phase belongs to.
    pub(super) fn of(&mut self, phase: &Phase) -> &mut u32 {
        match phase {
            Phase::Creating(_) => &mut self.creating,
            Phase::Ready { .. } => &mut self.ready,
            Phase::Allocated(_) => &mut self.allocated,
            Phase::Releasing(_) => &mut self.releasing,
            Phase::Removing(_) => &mut self.removing,
            Phase::Quarantined { .. } => &mut self.quarantined,
        }
    }
}

impl Container {
    /// Who holds it, or held it until it began to leave.
    pub fn instance_id(&self) -> Option<&InstanceId> {
        match &self.phase {
            Phase::Allocated(holding) => Some(&holding.instance_id),
            Phase::Releasing(leaving) | Phase::Removing(leaving) => leaving.instance_id.as_ref(),
            Phase::Quarantined { instance_id, .. } => instance_id.as_ref(),
            Phase::Creating(_) | Phase::Ready { .. } => None,
        }
    }

    /// The hold on it, while somebody has it.
    pub fn holding(&self) -> Option<&Holding> {
        match &self.phase {
            Phase::Allocated(holding) => Some(holding),
            Phase::Creating(_)
            | Phase::Ready { .. }
            | Phase::Releasing(_)
            | Phase::Removing(_)
            | Phase::Quarantined { .. } => None,
        }
    }

    /// The clone that makes it, while it is being made.
    pub fn creating(&self) -> Option<&Creating> {
        match &self.phase {
            Phase::Creating(creating) => Some(creating),
            Phase::Ready { .. }
            | Phase::Allocated(_)
            | Phase::Releasing(_)
            | Phase::Removing(_)
            | Phase::Quarantined { .. } => None,
        }
    }

    /// When it is released by itself.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.holding().and_then(|holding| holding.expires_at)
    }

    /// Ready, and surely ours.
    pub fn may_be_handed_out(&self) -> bool {
        self.turn().is_some()
    }

    fn turn(&self) -> Option<Turn> {
        match self.phase {
            Phase::Ready { since } if self.doubt.is_none() => {
                let (vmid, created_seq) = (self.vmid, self.created_seq);
                Some(Turn { used: self.uses > 0, since, created_seq, vmid })
            }
            Phase::Ready { .. }
            | Phase::Creating(_)
            | Phase::Allocated(_)
            | Phase::Releasing(_)
            | Phase::Removing(_)
            | Phase::Quarantined { .. } => None,
        }
    }

    /// The line that its description at PVE has, or gets with its next rename.
    pub fn marker(&self, instance_id: Option<InstanceId>) -> Marker {
        Marker { vmid: self.vmid, clone_id: self.clone_id, template: self.template, instance_id }
    }

    /// What its configuration at PVE is held against.
    pub fn known(&self) -> Known {
        Known {
            vmid: self.vmid,
            clone_id: self.clone_id,
            hostname: self.hostname.clone(),
            instance_id: self.instance_id().cloned(),
        }
    }

    /// Its hostname while nobody holds it.
    pub fn pool_hostname(&self, prefix: &str) -> Hostname {
        pool_hostname(prefix, self.template, self.clone_id)
    }

    /// The hostname that frees its instance's name, if it still has that.
    pub(super) fn rename_back(&self, prefix: &str) -> Option<Hostname> {
        let pool = self.pool_hostname(prefix);
        let named = parse_pool_hostname(prefix, self.hostname.as_str()).is_some();
        (!named).then_some(pool)
    }

    /// Something is to be done with it, or a deadline of it watched.
    fn is_busy(&self) -> bool {
        match &self.phase {
            Phase::Creating(_) | Phase::Releasing(_) | Phase::Removing(_) => true,
            Phase::Allocated(holding) => holding.stage != HandOut::Done,
            Phase::Ready { .. } | Phase::Quarantined { .. } => false,
        }
    }
}
