//! How many clones are queued: as many as waiters and targets need, no more, and within the caps.

use super::Tx;
use crate::domain::event::{CloneCancelled, ClonePurpose};
use crate::domain::ids::{AllocationId, Vmid};
use crate::domain::time::Timestamp;

/// Clones for stock that one template has queued at most: more are queued as these are made.
const MOST_QUEUED: u32 = 500;

/// Clones that a template needs beyond what is ready and coming.
#[derive(Clone, Copy, Debug, Default)]
struct Need {
    /// For allocations in line.
    waiters: u32,
    /// For the inventory.
    refill: u32,
    /// The part of that without which the inventory is below its minimum.
    urgent: u32,
    /// Inventory that there will be without them.
    inventory: u32,
}

impl Tx<'_> {
    /// Queues what is missing and cancels what is too much.
    pub(super) fn size_queues(&mut self, templates: &[Vmid]) {
        let mut needs: Vec<(Vmid, Need)> = templates.iter().map(|vmid| (*vmid, self.need(*vmid))).collect();
        let wanted =
            needs.iter().fold(0, |sum: u32, (_, need)| sum.saturating_add(need.waiters + need.refill));
        let room = self.room();
        if wanted > room {
            self.share(&mut needs, room);
        }
        for (vmid, need) in needs {
            self.size_queue(vmid, need);
        }
    }

    /// Cuts needs down to the room: the longest waiting first, then urgent refills, then the others, and
    /// templates in turns.
    fn share(&self, needs: &mut [(Vmid, Need)], mut room: u32) {
        let mut waiting: Vec<(Timestamp, AllocationId, usize)> = Vec::new();
        for (place, (vmid, need)) in needs.iter_mut().enumerate() {
            let line = self.template(*vmid).map(|template| template.line.as_slice()).unwrap_or_default();
            let unserved = line.iter().rev().take(need.waiters as usize);
            let asked = |id: &AllocationId| self.state.waiting.get(id).map(|w| (w.asked_at, *id, place));
            waiting.extend(unserved.filter_map(asked));
            need.waiters = 0;
        }
        waiting.sort_unstable();
        for (_, _, place) in waiting.into_iter().take(room as usize) {
            needs[place].1.waiters += 1;
            room -= 1;
        }
        let wanted: Vec<Need> = needs.iter().map(|(_, need)| *need).collect();
        for (_, need) in needs.iter_mut() {
            need.refill = 0;
        }
        for most in [|need: &Need| need.urgent, |need: &Need| need.refill] {
            while room > 0 {
                let before = room;
                for ((_, need), wanted) in needs.iter_mut().zip(&wanted) {
                    if need.refill < most(wanted) && room > 0 {
                        need.refill += 1;
                        room -= 1;
                    }
                }
                if room == before {
                    break;
                }
            }
        }
    }

    fn need(&self, vmid: Vmid) -> Need {
        let Some(template) = self.template(vmid).filter(|template| !template.drained) else {
            return Need::default();
        };
        let sizes = self.state.sizes(vmid);
        let waiting = u32::try_from(template.line.len()).unwrap_or(u32::MAX);
        let coming = self.state.ready_count(vmid) + self.coming(vmid);
        let warm = template.warm_goal.unwrap_or(0).min(sizes.max);
        let replacing = template.refresh_before.is_some() && sizes.target > 0;
        let goal = sizes.target.max(warm).saturating_add(u32::from(replacing));
        let missing = waiting.saturating_add(goal).saturating_sub(coming);
        if template.backoff.is_some() {
            let probe = missing > 0 && template.may_be_probed(self.now);
            return Need { waiters: 0, refill: u32::from(probe), urgent: 0, inventory: coming };
        }
        let waiters = waiting.saturating_sub(coming);
        let refill = missing - waiters;
        let batch = match self.state.settings.replenish_batch_size {
            0 => MOST_QUEUED,
            batch => batch.min(MOST_QUEUED),
        };
        let (refill, inventory) = (refill.min(batch), coming.saturating_sub(waiting));
        Need { waiters, refill, urgent: refill.min(sizes.min.saturating_sub(inventory)), inventory }
    }

    /// Places left under the cap on all containers.
    pub(super) fn room(&self) -> u32 {
        let total = u32::try_from(self.state.containers.len()).unwrap_or(u32::MAX);
        match self.state.settings.max_total {
            0 => u32::MAX,
            cap => cap.saturating_sub(total),
        }
    }

    fn size_queue(&mut self, template: Vmid, need: Need) {
        let wanted = need.waiters + need.refill;
        let queued = self.template(template).map_or(0, |t| u32::try_from(t.queue.len()).unwrap_or(u32::MAX));
        for nth in queued..wanted {
            let purpose = self.purpose_of(template, need, nth);
            self.queue_clone(template, purpose);
        }
        for _ in wanted..queued {
            let last = self.template(template).and_then(|t| t.queue.last()).map(|queued| queued.clone_id);
            if let Some(clone_id) = last {
                self.emit(CloneCancelled { clone_id, template });
            }
        }
    }

    /// What the nth clone of a need is for.
    fn purpose_of(&self, template: Vmid, need: Need, nth: u32) -> ClonePurpose {
        let sizes = self.state.sizes(template);
        let backed_off = self.template(template).is_some_and(|template| template.backoff.is_some());
        if backed_off {
            return ClonePurpose::Probe;
        }
        let Some(beyond_waiters) = nth.checked_sub(need.waiters) else { return ClonePurpose::Waiter };
        match need.inventory.saturating_add(beyond_waiters) {
            inventory if inventory < sizes.min => ClonePurpose::Urgent,
            inventory if inventory < sizes.target => ClonePurpose::Refill,
            _ => ClonePurpose::Warm,
        }
    }
}
