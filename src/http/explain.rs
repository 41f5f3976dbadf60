//! `GET /explain`: the causal story of an instance or a container, as the log tells it.

use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::codes::Code;
use super::errors::{EventRange, Problem};
use super::front::App;
use super::params::AsOf;
use super::past::LookBack;
use super::request::{Asked, LONGEST_INSTANCE, Query};
use super::respond::{handle, json, set_seq};
use super::routes;
use super::status::seen;
use crate::domain::ids::{InstanceId, Seq, Vmid};
use crate::domain::state::{Container, State};
use crate::engine::Published;
use crate::explain::{Story, Subject};

/// The route, with a way back in the log.
pub fn room(app: &App, look_back: LookBack) -> BoxedFilter<(Response,)> {
    handle(&routes::EXPLAIN, app, move |app, asked| explain(app, asked, look_back.clone()))
}

/// The story of an instance or a container
///
/// Who asked and when, behind whom it stood, what PVE was doing meanwhile, what came of it, and why it is gone.
/// An instance has a chapter for each of its allocations, a VMID one for each container of the pool that had it,
/// the oldest first. It is read from the log anew, so that it is good for questions and not for monitoring.
#[utoipa::path(
    get,
    path = routes::EXPLAIN.path,
    tag = "pool",
    params(
        ("instance" = Option<String>, Query, description = "The instance; either this or `vmid`"),
        ("vmid" = Option<u32>, Query, description = "The container; either this or `instance`"),
        AsOf,
    ),
    responses((status = 200, description = "The story", body = Story)),
)]
async fn explain(app: App, asked: Asked, look_back: LookBack) -> Result<Response, Problem> {
    asked.query.only(&["instance", "vmid", "min_seq"])?;
    let subject = subject(&asked.query)?;
    let Published { state, head, .. } = seen(&app, &asked).await?;
    let told = look_back.story(subject, head).await?;
    let story = told.map_err(|unknown| {
        let oldest = unknown.oldest.map_or(Seq(1), |(oldest, _)| oldest);
        let events = Some(EventRange { oldest, head: unknown.head });
        let detail = unknown.in_words() + &all_the_same(&unknown.about, &state);
        Problem { events, ..Problem::new(Code::NothingKnown, detail) }
    })?;
    let mut response = json(&story)?;
    set_seq(&mut response, story.head);
    Ok(response)
}

/// What the pool has of a subject whose events were pruned.
fn all_the_same(about: &Subject, state: &State) -> String {
    let is_its = |vmid: Vmid, container: &Container| match about {
        Subject::Instance(instance_id) => container.instance_id() == Some(instance_id),
        Subject::Vmid(wanted) => vmid == *wanted,
    };
    let its = state.containers.iter().find(|(vmid, container)| is_its(**vmid, container));
    let words = its.map(|(vmid, container)| {
        format!(". The pool has it all the same: container {vmid} is {}", container.phase.name())
    });
    words.unwrap_or_default()
}

fn subject(query: &Query) -> Result<Subject, Problem> {
    match (query.text("instance"), query.vmid("vmid")?) {
        (Some(instance), None) if instance.len() <= LONGEST_INSTANCE => {
            Ok(Subject::Instance(InstanceId::from(instance)))
        }
        (Some(_), None) => {
            Err(Problem::field("instance", format!("expected at most {LONGEST_INSTANCE} bytes")))
        }
        (None, Some(vmid)) => Ok(Subject::Vmid(vmid)),
        (Some(_), Some(_)) | (None, None) => {
            Err(Problem::field("instance", "expected either instance or vmid"))
        }
    }
}
