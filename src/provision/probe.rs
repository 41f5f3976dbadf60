//! Asks until PVE answers again.

use std::time::Duration;

use super::site::Site;
use crate::domain::command::Observation;
use crate::domain::fault::FaultKind;

/// Pauses between two questions; the last is kept.
const PAUSES: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(5)];

/// How long somebody may take to say that PVE is there, when something else was just not answered.
const SECOND_OPINION: Duration = Duration::from_secs(5);

/// Whether PVE answers now, be it with a refusal. A call alone may be lost, or take PVE longer than it is waited
/// for, while everything else is well.
pub(super) async fn is_reachable(site: &Site) -> bool {
    tokio::select! {
        answers = answers(site) => answers,
        () = site.clock.sleep(SECOND_OPINION) => false,
    }
}

/// Returns when PVE answers.
pub(super) async fn until_reachable(site: &Site) -> Observation {
    let last = PAUSES[PAUSES.len() - 1];
    let mut pauses = PAUSES.into_iter();
    while !answers(site).await {
        site.clock.sleep(pauses.next().unwrap_or(last)).await;
    }
    Observation::PveReachable
}

async fn answers(site: &Site) -> bool {
    match site.pve.version().await {
        Ok(_) => true,
        // A proxy's word that PVE is down is no answer of PVE.
        Err(error) if error.status.is_some() && error.kind != FaultKind::OutcomeUnknown => {
            tracing::warn!(%error, "PVE answers, but not as it should");
            true
        }
        Err(error) => {
            tracing::debug!(%error, "PVE does not answer yet");
            false
        }
    }
}
