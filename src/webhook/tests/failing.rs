//! Receivers that fail: the schedule, being left alone, and the end of patience.

use super::*;
use crate::domain::webhook::WebhookDisableReason;

/// Fails each attempt of template 9000, and nothing else.
fn one_event_fails(status: u16) -> impl Fn(&Seen) -> Does {
    move |it| Does::Answers(if it.lane == "template/9000" { status } else { 200 })
}

#[tokio::test(start_paused = true)]
async fn an_event_is_tried_for_75_hours_by_the_schedule_and_then_parked() {
    let rig = Rig::new().await;
    rig.rule(one_event_fails(500));
    rig.event(9000).await;
    rig.event(9001).await;
    rig.until("a parked event", |webhook| !webhook.parked.is_empty()).await;
    let tries: Vec<Timestamp> =
        rig.seen().iter().filter(|it| it.lane == "template/9000").map(|it| it.at).collect();
    assert_eq!(tries.len(), SCHEDULE.len());
    for (nth, pair) in tries.windows(2).enumerate() {
        let pause = pair[1].since(pair[0]).as_secs_f64();
        let planned = SCHEDULE[nth + 1].as_secs_f64();
        assert!(
            (0.8 * planned..=1.2 * planned + 0.001).contains(&pause),
            "pause {nth}: {pause} of {planned}"
        );
    }
    let all = hours(tries[9].since(tries[0]));
    assert!((60.0..91.0).contains(&all), "{all} hours");
    let pauses: std::collections::BTreeSet<_> = tries.windows(2).map(|it| it[1].since(it[0])).collect();
    assert_ne!(pauses.into_iter().next_back(), Some(SCHEDULE[9]), "the pauses have jitter");
    let parked = rig.webhook("a").parked.values().next().cloned().unwrap();
    assert_eq!((parked.attempts, parked.event_type.as_str()), (10, "TemplateAdded"));
    assert_eq!(parked.reason, "status 500");
}

