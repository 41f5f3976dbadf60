//! What arrives, in which order, and how often progress is noted.

use super::*;

#[tokio::test(start_paused = true)]
async fn events_arrive_once_and_in_order_and_what_was_before_does_not() {
    let mut rig = Rig::with(Vec::new()).await;
    rig.event(9000).await;
    let before = rig.wanted(None).len();
    rig.stop().await;
    rig.endpoints = vec![endpoint("a")];
    rig.start().await;
    for _ in 0..20 {
        rig.event(9001).await;
    }
    rig.until_seen(21).await;
    assert_eq!(rig.seqs(), rig.wanted(None)[before..]);
    let ids: Vec<String> = rig.seen().into_iter().map(|it| it.id).collect();
    let known: Vec<String> =
        rig.events().iter().filter(|it| rig.seqs().contains(&it.seq.0)).map(|it| it.id.to_string()).collect();
    assert_eq!(ids, known, "webhook-id is the event's own");
}

#[tokio::test(start_paused = true)]
async fn one_lane_waits_for_its_own_and_the_others_flow() {
    let rig = Rig::new().await;
    // Each event of 9000 takes a second, all others nothing.
    rig.rule(|it| {
        if it.lane == "template/9000" { Does::Takes(Duration::from_secs(1)) } else { Does::Answers(200) }
    });
    for _ in 0..5 {
        for template in [9000, 9001, 9002] {
            rig.event(template).await;
        }
    }
    rig.pass(Duration::from_millis(500)).await;
    let others = rig.seen().iter().filter(|it| it.lane != "template/9000").count();
    assert_eq!((others, rig.seen().len()), (12, 13), "{:#?}", rig.seen());
    rig.until_seen(18).await;
    for template in [9000, 9001, 9002] {
        let lane = format!("template/{template}");
        let its: Vec<u64> = rig.seen().iter().filter(|it| it.lane == lane).map(|it| it.seq).collect();
        assert_eq!(its, rig.wanted(Some(template)), "{lane}");
    }
}

#[tokio::test(start_paused = true)]
async fn eight_are_under_way_at_most() {
    let rig = Rig::new().await;
    rig.rule(|_| Does::Takes(Duration::from_secs(1)));
    for template in 9000..9040 {
        rig.event(template).await;
    }
    rig.until_seen(80).await;
    assert_eq!(rig.receivers.open.lock().unwrap()["a"].1, 8);
}

#[tokio::test(start_paused = true)]
async fn a_dead_and_a_slow_endpoint_hold_back_nobody() {
    let names: Vec<String> = (0..50).map(|nth| format!("e{nth}")).collect();
    let rig = Rig::with(names.iter().map(|name| endpoint(name)).collect()).await;
    rig.rule(|it| match it.endpoint.as_str() {
        "e0" => Does::Hangs,
        "e1" => Does::Answers(500),
        _ => Does::Answers(200),
    });
    for template in 9000..9020 {
        rig.event(template).await;
    }
    rig.pass(Duration::from_millis(100)).await;
    for name in &names[2..] {
        let its = rig.seen().iter().filter(|it| it.endpoint == *name).count();
        assert_eq!(its, 40, "{name}");
    }
    assert_eq!(rig.receivers.open.lock().unwrap()["e0"].1, 8);
}

#[tokio::test(start_paused = true)]
async fn progress_is_noted_at_most_every_five_seconds_and_leads_to_no_more() {
    let rig = Rig::new().await;
    let begin = rig.clock.now();
    for _ in 0..600 {
        rig.event(9000).await;
        rig.pass(Duration::from_millis(100)).await;
    }
    rig.pass(Duration::from_secs(10)).await;
    let notes: Vec<Timestamp> = rig
        .events()
        .iter()
        .filter(|it| it.event.type_name() == "WebhookCheckpointed")
        .map(|it| it.at)
        .collect();
    assert!(notes.len() >= 12, "{notes:?}");
    assert!(notes.windows(2).all(|pair| pair[1].since(pair[0]) >= Duration::from_secs(5)), "{notes:?}");
    assert!(notes.len() as u64 <= rig.clock.now().since(begin).as_secs() / 5 + 1);
    let head = rig.engine().published().head;
    rig.pass(Duration::from_hours(20)).await;
    assert_eq!(rig.engine().published().head, head, "nothing happened, so nothing is noted");
    assert_eq!((rig.reading("a").lag_events, rig.reading("a").lag), (0, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn events_about_webhooks_go_where_they_are_asked_for_and_never_to_their_own_endpoint() {
    let everything = Endpoint { types: None, ..endpoint("everything") };
    let alerts = Endpoint { types: Some(["WebhookPaused", "WebhookResumed"].into()), ..endpoint("alerts") };
    let rig = Rig::with(vec![endpoint("a"), everything, alerts]).await;
    rig.ask("a", WebhookStep::Pause).await;
    rig.ask("alerts", WebhookStep::Pause).await;
    rig.ask("alerts", WebhookStep::Resume).await;
    rig.event(9000).await;
    rig.pass(Duration::from_mins(1)).await;
    let of = |name: &str| -> Vec<String> {
        rig.seen().into_iter().filter(|it| it.endpoint == name).map(|it| it.kind).collect()
    };
    assert_eq!(of("alerts"), ["WebhookPaused"]);
    assert_eq!(of("everything"), ["TemplateAdded", "TemplateConfigured"]);
    assert!(of("a").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_template_filter_lets_its_own_through() {
    let of_two = Endpoint { types: None, templates: [Vmid(9001), Vmid(9003)].into(), ..endpoint("a") };
    let rig = Rig::with(vec![of_two]).await;
    for template in 9000..9004 {
        rig.event(template).await;
    }
    rig.pass(Duration::from_secs(1)).await;
    let templates = |it: &Seen| it.lane.clone();
    let lanes: std::collections::BTreeSet<String> = rig.seen().iter().map(templates).collect();
    assert_eq!(lanes, ["template/9001".to_owned(), "template/9003".to_owned()].into());
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_everything_and_a_resume_goes_on_where_it_was() {
    let rig = Rig::new().await;
    rig.ask("a", WebhookStep::Pause).await;
    for _ in 0..3 {
        rig.event(9000).await;
    }
    rig.pass(Duration::from_hours(1)).await;
    assert!(rig.seen().is_empty());
    assert!(rig.reading("a").paused && !rig.reading("a").disabled);
    assert!(rig.reading("a").lag_events >= 4);
    assert!(rig.reading("a").lag >= Duration::from_mins(59), "{:?}", rig.reading("a"));
    rig.ask("a", WebhookStep::Resume).await;
    rig.until_seen(4).await;
    assert_eq!(rig.seqs(), rig.wanted(None));
    assert_eq!(rig.ask("a", WebhookStep::Resume).await.events.len(), 0, "nothing to resume");
}
