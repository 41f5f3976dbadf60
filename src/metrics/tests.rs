//! The whole of it over a real log in a directory, behind an engine that the tests play.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ulid::Ulid;

use super::figures::{EndpointReading, StreamReading};
use super::names::{FAMILIES, family};
use super::*;
use crate::desk::played::{self, Played};
use crate::domain::event::{self, Envelope, Event};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{AllocationId, CloneId, InstanceId, Node, Seq, Vmid};
use crate::domain::state::{State, Template};
use crate::http::routes;
use crate::log::{self, Options, Writer};
use crate::pve;

/// 2026-11-24T03:06:19.000Z
const NOW: Timestamp = Timestamp(1_795_489_579_000);
const T: Vmid = Vmid(9009);

struct World {
    metrics: Metrics,
    writer: Writer,
    played: Played,
}

fn known() -> Known {
    Known {
        answers: routes::answers(),
        allocate_problems: routes::ALLOCATE.all_problems().map(crate::http::codes::Code::as_str).collect(),
        pve_calls: pve::CALLS,
        pve_outcomes: pve::Outcome::ALL.iter().map(|outcome| outcome.as_str()).collect(),
    }
}

fn world(dir: &Path) -> World {
    let opened = log::open::<State>(dir, Options::new(7, "test")).unwrap();
    let (engine, played) = played::engine(played::running());
    let sources = Sources {
        engine,
        reader: opened.reader,
        clock: Clock::virtual_from(NOW),
        data_dir: dir.to_owned(),
        known: known(),
    };
    World { metrics: Metrics::new(sources).unwrap(), writer: opened.writer, played }
}

impl World {
    fn append(&mut self, events: impl IntoIterator<Item = (i64, Event)>) {
        let batch: Vec<_> = events.into_iter().collect();
        for (at, event) in batch {
            let seq = self.writer.head().next();
            let id = Ulid::from_parts(seq.0, 0);
            let envelope = Envelope { seq, id, at: Timestamp(at), event, cause: None, more: false };
            self.writer.append(&[vec![envelope]]).unwrap();
        }
    }

    fn count(&self) {
        self.metrics.0.count_all().unwrap();
    }

    fn samples(&self) -> BTreeMap<String, f64> {
        samples(&self.metrics.render())
    }
}

/// Samples by name and labels, the labels in order.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let series = match series.split_once('{') {
                Some((name, labels)) => {
                    let mut labels: Vec<_> = labels.trim_end_matches('}').split("\",").collect();
                    labels.sort_unstable();
                    format!("{name}{{{}}}", labels.join(",").replace('"', ""))
                }
                None => series.to_owned(),
            };
            (series, value.parse().unwrap())
        })
        .collect()
}

fn allocation(number: u128) -> AllocationId {
    AllocationId(Ulid(number))
}

fn queued(number: u128) -> Event {
    event::AllocationQueued {
        allocation_id: allocation(number),
        instance_id: InstanceId("a".to_owned()),
        template: T,
        start: true,
        ttl_seconds: None,
        metadata: BTreeMap::new(),
        deadline: NOW,
    }
    .into()
}

fn allocated(number: u128, from_pool: bool) -> Event {
    event::Allocated {
        allocation_id: allocation(number),
        instance_id: InstanceId("a".to_owned()),
        template: T,
        vmid: Vmid(200),
        from_pool,
        start: true,
        ttl_seconds: None,
        metadata: BTreeMap::new(),
        deadline: NOW,
    }
    .into()
}

fn completed(number: u128, from_pool: bool, duration_ms: u64) -> Event {
    event::AllocationCompleted {
        allocation_id: allocation(number),
        instance_id: InstanceId("a".to_owned()),
        template: T,
        vmid: Vmid(200),
        node: Node::from("pve1"),
        from_pool,
        expires_at: None,
        duration_ms,
    }
    .into()
}

