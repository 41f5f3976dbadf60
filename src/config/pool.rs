//! Reads the settings that the rules read, and makes them agree with each other: target rules.

use super::read::Reader;
use super::value::{self, MOST_CONTAINERS, MOST_READY};
use ulid::Ulid;

use crate::domain::ids::{CloneId, Vmid, is_hostname, pool_hostname};
use crate::domain::settings::{CloneMode, ReleasePolicy, Settings, SizeOverrides, Sizes};

/// cmux gives up after this many seconds.
const CALLER_TIMEOUT_SECONDS: u32 = 120;

pub(super) fn settings(reader: &mut Reader<'_>) -> Settings {
    let sizes = sizes(reader);
    let settings = Settings {
        sizes,
        templates: reader
            .parse(
                "POOL_TEMPLATES",
                "templates separated by commas, each a VMID and its sizes, such as 9009,9010:target=2:max=4",
                value::templates,
            )
            .unwrap_or_default(),
        max_total: reader.number("POOL_MAX_TOTAL", 0..=MOST_CONTAINERS),
        replenish_batch_size: reader.number("REPLENISH_BATCH_SIZE", 0..=MOST_CONTAINERS),
        hostname_prefix: hostname_prefix(reader),
        vmid_start: reader.number("CONTAINER_VMID_START", Vmid::LOWEST..=Vmid::HIGHEST),
        clone_concurrency: reader.number("CLONE_CONCURRENCY", 1..=64),
        clone_max_retries: reader.number("CLONE_MAX_RETRIES", 0..=1000),
        clone_retry_delay_seconds: reader.seconds("CLONE_RETRY_DELAY_SECONDS", 0..=3600),
        clone_retry_jitter_seconds: reader.seconds("CLONE_RETRY_JITTER_SECONDS", 0..=3600),
        clone_timeout_seconds: reader.seconds("CLONE_TIMEOUT_SECONDS", 1..=86_400),
        clone_mode: reader.parse("CLONE_MODE", "auto, linked or full", clone_mode).unwrap_or(CloneMode::Auto),
        resource_pool: reader
            .parse("PVE_RESOURCE_POOL", "the name of a resource pool", |text| name(text, "/")),
        release_policy: reader
            .parse("RELEASE_POLICY", "reuse or recycle", release_policy)
            .unwrap_or(ReleasePolicy::Reuse),
        max_waiting: reader.number("POOL_MAX_WAITING", 0..=1_000_000),
        allocate_timeout_seconds: reader.seconds("ALLOCATE_TIMEOUT_SECONDS", 1..=86_400),
        node: reader.parse("PVE_NODE", "the name of a node", |text| name(text, "")),
    };
    warn(reader, &settings);
    settings
}

fn sizes(reader: &mut Reader<'_>) -> Sizes {
    let mut size = |name| reader.number(name, 0..=MOST_READY);
    let given =
        Sizes { min: size("POOL_MIN_SIZE"), target: size("POOL_TARGET_SIZE"), max: size("POOL_MAX_SIZE") };
    let ruled = given.around_target();
    if ruled.min != given.min {
        let is_given = reader.given("POOL_MIN_SIZE").is_some();
        let text = format!(
            "POOL_MIN_SIZE is lowered from {} to {}, because POOL_TARGET_SIZE is {}",
            given.min, ruled.min, given.target,
        );
        yields(reader, "POOL_MIN_SIZE", is_given, text);
    }
    if ruled.max != given.max {
        let is_given = reader.given("POOL_MAX_SIZE").is_some();
        let text = format!(
            "POOL_MAX_SIZE is raised from {} to {}, because POOL_TARGET_SIZE is {}",
            given.max, ruled.max, given.target,
        );
        yields(reader, "POOL_MAX_SIZE", is_given, text);
    }
    ruled
}

