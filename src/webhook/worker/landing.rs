//! What becomes of a delivery that ended, and what the engine is told of it.

use std::time::Duration;

use crate::engine::watch;
use futures_util::StreamExt as _;

use super::{Flights, Found, Landed, Run, TRY_AGAIN};
use crate::domain::command::Command;
use crate::domain::ids::{Lane, Seq};
use crate::domain::time::Timestamp;
use crate::domain::webhook::{
    WebhookBehind, WebhookCheckpoint, WebhookCommand, WebhookHeld, WebhookReplayPoint, WebhookStep,
};
use crate::engine::Published;
use crate::log::Record;
use crate::webhook::schedule::{self, AttemptResult, Ended};

/// Progress is an event at most this often.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(5);

/// Deliveries under way when the service stops may take this long; what is cut off is sent again.
const STOP_GRACE: Duration = Duration::from_secs(5);

impl Run {
    /// Takes in how a delivery ended.
    pub(super) async fn landed(&mut self, landed: Landed) {
        let Landed { replay, lane, found } = landed;
        // A replay that was under way when it ended, as after a resume elsewhere, has nobody to tell.
        if replay.is_some() && replay != self.replay.as_ref().map(|run| run.id) {
            return;
        }
        match found {
            Found::Nothing { upto } => {
                self.lanes(replay).nothing_left(&lane, upto);
                self.dirty = true;
            }
            Found::Unreadable(error) => {
                let _ = self.unreadable(&error);
                self.lanes(replay).put_back(&lane);
            }
            Found::Attempt { record, ended, took } => {
                let now = self.it.clock.now();
                self.it.figures.note(record.envelope.seq, &ended, took, now);
                self.dirty = true;
                if ended.result == AttemptResult::Delivered {
                    self.delivered(replay, &lane, &record, now).await;
                } else {
                    self.not_delivered(replay, &lane, &record, ended, now).await;
                }
            }
        }
    }

    async fn delivered(&mut self, replay: Option<Seq>, lane: &Lane, record: &Record, now: Timestamp) {
        self.lanes(replay).done(lane, record.envelope.seq);
        if let Some(run) = self.replay.as_mut().filter(|_| replay.is_some()) {
            run.delivered += 1;
        }
        if self.health.succeeded(now) {
            self.live.bring_forward();
            if let Some(run) = &mut self.replay {
                run.lanes.bring_forward();
            }
        }
        if self.health.reported && self.submit(WebhookStep::Recovered).await {
            self.health.reported = false;
        }
    }

    async fn not_delivered(
        &mut self,
        replay: Option<Seq>,
        lane: &Lane,
        record: &Record,
        ended: Ended,
        now: Timestamp,
    ) {
        let (endpoint, seq) = (self.it.endpoint.name.clone(), record.envelope.seq);
        tracing::debug!(%endpoint, %seq, reason = %ended.reason, "a webhook was not delivered");
        let leave_alone = ended.leave_alone(now);
        let early = self.lanes(replay).is_early(lane, now);
        let tries = self.lanes(replay).failed_tries(lane) + 1;
        let fresh = tries == 1;
        if let Some(since) = self.health.failed(now, fresh, leave_alone)
            && self.submit(WebhookStep::Failing { since, seq, reason: ended.reason.clone() }).await
        {
            self.health.reported = true;
        }
        if ended.result == AttemptResult::Gone {
            self.submit(WebhookStep::Gone { reason: ended.reason.clone() }).await;
        }
        let pause = if early || ended.result == AttemptResult::Gone {
            // It is tried again in its own time, or when somebody resumes the endpoint.
            Some(TRY_AGAIN)
        } else {
            schedule::pause(tries, &mut self.it.chance)
        };
        match pause {
            Some(pause) => {
                let retry_at = now.after(pause.max(leave_alone.unwrap_or_default()));
                self.lanes(replay).failed(lane, record, now, retry_at);
            }
            None => self.give_up(replay, lane, record, tries, ended.reason).await,
        }
    }

