//! Gauges from State and from what others keep count of, written anew at each scrape: what is gone has none.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::figures::{EndpointReading, StreamReading};
use super::names;
use super::series::Registry;
use super::tally::Tally;
use crate::domain::ids::Vmid;
use crate::domain::state::{Counts, State, Template};
use crate::domain::time::Timestamp;
use crate::engine::Published;

/// Since when each template has had no ready container, as far as this process has seen.
pub(super) type EmptySince = BTreeMap<Vmid, Timestamp>;

/// What all templates with the same label amount to: mostly one.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    counts: Counts,
    min: u32,
    target: u32,
    max: u32,
    waiters: u32,
    queued: u32,
    doubted: u32,
    backoff_step: u32,
    drained: bool,
    empty_seconds: f64,
    oldest_waiter_seconds: f64,
    oldest_queued_seconds: f64,
    oldest_clone_seconds: f64,
    locked_seconds: f64,
}

/// Keeps `empty` up with State.
pub(super) fn watch_empty(empty: &mut EmptySince, state: &State, now: Timestamp) {
    empty.retain(|template, _| state.template(*template).is_some_and(is_empty));
    for (template, _) in state.templates.iter().filter(|(_, template)| is_empty(template)) {
        empty.entry(*template).or_insert(now);
    }
}

fn is_empty(template: &Template) -> bool {
    template.counts.ready == 0 && !template.drained
}

/// What State and the published head say.
pub(super) fn of_state(
    registry: &Registry,
    published: &Published,
    tally: &Tally,
    empty: &EmptySince,
    now: Timestamp,
) {
    let state = &*published.state;
    for (label, row) in rows(state, tally, empty, now) {
        of_row(registry, label, &row);
    }
    let mut nodes: BTreeMap<&str, u32> = BTreeMap::new();
    for template in state.templates.values().filter_map(|template| template.node.as_ref()) {
        nodes.entry(template.as_str()).or_default();
    }
    for container in state.containers.values() {
        *nodes.entry(container.node.as_str()).or_default() += 1;
    }
    for (node, containers) in nodes {
        registry.gauge(names::NODE_CONTAINERS, &[owned(node)]).set(f64::from(containers));
    }
    let set = |name, value: f64| registry.gauge(name, &[]).set(value);
    set(names::CLONE_CONCURRENCY, f64::from(state.settings.clone_concurrency));
    set(names::PVE_UP, flag(state.pve_reachable()));
    set(names::RECONCILED, flag(state.service.reconciled));
    set(names::LOG_HEAD, published.head.0 as f64);
    set(names::LOG_UNWRITABLE, flag(published.unwritable.is_some()));
    set(names::LEDGER_SEQ, tally.head.0 as f64);
    registry.gauge(names::BUILD_INFO, &[env!("CARGO_PKG_VERSION").into()]).set(1.0);
}

/// What streams and webhooks say.
pub(super) fn of_figures(registry: &Registry, streams: StreamReading, endpoints: &[EndpointReading]) {
    registry.gauge(names::STREAM_SUBSCRIBERS, &[]).set(streams.subscribers as f64);
    for endpoint in endpoints {
        let set = |metric, value: f64| registry.gauge(metric, &[owned(&endpoint.name)]).set(value);
        set(names::WEBHOOK_CURSOR, endpoint.cursor.0 as f64);
        set(names::WEBHOOK_LAG_EVENTS, endpoint.lag_events as f64);
        set(names::WEBHOOK_LAG_SECONDS, endpoint.lag.as_secs_f64());
        set(names::WEBHOOK_PARKED, endpoint.parked as f64);
        set(names::WEBHOOK_PAUSED, flag(endpoint.paused));
        set(names::WEBHOOK_ENABLED, flag(endpoint.enabled));
    }
}