/// Notes that a size yields to its target, which matters where somebody asked for the size.
fn yields(reader: &mut Reader<'_>, setting: &'static str, is_given: bool, text: String) {
    if is_given {
        reader.warn(setting, text, "two sizes contradict each other, and the target may be the wrong one");
    } else {
        reader.note(setting, text);
    }
}

/// The prefix without the hyphen that joins it to what follows: a name has one hyphen there, not two.
fn hostname_prefix(reader: &mut Reader<'_>) -> String {
    let name = "CONTAINER_HOSTNAME_PREFIX";
    let longest =
        |prefix: &str| is_hostname(pool_hostname(prefix, Vmid(Vmid::HIGHEST), CloneId(Ulid::nil())).as_str());
    let prefix = |text: &str| {
        let prefix = text.strip_suffix('-').unwrap_or(text);
        (!prefix.contains('.') && longest(prefix)).then(|| prefix.to_owned())
    };
    let expected = "letters, digits and hyphens that begin with a letter or digit, at most 44";
    reader.parse(name, expected, prefix).unwrap_or_default()
}

fn clone_mode(text: &str) -> Option<CloneMode> {
    match text.to_ascii_lowercase().as_str() {
        "auto" => Some(CloneMode::Auto),
        "linked" => Some(CloneMode::Linked),
        "full" => Some(CloneMode::Full),
        _ => None,
    }
}

fn release_policy(text: &str) -> Option<ReleasePolicy> {
    match text.to_ascii_lowercase().as_str() {
        "reuse" => Some(ReleasePolicy::Reuse),
        "recycle" => Some(ReleasePolicy::Recycle),
        _ => None,
    }
}

/// A name of PVE's: letters, digits, `-`, `_`, `.` and what else is allowed.
fn name(text: &str, also: &str) -> Option<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c) || also.contains(c);
    text.chars().all(fits).then(|| text.to_owned())
}

fn warn(reader: &mut Reader<'_>, settings: &Settings) {
    for (template, overrides) in &settings.templates {
        warn_of_template(reader, *template, *overrides, settings.sizes);
    }
    let (cap, target) = (settings.max_total, settings.sizes.target);
    if (1..target).contains(&cap) {
        let text = format!("POOL_MAX_TOTAL={cap} keeps every template below POOL_TARGET_SIZE={target}");
        reader.warn("POOL_MAX_TOTAL", text, "no pool is ever full, and callers of the last sandboxes wait");
    }
    let timeout = settings.allocate_timeout_seconds;
    if timeout >= CALLER_TIMEOUT_SECONDS {
        let text = format!(
            "ALLOCATE_TIMEOUT_SECONDS={timeout} is not below the {CALLER_TIMEOUT_SECONDS} s after which cmux gives up",
        );
        let why = "a caller that gave up holds a container that it does not know of";
        reader.warn("ALLOCATE_TIMEOUT_SECONDS", text, why);
    }
    match settings.release_policy {
        ReleasePolicy::Reuse => reader.note(
            "RELEASE_POLICY",
            "RELEASE_POLICY=reuse hands a released container out again with what its last holder left on its \
             disk; recycle destroys it instead",
        ),
        ReleasePolicy::Recycle => {}
    }
}

fn warn_of_template(reader: &mut Reader<'_>, template: Vmid, overrides: SizeOverrides, sizes: Sizes) {
    let ruled = sizes.with(overrides);
    let (min, max) = (overrides.min.unwrap_or(sizes.min), overrides.max.unwrap_or(sizes.max));
    let target = ruled.target;
    if ruled.min != min {
        let text = format!(
            "POOL_TEMPLATES: min of {template} is lowered from {min} to {target}, because its target is {target}",
        );
        yields(reader, "POOL_TEMPLATES", overrides.min.is_some(), text);
    }
    if ruled.max != max {
        let text = format!(
            "POOL_TEMPLATES: max of {template} is raised from {max} to {target}, because its target is {target}",
        );
        yields(reader, "POOL_TEMPLATES", overrides.max.is_some(), text);
    }
}
