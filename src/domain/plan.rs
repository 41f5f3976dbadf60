//! What should be running at PVE right now, as a function of State and the time.
//!
//! It remembers nothing: the provisioner runs what is not running yet, and asks again after each event.

use std::time::Duration;

use super::event::ClonePurpose;
use super::ids::{CloneId, Hostname, Node, Seq, Upid, Vmid};
use super::marker::{Known, Marker};
use super::settings::Settings;
use super::state::{
    CloneStage, Container, Creating, HandOut, Phase, ServicePhase, State, TEMPLATE_REST, Template,
};
use super::time::Timestamp;

/// For how long after it was sent a clone of unknown outcome is looked for.
pub const CLONE_SEARCH: Duration = Duration::from_mins(1);

/// What should be running, most urgent first, and when the answer changes by itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// At most one for each [`ActionKey`].
    pub actions: Vec<Action>,
    /// The next instant at which a rule or this plan has something new to say.
    pub wake_at: Option<Timestamp>,
}

/// Work at PVE, with everything chosen.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Ask until PVE answers again.
    ProbePve,
    /// Look up what a clone's choices need: the template's node, lock, kind, and the VMIDs in use.
    PrepareClone {
        /// The queued clone.
        clone_id: CloneId,
        /// Its template.
        template: Vmid,
        /// The only node that it may be made on.
        node: Option<Node>,
        /// Whether the storage can make linked clones, if that is known.
        linkable: Option<bool>,
    },
    /// Ask PVE for the clone.
    SendClone {
        /// The new container.
        target: Target,
        /// Its template.
        template: Vmid,
        /// Its description.
        marker: Marker,
        /// Whether it gets its own copy of the disk.
        full: bool,
        /// PVE's resource pool to put it into.
        resource_pool: Option<String>,
    },
    /// Find out whether a clone of unknown outcome was made.
    FindClone {
        /// The container that it would be.
        target: Target,
        /// Its template.
        template: Vmid,
        /// PVE heard of it after this, if at all.
        sent_after: Timestamp,
        /// Nothing seen by then means that it was never made.
        give_up_at: Timestamp,
    },
    /// Follow the clone's task to its end and make the container ready.
    FollowClone {
        /// The new container.
        target: Target,
        /// Its template.
        template: Vmid,
        /// PVE's task.
        upid: Upid,
        /// When it was asked for.
        started_at: Timestamp,
        /// How long such a clone takes, if one is known.
        expected: Option<Duration>,
    },
    /// Look at the container and give it the instance's hostname and description.
    Rename {
        /// The container.
        target: Target,
        /// Its new description; its instance is the new hostname.
        marker: Marker,
        /// The instance had it before: it may run, and nothing is written if it has its name.
        resumed: bool,
    },
    /// Start the container.
    Start {
        /// The container.
        target: Target,
        /// How long such a start takes, if one is known.
        expected: Option<Duration>,
    },
    /// Stop the container and give it a pool hostname again.
    Park {
        /// The container.
        target: Target,
        /// Its hostname from then on.
        hostname: Hostname,
        /// Its description from then on.
        marker: Marker,
    },
    /// Stop the container, free its instance's hostname, and destroy it.
    Destroy {
        /// The container.
        target: Target,
        /// The pool hostname that it gets before, if it has an instance's.
        rename_back: Option<Hostname>,
        /// The description that it gets with that hostname: one call sets both, so that they go together
        /// also when its answer is lost.
        marker: Marker,
    },
}

/// A container that an action is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its VMID.
    pub vmid: Vmid,
    /// Its clone.
    pub clone_id: CloneId,
    /// The node that it is on.
    pub node: Node,
    /// What its configuration is held against before anything is written.
    pub known: Known,
    /// The container's last event when this was planned; observations carry it back.
    pub as_of: Seq,
}

/// What can have one action at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActionKey {
    /// PVE as a whole.
    Pve,
    /// The lane of a template.
    Template(Vmid),
    /// A container.
    Container(Vmid),
}