fn rows(
    state: &State,
    tally: &Tally,
    empty: &EmptySince,
    now: Timestamp,
) -> BTreeMap<Cow<'static, str>, Row> {
    let mut rows: BTreeMap<_, Row> = BTreeMap::new();
    for (vmid, template) in &state.templates {
        let row = rows.entry(tally.label(*vmid)).or_default();
        row.add(state, *vmid, template, now);
        row.empty_seconds = row.empty_seconds.max(seconds_since(empty.get(vmid).copied(), now));
    }
    for container in state.containers.values() {
        let row = rows.entry(tally.label(container.template)).or_default();
        row.doubted += u32::from(container.doubt.is_some());
        let started = container.creating().map(|creating| creating.started_at);
        row.oldest_clone_seconds = row.oldest_clone_seconds.max(seconds_since(started, now));
    }
    rows
}

impl Row {
    fn add(&mut self, state: &State, vmid: Vmid, template: &Template, now: Timestamp) {
        let (sizes, counts) = (state.sizes(vmid), template.counts);
        self.counts.creating += counts.creating;
        self.counts.ready += counts.ready;
        self.counts.allocated += counts.allocated;
        self.counts.releasing += counts.releasing;
        self.counts.removing += counts.removing;
        self.counts.quarantined += counts.quarantined;
        // A drained template is to have none.
        let wanted = u32::from(!template.drained);
        self.min += sizes.min * wanted;
        self.target += sizes.target * wanted;
        self.max += sizes.max * wanted;
        self.waiters += u32::try_from(template.line.len()).unwrap_or(u32::MAX);
        self.queued += u32::try_from(template.queue.len()).unwrap_or(u32::MAX);
        self.backoff_step =
            self.backoff_step.max(template.backoff.as_ref().map_or(0, |backoff| backoff.step));
        self.drained |= template.drained;
        let waiting = template.line.iter().filter_map(|id| state.waiting.get(id)).map(|it| it.asked_at);
        self.oldest_waiter_seconds = self.oldest_waiter_seconds.max(seconds_since(waiting.min(), now));
        let queued = template.queue.iter().map(|clone| clone.queued_at);
        self.oldest_queued_seconds = self.oldest_queued_seconds.max(seconds_since(queued.min(), now));
        self.locked_seconds = self.locked_seconds.max(seconds_since(template.locked_since, now));
    }
}

fn of_row(registry: &Registry, label: Cow<'static, str>, row: &Row) {
    let by_state = [
        ("creating", row.counts.creating),
        ("ready", row.counts.ready),
        ("allocated", row.counts.allocated),
        ("releasing", row.counts.releasing),
        ("removing", row.counts.removing),
        ("quarantined", row.counts.quarantined),
    ];
    for (state, containers) in by_state {
        registry.gauge(names::CONTAINERS, &[label.clone(), state.into()]).set(f64::from(containers));
    }
    let label = [label];
    for (name, value) in [
        (names::MIN_CONTAINERS, f64::from(row.min)),
        (names::TARGET_CONTAINERS, f64::from(row.target)),
        (names::MAX_CONTAINERS, f64::from(row.max)),
        (names::EMPTY_SECONDS, row.empty_seconds),
        (names::WAITERS, f64::from(row.waiters)),
        (names::OLDEST_WAITER, row.oldest_waiter_seconds),
        (names::CLONE_QUEUE, f64::from(row.queued)),
        (names::OLDEST_QUEUED, row.oldest_queued_seconds),
        (names::OLDEST_CLONE, row.oldest_clone_seconds),
        (names::BACKOFF_STEP, f64::from(row.backoff_step)),
        (names::LOCKED_SECONDS, row.locked_seconds),
        (names::DRAINED, flag(row.drained)),
        (names::DOUBTED, f64::from(row.doubted)),
    ] {
        registry.gauge(name, &label).set(value);
    }
}

fn seconds_since(since: Option<Timestamp>, now: Timestamp) -> f64 {
    since.map_or(0.0, |since| now.since(since).as_secs_f64())
}

fn flag(it: bool) -> f64 {
    f64::from(u8::from(it))
}

fn owned(text: &str) -> Cow<'static, str> {
    Cow::Owned(text.to_owned())
}
