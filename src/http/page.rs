//! `GET /`, the live page, and `GET /docs`: documents without anything from elsewhere.
//!
//! Their parts are files of their own in `page/` and are put together here once. They know the pool by its API
//! alone, all by relative addresses, so that it works behind a path of a proxy.
//! Only the scripts and styles that are in it may run: the policy names them by their digests.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::HeaderValue;
use warp::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use warp::reply::Response;

use super::errors::Problem;
use super::front::App;
use super::request::Asked;
use super::respond::handle;
use super::routes;
use crate::domain::event::Event;

/// A document and the policy that goes with it.
struct Page {
    document: String,
    policy: HeaderValue,
}

static LIVE: LazyLock<Page> = LazyLock::new(|| {
    // One script; the parts stand in the order in which they need each other.
    let script = concat!(
        include_str!("page/parts.js"),
        include_str!("page/chart.js"),
        include_str!("page/table.js"),
        include_str!("page/events.js"),
        include_str!("page/actions.js"),
        include_str!("page/story.js"),
        include_str!("page/status.js"),
        include_str!("page/page.js"),
    );
    let frame = include_str!("page/index.html").replace("{{types}}", &Event::TYPES.join(" "));
    Page::new(&frame, include_str!("page/page.css"), script)
});

static DOCS: LazyLock<Page> = LazyLock::new(|| {
    let (style, script) = (include_str!("page/docs.css"), include_str!("page/docs.js"));
    Page::new(include_str!("page/docs.html"), style, script)
});

impl Page {
    fn new(frame: &str, style: &str, script: &str) -> Self {
        let document = frame.replace("{{style}}", style).replace("{{script}}", script);
        Self { document, policy: policy(style, script) }
    }

    fn answer(&'static self) -> Response {
        let mut response = Response::new(self.document.as_str().into());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(CONTENT_SECURITY_POLICY, self.policy.clone());
        response
    }
}

fn policy(style: &str, script: &str) -> HeaderValue {
    let digest = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    let text = format!(
        "default-src 'none'; connect-src 'self'; img-src data:; script-src 'self' 'sha256-{}'; \
         style-src 'sha256-{}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        digest(script),
        digest(style)
    );
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    handle(&routes::PAGE, app, page).or(handle(&routes::DOCS, app, docs)).unify().boxed()
}

/// The live page
///
/// For a browser: templates, lane, waiters, containers and events as they happen.
#[utoipa::path(
    get,
    path = routes::PAGE.path,
    tag = "service",
    responses((status = 200, description = "The page", body = String, content_type = "text/html")),
)]
async fn page(_app: App, _asked: Asked) -> Result<Response, Problem> {
    Ok(LIVE.answer())
}

/// The API for people
///
/// For a browser: this document with examples and curl lines.
#[utoipa::path(
    get,
    path = routes::DOCS.path,
    tag = "service",
    responses((status = 200, description = "The page", body = String, content_type = "text/html")),
)]
async fn docs(_app: App, _asked: Asked) -> Result<Response, Problem> {
    Ok(DOCS.answer())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_whole_and_take_nothing_from_elsewhere() {
        for page in [&LIVE, &DOCS] {
            let document = &page.document;
            assert!(!document.contains("{{"), "a part is missing");
            for address in ["http://", "https://", "src=", "href=\"/"] {
                let allowed = document.replace("http://www.w3.org/2000/svg", "");
                assert!(!allowed.contains(address), "{address}");
            }
            assert_ne!(page.policy, "default-src 'none'");
        }
        for name in Event::TYPES {
            assert!(LIVE.document.contains(name));
        }
    }
}
