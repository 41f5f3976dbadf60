//! Asks until PVE answers again.

use std::time::Duration;

use super::site::Site;
use crate::domain::command::Observation;
use crate::domain::fault::FaultKind;

/// Pauses between two questions; the last is kept.
const PAUSES: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(5)];

/// Returns when PVE answers, be it with a refusal.
pub(super) async fn until_reachable(site: &Site) -> Observation {
    let last = PAUSES[PAUSES.len() - 1];
    let mut pauses = PAUSES.into_iter();
    loop {
        match site.pve.version().await {
            Ok(_) => return Observation::PveReachable,
            // A proxy's word that PVE is down is no answer of PVE.
            Err(error) if error.status.is_some() && error.kind != FaultKind::OutcomeUnknown => {
                tracing::warn!(%error, "PVE answers, but not as it should");
                return Observation::PveReachable;
            }
            Err(error) => tracing::debug!(%error, "PVE does not answer yet"),
        }
        site.clock.sleep(pauses.next().unwrap_or(last)).await;
    }
}