fn failed(number: u128) -> Event {
    event::AllocationFailed {
        allocation_id: allocation(number),
        instance_id: InstanceId("a".to_owned()),
        template: T,
        vmid: None,
        code: event::FailureCode::AllocateTimeout,
        reason: "no container in time".to_owned(),
    }
    .into()
}

fn clone_failed(number: u128) -> Event {
    let fault = Fault::new(FaultKind::NoSpace, "no space left");
    event::CloneFailed { clone_id: CloneId(Ulid(number)), template: T, vmid: None, fault }.into()
}

fn at(samples: &BTreeMap<String, f64>, series: &str) -> f64 {
    *samples.get(series).unwrap_or_else(|| panic!("no {series} in {samples:#?}"))
}

fn whole(samples: &BTreeMap<String, f64>, series: &str) -> u64 {
    at(samples, series).to_string().parse().unwrap()
}

fn assert_same(value: f64, expected: f64) {
    assert!((value - expected).abs() < 1e-9, "{value} is not {expected}");
}

const DURATION: &str = "sandbox_pool_allocation_duration_seconds";

#[tokio::test]
async fn events_are_counted_and_durations_fall_into_buckets() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = world(dir.path());
    world.append([
        (0, allocated(1, true)),
        (0, completed(1, true, 300)),
        // Asked for again, and answered again.
        (10, completed(1, true, 3)),
        (20, queued(2)),
        (20, allocated(2, false)),
        (20, completed(2, false, 7_000)),
        (1_000, queued(3)),
        (111_000, failed(3)),
        (111_000, clone_failed(4)),
    ]);
    world.count();
    let samples = world.samples();
    let of = |sample: &str, source: &str, result: &str, le: &str| {
        let le = if le.is_empty() { String::new() } else { format!("le={le},") };
        at(&samples, &format!("{DURATION}_{sample}{{{le}result={result},source={source},template=9009}}"))
    };
    assert_same(of("sum", "pool", "completed", ""), 0.3);
    assert_same(of("count", "pool", "completed", ""), 1.0);
    assert_same(of("bucket", "pool", "completed", "0.25"), 0.0);
    assert_same(of("bucket", "pool", "completed", "0.5"), 1.0);
    assert_same(of("bucket", "queue", "completed", "5"), 0.0);
    assert_same(of("bucket", "queue", "completed", "10"), 1.0);
    assert_same(of("sum", "queue", "failed", ""), 110.0);
    assert_same(of("count", "pool", "failed", ""), 0.0);
    let failures = "sandbox_pool_allocation_failures_total{reason=allocate_timeout,template=9009}";
    assert_eq!(whole(&samples, failures), 1);
    assert_eq!(whole(&samples, "sandbox_pool_clone_failures_total{reason=no_space}"), 1);
    assert_eq!(whole(&samples, "sandbox_pool_clone_failures_total{reason=locked}"), 0);
    assert_eq!(whole(&samples, "sandbox_pool_events_total{type=AllocationCompleted}"), 3);
    assert_eq!(whole(&samples, "sandbox_pool_ledger_seq"), 9);
}

#[tokio::test]
async fn a_scrape_has_every_event_of_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = world(dir.path());
    world.count();
    for expected in 1..=3_u128 {
        world.append([(0, clone_failed(expected))]);
        let counted = whole(&world.samples(), "sandbox_pool_clones_total{result=failed,template=9009}");
        assert_eq!(u128::from(counted), expected);
    }
}

#[tokio::test]
async fn counters_are_not_shown_before_they_have_caught_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = world(dir.path());
    first.append([(0, clone_failed(1))]);
    drop(first);
    let second = world(dir.path());
    let counted = |samples: &BTreeMap<String, f64>| {
        samples.keys().any(|series| series.starts_with("sandbox_pool_events_total"))
    };
    assert!(!counted(&second.samples()));
    second.count();
    assert!(counted(&second.samples()));
}

