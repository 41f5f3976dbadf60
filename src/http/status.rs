//! `GET /status`: the whole pool in one answer, and the wait of a reader for an event it has heard of.

use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::codes::Code;
use super::errors::Problem;
use super::front::App;
use super::request::Asked;
use super::respond::{handle, json, set_seq};
use super::routes;
use super::views::PoolStatus;
use crate::engine::Published;

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    handle(&routes::STATUS, app, status)
}

/// The whole pool
///
/// Templates with their containers, sizes and troubles. `head` is where to follow the events from without a
/// gap.
#[utoipa::path(
    get,
    path = routes::STATUS.path,
    tag = "pool",
    params(
        ("min_seq" = Option<u64>, Query, description = "Wait up to two seconds for this event"),
        ("containers" = Option<bool>, Query, description = "Whether containers are listed; true unless given"),
    ),
    responses((status = 200, description = "The pool", body = PoolStatus)),
)]
async fn status(app: App, asked: Asked) -> Result<Response, Problem> {
    let published = seen(&app, &asked).await?;
    let now = app.desk().now();
    let status = match asked.query.flag("containers")? {
        Some(false) => PoolStatus::without_containers(&published, now),
        Some(true) | None => PoolStatus::of(&published, now),
    };
    let mut response = json(&status)?;
    set_seq(&mut response, published.head);
    Ok(response)
}

/// The pool as it is now, or once it has come to the `min_seq` of the request.
pub(super) async fn seen(app: &App, asked: &Asked) -> Result<Published, Problem> {
    let min_seq = asked.min_seq()?;
    match app.desk().published_from(min_seq).await {
        Some(published) => Ok(published),
        None => Err(Problem::new(
            Code::NotYetThere,
            format!("the log is at event {}, not at {min_seq} yet", app.desk().published().head),
        )
        .retry_after(std::time::Duration::from_secs(1))),
    }
}
