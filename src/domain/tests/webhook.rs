//! Endpoints: what is told of them is an event once, and the log is kept for what they have yet to get.

use super::pool::Pool;
use crate::domain::command::Command;
use crate::domain::ids::{EndpointName, Lane, Seq};
use crate::domain::time::Timestamp;
use crate::domain::webhook::{Webhook, WebhookCheckpoint, WebhookCommand, WebhookHeld, WebhookStep};

fn endpoint() -> EndpointName {
    EndpointName::from("audit")
}

/// A pool with one endpoint.
fn configured() -> Pool {
    let mut pool = Pool::new();
    pool.run(Command::RegisterWebhooks(vec![endpoint()]));
    pool
}

impl Pool {
    fn step(&mut self, step: WebhookStep) -> &mut Self {
        self.run(Command::Webhook(WebhookCommand { endpoint: endpoint(), step }))
    }

    fn endpoint(&self) -> &Webhook {
        self.state.webhook(&endpoint()).unwrap()
    }
}

fn lane() -> Lane {
    Lane("container/200".to_owned())
}

fn park(seq: u64) -> WebhookStep {
    WebhookStep::Park {
        seq: Seq(seq),
        event_type: "Allocated".to_owned(),
        lane: lane(),
        attempts: 9,
        reason: "500".to_owned(),
    }
}

/// The worker is at event 10 and holds these lanes, by the State of `seen`.
fn checkpoint(held: Vec<WebhookHeld>, seen: Seq) -> WebhookStep {
    let (cursor, behind, replay) = (Seq(10), Vec::new(), None);
    WebhookStep::Checkpoint(WebhookCheckpoint { cursor, held, behind, replay, seen })
}

#[test]
fn a_pause_is_an_event_once() {
    configured().step(WebhookStep::Pause).then("WebhookPaused").step(WebhookStep::Pause).then("");
}

#[test]
fn an_endpoint_is_disabled_once_it_has_failed_for_five_days() {
    let mut pool = configured();
    let since = pool.now;
    let failing = || WebhookStep::Failing { since, seq: Seq(1), reason: "500".to_owned() };
    let days = 5 * 24 * 60 * 60;
    pool.step(failing()).then("WebhookFailing");
    pool.later(days - 1).step(failing()).then("").later(1).step(failing()).then("WebhookDisabled");
}

#[test]
fn the_place_of_an_endpoint_that_is_gone_is_kept_for_thirty_days() {
    let none = || Command::RegisterWebhooks(Vec::new());
    let days = 30 * 24 * 60 * 60;
    let mut pool = configured();
    pool.run(none()).then("WebhookRemoved").later(days - 1).run(none()).then("");
    pool.later(1).run(none()).then("WebhookForgotten");
}

#[test]
fn a_lane_that_was_let_go_stays_until_its_worker_has_seen_that() {
    for (seen_it, stays) in [(false, true), (true, false)] {
        let mut pool = configured();
        pool.step(park(4)).step(WebhookStep::Retry { seq: Some(Seq(4)) });
        let retried = pool.state.head;
        let seen = if seen_it { retried } else { Seq(retried.0 - 1) };
        pool.later(1).allocate("box").step(checkpoint(Vec::new(), seen));
        assert_eq!(pool.endpoint().held.contains_key(&lane()), stays);
    }
}

#[test]
fn the_log_is_kept_from_the_first_event_that_an_endpoint_may_still_get() {
    let mut pool = configured();
    let seen = pool.state.head;
    pool.step(checkpoint(Vec::new(), seen));
    assert_eq!(pool.endpoint().needs_from(), Seq(11));
    let held = WebhookHeld { lane: lane(), from: Seq(7), attempt: 1, retry_at: Timestamp(0), behind: 0 };
    pool.step(checkpoint(vec![held], seen));
    assert_eq!(pool.endpoint().needs_from(), Seq(7));
    pool.step(park(5));
    assert_eq!(pool.endpoint().needs_from(), Seq(5));
    pool.step(WebhookStep::Replay { from: Seq(2), types: Vec::new(), only_failed: false });
    assert_eq!(pool.endpoint().needs_from(), Seq(2));
}
