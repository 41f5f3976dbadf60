//! The one table of routes: filters match by it, the API document is completed from it, metrics label by it.

use std::collections::BTreeSet;

use warp::http::Method;

use super::codes::Code;

/// A method at a path.
#[derive(Debug)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path, with `{name}` for a part that varies.
    pub path: &'static str,
    /// It has a JSON body.
    pub takes_body: bool,
    /// It is answered without a token.
    pub open: bool,
    /// What it may answer besides what every route may.
    pub problems: &'static [Code],
}

const fn get(path: &'static str, problems: &'static [Code]) -> Route {
    Route { method: Method::GET, path, takes_body: false, open: false, problems }
}

const fn post(path: &'static str, takes_body: bool, problems: &'static [Code]) -> Route {
    Route { method: Method::POST, path, takes_body, open: false, problems }
}

const fn put(path: &'static str, problems: &'static [Code]) -> Route {
    Route { method: Method::PUT, path, takes_body: true, open: false, problems }
}

const fn delete(path: &'static str, problems: &'static [Code]) -> Route {
    Route { method: Method::DELETE, path, takes_body: false, open: false, problems }
}

/// What every route but the open ones may answer.
pub const EVERYWHERE: &[Code] = &[Code::Unauthorized, Code::Overloaded, Code::Internal];

/// What every write may answer.
pub const WRITES: &[Code] =
    &[Code::ReadOnlyToken, Code::CrossSite, Code::InvalidRequest, Code::LogUnwritable, Code::Stopping];

/// What every route with a body may answer.
pub const BODIES: &[Code] = &[Code::RequestTimeout, Code::PayloadTooLarge, Code::UnsupportedMediaType];

/// `GET /health`
pub static HEALTH: Route =
    Route { method: Method::GET, path: "/health", takes_body: false, open: true, problems: &[] };
/// `GET /ready`
pub static READY: Route = get("/ready", &[]);
/// `GET /status`
pub static STATUS: Route =
    get("/status", &[Code::InvalidRequest, Code::NotYetThere, Code::EventsPruned, Code::InTheFuture]);
/// `POST /allocate`
pub static ALLOCATE: Route = post(
    "/allocate",
    true,
    &[
        Code::TemplateNotFound,
        Code::NotATemplate,
        Code::TemplateDrained,
        Code::TemplateBackedOff,
        Code::InstanceOfOtherTemplate,
        Code::InstanceLeaving,
        Code::OwnershipDoubted,
        Code::Released,
        Code::Removed,
        Code::TooManyWaiting,
        Code::MaxTotal,
        Code::AllocateTimeout,
        Code::Cancelled,
        Code::ContainersUnusable,
        Code::PveRefused,
        Code::PveUnreachable,
        Code::PveTimeout,
    ],
);
/// `POST /release/{vmid}`
pub static RELEASE: Route = post(
    "/release/{vmid}",
    false,
    &[
        Code::ContainerNotFound,
        Code::HeldByAnother,
        Code::WrongState,
        Code::OwnershipDoubted,
        Code::ReleaseFailed,
        Code::StillReleasing,
    ],
);
/// `POST /warm/{template_vmid}`
pub static WARM: Route = post(
    "/warm/{template_vmid}",
    false,
    &[
        Code::TemplateNotFound,
        Code::NotATemplate,
        Code::TemplateDrained,
        Code::PveRefused,
        Code::PveUnreachable,
        Code::PveTimeout,
    ],
);
/// `GET /containers`
pub static CONTAINERS: Route = get("/containers", &[Code::InvalidRequest, Code::NotYetThere]);
/// `GET /containers/{vmid}`
pub static CONTAINER: Route =
    get("/containers/{vmid}", &[Code::InvalidRequest, Code::NotYetThere, Code::ContainerNotFound]);
/// `DELETE /containers/{vmid}`
pub static REMOVE: Route = delete(
    "/containers/{vmid}",
    &[
        Code::ContainerNotFound,
        Code::HeldByAnother,
        Code::WrongState,
        Code::OwnershipDoubted,
        Code::RemovalFailed,
        Code::StillRemoving,
    ],
);
/// `GET /templates/{vmid}`
pub static TEMPLATE: Route =
    get("/templates/{vmid}", &[Code::InvalidRequest, Code::NotYetThere, Code::TemplateNotFound]);