#[tokio::test(start_paused = true)]
async fn whatever_is_not_2xx_is_a_failure_that_is_tried_again() {
    for status in [204, 301, 308, 400, 401, 404, 408, 413, 422, 425, 429, 500, 599] {
        let rig = Rig::new().await;
        rig.rule(one_event_fails(status));
        rig.event(9000).await;
        rig.until_seen(1).await;
        rig.pass(Duration::from_secs(7)).await;
        assert!(rig.webhook("a").parked.is_empty(), "{status}");
        let again = rig.seen().iter().any(|it| it.nth > 1);
        assert_eq!(again, status != 204, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_asks_for_it_is_left_alone_altogether() {
    let date = |span: Duration| {
        let at = jiff::Timestamp::from_millisecond(EPOCH.after(span).0).unwrap();
        at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
    };
    let minutes = Duration::from_mins(10);
    for (status, ask, waits) in [
        (429, "600".to_owned(), true),
        (502, "600".to_owned(), true),
        (503, "600".to_owned(), true),
        (504, date(minutes), true),
        (500, "600".to_owned(), false),
        (429, "soon".to_owned(), false),
    ] {
        let rig = Rig::new().await;
        let asked = ask.clone();
        rig.rule(move |it| if it.nth == 1 { Does::Asks(status, asked.clone()) } else { Does::Answers(200) });
        rig.event(9000).await;
        rig.until_seen(1).await;
        rig.rule(|_| Does::Answers(200));
        for template in 9001..9010 {
            rig.event(template).await;
        }
        rig.pass(minutes.checked_sub(Duration::from_secs(5)).unwrap()).await;
        assert_eq!(rig.seen().len() == 1, waits, "{status} {ask}: {}", rig.seen().len());
        rig.until_seen(21).await;
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_is_put_off_for_more_than_a_day() {
    let rig = Rig::new().await;
    rig.rule(|it| if it.nth == 1 { Does::Asks(503, "99999999".to_owned()) } else { Does::Answers(200) });
    rig.event(9000).await;
    rig.until_seen(3).await;
    assert!(hours(rig.clock.now().since(EPOCH)) < 48.5);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_gone_is_disabled_until_somebody_resumes_it() {
    let rig = Rig::new().await;
    rig.rule(|_| Does::Answers(410));
    rig.event(9000).await;
    rig.until("the end", |webhook| webhook.disabled.is_some()).await;
    let disabled = rig.webhook("a").disabled.unwrap();
    assert_eq!((disabled.by, disabled.reason.as_str()), (WebhookDisableReason::Gone, "status 410"));
    rig.event(9001).await;
    rig.pass(Duration::from_hours(24 * 10)).await;
    assert_eq!(rig.seen().len(), 1, "nothing is sent any more");
    assert_eq!(rig.count("WebhookDisabled"), 1);
    rig.forget_seen();
    rig.rule(|_| Does::Answers(200));
    rig.ask("a", WebhookStep::Resume).await;
    rig.until_seen(4).await;
    let mut seqs = rig.seqs();
    seqs.sort_unstable();
    assert_eq!(seqs, rig.wanted(None), "nothing was lost");
}

#[tokio::test(start_paused = true)]
async fn five_days_without_a_success_disable_and_one_success_starts_them_anew() {
    let rig = Rig::new().await;
    rig.rule(|_| Does::Answers(503));
    for template in 9000..9003 {
        rig.event(template).await;
    }
    rig.pass(Duration::from_hours(70)).await;
    assert!(rig.webhook("a").failing.is_some());
    rig.rule(|_| Does::Answers(200));
    rig.until("a recovery", |webhook| webhook.failing.is_none()).await;
    let again = rig.clock.now();
    rig.rule(|_| Does::Answers(503));
    for day in 0..7 {
        rig.event(9003 + day).await;
        rig.pass(Duration::from_hours(20)).await;
    }
    rig.until("the end", |webhook| webhook.disabled.is_some()).await;
    let after = hours(rig.webhook("a").disabled.unwrap().since.since(again));
    assert!((120.0..150.0).contains(&after), "{after} hours");
    assert_eq!(rig.webhook("a").disabled.unwrap().by, WebhookDisableReason::Failing);
    assert_eq!((rig.count("WebhookFailing"), rig.count("WebhookRecovered")), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_dead_endpoint_is_not_asked_about_each_event() {
    let rig = Rig::new().await;
    rig.rule(|_| Does::Answers(502));
    for template in 9000..9100 {
        rig.event(template).await;
    }
    rig.pass(Duration::from_secs(30)).await;
    let lanes: std::collections::BTreeSet<String> = rig.seen().into_iter().map(|it| it.lane).collect();
    assert_eq!((lanes.len(), rig.seen().len()), (8, 16));
    assert_eq!(rig.count("WebhookFailing"), 1);
}

#[tokio::test(start_paused = true)]
async fn when_a_dead_endpoint_is_back_what_waits_is_sent_at_once() {
    let rig = Rig::new().await;
    rig.rule(|_| Does::Answers(502));
    for template in 9000..9100 {
        rig.event(template).await;
    }
    rig.pass(Duration::from_hours(3)).await;
    rig.rule(|_| Does::Answers(200));
    rig.forget_seen();
    rig.until_seen(1).await;
    assert!(hours(rig.seen()[0].at.since(EPOCH)) < 4.1, "a probe an hour finds it back");
    rig.pass(Duration::from_secs(1)).await;
    assert_eq!(rig.seen().len(), 200);
    for template in 9000..9100 {
        let lane = format!("template/{template}");
        let its: Vec<u64> = rig.seen().iter().filter(|it| it.lane == lane).map(|it| it.seq).collect();
        assert_eq!(its, rig.wanted(Some(template)));
    }
    assert_eq!(rig.reading("a").lag_events, 0);
}

#[tokio::test(start_paused = true)]
async fn many_events_that_nobody_takes_do_not_stop_the_others() {
    let rig = Rig::new().await;
    rig.rule(|it| Does::Answers(if *it.lane < *"template/9010" { 500 } else { 200 }));
    for template in 9000..9060 {
        rig.event(template).await;
    }
    rig.pass(Duration::from_mins(30)).await;
    let taken = rig.seen().iter().filter(|it| *it.lane >= *"template/9010").count();
    assert_eq!(taken, 100);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_fails_now_and_then_fills_no_log() {
    let rig = Rig::new().await;
    rig.rule(|it| Does::Answers(if it.seq % 10 == 0 && it.nth == 1 { 500 } else { 200 }));
    for nth in 0..300 {
        rig.event(9000 + nth % 5).await;
        rig.pass(Duration::from_millis(20)).await;
    }
    rig.pass(Duration::from_mins(5)).await;
    assert_eq!(rig.reading("a").lag_events, 0);
    let notes = rig.count("WebhookFailing") + rig.count("WebhookRecovered");
    assert!(notes <= 20, "{notes}");
}

#[tokio::test(start_paused = true)]
async fn who_wants_a_long_silence_is_shown_with_it_and_can_be_resumed_before() {
    let rig = Rig::new().await;
    rig.rule(|_| Does::Asks(503, "86400".to_owned()));
    rig.event(9000).await;
    rig.until("a failing endpoint", |webhook| webhook.failing.is_some()).await;
    let until = rig.reading("a").left_alone_until.expect("an instant");
    assert_eq!(until.since(rig.clock.now()).as_secs().div_ceil(3600), 24);
    rig.rule(|_| Does::Answers(200));
    rig.pass(Duration::from_mins(10)).await;
    let sent = rig.seqs();
    assert_eq!(sent.len(), 1);
    rig.ask("a", WebhookStep::Resume).await;
    rig.pass(Duration::from_secs(1)).await;
    assert_eq!(
        (rig.seqs(), rig.reading("a").left_alone_until),
        ([&sent[..], &rig.wanted(None)].concat(), None)
    );
}

#[tokio::test(start_paused = true)]
async fn a_try_before_its_time_that_fails_too_parks_nothing() {
    let rig = Rig::new().await;
    rig.rule(one_event_fails(500));
    rig.event(9000).await;
    rig.until_seen(SCHEDULE.len() - 1).await;
    for step in [WebhookStep::Pause, WebhookStep::Resume] {
        rig.ask("a", step).await;
    }
    rig.until_seen(SCHEDULE.len()).await;
    rig.pass(Duration::from_secs(1)).await;
    assert!(rig.webhook("a").parked.is_empty());
    rig.until("a parked event", |webhook| !webhook.parked.is_empty()).await;
    assert_eq!(rig.seen().len(), SCHEDULE.len() + 1);
}

#[tokio::test(start_paused = true)]
async fn of_what_waits_for_a_resumption_that_counts_which_is_wanted() {
    let rig = Rig::new().await;
    rig.ask("a", WebhookStep::Pause).await;
    rig.pass(Duration::from_hours(8)).await;
    assert_eq!((rig.reading("a").lag_events, rig.reading("a").lag), (0, Duration::ZERO));
    rig.event(9000).await;
    rig.pass(Duration::from_mins(1)).await;
    assert_eq!((rig.reading("a").lag_events, rig.reading("a").lag), (2, Duration::from_mins(1)));
    assert!(rig.seen().is_empty());
}