impl Action {
    /// What the action keeps busy.
    pub fn key(&self) -> ActionKey {
        match self {
            Self::ProbePve => ActionKey::Pve,
            Self::PrepareClone { template, .. } => ActionKey::Template(*template),
            Self::SendClone { target, .. }
            | Self::FindClone { target, .. }
            | Self::FollowClone { target, .. }
            | Self::Rename { target, .. }
            | Self::Start { target, .. }
            | Self::Park { target, .. }
            | Self::Destroy { target, .. } => ActionKey::Container(target.vmid),
        }
    }

    /// The event that led to it.
    pub fn cause(&self) -> Option<Seq> {
        match self {
            Self::ProbePve | Self::PrepareClone { .. } => None,
            Self::SendClone { target, .. }
            | Self::FindClone { target, .. }
            | Self::FollowClone { target, .. }
            | Self::Rename { target, .. }
            | Self::Start { target, .. }
            | Self::Park { target, .. }
            | Self::Destroy { target, .. } => Some(target.as_of),
        }
    }
}

/// What should be running at `now`.
pub fn plan(state: &State, now: Timestamp) -> Plan {
    let mut actions = match state.service.phase {
        ServicePhase::Stopped => return Plan::default(),
        _ if !state.pve_reachable() => vec![Action::ProbePve],
        ServicePhase::Stopping => container_actions(state, now, |container| container.holding().is_some()),
        ServicePhase::Running => {
            let mut actions = container_actions(state, now, |_| true);
            actions.extend(lane(state, now));
            actions
        }
    };
    actions.sort_by_key(urgency);
    Plan { actions, wake_at: wake_at(state, now) }
}

/// Hand-outs first, then what somebody may wait for.
fn urgency(action: &Action) -> u8 {
    match action {
        Action::ProbePve => 0,
        Action::Rename { .. } | Action::Start { .. } => 1,
        Action::SendClone { .. } | Action::FollowClone { .. } | Action::FindClone { .. } => 2,
        Action::PrepareClone { .. } => 3,
        Action::Park { .. } => 4,
        Action::Destroy { .. } => 5,
    }
}

/// One action for each container that something is to be done with.
fn container_actions(state: &State, now: Timestamp, wanted: impl Fn(&Container) -> bool) -> Vec<Action> {
    state
        .busy()
        .filter(|container| container.delay.as_ref().is_none_or(|delay| delay.until <= now))
        .filter(|container| container.doubt.is_none() && wanted(container))
        .filter_map(|container| container_action(state, container))
        .collect()
}

fn container_action(state: &State, container: &Container) -> Option<Action> {
    let target = Target {
        vmid: container.vmid,
        clone_id: container.clone_id,
        node: container.node.clone(),
        known: container.known(),
        as_of: container.touched,
    };
    match &container.phase {
        Phase::Creating(creating) => Some(clone_action(state, container, creating, target)),
        // Nobody would hear the answer: it goes on when its instance is asked for again.
        Phase::Allocated(holding) if holding.orphaned => None,
        Phase::Allocated(holding) => match holding.stage {
            HandOut::Renaming => Some(Action::Rename {
                target,
                marker: container.marker(Some(holding.instance_id.clone())),
                resumed: holding.completed_at.is_some(),
            }),
            HandOut::Starting => Some(Action::Start {
                target,
                expected: milliseconds(state.template(container.template).and_then(|t| t.start_ms)),
            }),
            HandOut::Done => None,
        },
        Phase::Releasing(_) => Some(Action::Park {
            target,
            hostname: container.pool_hostname(&state.settings.hostname_prefix),
            marker: container.marker(None),
        }),
        Phase::Removing(_) => Some(Action::Destroy {
            target,
            rename_back: container.rename_back(&state.settings.hostname_prefix),
            marker: container.marker(None),
        }),
        Phase::Ready { .. } | Phase::Quarantined { .. } => None,
    }
}

fn clone_action(state: &State, container: &Container, creating: &Creating, target: Target) -> Action {
    let template = container.template;
    match &creating.stage {
        CloneStage::Sending => Action::SendClone {
            target,
            template,
            marker: container.marker(None),
            full: !creating.linked,
            resource_pool: state.settings.resource_pool.clone(),
        },
        CloneStage::Uncertain => Action::FindClone {
            target,
            template,
            sent_after: creating.started_at,
            give_up_at: creating.started_at.after(CLONE_SEARCH),
        },
        CloneStage::Running { upid } => Action::FollowClone {
            target,
            template,
            upid: upid.clone(),
            started_at: creating.started_at,
            expected: milliseconds(state.template(template).and_then(|t| t.clone_ms)),
        },
    }
}

