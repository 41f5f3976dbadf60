//! Who is measured, and how it comes to the metrics: the rooms know each other's words only here.

use std::path::Path;
use std::sync::Arc;

use crate::clock::Clock;
use crate::engine::Engine;
use crate::http::codes::Code;
use crate::http::events::Streams;
use crate::http::{Front, routes};
use crate::log::Reader;
use crate::metrics::figures::{EndpointReading, StreamReading};
use crate::metrics::{CatalogueError, Known, Metrics, Sources};
use crate::pve::{self, Pve};
use crate::webhook::{AttemptResult, Endpoint, Reading, Watched, Webhooks};

/// Measurements of a service over this log.
pub(super) fn metrics(
    engine: Engine,
    reader: Reader,
    clock: Clock,
    data_dir: &Path,
) -> Result<Metrics, CatalogueError> {
    Metrics::new(Sources { engine, reader, clock, data_dir: data_dir.to_owned(), known: known() })
}

/// PVE, with each of its calls measured.
pub(super) fn of_pve(pve: Pve, metrics: &Metrics) -> Pve {
    let metrics = metrics.clone();
    pve.observed_by(Arc::new(move |called| {
        metrics.pve_called(called.name, called.outcome.as_str(), called.write, called.took);
    }))
}

/// The event streams, asked at each scrape.
pub(super) fn of_streams(streams: &Streams, metrics: &Metrics) {
    let figures = streams.figures();
    metrics.figures().read_streams_by(Arc::new(move || StreamReading {
        subscribers: figures.subscribers() as u64,
        events: figures.frames(),
        evictions: figures.evicted(),
        resets: figures.resets(),
    }));
}

/// The webhooks, asked at each scrape.
pub(super) fn of_webhooks(webhooks: &Webhooks, metrics: &Metrics) {
    let webhooks = webhooks.clone();
    metrics.figures().read_endpoints_by(Arc::new(move |now| {
        let read = |(endpoint, figures): &Watched| reading(endpoint, &figures.read(now));
        webhooks.endpoints().iter().map(read).collect()
    }));
}

fn reading(endpoint: &Endpoint, reading: &Reading) -> EndpointReading {
    let ended = |wanted: &[AttemptResult]| {
        let of = reading.attempts.iter().filter(|(result, _)| wanted.contains(result));
        of.map(|(_, attempts)| attempts).sum()
    };
    EndpointReading {
        name: endpoint.name.to_string(),
        cursor: reading.cursor,
        lag_events: reading.lag_events,
        lag: reading.lag,
        parked: reading.parked,
        enabled: reading.active,
        delivered: ended(&[AttemptResult::Delivered]),
        refused: ended(&[
            AttemptResult::Redirected,
            AttemptResult::Refused,
            AttemptResult::Gone,
            AttemptResult::Throttled,
            AttemptResult::Failed,
        ]),
        unanswered: ended(&[AttemptResult::TimedOut, AttemptResult::Unreachable, AttemptResult::Blocked]),
    }
}

/// HTTP, with each of its answers measured.
pub(super) fn of_http(front: Front, metrics: &Metrics) -> Front {
    let metrics = metrics.clone();
    front.observed_by(Arc::new(move |answered| {
        let status = answered.status.map(|status| status.as_u16());
        metrics.answered(answered.route.map(routes::Route::name), status);
        let is_allocate = answered.route.is_some_and(|route| route.path == routes::ALLOCATE.path);
        if let Some(code) = answered.problem.filter(|_| is_allocate) {
            metrics.allocate_problem(code.as_str());
        }
    }))
}

/// What can be foreseen of labels.
fn known() -> Known {
    Known {
        answers: routes::answers().collect(),
        allocate_problems: routes::ALLOCATE.all_problems().map(Code::as_str).collect(),
        pve_calls: pve::CALLS,
        pve_outcomes: pve::Outcome::ALL.iter().map(|outcome| outcome.as_str()).collect(),
    }
}
