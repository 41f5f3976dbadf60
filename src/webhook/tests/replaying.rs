//! Sending once more: from an event or an instant, by type, what failed, beside what is sent anyway.

use super::*;
use crate::domain::command::Rejection;
use crate::domain::event::Event;
use crate::domain::webhook::MAX_REPLAYS;
use crate::engine::Refused;

fn replay(from: u64, types: &[&str], only_failed: bool) -> WebhookStep {
    let types = types.iter().map(|name| (*name).to_owned()).collect();
    WebhookStep::Replay { from: Seq(from), types, only_failed }
}

/// Some events that were delivered.
async fn delivered() -> Rig {
    let rig = Rig::new().await;
    for template in [9000, 9001, 9000, 9002, 9001] {
        rig.event(template).await;
    }
    rig.until_seen(8).await;
    rig.forget_seen();
    rig
}

#[tokio::test(start_paused = true)]
async fn a_replay_sends_everything_from_there_under_the_same_ids() {
    let rig = delivered().await;
    let all = rig.wanted(None);
    rig.ask("a", replay(all[2], &[], false)).await;
    rig.until("its end", |webhook| webhook.replays.is_empty()).await;
    let mut seqs = rig.seqs();
    seqs.sort_unstable();
    assert_eq!(seqs, all[2..]);
    let ids: Vec<String> = rig.seen().into_iter().map(|it| it.id).collect();
    assert!(
        rig.events().iter().filter(|it| seqs.contains(&it.seq.0)).all(|it| ids.contains(&it.id.to_string()))
    );
    let ended = rig.events().into_iter().find_map(|it| match it.event {
        Event::WebhookReplayEnded(e) => Some((e.delivered, e.failed)),
        _ => None,
    });
    assert_eq!(ended, Some((6, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_replay_of_one_type_sends_that_alone() {
    let rig = delivered().await;
    rig.ask("a", replay(1, &["TemplateAdded"], false)).await;
    rig.until("its end", |webhook| webhook.replays.is_empty()).await;
    assert!(rig.seen().iter().all(|it| it.kind == "TemplateAdded"));
    assert_eq!(rig.seen().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_replay_of_what_failed_tries_parked_events_of_that_time_and_type() {
    let rig = Rig::new().await;
    rig.rule(|it| Does::Answers(if it.kind == "TemplateAdded" { 400 } else { 200 }));
    for template in [9000, 9001, 9002] {
        rig.event(template).await;
    }
    rig.until("three parked", |webhook| webhook.parked.len() == 3).await;
    rig.forget_seen();
    rig.rule(|_| Does::Answers(200));
    let second = rig.wanted(Some(9001))[0];
    rig.ask("a", replay(1, &["TemplateConfigured"], true)).await;
    rig.pass(Duration::from_secs(1)).await;
    assert!(rig.seen().is_empty(), "none of that type is parked");
    rig.ask("a", replay(second, &["TemplateAdded"], true)).await;
    rig.pass(Duration::from_secs(1)).await;
    let lanes: Vec<String> = rig.webhook("a").parked.keys().map(ToString::to_string).collect();
    assert_eq!((lanes, rig.seen().len()), (vec!["template/9000".to_owned()], 4));
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_fails_is_retried_counted_and_parks_nothing() {
    let rig = delivered().await;
    let poison = rig.wanted(Some(9000))[1];
    rig.rule(move |it| match (it.lane.as_str(), it.nth) {
        (_, _) if it.seq == poison => Does::Answers(422),
        ("template/9001", 1) => Does::Answers(503),
        _ => Does::Answers(200),
    });
    rig.ask("a", replay(1, &[], false)).await;
    rig.event(9003).await;
    rig.until("its end", |webhook| webhook.replays.is_empty()).await;
    assert!(rig.webhook("a").parked.is_empty());
    let ended = rig.events().into_iter().find_map(|it| match it.event {
        Event::WebhookReplayEnded(e) => Some((e.delivered, e.failed)),
        _ => None,
    });
    assert_eq!(ended, Some((7, 1)));
    let missed: Vec<_> = (rig.events().into_iter())
        .filter_map(|it| match it.event {
            Event::WebhookReplayMissed(e) => Some((e.seq.0, e.reason)),
            _ => None,
        })
        .collect();
    assert_eq!(missed, [(poison, "status 422".to_owned())]);
    assert_eq!(rig.reading("a").lag_events, 0);
}

#[tokio::test(start_paused = true)]
async fn replays_follow_one_another_and_do_not_hold_up_what_is_new() {
    let rig = delivered().await;
    rig.rule(|it| if it.seq < 12 { Does::Takes(Duration::from_secs(10)) } else { Does::Answers(200) });
    for _ in 0..MAX_REPLAYS {
        rig.ask("a", replay(1, &[], false)).await;
    }
    let command = WebhookCommand { endpoint: "a".into(), step: replay(1, &[], false) };
    let refused = rig.engine().submit(Command::Webhook(command), None, false).await;
    assert!(matches!(refused, Err(Refused::Rejected(Rejection::TooManyReplays { .. }))), "{refused:?}");
    rig.pass(Duration::from_secs(1)).await;
    let new = rig.event(9000).await;
    rig.pass(Duration::from_secs(1)).await;
    assert!(rig.seqs().contains(&new.0), "{:?}", rig.seqs());
    rig.until("their end", |webhook| webhook.replays.is_empty()).await;
    assert_eq!(rig.seen().len(), MAX_REPLAYS * 8 + 1);
}

#[tokio::test(start_paused = true)]
async fn a_replay_goes_on_after_a_restart() {
    let mut rig = Rig::new().await;
    for nth in 0..40 {
        rig.event(9000 + nth % 2).await;
    }
    rig.until_seen(42).await;
    rig.forget_seen();
    rig.rule(|_| Does::Takes(Duration::from_secs(1)));
    rig.ask("a", replay(1, &[], false)).await;
    rig.pass(Duration::from_secs(12)).await;
    let before = rig.seen().len();
    rig.kill().await;
    rig.start().await;
    rig.until("its end", |webhook| webhook.replays.is_empty()).await;
    let all = rig.wanted(None);
    assert!(all.iter().all(|seq| rig.seqs().contains(seq)), "none is left out");
    assert!(
        before > 20 && rig.seen().len() < 42 + 20,
        "{before} of {}: not from the beginning",
        rig.seen().len()
    );
}

#[tokio::test(start_paused = true)]
async fn an_instant_leads_to_the_first_event_at_or_after_it() {
    let rig = Rig::new().await;
    let mut at = Vec::new();
    for _ in 0..20 {
        rig.pass(Duration::from_mins(1)).await;
        rig.event(9000).await;
    }
    for it in rig.events() {
        at.push((it.at, it.seq));
    }
    let webhooks = &rig.at_work.as_ref().unwrap().webhooks;
    for probe in 0..1400 {
        let instant = EPOCH.after(Duration::from_secs(probe));
        let expected = at.iter().find(|(at, _)| *at >= instant).map(|(_, seq)| *seq);
        let head = rig.engine().published().head;
        assert_eq!(webhooks.seq_at(instant).await.unwrap(), expected.unwrap_or(head.next()), "{probe}");
    }
}
