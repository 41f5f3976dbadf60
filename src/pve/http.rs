//! One call of PVE's API over HTTPS, once.
//!
//! It never repeats a call, never follows a redirect and never shows the token. What it must tell its caller
//! apart is whether PVE can have seen a call that has no answer.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderMap, HeaderValue};
use url::Url;

use super::tls::{self, TlsError, TlsOptions};
use super::{Answer, Method, Request, Transport, Unanswered};
use crate::causes::chain;
use crate::domain::time::Timestamp;

/// Time for the connection and its TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// PVE gives up on a call after 30 s with an answer, which says more than silence.
const READ_TIMEOUT: Duration = Duration::from_secs(35);
/// The same for a call that changes something, of which silence says least.
const WRITE_TIMEOUT: Duration = Duration::from_secs(40);
/// PVE closes an idle connection after 5 s; a call sent at that moment would have an unknown outcome.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// More than a cluster of ten thousand guests answers.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// What a URL may carry as it is; PVE splits forms at `;` and `&` and cuts values at a second `=`.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A text as a part of a path, a query or a form.
pub(super) fn escape(text: &str) -> impl fmt::Display {
    utf8_percent_encode(text, ESCAPED)
}

/// PVE behind its port 8006.
#[derive(Clone)]
pub struct HttpTransport {
    client: reqwest::Client,
    /// URL up to and with `/api2/json`.
    base: String,
}

impl fmt::Debug for HttpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTransport").field("base", &self.base).finish_non_exhaustive()
    }
}

/// Why there can be no client. Never says what the token is.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The URL does not name a PVE.
    #[error("expected a URL like https://pve.example:8006, without user, query or fragment")]
    Url,
    /// The token is not one.
    #[error("expected an API token like USER@REALM!ID=SECRET")]
    Token,
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The HTTP client cannot be set up.
    #[error("the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
}

impl HttpTransport {
    /// A client of the PVE at `base`, with the API token `USER@REALM!ID=SECRET`.
    ///
    /// Connections are made when the first call needs one; `http://` is for a simulated PVE.
    pub fn new(base: &Url, token: &str, tls: &TlsOptions) -> Result<Self, BuildError> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, authorization(token)?);
        let client = reqwest::Client::builder()
            .default_headers(headers)
            .user_agent(concat!("sandbox-pool/", env!("CARGO_PKG_VERSION")))
            .http1_only()
            .gzip(true)
            .no_proxy()
            .referer(false)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(8)
            .tcp_nodelay(true)
            .tls_backend_preconfigured(tls::client_config(tls)?)
            .build()
            .map_err(BuildError::Client)?;
        Ok(Self { client, base: api_base(base)? })
    }

    /// What time it is at PVE, in whole seconds, as any answer says it; none if there is no answer.
    pub async fn time(&self) -> Option<Timestamp> {
        let call = Request { method: Method::Get, path: "/version".to_owned(), params: Vec::new() };
        let response = self.client.execute(self.http_request(&call).ok()?).await.ok()?;
        let date = response.headers().get(DATE)?.to_str().ok()?;
        let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).ok()?;
        Some(Timestamp(at.as_millisecond()))
    }

    /// The call as HTTP: parameters in the query where PVE refuses a body, in a form elsewhere.
    fn http_request(&self, call: &Request) -> Result<reqwest::Request, url::ParseError> {
        let pairs: Vec<String> =
            call.params.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect();
        let pairs = pairs.join("&");
        let (method, timeout, has_form) = match call.method {
            Method::Get => (reqwest::Method::GET, READ_TIMEOUT, false),
            Method::Delete => (reqwest::Method::DELETE, WRITE_TIMEOUT, false),
            Method::Post => (reqwest::Method::POST, WRITE_TIMEOUT, true),
            Method::Put => (reqwest::Method::PUT, WRITE_TIMEOUT, true),
        };
        let mut url = format!("{}{}", self.base, call.path);
        if !has_form && !pairs.is_empty() {
            url.push('?');
            url.push_str(&pairs);
        }
        let mut request = reqwest::Request::new(method, Url::parse(&url)?);
        *request.timeout_mut() = Some(timeout);
        if has_form {
            let headers = request.headers_mut();
            headers.insert(CONTENT_LENGTH, HeaderValue::from(pairs.len()));
            if !pairs.is_empty() {
                let form = HeaderValue::from_static("application/x-www-form-urlencoded");
                headers.insert(CONTENT_TYPE, form);
                *request.body_mut() = Some(pairs.into());
            }
        }
        Ok(request)
    }
}

