//! What a request may cost. Each limit is here with its default and the reason for that.

use std::time::Duration;

/// Limits on requests and connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a body. Metadata is the only part of a request that grows, and has its own limit below this.
    pub max_body_bytes: usize,
    /// Bytes of a body that is read whoever else sends one: any request without large metadata.
    pub small_body_bytes: usize,
    /// Larger bodies that are read at once. Who sends them slowly holds their memory.
    pub max_large_bodies: usize,
    /// Entries of an allocation's metadata.
    pub max_metadata_entries: usize,
    /// Bytes of all keys and values of an allocation's metadata. It is kept in the log for ever.
    pub max_metadata_bytes: usize,
    /// Seconds of `ttl_seconds`: ten years, far from where instants end.
    pub max_ttl_seconds: u64,
    /// A template's size, or the count of a warm: every missing container is a clone that is queued.
    pub max_pool_size: u32,
    /// Connections at once: 10,000 followers of the event stream and 2,000 requests.
    pub max_connections: u32,
    /// Connections beyond, each for one request: the open routes are answered, all others told to come later.
    pub max_turned_away: usize,
    /// For the head of the request of such a connection.
    pub turned_away_timeout: Duration,
    /// Bytes of a request's head, which each connection may hold. Bearer tokens and cookies of a proxy fit many
    /// times over.
    pub max_head_bytes: usize,
    /// For the head of a request, and between two requests of a connection.
    pub head_timeout: Duration,
    /// For the body of a request.
    pub body_timeout: Duration,
    /// For the next byte to be taken by a client that is sent something: longer than a phone is between two
    /// networks, short for one that holds an answer for nobody.
    pub stall_timeout: Duration,
    /// From the order to stop until connections are cut: hand-outs may take ten seconds to finish.
    pub shutdown_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body_bytes: 64 * 1024,
            small_body_bytes: 4 * 1024,
            max_large_bodies: 256,
            max_metadata_entries: 64,
            max_metadata_bytes: 16 * 1024,
            max_ttl_seconds: 10 * 365 * 86_400,
            max_pool_size: 10_000,
            max_connections: 12_000,
            max_turned_away: 64,
            turned_away_timeout: Duration::from_secs(1),
            max_head_bytes: 16 * 1024,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(30),
            shutdown_grace: Duration::from_secs(12),
        }
    }
}
