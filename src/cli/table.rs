//! The pool at a glance, from the JSON that `GET /status` answers: the same for a running service and for a log.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

/// The columns of a template's line: heading, and the fields of the answer that it adds up.
const COLUMNS: &[(&str, &[&str])] = &[
    ("ready", &["ready_count"]),
    ("min", &["min_size"]),
    ("target", &["target_size"]),
    ("max", &["max_size"]),
    ("creating", &["creating_count"]),
    ("queued", &["queued_clones"]),
    ("allocated", &["allocated_count"]),
    ("waiting", &["waiting_count"]),
    ("leaving", &["releasing_count", "removing_count"]),
];

/// The whole pool as text for a terminal.
pub(super) fn status(pool: &Value) -> String {
    let mut text = service(&pool["service"], &pool["head"]);
    let none = serde_json::Map::new();
    let templates = pool["templates"].as_object().unwrap_or(&none);
    if templates.is_empty() {
        text +=
            "\nNo template yet: `sandbox-pool warm VMID` fills the first, and so does the first allocation.";
        return text;
    }
    // Within eighty columns.
    let width = |heading: &str| heading.len().max(4);
    text += "\n template";
    for (heading, _) in COLUMNS {
        let _ = write!(text, " {heading:>width$}", width = width(heading));
    }
    for (vmid, template) in templates {
        let _ = write!(text, "\n{vmid:>9}");
        for (heading, fields) in COLUMNS {
            let sum: u64 = fields.iter().filter_map(|field| template[*field].as_u64()).sum();
            let _ = write!(text, " {sum:>width$}", width = width(heading));
        }
        text += &remarks(template);
    }
    text
}

/// One template with its containers.
pub(super) fn template(template: &Value) -> String {
    let vmid = &template["template_vmid"];
    let mut text = format!(
        "Template {vmid}: {} ready of {} (min {}, max {}), {} creating, {} queued, {} allocated, {} waiting",
        template["ready_count"],
        template["target_size"],
        template["min_size"],
        template["max_size"],
        template["creating_count"],
        template["queued_clones"],
        template["allocated_count"],
        template["waiting_count"],
    );
    if let (Some(clone), Some(start)) = (duration(&template["clone_ms"]), duration(&template["start_ms"])) {
        let (clone, start) = (clone.as_secs_f64(), start.as_secs_f64());
        let _ = write!(text, "\n  a clone takes about {clone:.1} s, a start {start:.1} s");
    }
    text += &remarks(template);
    for container in template["containers"].as_array().into_iter().flatten() {
        let words = |field: &str| container[field].as_str().unwrap_or("").to_owned();
        let (status, hostname) = (words("state"), words("hostname"));
        let _ = write!(text, "\n  {:>9}  {status:<11}  {hostname}", container["vmid"]);
    }
    text
}

fn service(service: &Value, head: &Value) -> String {
    let words = |field: &str| service[field].as_str().unwrap_or("?").to_owned();
    let mut text = format!(
        "sandbox-pool {}, {} since {}, at event {head}",
        words("version"),
        words("phase"),
        words("started_at")
    );
    text += &trouble(service).map(|trouble| format!("\n! {trouble}")).unwrap_or_default();
    if let Some(why) = service["unwritable"].as_str() {
        let _ = write!(text, "\n! The event log cannot be written: {why}. Make space in the data directory.");
    }
    text
}

/// A number of milliseconds, where there is one.
pub(super) fn duration(milliseconds: &Value) -> Option<Duration> {
    milliseconds.as_u64().map(Duration::from_millis)
}

/// What keeps the service from PVE, if anything.
pub(super) fn trouble(service: &Value) -> Option<String> {
    let words = |field: &str| service[field].as_str().unwrap_or("?");
    if service["pve_reachable"] == Value::Bool(false) {
        let (since, reason) = (words("pve_unreachable_since"), words("pve_reason"));
        Some(format!("PVE cannot be reached since {since}: {reason}. `sandbox-pool doctor` says more."))
    } else if let Some(why) = service["reconcile_reason"].as_str() {
        Some(format!("PVE does not show its containers: {why}. `sandbox-pool doctor` says more."))
    } else {
        (service["reconciled"] == Value::Bool(false))
            .then(|| "PVE was not compared with the log yet.".to_owned())
    }
}

/// What a person should know of a template, each on a line of its own.
fn remarks(template: &Value) -> String {
    let mut text = String::new();
    if let Some(stuck @ 1..) = template["quarantined_count"].as_u64() {
        let vmid = &template["template_vmid"];
        let _ = write!(
            text,
            "\n           ! quarantined: {stuck}; `sandbox-pool template get {vmid}` lists them, `explain` says why"
        );
    }
    if template["drained"] == Value::Bool(true) {
        let vmid = &template["template_vmid"];
        let _ = write!(
            text,
            "\n           ! it is drained; `sandbox-pool template set {vmid}` puts it to use again"
        );
    }
    if let Some(reason) = template["backoff"]["reason"].as_str() {
        let until = template["backoff"]["until"].as_str().unwrap_or("later");
        let _ = write!(text, "\n           ! its clones fail, next try {until}: {reason}");
    }
    if let Some(hint) = template["backoff"]["hint"].as_str() {
        let _ = write!(text, "\n             run: {hint}");
    }
    // While its clones fail, that is why its allocations do.
    if template["backoff"].is_null()
        && let Some(reason) = template["failure"]["reason"].as_str()
    {
        let at = template["failure"]["at"].as_str().unwrap_or("before");
        let _ = write!(text, "\n           ! its last allocation failed at {at}: {reason}");
    }
    if let Some(warning) = template["warning"].as_str() {
        let _ = write!(text, "\n           ! {warning}");
    }
    text
}
