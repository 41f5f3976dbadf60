//! Who waits for which event, and noticing when nobody does any more.
//!
//! An outcome is told once its event is durable. It is in memory only: whoever waits is a connection of this
//! process.

use std::collections::HashMap;

use tokio::sync::{mpsc, oneshot};

use crate::domain::command::Reply;
use crate::domain::event::{Envelope, Event};
use crate::domain::ids::{AllocationId, Vmid};

/// The end of what a command began. Dropping it says that its caller no longer waits.
#[derive(Debug)]
pub struct Outcome {
    ended: oneshot::Receiver<Envelope>,
    leaving: Option<(AllocationId, mpsc::UnboundedSender<AllocationId>)>,
}

impl Outcome {
    /// The event that ended it; none if the engine ended before.
    pub async fn ended(mut self) -> Option<Envelope> {
        (&mut self.ended).await.ok()
    }
}

#[cfg(test)]
impl Outcome {
    /// An outcome whose end a test tells.
    pub(crate) fn for_tests() -> (oneshot::Sender<Envelope>, Self) {
        let (end, ended) = oneshot::channel();
        (end, Self { ended, leaving: None })
    }
}

impl Drop for Outcome {
    fn drop(&mut self) {
        // Closed first, so that whoever hears of the leaving finds the place empty.
        self.ended.close();
        if let Some((allocation_id, leavers)) = self.leaving.take() {
            // The engine has ended: nobody needs to know.
            let _ = leavers.send(allocation_id);
        }
    }
}

/// What somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Awaited {
    Allocation(AllocationId),
    Leaving(Vmid),
}

/// Everybody who waits.
#[derive(Debug)]
pub(super) struct Outcomes {
    waiting: HashMap<Awaited, Vec<oneshot::Sender<Envelope>>>,
    leavers: mpsc::UnboundedSender<AllocationId>,
}

impl Outcomes {
    /// Nobody waits. The receiver hears of allocations that a caller left.
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<AllocationId>) {
        let (leavers, left) = mpsc::unbounded_channel();
        (Self { waiting: HashMap::new(), leavers }, left)
    }

    /// A place for whoever gets this reply, if there is something to wait for.
    pub(super) fn of(&mut self, reply: &Reply) -> Option<Outcome> {
        let (awaited, leaving) = match reply {
            Reply::Allocating { allocation_id } => {
                (Awaited::Allocation(*allocation_id), Some((*allocation_id, self.leavers.clone())))
            }
            Reply::Leaving { vmid, .. } => (Awaited::Leaving(*vmid), None),
            Reply::Done | Reply::Warming { .. } => return None,
        };
        let (teller, ended) = oneshot::channel();
        let waiting = self.waiting.entry(awaited).or_default();
        waiting.retain(|teller| !teller.is_closed());
        waiting.push(teller);
        Some(Outcome { ended, leaving })
    }

    /// Tells those who wait for this event.
    pub(super) fn tell(&mut self, envelope: &Envelope) {
        let Some(tellers) = ends(&envelope.event).and_then(|awaited| self.waiting.remove(&awaited)) else {
            return;
        };
        for teller in tellers {
            // It left in this moment: its own drop takes care of that.
            let _ = teller.send(envelope.clone());
        }
    }

    /// Whether somebody waits for an allocation.
    pub(super) fn is_awaited(&self, allocation_id: AllocationId) -> bool {
        let tellers = self.waiting.get(&Awaited::Allocation(allocation_id));
        tellers.is_some_and(|tellers| tellers.iter().any(|teller| !teller.is_closed()))
    }

    /// Whether nobody waits for an allocation any more that somebody waited for.
    pub(super) fn is_left(&mut self, allocation_id: AllocationId) -> bool {
        let awaited = Awaited::Allocation(allocation_id);
        let Some(tellers) = self.waiting.get_mut(&awaited) else { return false };
        tellers.retain(|teller| !teller.is_closed());
        let left = tellers.is_empty();
        if left {
            self.waiting.remove(&awaited);
        }
        left
    }
}

/// What an event is the end of.
fn ends(event: &Event) -> Option<Awaited> {
    match event {
        Event::AllocationCompleted(e) => Some(Awaited::Allocation(e.allocation_id)),
        Event::AllocationCancelled(e) => Some(Awaited::Allocation(e.allocation_id)),
        Event::AllocationFailed(e) => Some(Awaited::Allocation(e.allocation_id)),
        Event::Released(e) => Some(Awaited::Leaving(e.vmid)),
        Event::ReleaseFailed(e) => Some(Awaited::Leaving(e.vmid)),
        Event::Removed(e) => Some(Awaited::Leaving(e.vmid)),
        Event::RemovalFailed(e) => Some(Awaited::Leaving(e.vmid)),
        Event::ContainerLost(e) => Some(Awaited::Leaving(e.vmid)),
        Event::ContainerQuarantined(e) => Some(Awaited::Leaving(e.vmid)),
        Event::OwnershipDoubted(e) => Some(Awaited::Leaving(e.vmid)),
        _ => None,
    }
}
