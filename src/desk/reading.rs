//! A template that the pool does not know is read at PVE before it is asked for again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

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
        let unreadable = |fault| Refusal::TemplateUnreadable { template, fault };
        let Some(until) = until else {
            return (self.read_template)(template).await.map_err(unreadable);
        };
        let _place = self.place()?;
        let mut silence = Fault::new(FaultKind::OutcomeUnknown, "PVE did not answer in time");
        let answer = async {
            loop {
                match (self.read_template)(template).await {
                    Err(fault) if is_silence(&fault) => silence = fault,
                    answer => return answer,
                }
                self.pve_back().await;
            }
        };
        let answer = tokio::select! {
            biased;
            refusal = self.told_to_stop() => return Err(refusal),
            answer = answer => Some(answer),
            () = self.clock.sleep_until(until) => None,
        };
        answer.unwrap_or(Err(silence)).map_err(unreadable)
    }

    /// A place among those who wait before the engine can know of them: no more than may wait there.
    pub(super) fn place(&self) -> Result<Place, Refusal> {
        let waiting = self.outside.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(&self.outside));
        if waiting < self.published().state.settings.max_waiting {
            Ok(place)
        } else {
            Err(Refused::Rejected(Rejection::TooManyWaiting { waiting }).into())
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

/// Left when it is dropped.
pub(super) struct Place(Arc<AtomicU32>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Nobody answered for the template's node: that passes.
fn is_silence(fault: &Fault) -> bool {
    matches!(fault.kind, FaultKind::NotSent | FaultKind::OutcomeUnknown | FaultKind::NodeUnreachable)
}
