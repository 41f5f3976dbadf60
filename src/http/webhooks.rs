//! Webhook endpoints: where they stand, and what an operator does about them.

use std::future::ready;

use serde_json::Value;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::codes::Code;
use super::errors::Problem;
use super::front::App;
use super::params::{DryRunFirst, OfEndpoint, OfParked};
use super::request::{Asked, Fields};
use super::respond::{handle, json, set_seq, written};
use super::routes;
use super::views::{DryRun, ReplayBody, WebhookList, WebhookStatus, WebhookTest};
use crate::domain::ids::{EndpointName, Seq};
use crate::domain::time::Timestamp;
use crate::domain::webhook::{WebhookCommand, WebhookStep};
use crate::webhook::{TestOutcome, Webhooks, known_types};

/// The routes about webhooks, for a front that is given rooms.
pub fn routes(app: &App, webhooks: &Webhooks) -> BoxedFilter<(Response,)> {
    let it = || webhooks.clone();
    let with = |hooks: Webhooks, step: WebhookStep| {
        move |app, asked| simple(app, asked, hooks.clone(), step.clone())
    };
    let hooks = (it(), it(), it(), it(), it(), it());
    let (list_of, one_of, test_of, replay_of, retry_of, drop_of) = hooks;
    handle(&routes::WEBHOOKS, app, move |app, _: Asked| ready(list(&app, &list_of)))
        .or(handle(&routes::WEBHOOK, app, move |app, asked: Asked| ready(one(&app, &asked, &one_of))))
        .unify()
        .or(handle(&routes::TEST_WEBHOOK, app, move |app, asked| test(app, asked, test_of.clone())))
        .unify()
        .or(handle(&routes::PAUSE_WEBHOOK, app, with(it(), WebhookStep::Pause)))
        .unify()
        .or(handle(&routes::RESUME_WEBHOOK, app, with(it(), WebhookStep::Resume)))
        .unify()
        .or(handle(&routes::REPLAY_WEBHOOK, app, move |app, asked| replay(app, asked, replay_of.clone())))
        .unify()
        .or(handle(&routes::RETRY_ALL_PARKED, app, with(it(), WebhookStep::Retry { seq: None })))
        .unify()
        .or(handle(&routes::RETRY_PARKED, app, move |app, asked| retry(app, asked, retry_of.clone())))
        .unify()
        .or(handle(&routes::DROP_PARKED, app, move |app, asked| drop_one(app, asked, drop_of.clone())))
        .unify()
        .boxed()
}

/// All webhook endpoints
///
/// Where each stands: what it has not got yet, what is parked for it, and what its last failure was.
#[utoipa::path(
    get,
    path = routes::WEBHOOKS.path,
    tag = "webhooks",
    responses((status = 200, description = "The endpoints", body = WebhookList)),
)]
fn list(app: &App, webhooks: &Webhooks) -> Result<Response, Problem> {
    let published = app.desk().published();
    let mut response = json(&WebhookList::of(webhooks, &published, app.desk().now()))?;
    set_seq(&mut response, published.head);
    Ok(response)
}

/// One webhook endpoint
#[utoipa::path(
    get,
    path = routes::WEBHOOK.path,
    tag = "webhooks",
    params(OfEndpoint),
    responses((status = 200, description = "The endpoint", body = WebhookStatus)),
)]
fn one(app: &App, asked: &Asked, webhooks: &Webhooks) -> Result<Response, Problem> {
    let name = known(asked, webhooks)?;
    json(&view(app, webhooks, &name))
}

/// Send a test event
///
/// It is sent at once, also while the endpoint is paused or disabled, and has the type `webhook.test`.
#[utoipa::path(
    post,
    path = routes::TEST_WEBHOOK.path,
    tag = "webhooks",
    params(
        OfEndpoint,
        ("dry_run" = Option<bool>, Query, description = "Send nothing; only say which event it would be"),
    ),
    responses((status = 200, description = "What came of it, or what would happen", body = Tested)),
)]
async fn test(app: App, asked: Asked, webhooks: Webhooks) -> Result<Response, Problem> {
    let name = known(&asked, &webhooks)?;
    let call = asked.call()?;
    let outcome = if call.dry_run {
        TestOutcome { delivered: true, status: Some(200), reason: None, duration_ms: 0 }
    } else {
        webhooks.test(&name).await.ok_or_else(|| unknown(&name))?
    };
    let command = WebhookCommand { endpoint: name, step: outcome.clone().step() };
    let answer = app.desk().webhook(&call, command).await;
    written(&app, answer, |()| WebhookTest::from(outcome))
}

