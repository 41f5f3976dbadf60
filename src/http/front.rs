//! Every request comes in and goes out here: who may come in, which id it has, what its answer carries.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;
use ulid::Ulid;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use warp::http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use warp::reply::Response;

use super::auth::Tokens;
use super::browser::AllowedHosts;
use super::codes::Code;
use super::errors::Problem;
use super::limits::Limits;
use super::request::RequestId;
use super::respond::{EVENT_SEQ, recover, set_seq};
use super::routes::{self, Found, Route};
use super::{allocate, containers, health, openapi, page, templates};
use crate::clock::Stopwatch;
use crate::desk::Desk;
use crate::log::Reader;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Carried by every answer that does not say otherwise itself.
const ON_EVERY_ANSWER: [(HeaderName, HeaderValue); 6] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

/// What handlers need. Clones are cheap.
#[derive(Clone)]
pub struct App(Arc<Shared>);

struct Shared {
    desk: Desk,
    limits: Limits,
    large_bodies: Semaphore,
    log: Reader,
}

/// Carried by requests of connections for which there was no room any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct TurnedAway;

/// Who may come in.
#[derive(Clone, Debug, Default)]
pub struct Guards {
    /// Tokens that are accepted.
    pub tokens: Tokens,
    /// Hosts that browsers may write to and from.
    pub hosts: AllowedHosts,
}

/// How a request ended, for whoever measures it.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// The route of the table, or the first of its path that has another method; none for an unknown path.
    pub route: Option<&'static Route>,
    /// The status; none when the client left before the answer.
    pub status: Option<StatusCode>,
    /// The problem that was answered, if it was one.
    pub problem: Option<Code>,
}

/// Is told how each request ended. It must not wait.
pub type Observer = Arc<dyn Fn(Answered) + Send + Sync>;

/// The whole of HTTP, without a socket. Clones are cheap.
#[derive(Clone)]
pub struct Front {
    app: App,
    filter: BoxedFilter<(Response,)>,
    guards: Arc<Guards>,
    chance: Arc<Mutex<fastrand::Rng>>,
    observer: Option<Observer>,
}

impl App {
    /// What handlers need.
    pub fn new(desk: Desk, limits: Limits, log: Reader) -> Self {
        let large_bodies = Semaphore::new(limits.max_large_bodies);
        Self(Arc::new(Shared { desk, limits, large_bodies, log }))
    }

    /// The front desk.
    pub fn desk(&self) -> &Desk {
        &self.0.desk
    }

    /// What a request may cost.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Room for bodies that are not small.
    pub(super) fn large_bodies(&self) -> &Semaphore {
        &self.0.large_bodies
    }

    /// What happened.
    pub fn log(&self) -> &Reader {
        &self.0.log
    }
}

impl Front {
    /// The routes of the API and those of `rooms`, whose routes stand in the table too.
    pub fn new(
        app: App,
        guards: Guards,
        chance: fastrand::Rng,
        rooms: impl IntoIterator<Item = BoxedFilter<(Response,)>>,
    ) -> Self {
        let api = [
            health::routes(&app),
            allocate::routes(&app),
            containers::routes(&app),
            templates::routes(&app),
            page::routes(&app),
            openapi::routes(&app),
        ];
        let nothing = warp::any().and_then(|| async { Err(warp::reject::not_found()) }).boxed();
        let filter = api.into_iter().chain(rooms).fold(nothing, |all, room| all.or(room).unify().boxed());
        let filter = filter.recover(recover).unify().boxed();
        let chance = Arc::new(Mutex::new(chance));
        Self { app, filter, guards: Arc::new(guards), chance, observer: None }
    }

    /// The same, telling `observer` how each request ended.
    #[must_use]
    pub fn observed_by(mut self, observer: Observer) -> Self {
        self.observer = Some(observer);
        self
    }

    /// What a request may cost.
    pub fn limits(&self) -> &Limits {
        self.app.limits()
    }

