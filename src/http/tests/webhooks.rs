//! Webhook endpoints over HTTP: what is shown, what is not, and what reaches the engine.

use serde_json::json;

use super::*;
use crate::desk::played::decided;
use crate::domain::command::{Command, Rejection, Reply};
use crate::domain::ids::{EndpointName, Lane, Seq};
use crate::domain::webhook::{Parked, Webhook, WebhookCommand, WebhookStep};
use crate::engine::Refused;

fn hook() -> EndpointName {
    "hook".into()
}

/// A front whose State has an event parked for the endpoint.
fn parked() -> (Front, Played) {
    let mut state = played::running();
    let mut webhook = Webhook { cursor: Seq(40), ..Webhook::default() };
    let parked = Parked {
        seq: Seq(7),
        event_type: "Allocated".to_owned(),
        since: NOW,
        attempts: 1,
        reason: "status 422".to_owned(),
        behind: 2,
    };
    webhook.parked.insert(Lane::from("container/205"), parked);
    state.webhooks.insert(hook(), webhook);
    front_with(state, Guards::default(), Limits::default())
}

#[tokio::test]
async fn the_list_shows_where_each_stands_and_no_secret() {
    let (front, _played) = parked();
    let got = ask(&front, "GET", "/webhooks", "").await;
    let shown = got.body.to_string();
    assert!(!shown.contains("secret-path") && !shown.contains("MfKQ"), "{shown}");
    let one = &got.body["webhooks"][0];
    assert_eq!(
        (&one["name"], &one["target"], &one["secrets"], &one["state"]),
        (&json!("hook"), &json!("https://hooks.example.com"), &json!(["whsec_…LaSw"]), &json!("active"))
    );
    assert_eq!(one["attempts"]["delivered"], json!(0));
    assert_eq!(
        one["parked"],
        json!([{
            "seq": 7,
            "type": "Allocated",
            "lane": "container/205",
            "since": NOW.to_string(),
            "attempts": 1,
            "reason": "status 422",
            "behind": 2,
        }])
    );
    assert_eq!((&got.body["head"], got.header("x-event-seq")), (&json!(41), Some("41")));
    assert_eq!(ask(&front, "GET", "/webhooks/hook", "").await.body, *one);
}

#[tokio::test]
async fn an_unknown_endpoint_is_not_found_without_asking_the_engine() {
    let (front, _played) = front();
    for (method, target) in [
        ("GET", "/webhooks/nobody"),
        ("POST", "/webhooks/nobody/test"),
        ("POST", "/webhooks/nobody/pause"),
        ("POST", "/webhooks/nobody/parked/retry"),
        ("DELETE", "/webhooks/nobody/parked/7"),
    ] {
        let got = ask(&front, method, target, "").await;
        assert_eq!((got.status.as_u16(), got.code()), (404, "webhook_not_found"), "{method} {target}");
    }
}

