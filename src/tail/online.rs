//! The events of a service that runs: pages for what there is, the stream for what comes.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Response, StatusCode};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use url::{Host, Url};

use super::show::Printer;
use super::sse::{Frame, Parser};
use super::{Since, TailError, Wanted};
use crate::causes::chain;
use crate::domain::ids::Seq;
use crate::domain::time::Timestamp;

/// Events of a page: the most that the service gives.
const PAGE: u64 = 1000;

/// For a connection, and for an answer to begin.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Bookmarks come each 15 seconds: after three that did not, the connection is dead.
const SILENCE: Duration = Duration::from_secs(50);

/// Pauses between tries, unless the service said another; they double.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// No page is longer than this; a page of the service's ends behind one mebibyte.
const LONGEST_PAGE: usize = 16 * 1024 * 1024;

/// A service that runs.
pub struct Service {
    client: Client,
    url: Url,
    token: Option<String>,
    chance: fastrand::Rng,
    first_pause: Duration,
}

/// Lines of a page, and where the next begins.
struct Page {
    lines: Vec<String>,
    next_after: Seq,
    head: Seq,
}

impl Service {
    /// The service at `url`, which may have a path, with the bearer token that it wants, if it wants one.
    pub fn new(url: &Url, token: Option<String>, chance: fastrand::Rng) -> Result<Self, TailError> {
        let mut url = url.clone();
        url.set_path(&format!("{}/events", url.path().trim_end_matches('/')));
        let mut client = Client::builder()
            .user_agent(concat!("sandbox-pool/", env!("CARGO_PKG_VERSION")))
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .tls_backend_preconfigured(tls().map_err(|error| TailError::Client(error.into()))?);
        if is_this_machine(&url) {
            client = client.no_proxy();
        }
        let client = client.build().map_err(|error| TailError::Client(error.into()))?;
        Ok(Self { client, url, token, chance, first_pause: FIRST_PAUSE })
    }

    /// With another pause before the second try.
    #[cfg(test)]
    pub(super) fn pausing(self, first_pause: Duration) -> Self {
        Self { first_pause, ..self }
    }

    fn name(&self) -> String {
        self.url.to_string()
    }

    async fn get(&self, parameters: &[(&str, &str)]) -> Result<Response, TailError> {
        let mut url = self.url.clone();
        url.query_pairs_mut().extend_pairs(parameters);
        let mut request = self.client.get(url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let Ok(answer) = tokio::time::timeout(ANSWER_TIMEOUT, request.send()).await else {
            return Err(TailError::Silent { url: self.name(), seconds: ANSWER_TIMEOUT.as_secs() });
        };
        let response = answer.map_err(|source| self.unreachable(source))?;
        if response.status() == StatusCode::OK {
            return Ok(response);
        }
        Err(self.refused(response).await)
    }

    fn unreachable(&self, source: reqwest::Error) -> TailError {
        TailError::Unreachable { url: self.name(), source: source.without_url() }
    }

    fn not_ours(&self, what: &(impl ToString + ?Sized)) -> TailError {
        TailError::NotOurs { url: self.name(), what: what.to_string() }
    }

    async fn refused(&self, response: Response) -> TailError {
        #[derive(Deserialize)]
        struct Problem {
            code: Option<String>,
            detail: String,
            next_step: Option<String>,
        }
        let status = response.status();
        let body = self.body(response).await.unwrap_or_default();
        let problem = serde_json::from_str(&body).unwrap_or_else(|_| Problem {
            code: None,
            next_step: None,
            detail: status.canonical_reason().unwrap_or("no reason").to_owned(),
        });
        let Problem { code, detail, next_step } = problem;
        TailError::Refused { url: self.name(), status: status.as_u16(), code, detail, next_step }
    }

    async fn body(&self, mut response: Response) -> Result<String, TailError> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk(&mut response).await? {
            body.extend_from_slice(&chunk);
            if body.len() > LONGEST_PAGE {
                return Err(self.not_ours("its answer does not end"));
            }
        }
        String::from_utf8(body).map_err(|error| self.not_ours(&error))
    }

    async fn chunk(&self, response: &mut Response) -> Result<Option<bytes::Bytes>, TailError> {
        match tokio::time::timeout(SILENCE, response.chunk()).await {
            Ok(chunk) => chunk.map_err(|source| self.unreachable(source)),
            Err(_) => Err(TailError::Silent { url: self.name(), seconds: SILENCE.as_secs() }),
        }
    }

    async fn page(&self, after: Option<Seq>, limit: u64, types: &str) -> Result<Page, TailError> {
        let (after, limit) = (after.map(|after| after.to_string()), limit.to_string());
        let mut parameters = vec![("follow", "false"), ("limit", &limit)];
        parameters.extend(after.as_deref().map(|after| ("after", after)));
        if !types.is_empty() {
            parameters.push(("types", types));
        }
        let response = self.get(&parameters).await?;
        let number = |name: &str| {
            let value = response.headers().get(name).and_then(|value| value.to_str().ok()?.parse().ok());
            value.map(Seq).ok_or_else(|| self.not_ours(&format!("its answer has no {name}")))
        };
        let (next_after, head) = (number("x-next-after")?, number("x-head")?);
        let lines = self.body(response).await?.lines().map(str::to_owned).collect();
        Ok(Page { lines, next_after, head })
    }