    /// Answers a request. Dropping the future is how a client leaves.
    pub async fn answer<B>(&self, mut request: Request<B>) -> Response
    where
        B: hyper::body::Body<Data = Bytes> + Send + Sync + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        // A HEAD is a GET of which only the headers are sent.
        let only_head = request.method() == Method::HEAD;
        if only_head {
            *request.method_mut() = Method::GET;
        }
        let found = routes::find(request.method(), request.uri().path());
        let id = RequestId(self.request_id());
        let mut line = Line::new(request.method(), &found, &id, self.observer.clone());
        let mut response = match self.admit(&request, &found) {
            Ok(()) => {
                request.extensions_mut().insert(id.clone());
                let service = TowerToHyperService::new(warp::service(self.filter.clone()));
                let Ok(response) = service.call(request).await;
                response
            }
            Err(problem) => problem.into_response(),
        };
        self.finish(&mut response, &id, &found);
        if only_head {
            response = without_body(response);
        }
        line.status = Some(response.status());
        line.problem = response.extensions().get().copied();
        response
    }

    fn admit<B>(&self, request: &Request<B>, found: &Found) -> Result<(), Problem> {
        let write = routes::is_write(request.method());
        if !matches!(found, Found::Route(route) if route.open) {
            if request.extensions().get::<TurnedAway>().is_some() {
                let full = "all connections that the service serves at once are open";
                return Err(Problem::new(Code::Overloaded, full).retry_after(Duration::from_secs(1)));
            }
            self.guards.tokens.admit(request.headers(), write)?;
        }
        if write {
            self.guards.hosts.admit_write(request.uri(), request.headers())?;
        }
        Ok(())
    }

    fn finish(&self, response: &mut Response, id: &RequestId, found: &Found) {
        let admitted = !matches!(
            response.extensions().get(),
            Some(Code::Unauthorized | Code::ReadOnlyToken | Code::CrossSite)
        );
        if matches!(found, Found::Route(route) if route.is_write())
            && admitted
            && !response.headers().contains_key(EVENT_SEQ)
        {
            set_seq(response, self.app.desk().published().head);
        }
        let headers = response.headers_mut();
        if let Found::WrongMethod(others) = found {
            let mut methods: Vec<_> = others.iter().map(|route| route.method.as_str()).collect();
            if methods.contains(&"GET") {
                methods.push("HEAD");
            }
            set(headers, ALLOW, &methods.join(", "));
        }
        set(headers, REQUEST_ID, &id.0);
        for (name, value) in ON_EVERY_ANSWER {
            headers.entry(name).or_insert(value);
        }
    }

    fn request_id(&self) -> Arc<str> {
        let milliseconds = u64::try_from(self.app.desk().now().0).unwrap_or(0);
        let random = self.chance.lock().unwrap_or_else(PoisonError::into_inner).u128(..);
        Ulid::from_parts(milliseconds, random).to_string().into()
    }
}

/// The headers alone, with the length that the body would have had.
fn without_body(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    if let Some(length) = hyper::body::Body::size_hint(&body).exact() {
        parts.headers.entry(CONTENT_LENGTH).or_insert(length.into());
    }
    Response::from_parts(parts, "".into())
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// The line of the access log, written when the request ends in whatever way.
struct Line {
    method: Method,
    route: Option<&'static Route>,
    id: RequestId,
    watch: Stopwatch,
    status: Option<StatusCode>,
    problem: Option<Code>,
    observer: Option<Observer>,
}

impl Line {
    fn new(method: &Method, found: &Found, id: &RequestId, observer: Option<Observer>) -> Self {
        let route = match found {
            Found::Route(route) => Some(*route),
            Found::WrongMethod(_) | Found::Nothing => None,
        };
        Self {
            method: method.clone(),
            route,
            id: id.clone(),
            watch: Stopwatch::start(),
            status: None,
            problem: None,
            observer,
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let ms = self.watch.elapsed().as_millis();
        let (method, id) = (self.method.as_str(), &*self.id.0);
        let route = self.route.map_or("none", |route| route.path);
        if let Some(observer) = &self.observer {
            observer(Answered { route: self.route, status: self.status, problem: self.problem });
        }
        if let Some(status) = self.status {
            tracing::debug!(method, route, id, status = status.as_u16(), ms, "answered");
        } else {
            tracing::debug!(method, route, id, ms, "the client left before the answer");
        }
    }
}
