//! Events that are given up, what waits behind them, and what is done about both.

use super::*;
use crate::domain::command::Rejection;
use crate::domain::ids::Lane;
use crate::domain::webhook::{MAX_PARKED, WebhookPauseReason};
use crate::engine::Refused;

/// Events of 9000, the first of which is refused until it is given up, and a few of others.
async fn one_parked() -> Rig {
    let rig = Rig::new().await;
    rig.rule(|it| Does::Answers(if it.seq == 3 { 422 } else { 200 }));
    for template in [9000, 9001, 9000, 9002, 9000] {
        rig.event(template).await;
    }
    rig.until("a parked event", |webhook| !webhook.parked.is_empty()).await;
    rig.pass(Duration::from_secs(20)).await;
    rig
}

/// Attempts to send the event at a position.
fn tries(rig: &Rig, seq: u64) -> usize {
    rig.seen().iter().filter(|it| it.seq == seq).count()
}

#[tokio::test(start_paused = true)]
async fn a_refused_event_is_parked_with_the_later_ones_of_its_lane_behind_it() {
    let rig = one_parked().await;
    let own = rig.wanted(Some(9000));
    assert_eq!(own[0], 3, "the refused one");
    assert_eq!(own.iter().map(|seq| tries(&rig, *seq)).collect::<Vec<_>>(), [SCHEDULE.len(), 0, 0, 0]);
    let others = rig.seqs().len() - SCHEDULE.len();
    assert_eq!(others, rig.wanted(None).len() - own.len(), "the others flow");
    let webhook = rig.webhook("a");
    let (lane, parked) = webhook.parked.iter().next().unwrap();
    assert_eq!((lane.as_str(), parked.seq, parked.attempts), ("template/9000", Seq(3), 10));
    assert_eq!((parked.behind, parked.reason.as_str()), (3, "status 422"));
    assert!(webhook.cursor >= Seq(own[3]), "the cursor does not wait");
    assert_eq!((rig.reading("a").lag_events, rig.reading("a").parked), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_retry_sends_it_and_then_those_behind_it() {
    let rig = one_parked().await;
    rig.forget_seen();
    rig.rule(|_| Does::Answers(200));
    rig.ask("a", WebhookStep::Retry { seq: Some(Seq(3)) }).await;
    rig.until_seen(4).await;
    assert_eq!(rig.seqs(), rig.wanted(Some(9000)));
    rig.event(9000).await;
    rig.until_seen(5).await;
    rig.pass(Duration::from_secs(10)).await;
    let webhook = rig.webhook("a");
    assert!(webhook.parked.is_empty() && webhook.held.is_empty(), "{webhook:#?}");
    let again = WebhookCommand { endpoint: "a".into(), step: WebhookStep::Retry { seq: Some(Seq(3)) } };
    let refused = rig.engine().submit(Command::Webhook(again), None, false).await;
    assert!(matches!(refused, Err(Refused::Rejected(Rejection::WebhookNotParked { .. }))), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_is_refused_again_is_parked_again() {
    let rig = one_parked().await;
    // The endpoint takes another meanwhile: it is this event that is wrong.
    rig.event(9001).await;
    rig.pass(Duration::from_secs(10)).await;
    rig.ask("a", WebhookStep::Retry { seq: None }).await;
    rig.until("its release", |webhook| webhook.parked.is_empty()).await;
    rig.until("a parked event", |webhook| !webhook.parked.is_empty()).await;
    assert_eq!(rig.webhook("a").parked.values().next().unwrap().seq, Seq(3));
    assert_eq!(tries(&rig, 3), 2 * SCHEDULE.len());
    assert_eq!(rig.count("WebhookParked"), 2);
    rig.event(9000).await;
    rig.pass(Duration::from_secs(10)).await;
    // A template that nobody used for a day had left, and is added again.
    assert_eq!(rig.webhook("a").parked.values().next().unwrap().behind, 5);
}

#[tokio::test(start_paused = true)]
async fn a_drop_goes_on_behind_it_or_gives_those_up_too() {
    for (behind, expected) in [(false, 3), (true, 0)] {
        let rig = one_parked().await;
        rig.forget_seen();
        rig.rule(|_| Does::Answers(200));
        rig.ask("a", WebhookStep::Drop { seq: Seq(3), behind }).await;
        rig.pass(Duration::from_secs(1)).await;
        assert_eq!(rig.seqs(), rig.wanted(Some(9000))[4 - expected..]);
        rig.event(9000).await;
        rig.pass(Duration::from_secs(10)).await;
        // A template that nobody used for a day had left, and is added again.
        assert_eq!(rig.seen().len(), expected + 2, "the lane flows again");
        assert!(rig.webhook("a").held.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn at_the_limit_the_endpoint_pauses_itself_and_goes_on_when_it_is_told_to() {
    let mut rig = Rig::new().await;
    rig.rule(|_| Does::Answers(404));
    let templates = 9000..9070;
    for template in templates.clone() {
        rig.event(template).await;
    }
    rig.pass(Duration::from_secs(10)).await;
    // As if each had been tried to the end.
    for template in templates.clone().take(MAX_PARKED) {
        assert!(rig.webhook("a").paused.is_none());
        let (seq, lane) = (Seq(rig.wanted(Some(template))[0]), Lane::from(&*format!("template/{template}")));
        let event_type = "TemplateAdded".to_owned();
        let step = WebhookStep::Park { seq, event_type, lane, attempts: 10, reason: "status 404".to_owned() };
        rig.ask("a", step).await;
    }
    assert_eq!(rig.webhook("a").paused.unwrap().by, WebhookPauseReason::ParkedLimit);
    rig.kill().await;
    rig.start().await;
    rig.forget_seen();
    rig.rule(|_| Does::Answers(200));
    rig.pass(Duration::from_hours(1)).await;
    assert!(rig.seen().is_empty(), "it is paused");
    rig.ask("a", WebhookStep::Retry { seq: None }).await;
    rig.ask("a", WebhookStep::Resume).await;
    rig.until_seen(2 * templates.len()).await;
    for template in templates {
        let lane = format!("template/{template}");
        let its: Vec<u64> = rig.seen().iter().filter(|it| it.lane == lane).map(|it| it.seq).collect();
        assert_eq!(its, rig.wanted(Some(template)));
    }
}