/// Stop sending for the time being
#[utoipa::path(
    post,
    path = routes::PAUSE_WEBHOOK.path,
    tag = "webhooks",
    params(OfEndpoint, DryRunFirst),
    responses((status = 200, description = "The endpoint, or what would happen", body = Answered)),
)]
#[expect(dead_code, reason = "only its description is used: `simple` answers")]
fn pause() {}

/// Send again, from where it was
///
/// Ends a pause and a disablement, and tries what waits at once.
#[utoipa::path(
    post,
    path = routes::RESUME_WEBHOOK.path,
    tag = "webhooks",
    params(OfEndpoint, DryRunFirst),
    responses((status = 200, description = "The endpoint, or what would happen", body = Answered)),
)]
#[expect(dead_code, reason = "only its description is used: `simple` answers")]
fn resume() {}

/// Send events once more
///
/// From an event or an instant up to the head, beside what is sent anyway, under the same `webhook-id`s.
#[utoipa::path(
    post,
    path = routes::REPLAY_WEBHOOK.path,
    tag = "webhooks",
    request_body = ReplayBody,
    params(OfEndpoint, DryRunFirst),
    responses((status = 200, description = "The endpoint, or what would happen", body = Answered)),
)]
async fn replay(app: App, asked: Asked, webhooks: Webhooks) -> Result<Response, Problem> {
    let name = known(&asked, &webhooks)?;
    let wish = Wish::read(Fields::of(asked.object()?))?;
    let head = app.desk().published().head;
    let from = match (wish.from_seq, wish.since) {
        (Some(from), _) => Seq(from),
        (None, Some(since)) => webhooks
            .seq_at(since)
            .await
            .map_err(|error| Problem::new(Code::Internal, format!("the log cannot be read: {error}")))?,
        (None, None) => Seq(1),
    };
    if !wish.only_failed && from < webhooks.oldest() {
        let oldest = webhooks.oldest();
        return Err(Problem::new(Code::Pruned, format!("the oldest event that is kept is {oldest}")));
    }
    if !wish.only_failed && from > head {
        let field = if wish.since.is_some() { "since" } else { "from_seq" };
        return Err(Problem::field(field, format!("expected a beginning not behind the head, event {head}")));
    }
    let step = WebhookStep::Replay { from, types: wish.types, only_failed: wish.only_failed };
    carry_out(&app, &asked, &webhooks, name, step).await
}

/// Try all parked events again
#[utoipa::path(
    post,
    path = routes::RETRY_ALL_PARKED.path,
    tag = "webhooks",
    params(OfEndpoint, DryRunFirst),
    responses((status = 200, description = "The endpoint, or what would happen", body = Answered)),
)]
#[expect(dead_code, reason = "only its description is used: `simple` answers")]
fn retry_all() {}

/// Try a parked event again, and then those behind it
#[utoipa::path(
    post,
    path = routes::RETRY_PARKED.path,
    tag = "webhooks",
    params(OfParked, DryRunFirst),
    responses((status = 200, description = "The endpoint, or what would happen", body = Answered)),
)]
async fn retry(app: App, asked: Asked, webhooks: Webhooks) -> Result<Response, Problem> {
    let step = WebhookStep::Retry { seq: Some(seq(&asked)?) };
    simple(app, asked, webhooks, step).await
}

/// Give a parked event up for good
///
/// Those behind it are sent next; with `behind=true` they are given up too.
#[utoipa::path(
    delete,
    path = routes::DROP_PARKED.path,
    tag = "webhooks",
    params(
        OfParked,
        ("behind" = Option<bool>, Query, description = "And all that wait behind it"),
        DryRunFirst,
    ),
    responses((status = 200, description = "The endpoint, or what would happen", body = Answered)),
)]
async fn drop_one(app: App, asked: Asked, webhooks: Webhooks) -> Result<Response, Problem> {
    let behind = asked.query.flag("behind")?.unwrap_or(false);
    let step = WebhookStep::Drop { seq: seq(&asked)?, behind };
    simple(app, asked, webhooks, step).await
}

