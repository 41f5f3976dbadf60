//! `GET /health` and `GET /ready`: whether it lives, and whether it can do its work.

use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::errors::Problem;
use super::front::App;
use super::request::Asked;
use super::respond::{handle, json, json_with};
use super::routes;
use super::views::{Health, Readiness};

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    handle(&routes::HEALTH, app, health).or(handle(&routes::READY, app, ready)).unify().boxed()
}

/// Whether the service lives
///
/// Always 200 while it answers; `degraded` while PVE is unreachable or the event log cannot be written.
#[utoipa::path(
    get,
    path = routes::HEALTH.path,
    tag = "service",
    responses((status = 200, description = "It lives", body = Health)),
)]
async fn health(app: App, _asked: Asked) -> Result<Response, Problem> {
    json(&Health::of(&app.desk().published(), app.desk().now()))
}

/// Whether the service can do its work
///
/// PVE is reachable, the event log is writable, and PVE was compared with the log since the start.
#[utoipa::path(
    get,
    path = routes::READY.path,
    tag = "service",
    responses(
        (status = 200, description = "It can", body = Readiness),
        (status = 503, description = "It cannot", body = Readiness),
    ),
)]
async fn ready(app: App, _asked: Asked) -> Result<Response, Problem> {
    let readiness = Readiness::of(&app.desk().published());
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json_with(status, &readiness)
}
