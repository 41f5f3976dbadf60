//! The settings that rules read. They enter State by `ServiceStarted` and `SettingsChanged`, so that a replay
//! knows them too.
//!
//! No secret is among them, and nothing that only the outside (addresses, files, limits of HTTP) needs.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ids::Vmid;

/// How many containers of a template are kept, all counted without those that somebody holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sizes {
    /// Below this the template's refill goes before every other template's.
    pub min: u32,
    /// What refill restores.
    pub target: u32,
    /// Never more than this.
    pub max: u32,
}

/// Sizes of which some are left to the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SizeOverrides {
    /// Overrides [`Sizes::min`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<u32>,
    /// Overrides [`Sizes::target`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<u32>,
    /// Overrides [`Sizes::max`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
}

impl SizeOverrides {
    /// Whether every size is left to the default.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// These where given, else `below`'s.
    #[must_use]
    pub fn or(self, below: Self) -> Self {
        Self {
            min: self.min.or(below.min),
            target: self.target.or(below.target),
            max: self.max.or(below.max),
        }
    }
}

impl Sizes {
    /// These with `overrides` put over them. The target rules: min and max give way to it.
    #[must_use]
    pub fn with(self, overrides: SizeOverrides) -> Self {
        Self {
            min: overrides.min.unwrap_or(self.min),
            target: overrides.target.unwrap_or(self.target),
            max: overrides.max.unwrap_or(self.max),
        }
        .around_target()
    }

    /// Lowers min and raises max to the target.
    #[must_use]
    pub fn around_target(self) -> Self {
        Self { min: self.min.min(self.target), target: self.target, max: self.max.max(self.target) }
    }
}

/// Whether a clone shares its template's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CloneMode {
    /// Linked where the storage can, else full.
    Auto,
    /// Linked or an error.
    Linked,
    /// Always full.
    Full,
}

/// What becomes of a released container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReleasePolicy {
    /// Stopped and made ready again, with whatever its last holder left on its disk.
    Reuse,
    /// Destroyed; refill clones a fresh one.
    Recycle,
}

/// Everything that decide, apply and plan read besides State itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Settings {
    /// Sizes of a template that has none of its own.
    pub sizes: Sizes,
    /// Templates that are filled from start-up on.
    pub templates: BTreeMap<Vmid, SizeOverrides>,
    /// Cap on all containers in State, quarantined ones included; 0 for none.
    pub max_total: u32,
    /// How many refill clones one template may have queued; 0 for as many as are missing.
    pub replenish_batch_size: u32,
    /// First part of the hostname of a container that nobody holds.
    pub hostname_prefix: String,
    /// Lowest VMID that a clone gets.
    pub vmid_start: u32,
    /// Clones under way at once over all templates; one template never has two.
    pub clone_concurrency: u32,
    /// Lock refusals of a refill clone before its template backs off.
    pub clone_max_retries: u32,
    /// Seconds before a refused clone is tried again.
    pub clone_retry_delay_seconds: u32,
    /// At most this many seconds are added to the delay at random.
    pub clone_retry_jitter_seconds: u32,
    /// Seconds after which a running clone no longer holds the lane for other templates.
    pub clone_timeout_seconds: u32,
    /// Whether clones share their template's disk.
    pub clone_mode: CloneMode,
    /// PVE's resource pool that clones are put into.
    pub resource_pool: Option<String>,
    /// What becomes of a released container.
    pub release_policy: ReleasePolicy,
    /// Allocations that may wait at once.
    pub max_waiting: u32,
    /// Seconds after which an allocation that was not answered fails.
    pub allocate_timeout_seconds: u32,
    /// The only node to clone on; `None` takes the one that the template is on.
    pub node: Option<String>,
}

impl Settings {
    /// A span given in whole seconds.
    pub fn seconds(number: u32) -> Duration {
        Duration::from_secs(u64::from(number))
    }
}

impl Default for Settings {
    /// The seed's defaults, and design's for what the seed does not know.
    fn default() -> Self {
        Self {
            sizes: Sizes { min: 3, target: 5, max: 10 },
            templates: BTreeMap::new(),
            max_total: 0,
            replenish_batch_size: 0,
            hostname_prefix: "pool".to_owned(),
            vmid_start: 200,
            clone_concurrency: 1,
            clone_max_retries: 3,
            clone_retry_delay_seconds: 5,
            clone_retry_jitter_seconds: 2,
            clone_timeout_seconds: 600,
            clone_mode: CloneMode::Auto,
            resource_pool: None,
            release_policy: ReleasePolicy::Reuse,
            max_waiting: 100,
            allocate_timeout_seconds: 110,
            node: None,
        }
    }
}
