//! Compares PVE's inventory with State at start-up and at each tick, and reports what differs.
//!
//! Lists only nominate; a read of the one container decides. It changes nothing at PVE and nothing in State.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::domain::command::Observation;
use crate::domain::fault::Fault;
use crate::domain::state::{ServicePhase, State};
use crate::engine::{Engine, Published, watch};
use crate::provision::report::report;
use crate::provision::site::Site;
use crate::pve::Pve;

mod inventory;

mod known;
mod stranger;

mod compare;

#[cfg(test)]
mod tests;

use compare::{Compared, compare};
use stranger::Strangers;

/// For how long the first comparison since a start is made again because it could not read everything, and the
/// pause before each: until then an instance may have a container that is not known, and would be given a second.
const AGAIN: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(1));

/// Compares at once, whenever PVE answers again, and every `interval`, until `stop` or the engine's end. In a log
/// that is `new`, PVE was never looked at: only what the comparison finds is known to be somebody's.
pub async fn run(
    engine: Engine,
    pve: Pve,
    clock: Clock,
    interval: Duration,
    new: bool,
    stop: CancellationToken,
) {
    let work = async {
        let mut published = engine.watch();
        let mut strangers = Strangers::default();
        let mut give_up = None;
        while until(&mut published, may_compare).await {
            let seen = engine.published();
            let site = Site::new(pve.clone(), clock);
            let compared = compare(&site, &seen.state, &mut strangers).await;
            let early = too_early(&seen.state, &compared);
            let again =
                early.is_some() && clock.now() < *give_up.get_or_insert_with(|| clock.now().after(AGAIN.0));
            let observation = match early {
                Some(fault) if again => {
                    tracing::warn!(%fault, "PVE does not show all that it has: it is looked at again before it is used");
                    None
                }
                Some(fault) if new && fault.kind.is_silence() => Some(Observation::ReconcileFailed { fault }),
                Some(_) | None => reconciled(&seen, compared),
            };
            if !tell(&engine, &site, observation).await {
                return;
            }
            tokio::select! {
                biased;
                () = clock.sleep(if again { AGAIN.1 } else { interval }) => {}
                _ = until(&mut published, |published| !published.state.pve_reachable()) => {}
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = work => {}
    }
}

/// Whether a comparison would be of use now.
fn may_compare(published: &Published) -> bool {
    let state: &State = &published.state;
    state.service.phase == ServicePhase::Running && state.pve_reachable() && published.unwritable.is_none()
}

/// Returns when the condition holds; false if the engine has ended before.
async fn until(
    published: &mut watch::Receiver<Published>,
    condition: impl FnMut(&Published) -> bool,
) -> bool {
    published.wait_for(condition).await.is_ok()
}

/// Why a comparison says too little to be the first, if it does and another may say more soon.
fn too_early(state: &State, compared: &Result<Compared, Fault>) -> Option<Fault> {
    let fault = match compared {
        Ok(compared) => compared.unread.as_ref(),
        Err(fault) => Some(fault).filter(|fault| !fault.kind.is_permanent()),
    };
    fault.filter(|_| !state.service.reconciled).cloned()
}

/// Reports what a comparison came to; false if the engine has ended.
async fn tell(engine: &Engine, site: &Site, observation: Option<Observation>) -> bool {
    let outage = site.outage().map(|reason| Observation::PveUnreachable { reason });
    // That nobody answers says enough.
    let observation =
        observation.filter(|it| outage.is_none() || !matches!(it, Observation::ReconcileFailed { .. }));
    for observation in [outage, observation].into_iter().flatten() {
        if report(engine, site.clock, observation, None).await.is_none() {
            return false;
        }
    }
    true
}

/// What there is to report: a comparison without findings is news only if it is the first, or the first
/// that succeeds again.
fn reconciled(seen: &Published, compared: Result<Compared, Fault>) -> Option<Observation> {
    let service = &seen.state.service;
    match compared {
        Ok(Compared { findings, .. }) => {
            let is_news = !findings.is_empty() || !service.reconciled || service.reconcile_fault.is_some();
            is_news.then_some(Observation::Reconciled { as_of: seen.head, findings })
        }
        Err(fault) => {
            tracing::debug!(%fault, "PVE's inventory cannot be had");
            Some(Observation::ReconcileFailed { fault })
        }
    }
}
