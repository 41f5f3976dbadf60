//! Every setting there is: its variable, flag, default and meaning, said once.
//!
//! Flags, the README's table, `deploy/env.example` and the defaults that are read all come from here. What a
//! value must look like is said where it is read.

use Fallback::{Absent, Required, Value};

/// What holds when a setting is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// The program does not start without it.
    Required,
    /// This value, as if it had been given.
    Value(&'static str),
    /// Nothing; the words say what that means.
    Absent(&'static str),
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The heading it stands under.
    pub group: &'static str,
    /// Its environment variable.
    pub name: &'static str,
    /// Its flag, without hyphens. A secret has none: arguments are seen by every user of a machine.
    pub flag: Option<&'static str>,
    /// What its value is, in one word.
    pub value: &'static str,
    /// What holds when it is not given.
    pub fallback: Fallback,
    /// What it does.
    pub help: &'static str,
}

/// The setting of the name.
pub fn setting(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

const fn row(
    group: &'static str,
    name: &'static str,
    flag: &'static str,
    value: &'static str,
    fallback: Fallback,
    help: &'static str,
) -> Setting {
    Setting { group, name, flag: Some(flag), value, fallback, help }
}

const fn secret(
    group: &'static str,
    name: &'static str,
    value: &'static str,
    fallback: Fallback,
    help: &'static str,
) -> Setting {
    Setting { group, name, flag: None, value, fallback, help }
}

pub(super) const PVE: &str = "Proxmox VE";
const SIZES: &str = "Pool sizes";
const CLONES: &str = "Clones";
const ALLOCATIONS: &str = "Allocations";
const HTTP: &str = "HTTP";
const DATA: &str = "Data and logs";
const WEBHOOKS: &str = "Webhooks";

/// All settings, in the order in which they are shown.
#[rustfmt::skip]
pub const SETTINGS: &[Setting] = &[
    row(PVE, "PVE_API_URL", "pve-api-url", "URL", Required,
        "Address of the PVE API, such as https://127.0.0.1:8006; http only to this machine"),
    secret(PVE, "PVE_API_TOKEN", "TOKEN", Required,
        "PVE API token, USER@REALM!ID=SECRET; may come from PVE_API_TOKEN_FILE or the credential pve-api-token instead"),
    row(PVE, "PVE_API_TOKEN_FILE", "pve-api-token-file", "PATH", Absent("none"),
        "File that holds the PVE API token"),
    row(PVE, "PVE_NODE", "pve-node", "NODE", Absent("the node that the template is on"),
        "The only node to clone on"),
    row(PVE, "PVE_VERIFY_TLS", "pve-verify-tls", "BOOL", Value("true"),
        "Whether the certificate of PVE is verified"),
    row(PVE, "PVE_CA_FILE", "pve-ca-file", "PATH", Absent("/etc/pve/pve-root-ca.pem if readable"),
        "CA certificates (PEM) to trust beside the system's; may be the credential pve-ca instead"),
    row(PVE, "PVE_FINGERPRINT", "pve-fingerprint", "SHA256", Absent("none"),
        "SHA-256 of PVE's own certificate; one that matches is trusted whoever signed it"),
    row(PVE, "PVE_RESOURCE_POOL", "pve-resource-pool", "POOL", Absent("none"),
        "Resource pool of PVE that clones are put into"),

    row(SIZES, "POOL_TARGET_SIZE", "target-size", "NUMBER", Value("5"),
        "Target containers per template, restored at once after each change"),
    row(SIZES, "POOL_MIN_SIZE", "min-size", "NUMBER", Value("3"),
        "Minimum containers to maintain: below it a template's refill goes before the others'"),
    row(SIZES, "POOL_MAX_SIZE", "max-size", "NUMBER", Value("10"),
        "Maximum containers allowed per template, not counting those that somebody holds"),
    row(SIZES, "POOL_MAX_TOTAL", "max-total", "NUMBER", Value("0"),
        "Cap on all containers of the pool, held ones included; 0 for none"),
    row(SIZES, "POOL_TEMPLATES", "templates", "LIST", Absent("none"),
        "Templates to fill from start-up on, with optional own sizes: 9009,9010:target=2:max=4"),
    row(SIZES, "REPLENISH_INTERVAL_SECONDS", "replenish-interval-seconds", "SECONDS", Value("30"),
        "Replenishment check interval: how often the pool is compared with PVE"),
    row(SIZES, "REPLENISH_BATCH_SIZE", "replenish-batch-size", "NUMBER", Value("0"),
        "How many refill clones one template may have queued; 0 for as many as are missing"),

    row(CLONES, "CONTAINER_HOSTNAME_PREFIX", "container-hostname-prefix", "TEXT", Value("pool"),
        "First part of the hostname of a container that nobody holds; a hyphen at its end is left off"),
    row(CLONES, "CONTAINER_VMID_START", "container-vmid-start", "VMID", Value("200"),
        "Lowest VMID that a clone gets"),
    row(CLONES, "CLONE_MODE", "clone-mode", "MODE", Value("auto"),
        "auto (linked where the storage can, else full), linked or full"),
    row(CLONES, "CLONE_CONCURRENCY", "clone-concurrency", "NUMBER", Value("1"),
        "Clones under way at once over all templates; one template never has two"),
    row(CLONES, "CLONE_TIMEOUT_SECONDS", "clone-timeout-seconds", "SECONDS", Value("600"),
        "How long a clone may run before other templates may clone beside it"),
    row(CLONES, "CLONE_MAX_RETRIES", "clone-max-retries", "NUMBER", Value("3"),
        "How often a refill clone that met a lock is tried again before its template backs off"),
    row(CLONES, "CLONE_RETRY_DELAY_SECONDS", "clone-retry-delay-seconds", "SECONDS", Value("5"),
        "Pause before a clone that met a lock is tried again"),
    row(CLONES, "CLONE_RETRY_JITTER_SECONDS", "clone-retry-jitter-seconds", "SECONDS", Value("2"),
        "At most this much is added to the pause at random"),

    row(ALLOCATIONS, "ALLOCATE_TIMEOUT_SECONDS", "allocate-timeout-seconds", "SECONDS", Value("110"),
        "How long an allocation may wait for its container; keep it below the caller's own time-out"),
    row(ALLOCATIONS, "POOL_MAX_WAITING", "max-waiting", "NUMBER", Value("100"),
        "Allocations that may wait at once"),
    row(ALLOCATIONS, "RELEASE_POLICY", "release-policy", "POLICY", Value("reuse"),
        "reuse (stop and hand out again, with what the last holder left on the disk) or recycle (destroy)"),

    row(HTTP, "POOL_LISTEN", "listen", "ADDRESS", Value("127.0.0.1:8007"),
        "Address and port to listen on; beyond this machine POOL_API_TOKEN is needed"),
    secret(HTTP, "POOL_API_TOKEN", "TOKENS", Absent("none: every local caller may do everything"),
        "Bearer tokens that may do everything, separated by commas or lines"),
    row(HTTP, "POOL_API_TOKEN_FILE", "api-token-file", "PATH", Absent("none"),
        "File that holds tokens that may do everything; may be the credential pool-api-token instead"),
    secret(HTTP, "POOL_READ_TOKEN", "TOKENS", Absent("none"),
        "Bearer tokens that may only read, separated by commas or lines"),
    row(HTTP, "POOL_READ_TOKEN_FILE", "read-token-file", "PATH", Absent("none"),
        "File that holds tokens that may only read; may be the credential pool-read-token instead"),
    row(HTTP, "POOL_ALLOW_UNAUTHENTICATED", "allow-unauthenticated", "BOOL", Value("false"),
        "Listen beyond this machine without any token"),
    row(HTTP, "POOL_ALLOWED_HOSTS", "allowed-hosts", "LIST", Absent("this machine only"),
        "Hosts under which a browser may send writes, such as pve.example.com"),
    row(HTTP, "POOL_MAX_CONNECTIONS", "max-connections", "NUMBER", Value("12000"),
        "Connections open at once; more than event streams, so that these cannot shut callers out"),
    row(HTTP, "POOL_MAX_STREAMS", "max-streams", "NUMBER", Value("10000"),
        "Event streams open at once"),
    row(HTTP, "POOL_MAX_BODY_BYTES", "max-body-bytes", "BYTES", Value("64K"),
        "Size of a request's body"),
    row(HTTP, "POOL_MAX_METADATA_BYTES", "max-metadata-bytes", "BYTES", Value("16K"),
        "Size of an allocation's metadata, which every event of it carries"),
    row(HTTP, "POOL_HEADER_TIMEOUT_SECONDS", "header-timeout-seconds", "SECONDS", Value("10"),
        "How long a client may take to send a request's headers"),

    row(DATA, "POOL_DATA_DIR", "data-dir", "PATH",
        Absent("$STATE_DIRECTORY, else /var/lib/sandbox-pool for root, else ~/.local/state/sandbox-pool"),
        "Directory of the event log"),
    row(DATA, "LOG_SEGMENT_BYTES", "log-segment-bytes", "BYTES", Value("64M"),
        "Size at which the event log begins a new file"),
    row(DATA, "LOG_RETENTION_DAYS", "log-retention-days", "DAYS", Value("0"),
        "Days that old files of the event log are kept; 0 for ever"),
    row(DATA, "LOG_RETENTION_BYTES", "log-retention-bytes", "BYTES", Value("0"),
        "Size that the event log may have before its oldest files go; 0 for any"),
    row(DATA, "POOL_LOG_FORMAT", "log-format", "FORMAT", Value("human"),
        "Form of what the program says about itself: human or json"),
    row(DATA, "POOL_LOG_LEVEL", "log-level", "FILTER", Value("info"),
        "How much it says: error, warn, info, debug, trace, or a filter such as info,sandbox_pool::pve=debug"),

    row(WEBHOOKS, "WEBHOOKS_FILE", "webhooks-file", "PATH", Absent("none"),
        "File that describes webhook endpoints (TOML)"),
    row(WEBHOOKS, "WEBHOOK_URL", "webhook-url", "URL", Absent("none"),
        "One endpoint that every event is sent to"),
    secret(WEBHOOKS, "WEBHOOK_SECRET", "SECRET", Absent("none"),
        "Key that signs what is sent to WEBHOOK_URL: whsec_ and 24 to 64 bytes in base64"),
    row(WEBHOOKS, "WEBHOOK_SECRET_FILE", "webhook-secret-file", "PATH", Absent("none"),
        "File that holds the key that signs what is sent to WEBHOOK_URL; may be the credential webhook-secret instead"),
    row(WEBHOOKS, "WEBHOOK_ALLOW_CIDRS", "webhook-allow-cidrs", "LIST", Absent("public addresses only"),
        "Private networks that webhooks may be sent to, such as 10.0.0.0/8; there http is allowed too"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_is_its_variable_in_lower_case_without_pool() {
        for setting in SETTINGS {
            let name = setting.name.to_ascii_lowercase().replace('_', "-");
            let expected = name.strip_prefix("pool-").unwrap_or(&name);
            if let Some(flag) = setting.flag {
                assert_eq!(flag, expected);
            } else {
                let file = format!("{}_FILE", setting.name);
                assert!(super::setting(&file).is_some(), "{file}: a secret may come from a file");
            }
        }
    }

    #[test]
    fn names_and_flags_are_unique() {
        for (i, a) in SETTINGS.iter().enumerate() {
            for b in &SETTINGS[i + 1..] {
                assert_ne!(a.name, b.name);
                assert!(a.flag.is_none() || a.flag != b.flag, "{}", b.name);
            }
        }
    }
}
