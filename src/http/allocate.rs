//! `POST /allocate` and `POST /warm/{template_vmid}`: containers for instances, now and soon.

use std::collections::BTreeMap;

use serde_json::Value;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::errors::Problem;
use super::front::App;
use super::limits::Limits;
use super::params::DryRunFirst;
use super::request::{Asked, Fields};
use super::respond::{handle, written};
use super::routes;
use super::views::{AllocateBody, Allocated, DryRun, Warming};
use crate::domain::command::Allocate;
use crate::domain::ids::{InstanceId, Vmid};

pub(super) fn routes(app: &App) -> BoxedFilter<(Response,)> {
    handle(&routes::ALLOCATE, app, allocate).or(handle(&routes::WARM, app, warm)).unify().boxed()
}

/// Hand out a container
///
/// Takes a ready container, or waits for a clone; renames it to the instance and starts it. The same
/// `instance_id` asked twice gets the same container. A caller that disconnects leaves the line.
#[utoipa::path(
    post,
    path = routes::ALLOCATE.path,
    tag = "pool",
    request_body = AllocateBody,
    params(
        ("start" = Option<bool>, Query, description = "Start the container; true unless given"),
        DryRunFirst,
    ),
    responses((status = 200, description = "The container, or what would happen", body = Answered)),
)]
async fn allocate(app: App, asked: Asked) -> Result<Response, Problem> {
    let call = asked.call()?;
    let start = asked.query.flag("start")?.unwrap_or(true);
    let prefix = app.desk().published().state.settings.hostname_prefix.clone();
    let body = read_allocate(Fields::of(asked.object()?), start, &prefix, app.limits())?;
    let answer = app.desk().allocate(&call, body).await;
    written(&app, answer, Allocated::of)
}

/// Bring the inventory of a template to a size once
///
/// Ready and creating containers count; the template's target stays as it is.
#[utoipa::path(
    post,
    path = routes::WARM.path,
    tag = "pool",
    params(
        ("template_vmid" = u32, Path, description = "The template", example = 9009),
        ("count" = Option<u32>, Query, description = "Inventory to reach; the target unless given"),
        DryRunFirst,
    ),
    responses((status = 200, description = "What it does, or what would happen", body = WarmingAnswered)),
)]
async fn warm(app: App, asked: Asked) -> Result<Response, Problem> {
    let template = asked.vmid()?;
    let call = asked.call()?;
    let most = u64::from(app.limits().max_pool_size);
    let count = asked.query.number("count", 0, most)?.and_then(|count| count.try_into().ok());
    let answer = app.desk().warm(&call, template, count).await;
    written(&app, answer, |warming| Warming::of(template, warming))
}

/// The two shapes of an answer to [`allocate`].
#[derive(utoipa::ToSchema)]
#[schema(as = AllocateAnswer)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum Answered {
    Allocated(Allocated),
    DryRun(DryRun),
}

/// The two shapes of an answer to [`warm`].
#[derive(utoipa::ToSchema)]
#[schema(as = WarmAnswer)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum WarmingAnswered {
    Warming(Warming),
    DryRun(DryRun),
}

/// Reads the body as [`AllocateBody`] describes it; fields beyond those are ignored.
fn read_allocate(
    mut fields: Fields,
    start: bool,
    prefix: &str,
    limits: &Limits,
) -> Result<Allocate, Problem> {
    let template = read_template(&mut fields);
    let instance_id = read_instance(&mut fields, prefix);
    let metadata = read_metadata(&mut fields, limits);
    let ttl_seconds = fields.number("ttl_seconds", 1, limits.max_ttl_seconds);
    let template = fields.finish(template)?;
    // Without a template `finish` has refused.
    let template = template.ok_or_else(|| Problem::field("template_vmid", "expected a VMID"))?;
    Ok(Allocate { template, instance_id, metadata, start, ttl_seconds, facts: None })
}

fn read_template(fields: &mut Fields) -> Option<Vmid> {
    match fields.take("template_vmid") {
        None => {
            fields.wrong("template_vmid", "expected a VMID; it is missing");
            None
        }
        Some(value) => {
            let text = match value {
                Value::String(text) => text,
                other => other.to_string(),
            };
            text.parse()
                .map_err(|expected: crate::domain::ids::InvalidId| {
                    fields.wrong("template_vmid", expected.to_string());
                })
                .ok()
        }
    }
}

fn read_instance(fields: &mut Fields, prefix: &str) -> Option<InstanceId> {
    let text = match fields.take("instance_id")? {
        Value::String(text) if text.is_empty() => return None,
        Value::String(text) => text,
        _ => {
            fields.wrong("instance_id", "expected a text");
            return None;
        }
    };
    match InstanceId::new(&text, prefix) {
        Ok(instance_id) => Some(instance_id),
        Err(expected) => {
            fields.wrong("instance_id", expected.to_string());
            None
        }
    }
}

fn read_metadata(fields: &mut Fields, limits: &Limits) -> BTreeMap<String, String> {
    let mut metadata = BTreeMap::new();
    let Some(value) = fields.take("metadata") else { return metadata };
    let Value::Object(object) = value else {
        fields.wrong("metadata", "expected an object of texts");
        return metadata;
    };
    if object.len() > limits.max_metadata_entries {
        fields.wrong("metadata", format!("expected at most {} entries", limits.max_metadata_entries));
        return metadata;
    }
    let mut bytes = 0;
    for (key, value) in object {
        match value {
            Value::String(text) => {
                bytes += key.len() + text.len();
                metadata.insert(key, text);
            }
            Value::Null => {}
            _ => {
                let key: String = key.chars().take(64).collect();
                fields.wrong(format!("metadata.{key}"), "expected a text");
            }
        }
    }
    if bytes > limits.max_metadata_bytes {
        let most = limits.max_metadata_bytes;
        fields.wrong("metadata", format!("expected at most {most} bytes of keys and values"));
    }
    metadata
}