/// `PUT /templates/{vmid}`
pub static CONFIGURE: Route = put(
    "/templates/{vmid}",
    &[
        Code::SizesContradict,
        Code::TemplateNotFound,
        Code::NotATemplate,
        Code::PveRefused,
        Code::PveUnreachable,
        Code::PveTimeout,
    ],
);
/// `DELETE /templates/{vmid}`
pub static DRAIN: Route = delete("/templates/{vmid}", &[Code::TemplateNotFound]);
/// `POST /templates/{vmid}/refresh`
pub static REFRESH: Route =
    post("/templates/{vmid}/refresh", false, &[Code::TemplateNotFound, Code::TemplateDrained]);
/// `GET /explain`
pub static EXPLAIN: Route = get("/explain", &[Code::InvalidRequest, Code::NotYetThere, Code::NothingKnown]);
/// `GET /metrics`
pub static METRICS: Route = get("/metrics", &[]);
/// `GET /events`
pub static EVENTS: Route = get(
    "/events",
    &[
        Code::UnknownFilter,
        Code::InvalidRequest,
        Code::TooManyStreams,
        Code::EventsPruned,
        Code::EventsElsewhere,
    ],
);
/// `GET /follow.js`
pub static FOLLOW_JS: Route =
    Route { method: Method::GET, path: "/follow.js", takes_body: false, open: true, problems: &[] };
/// `GET /`
pub static PAGE: Route =
    Route { method: Method::GET, path: "/", takes_body: false, open: true, problems: &[] };
/// `GET /docs`
pub static DOCS: Route =
    Route { method: Method::GET, path: "/docs", takes_body: false, open: true, problems: &[] };
/// `GET /openapi.json`: the same for every pool, so nobody's secret.
pub static OPENAPI: Route =
    Route { method: Method::GET, path: "/openapi.json", takes_body: false, open: true, problems: &[] };

/// `GET /webhooks`
pub static WEBHOOKS: Route = get("/webhooks", &[]);
/// `GET /webhooks/{name}`
pub static WEBHOOK: Route = get("/webhooks/{name}", &[Code::WebhookNotFound]);
/// `POST /webhooks/{name}/test`
pub static TEST_WEBHOOK: Route = post("/webhooks/{name}/test", false, &[Code::WebhookNotFound]);
/// `POST /webhooks/{name}/pause`
pub static PAUSE_WEBHOOK: Route = post("/webhooks/{name}/pause", false, &[Code::WebhookNotFound]);
/// `POST /webhooks/{name}/resume`
pub static RESUME_WEBHOOK: Route = post("/webhooks/{name}/resume", false, &[Code::WebhookNotFound]);
/// `POST /webhooks/{name}/replay`
pub static REPLAY_WEBHOOK: Route =
    post("/webhooks/{name}/replay", true, &[Code::WebhookNotFound, Code::Pruned, Code::TooManyReplays]);
/// `POST /webhooks/{name}/parked/retry`
pub static RETRY_ALL_PARKED: Route = post("/webhooks/{name}/parked/retry", false, &[Code::WebhookNotFound]);
/// `POST /webhooks/{name}/parked/{seq}/retry`
pub static RETRY_PARKED: Route =
    post("/webhooks/{name}/parked/{seq}/retry", false, &[Code::WebhookNotFound, Code::NotParked]);
/// `DELETE /webhooks/{name}/parked/{seq}`
pub static DROP_PARKED: Route =
    delete("/webhooks/{name}/parked/{seq}", &[Code::WebhookNotFound, Code::NotParked]);

/// Every route.
pub static ALL: &[&Route] = &[
    &HEALTH,
    &READY,
    &STATUS,
    &ALLOCATE,
    &RELEASE,
    &WARM,
    &CONTAINERS,
    &CONTAINER,
    &REMOVE,
    &TEMPLATE,
    &CONFIGURE,
    &DRAIN,
    &REFRESH,
    &EXPLAIN,
    &METRICS,
    &EVENTS,
    &FOLLOW_JS,
    &PAGE,
    &DOCS,
    &OPENAPI,
    &WEBHOOKS,
    &WEBHOOK,
    &TEST_WEBHOOK,
    &PAUSE_WEBHOOK,
    &RESUME_WEBHOOK,
    &REPLAY_WEBHOOK,
    &RETRY_ALL_PARKED,
    &RETRY_PARKED,
    &DROP_PARKED,
];

