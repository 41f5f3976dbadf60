//! Webhooks in the whole service: configured by the environment, seen and steered over HTTP.

use serde_json::json;

use crate::world::World;

/// An endpoint at an address where nobody listens.
fn unanswered() -> World {
    World::new()
        .set("WEBHOOK_URL", "http://127.0.0.1:9/hook-with-a-secret")
        .set("WEBHOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        .set("WEBHOOK_ALLOW_CIDRS", "127.0.0.0/8")
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_does_not_answer_is_seen_and_costs_the_pool_nothing() {
    let world = unanswered().full().await;
    world
        .until("failures to be noted", |state| {
            state.webhooks.values().any(|webhook| webhook.failing.is_some())
        })
        .await;
    assert_eq!(world.allocate("pvelxc-1").await.status, 200);
    let body = world.get("/webhooks").await.ok();
    let one = &body["webhooks"][0];
    assert_eq!((&one["name"], &one["state"]), (&json!("default"), &json!("failing")));
    assert!(one["lag_events"].as_u64().is_some_and(|lag| lag > 0), "{one}");
    assert!(one["last_error"]["reason"].is_string(), "{one}");
    let text = body.to_string();
    assert!(!text.contains("hook-with-a-secret") && !text.contains("MfKQ"), "{text}");
    world.settle().await;
    world.check();
}

#[tokio::test(start_paused = true)]
async fn it_is_paused_resumed_tested_and_asked_to_send_once_more() {
    let mut world = unanswered().full().await;
    let paused = world.post("/webhooks/default/pause", None).await;
    assert!(paused.seq.is_some());
    assert_eq!(paused.ok()["state"], json!("paused"));
    let test = world.post("/webhooks/default/test", None).await.ok();
    assert_eq!(test["delivered"], json!(false));
    let replay = world.post("/webhooks/default/replay", Some(json!({ "from_seq": 1 }))).await.ok();
    assert_eq!(replay["replays"][0]["upto"], json!(replay["replays"][0]["id"].as_u64().unwrap() - 1));
    let events = world.events();
    let later = events.last().expect("events").at;
    let first = events.iter().find(|envelope| envelope.at >= later).expect("the last one").seq;
    let replay =
        world.post("/webhooks/default/replay", Some(json!({ "since": later.to_string() }))).await.ok();
    assert_eq!(replay["replays"][1]["cursor"], json!(first.0 - 1));
    let dry = world.post("/webhooks/default/resume?dry_run=true", None).await.ok();
    assert_eq!(dry["events"][0]["type"], json!("WebhookResumed"));
    world.stop().await;
    world.start().await;
    assert_eq!(world.get("/webhooks/default").await.ok()["state"], json!("paused"));
    assert_eq!(world.post("/webhooks/default/resume", None).await.ok()["state"], json!("active"));
    assert_eq!(world.post("/webhooks/other/pause", None).await.body["code"], "webhook_not_found");
    assert_eq!(world.delete("/webhooks/default/parked/7").await.body["code"], "not_parked");
    world.settle().await;
    world.check();
}
