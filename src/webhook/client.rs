//! One attempt over HTTP: no redirects, no proxy, only to addresses that were checked, with a limit on time
//! and on what is read of the answer.

use std::error::Error as StdError;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};

use super::guard::{Blocked, Guard, is_plain};
use super::message::Attempt;
use super::schedule::{AttemptResult, Ended};
use crate::causes::chain;

/// Time for the connection and its TLS, within the endpoint's own limit.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of an answer that are read; what it says is for people, and not much of it.
const MAX_ANSWER_BYTES: usize = 8 * 1024;

/// Characters of an answer that are kept as a reason.
const MAX_REASON_CHARS: usize = 200;

/// Makes one attempt. The only seam between what is sent when, and how.
pub(super) type Post = Arc<dyn Fn(Attempt) -> BoxFuture<'static, Ended> + Send + Sync>;

/// Finds the addresses of a name.
pub(super) type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// Why webhooks cannot be sent at all.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
    /// The HTTP client cannot be set up.
    #[error("the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
}

/// Addresses from the system's resolver.
pub(super) fn system_lookup() -> Lookup {
    Arc::new(|host: String| {
        async move { tokio::net::lookup_host((host, 0)).await.map(Iterator::collect) }.boxed()
    })
}

/// What stands in for a client where there is no endpoint: certificates need not be read then.
pub(super) fn nobody() -> Post {
    let nobody = || failed(AttemptResult::Blocked, "there is no endpoint".to_owned());
    Arc::new(move |_| async move { nobody() }.boxed())
}

/// Attempts over HTTP.
pub(super) fn post(guard: Guard, lookup: &Lookup) -> Result<Post, ClientError> {
    let tls = tls()?;
    let clients = Arc::new(Clients {
        tls: client(&guard, lookup, tls.clone(), false)?,
        plain: client(&guard, lookup, tls, true)?,
        guard,
    });
    Ok(Arc::new(move |attempt| {
        let clients = Arc::clone(&clients);
        async move { clients.post(attempt).await }.boxed()
    }))
}

/// One client for each of the two rules by which addresses are taken.
struct Clients {
    guard: Guard,
    tls: reqwest::Client,
    plain: reqwest::Client,
}

fn client(
    guard: &Guard,
    lookup: &Lookup,
    tls: rustls::ClientConfig,
    plain: bool,
) -> Result<reqwest::Client, ClientError> {
    let resolver = Arc::new(Checked { guard: guard.clone(), lookup: Arc::clone(lookup), plain });
    reqwest::Client::builder()
        .user_agent(concat!("sandbox-pool/", env!("CARGO_PKG_VERSION")))
        .http1_only()
        .no_proxy()
        .referer(false)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_max_idle_per_host(8)
        .tcp_nodelay(true)
        .dns_resolver(resolver)
        .tls_backend_preconfigured(tls)
        .build()
        .map_err(ClientError::Client)
}

fn tls() -> Result<rustls::ClientConfig, ClientError> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(ClientError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

impl Clients {
    async fn post(&self, attempt: Attempt) -> Ended {
        let endpoint = &attempt.endpoint;
        if let Err(blocked) = self.guard.check(&endpoint.url) {
            return failed(AttemptResult::Blocked, blocked.to_string());
        }
        let client = if is_plain(&endpoint.url) { &self.plain } else { &self.tls };
        let request = client
            .post(endpoint.url.clone())
            .timeout(endpoint.timeout)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &attempt.id)
            .header("webhook-timestamp", attempt.timestamp)
            .header("webhook-signature", &attempt.signature)
            .body(attempt.body.clone());
        match request.send().await {
            Ok(response) => answered(response).await,
            Err(error) => unanswered(error),
        }
    }
}

async fn answered(mut response: reqwest::Response) -> Ended {
    let status = response.status().as_u16();
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = retry_after.map(str::to_owned);
    let mut said = Vec::new();
    // The status is the answer; an end of the body that does not come changes nothing.
    while said.len() < MAX_ANSWER_BYTES {
        let Ok(Some(chunk)) = response.chunk().await else { break };
        let room = MAX_ANSWER_BYTES - said.len();
        said.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }
    let words = words(&String::from_utf8_lossy(&said));
    let reason =
        if words.is_empty() { format!("status {status}") } else { format!("status {status}: {words}") };
    Ended { result: AttemptResult::of(status), status: Some(status), retry_after, reason }
}

fn unanswered(error: reqwest::Error) -> Ended {
    // The URL may be as good as a key.
    let error = error.without_url();
    if let Some(blocked) = blocked(&error) {
        return failed(AttemptResult::Blocked, blocked.to_string());
    }
    let result = if error.is_timeout() { AttemptResult::TimedOut } else { AttemptResult::Unreachable };
    failed(result, words(&chain(&error)))
}

fn failed(result: AttemptResult, reason: String) -> Ended {
    Ended { result, status: None, retry_after: None, reason }
}

/// What the resolver said, if that is why there is no connection.
fn blocked<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Blocked> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(blocked) = error.downcast_ref() {
            return Some(blocked);
        }
        cause = error.source();
    }
    None
}

/// What somebody else said, on one line and not too long.
fn words(text: &str) -> String {
    let printable = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_REASON_CHARS);
    printable.collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Resolves names to addresses that may be connected to, and to no others.
struct Checked {
    guard: Guard,
    lookup: Lookup,
    plain: bool,
}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let (guard, lookup, plain) = (self.guard.clone(), Arc::clone(&self.lookup), self.plain);
        async move {
            let host = name.as_str().to_owned();
            let found = lookup(host.clone()).await?;
            let mut refused = None;
            let mut good = Vec::with_capacity(found.len());
            for address in found {
                match guard.check_address(address.ip(), plain) {
                    Ok(()) => good.push(address),
                    Err(blocked) => refused = refused.or(Some(Box::new(blocked))),
                }
            }
            if good.is_empty() {
                return Err(Blocked::NoAddress { host, of: refused }.into());
            }
            Ok(Box::new(good.into_iter()) as Addrs)
        }
        .boxed()
    }
}