/// What is folded from the log, without what a process counts of itself.
fn folded(samples: BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    let mut tally = tally::Tally::default();
    tally.meet(T);
    let names: BTreeSet<_> =
        tally.counters.keys().chain(tally.spreads.keys()).map(|series| series.name.clone()).collect();
    let is_folded = |series: &String| names.iter().any(|name| series.starts_with(&**name));
    samples.into_iter().filter(|(series, _)| is_folded(series)).collect()
}

#[tokio::test]
async fn a_restart_changes_no_counter_with_and_without_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = world(dir.path());
    let events = (0..40_u64).flat_map(|n| {
        let (id, ms) = (u128::from(n), n * n * 7 % 9_000);
        [(1, allocated(id, n % 3 > 0)), (1, completed(id, n % 3 > 0, ms))]
    });
    first.append(events);
    first.count();
    first.append([(1, clone_failed(1)), (2, queued(99))]);
    let before = folded(first.samples());
    first.metrics.0.save();
    drop(first);

    let saved = dir.path().join("counted.json");
    for without in [false, true] {
        if without {
            std::fs::remove_file(&saved).unwrap();
        }
        let again = world(dir.path());
        again.count();
        let after = folded(again.samples());
        assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
        for (series, value) in &before {
            assert!((value - after[series]).abs() < 1e-6, "{series}: {value} became {}", after[series]);
        }
        again.metrics.0.save();
    }
    // An allocation that was open before is still known.
    let mut last = world(dir.path());
    last.count();
    last.append([(5_002, failed(99))]);
    let sum = format!("{DURATION}_sum{{result=failed,source=queue,template=9009}}");
    assert!((at(&last.samples(), &sum) - 5.0).abs() < 1e-9);
}

#[tokio::test]
async fn a_file_of_a_build_that_knew_fewer_series_gets_those_that_came_since() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = world(dir.path());
    first.append([(0, clone_failed(1))]);
    first.count();
    let whole = folded(first.samples());
    first.metrics.0.save();
    drop(first);
    let saved = dir.path().join("counted.json");
    let mut file: serde_json::Value = serde_json::from_slice(&std::fs::read(&saved).unwrap()).unwrap();
    for kind in ["counters", "spreads"] {
        let known = file["tally"][kind].as_object_mut().unwrap();
        let before = known.len();
        known.retain(|series, _| {
            !["TornTail", "Released", "drained", "start_duration"].iter().any(|it| series.contains(it))
        });
        assert!(known.len() < before, "{kind}");
    }
    std::fs::write(&saved, file.to_string()).unwrap();
    let again = world(dir.path());
    again.count();
    assert_eq!(folded(again.samples()), whole);
}

#[tokio::test]
async fn each_container_that_is_refused_at_a_hand_out_is_counted_the_last_one_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = world(dir.path());
    let requeued: Event = event::AllocationRequeued {
        allocation_id: allocation(1),
        template: T,
        vmid: Vmid(200),
        attempt: 1,
        fault: Fault::new(FaultKind::Locked, "CT is locked (backup)"),
    }
    .into();
    let given_up: Event = event::AllocationFailed {
        allocation_id: allocation(1),
        instance_id: InstanceId("a".to_owned()),
        template: T,
        vmid: None,
        code: event::FailureCode::ContainersUnusable,
        reason: "three containers were not usable".to_owned(),
    }
    .into();
    world.append([(0, allocated(1, true)), (1, requeued.clone()), (2, requeued), (3, given_up)]);
    world.count();
    let unusable = whole(&world.samples(), "sandbox_pool_unusable_containers_total{template=9009}");
    assert_eq!(unusable, 3);
}

