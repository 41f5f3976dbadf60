//! Folds events about webhook endpoints into State.

use super::{Disabled, Failing, Held, Parked, Paused, Replay, Webhook};
use crate::domain::event::{Event, WebhookCheckpointed};
use crate::domain::ids::{EndpointName, Lane, Seq};
use crate::domain::state::State;
use crate::domain::time::Timestamp;

impl State {
    /// Folds an event about an endpoint in.
    pub(in crate::domain) fn fold_webhook(&mut self, event: &Event) {
        let at = self.at;
        match event {
            Event::WebhookAdded(e) => {
                let webhook = self.webhooks.entry(e.endpoint.clone()).or_default();
                webhook.cursor = e.cursor;
                webhook.kept_until = None;
            }
            Event::WebhookRemoved(e) => self.update_webhook(&e.endpoint, |webhook| {
                webhook.kept_until = Some(e.kept_until);
            }),
            Event::WebhookForgotten(e) => {
                self.webhooks.remove(&e.endpoint);
            }
            Event::WebhookFailing(e) => self.update_webhook(&e.endpoint, |webhook| {
                webhook.failing = Some(Failing { since: e.since, reason: e.reason.clone() });
            }),
            Event::WebhookRecovered(e) => self.update_webhook(&e.endpoint, |webhook| webhook.failing = None),
            Event::WebhookPaused(e) => self.update_webhook(&e.endpoint, |webhook| {
                webhook.paused = Some(Paused { since: at, by: e.by });
            }),
            Event::WebhookResumed(e) => self.update_webhook(&e.endpoint, |webhook| {
                webhook.paused = None;
                webhook.disabled = None;
                webhook.failing = None;
            }),
            Event::WebhookDisabled(e) => self.update_webhook(&e.endpoint, |webhook| {
                webhook.disabled = Some(Disabled { since: at, by: e.by, reason: e.reason.clone() });
            }),
            _ => self.fold_delivery(event),
        }
    }

    /// The same for what is delivered, and what is not.
    fn fold_delivery(&mut self, event: &Event) {
        let (at, seq) = (self.at, self.head);
        match event {
            Event::WebhookCheckpointed(e) => {
                self.update_webhook(&e.endpoint, |webhook| webhook.checkpoint(e));
            }
            Event::WebhookParked(e) => self.update_webhook(&e.endpoint, |webhook| {
                let held = webhook.held.remove(&e.lane);
                let parked = Parked {
                    seq: e.seq,
                    event_type: e.event_type.clone(),
                    since: at,
                    attempts: e.attempts,
                    reason: e.reason.clone(),
                    behind: held.map_or(0, |held| held.behind),
                };
                webhook.parked.insert(e.lane.clone(), parked);
            }),
            Event::WebhookRetried(e) => self.update_webhook(&e.endpoint, |webhook| {
                webhook.release(&e.lane, e.seq, at, seq);
            }),
            Event::WebhookDropped(e) => self.update_webhook(&e.endpoint, |webhook| {
                webhook.release(&e.lane, e.goes_on_at, at, seq);
            }),
            Event::WebhookReplayRequested(e) => self.update_webhook(&e.endpoint, |webhook| {
                webhook.replays.push(Replay {
                    id: seq,
                    cursor: Seq(e.from.0.saturating_sub(1)),
                    upto: e.upto,
                    types: e.types.clone(),
                    delivered: 0,
                    failed: 0,
                });
            }),
            Event::WebhookReplayEnded(e) => self.update_webhook(&e.endpoint, |webhook| {
                webhook.replays.retain(|replay| replay.id != e.replay);
            }),
            _ => {}
        }
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
