//! What is sent: Standard Webhooks 1.0.
//!
//! The body is the event's envelope as it stands in the stream and the log (`seq`, `id`, `at`, `type`, `v`,
//! `data`, `cause`, `more`) plus `timestamp`, the same instant as `at`: with `type` and `data` it makes what
//! Standard Webhooks recommends of a body. `webhook-id` is the event's ULID, on each attempt and replay the
//! same, so that a receiver can tell what it has already seen; `webhook-timestamp` is the attempt's time.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;
use standardwebhooks::Webhook as Key;
use ulid::Ulid;

use super::endpoint::Endpoint;
use crate::domain::ids::EndpointName;
use crate::domain::time::Timestamp;
use crate::log::Record;

/// Type of what `POST /webhooks/{name}/test` sends; no event of the log has it.
pub const TEST_TYPE: &str = "webhook.test";

/// A body and its identity.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) id: Ulid,
    pub(super) body: Bytes,
}

/// One message on its way to one endpoint, signed.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) id: String,
    pub(super) timestamp: i64,
    pub(super) signature: String,
    pub(super) body: Bytes,
}

impl Message {
    /// An event of the log.
    pub(super) fn of(record: &Record) -> Self {
        let json = record.json.trim_end();
        let open = json.strip_suffix('}').unwrap_or(json);
        let body = format!("{open},\"timestamp\":\"{}\"}}", record.envelope.at);
        Self { id: record.envelope.id, body: body.into() }
    }

    /// A test event.
    pub(super) fn test(endpoint: &EndpointName, id: Ulid, at: Timestamp) -> Self {
        let body = json!({
            "id": id.to_string(),
            "at": at,
            "type": TEST_TYPE,
            "v": 1,
            "data": { "endpoint": endpoint },
            "timestamp": at,
        });
        Self { id, body: body.to_string().into() }
    }

    /// Signs it with each of the endpoint's keys, so that a receiver may know either while they are rotated.
    pub(super) fn attempt(&self, endpoint: &Arc<Endpoint>, now: Timestamp) -> Attempt {
        let (id, timestamp) = (self.id.to_string(), now.0.div_euclid(1000));
        let sign = |key: &Key| key.sign(&id, timestamp, &self.body).ok();
        let signatures: Vec<String> = endpoint.keys().filter_map(|key| sign(&key)).collect();
        Attempt {
            endpoint: Arc::clone(endpoint),
            signature: signatures.join(" "),
            id,
            timestamp,
            body: self.body.clone(),
        }
    }
}
