//! How many calls may be under way at a node.
//!
//! PVE serves a node with three workers, each of which one call blocks for as long as it takes; a few writes
//! that wait for a lock would stall everything else there. First come, first served.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Method;
use crate::domain::ids::Node;

/// Calls that change something.
const WRITES: usize = 2;
/// Calls that only read.
const READS: usize = 4;

/// The lanes of every node that was called, and one for what belongs to no node.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    by_node: Mutex<BTreeMap<Option<Node>, Lane>>,
}

#[derive(Clone, Debug)]
struct Lane {
    writes: Arc<Semaphore>,
    reads: Arc<Semaphore>,
}

impl Default for Lane {
    fn default() -> Self {
        Self { writes: Arc::new(Semaphore::new(WRITES)), reads: Arc::new(Semaphore::new(READS)) }
    }
}

impl Lanes {
    /// Waits for a place, which is free again when what is returned is dropped.
    pub(super) async fn enter(&self, node: Option<&Node>, method: Method) -> Option<OwnedSemaphorePermit> {
        let lane = {
            let mut lanes = self.by_node.lock().unwrap_or_else(PoisonError::into_inner);
            lanes.entry(node.cloned()).or_default().clone()
        };
        let places = match method {
            Method::Get => lane.reads,
            Method::Post | Method::Put | Method::Delete => lane.writes,
        };
        // The only error is a closed semaphore, and nobody closes these.
        places.acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_node_has_two_places_for_writes_and_four_for_reads() {
        let lanes = Lanes::default();
        let (a, b) = (Node::from("a"), Node::from("b"));
        let enter = |node, method| lanes.enter(node, method).now_or_never().flatten();
        let mut writes: Vec<_> =
            [Method::Post, Method::Delete].into_iter().filter_map(|method| enter(Some(&a), method)).collect();
        assert_eq!(writes.len(), WRITES);
        assert!(enter(Some(&a), Method::Put).is_none(), "the writes are full");
        let reads: Vec<_> = (0..READS).filter_map(|_| enter(Some(&a), Method::Get)).collect();
        assert_eq!(reads.len(), READS, "reads do not wait for writes");
        assert!(enter(Some(&a), Method::Get).is_none());
        assert!(enter(Some(&b), Method::Put).is_some(), "another node is another lane");
        assert!(enter(None, Method::Get).is_some());
        writes.pop();
        assert!(enter(Some(&a), Method::Put).is_some(), "a place that was given back");
    }
}
