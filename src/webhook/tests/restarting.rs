//! Kills, stops, and endpoints that come and go: at least once, never zero times, and in order.

use super::*;

/// The first time each event arrived, in the order of the arrivals.
fn firsts(rig: &Rig, lane: &str) -> Vec<u64> {
    let its = rig.seen();
    let first = its.iter().filter(|it| it.nth == 1 && it.lane == lane);
    first.map(|it| it.seq).collect()
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_moment_nothing_is_lost_and_the_order_is_kept() {
    let mut rig = Rig::new().await;
    // A fifth of all attempts fails, some are slow.
    rig.rule(|it| match (it.seq * 7 + it.nth as u64) % 10 {
        0 | 5 => Does::Answers(500),
        1 | 2 => Does::Takes(Duration::from_millis(700)),
        _ => Does::Answers(200),
    });
    for round in 0..25 {
        for template in 9000..9004 {
            rig.event(template).await;
        }
        rig.pass(Duration::from_millis(130 * round)).await;
        rig.kill().await;
        rig.start().await;
    }
    rig.pass(Duration::from_hours(2)).await;
    assert_eq!(rig.reading("a").lag_events, 0);
    for template in 9000..9004 {
        let lane = format!("template/{template}");
        assert_eq!(firsts(&rig, &lane), rig.wanted(Some(template)), "{lane}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_clean_stop_repeats_nothing() {
    let mut rig = Rig::new().await;
    rig.rule(|_| Does::Takes(Duration::from_secs(1)));
    for _ in 0..5 {
        for template in 9000..9012 {
            rig.event(template).await;
        }
        rig.pass(Duration::from_millis(1500)).await;
        rig.stop().await;
        rig.start().await;
    }
    rig.pass(Duration::from_mins(5)).await;
    let mut seqs = rig.seqs();
    seqs.sort_unstable();
    assert_eq!(seqs, rig.wanted(None));
}

#[tokio::test(start_paused = true)]
async fn what_waits_goes_on_waiting_where_it_was() {
    let mut rig = Rig::new().await;
    rig.rule(|it| Does::Answers(if it.lane == "template/9000" { 500 } else { 200 }));
    rig.event(9000).await;
    rig.event(9000).await;
    rig.event(9001).await;
    // Three tries: at once, after 5 s, after 5 min; the next is half an hour later.
    rig.pass(Duration::from_mins(8)).await;
    let before = rig.seen().len();
    let held = rig.webhook("a").held.values().next().cloned().unwrap();
    assert_eq!((held.attempt, held.behind), (3, 2));
    rig.kill().await;
    rig.start().await;
    rig.pass(Duration::from_mins(10)).await;
    assert_eq!(rig.seen().len(), before, "a restart is no reason to try again");
    rig.rule(|_| Does::Answers(200));
    rig.pass(Duration::from_hours(1)).await;
    assert_eq!(firsts(&rig, "template/9000"), rig.wanted(Some(9000)));
    assert_eq!(rig.seen().len(), before + 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_parked_stays_parked_and_what_was_freed_is_sent() {
    let mut rig = Rig::new().await;
    rig.rule(|it| Does::Answers(if it.seq == 3 { 400 } else { 200 }));
    rig.event(9000).await;
    rig.until("a parked event", |webhook| !webhook.parked.is_empty()).await;
    rig.kill().await;
    rig.start().await;
    rig.event(9000).await;
    rig.pass(Duration::from_secs(10)).await;
    assert_eq!(rig.seqs(), [3; SCHEDULE.len()]);
    rig.rule(|_| Does::Answers(200));
    rig.forget_seen();
    // Freed, and killed before much came of it.
    rig.ask("a", WebhookStep::Retry { seq: None }).await;
    rig.kill().await;
    rig.start().await;
    rig.pass(Duration::from_secs(10)).await;
    // What was sent and not yet noted when it was killed comes again.
    assert_eq!(firsts(&rig, "template/9000"), rig.wanted(Some(9000)));
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_comes_back_goes_on_where_it_was_for_thirty_days() {
    for (days, expected) in [(20, 5), (40, 2)] {
        let mut rig = Rig::new().await;
        rig.event(9000).await;
        rig.until_seen(2).await;
        rig.stop().await;
        let endpoints = std::mem::take(&mut rig.endpoints);
        rig.start().await;
        rig.event(9001).await;
        rig.event(9001).await;
        rig.pass(Duration::from_hours(24 * days)).await;
        rig.stop().await;
        rig.start().await;
        rig.stop().await;
        rig.endpoints = endpoints;
        rig.start().await;
        rig.forget_seen();
        rig.event(9002).await;
        rig.pass(Duration::from_secs(10)).await;
        assert_eq!(rig.seen().len(), expected, "after {days} days");
    }
}

#[tokio::test(start_paused = true)]
async fn state_is_the_fold_of_the_log() {
    let rig = Rig::new().await;
    rig.rule(|it| {
        Does::Answers(if it.seq == 3 {
            400
        } else if it.nth == 1 {
            500
        } else {
            200
        })
    });
    for template in 9000..9010 {
        rig.event(template).await;
    }
    rig.pass(Duration::from_secs(30)).await;
    rig.ask("a", WebhookStep::Replay { from: Seq(1), types: Vec::new(), only_failed: false }).await;
    rig.ask("a", WebhookStep::Retry { seq: None }).await;
    rig.pass(Duration::from_secs(30)).await;
    let mut replayed = State::default();
    rig.events().iter().for_each(|envelope| replayed.apply(envelope));
    let text = |state: &State| serde_json::to_string(state).unwrap();
    let live = rig.engine().published().state;
    assert_eq!(text(&replayed), text(&live));
    let restored: State = serde_json::from_str(&text(&live)).unwrap();
    assert_eq!(text(&restored), text(&live));
}

#[tokio::test(start_paused = true)]
async fn for_how_long_an_event_waits_is_known_after_a_restart() {
    for paused in [true, false] {
        let mut rig = Rig::new().await;
        rig.rule(|_| Does::Answers(500));
        if paused {
            rig.ask("a", WebhookStep::Pause).await;
        }
        rig.event(9000).await;
        rig.pass(Duration::from_mins(10)).await;
        rig.kill().await;
        rig.start().await;
        rig.pass(Duration::from_secs(1)).await;
        let lag = rig.reading("a").lag;
        assert!((600..660).contains(&lag.as_secs()), "{lag:?}, paused {paused}");
    }
}
