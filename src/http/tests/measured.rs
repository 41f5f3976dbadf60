//! What is measured: served as text, and told of each request.

use std::sync::Mutex;

use super::*;
use crate::http::Answered;

#[tokio::test]
async fn what_is_measured_is_text() {
    let (front, _played) = front();
    let got = ask(&front, "GET", "/metrics", "").await;
    assert_eq!(got.status, StatusCode::OK);
    assert_eq!(got.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(got.body, "# TYPE up gauge\nup 1\n");
}

#[tokio::test]
async fn reading_measurements_takes_a_read_token() {
    let (front, _played) = guarded();
    assert_eq!(ask(&front, "GET", "/metrics", "").await.status, StatusCode::UNAUTHORIZED);
    let reader = [("authorization", "Bearer reader")];
    assert_eq!(ask_with(&front, "GET", "/metrics", &reader, "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_observer_is_told_of_each_request() {
    let (front, _played) = front();
    let told: Arc<Mutex<Vec<Answered>>> = Arc::default();
    let front = front.observed_by({
        let told = Arc::clone(&told);
        Arc::new(move |answered| told.lock().unwrap().push(answered))
    });
    ask(&front, "GET", "/status", "").await;
    ask(&front, "DELETE", "/status", "").await;
    ask(&front, "GET", "/containers/205", "").await;
    ask(&front, "GET", "/nowhere/205", "").await;
    // Nobody answers it; its client leaves.
    let waiting = front.answer(request("POST", "/allocate", &[], r#"{"template_vmid":9009}"#));
    assert!(tokio::time::timeout(std::time::Duration::from_millis(1), waiting).await.is_err());
    let told: Vec<_> = told
        .lock()
        .unwrap()
        .iter()
        .map(|it| (it.route.map(routes::Route::name), it.status.map(|it| it.as_u16()), it.problem))
        .collect();
    let named = |name: &str| Some(name.to_owned());
    assert_eq!(
        told,
        [
            (named("GET /status"), Some(200), None),
            (None, Some(405), Some(Code::MethodNotAllowed)),
            (named("GET /containers/{vmid}"), Some(404), Some(Code::ContainerNotFound)),
            (None, Some(404), Some(Code::NotFound)),
            (named("POST /allocate"), None, None),
        ]
    );
}