#[tokio::test]
async fn a_file_that_does_not_fit_is_left_aside() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = world(dir.path());
    first.append([(0, clone_failed(1)), (0, clone_failed(2))]);
    first.count();
    first.metrics.0.save();
    drop(first);
    let saved = dir.path().join("counted.json");
    let good = std::fs::read_to_string(&saved).unwrap();
    for bad in [
        good.replace("\"log_id\":7", "\"log_id\":8"),
        good.replace("\"head\":2", "\"head\":3"),
        good.replace("\"catalogue\":", "\"catalogue\":1"),
        good[..good.len() / 2].to_owned(),
    ] {
        assert_ne!(bad, good);
        std::fs::write(&saved, bad).unwrap();
        let again = world(dir.path());
        again.count();
        let counted = whole(&again.samples(), "sandbox_pool_clones_total{result=failed,template=9009}");
        assert_eq!(counted, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn the_worker_counts_saves_and_ends() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = world(dir.path());
    world.append([(0, clone_failed(1))]);
    let stop = CancellationToken::new();
    let worker = tokio::spawn(world.metrics.clone().run(stop.clone()));
    tokio::time::sleep(SAVE + UPKEEP).await;
    assert!(dir.path().join("counted.json").exists());
    world.append([(0, clone_failed(2))]);
    stop.cancel();
    worker.await.unwrap();
    let saved = std::fs::read_to_string(dir.path().join("counted.json")).unwrap();
    assert!(saved.contains("\"head\":2"), "{saved}");
}

#[tokio::test(start_paused = true)]
async fn gauges_follow_state_and_vanish_with_what_they_are_of() {
    let dir = tempfile::tempdir().unwrap();
    let world = world(dir.path());
    world.count();
    world.played.publish(|published| {
        let mut state = State::clone(&published.state);
        state.templates.insert(T, Template::new(Some(Node::from("pve1")), None, NOW));
        published.state = Arc::new(state);
    });
    let samples = world.samples();
    assert_eq!(whole(&samples, "sandbox_pool_target_containers{template=9009}"), 5);
    assert_eq!(whole(&samples, "sandbox_pool_containers{state=ready,template=9009}"), 0);
    assert_eq!(whole(&samples, "sandbox_pool_node_containers{node=pve1}"), 0);
    tokio::time::sleep(Duration::from_secs(40)).await;
    assert_eq!(whole(&world.samples(), "sandbox_pool_empty_seconds{template=9009}"), 40);
    world.played.publish(|published| {
        let mut state = State::clone(&published.state);
        state.templates.remove(&T);
        published.unwritable = Some("no space".to_owned());
        published.state = Arc::new(state);
    });
    let samples = world.samples();
    assert!(!samples.contains_key("sandbox_pool_target_containers{template=9009}"));
    assert_eq!(whole(&samples, "sandbox_pool_log_unwritable"), 1);
}

fn endpoint(name: &str) -> EndpointReading {
    EndpointReading {
        name: name.to_owned(),
        cursor: Seq(40),
        lag_events: 1,
        lag: Duration::from_secs(2),
        parked: 0,
        paused: true,
        enabled: false,
        delivered: 0,
        refused: 1,
        unanswered: 0,
    }
}

#[tokio::test(start_paused = true)]
async fn what_others_say_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let world = world(dir.path());
    let metrics = &world.metrics;
    metrics.pve_called("clone", "ok", true, Duration::from_millis(120));
    metrics.answered("GET /status".to_owned(), 200);
    metrics.answered("none".to_owned(), 404);
    metrics.answered("POST /allocate".to_owned(), routes::CLIENT_LEFT);
    metrics.allocate_problem("max_total");
    metrics.log_opened(Opening { took: Duration::from_millis(1500), replayed: 12 });
    metrics.figures().read_streams_by(Arc::new(|| StreamReading {
        subscribers: 1,
        events: 4,
        evictions: 3,
        resets: 2,
    }));
    metrics.figures().read_endpoints_by(Arc::new(|_| vec![endpoint("billing")]));
    let samples = world.samples();
    for (series, expected) in [
        ("sandbox_pool_pve_requests_total{call=clone,outcome=ok}", 1),
        ("sandbox_pool_pve_requests_total{call=clone,outcome=locked}", 0),
        ("sandbox_pool_pve_request_duration_seconds_count{kind=write}", 1),
        ("sandbox_pool_http_requests_total{code=200,route=GET /status}", 1),
        ("sandbox_pool_http_requests_total{code=404,route=none}", 1),
        ("sandbox_pool_http_requests_total{code=499,route=POST /allocate}", 1),
        ("sandbox_pool_http_requests_total{code=503,route=POST /allocate}", 0),
        ("sandbox_pool_allocate_problems_total{problem=max_total}", 1),
        ("sandbox_pool_log_replayed_events", 12),
        ("sandbox_pool_stream_subscribers", 1),
        ("sandbox_pool_stream_events_total", 4),
        ("sandbox_pool_stream_evictions_total", 3),
        ("sandbox_pool_stream_resets_total", 2),
        ("sandbox_pool_webhook_attempts_total{endpoint=billing,result=refused}", 1),
        ("sandbox_pool_webhook_lag_events{endpoint=billing}", 1),
        ("sandbox_pool_webhook_lag_seconds{endpoint=billing}", 2),
        ("sandbox_pool_webhook_paused{endpoint=billing}", 1),
        ("sandbox_pool_webhook_enabled{endpoint=billing}", 0),
    ] {
        assert_eq!(whole(&samples, series), expected, "{series}");
    }
}

