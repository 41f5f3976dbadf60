//! The API document against the routes.

use std::collections::BTreeSet;

use super::*;
use crate::desk::Refusal;
use crate::domain::command::Rejection;
use crate::domain::ids::Vmid;
use crate::engine::Refused;
use crate::http::errors::Problem;
use crate::http::openapi;

const METHODS: [&str; 4] = ["get", "post", "put", "delete"];

fn document() -> Value {
    serde_json::to_value(openapi::document()).unwrap()
}

#[test]
fn the_document_and_the_routes_are_the_same() {
    let document = document();
    let mut documented = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().filter(|key| METHODS.contains(&key.as_str())) {
            documented.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    let table: BTreeSet<_> =
        routes::ALL.iter().map(|route| format!("{} {}", route.method, route.path)).collect();
    assert_eq!(documented, table);
}

#[tokio::test]
async fn every_route_of_the_table_is_answered() {
    let (front, mut played) = front();
    tokio::spawn(async move {
        while let Some(submission) = played.queue.recv().await {
            let rejection = Rejection::ContainerUnknown { vmid: Vmid(200) };
            let rejection = match submission.command {
                crate::domain::command::Command::Release(_) | crate::domain::command::Command::Remove(_) => {
                    rejection
                }
                crate::domain::command::Command::Webhook(it) => {
                    Rejection::WebhookUnknown { endpoint: it.endpoint }
                }
                _ => Rejection::TemplateUnknown { template: Vmid(200) },
            };
            let _ = submission.answer.send(Err(Refused::Rejected(rejection)));
        }
    });
    for route in routes::ALL {
        let target = route.path.replace("{vmid}", "200").replace("{template_vmid}", "200");
        let target = target.replace("{name}", "hook").replace("{seq}", "7");
        let target = target.replace("/explain", "/explain?vmid=200");
        let body = if route.method == Method::PUT { "{}" } else { r#"{"template_vmid":200}"# };
        let got = ask(&front, route.method.as_str(), &target, body).await;
        assert!(!["not_found", "method_not_allowed"].contains(&got.code()), "{target}: {got:?}");
        let knows_head = got.status.is_success() && got.body["head"].is_u64();
        assert_eq!(got.header("x-event-seq").is_some(), route.is_write() || knows_head);
    }
}

#[test]
fn every_operation_is_described() {
    let document = document();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let named = format!("{method} {path}");
            assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{named}");
            let responses = operation["responses"].as_object().unwrap();
            let contents = responses["200"]["content"].as_object().unwrap();
            assert!(!contents.is_empty(), "{named}");
            assert!(contents.values().all(|content| content["schema"].is_object()), "{named}");
            for (status, response) in responses {
                assert!(response["headers"]["X-Request-Id"].is_object(), "{named} {status}");
                let is_write = method != "get";
                assert_eq!(response["headers"]["X-Event-Seq"].is_object(), is_write, "{named} {status}");
            }
            let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
            let of = |place: &str| -> Vec<&str> {
                let its = parameters.iter().filter(|it| it["in"] == place);
                its.map(|it| it["name"].as_str().unwrap()).collect()
            };
            let varying: Vec<_> =
                path.split(['{', '}']).enumerate().filter(|(n, _)| n % 2 == 1).map(|(_, it)| it).collect();
            assert_eq!(of("path"), varying, "{named}");
            assert_eq!(of("query").contains(&"dry_run"), method != "get", "{named}");
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(object) => {
                found.extend(object.get("$ref").and_then(Value::as_str));
                object.values().for_each(|value| references(value, found));
            }
            Value::Array(array) => array.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document = document();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn problem_codes_are_words_and_unlike() {
    let words: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(words.len(), Code::ALL.len());
    assert_eq!(document()["components"]["schemas"]["Code"]["enum"].as_array().unwrap().len(), words.len());
    for word in words {
        assert!(word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{word}");
    }
}

#[tokio::test]
async fn the_document_is_served() {
    let (front, _played) = front();
    let got = ask(&front, "GET", "/openapi.json", "").await;
    assert_eq!(got.body, document());
    assert!(got.body["openapi"].as_str().unwrap().starts_with("3.1"));
}

#[tokio::test]
async fn the_documented_fields_of_a_body_are_those_that_are_read() {
    let (front, _played) = front();
    for (method, target, schema) in [
        ("POST", "/allocate", "AllocateBody"),
        ("PUT", "/templates/9009", "SizesBody"),
        ("POST", "/webhooks/hook/replay", "ReplayBody"),
    ] {
        let document = document();
        let properties = document["components"]["schemas"][schema]["properties"].as_object().unwrap();
        let documented: BTreeSet<_> = properties.keys().map(String::as_str).collect();
        // No field is a list of lists: each one that is read is found wrong.
        let body: Value =
            documented.iter().map(|name| ((*name).to_owned(), serde_json::json!([[]]))).collect();
        let got = ask(&front, method, target, &body.to_string()).await;
        assert_eq!(got.fields().into_iter().collect::<BTreeSet<_>>(), documented, "{schema}: {got:?}");
    }
}

/// Every operation with its route.
fn operations(document: &Value) -> impl Iterator<Item = (&'static routes::Route, &Value)> {
    routes::ALL
        .iter()
        .map(|route| (*route, &document["paths"][route.path][route.method.as_str().to_ascii_lowercase()]))
}

#[test]
fn every_route_has_an_example_that_fits_its_schema() {
    let document = document();
    for (route, operation) in operations(&document) {
        let name = route.name();
        let answer = &operation["responses"]["200"]["content"];
        let request = &operation["requestBody"]["content"];
        assert_eq!(request.is_object(), route.takes_body, "{name}");
        for content in [answer, request].into_iter().filter_map(Value::as_object) {
            for (kind, content) in content {
                let mut schema = content["schema"].clone();
                schema["components"] = document["components"].clone();
                let validator = jsonschema::draft202012::new(&schema).unwrap();
                let wrong: Vec<_> =
                    validator.iter_errors(&content["example"]).map(|it| it.to_string()).collect();
                assert!(wrong.is_empty(), "{name} {kind}: {wrong:#?}");
            }
        }
    }
}

#[tokio::test]
async fn the_examples_of_bodies_are_taken() {
    let (front, played) = front();
    // Whatever is understood comes as far as the engine, which is not there.
    drop(played);
    for route in routes::ALL.iter().filter(|route| route.takes_body) {
        let target = route.path.replace("{vmid}", "9009").replace("{name}", "hook");
        let body = crate::http::examples::of(route).and_then(|it| it.request.clone()).unwrap();
        let got = ask(&front, route.method.as_str(), &target, &body.to_string()).await;
        assert!(!["invalid_request", "internal"].contains(&got.code()), "{}: {got:?}", route.name());
    }
}

#[test]
fn the_errors_of_a_route_in_the_document_are_those_of_the_table() {
    let document = document();
    let mut documented_anywhere = BTreeSet::new();
    for (route, operation) in operations(&document) {
        let mut documented = BTreeSet::new();
        for (status, response) in operation["responses"].as_object().unwrap() {
            let examples = response["content"]["application/problem+json"]["examples"].as_object();
            for (code, example) in examples.into_iter().flatten() {
                assert_eq!(example["value"]["status"].to_string(), *status, "{} {code}", route.name());
                assert_eq!(example["value"]["code"], **code);
                documented.insert(code.clone());
            }
        }
        let table: BTreeSet<_> = route.all_problems().map(|code| code.as_str().to_owned()).collect();
        assert_eq!(documented, table, "{}", route.name());
        documented_anywhere.extend(documented);
    }
    // These two are answers of no route.
    documented_anywhere.extend(["not_found", "method_not_allowed"].map(str::to_owned));
    let all: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str().to_owned()).collect();
    assert_eq!(documented_anywhere, all);
}

#[test]
fn whatever_an_allocation_can_come_to_is_documented() {
    use crate::domain::event::{CancelReason, FailureCode};
    let failures = [
        FailureCode::AllocateTimeout,
        FailureCode::PveTimeout,
        FailureCode::PveRefused,
        FailureCode::TemplateBackedOff,
        FailureCode::TemplateDrained,
        FailureCode::ContainersUnusable,
        FailureCode::MaxTotal,
        FailureCode::OwnershipDoubted,
    ];
    let cancellations = [
        CancelReason::CallerGone,
        CancelReason::Restarted,
        CancelReason::Stopping,
        CancelReason::Released,
        CancelReason::Removed,
    ];
    let failed =
        failures.map(|code| Refusal::AllocationFailed { code, reason: "why".to_owned(), retry_at: None });
    let cancelled = cancellations.map(|reason| Refusal::AllocationCancelled { reason });
    for refusal in failed.into_iter().chain(cancelled) {
        let code = Problem::of(&refusal, NOW).code;
        assert!(routes::ALLOCATE.all_problems().any(|known| known == code), "{refusal}");
    }
}
