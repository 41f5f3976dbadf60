//! HTTP from the outside, in front of an engine that the tests play.

mod connections;
mod document;
mod guards;
mod measured;
mod problems;
mod reads;
mod requests;
mod webhooks;
mod writes;

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use warp::http::{HeaderMap, Method, Request, StatusCode};

use super::auth::Tokens;
use super::browser::AllowedHosts;
use super::codes::Code;
use super::events::{self, Streams};
use super::limits::Limits;
use super::routes::{self, Found};
use super::{App, Front, Guards};
use crate::clock::Clock;
use crate::config::{Secret, WebhookConfig, WebhooksFile};
use crate::desk::played::{self, Played};
use crate::desk::{Desk, Patience};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::state::State;
use crate::domain::time::Timestamp;
use crate::log::{self, MemoryDisk, Options, open_memory};
use crate::webhook::{Endpoint, Webhooks};

/// 2026-11-24T03:06:19.000Z
const NOW: Timestamp = Timestamp(1_795_489_579_000);

/// An answer as a client sees it.
#[derive(Debug)]
struct Got {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Got {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or("none")
    }

    /// Names of the fields that are wrong.
    fn fields(&self) -> Vec<&str> {
        let errors = self.body["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        errors.iter().map(|error| error["field"].as_str().unwrap()).collect()
    }
}

fn front_with(state: State, guards: Guards, limits: Limits) -> (Front, Played) {
    let (engine, played) = played::engine(state);
    let unread = || Err(Fault::new(FaultKind::Gone, "Configuration file does not exist"));
    let read = Arc::new(move |_| -> futures_util::future::BoxFuture<'static, _> {
        Box::pin(async move { unread() })
    });
    let desk = Desk::new(engine.clone(), Clock::virtual_from(NOW), read, Patience::default());
    let log = open_memory::<State>(&MemoryDisk::default(), Options::new(0x0bad_cafe, "test")).unwrap().reader;
    // Streams end at once: whoever asks here reads an answer to its end.
    let closed = CancellationToken::new();
    closed.cancel();
    let chance = fastrand::Rng::with_seed(7);
    let streams = Streams::new(&engine, log.clone(), 10, chance.clone(), closed);
    let app = App::new(desk, limits, log.clone());
    let look_back = crate::http::LookBack::new(log);
    let status = crate::http::status::room(&app, look_back.clone());
    let explain = crate::http::explain::room(&app, look_back);
    let metrics = crate::http::metrics::room(&app, Arc::new(|| "# TYPE up gauge\nup 1\n".to_owned()));
    let hooks = super::webhooks::routes(&app, &webhooks());
    let front = Front::new(app, guards, chance, [status, explain, metrics, events::room(&streams), hooks]);
    (front, played)
}

/// One endpoint, `hook`, that takes everything, and an empty log.
fn webhooks() -> Webhooks {
    let dir = tempfile::tempdir().unwrap();
    let opened = log::open::<State>(dir.path(), log::Options::new(1, "1.0.0")).unwrap();
    let text = "[[endpoint]]\nname = 'hook'\nurl = 'https://hooks.example.com/T0/secret-path'\n\
                secrets = ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw']";
    let file = WebhooksFile { path: "webhooks.toml".into(), text: Secret::new(text) };
    let config = WebhookConfig { file: Some(file), endpoint: None, allow_cidrs: Vec::new() };
    let endpoints = Endpoint::load(&config, &|_| Err(std::io::ErrorKind::NotFound.into())).unwrap();
    Webhooks::for_tests(endpoints, opened.reader, Clock::virtual_from(NOW))
}

fn front() -> (Front, Played) {
    front_with(played::running(), Guards::default(), Limits::default())
}

fn guarded() -> (Front, Played) {
    let tokens = Tokens::new(["full"], ["reader"]);
    let hosts = AllowedHosts::new(["pve.example.com"]);
    front_with(played::running(), Guards { tokens, hosts }, Limits::default())
}

fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(Bytes::from(body.to_owned()))).unwrap()
}

/// Asks, and holds every problem against what the route's table says that it may answer.
async fn ask_with(front: &Front, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Got {
    let request = request(method, target, headers, body);
    let found = routes::find(&method.parse::<Method>().unwrap(), request.uri().path());
    let response = front.answer(request).await;
    if let (Found::Route(route), Some(code)) = (found, response.extensions().get::<Code>()) {
        let documented = route.all_problems().any(|known| known == *code);
        assert!(documented, "{method} {} answers {} without saying so", route.path, code.as_str());
    }
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let is_json = parts
        .headers
        .get("content-type")
        .is_some_and(|it| [&b"/json"[..], b"+json"].iter().any(|end| it.as_bytes().ends_with(end)));
    let body = match &bytes[..] {
        [] => Value::Null,
        bytes if is_json => serde_json::from_slice(bytes).unwrap(),
        bytes => String::from_utf8_lossy(bytes).into(),
    };
    Got { status: parts.status, headers: parts.headers, body }
}

async fn ask(front: &Front, method: &str, target: &str, body: &str) -> Got {
    ask_with(front, method, target, &[], body).await
}
