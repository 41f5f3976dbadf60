//! A template that the pool does not know is read at PVE before it is asked for again.

use super::{Call, Desk, Refusal};
use crate::domain::command::{Command, Rejection, TemplateFacts};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::Vmid;
use crate::domain::time::Timestamp;
use crate::engine::{Decided, Refused};

impl Desk {
    /// Submits, and once more with what was read of the template if the pool does not know it.
    pub(super) async fn submit_reading(
        &self,
        call: &Call,
        template: Vmid,
        until: Option<Timestamp>,
        command: impl Fn(Option<TemplateFacts>) -> Command,
    ) -> Result<Decided, Refusal> {
        match self.submit(call, command(None)).await {
            Err(Refused::Rejected(Rejection::TemplateUnread { .. })) => {}
            decided => return Ok(decided?),
        }
        let facts = self.read(template, until).await?;
        Ok(self.submit(call, command(Some(facts))).await?)
    }

    /// What PVE says of a template. One that does not answer is asked again until then, if there is a then.
    async fn read(&self, template: Vmid, until: Option<Timestamp>) -> Result<TemplateFacts, Refusal> {
        loop {
            let fault = match (self.read_template)(template).await {
                Ok(facts) => return Ok(facts),
                Err(fault) => fault,
            };
            let Some(until) = until.filter(|until| is_silence(&fault) && self.clock.now() < *until) else {
                return Err(Refusal::TemplateUnreadable { template, fault });
            };
            tokio::select! {
                biased;
                () = self.stopping() => return Err(Refused::Rejected(Rejection::Stopping).into()),
                () = self.pve_back() => {}
                () = self.clock.sleep_until(until) => {}
            }
        }
    }

    /// Returns when PVE may answer again.
    async fn pve_back(&self) {
        self.clock.sleep(self.patience.read_again).await;
        let mut watch = self.engine.watch();
        // An engine that ended is told of by whoever submits next.
        let _ = watch.wait_for(|published| published.state.pve_reachable()).await;
    }
}

/// Nobody answered for the template's node: that passes.
fn is_silence(fault: &Fault) -> bool {
    matches!(fault.kind, FaultKind::NotSent | FaultKind::OutcomeUnknown | FaultKind::NodeUnreachable)
}
