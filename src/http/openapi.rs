//! `GET /openapi.json`: derived from the handlers and shapes, completed from the table of routes.
//!
//! Operations say what they answer when all goes well; problems, headers and tokens are added here for all.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use serde_json::Value;
use utoipa::OpenApi;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{Object, SchemaType, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    Content, ContentBuilder, Header, OpenApi as Document, Ref, RefOr, Response as Documented, ResponseBuilder,
};
use warp::filters::BoxedFilter;
use warp::http::HeaderValue;
use warp::http::Method;
use warp::http::StatusCode;
use warp::http::header::CONTENT_TYPE;
use warp::reply::Response;

use super::codes::Code;
use super::errors::{FieldError, ProblemDocument};
use super::front::App;
use super::request::Asked;
use super::respond::handle;
use super::routes::{self, Route};
use super::{
    allocate, containers, events, examples, explain, health, metrics, page, status, templates, webhooks,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "sandbox-pool",
        description = "Warm LXC containers on Proxmox VE, handed out from an event log."
    ),
    servers((url = ".", description = "Where this document is")),
    tags(
        (name = "pool", description = "Containers, in and out"),
        (name = "templates", description = "Sizes of a template, its drain and its renewal"),
        (name = "webhooks", description = "Endpoints that events are sent to"),
        (name = "service", description = "The service itself"),
    ),
    paths(
        health::health,
        health::ready,
        status::status,
        allocate::allocate,
        allocate::warm,
        containers::containers,
        containers::container,
        containers::release,
        containers::remove,
        templates::template,
        templates::configure,
        templates::drain,
        templates::refresh,
        explain::explain,
        metrics::metrics,
        events::events,
        events::follow_js,
        page::page,
        page::docs,
        openapi,
        webhooks::list,
        webhooks::one,
        webhooks::test,
        webhooks::pause,
        webhooks::resume,
        webhooks::replay,
        webhooks::retry_all,
        webhooks::retry,
        webhooks::drop_one,
    ),
    components(schemas(ProblemDocument, FieldError, Code)),
)]
struct Derived;

/// The document's bytes, made when they are first asked for.
static DOCUMENT: LazyLock<Bytes> =
    LazyLock::new(|| document().to_json().unwrap_or_default().into_bytes().into());

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    handle(&routes::OPENAPI, app, |_app, _asked: Asked| async { Ok(openapi(&DOCUMENT)) })
}

/// This document
#[utoipa::path(
    get,
    path = routes::OPENAPI.path,
    tag = "service",
    responses((status = 200, description = "The API in OpenAPI 3.1", body = Object)),
)]
fn openapi(document: &Bytes) -> Response {
    let mut response = Response::new(document.clone().into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The whole document.
pub fn document() -> Document {
    let mut document = Derived::openapi();
    let token = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("Needed where the service has POOL_API_TOKEN set"))
        .build();
    document.components.get_or_insert_default().add_security_scheme("token", SecurityScheme::Http(token));
    document.security =
        Some(vec![SecurityRequirement::default(), SecurityRequirement::new("token", Vec::<String>::new())]);
    for route in routes::ALL {
        if let Some(operation) = operation(&mut document, route) {
            complete(operation, route);
        }
    }
    document
}

fn operation<'a>(document: &'a mut Document, route: &Route) -> Option<&'a mut Operation> {
    let item = document.paths.paths.get_mut(route.path)?;
    match route.method {
        Method::GET => item.get.as_mut(),
        Method::POST => item.post.as_mut(),
        Method::PUT => item.put.as_mut(),
        Method::DELETE => item.delete.as_mut(),
        _ => None,
    }
}

fn complete(operation: &mut Operation, route: &Route) {
    if route.open {
        operation.security = Some(vec![SecurityRequirement::default()]);
    }
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in route.all_problems() {
        by_status.entry(code.status().as_u16()).or_default().push(code);
    }
    let example = examples::of(route);
    if let (Some(RefOr::T(body)), Some(example)) = (&mut operation.request_body, example) {
        show(body.content.values_mut(), example.request.as_ref());
    }
    let responses = &mut operation.responses.responses;
    if let (Some(RefOr::T(answer)), Some(example)) = (responses.get_mut("200"), example) {
        show(answer.content.values_mut(), Some(&example.response));
    }
    for (status, codes) in by_status {
        responses.insert(status.to_string(), RefOr::T(problem(&codes)));
    }
    for response in responses.values_mut() {
        let RefOr::T(response) = response else { continue };
        response.headers.insert("X-Request-Id".to_owned(), header(Type::String, "The id of the request"));
        if route.is_write() {
            let seq = header(Type::Integer, "The last event that led to the answer");
            response.headers.insert("X-Event-Seq".to_owned(), seq);
        }
    }
}

/// The same example in each form of a body.
fn show<'a>(forms: impl Iterator<Item = &'a mut RefOr<Content>>, example: Option<&Value>) {
    for form in forms {
        if let RefOr::T(form) = form {
            form.example = example.cloned();
        }
    }
}

fn problem(codes: &[Code]) -> Documented {
    let words: Vec<_> = codes.iter().map(|it| format!("`{}`: {}", it.as_str(), it.title())).collect();
    let examples = codes.iter().map(|code| {
        let example = ExampleBuilder::new().summary(code.title()).value(Some(examples::problem(*code)));
        (code.as_str(), example.build())
    });
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("ProblemDocument")))
        .examples_from_iter(examples)
        .build();
    let mut response = ResponseBuilder::new()
        .description(words.join("\n\n"))
        .content("application/problem+json", content)
        .build();
    if codes.iter().any(|code| code.status() == StatusCode::SERVICE_UNAVAILABLE) {
        let after = header(Type::Integer, "Seconds after which it is worth another try, where that is known");
        response.headers.insert("Retry-After".to_owned(), after);
    }
    response
}

fn header(kind: Type, description: &str) -> RefOr<Header> {
    let schema = Object::with_type(SchemaType::Type(kind));
    RefOr::T(HeaderBuilder::new().schema(Some(schema)).description(Some(description)).build())
}
