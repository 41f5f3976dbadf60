//! How much of a node a comparison takes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;

use super::*;
use crate::pve::{Answer, Request, Transport, Unanswered};

/// Has eight containers that might be the pool's, and takes a second to show each.
#[derive(Default)]
struct Slow {
    now: AtomicUsize,
    most: AtomicUsize,
}

#[async_trait]
impl Transport for Slow {
    async fn call(&self, request: Request) -> Result<Answer, Unanswered> {
        let row = |vmid| {
            let id = format!("lxc/{vmid}");
            json!({ "type": "lxc", "id": id, "vmid": vmid, "node": "pve1", "status": "stopped", "name": "pool-9009-1f2e3d4c" })
        };
        let data = match request.path.as_str() {
            "/cluster/resources" | "/nodes/pve1/lxc" => json!((300..308).map(row).collect::<Vec<_>>()),
            "/nodes" => json!([{ "node": "pve1", "status": "online" }]),
            path if path.ends_with("/config") => {
                let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
                self.most.fetch_max(now, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_secs(1)).await;
                self.now.fetch_sub(1, Ordering::SeqCst);
                json!({ "hostname": "somebody-elses" })
            }
            _ => json!([]),
        };
        let body = json!({ "data": data }).to_string().into_bytes();
        Ok(Answer { status: 200, reason: "OK".to_owned(), body })
    }
}

#[tokio::test(start_paused = true)]
async fn a_comparison_leaves_half_of_a_nodes_reads_to_hand_outs() {
    let slow = Arc::new(Slow::default());
    let site = Site::new(Pve::new(slow.clone()), Clock::virtual_from(EPOCH));
    compare(&site, &state(&[]), &mut Strangers::default()).await.expect("a comparison");
    assert_eq!(slow.most.load(Ordering::SeqCst), 2);
}
