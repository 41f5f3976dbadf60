//! A caller of a running service, over HTTP like any other. What the service says of a problem is passed on.

use std::time::Duration;

use anyhow::Context as _;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, redirect, retry};
use serde_json::Value;
use url::Url;

use crate::config::Secret;
use crate::tail::{is_this_machine, said};

/// The service is near, or it is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The service itself gives up on what it was asked after 115 seconds.
const TIMEOUT: Duration = Duration::from_secs(125);

/// Why a call did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// Nobody is there, or went away.
    #[error(
        "the service at {url} does not answer: is it running? `systemctl status sandbox-pool`; another address: --url"
    )]
    NoAnswer {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    /// The service said why.
    #[error("{detail}{}{}", said(Some(.code.as_str()), .next_step.as_deref()), mending(.hint.as_deref()))]
    Problem { code: String, detail: String, next_step: Option<String>, hint: Option<String> },
    /// Somebody else answered.
    #[error("{url} answered {status} without a word that this program knows: does --url name the service?")]
    Foreign { url: String, status: u16 },
}

/// A caller.
pub(super) struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<HeaderValue>,
}

impl Client {
    /// A caller of the service at `url`.
    pub(super) fn new(url: &Url, token: Option<&Secret>) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .user_agent(concat!("sandbox-pool/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .redirect(redirect::Policy::none())
            // A repeated write may be a second one.
            .retry(retry::never());
        // A machine may have no certificates at all, and needs none for this.
        let http = if url.scheme() == "http" { http.tls_certs_only([]) } else { http };
        let http = if is_this_machine(url) { http.no_proxy() } else { http };
        let http = http.build().context(
            "the HTTP client cannot be set up; https needs CA certificates: apt install ca-certificates",
        )?;
        let token = token.map(|token| {
            HeaderValue::from_str(&format!("Bearer {}", token.expose())).map(|mut header| {
                header.set_sensitive(true);
                header
            })
        });
        let token = token.transpose().context("POOL_API_TOKEN has characters that no header can carry")?;
        Ok(Self { http, base: url.as_str().trim_end_matches('/').to_owned(), token })
    }

    /// Reads something.
    pub(super) async fn get(&self, path: &str) -> Result<Value, CallError> {
        self.call(Method::GET, path, None).await
    }

    /// Makes one call and reads its answer as JSON.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, CallError> {
        let url = format!("{}{path}", self.base);
        let mut request = self.http.request(method, &url).header(ACCEPT, "application/json");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.to_string());
        }
        let no_answer = |source: reqwest::Error| CallError::NoAnswer {
            url: self.base.clone(),
            source: source.without_url(),
        };
        let response = request.send().await.map_err(no_answer)?;
        let status = response.status();
        let body = response.bytes().await.map_err(no_answer)?;
        let foreign = || CallError::Foreign { url: self.base.clone(), status: status.as_u16() };
        let answer: Value = serde_json::from_slice(&body).map_err(|_| foreign())?;
        if status.is_success() {
            return Ok(answer);
        }
        let text = |field: &str| answer[field].as_str().map(str::to_owned);
        match (text("code"), text("detail")) {
            (Some(code), Some(detail)) => {
                Err(CallError::Problem { code, detail, next_step: text("next_step"), hint: text("hint") })
            }
            _ => Err(foreign()),
        }
    }
}

fn mending(hint: Option<&str>) -> String {
    hint.map(|hint| format!("; run: {hint}")).unwrap_or_default()
}
