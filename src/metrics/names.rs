//! Every metric: its name, kind, labels, help and buckets, in one table.
//!
//! A histogram without buckets would silently be exported as a summary, which cannot be added up over
//! instances; here a histogram cannot be declared without them. Labels are bounded: `template` (at most
//! [`MOST_TEMPLATES`](super::tally::MOST_TEMPLATES), the rest is `other`), `node`, `endpoint`, and words of
//! closed lists. Never a VMID of a container, an instance or a URL.

/// What kind of a metric it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It is what it is now.
    Gauge,
    /// How often it was at most so much.
    Histogram(&'static [f64]),
}

/// A metric with all its series.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Its full name.
    pub name: &'static str,
    /// What kind it is.
    pub kind: Kind,
    /// The labels that each of its series has.
    pub labels: &'static [&'static str],
    /// What it is, in a sentence.
    pub help: &'static str,
}

impl Family {
    /// The names of its samples in the text form: a histogram has three.
    pub fn samples(&self) -> Vec<String> {
        match self.kind {
            Kind::Counter | Kind::Gauge => vec![self.name.to_owned()],
            Kind::Histogram(_) => ["bucket", "sum", "count"].map(|it| format!("{}_{it}", self.name)).into(),
        }
    }
}

/// The metric of that name.
pub fn family(name: &str) -> Option<&'static Family> {
    FAMILIES.iter().find(|family| family.name == name)
}

/// Seconds of a hand-out: the promise of 2 to 5 s lies on edges, the time-out of 110 s below the last.
const ALLOCATION: &[f64] = &[0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 120.0];
/// Seconds of a clone; linked ones take a few, full ones minutes.
const CLONE: &[f64] = &[2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 600.0];
/// Seconds in the lane's queue.
const WAIT: &[f64] = &[0.1, 1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0];
/// Seconds of a start.
const START: &[f64] = &[0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0];
/// Seconds of a call of PVE.
const CALL: &[f64] = &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Events of an append.
const EVENTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];
/// Seconds of a sync: good disks take a tenth of a millisecond, the slowest that are planned for 5.
const SYNC: &[f64] = &[0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0];