    /// Parks an event. One of a replay is noted as missed: the lane's live events must not wait for it.
    async fn give_up(
        &mut self,
        replay: Option<Seq>,
        lane: &Lane,
        record: &Record,
        attempts: u32,
        reason: String,
    ) {
        let seq = record.envelope.seq;
        let event_type = record.envelope.event.type_name().to_owned();
        let lane_of_it = lane.clone();
        let step = match replay {
            Some(replay) => {
                WebhookStep::ReplayMissed { replay, seq, event_type, lane: lane_of_it, attempts, reason }
            }
            None => WebhookStep::Park { seq, event_type, lane: lane_of_it, attempts, reason },
        };
        if !self.submit(step).await {
            let now = self.it.clock.now();
            self.lanes(replay).failed(lane, record, now, now.after(TRY_AGAIN));
            return;
        }
        match self.replay.as_mut().filter(|_| replay.is_some()) {
            Some(run) => {
                run.failed += 1;
                run.lanes.done(lane, seq);
            }
            None => self.live.park(lane, seq),
        }
    }

    /// Tells the engine that a replay is over.
    pub(super) async fn end_replay(&mut self) {
        let Some(run) = &self.replay else { return };
        let over = run.lanes.read >= run.upto && run.lanes.is_idle();
        if !over || !self.active || self.it.clock.now() < self.not_before {
            return;
        }
        let (replay, delivered, failed) = (run.id, run.delivered, run.failed);
        if self.submit(WebhookStep::ReplayEnded { replay, delivered, failed }).await {
            self.replay = None;
        } else {
            self.not_before = self.it.clock.now().after(TRY_AGAIN);
        }
    }

    /// When progress is to be made an event, if there is any.
    pub(super) fn note_at(&self) -> Option<Timestamp> {
        self.dirty.then(|| self.noted_at.after(CHECKPOINT_EVERY))
    }

    /// Makes progress an event if it is time.
    pub(super) async fn note_if_due(&mut self) {
        if self.note_at().is_some_and(|at| at <= self.it.clock.now()) {
            self.note().await;
        }
    }

    /// Makes progress an event.
    async fn note(&mut self) {
        let held = self.live.held().iter().map(|(lane, waiting)| WebhookHeld {
            lane: lane.clone(),
            from: waiting.from,
            attempt: waiting.attempt,
            retry_at: waiting.retry_at,
            behind: waiting.behind,
        });
        let changed = self.live.parked().iter().filter(|(_, behind)| behind.changed);
        let behind = changed.map(|(lane, it)| WebhookBehind { lane: lane.clone(), events: it.events });
        let checkpoint = WebhookCheckpoint {
            cursor: self.live.cursor(),
            held: held.collect(),
            behind: behind.collect(),
            replay: self.replay.as_ref().map(|run| WebhookReplayPoint {
                replay: run.id,
                cursor: run.lanes.done_up_to(),
                delivered: run.delivered,
                failed: run.failed,
            }),
            seen: self.state.head,
        };
        self.noted_at = self.it.clock.now();
        if self.submit(WebhookStep::Checkpoint(checkpoint)).await {
            self.live.behind_noted();
            self.dirty = false;
            self.skipped = 0;
        }
    }

    /// Lets deliveries under way end, for a while, and notes what came of them.
    pub(super) async fn stop(mut self, mut flights: Flights, mut watch: watch::Receiver<Published>) {
        let clock = self.it.clock;
        let land = async {
            while let Some(landed) = flights.next().await {
                self.landed(landed).await;
            }
        };
        tokio::select! {
            () = land => {}
            () = clock.sleep(STOP_GRACE) => {}
        }
        self.look(&watch.borrow_and_update().clone());
        if self.dirty {
            self.note().await;
        }
    }

    async fn submit(&self, step: WebhookStep) -> bool {
        let endpoint = self.it.endpoint.name.clone();
        let command = Command::Webhook(WebhookCommand { endpoint, step });
        match self.it.engine.submit(command, None, false).await {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(endpoint = %self.it.endpoint.name, %error, "what a webhook came to is not noted");
                false
            }
        }
    }
}
