//! The containers that the nodes have, read from each node because the cluster's list may lag behind.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;

use crate::domain::fault::Fault;
use crate::domain::ids::{Node, Vmid};
use crate::provision::site::{Site, is_outage};
use crate::pve::CtRow;

/// What the nodes that could be asked have.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    /// Every container that the token may see.
    pub(super) containers: BTreeMap<Vmid, Listed>,
    /// The nodes that were asked: only of these, absence from the list says anything.
    pub(super) asked: BTreeSet<Node>,
    /// Why a node that is online did not tell what it has, if one did not.
    pub(super) untold: Option<Fault>,
}

/// A container as its node lists it.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    /// Where it is.
    pub(super) node: Node,
    /// What the list says.
    pub(super) row: CtRow,
}

/// Asks every node that is online. A node that cannot tell is left out; that none can is a fault.
pub(super) async fn list(site: &Site) -> Result<Inventory, Fault> {
    let nodes = site.pve.nodes().await.map_err(|error| site.fault(error))?;
    let online = nodes.into_iter().filter(|node| node.online).map(|node| async move {
        let rows = site.pve.containers(&node.name).await;
        (node.name, rows)
    });
    let mut inventory = Inventory::default();
    for (node, rows) in join_all(online).await {
        match rows {
            Ok(rows) => {
                let listed = |row: CtRow| (row.vmid, Listed { node: node.clone(), row });
                inventory.containers.extend(rows.into_iter().map(listed));
                inventory.asked.insert(node);
            }
            Err(error) if is_outage(&error) => return Err(site.fault(error)),
            Err(error) => {
                tracing::warn!(%node, %error, "the containers of a node cannot be listed");
                inventory.untold = Some(silence_first(inventory.untold, site.fault(error)));
            }
        }
    }
    match inventory.untold {
        Some(fault) if inventory.asked.is_empty() => Err(fault),
        Some(_) | None => Ok(inventory),
    }
}

/// Of two reasons why something is unread, the one that says less of what there is: a silence before an error.
pub(super) fn silence_first(known: Option<Fault>, fault: Fault) -> Fault {
    known.filter(|known| known.kind.is_silence()).unwrap_or(fault)
}
