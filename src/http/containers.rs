//! Containers: their list, one of them, and the two ways out of a holder's hands.

use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::codes::Code;
use super::errors::Problem;
use super::events::{self, History};
use super::front::App;
use super::params::{AsOf, DryRunFirst, IfHeldBy, OfContainer};
use super::request::{Asked, LONGEST_INSTANCE};
use super::respond::{handle, json, set_seq, written};
use super::routes;
use super::status::seen;
use super::views::{ContainerList, ContainerView, DryRun, Left, STATES};
use crate::domain::command::Leave;
use crate::domain::ids::Seq;
use crate::domain::state::Container;

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    handle(&routes::CONTAINERS, app, containers)
        .or(handle(&routes::CONTAINER, app, container))
        .unify()
        .or(handle(&routes::RELEASE, app, release))
        .unify()
        .or(handle(&routes::REMOVE, app, remove))
        .unify()
        .boxed()
}

/// The containers of the pool
#[utoipa::path(
    get,
    path = routes::CONTAINERS.path,
    tag = "pool",
    params(
        ("template" = Option<u32>, Query, description = "Only of this template"),
        ("state" = Option<String>, Query, description = "Only in this state: creating, ready, allocated, \
            releasing, removing or quarantined"),
        ("instance" = Option<String>, Query, description = "Only the one that this instance holds"),
        AsOf,
    ),
    responses((status = 200, description = "The containers", body = ContainerList)),
)]
async fn containers(app: App, asked: Asked) -> Result<Response, Problem> {
    let query = &asked.query;
    query.only(&["template", "state", "instance", "min_seq"])?;
    let template = query.vmid("template")?;
    let state = query.text("state");
    if state.is_some_and(|state| !STATES.contains(&state)) {
        return Err(Problem::field("state", format!("expected one of {}", STATES.join(", "))));
    }
    let instance = query.text("instance");
    let published = seen(&app, &asked).await?;
    let list = ContainerList::of(&published, app.desk().now(), |container| {
        template.is_none_or(|template| container.template == template)
            && state.is_none_or(|state| container.phase.name() == state)
            && instance.is_none_or(|it| container.instance_id().is_some_and(|id| id.as_str() == it))
    });
    let mut response = json(&list)?;
    set_seq(&mut response, published.head);
    Ok(response)
}

/// One container
///
/// With what happened to it: the newest 200 events that name it since it was made or discovered.
#[utoipa::path(
    get,
    path = routes::CONTAINER.path,
    tag = "pool",
    params(OfContainer, AsOf),
    responses((status = 200, description = "The container", body = ContainerView)),
)]
async fn container(app: App, asked: Asked) -> Result<Response, Problem> {
    let vmid = asked.vmid()?;
    let published = seen(&app, &asked).await?;
    let Some(container) = published.state.container(vmid) else {
        return Err(Problem::new(Code::ContainerNotFound, format!("the pool has no container {vmid}")));
    };
    let history = history(&app, container, published.head).await?;
    let mut response = json(&ContainerView::of(container, app.desk().now(), &history))?;
    set_seq(&mut response, published.head);
    Ok(response)
}

/// What happened to a container. The last event about it that State knows is where looking begins if it is
/// long ago: nothing behind it can be about this container.
async fn history(app: &App, container: &Container, head: Seq) -> Result<History, Problem> {
    let (log, vmid, since) = (app.log().clone(), container.vmid, container.created_seq);
    let upto = if log.is_recent(container.touched) { head } else { container.touched };
    let found = tokio::task::spawn_blocking(move || events::history(&log, vmid, since, upto)).await;
    found.map_err(|error| Problem::new(Code::Internal, error.to_string()))?.map_err(|error| {
        tracing::error!(%error, "the history of a container could not be read");
        Problem::new(Code::Internal, error.to_string())
    })
}

/// Give a container back
///
/// Stops it and makes it ready again, or destroys it, as the service is configured. Answers when that is done.
#[utoipa::path(
    post,
    path = routes::RELEASE.path,
    tag = "pool",
    params(OfContainer, IfHeldBy, DryRunFirst),
    responses((status = 200, description = "It is released, or what would happen", body = Answered)),
)]
async fn release(app: App, asked: Asked) -> Result<Response, Problem> {
    let (call, leave) = (asked.call()?, leave(&asked)?);
    let vmid = leave.vmid;
    let answer = app.desk().release(&call, leave).await;
    written(&app, answer, |()| Left { status: "released", vmid: vmid.0 })
}

/// Remove a container from the pool
///
/// Destroys it at PVE, running or not. Answers when that is done.
#[utoipa::path(
    delete,
    path = routes::REMOVE.path,
    tag = "pool",
    params(OfContainer, IfHeldBy, DryRunFirst),
    responses((status = 200, description = "It is removed, or what would happen", body = Answered)),
)]
async fn remove(app: App, asked: Asked) -> Result<Response, Problem> {
    let (call, leave) = (asked.call()?, leave(&asked)?);
    let vmid = leave.vmid;
    let answer = app.desk().remove(&call, leave).await;
    written(&app, answer, |()| Left { status: "removed", vmid: vmid.0 })
}

/// The two shapes of an answer to [`release`] and [`remove`].
#[derive(utoipa::ToSchema)]
#[schema(as = LeaveAnswer)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum Answered {
    Left(Left),
    DryRun(DryRun),
}

fn leave(asked: &Asked) -> Result<Leave, Problem> {
    let instance_id = asked.query.text("instance_id");
    if instance_id.is_some_and(|it| it.len() > LONGEST_INSTANCE) {
        return Err(Problem::field("instance_id", format!("expected at most {LONGEST_INSTANCE} bytes")));
    }
    Ok(Leave { vmid: asked.vmid()?, instance_id: instance_id.map(str::to_owned) })
}
