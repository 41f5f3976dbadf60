//! What belongs to a template or an instance at a place in the log: a small fold that goes along with a cursor.
//!
//! Most events of a container name nothing but its VMID, and VMIDs change hands. So each scope keeps which
//! containers are its own, learns it from the events that say so, and forgets it with those that end it.

use std::collections::BTreeSet;

use super::event::Event;
use super::ids::{AllocationId, InstanceId, Seq, Vmid};
use super::state::{Container, Holding, Phase, State};
use super::time::Timestamp;

/// Where the events begin that a scope is going to see.
#[derive(Clone, Copy, Debug)]
pub struct Begin {
    /// The first event.
    pub seq: Seq,
    /// When it was.
    pub at: Timestamp,
}

/// A template and its containers.
#[derive(Clone, Debug)]
pub struct OfTemplate {
    template: Vmid,
    containers: BTreeSet<Vmid>,
}

/// An instance and what it holds.
#[derive(Clone, Debug)]
pub struct OfInstance {
    instance_id: InstanceId,
    allocation_id: Option<AllocationId>,
    vmid: Option<Vmid>,
}

impl OfTemplate {
    /// Nothing is its own yet.
    pub fn new(template: Vmid) -> Self {
        Self { template, containers: BTreeSet::new() }
    }

    /// Takes over what State knows from before `begin`; everything if that is not said.
    pub fn seed(&mut self, state: &State, begin: Option<Begin>) {
        let own = state.containers.values().filter(|it| it.template == self.template);
        let before = own.filter(|it| begin.is_none_or(|begin| it.created_seq < begin.seq));
        self.containers.extend(before.map(|it| it.vmid));
    }

    /// Whether an event belongs to it. Events are to be shown in order, none left out.
    pub fn has(&mut self, event: &Event) -> bool {
        let (template, vmid) = (event.template(), event.vmid());
        let Some(vmid) = vmid else { return template == Some(self.template) };
        let its = match template {
            Some(template) if template == self.template => {
                self.containers.insert(vmid);
                true
            }
            Some(_) => {
                self.containers.remove(&vmid);
                false
            }
            None => self.containers.contains(&vmid),
        };
        // A clone that fails may leave something behind.
        if matches!(event, Event::Removed(_) | Event::ContainerLost(_)) {
            self.containers.remove(&vmid);
        }
        its
    }
}

impl OfInstance {
    /// It holds nothing yet.
    pub fn new(instance_id: InstanceId) -> Self {
        Self { instance_id, allocation_id: None, vmid: None }
    }

    /// Takes over what State knows from before `begin`; everything if that is not said.
    pub fn seed(&mut self, state: &State, begin: Option<Begin>) {
        // An allocation is nobody else's before or after: it may be known at any place.
        let waiting = state.waiting.iter().find(|(_, waiting)| waiting.instance_id == self.instance_id);
        self.allocation_id = waiting.map(|(allocation_id, _)| *allocation_id);
        let mut containers = state.containers.values();
        let Some(container) = containers.find(|it| it.instance_id() == Some(&self.instance_id)) else {
            return;
        };
        let holding = holding_of(container);
        let is_from_before = begin.is_none_or(|begin| {
            // Its id was made when it was asked for.
            let asked_before = |holding: &Holding| {
                i128::from(holding.allocation_id.0.timestamp_ms()) < i128::from(begin.at.0)
            };
            container.created_seq < begin.seq && holding.is_none_or(asked_before)
        });
        self.vmid = is_from_before.then_some(container.vmid);
        self.allocation_id = holding.map(|holding| holding.allocation_id).or(self.allocation_id);
    }

    /// Whether an event belongs to it. Events are to be shown in order, none left out.
    pub fn has(&mut self, event: &Event) -> bool {
        let named = instance_of(event).is_some_and(|instance_id| *instance_id == self.instance_id);
        if named {
            self.learn(event);
            return true;
        }
        if event.allocation_id().is_some_and(|it| Some(it) == self.allocation_id) {
            if matches!(event, Event::AllocationRequeued(_)) {
                self.vmid = None;
            }
            return true;
        }
        if event.vmid().is_none_or(|vmid| Some(vmid) != self.vmid) {
            return false;
        }
        // It is still somebody else's: State does not say since when it is the instance's.
        if event.allocation_id().is_some() || instance_of(event).is_some() {
            self.vmid = None;
            return false;
        }
        if ends_hold(event) {
            self.vmid = None;
        }
        true
    }

    /// What an event that names the instance says of it. An answered allocation outlives a look at it that is
    /// cancelled or fails.
    fn learn(&mut self, event: &Event) {
        match event {
            Event::Allocated(it) => (self.allocation_id, self.vmid) = (Some(it.allocation_id), Some(it.vmid)),
            Event::AllocationCompleted(it) => {
                (self.allocation_id, self.vmid) = (Some(it.allocation_id), Some(it.vmid));
            }
            Event::ContainerDiscovered(it) => {
                (self.allocation_id, self.vmid) = (Some(AllocationId::of_found(it.clone_id)), Some(it.vmid));
            }
            Event::ReleaseRequested(it) => self.vmid = Some(it.vmid),
            _ if ends_hold(event) => (self.allocation_id, self.vmid) = (None, None),
            _ => {}
        }
    }
}

/// The hold on a container, also while it leaves: a release that is refused gives it back.
fn holding_of(container: &Container) -> Option<&Holding> {
    match &container.phase {
        Phase::Allocated(holding) => Some(holding),
        Phase::Releasing(leaving) | Phase::Removing(leaving) => leaving.holding.as_deref(),
        Phase::Creating(_) | Phase::Ready { .. } | Phase::Quarantined { .. } => None,
    }
}

/// Whoever held the container does no longer.
fn ends_hold(event: &Event) -> bool {
    matches!(event, Event::Released(_) | Event::Removed(_) | Event::ContainerLost(_))
}

/// The instance that an event names.
fn instance_of(event: &Event) -> Option<&InstanceId> {
    match event {
        Event::AllocationQueued(it) => Some(&it.instance_id),
        Event::Allocated(it) => Some(&it.instance_id),
        Event::AllocationCompleted(it) => Some(&it.instance_id),
        Event::AllocationCancelled(it) => Some(&it.instance_id),
        Event::AllocationFailed(it) => Some(&it.instance_id),
        Event::ContainerDiscovered(it) => it.instance_id.as_ref(),
        Event::ContainerLost(it) => it.instance_id.as_ref(),
        Event::ReleaseRequested(it) => it.instance_id.as_ref(),
        Event::Released(it) => it.instance_id.as_ref(),
        Event::Removed(it) => it.instance_id.as_ref(),
        _ => None,
    }
}