/// Declares the consts and the table.
macro_rules! families {
    ($($ident:ident $kind:ident$(($buckets:ident))? $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(#[doc = $help] pub const $ident: &str = $name;)*

        /// Every metric.
        pub const FAMILIES: &[Family] = &[$(Family {
            name: $name,
            kind: Kind::$kind$(($buckets))?,
            labels: &[$($label),*],
            help: $help,
        }),*];
    };
}

families! {
    // Counted from the event log: the same over restarts.
    EVENTS_TOTAL Counter "sandbox_pool_events_total" ["type"]
        "Events in the log, by type.";
    ALLOCATION_DURATION Histogram(ALLOCATION) "sandbox_pool_allocation_duration_seconds"
        ["template", "source", "result"]
        "Time from the request to the end of an allocation, by where its container came from and how it ended.";
    ALLOCATION_FAILURES Counter "sandbox_pool_allocation_failures_total" ["template", "reason"]
        "Allocations that ended with an error, by reason.";
    ALLOCATIONS_CANCELLED Counter "sandbox_pool_allocations_cancelled_total" ["reason"]
        "Allocations that ended without an answer that anybody waited for, by reason.";
    UNUSABLE Counter "sandbox_pool_unusable_containers_total" ["template"]
        "Ready containers that proved unusable when they were looked at for a hand-out.";
    START_DURATION Histogram(START) "sandbox_pool_start_duration_seconds" []
        "Time from asking PVE for a start to the container running.";
    CLONE_DURATION Histogram(CLONE) "sandbox_pool_clone_duration_seconds" ["template"]
        "Time from asking PVE for a clone to the container being ready.";
    CLONE_WAIT Histogram(WAIT) "sandbox_pool_clone_wait_seconds" []
        "Time from a clone being queued to its being asked of PVE for the first time.";
    CLONES Counter "sandbox_pool_clones_total" ["template", "result"]
        "Clones that ended, by how.";
    CLONE_FAILURES Counter "sandbox_pool_clone_failures_total" ["reason"]
        "Clones that were given up, by reason.";
    CLONE_RETRIES Counter "sandbox_pool_clone_retries_total" ["reason"]
        "Clones that PVE refused for now and that are tried again, by reason.";
    CONTAINERS_LOST Counter "sandbox_pool_containers_lost_total" ["template", "held"]
        "Containers that were found gone from PVE; held ones were their holder's to destroy.";
    CONTAINERS_REMOVED Counter "sandbox_pool_containers_removed_total" ["reason"]
        "Containers that were to be destroyed, by who asked.";
    LEDGER_SEQ Gauge "sandbox_pool_ledger_seq" []
        "The event up to which the counters of events have counted.";

    // Set from State at each scrape.
    CONTAINERS Gauge "sandbox_pool_containers" ["template", "state"]
        "Containers of the pool, by state.";
    MIN_CONTAINERS Gauge "sandbox_pool_min_containers" ["template"]
        "Inventory below which a template is refilled before all others.";
    TARGET_CONTAINERS Gauge "sandbox_pool_target_containers" ["template"]
        "Inventory that refill restores.";
    MAX_CONTAINERS Gauge "sandbox_pool_max_containers" ["template"]
        "Inventory that is never exceeded.";
    EMPTY_SECONDS Gauge "sandbox_pool_empty_seconds" ["template"]
        "How long no container has been ready, as far as this process has seen; 0 while one is.";
    WAITERS Gauge "sandbox_pool_waiters" ["template"]
        "Allocations that wait in line.";
    OLDEST_WAITER Gauge "sandbox_pool_oldest_waiter_seconds" ["template"]
        "How long the allocation that has waited longest has waited; 0 without one.";
    CLONE_QUEUE Gauge "sandbox_pool_clone_queue" ["template"]
        "Clones that wait for the lane.";
    OLDEST_QUEUED Gauge "sandbox_pool_oldest_queued_clone_seconds" ["template"]
        "How long the clone that has waited longest for the lane has waited; 0 without one.";
    OLDEST_CLONE Gauge "sandbox_pool_oldest_clone_seconds" ["template"]
        "How long the clone under way has taken so far; 0 without one.";
    BACKOFF_STEP Gauge "sandbox_pool_backoff_step" ["template"]
        "How often in a row the template backed off because its clones fail; 0 while they work.";
    LOCKED_SECONDS Gauge "sandbox_pool_template_locked_seconds" ["template"]
        "How long every clone has found the template locked; 0 while it is not.";
    DRAINED Gauge "sandbox_pool_template_drained" ["template"]
        "1 while the template is drained and serves nobody.";
    DOUBTED Gauge "sandbox_pool_doubted_containers" ["template"]
        "Containers that are left alone because they are not surely ours.";
    NODE_CONTAINERS Gauge "sandbox_pool_node_containers" ["node"]
        "Containers of the pool, by the node that they are on.";
    CLONE_CONCURRENCY Gauge "sandbox_pool_clone_concurrency" []
        "Clones that may be under way at once.";
    PVE_UP Gauge "sandbox_pool_pve_up" []
        "1 while PVE answers.";
    RECONCILED Gauge "sandbox_pool_reconciled" []
        "1 once PVE was compared with the log since the start.";
    BUILD_INFO Gauge "sandbox_pool_build_info" ["version"]
        "1; the label says which build this is.";

    // PVE, as its calls show it.
    PVE_REQUESTS Counter "sandbox_pool_pve_requests_total" ["call", "outcome"]
        "Calls of PVE, by call and outcome.";
    PVE_DURATION Histogram(CALL) "sandbox_pool_pve_request_duration_seconds" ["kind"]
        "Time from sending a call to PVE to its answer, for calls that read and calls that write.";

    // The log's files.
    LOG_APPEND_EVENTS Histogram(EVENTS) "sandbox_pool_log_append_events" []
        "Events that one write and one sync made durable.";
    LOG_SYNC Histogram(SYNC) "sandbox_pool_log_sync_duration_seconds" []
        "Time that the disk took to make one write durable.";
    LOG_WRITTEN Counter "sandbox_pool_log_written_bytes_total" []
        "Bytes written to the log since the start.";
    LOG_APPEND_FAILURES Counter "sandbox_pool_log_append_failures_total" []
        "Writes to the log that failed; nothing in them happened.";
    LOG_UNWRITABLE Gauge "sandbox_pool_log_unwritable" []
        "1 while the log cannot be written and nothing new is begun.";
    LOG_SIZE Gauge "sandbox_pool_log_size_bytes" []
        "Bytes of all segments of the log.";
    LOG_SEGMENTS Gauge "sandbox_pool_log_segments" []
        "Segments of the log.";
    LOG_RESERVED Gauge "sandbox_pool_log_next_segment_reserved" []
        "1 while space for the next segment is reserved; 0 means that the disk is nearly full.";
    LOG_HEAD Gauge "sandbox_pool_log_head_seq" []
        "The newest durable event.";
    LOG_OLDEST Gauge "sandbox_pool_log_oldest_seq" []
        "The oldest event that can still be read.";
    LOG_TORN_TAILS Gauge "sandbox_pool_log_torn_tails" []
        "Torn ends of the log that were cut off and whose bytes are still kept beside it.";
    LOG_REPLAY_SECONDS Gauge "sandbox_pool_log_replay_seconds" []
        "How long the last start took to open the log.";
    LOG_REPLAYED_EVENTS Gauge "sandbox_pool_log_replayed_events" []
        "Events that the last start read one by one, those behind the snapshot.";
    DISK_FREE Gauge "sandbox_pool_disk_free_bytes" []
        "Free space where the log is.";
    DISK_SIZE Gauge "sandbox_pool_disk_size_bytes" []
        "Size of the file system that the log is on.";

    // Streams and webhooks.
    STREAM_SUBSCRIBERS Gauge "sandbox_pool_stream_subscribers" []
        "Event streams that are open.";
    STREAM_EVENTS Counter "sandbox_pool_stream_events_total" []
        "Events sent on event streams.";
    STREAM_EVICTIONS Counter "sandbox_pool_stream_evictions_total" []
        "Event streams that were ended because their reader did not read.";
    STREAM_RESETS Counter "sandbox_pool_stream_resets_total" []
        "Readers who could not go on where they had been.";
    WEBHOOK_ATTEMPTS Counter "sandbox_pool_webhook_attempts_total" ["endpoint", "result"]
        "Deliveries that were tried, by endpoint and result.";
    WEBHOOK_LAG_EVENTS Gauge "sandbox_pool_webhook_lag_events" ["endpoint"]
        "Events that the endpoint has not got yet and that are not parked, and those not looked at yet.";
    WEBHOOK_LAG_SECONDS Gauge "sandbox_pool_webhook_lag_seconds" ["endpoint"]
        "How long the oldest event that the endpoint has not got has waited; 0 when it has all.";
    WEBHOOK_CURSOR Gauge "sandbox_pool_webhook_cursor_seq" ["endpoint"]
        "The event up to which the endpoint has everything, or has it parked.";
    WEBHOOK_PARKED Gauge "sandbox_pool_webhook_parked" ["endpoint"]
        "Events that were given up for the endpoint after every retry failed; the later ones of their lanes wait.";
    WEBHOOK_ENABLED Gauge "sandbox_pool_webhook_enabled" ["endpoint"]
        "0 once the endpoint was disabled: it failed for days, or answered 410.";
    WEBHOOK_PAUSED Gauge "sandbox_pool_webhook_paused" ["endpoint"]
        "1 while the endpoint is paused: somebody asked for it, or too much is parked.";

    // HTTP and the process.
    HTTP_REQUESTS Counter "sandbox_pool_http_requests_total" ["route", "code"]
        "Requests that ended, by route and status; 499 when the client left before the answer.";
    ALLOCATE_PROBLEMS Counter "sandbox_pool_allocate_problems_total" ["problem"]
        "POST /allocate answered with a problem, by its stable code.";
    PROCESS_CPU Counter "process_cpu_seconds_total" []
        "Processor time that the process used, in whole seconds.";
    PROCESS_MEMORY Gauge "process_resident_memory_bytes" []
        "Memory that the process has in RAM.";
    PROCESS_FDS Gauge "process_open_fds" []
        "File descriptors that are open.";
    PROCESS_MAX_FDS Gauge "process_max_fds" []
        "File descriptors that may be open.";
    PROCESS_START Gauge "process_start_time_seconds" []
        "When the process started, in seconds since 1970.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_what_prometheus_expects() {
        let names: BTreeSet<_> = FAMILIES.iter().map(|family| family.name).collect();
        assert_eq!(names.len(), FAMILIES.len(), "no name twice");
        for Family { name, kind, help, .. } in FAMILIES {
            assert!(name.starts_with("sandbox_pool_") || name.starts_with("process_"), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            assert!(help.ends_with('.'), "{name}");
        }
    }

    #[test]
    fn buckets_rise() {
        for family in FAMILIES {
            if let Kind::Histogram(buckets) = family.kind {
                assert!(!buckets.is_empty() && buckets.is_sorted(), "{}", family.name);
            }
        }
    }

    #[test]
    fn labels_are_of_the_closed_list() {
        let allowed = [
            "template", "node", "state", "type", "source", "result", "reason", "endpoint", "call", "outcome",
            "kind", "route", "code", "problem", "held", "version",
        ];
        for family in FAMILIES {
            for label in family.labels {
                assert!(allowed.contains(label), "{}: {label}", family.name);
            }
        }
    }
}
