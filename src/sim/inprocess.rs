//! The face for tests and the deterministic simulation: a transport without a network.

use async_trait::async_trait;

use super::handle::Sim;
use super::incoming::Incoming;
use super::reply::Ending;
use crate::pve::{Answer, Request, Transport, Unanswered};

/// Calls a simulated cluster in this process. A call whose future is dropped is carried out all the same.
#[derive(Clone, Debug)]
pub struct InProcess {
    sim: Sim,
    authorization: String,
}

impl InProcess {
    /// A client with this `Authorization` header.
    pub fn new(sim: Sim, authorization: String) -> Self {
        Self { sim, authorization }
    }
}

#[async_trait]
impl Transport for InProcess {
    async fn call(&self, request: Request) -> Result<Answer, Unanswered> {
        let incoming = Incoming::from_request(&request, &self.authorization);
        match self.sim.carry_out(incoming).await {
            Ending::Answered(reply) => {
                let body = reply.bytes();
                Ok(Answer { status: reply.status, reason: reply.reason, body })
            }
            Ending::NotSent => Err(Unanswered::NotSent("connection refused".to_owned())),
            Ending::Dropped => Err(Unanswered::MaybeSent("connection closed before the answer".to_owned())),
        }
    }
}
