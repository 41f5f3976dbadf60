//! `GET /`: the live page, one document without anything from elsewhere.
//!
//! Its parts are files of their own in `page/` and are put together here once. It knows the pool by `/status`,
//! `/containers` and `/events` alone, all by relative addresses, so that it works behind a path of a proxy.
//! Only the scripts and styles that are in it may run: the policy names them by their digests.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
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

const FRAME: &str = include_str!("page/index.html");
const STYLE: &str = include_str!("page/page.css");
/// One script; the parts stand in the order in which they need each other.
const SCRIPT: &str =
    concat!(include_str!("page/chart.js"), include_str!("page/table.js"), include_str!("page/page.js"));

/// The document and the policy that goes with it.
struct Page {
    document: String,
    policy: HeaderValue,
}

static PAGE: LazyLock<Page> = LazyLock::new(|| Page {
    document: FRAME
        .replace("{{types}}", &Event::TYPES.join(" "))
        .replace("{{style}}", STYLE)
        .replace("{{script}}", SCRIPT),
    policy: policy(),
});

fn policy() -> HeaderValue {
    let digest = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    let text = format!(
        "default-src 'none'; connect-src 'self'; img-src data:; script-src 'self' 'sha256-{}'; \
         style-src 'sha256-{}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        digest(SCRIPT),
        digest(STYLE)
    );
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    handle(&routes::PAGE, app, page)
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
    let mut response = Response::new(PAGE.document.as_str().into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(CONTENT_SECURITY_POLICY, PAGE.policy.clone());
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_whole_and_takes_nothing_from_elsewhere() {
        let document = &PAGE.document;
        assert!(!document.contains("{{"), "a part is missing");
        for name in Event::TYPES {
            assert!(document.contains(name));
        }
        for address in ["http://", "https://", "src=", "href=\"/"] {
            let allowed = document.replace("http://www.w3.org/2000/svg", "");
            assert!(!allowed.contains(address), "{address}");
        }
        assert_ne!(PAGE.policy, "default-src 'none'");
    }
}
