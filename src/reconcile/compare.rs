//! One comparison of PVE's inventory with State.

use std::collections::BTreeMap;

use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::{self, StreamExt as _};

use super::inventory::{Inventory, Listed, list, silence_first};
use super::known;
use super::stranger::{self, Sighting, Strangers};
use crate::domain::command::Finding;
use crate::domain::fault::Fault;
use crate::domain::ids::{Node, Vmid};
use crate::domain::state::State;
use crate::provision::site::Site;

/// Reads under way at one node: hand-outs go first.
const READS: usize = 2;

/// What a comparison came to.
#[derive(Debug, PartialEq)]
pub(super) struct Compared {
    /// What differs.
    pub(super) findings: Vec<Finding>,
    /// Why something that State does not know was left unread, if it was: what is not found may be there. Of
    /// several reasons, a silence.
    pub(super) unread: Option<Fault>,
}

/// What a look at one container says.
enum Said {
    /// What differs.
    Finding(Finding),
    /// It is nobody's that the pool knows.
    Foreign(Vmid, Option<String>),
    /// It is not known to State and could not be read.
    Unread(Fault),
}

/// What differs between PVE and State; a fault if PVE's inventory cannot be had.
pub(super) async fn compare(
    site: &Site,
    state: &State,
    strangers: &mut Strangers,
) -> Result<Compared, Fault> {
    let inventory = list(site).await?;
    strangers.seen(&inventory);
    let mut looks: BTreeMap<&Node, Vec<BoxFuture<'_, Option<Said>>>> = BTreeMap::new();
    for container in state.containers.values() {
        let look = known::look(site, container, &inventory);
        let look = Box::pin(async move { look.await.map(Said::Finding) });
        looks.entry(&container.node).or_default().push(look);
    }
    for (vmid, listed) in unknown(state, &inventory, strangers) {
        let prefix = &state.settings.hostname_prefix;
        let look = Box::pin(async move {
            match stranger::look(site, vmid, listed, prefix).await {
                Sighting::Ours(discovered) => Some(Said::Finding(Finding::Discovered(discovered))),
                Sighting::Foreign => Some(Said::Foreign(vmid, listed.row.name.clone())),
                Sighting::Unread(fault) => Some(Said::Unread(fault)),
                Sighting::Later => None,
            }
        });
        looks.entry(&listed.node).or_default().push(look);
    }
    let of_nodes =
        looks.into_values().map(|looks| stream::iter(looks).buffer_unordered(READS).collect::<Vec<_>>());
    let mut findings = Vec::new();
    let mut unread = inventory.untold.clone();
    for said in join_all(of_nodes).await.into_iter().flatten().flatten() {
        match said {
            Said::Finding(finding) => findings.push(finding),
            Said::Foreign(vmid, name) => strangers.remember(vmid, name),
            Said::Unread(fault) => unread = Some(silence_first(unread, fault)),
        }
    }
    findings.sort_by_key(vmid_of);
    Ok(Compared { findings, unread })
}

/// Containers at PVE that State does not know and that are worth a look.
fn unknown<'a>(
    state: &'a State,
    inventory: &'a Inventory,
    strangers: &'a Strangers,
) -> impl Iterator<Item = (Vmid, &'a Listed)> {
    inventory.containers.iter().map(|(vmid, listed)| (*vmid, listed)).filter(|(vmid, listed)| {
        !state.containers.contains_key(vmid) && !listed.row.template && !strangers.knows(*vmid, &listed.row)
    })
}

/// The container that a finding is about.
pub(super) fn vmid_of(finding: &Finding) -> Vmid {
    match finding {
        Finding::Discovered(discovered) => discovered.vmid,
        Finding::Lost { vmid, .. }
        | Finding::Moved { vmid, .. }
        | Finding::Doubtful { vmid, .. }
        | Finding::Confirmed { vmid }
        | Finding::Unready { vmid, .. }
        | Finding::Freed { vmid } => *vmid,
    }
}