/// Five templates on three nodes, two endpoints, and nothing that could have happened left out.
#[tokio::test]
async fn five_templates_on_three_nodes_are_at_most_a_thousand_series() {
    let dir = tempfile::tempdir().unwrap();
    let world = world(dir.path());
    world.count();
    world.metrics.figures().read_endpoints_by(Arc::new(|_| vec![endpoint("a"), endpoint("b")]));
    world.played.publish(|published| {
        let mut state = State::clone(&published.state);
        for n in 0..5 {
            let node = Node(format!("pve{}", n % 3));
            state.templates.insert(Vmid(9000 + n), Template::new(Some(node), None, NOW));
        }
        published.state = Arc::new(state);
    });
    let series = world.samples();
    let mut by_name: BTreeMap<&str, usize> = BTreeMap::new();
    for name in series.keys() {
        *by_name.entry(name.split('{').next().unwrap()).or_default() += 1;
    }
    assert!(series.len() <= 1000, "{} series: {by_name:#?}", series.len());
    // It is the real thing: every metric is there.
    for family in FAMILIES {
        for sample in family.samples() {
            assert!(by_name.contains_key(&*sample), "{sample} is not exported");
        }
    }
}

#[tokio::test]
async fn each_metric_is_described_and_of_its_kind() {
    let dir = tempfile::tempdir().unwrap();
    let world = world(dir.path());
    world.count();
    let text = world.metrics.render();
    let mut types = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        assert!(types.insert(name, kind).is_none(), "{name} twice");
        let expected = match family(name).unwrap().kind {
            names::Kind::Counter => "counter",
            names::Kind::Gauge => "gauge",
            names::Kind::Histogram(_) => "histogram",
        };
        assert_eq!(kind, expected, "{name}");
        assert!(text.contains(&format!("# HELP {name} ")), "{name}");
    }
}

#[test]
fn templates_beyond_the_limit_share_a_label() {
    let mut tally = tally::Tally::default();
    let limit = u32::try_from(tally::MOST_TEMPLATES).unwrap();
    (0..=limit).for_each(|n| tally.meet(Vmid(9000 + n)));
    assert_eq!(tally.label(Vmid(9000)), "9000");
    assert_eq!(tally.label(Vmid(9000 + limit)), tally::OTHER);
}

#[test]
fn words_are_those_of_events() {
    let kinds = tally::words::<FaultKind>();
    assert_eq!(kinds.len(), 27);
    assert!(kinds.contains(&FaultKind::NoSpace.code().to_owned()));
    assert_eq!(tally::words::<event::CancelReason>().len(), 5);
}
