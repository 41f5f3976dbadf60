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
use crate::webhook::{AttemptResult, Reading, Watched, Webhooks};

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
        let read = |(endpoint, figures): &Watched| reading(endpoint.name.to_string(), &figures.read(now));
        webhooks.endpoints().iter().map(read).collect()
    }));
}

fn reading(name: String, reading: &Reading) -> EndpointReading {
    let ended = |wanted: &[AttemptResult]| {
        let of = reading.attempts.iter().filter(|(result, _)| wanted.contains(result));
        of.map(|(_, attempts)| attempts).sum()
    };
    EndpointReading {
        name,
        cursor: reading.cursor,
        lag_events: reading.lag_events,
        lag: reading.lag,
        parked: reading.parked,
        paused: reading.paused,
        enabled: !reading.disabled,
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
        let status = answered.status.map_or(routes::CLIENT_LEFT, |status| status.as_u16());
        let route = answered.route.map_or_else(|| routes::NOWHERE.to_owned(), routes::Route::measured_as);
        metrics.answered(route, status);
        let is_allocate = answered.route.is_some_and(|route| route.path == routes::ALLOCATE.path);
        if let Some(code) = answered.problem.filter(|_| is_allocate) {
            metrics.allocate_problem(code.as_str());
        }
    }))
}

/// What can be foreseen of labels.
fn known() -> Known {
    Known {
        answers: routes::answers(),
        allocate_problems: routes::ALLOCATE.all_problems().map(Code::as_str).collect(),
        pve_calls: pve::CALLS,
        pve_outcomes: pve::Outcome::ALL.iter().map(|outcome| outcome.as_str()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::ids::Seq;

    #[test]
    fn an_endpoints_reading_is_told_as_it_was_read() {
        let read = Reading {
            paused: true,
            disabled: false,
            cursor: Seq(1),
            lag_events: 2,
            lag: Duration::from_secs(3),
            held: 4,
            parked: 5,
            in_flight: 6,
            attempts: AttemptResult::ALL.into_iter().zip(1..).collect(),
            duration: Duration::from_secs(7),
            left_alone_until: None,
            last_delivered: None,
            last_failure: None,
        };
        let told = reading("billing".to_owned(), &read);
        assert_eq!((told.cursor, told.lag_events, told.lag.as_secs(), told.parked), (Seq(1), 2, 3, 5));
        assert_eq!((told.paused, told.enabled), (true, true));
        // Delivered; redirected, refused, gone, throttled and failed; timed out, unreachable and blocked.
        assert_eq!((told.delivered, told.refused, told.unanswered), (1, 2 + 3 + 4 + 5 + 6, 7 + 8 + 9));
    }
}