    /// The first event at `at` or later: the position before it. Found by bisection, for times do not go back.
    async fn before(&self, at: Timestamp) -> Result<Seq, TailError> {
        let first = self.page(None, 1, "").await?;
        let (mut low, mut high) = (Seq(first.next_after.0.saturating_sub(1)), first.head);
        while low < high {
            let middle = Seq(low.0 + (high.0 - low.0) / 2);
            let page = self.page(Some(middle), 1, "").await?;
            match page.lines.first().and_then(|line| time(line)) {
                Some(found) if found < at => low = middle.next(),
                Some(_) => high = middle,
                None => return Err(self.not_ours("an event has no time")),
            }
        }
        Ok(low)
    }

    async fn since(&self, since: Since) -> Result<Seq, TailError> {
        match since {
            Since::Seq(seq) => Ok(Seq(seq.0.saturating_sub(1))),
            Since::Time(at) => self.before(at).await,
        }
    }
}

/// Prints the events of a service; if it follows, until something fails for good.
pub async fn online(
    mut service: Service,
    wanted: &Wanted,
    printer: &mut Printer<'_>,
) -> Result<(), TailError> {
    let types: Vec<_> = wanted.types.iter().map(|it| it.0).collect();
    let types = types.join(",");
    let mut after = match wanted.since {
        Some(since) => Some(service.since(since).await?),
        None => None,
    };
    if wanted.follow {
        return follow(&mut service, after.map(|after| after.to_string()), &types, printer).await;
    }
    loop {
        let page = service.page(after, PAGE, &types).await?;
        for line in &page.lines {
            printer.event(line)?;
        }
        if page.next_after >= page.head || after == Some(page.next_after) {
            return Ok(printer.flush()?);
        }
        after = Some(page.next_after);
    }
}

/// The first connection must work; from then on every other is tried for ever.
async fn follow(
    service: &mut Service,
    mut after: Option<String>,
    types: &str,
    printer: &mut Printer<'_>,
) -> Result<(), TailError> {
    let (first_pause, mut ever_worked) = (service.first_pause, false);
    let mut pause = first_pause;
    loop {
        let before = after.clone();
        let mut retry = None;
        let ended = one_stream(service, &mut after, types, &mut retry, printer).await;
        let worked = before != after || retry.is_some();
        ever_worked |= worked;
        match ended {
            Ok(()) => {}
            Err(error) if !ever_worked || is_final(&error) => return Err(error),
            Err(error) => printer.remark(&format!("{}; trying again", chain(&error)))?,
        }
        // What the service asks for is random already.
        let wait = if worked { retry.unwrap_or(first_pause) } else { jittered(pause, &mut service.chance) };
        pause = if worked { first_pause } else { (2 * pause).min(LONGEST_PAUSE) };
        tokio::time::sleep(wait).await;
    }
}

/// Whether it will be the same the next time.
fn is_final(error: &TailError) -> bool {
    match error {
        TailError::Refused { status, .. } => (400..500).contains(status),
        TailError::Unreachable { .. } | TailError::Silent { .. } => false,
        TailError::NotOurs { .. }
        | TailError::Output(_)
        | TailError::Log(_)
        | TailError::FilesDoNotFollow
        | TailError::Client(_) => true,
    }
}

/// Follows one connection until it ends.
async fn one_stream(
    service: &Service,
    after: &mut Option<String>,
    types: &str,
    retry: &mut Option<Duration>,
    printer: &mut Printer<'_>,
) -> Result<(), TailError> {
    let mut parameters = Vec::new();
    let asked = after.clone();
    parameters.extend(asked.as_deref().map(|after| ("after", after)));
    if !types.is_empty() {
        parameters.push(("types", types));
    }
    let mut response = service.get(&parameters).await?;
    let mut parser = Parser::default();
    while let Some(chunk) = service.chunk(&mut response).await? {
        let frames = parser.push(&chunk).map_err(|error| service.not_ours(&error))?;
        *retry = parser.retry().or(*retry);
        for Frame { id, event, data } in frames {
            match event.as_str() {
                "stream.reset" => printer.remark(&format!("events are left out here: {data}"))?,
                own if own.starts_with("stream.") => {}
                _ => printer.event(&data)?,
            }
            if !id.is_empty() {
                *after = Some(id);
            }
        }
        printer.flush()?;
    }
    Ok(())
}

fn jittered(pause: Duration, chance: &mut fastrand::Rng) -> Duration {
    pause.mul_f64(0.5 + chance.f64() / 2.0)
}

fn time(line: &str) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct At {
        at: Timestamp,
    }
    serde_json::from_str::<At>(line).ok().map(|line| line.at)
}

/// Whether a URL names this machine, which no proxy reaches.
pub(crate) fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// TLS with the system's roots.
fn tls() -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