#[tokio::test]
async fn each_write_is_its_command() {
    let replay = |from, types: &[&str], only_failed| WebhookStep::Replay {
        from: Seq(from),
        types: types.iter().map(|name| (*name).to_owned()).collect(),
        only_failed,
    };
    let cases = [
        ("POST", "/webhooks/hook/pause", "", WebhookStep::Pause),
        ("POST", "/webhooks/hook/resume", "", WebhookStep::Resume),
        ("POST", "/webhooks/hook/parked/retry", "", WebhookStep::Retry { seq: None }),
        ("POST", "/webhooks/hook/parked/7/retry", "", WebhookStep::Retry { seq: Some(Seq(7)) }),
        ("DELETE", "/webhooks/hook/parked/7", "", WebhookStep::Drop { seq: Seq(7), behind: false }),
        ("DELETE", "/webhooks/hook/parked/7?behind=1", "", WebhookStep::Drop { seq: Seq(7), behind: true }),
        ("POST", "/webhooks/hook/replay", r#"{"from_seq":7}"#, replay(7, &[], false)),
        (
            "POST",
            "/webhooks/hook/replay",
            r#"{"from_seq":7,"types":["Released"],"only":"all"}"#,
            replay(7, &["Released"], false),
        ),
        ("POST", "/webhooks/hook/replay", r#"{"only":"failed"}"#, replay(1, &[], true)),
    ];
    for (method, target, body, step) in cases {
        let (front, mut played) = parked();
        let asked = tokio::spawn({
            let (method, target, body) = (method.to_owned(), target.to_owned(), body.to_owned());
            async move { ask(&front, &method, &target, &body).await }
        });
        let command = played.answer(Ok(decided(Reply::Done))).await;
        assert_eq!(command, Command::Webhook(WebhookCommand { endpoint: hook(), step }), "{target} {body}");
        let got = asked.await.unwrap();
        assert_eq!((got.status.as_u16(), &got.body["name"]), (200, &json!("hook")), "{target}");
    }
}

#[tokio::test]
async fn a_wrong_replay_is_told_what_is_wrong() {
    let (front, _played) = front();
    for (body, fields) in [
        ("{}", vec!["from_seq"]),
        (r#"{"from_seq":1,"since":"2026-11-24T00:00:00Z"}"#, vec!["from_seq"]),
        (r#"{"from_seq":0}"#, vec!["from_seq"]),
        (r#"{"from_seq":42}"#, vec!["from_seq"]),
        (r#"{"since":"yesterday"}"#, vec!["since"]),
        (r#"{"from_seq":1,"types":["Nonsense"],"only":"most","x":1}"#, vec!["types", "only", "x"]),
        (r#"{"from_seq":1,"types":["WebhookCheckpointed"]}"#, vec!["types"]),
    ] {
        let got = ask(&front, "POST", "/webhooks/hook/replay", body).await;
        assert_eq!((got.status.as_u16(), got.fields()), (422, fields), "{body}: {got:?}");
    }
}

#[tokio::test]
async fn a_test_says_what_came_of_it_and_is_noted() {
    let (front, mut played) = front();
    let asked = tokio::spawn(async move { ask(&front, "POST", "/webhooks/hook/test", "").await });
    let Command::Webhook(command) = played.answer(Ok(decided(Reply::Done))).await else { panic!() };
    assert!(matches!(command.step, WebhookStep::Tested { delivered: true, status: Some(204), .. }));
    let got = asked.await.unwrap();
    assert_eq!((&got.body["delivered"], &got.body["status"]), (&json!(true), &json!(204)));
}

#[tokio::test]
async fn refusals_are_problems() {
    let cases = [
        (Rejection::WebhookNotParked { endpoint: hook(), seq: Seq(7) }, 404, "not_parked"),
        (Rejection::WebhookUnknown { endpoint: hook() }, 404, "webhook_not_found"),
    ];
    for (rejection, status, code) in cases {
        let (front, mut played) = front();
        let asked =
            tokio::spawn(async move { ask(&front, "POST", "/webhooks/hook/parked/7/retry", "").await });
        played.answer(Err(Refused::Rejected(rejection))).await;
        let got = asked.await.unwrap();
        assert_eq!((got.status.as_u16(), got.code()), (status, code));
    }
}

#[tokio::test]
async fn a_token_that_may_only_read_changes_nothing() {
    let (front, _played) = guarded();
    let reader = [("authorization", "Bearer reader")];
    assert_eq!(ask_with(&front, "GET", "/webhooks", &reader, "").await.status.as_u16(), 200);
    for route in routes::ALL.iter().filter(|route| route.path.starts_with("/webhooks") && route.is_write()) {
        let target = route.path.replace("{name}", "hook").replace("{seq}", "7");
        let got = ask_with(&front, route.method.as_str(), &target, &reader, "").await;
        assert_eq!(got.code(), "read_only_token", "{target}");
    }
}
