//! Events that are given up, what waits behind them, and what is done about both.

use super::*;
use crate::domain::command::Rejection;
use crate::domain::webhook::{MAX_PARKED, WebhookPauseReason};
use crate::engine::Refused;

/// Two events of 9000, the first of which is refused, and a few of others.
async fn one_parked() -> Rig {
    let rig = Rig::new().await;
    rig.rule(|it| Does::Answers(if it.seq == 3 { 422 } else { 200 }));
    for template in [9000, 9001, 9000, 9002, 9000] {
        rig.event(template).await;
    }
    rig.pass(Duration::from_secs(20)).await;
    rig
}

#[tokio::test(start_paused = true)]
async fn a_refused_event_is_parked_with_the_later_ones_of_its_lane_behind_it() {
    let rig = one_parked().await;
    let own = rig.wanted(Some(9000));
    assert_eq!(own[0], 3, "the refused one");
    let sent: Vec<u64> = rig.seqs().into_iter().filter(|seq| own.contains(seq)).collect();
    assert_eq!(sent, [3]);
    let others = rig.seqs().len() - 1;
    assert_eq!(others, rig.wanted(None).len() - own.len(), "the others flow");
    let webhook = rig.webhook("a");
    let (lane, parked) = webhook.parked.iter().next().unwrap();
    assert_eq!((lane.as_str(), parked.seq, parked.attempts), ("template/9000", Seq(3), 1));
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
    rig.ask("a", WebhookStep::Retry { seq: None }).await;
    rig.pass(Duration::from_secs(10)).await;
    assert_eq!(rig.webhook("a").parked.values().next().unwrap().seq, Seq(3));
    assert_eq!(rig.seen().iter().filter(|it| it.seq == 3).count(), 2);
    assert_eq!(rig.count("WebhookParked"), 2);
    rig.event(9000).await;
    rig.pass(Duration::from_secs(10)).await;
    assert_eq!(rig.webhook("a").parked.values().next().unwrap().behind, 4);
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
        assert_eq!(rig.seen().len(), expected + 1, "the lane flows again");
        assert!(rig.webhook("a").held.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn at_the_limit_the_endpoint_pauses_itself() {
    let rig = Rig::new().await;
    rig.rule(|_| Does::Answers(404));
    for template in 9000..9100 {
        rig.event(template).await;
    }
    rig.until("a pause", |webhook| webhook.paused.is_some()).await;
    assert_eq!(rig.webhook("a").paused.unwrap().by, WebhookPauseReason::ParkedLimit);
    rig.pass(Duration::from_hours(1)).await;
    let parked = rig.webhook("a").parked.len();
    // Those under way at that moment come on top.
    assert!((MAX_PARKED..MAX_PARKED + 8).contains(&parked), "{parked}");
    rig.rule(|_| Does::Answers(200));
    rig.forget_seen();
    rig.ask("a", WebhookStep::Retry { seq: None }).await;
    rig.ask("a", WebhookStep::Resume).await;
    rig.until_seen(200).await;
    for template in 9000..9100 {
        let lane = format!("template/{template}");
        let its: Vec<u64> = rig.seen().iter().filter(|it| it.lane == lane).map(|it| it.seq).collect();
        assert_eq!(its, rig.wanted(Some(template)));
    }
}
