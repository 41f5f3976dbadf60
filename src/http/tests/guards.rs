//! Who may come in, and what every answer carries.

use super::*;
use crate::desk::played::decided;
use crate::domain::command::Reply;

type Headers<'a> = &'a [(&'a str, &'a str)];

#[tokio::test]
async fn tokens_and_pages_are_checked_at_the_door() {
    let origin = ("origin", "https://evil.example");
    let host = ("host", "pve.example.com");
    let full = ("authorization", "Bearer full");
    let reader = ("authorization", "Bearer reader");
    let cases: &[(&str, &str, Headers<'_>, u16, &str)] = &[
        ("GET", "/health", &[], 200, "none"),
        ("GET", "/ready", &[], 401, "unauthorized"),
        ("GET", "/status", &[], 401, "unauthorized"),
        ("GET", "/nothing", &[], 401, "unauthorized"),
        ("GET", "/status", &[("authorization", "Bearer x")], 401, "unauthorized"),
        ("GET", "/status", &[reader], 200, "none"),
        ("GET", "/status", &[full, host, origin], 200, "none"),
        ("POST", "/release/x", &[], 401, "unauthorized"),
        ("POST", "/release/x", &[reader], 403, "read_only_token"),
        ("POST", "/release/x", &[full], 422, "invalid_request"),
        ("POST", "/release/x", &[full, host, origin], 403, "cross_site"),
        ("POST", "/release/x", &[full, host, ("sec-fetch-site", "cross-site")], 403, "cross_site"),
        ("POST", "/release/x", &[full, host, ("origin", "https://pve.example.com")], 422, "invalid_request"),
    ];
    let (front, _played) = guarded();
    for (method, target, headers, status, code) in cases {
        let got = ask_with(&front, method, target, headers, "").await;
        assert_eq!((got.status.as_u16(), got.code()), (*status, *code), "{method} {target} {headers:?}");
        let challenge = got.header("www-authenticate").is_some_and(|it| it.starts_with("Bearer"));
        assert_eq!(challenge, *status == 401);
        let tells = got.header("x-event-seq").is_some();
        assert!(!tells || !matches!(*status, 401 | 403), "{method} {target} {headers:?}");
    }
}

#[tokio::test]
async fn every_answer_carries_its_id_and_is_hard_to_misuse() {
    let (front, mut played) = front();
    let asked = tokio::spawn({
        let front = front.clone();
        async move { ask(&front, "POST", "/release/205", "").await }
    });
    let submission = played.next().await;
    submission.answer.send(Ok(decided(Reply::Done))).unwrap();
    let got = asked.await.unwrap();
    let id = got.header("x-request-id").unwrap().to_owned();
    assert_eq!(submission.cause, Some(crate::domain::event::Cause::Request(id)));

    let other = ask(&front, "GET", "/nothing", "").await;
    assert_ne!(other.header("x-request-id"), got.header("x-request-id"));
    for got in [got, other] {
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
        ] {
            assert_eq!(got.header(name), Some(value));
        }
    }
}
