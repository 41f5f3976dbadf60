//! Compares PVE's inventory with State at start-up and at each tick, and reports what differs.
//!
//! Lists only nominate; a read of the one container decides. It changes nothing at PVE and nothing in State.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::domain::command::{Finding, Observation};
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

use compare::compare;
use stranger::Strangers;

/// Compares at once, whenever PVE answers again, and every `interval`, until `stop` or the engine's end.
pub async fn run(engine: Engine, pve: Pve, clock: Clock, interval: Duration, stop: CancellationToken) {
    let work = async {
        let mut published = engine.watch();
        let mut strangers = Strangers::default();
        while until(&mut published, may_compare).await {
            let seen = engine.published();
            let site = Site::new(pve.clone(), clock);
            if !round(&engine, &site, &seen, &mut strangers).await {
                return;
            }
            tokio::select! {
                biased;
                () = clock.sleep(interval) => {}
                goes_on = comes_back(&mut published) => if !goes_on { return },
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

/// Returns when PVE answers again after it did not; false if the engine has ended before.
async fn comes_back(published: &mut watch::Receiver<Published>) -> bool {
    until(published, |published| !published.state.pve_reachable()).await
        && until(published, |published| published.state.pve_reachable()).await
}

async fn until(
    published: &mut watch::Receiver<Published>,
    condition: impl FnMut(&Published) -> bool,
) -> bool {
    published.wait_for(condition).await.is_ok()
}

/// One comparison; false if the engine has ended.
async fn round(engine: &Engine, site: &Site, seen: &Published, strangers: &mut Strangers) -> bool {
    let observation = match compare(site, &seen.state, strangers).await {
        Ok(findings) => reconciled(seen, findings),
        Err(fault) => {
            tracing::debug!(%fault, "PVE's inventory cannot be had");
            // An outage has a report of its own.
            site.outage().is_none().then_some(Observation::ReconcileFailed { fault })
        }
    };
    let outage = site.outage().map(|reason| Observation::PveUnreachable { reason });
    for observation in [outage, observation].into_iter().flatten() {
        if report(engine, site.clock, observation, None).await.is_none() {
            return false;
        }
    }
    true
}

/// What there is to report: a comparison without findings is news only if it is the first, or the first
/// that succeeds again.
fn reconciled(seen: &Published, findings: Vec<Finding>) -> Option<Observation> {
    let is_news = !findings.is_empty()
        || !seen.state.service.reconciled
        || seen.state.service.reconcile_fault.is_some();
    is_news.then_some(Observation::Reconciled { as_of: seen.head, findings })
}
