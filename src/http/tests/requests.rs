//! Requests that are wrong before anybody is asked: each says what, and what was expected.

use super::*;

#[tokio::test]
async fn a_wrong_body_names_its_fields() {
    let (front, _played) = front();
    let entries: Vec<_> = (0..65).map(|n| format!("\"k{n}\":\"v\"")).collect();
    let many = format!(r#"{{"template_vmid":9009,"metadata":{{{}}}}}"#, entries.join(","));
    let large = format!(r#"{{"template_vmid":9009,"metadata":{{"k":"{}"}}}}"#, "v".repeat(16 * 1024));
    let cases: &[(&str, &[&str])] = &[
        ("", &["body"]),
        ("{", &["body"]),
        ("[]", &["body"]),
        ("{}", &["template_vmid"]),
        (r#"{"template_vmid":null}"#, &["template_vmid"]),
        (r#"{"template_vmid":"abc"}"#, &["template_vmid"]),
        (r#"{"template_vmid":9.5}"#, &["template_vmid"]),
        (r#"{"template_vmid":99}"#, &["template_vmid"]),
        (r#"{"template_vmid":9009,"instance_id":5}"#, &["instance_id"]),
        (r#"{"template_vmid":9009,"instance_id":"-x"}"#, &["instance_id"]),
        (r#"{"template_vmid":9009,"instance_id":"pool-9009-mine"}"#, &["instance_id"]),
        (r#"{"template_vmid":9009,"metadata":"x"}"#, &["metadata"]),
        (r#"{"template_vmid":9009,"metadata":{"a":1}}"#, &["metadata.a"]),
        (r#"{"template_vmid":9009,"ttl_seconds":0}"#, &["ttl_seconds"]),
        (r#"{"template_vmid":9009,"ttl_seconds":-1}"#, &["ttl_seconds"]),
        (r#"{"template_vmid":9009,"ttl_seconds":1e30}"#, &["ttl_seconds"]),
        (
            r#"{"instance_id":"a b","metadata":[],"ttl_seconds":"x"}"#,
            &["template_vmid", "instance_id", "metadata", "ttl_seconds"],
        ),
        (&many, &["metadata"]),
        (&large, &["metadata"]),
    ];
    for (body, fields) in cases {
        let got = ask(&front, "POST", "/allocate", body).await;
        assert_eq!((got.status.as_u16(), got.code()), (422, "invalid_request"), "{body}");
        assert_eq!(got.fields(), *fields, "{body}");
        assert_eq!(got.header("content-type"), Some("application/problem+json"));
        assert_eq!(got.header("x-event-seq"), Some("41"));
    }
}

#[tokio::test]
async fn a_wrong_parameter_is_named() {
    let (front, _played) = front();
    let cases: &[(&str, &str, &[&str])] = &[
        ("POST", "/allocate?start=maybe", &["start"]),
        ("POST", "/allocate?dry_run=2", &["dry_run"]),
        ("POST", "/release/abc", &["vmid"]),
        ("POST", "/release/5", &["vmid"]),
        ("DELETE", "/containers/99999999999", &["vmid"]),
        ("POST", "/warm/abc", &["template_vmid"]),
        ("POST", "/warm/9009?count=-1", &["count"]),
        ("POST", "/warm/9009?count=many", &["count"]),
        ("POST", "/warm/9009?count=10001", &["count"]),
        ("GET", "/containers?state=sleeping", &["state"]),
        ("GET", "/containers?template=x", &["template"]),
        ("GET", "/containers?sate=ready&x=1", &["sate", "x"]),
        ("GET", "/containers/abc", &["vmid"]),
        ("GET", "/status?min_seq=x", &["min_seq"]),
        ("GET", "/templates/abc", &["vmid"]),
        ("POST", "/templates/abc/refresh", &["vmid"]),
    ];
    for (method, target, fields) in cases {
        let got = ask(&front, method, target, r#"{"template_vmid":9009}"#).await;
        assert_eq!((got.status.as_u16(), got.fields()), (422, fields.to_vec()), "{method} {target}");
    }
}

#[tokio::test]
async fn wrong_sizes_are_named() {
    let (front, _played) = front();
    let cases: &[(&str, &[&str])] = &[
        (r#"{"target":-1}"#, &["target"]),
        (r#"{"min":"x","max":1.5}"#, &["min", "max"]),
        (r#"{"target":3,"target_size":3}"#, &["target_size"]),
        (r#"{"max":10001}"#, &["max"]),
        ("[]", &["body"]),
    ];
    for (body, fields) in cases {
        let got = ask(&front, "PUT", "/templates/9009", body).await;
        assert_eq!((got.status.as_u16(), got.fields()), (422, fields.to_vec()), "{body}");
    }
}

#[tokio::test]
async fn a_problem_document_has_all_its_members() {
    let (front, _played) = front();
    let got = ask(&front, "POST", "/release/x", "").await;
    let expected = "expected a VMID from 100 to 999999999";
    assert_eq!(
        got.body,
        serde_json::json!({
            "type": "about:blank",
            "title": "The request is not valid",
            "status": 422,
            "detail": format!("vmid: {expected}"),
            "code": "invalid_request",
            "next_step": "Correct what `errors` names; /docs shows each request",
            "errors": [{ "field": "vmid", "expected": expected }],
        })
    );
}

#[tokio::test]
async fn what_is_not_there_says_so() {
    let (front, _played) = front();
    let cases = [
        ("POST", "/", 405, "method_not_allowed", Some("GET, HEAD")),
        ("GET", "/nothing", 404, "not_found", None),
        ("POST", "/release", 404, "not_found", None),
        ("GET", "/allocate", 405, "method_not_allowed", Some("POST")),
        ("POST", "/status", 405, "method_not_allowed", Some("GET, HEAD")),
        ("HEAD", "/allocate", 405, "none", Some("POST")),
        ("OPTIONS", "/containers/205", 405, "method_not_allowed", Some("GET, DELETE, HEAD")),
        ("PATCH", "/templates/9009", 405, "method_not_allowed", Some("GET, PUT, DELETE, HEAD")),
    ];
    for (method, target, status, code, allow) in cases {
        let got = ask(&front, method, target, "").await;
        assert_eq!((got.status.as_u16(), got.code()), (status, code), "{method} {target}");
        assert_eq!(got.header("allow"), allow, "{method} {target}");
    }
}

#[tokio::test]
async fn a_body_must_be_small_json() {
    let (front, _played) = front();
    let body = format!(r#"{{"template_vmid":"{}"}}"#, "9".repeat(64 * 1024));
    let got = ask(&front, "POST", "/allocate", &body).await;
    assert_eq!((got.status.as_u16(), got.code()), (413, "payload_too_large"));

    for (content_type, expected) in [
        ("application/json", 422),
        ("application/json; charset=utf-8", 422),
        ("application/vnd.x+json", 422),
        ("application/x-www-form-urlencoded", 415),
        ("text/plain", 415),
    ] {
        let got = ask_with(&front, "POST", "/allocate", &[("content-type", content_type)], "{}").await;
        assert_eq!(got.status.as_u16(), expected, "{content_type}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let (front, _played) = front();
    let never = futures_util::stream::pending::<Result<hyper::body::Frame<Bytes>, std::io::Error>>();
    let body = http_body_util::StreamBody::new(never);
    let request = Request::post("/allocate").body(body).unwrap();
    assert_eq!(front.answer(request).await.status(), 408);
}

#[tokio::test]
async fn a_head_is_a_get_without_its_body() {
    let (front, _played) = front();
    for target in ["/health", "/status", "/", "/containers/999"] {
        let (get, head) = (ask(&front, "GET", target, "").await, ask(&front, "HEAD", target, "").await);
        assert_eq!((head.status, &head.body), (get.status, &Value::Null), "{target}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{target}");
        let length: Option<u64> = head.header("content-length").and_then(|it| it.parse().ok());
        assert!(length.is_some_and(|length| length > 10), "{target}: {length:?}");
    }
}
