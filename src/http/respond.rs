//! From a handler to its filter, and from what it found to an answer.

use bytes::Buf;
use futures_util::Stream;
use futures_util::future;
use serde::Serialize;
use serde_json::{Value, json};
use warp::filters::BoxedFilter;
use warp::http::header::CONTENT_TYPE;
use warp::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use warp::path::FullPath;
use warp::reject::Reject;
use warp::reply::Response;
use warp::{Filter, Rejection};

use super::codes::Code;
use super::errors::Problem;
use super::front::App;
use super::request::{Asked, Query, RequestId, read_body};
use super::routes::Route;
use crate::desk::{Answer, Refusal};
use crate::domain::event::Envelope;
use crate::domain::ids::Seq;

/// The position in the log that a write came to.
pub(super) const EVENT_SEQ: HeaderName = HeaderName::from_static("x-event-seq");

/// A path of the table was asked with a method that this filter is not for.
#[derive(Debug)]
struct OtherMethod;

impl Reject for OtherMethod {}

/// The filter of a route: matches method and path, reads the body, and lets the handler answer.
pub(super) fn handle<H, F>(route: &'static Route, app: &App, handler: H) -> BoxedFilter<(Response,)>
where
    H: Fn(App, Asked) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response, Problem>> + Send,
{
    let asked = at(route);
    let app = app.clone();
    if route.takes_body {
        asked
            .and(warp::header::headers_cloned())
            .and(warp::body::stream())
            .then(move |asked, headers: HeaderMap, body| {
                let (app, handler) = (app.clone(), handler.clone());
                async move { answer(with_body(app, asked, headers, body, handler).await) }
            })
            .boxed()
    } else {
        asked
            .then(move |asked| {
                let answered = handler(app.clone(), asked);
                async move { answer(answered.await) }
            })
            .boxed()
    }
}

/// What warp itself does not let through.
pub(super) async fn recover(rejection: Rejection) -> Result<Response, Rejection> {
    let problem = if rejection.find::<OtherMethod>().is_some() {
        Problem::new(Code::MethodNotAllowed, "this address has other methods; `Allow` names them")
    } else if rejection.is_not_found() {
        Problem::new(
            Code::NotFound,
            "there is nothing at this address; GET /openapi.json lists what there is",
        )
    } else {
        tracing::error!(?rejection, "a request was rejected in a way that nobody foresaw");
        Problem::new(Code::Internal, "the request was rejected in a way that nobody foresaw")
    };
    Ok(problem.into_response())
}

/// JSON with 200.
pub(super) fn json<T: Serialize>(value: &T) -> Result<Response, Problem> {
    json_with(StatusCode::OK, value)
}

/// JSON.
pub(super) fn json_with<T: Serialize>(status: StatusCode, value: &T) -> Result<Response, Problem> {
    let body = serde_json::to_vec(value).map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// The answer to a write: what it did, in the words of `view`, or what it would do.
pub(super) fn written<T, V: Serialize>(
    app: &App,
    answer: Result<Answer<T>, Refusal>,
    view: impl FnOnce(T) -> V,
) -> Result<Response, Problem> {
    let (seq, mut response) = match answer.map_err(|refusal| Problem::of(&refusal, app.desk().now()))? {
        Answer::Done { seq, value } => (seq, json(&view(value))?),
        Answer::WouldHappen { seq, events } => (seq, json(&would_happen(&events))?),
    };
    set_seq(&mut response, seq);
    Ok(response)
}

/// Says which event an answer knows of.
pub(super) fn set_seq(response: &mut Response, seq: Seq) {
    response.headers_mut().insert(EVENT_SEQ, HeaderValue::from(seq.0));
}

fn would_happen(events: &[Envelope]) -> Value {
    let events = events.iter().map(|it| json!({ "type": it.event.type_name(), "data": it.event }));
    json!({ "dry_run": true, "events": events.collect::<Vec<_>>() })
}

/// Matches the method and path of a route.
pub(super) fn at(route: &'static Route) -> impl Filter<Extract = (Asked,), Error = Rejection> + Clone {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    warp::path::full()
        .and(warp::method())
        .and_then(move |path: FullPath, method: Method| {
            future::ready(match route.matches(path.as_str()) {
                Some(parts) if route.method == method => Ok(parts),
                Some(_) => Err(warp::reject::custom(OtherMethod)),
                None => Err(warp::reject::not_found()),
            })
        })
        .and(query)
        .and(warp::ext::get::<RequestId>())
        .map(move |parts, query: String, id| Asked {
            id,
            parts,
            query: Query::parse(&query),
            body: bytes::Bytes::new(),
        })
}

async fn with_body<B: Buf, F>(
    app: App,
    asked: Asked,
    headers: HeaderMap,
    body: impl Stream<Item = Result<B, warp::Error>>,
    handler: impl Fn(App, Asked) -> F,
) -> Result<Response, Problem>
where
    F: Future<Output = Result<Response, Problem>>,
{
    let body = read_body(&headers, body, app.limits(), app.large_bodies()).await?;
    handler(app, Asked { body, ..asked }).await
}

/// What was found, or what went wrong, as an answer.
pub(super) fn answer(answered: Result<Response, Problem>) -> Response {
    answered.unwrap_or_else(Problem::into_response)
}
