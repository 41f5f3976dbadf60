//! What becomes of a webhook endpoint: what its worker saw, and what was asked for.

use super::Tx;
use crate::domain::command::Rejection;
use crate::domain::event::{
    WebhookAdded, WebhookCheckpointed, WebhookDisabled, WebhookDropped, WebhookFailing, WebhookForgotten,
    WebhookParked, WebhookPaused, WebhookRecovered, WebhookRemoved, WebhookReplayEnded, WebhookReplayMissed,
    WebhookReplayRequested, WebhookResumed, WebhookRetried, WebhookTested,
};
use crate::domain::ids::{EndpointName, Lane, Seq};
use crate::domain::time::Timestamp;
use crate::domain::webhook::{
    DISABLE_AFTER, KEPT, MAX_PARKED, MAX_REPLAYS, Webhook, WebhookCheckpoint, WebhookCommand,
    WebhookDisableReason, WebhookPauseReason, WebhookStep,
};

impl Tx<'_> {
    /// Takes on endpoints that are new and lets go of those that are not configured any more.
    pub(super) fn register_webhooks(&mut self, endpoints: &[EndpointName]) {
        for endpoint in endpoints {
            let known = self.state.webhooks.get(endpoint);
            if known.is_none_or(|webhook| webhook.kept_until.is_some()) {
                let cursor = known.map_or(self.state.head, |webhook| webhook.cursor);
                self.emit(WebhookAdded { endpoint: endpoint.clone(), cursor });
            }
        }
        let strangers: Vec<_> = (self.state.webhooks.iter())
            .filter(|(name, _)| !endpoints.contains(name))
            .map(|(name, webhook)| (name.clone(), webhook.kept_until))
            .collect();
        for (endpoint, kept_until) in strangers {
            match kept_until {
                None => self.emit(WebhookRemoved { endpoint, kept_until: self.now.after(KEPT) }),
                Some(until) if until <= self.now => self.emit(WebhookForgotten { endpoint }),
                Some(_) => {}
            }
        }
    }

    pub(super) fn webhook(&mut self, command: WebhookCommand) -> Result<(), Rejection> {
        let WebhookCommand { endpoint, step } = command;
        let Some(webhook) = self.state.webhook(&endpoint).cloned() else {
            return Err(Rejection::WebhookUnknown { endpoint });
        };
        match step {
            WebhookStep::Checkpoint(checkpoint) => self.checkpoint_webhook(endpoint, checkpoint),
            WebhookStep::Failing { since, seq, reason } => {
                self.webhook_failing(endpoint, &webhook, since, seq, reason);
            }
            WebhookStep::Recovered => {
                if let Some(failing) = webhook.failing {
                    self.emit(WebhookRecovered { endpoint, failing_since: failing.since });
                }
            }
            WebhookStep::Gone { reason } => self.disable(endpoint, WebhookDisableReason::Gone, reason),
            WebhookStep::Park { seq, event_type, lane, attempts, reason } => {
                self.emit(WebhookParked {
                    endpoint: endpoint.clone(),
                    seq,
                    event_type,
                    lane,
                    attempts,
                    reason,
                });
                self.pause_at_limit(endpoint);
            }
            WebhookStep::ReplayMissed { replay, seq, event_type, lane, attempts, reason } => {
                if webhook.replays.iter().any(|known| known.id == replay) {
                    self.emit(WebhookReplayMissed {
                        endpoint,
                        replay,
                        seq,
                        event_type,
                        lane,
                        attempts,
                        reason,
                    });
                }
            }
            WebhookStep::ReplayEnded { replay, delivered, failed } => {
                if webhook.replays.iter().any(|known| known.id == replay) {
                    self.emit(WebhookReplayEnded { endpoint, replay, delivered, failed });
                }
            }
            WebhookStep::Tested { delivered, status, reason, duration_ms } => {
                self.emit(WebhookTested { endpoint, delivered, status, reason, duration_ms });
            }
            WebhookStep::Pause
            | WebhookStep::Resume
            | WebhookStep::Retry { .. }
            | WebhookStep::Drop { .. }
            | WebhookStep::Replay { .. } => {
                self.running()?;
                return self.webhook_request(endpoint, &webhook, step);
            }
        }
        Ok(())
    }

    fn webhook_request(
        &mut self,
        endpoint: EndpointName,
        webhook: &Webhook,
        step: WebhookStep,
    ) -> Result<(), Rejection> {
        match step {
            WebhookStep::Pause if webhook.paused.is_none() => {
                self.emit(WebhookPaused { endpoint, by: WebhookPauseReason::Request });
            }
            WebhookStep::Resume if !webhook.is_active() || webhook.failing.is_some() => {
                self.emit(WebhookResumed { endpoint });
            }
            WebhookStep::Retry { seq: Some(seq) } => {
                let lane = parked_lane(&endpoint, webhook, seq)?;
                self.emit(WebhookRetried { endpoint, seq, lane });
            }
            WebhookStep::Retry { seq: None } => self.retry_parked(&endpoint, webhook, Seq(0), &[]),
            WebhookStep::Drop { seq, behind } => {
                let lane = parked_lane(&endpoint, webhook, seq)?;
                let goes_on_at = if behind { self.state.head.next() } else { seq.next() };
                self.emit(WebhookDropped { endpoint, seq, lane, goes_on_at });
            }
            WebhookStep::Replay { from, types, only_failed: true } => {
                self.retry_parked(&endpoint, webhook, from, &types);
            }
            WebhookStep::Replay { from, types, only_failed: false } => {
                if webhook.replays.len() >= MAX_REPLAYS {
                    let replays = webhook.replays.len();
                    return Err(Rejection::TooManyReplays { endpoint, replays });
                }
                let upto = self.state.head;
                self.emit(WebhookReplayRequested { endpoint, from, upto, types });
            }
            _ => {}
        }
        Ok(())
    }

    fn checkpoint_webhook(&mut self, endpoint: EndpointName, checkpoint: WebhookCheckpoint) {
        let WebhookCheckpoint { cursor, held, behind, replay, seen } = checkpoint;
        self.emit(WebhookCheckpointed { endpoint, cursor, held, behind, replay, seen });
    }

    fn webhook_failing(
        &mut self,
        endpoint: EndpointName,
        webhook: &Webhook,
        since: Timestamp,
        seq: Seq,
        reason: String,
    ) {
        match &webhook.failing {
            None => self.emit(WebhookFailing { endpoint, since, seq, reason }),
            Some(failing) if self.now.since(failing.since) >= DISABLE_AFTER => {
                self.disable(endpoint, WebhookDisableReason::Failing, reason);
            }
            Some(_) => {}
        }
    }

    fn disable(&mut self, endpoint: EndpointName, by: WebhookDisableReason, reason: String) {
        if self.state.webhook(&endpoint).is_some_and(|webhook| webhook.disabled.is_none()) {
            self.emit(WebhookDisabled { endpoint, by, reason });
        }
    }

    fn pause_at_limit(&mut self, endpoint: EndpointName) {
        let full = |webhook: &Webhook| webhook.parked.len() >= MAX_PARKED && webhook.paused.is_none();
        if self.state.webhook(&endpoint).is_some_and(full) {
            self.emit(WebhookPaused { endpoint, by: WebhookPauseReason::ParkedLimit });
        }
    }

    fn retry_parked(&mut self, endpoint: &EndpointName, webhook: &Webhook, from: Seq, types: &[String]) {
        for (lane, parked) in &webhook.parked {
            if parked.seq >= from && (types.is_empty() || types.contains(&parked.event_type)) {
                let (endpoint, lane) = (endpoint.clone(), lane.clone());
                self.emit(WebhookRetried { endpoint, seq: parked.seq, lane });
            }
        }
    }
}

fn parked_lane(endpoint: &EndpointName, webhook: &Webhook, seq: Seq) -> Result<Lane, Rejection> {
    let unknown = || Rejection::WebhookNotParked { endpoint: endpoint.clone(), seq };
    webhook.parked_at(seq).map(|(lane, _)| lane.clone()).ok_or_else(unknown)
}
