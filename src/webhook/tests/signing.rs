//! What is signed, and with what.

use standardwebhooks::Webhook as Key;

use super::*;
use crate::domain::event::TemplateDrained;
use crate::log::Record;

const OTHER_KEY: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD3bQhx7kWzLM=";

#[tokio::test(start_paused = true)]
async fn the_body_is_the_envelope_with_a_timestamp() {
    let rig = Rig::new().await;
    rig.event(9000).await;
    let reader = &rig.at_work.as_ref().unwrap().webhooks.0.reader;
    for record in reader.read(Seq(0), 100, reader.head()).unwrap() {
        let body: Value = serde_json::from_slice(&Message::of(&record).body).unwrap();
        let mut expected: Value = serde_json::from_str(&record.json).unwrap();
        expected["timestamp"] = expected["at"].clone();
        assert_eq!(body, expected);
        assert!(body["type"].is_string() && body["data"].is_object());
    }
}

#[tokio::test]
async fn each_key_signs_what_is_sent() {
    let keys = [KEY, OTHER_KEY].map(crate::config::Secret::new);
    let endpoint = Arc::new(Endpoint { secrets: keys.to_vec(), ..endpoint("a") });
    let envelope = Envelope {
        seq: Seq(7),
        id: Ulid::from_parts(1, 2),
        at: EPOCH,
        event: TemplateDrained { template: Vmid(9000) }.into(),
        cause: None,
        more: false,
    };
    let json = r#"{"seq":7,"type":"TemplateDrained"}"#.into();
    let message = Message::of(&Record { envelope, json });
    let attempt = message.attempt(&endpoint, EPOCH.after(Duration::from_millis(1999)));
    assert_eq!(attempt.id, Ulid::from_parts(1, 2).to_string());
    assert_eq!(attempt.timestamp, EPOCH.0 / 1000 + 1);
    let signatures: Vec<&str> = attempt.signature.split(' ').collect();
    assert_eq!(signatures.len(), 2);
    for (key, signature) in [KEY, OTHER_KEY].iter().zip(signatures) {
        let expected = Key::new(key).unwrap().sign(&attempt.id, attempt.timestamp, &attempt.body).unwrap();
        assert_eq!(signature, expected);
    }
}

/// Prints messages for `.ci/webhook-signature`, which verifies them with the reference library of Python.
#[tokio::test]
async fn messages_for_other_libraries() {
    let keys = [KEY, OTHER_KEY].map(crate::config::Secret::new);
    let endpoint = Arc::new(Endpoint { secrets: keys.to_vec(), ..endpoint("a") });
    let now = Clock::system().now();
    for text in ["", "plain", "žluťoučký \"kůň\" \u{1f40e}"] {
        let mut message = Message::test(&endpoint.name, Ulid::from_parts(1, 2), now);
        let body = String::from_utf8(message.body.to_vec()).unwrap();
        message.body = body.replace("\"v\":1", &format!("\"v\":1,\"x\":{}", serde_json::json!(text))).into();
        let attempt = message.attempt(&endpoint, now);
        let headers = serde_json::json!({
            "webhook-id": attempt.id,
            "webhook-timestamp": attempt.timestamp.to_string(),
            "webhook-signature": attempt.signature,
        });
        let body = String::from_utf8(attempt.body.to_vec()).unwrap();
        println!(
            "MESSAGE {}",
            serde_json::json!({ "keys": [KEY, OTHER_KEY], "headers": headers, "body": body })
        );
    }
}
