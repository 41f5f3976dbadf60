//! Proxmox VE as the pool needs it: typed calls, tolerant reading, and errors by what may be done about them.
//!
//! `Pve` speaks through a [`Transport`]: HTTPS to a real cluster, or a simulated one in this process. It
//! knows how PVE answers and nothing of the pool; it never repeats a call that may have happened.

use async_trait::async_trait;

mod error;

mod answer;
mod rows;
mod task;

mod api;
mod lanes;
mod observe;

mod http;
mod tls;

#[cfg(test)]
mod tests;

pub use api::{CloneRequest, ConfigChange, Pve};
pub use error::{Error, classify, classify_text};
pub use http::{BuildError, HttpTransport};
pub use observe::{CALLS, Called, Observer, Outcome};
pub use rows::{CtConfig, CtRow, CtStatus, GuestKind, GuestRow, NodeRow, StorageRow, TaskRow};
pub use task::{Task, TaskState, Warnings};
pub use tls::{Fingerprint, InvalidFingerprint, TlsError, TlsOptions};

/// The two ways to reach a PVE: over HTTPS, and in this process.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Carries one call out, once.
    async fn call(&self, request: Request) -> Result<Answer, Unanswered>;
}

/// One call of PVE's API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// GET, POST, PUT or DELETE.
    pub method: Method,
    /// Path below `/api2/json`, percent-encoded, beginning with a slash.
    pub path: String,
    /// Parameters: the query of a GET or DELETE, the form of a POST or PUT.
    pub params: Vec<(String, String)>,
}

/// The verbs that PVE knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "HTTP's own names")]
pub enum Method {
    Get,
    Post,
    Put,
    Delete,
}

/// What PVE answered, whatever it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status code; PVE has its own (595 to 599).
    pub status: u16,
    /// The reason phrase, in which PVE puts its message.
    pub reason: String,
    /// The body, often JSON, sometimes text, sometimes empty.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// No connection, or no TLS: PVE never saw the call.
    #[error("PVE cannot be reached: {0}")]
    NotSent(String),
    /// The connection broke or the time was up after sending began: it may have been carried out.
    #[error("PVE did not answer: {0}")]
    MaybeSent(String),
}
