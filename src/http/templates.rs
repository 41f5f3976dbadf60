//! Templates: their sizes, their drain, and the renewal of what was cloned from them.

use serde_json::Map;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::codes::Code;
use super::errors::Problem;
use super::front::App;
use super::params::{AsOf, DryRunFirst, OfTemplate};
use super::request::{Asked, Fields};
use super::respond::{handle, json, set_seq, written};
use super::routes;
use super::status::seen;
use super::views::{DryRun, SizesBody, TemplateStatus};
use crate::domain::ids::Vmid;
use crate::domain::settings::SizeOverrides;
use crate::engine::Published;

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    handle(&routes::TEMPLATE, app, template)
        .or(handle(&routes::CONFIGURE, app, configure))
        .unify()
        .or(handle(&routes::DRAIN, app, drain))
        .unify()
        .or(handle(&routes::REFRESH, app, refresh))
        .unify()
        .boxed()
}

/// One template with its containers
#[utoipa::path(
    get,
    path = routes::TEMPLATE.path,
    tag = "templates",
    params(OfTemplate, AsOf),
    responses((status = 200, description = "The template", body = TemplateStatus)),
)]
async fn template(app: App, asked: Asked) -> Result<Response, Problem> {
    let template = asked.vmid()?;
    let published = seen(&app, &asked).await?;
    let Some(view) = TemplateStatus::of(&published.state, template, app.desk().now()) else {
        return Err(Problem::new(Code::TemplateNotFound, format!("the pool has no template {template}")));
    };
    let mut response = json(&view)?;
    set_seq(&mut response, published.head);
    Ok(response)
}

/// Set a template's own sizes
///
/// They last and win over the configured ones; a size that is null or left out is the configured one again.
/// A drain or back-off ends. A template that the pool does not know yet joins it.
#[utoipa::path(
    put,
    path = routes::CONFIGURE.path,
    tag = "templates",
    request_body = SizesBody,
    params(OfTemplate, DryRunFirst),
    responses((status = 200, description = "The template, or what would happen", body = Answered)),
)]
async fn configure(app: App, asked: Asked) -> Result<Response, Problem> {
    let template = asked.vmid()?;
    let call = asked.call()?;
    let object = if asked.body.is_empty() { Map::new() } else { asked.object()? };
    let sizes = read_sizes(Fields::of(object), app.limits().max_pool_size)?;
    let answer = app.desk().configure(&call, template, sizes).await;
    written(&app, answer, |()| view(&app.desk().published(), template, &app))
}

/// Drain a template
///
/// Its ready containers are destroyed, and it serves nobody until its sizes are set again.
#[utoipa::path(
    delete,
    path = routes::DRAIN.path,
    tag = "templates",
    params(OfTemplate, DryRunFirst),
    responses((status = 200, description = "The template, or what would happen", body = Answered)),
)]
async fn drain(app: App, asked: Asked) -> Result<Response, Problem> {
    let template = asked.vmid()?;
    let answer = app.desk().drain(&asked.call()?, template).await;
    written(&app, answer, |()| view(&app.desk().published(), template, &app))
}

/// Replace a template's ready containers by clones of it as it is today
#[utoipa::path(
    post,
    path = routes::REFRESH.path,
    tag = "templates",
    params(OfTemplate, DryRunFirst),
    responses((status = 200, description = "The template, or what would happen", body = Answered)),
)]
async fn refresh(app: App, asked: Asked) -> Result<Response, Problem> {
    let template = asked.vmid()?;
    let answer = app.desk().refresh(&asked.call()?, template).await;
    written(&app, answer, |()| view(&app.desk().published(), template, &app))
}

/// The two shapes of an answer to a write on a template.
#[derive(utoipa::ToSchema)]
#[schema(as = TemplateAnswer)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum Answered {
    Template(Box<TemplateStatus>),
    DryRun(DryRun),
}

/// The template after a write; null if it has left the pool already.
fn view(published: &Published, template: Vmid, app: &App) -> Option<TemplateStatus> {
    TemplateStatus::of(&published.state, template, app.desk().now())
}

fn read_sizes(mut fields: Fields, most: u32) -> Result<SizeOverrides, Problem> {
    let mut size = |name| fields.number(name, 0, u64::from(most)).and_then(|size| size.try_into().ok());
    let sizes = SizeOverrides { min: size("min"), target: size("target"), max: size("max") };
    fields.nothing_else("min, target, max");
    fields.finish(sizes)
}
