//! How containers leave their holder, and the pool.

use std::time::Duration;

use crate::domain::event::{
    LeaveReason, ReleaseFailed, ReleaseRequested, Released, RemovalFailed, RemovalRequested, Removed,
};
use crate::domain::state::{Delay, HandOut, Leaving, Phase, State};

/// An expired container whose release PVE refuses is left to its holder for this long.
const EXPIRY_PAUSE: Duration = Duration::from_mins(1);

impl State {
    pub(super) fn release_requested(&mut self, e: &ReleaseRequested) {
        let since = self.at;
        self.update(e.vmid, |container| {
            let holding = container.holding().cloned();
            let used = holding.as_ref().is_some_and(|holding| holding.stage != HandOut::Renaming);
            let answered = holding.as_ref().is_some_and(|holding| holding.completed_at.is_some());
            container.uses += u32::from(used && !answered);
            container.delay = None;
            container.phase = Phase::Releasing(Leaving {
                instance_id: e.instance_id.clone(),
                by: e.by,
                since,
                used: used || answered,
                holding: holding.filter(|_| answered).map(Box::new),
            });
        });
    }

    pub(super) fn released(&mut self, e: &Released) {
        let since = self.at;
        self.update(e.vmid, |container| {
            container.hostname = e.hostname.clone();
            container.delay = None;
            container.phase = Phase::Ready { since };
        });
    }

    pub(super) fn release_failed(&mut self, e: &ReleaseFailed) {
        let at = self.at;
        self.update(e.vmid, |container| {
            let Phase::Releasing(leaving) = &mut container.phase else { return };
            match (e.retry_at, leaving.holding.take()) {
                (None, Some(mut holding)) => {
                    holding.stage = HandOut::Done;
                    // Its time to live may be what asked for the release: not again at once.
                    holding.expires_at =
                        holding.expires_at.map(|expires_at| expires_at.max(at.after(EXPIRY_PAUSE)));
                    container.phase = Phase::Allocated(*holding);
                }
                (retry_at, holding) => {
                    leaving.holding = holding;
                    let attempt = container.delay.as_ref().map_or(0, |delay| delay.attempt) + 1;
                    let until = retry_at.unwrap_or(at);
                    container.delay = Some(Delay { fault: e.fault.clone(), attempt, until });
                }
            }
        });
    }

    pub(super) fn removal_requested(&mut self, e: &RemovalRequested) {
        let (by, since) = (e.by, self.at);
        self.update(e.vmid, |container| {
            if let Phase::Creating(creating) = &mut container.phase
                && by != LeaveReason::CloneFailed
            {
                creating.unwanted = Some(by);
                return;
            }
            let instance_id = container.instance_id().cloned();
            container.delay = None;
            container.phase = Phase::Removing(Leaving { instance_id, by, since, used: true, holding: None });
        });
    }

    pub(super) fn removed(&mut self, e: &Removed) {
        self.drop_container(e.vmid);
    }

    pub(super) fn removal_failed(&mut self, e: &RemovalFailed) {
        self.update(e.vmid, |container| {
            container.delay = Some(Delay { fault: e.fault.clone(), attempt: e.attempt, until: e.retry_at });
        });
    }
}