/// What a method and a path lead to.
#[derive(Debug)]
pub enum Found {
    /// A route.
    Route(&'static Route),
    /// A path that has other methods.
    WrongMethod(Vec<&'static Route>),
    /// Nothing.
    Nothing,
}

/// Looks a request up.
pub fn find(method: &Method, path: &str) -> Found {
    let at_path: Vec<_> = ALL.iter().copied().filter(|route| route.matches(path).is_some()).collect();
    match at_path.iter().find(|route| route.method == *method) {
        Some(route) => Found::Route(route),
        None if at_path.is_empty() => Found::Nothing,
        None => Found::WrongMethod(at_path),
    }
}

/// What measurements count for a request whose client left before the answer; nobody is answered with it.
pub const CLIENT_LEFT: u16 = 499;

/// What measurements call an address that is nobody's.
pub const NOWHERE: &str = "none";

/// Every way in which a request may end, by what measurements call its route.
pub fn answers() -> BTreeSet<(String, u16)> {
    let of_route = |route: &&Route| {
        let problems: Vec<u16> = route.all_problems().map(|code| code.status().as_u16()).collect();
        let name = route.measured_as();
        problems.into_iter().chain([200, CLIENT_LEFT]).map(move |status| (name.clone(), status))
    };
    let nowhere = [Code::Unauthorized, Code::CrossSite, Code::NotFound, Code::MethodNotAllowed];
    let nowhere = nowhere.map(|code| (NOWHERE.to_owned(), code.status().as_u16()));
    ALL.iter().flat_map(of_route).chain(nowhere).collect()
}

impl Route {
    /// Method and path, `GET /status`.
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// What measurements call it: its name, but one for all that is done now and then about webhooks.
    pub fn measured_as(&self) -> String {
        if self.path.starts_with(WEBHOOKS.path) {
            format!("{} {}", self.method, WEBHOOKS.path)
        } else {
            self.name()
        }
    }

    /// Whether it changes anything.
    pub fn is_write(&self) -> bool {
        is_write(&self.method)
    }

    /// The parts that vary, by name, if the path is this one's. One slash at the end is let pass.
    pub fn matches(&self, path: &str) -> Option<Vec<(&'static str, String)>> {
        let path = path.strip_suffix('/').filter(|rest| !rest.is_empty()).unwrap_or(path);
        let mut parts = Vec::new();
        let mut given = path.split('/');
        for pattern in self.path.split('/') {
            let part = given.next()?;
            match pattern.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
                Some(name) => parts.push((name, part.to_owned())),
                None if pattern == part => {}
                None => return None,
            }
        }
        given.next().is_none().then_some(parts)
    }

    /// Every problem that it may answer.
    pub fn all_problems(&self) -> impl Iterator<Item = Code> {
        let none: &[Code] = &[];
        let everywhere = if self.open { none } else { EVERYWHERE };
        let writes = if self.is_write() { WRITES } else { none };
        let bodies = if self.takes_body { BODIES } else { none };
        [everywhere, writes, bodies, self.problems].into_iter().flatten().copied()
    }
}

/// Whether a method changes anything.
pub fn is_write(method: &Method) -> bool {
    ![Method::GET, Method::HEAD, Method::OPTIONS].contains(method)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_matched_part_by_part() {
        let parts = |route: &Route, path| route.matches(path).map(|parts| parts.len());
        assert_eq!(parts(&RELEASE, "/release/205"), Some(1));
        assert_eq!(parts(&RELEASE, "/release/205/"), Some(1));
        assert_eq!(parts(&RELEASE, "/release"), None);
        assert_eq!(parts(&RELEASE, "/release/205/x"), None);
        assert_eq!(parts(&STATUS, "/status"), Some(0));
        assert_eq!(parts(&STATUS, "/status//"), None);
        assert_eq!(parts(&STATUS, "/"), None);
        assert_eq!(CONTAINER.matches("/containers/abc").unwrap(), vec![("vmid", "abc".to_owned())]);
    }

    #[test]
    fn no_two_routes_are_the_same() {
        for (index, route) in ALL.iter().enumerate() {
            let path = route.path.replace(['{', '}'], "");
            let Found::Route(found) = find(&route.method, &path) else { panic!("{route:?}") };
            assert!(std::ptr::eq(found, ALL[index]), "{} {}", route.method, route.path);
        }
    }
}