/// The clones that the lane has room for.
fn lane(state: &State, now: Timestamp) -> Vec<Action> {
    let mut candidates: Vec<(ClonePurpose, Seq, Action)> = state
        .templates
        .iter()
        .filter(|(_, template)| lane_is_open(template))
        .filter_map(|(vmid, template)| {
            // A refused clone goes first again, so that nobody else meets the same refusal meanwhile.
            let queued = template.queue.first().filter(|queued| queued.not_before <= now)?;
            let action = Action::PrepareClone {
                clone_id: queued.clone_id,
                template: *vmid,
                node: state.settings.node.as_deref().map(Node::from),
                linkable: template.linkable,
            };
            Some((next_purpose(state, *vmid, template), template.last_started, action))
        })
        .filter(|(purpose, _, _)| may_be_cloned_for(state, *purpose))
        .collect();
    candidates.sort_by_key(|(purpose, last_started, _)| (*purpose, *last_started));
    candidates.into_iter().map(|(_, _, action)| action).take(free_places(state, now)).collect()
}

/// Until PVE was compared with State, there may be containers that are not known: only who waits gets clones.
pub(super) fn may_be_cloned_for(state: &State, purpose: ClonePurpose) -> bool {
    state.service.reconciled || purpose == ClonePurpose::Waiter
}

/// Whether a template may have a clone started: one at a time, and none while it is drained.
pub(super) fn lane_is_open(template: &Template) -> bool {
    template.counts.creating == 0 && !template.drained
}

/// How many clones may be started now, over all templates.
pub(super) fn free_places(state: &State, now: Timestamp) -> usize {
    let under_way = state.busy().filter(|container| holds_lane(state, container, now)).count();
    (state.settings.clone_concurrency as usize).saturating_sub(under_way)
}

/// A clone that runs too long, or whose node does not answer, keeps nobody else from cloning.
fn holds_lane(state: &State, container: &Container, now: Timestamp) -> bool {
    container.creating().is_some_and(|creating| {
        container.delay.is_none() && now < creating.started_at.after(clone_timeout(state))
    })
}

fn clone_timeout(state: &State) -> Duration {
    Settings::seconds(state.settings.clone_timeout_seconds)
}

/// What the template's next clone is for, as things are now; none is under way.
pub(super) fn next_purpose(state: &State, vmid: Vmid, template: &Template) -> ClonePurpose {
    let sizes = state.sizes(vmid);
    let waiting = u32::try_from(template.line.len()).unwrap_or(u32::MAX);
    let ready = state.ready_count(vmid);
    if template.backoff.is_some() {
        ClonePurpose::Probe
    } else if waiting > ready {
        ClonePurpose::Waiter
    } else if ready - waiting < sizes.min {
        ClonePurpose::Urgent
    } else if ready - waiting < sizes.target {
        ClonePurpose::Refill
    } else {
        ClonePurpose::Warm
    }
}

/// The next instant at which time alone changes what is due.
pub fn wake_at(state: &State, now: Timestamp) -> Option<Timestamp> {
    let waiting = state.waiting.values().map(|waiting| waiting.deadline);
    let containers = state.busy().flat_map(|container| {
        let lane = container.creating().map(|creating| creating.started_at.after(clone_timeout(state)));
        let hand_out = container.holding().map(|holding| holding.deadline);
        let delay = container.delay.as_ref().map(|delay| delay.until);
        [lane, hand_out, delay].into_iter().flatten()
    });
    let templates = state.templates.values().flat_map(|template| {
        let idle = template.idle_since.map(|since| since.after(TEMPLATE_REST));
        let backoff = template.backoff.as_ref().map(|backoff| backoff.until);
        let queued = template.queue.iter().map(|queued| queued.not_before);
        idle.into_iter().chain(backoff).chain(queued)
    });
    // One in doubt is past its time and stays: it does not hide those behind it.
    let expiring = state.expiring().find(|at| *at > now);
    waiting.chain(containers).chain(templates).chain(expiring).filter(|at| *at > now).min()
}

fn milliseconds(number: Option<u64>) -> Option<Duration> {
    number.map(Duration::from_millis)
}