#[async_trait]
impl Transport for HttpTransport {
    async fn call(&self, request: Request) -> Result<Answer, Unanswered> {
        let request = self.http_request(&request).map_err(|error| Unanswered::NotSent(error.to_string()))?;
        let mut response = self.client.execute(request).await.map_err(unanswered)?;
        let status = response.status();
        let reason = match response.extensions().get::<hyper::ext::ReasonPhrase>() {
            Some(reason) => String::from_utf8_lossy(reason.as_bytes()).into_owned(),
            None => status.canonical_reason().unwrap_or_default().to_owned(),
        };
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(None) => break,
                Ok(Some(chunk)) if body.len() + chunk.len() > MAX_BODY_BYTES => {
                    let text = format!("its answer is larger than {MAX_BODY_BYTES} bytes");
                    return Err(Unanswered::MaybeSent(text));
                }
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                // A refusal stands in the status line; PVE may cut its connection right behind it.
                Err(_) if !status.is_success() => break,
                Err(error) => return Err(unanswered(error)),
            }
        }
        Ok(Answer { status: status.as_u16(), reason, body })
    }
}

/// The token as a header that no log shows.
fn authorization(token: &str) -> Result<HeaderValue, BuildError> {
    let token = token.trim();
    let token = token.strip_prefix("PVEAPIToken=").unwrap_or(token);
    let (user, rest) = token.split_once('!').ok_or(BuildError::Token)?;
    let (id, secret) = rest.split_once('=').ok_or(BuildError::Token)?;
    // PVE cuts the header at a semicolon.
    let is_text = token.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';');
    if !is_text || !user.contains('@') || id.is_empty() || secret.is_empty() {
        return Err(BuildError::Token);
    }
    let mut header = HeaderValue::from_str(&format!("PVEAPIToken={token}")).map_err(|_| BuildError::Token)?;
    header.set_sensitive(true);
    Ok(header)
}

/// The URL up to and with `/api2/json`, whether or not it was given so far.
fn api_base(base: &Url) -> Result<String, BuildError> {
    let is_plain = base.username().is_empty()
        && base.password().is_none()
        && base.query().is_none()
        && base.fragment().is_none();
    if !matches!(base.scheme(), "https" | "http") || !base.has_host() || !is_plain {
        return Err(BuildError::Url);
    }
    let text = base.as_str().trim_end_matches('/');
    Ok(format!("{}/api2/json", text.trim_end_matches("/api2/json")))
}

/// What a failed exchange says of the call's fate.
fn unanswered(error: reqwest::Error) -> Unanswered {
    // The query has descriptions in it, and the call is named by whoever made it.
    let error = error.without_url();
    let text = chain(&error);
    if error.is_connect() || error.is_builder() {
        Unanswered::NotSent(text)
    } else {
        Unanswered::MaybeSent(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_base_leads_to_the_api() {
        for given in ["https://pve1:8006", "https://pve1:8006/", "https://pve1:8006/api2/json/"] {
            assert_eq!(api_base(&url(given)).ok().as_deref(), Some("https://pve1:8006/api2/json"), "{given}");
        }
        assert_eq!(api_base(&url("http://[::1]:80/x/")).ok().as_deref(), Some("http://[::1]/x/api2/json"));
        for bad in ["ftp://pve1", "https://root:pw@pve1", "https://pve1/?x=1", "https://pve1/#x", "data:x"] {
            assert!(api_base(&url(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_token_is_checked_and_never_shown() {
        for good in ["pool@pve!svc=0000-11", "PVEAPIToken=pool@pve!svc=0000-11\n"] {
            let header = authorization(good).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(header.as_bytes(), b"PVEAPIToken=pool@pve!svc=0000-11");
            assert!(header.is_sensitive());
        }
        for bad in [
            "",
            "pool@pve",
            "pool!svc=s3cret",
            "pool@pve!svc",
            "pool@pve!=x",
            "a@b!c=",
            "a@b!c=x y",
            "a@b!c=x;",
        ] {
            let error = authorization(bad).expect_err(bad);
            assert!(!format!("{error:?} {error}").contains("s3cret"));
        }
        let transport = HttpTransport::new(
            &url("https://pve1:8006"),
            "pool@pve!svc=s3cret",
            &TlsOptions { verify: false, ..TlsOptions::default() },
        )
        .unwrap_or_else(|error| panic!("{error}"));
        assert!(!format!("{transport:?}").contains("s3cret"));
        assert!(!format!("{:?}", transport.client).contains("s3cret"));
    }

    #[test]
    fn what_splits_a_form_is_escaped() {
        assert_eq!(escape("a;b&c=d+e f%é~._-").to_string(), "a%3Bb%26c%3Dd%2Be%20f%25%C3%A9~._-");
    }
}
