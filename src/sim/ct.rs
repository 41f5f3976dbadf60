//! A container of the simulated cluster: its configuration as PVE stores it, and the state beside it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::domain::time::Timestamp;

/// Options that PVE hands out as numbers.
const NUMBERS: [&str; 11] = [
    "console",
    "cores",
    "cpuunits",
    "debug",
    "memory",
    "onboot",
    "protection",
    "swap",
    "template",
    "tty",
    "unprivileged",
];

/// One container.
#[derive(Clone, Debug)]
pub(super) struct Ct {
    /// Its node.
    pub(super) node: String,
    /// Its configuration, `lock` and `template` included; the description without PVE's newline.
    pub(super) config: BTreeMap<String, String>,
    /// Since when it runs.
    pub(super) running_since: Option<Timestamp>,
    /// Snapshots by name.
    pub(super) snapshots: BTreeMap<String, Snapshot>,
    /// The token whose clone made it.
    pub(super) made_by: Option<String>,
    /// The pool may take it for its own although it did not make it.
    pub(super) adoptable: bool,
    /// Since when its lock stands, and whether one of the watched token's tasks took it.
    pub(super) locked: Option<(Timestamp, bool)>,
    /// The template that its volume depends on.
    pub(super) linked_from: Option<u32>,
    /// It does not stop when asked to shut down.
    pub(super) ignores_shutdown: bool,
}

/// A container's configuration at some time.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    /// When it was made.
    pub(super) at: Timestamp,
    /// What was written with it.
    pub(super) description: String,
    /// The configuration then.
    pub(super) config: BTreeMap<String, String>,
}

impl Ct {
    /// A stopped container with this configuration.
    pub(super) fn new(node: &str, config: BTreeMap<String, String>) -> Self {
        Self {
            node: node.to_owned(),
            config,
            running_since: None,
            snapshots: BTreeMap::new(),
            made_by: None,
            adoptable: false,
            locked: None,
            linked_from: None,
            ignores_shutdown: false,
        }
    }

    /// An option's text.
    pub(super) fn get(&self, option: &str) -> Option<&str> {
        self.config.get(option).map(String::as_str)
    }

    /// Whether a boolean option is set.
    pub(super) fn is(&self, option: &str) -> bool {
        self.get(option) == Some("1")
    }

    /// The name that lists show.
    pub(super) fn name(&self, vmid: u32) -> String {
        self.get("hostname").map_or_else(|| format!("CT{vmid}"), str::to_owned)
    }

    /// Sets PVE's lock.
    pub(super) fn lock(&mut self, lock: &str, at: Timestamp, by_watched: bool) {
        self.config.insert("lock".to_owned(), lock.to_owned());
        self.locked = Some((at, by_watched));
    }

    /// Removes PVE's lock.
    pub(super) fn unlock(&mut self) {
        self.config.remove("lock");
        self.locked = None;
    }

    /// The name of the storage that holds its root file system.
    pub(super) fn storage(&self) -> Option<&str> {
        self.get("rootfs").and_then(storage_of)
    }

    /// Its root file system and its mount points, by their options.
    pub(super) fn volumes(&self) -> impl Iterator<Item = (&str, &str)> {
        let is_mount = |option: &str| {
            option == "rootfs" || option.strip_prefix("mp").is_some_and(|number| number.parse::<u8>().is_ok())
        };
        let texts = self.config.iter().map(|(option, text)| (option.as_str(), text.as_str()));
        texts.filter(move |(option, _)| is_mount(option))
    }

    /// The bridge of its first network interface.
    pub(super) fn bridge(&self) -> Option<&str> {
        self.get("net0").and_then(|net| net.split(',').find_map(|part| part.strip_prefix("bridge=")))
    }

    /// Bytes of memory, from the option in MiB.
    pub(super) fn bytes(&self, option: &str, fallback_mib: u64) -> u64 {
        self.get(option).and_then(|text| text.parse().ok()).unwrap_or(fallback_mib) * 1024 * 1024
    }

    /// What PVE compares before a change: 40 hex digits that differ after every change.
    pub(super) fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for (option, text) in &self.config {
            hash.update(format!("{option}: {text}\n"));
        }
        hash.update(self.snapshots.keys().cloned().collect::<Vec<_>>().join("\n"));
        hash.finalize().iter().take(20).fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }

    /// The configuration as the API shows it.
    pub(super) fn document(&self) -> Value {
        let mut map = shown(&self.config);
        map.insert("digest".to_owned(), json!(self.digest()));
        Value::Object(map)
    }
}

