//! `GET /metrics`: what is measured, in Prometheus' text form. What that is, whoever renders it knows alone.

use std::sync::Arc;

use warp::filters::BoxedFilter;
use warp::http::HeaderValue;
use warp::http::header::CONTENT_TYPE;
use warp::reply::Response;

use super::front::App;
use super::request::Asked;
use super::respond::handle;
use super::routes;

/// Prometheus' text form, version 0.0.4.
const TEXT_FORMAT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Writes what is measured, now.
pub type Render = Arc<dyn Fn() -> String + Send + Sync>;

/// The route, answered with what `render` writes.
pub fn room(app: &App, render: Render) -> BoxedFilter<(Response,)> {
    handle(&routes::METRICS, app, move |_app, _asked: Asked| {
        let render = Arc::clone(&render);
        async move { Ok(metrics(render())) }
    })
}

/// What is measured
///
/// For Prometheus. Where the service has tokens, a read token will do.
#[utoipa::path(
    get,
    path = routes::METRICS.path,
    tag = "service",
    responses((
        status = 200,
        description = "Counters, gauges and histograms in Prometheus' text form",
        body = String,
        content_type = "text/plain",
    )),
)]
fn metrics(text: String) -> Response {
    let mut response = Response::new(text.into());
    response.headers_mut().insert(CONTENT_TYPE, TEXT_FORMAT);
    response
}