/// The two shapes of an answer to a test.
#[derive(utoipa::ToSchema)]
#[schema(as = WebhookTestAnswer)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum Tested {
    Test(WebhookTest),
    DryRun(DryRun),
}

/// The two shapes of an answer to another write on an endpoint.
#[derive(utoipa::ToSchema)]
#[schema(as = WebhookAnswer)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum Answered {
    Webhook(Box<WebhookStatus>),
    DryRun(DryRun),
}

/// A write that needs nothing but its endpoint.
async fn simple(app: App, asked: Asked, webhooks: Webhooks, step: WebhookStep) -> Result<Response, Problem> {
    let name = known(&asked, &webhooks)?;
    carry_out(&app, &asked, &webhooks, name, step).await
}

async fn carry_out(
    app: &App,
    asked: &Asked,
    webhooks: &Webhooks,
    endpoint: EndpointName,
    step: WebhookStep,
) -> Result<Response, Problem> {
    let command = WebhookCommand { endpoint: endpoint.clone(), step };
    let answer = app.desk().webhook(&asked.call()?, command).await;
    written(app, answer, |()| view(app, webhooks, &endpoint))
}

fn view(app: &App, webhooks: &Webhooks, name: &EndpointName) -> Option<WebhookStatus> {
    let (endpoint, figures) = webhooks.endpoint(name)?;
    Some(WebhookStatus::of(&endpoint, &figures, &app.desk().published().state, app.desk().now()))
}

/// The endpoint in the path, if it is configured.
fn known(asked: &Asked, webhooks: &Webhooks) -> Result<EndpointName, Problem> {
    let name = asked.parts.first().map_or("", |(_, text)| text.as_str());
    let name = EndpointName::from(name);
    webhooks.endpoint(&name).is_some().then(|| name.clone()).ok_or_else(|| unknown(&name))
}

fn unknown(name: &EndpointName) -> Problem {
    let shown: String = name.as_str().chars().take(64).collect();
    Problem::new(Code::WebhookNotFound, format!("there is no webhook endpoint {shown}"))
}

/// The event in the path.
fn seq(asked: &Asked) -> Result<Seq, Problem> {
    let text = asked.parts.get(1).map_or("", |(_, text)| text.as_str());
    text.parse().map(Seq).map_err(|_| Problem::field("seq", "expected the position of an event"))
}

/// What is to be sent once more.
struct Wish {
    from_seq: Option<u64>,
    since: Option<Timestamp>,
    types: Vec<String>,
    only_failed: bool,
}

impl Wish {
    fn read(mut fields: Fields) -> Result<Self, Problem> {
        let from_seq = fields.number("from_seq", 1, u64::MAX);
        let since = fields.take("since").and_then(|value| {
            let at = value.as_str().and_then(Timestamp::parse);
            if at.is_none() {
                fields.wrong("since", "expected an RFC 3339 instant");
            }
            at
        });
        let types = fields.take("types").map_or_else(Vec::new, |value| {
            let names: Option<Vec<String>> = serde_json::from_value(value).ok();
            let known =
                names.ok_or_else(|| "a list of types".to_owned()).and_then(|names| known_types(&names));
            match known {
                Ok(types) => types.into_iter().map(str::to_owned).collect(),
                Err(expected) => {
                    fields.wrong("types", format!("expected {expected}"));
                    Vec::new()
                }
            }
        });
        let only_failed = match fields.take("only") {
            None => false,
            Some(Value::String(only)) if only == "all" => false,
            Some(Value::String(only)) if only == "failed" => true,
            Some(_) => {
                fields.wrong("only", "expected all or failed");
                false
            }
        };
        fields.nothing_else("from_seq, since, types, only");
        let begins = u8::from(from_seq.is_some()) + u8::from(since.is_some());
        let wish = fields.finish(Self { from_seq, since, types, only_failed })?;
        if begins == 2 || (begins == 0 && !only_failed) {
            return Err(Problem::field("from_seq", "expected either from_seq or since"));
        }
        Ok(wish)
    }
}