/// The storage of a volume; none if it is a path of the node.
pub(super) fn storage_of(volume: &str) -> Option<&str> {
    volume.split_once(':').map(|(storage, _)| storage).filter(|storage| !storage.contains('/'))
}

/// Options as the API shows them: numbers as numbers, a newline behind the description.
pub(super) fn shown(config: &BTreeMap<String, String>) -> Map<String, Value> {
    config.iter().map(|(option, text)| (option.clone(), shown_option(option, text))).collect()
}

/// One option as the API shows it.
pub(super) fn shown_option(option: &str, text: &str) -> Value {
    if option == "description" {
        return json!(format!("{text}\n"));
    }
    match text.parse::<u64>() {
        Ok(number) if NUMBERS.contains(&option) => json!(number),
        Ok(_) | Err(_) => json!(text),
    }
}

/// A container to put into the simulated cluster.
#[derive(Clone, Debug)]
pub struct CtSpec {
    pub(super) vmid: u32,
    pub(super) node: Option<String>,
    pub(super) storage: String,
    pub(super) running: bool,
    pub(super) adoptable: bool,
    pub(super) made_by: Option<String>,
    pub(super) ignores_shutdown: bool,
    pub(super) pool: Option<String>,
    pub(super) config: BTreeMap<String, String>,
}

impl CtSpec {
    /// A stopped container on the entry node and the storage `pool`.
    pub fn new(vmid: u32, hostname: &str) -> Self {
        let config = [
            ("arch", "amd64"),
            ("features", "nesting=1"),
            ("hostname", hostname),
            ("memory", "256"),
            ("ostype", "debian"),
            ("swap", "512"),
            ("unprivileged", "1"),
        ];
        Self {
            vmid,
            node: None,
            storage: "pool".to_owned(),
            running: false,
            adoptable: false,
            made_by: None,
            ignores_shutdown: false,
            pool: None,
            config: config.map(|(option, text)| (option.to_owned(), text.to_owned())).into(),
        }
    }

    /// On another node.
    #[must_use]
    pub fn on(mut self, node: &str) -> Self {
        self.node = Some(node.to_owned());
        self
    }

    /// On another storage.
    #[must_use]
    pub fn storage(mut self, storage: &str) -> Self {
        storage.clone_into(&mut self.storage);
        self
    }

    /// A template.
    #[must_use]
    pub fn template(self) -> Self {
        self.set("template", "1")
    }

    /// Running.
    #[must_use]
    pub fn running(mut self) -> Self {
        self.running = true;
        self
    }

    /// One that the pool may take for its own although it did not make it.
    #[must_use]
    pub fn adoptable(mut self) -> Self {
        self.adoptable = true;
        self
    }

    /// One that this token's clone made.
    #[must_use]
    pub fn made_by(mut self, token: &str) -> Self {
        self.made_by = Some(token.to_owned());
        self
    }

    /// One that does not stop when asked to shut down.
    #[must_use]
    pub fn ignoring_shutdown(mut self) -> Self {
        self.ignores_shutdown = true;
        self
    }

    /// A member of a resource pool.
    #[must_use]
    pub fn in_pool(mut self, pool: &str) -> Self {
        self.pool = Some(pool.to_owned());
        self
    }

    /// With this description.
    #[must_use]
    pub fn description(self, text: &str) -> Self {
        self.set("description", text)
    }

    /// With any option as PVE stores it.
    #[must_use]
    pub fn set(mut self, option: &str, text: &str) -> Self {
        self.config.insert(option.to_owned(), text.to_owned());
        self
    }
}

/// A container as a test sees it, past all permissions and lags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CtView {
    /// Its VMID.
    pub vmid: u32,
    /// Its node.
    pub node: String,
    /// Its hostname.
    pub hostname: Option<String>,
    /// Its description, without the newline that PVE adds.
    pub description: Option<String>,
    /// Its tags, as stored.
    pub tags: Option<String>,
    /// It runs.
    pub running: bool,
    /// PVE's lock on it.
    pub lock: Option<String>,
    /// It is a template.
    pub template: bool,
    /// It starts with the node.
    pub onboot: bool,
    /// It refuses to be destroyed.
    pub protection: bool,
    /// Its resource pool.
    pub pool: Option<String>,
    /// The template that its volume depends on.
    pub linked_from: Option<u32>,
    /// The token whose clone made it.
    pub made_by: Option<String>,
    /// Its whole configuration as PVE stores it.
    pub config: BTreeMap<String, String>,
}
