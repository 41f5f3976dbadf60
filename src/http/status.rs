//! `GET /status`: the whole pool in one answer, and the wait of a reader for an event it has heard of.

use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::codes::Code;
use super::errors::Problem;
use super::front::App;
use super::params::AsOf;
use super::past::LookBack;
use super::request::Asked;
use super::respond::{handle, json, set_seq};
use super::routes;
use super::views::PoolStatus;
use crate::engine::Published;
use crate::log::Moment;

/// The route, with a way back in the log for whoever asks what was.
pub fn room(app: &App, look_back: LookBack) -> BoxedFilter<(Response,)> {
    handle(&routes::STATUS, app, move |app, asked| status(app, asked, look_back.clone()))
}

/// The whole pool
///
/// Templates with their containers, sizes and troubles. `head` is where to follow the events from without a
/// gap. With `at` it is the pool as it was, ages included.
#[utoipa::path(
    get,
    path = routes::STATUS.path,
    tag = "pool",
    params(
        AsOf,
        ("containers" = Option<bool>, Query, description = "Whether containers are listed; true unless given"),
        (
            "at" = Option<String>,
            Query,
            description = "The pool as it was right behind this event, or at this instant (RFC 3339)",
            example = "2026-11-24T09:00:00Z",
        ),
    ),
    responses((status = 200, description = "The pool", body = PoolStatus)),
)]
async fn status(app: App, asked: Asked, look_back: LookBack) -> Result<Response, Problem> {
    let published = seen(&app, &asked).await?;
    let now = app.desk().now();
    let (published, now) = match asked.query.text("at") {
        None => (published, now),
        Some(text) => {
            let moment = text.parse::<Moment>();
            let moment = moment.map_err(|expected| Problem::field("at", expected.to_string()))?;
            let past = look_back.state(moment, now).await?;
            let at = past.at;
            (Published::from(past), at)
        }
    };
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
