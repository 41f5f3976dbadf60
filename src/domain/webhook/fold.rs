//! Folds events about webhook endpoints into State.

use super::{Disabled, Failing, Held, Parked, Paused, Replay, Webhook};
use crate::domain::event::{
    WebhookAdded, WebhookCheckpointed, WebhookDisabled, WebhookDropped, WebhookFailing, WebhookForgotten,
    WebhookParked, WebhookPaused, WebhookRecovered, WebhookRemoved, WebhookReplayEnded,
    WebhookReplayRequested, WebhookResumed, WebhookRetried,
};
use crate::domain::ids::{EndpointName, Lane, Seq};
use crate::domain::state::State;
use crate::domain::time::Timestamp;

impl State {
    pub(in crate::domain) fn webhook_added(&mut self, e: &WebhookAdded) {
        let webhook = self.webhooks.entry(e.endpoint.clone()).or_default();
        webhook.cursor = e.cursor;
        webhook.kept_until = None;
    }

    pub(in crate::domain) fn webhook_removed(&mut self, e: &WebhookRemoved) {
        self.update_webhook(&e.endpoint, |webhook| webhook.kept_until = Some(e.kept_until));
    }

    pub(in crate::domain) fn webhook_forgotten(&mut self, e: &WebhookForgotten) {
        self.webhooks.remove(&e.endpoint);
    }

    pub(in crate::domain) fn webhook_failing(&mut self, e: &WebhookFailing) {
        self.update_webhook(&e.endpoint, |webhook| {
            webhook.failing = Some(Failing { since: e.since, reason: e.reason.clone() });
        });
    }

    pub(in crate::domain) fn webhook_recovered(&mut self, e: &WebhookRecovered) {
        self.update_webhook(&e.endpoint, |webhook| webhook.failing = None);
    }

    pub(in crate::domain) fn webhook_paused(&mut self, e: &WebhookPaused) {
        let since = self.at;
        self.update_webhook(&e.endpoint, |webhook| webhook.paused = Some(Paused { since, by: e.by }));
    }

    pub(in crate::domain) fn webhook_resumed(&mut self, e: &WebhookResumed) {
        self.update_webhook(&e.endpoint, |webhook| {
            webhook.paused = None;
            webhook.disabled = None;
            webhook.failing = None;
        });
    }

    pub(in crate::domain) fn webhook_disabled(&mut self, e: &WebhookDisabled) {
        let since = self.at;
        self.update_webhook(&e.endpoint, |webhook| {
            webhook.disabled = Some(Disabled { since, by: e.by, reason: e.reason.clone() });
        });
    }

    pub(in crate::domain) fn webhook_checkpointed(&mut self, e: &WebhookCheckpointed) {
        self.update_webhook(&e.endpoint, |webhook| webhook.checkpoint(e));
    }

    pub(in crate::domain) fn webhook_parked(&mut self, e: &WebhookParked) {
        let since = self.at;
        self.update_webhook(&e.endpoint, |webhook| {
            let held = webhook.held.remove(&e.lane);
            let parked = Parked {
                seq: e.seq,
                event_type: e.event_type.clone(),
                since,
                attempts: e.attempts,
                reason: e.reason.clone(),
                behind: held.map_or(0, |held| held.behind),
            };
            webhook.parked.insert(e.lane.clone(), parked);
        });
    }

    pub(in crate::domain) fn webhook_retried(&mut self, e: &WebhookRetried) {
        let (at, seq) = (self.at, self.head);
        self.update_webhook(&e.endpoint, |webhook| webhook.release(&e.lane, e.seq, at, seq));
    }

    pub(in crate::domain) fn webhook_dropped(&mut self, e: &WebhookDropped) {
        let (at, seq) = (self.at, self.head);
        self.update_webhook(&e.endpoint, |webhook| webhook.release(&e.lane, e.goes_on_at, at, seq));
    }

    pub(in crate::domain) fn webhook_replay_requested(&mut self, e: &WebhookReplayRequested) {
        let id = self.head;
        self.update_webhook(&e.endpoint, |webhook| {
            webhook.replays.push(Replay {
                id,
                cursor: Seq(e.from.0.saturating_sub(1)),
                upto: e.upto,
                types: e.types.clone(),
                delivered: 0,
                failed: 0,
            });
        });
    }

    pub(in crate::domain) fn webhook_replay_ended(&mut self, e: &WebhookReplayEnded) {
        self.update_webhook(&e.endpoint, |webhook| {
            webhook.replays.retain(|replay| replay.id != e.replay);
        });
    }

    fn update_webhook(&mut self, endpoint: &EndpointName, change: impl FnOnce(&mut Webhook)) {
        if let Some(webhook) = self.webhooks.get_mut(endpoint) {
            change(webhook);
        }
    }
}

impl Webhook {
    fn checkpoint(&mut self, e: &WebhookCheckpointed) {
        self.cursor = e.cursor;
        let unseen = std::mem::take(&mut self.held).into_iter().filter(|(_, held)| held.released > e.seen);
        let held = e.held.iter().map(|it| {
            let held = Held {
                from: it.from,
                attempt: it.attempt,
                retry_at: it.retry_at,
                behind: it.behind,
                released: Seq(0),
            };
            (it.lane.clone(), held)
        });
        self.held = held.chain(unseen).collect();
        for behind in &e.behind {
            if let Some(parked) = self.parked.get_mut(&behind.lane) {
                parked.behind = behind.events;
            }
        }
        if let Some(point) = &e.replay
            && let Some(replay) = self.replays.iter_mut().find(|replay| replay.id == point.replay)
        {
            replay.cursor = point.cursor;
            replay.delivered = point.delivered;
            replay.failed = point.failed;
        }
    }

    /// A parked lane goes on at `from`.
    fn release(&mut self, lane: &Lane, from: Seq, at: Timestamp, released: Seq) {
        let behind = self.parked.remove(lane).map_or(0, |parked| parked.behind);
        self.held.insert(lane.clone(), Held { from, attempt: 0, retry_at: at, behind, released });
    }
}
