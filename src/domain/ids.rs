//! Names of things: small types, so that a template's VMID cannot be passed for a container's instance.
//!
//! They hold what was validated when they were made and never look anything up.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

/// Position of an event in the log: 1, 2, 3 … without gaps. 0 is "before the first event".
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// The position behind this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// PVE's number of a guest, 100 to 999999999, one name space for containers and virtual machines of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Vmid(pub u32);

impl Vmid {
    /// Lowest number that PVE accepts.
    pub const LOWEST: u32 = 100;
    /// Highest number that PVE accepts.
    pub const HIGHEST: u32 = 999_999_999;

    /// `None` outside PVE's range.
    pub fn new(number: u32) -> Option<Self> {
        (Self::LOWEST..=Self::HIGHEST).contains(&number).then_some(Self(number))
    }
}

impl fmt::Display for Vmid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Vmid {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        text.parse().ok().and_then(Self::new).ok_or(InvalidId("expected a VMID from 100 to 999999999"))
    }
}

/// A text or number that cannot be the name asked for; says what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidId(pub &'static str);

/// One clone and the container that it becomes, for as long as the pool knows it.
///
/// It stands in the container's description at PVE, so that a VMID that was freed and reused is told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct CloneId(#[schemars(with = "String")] pub Ulid);

impl fmt::Display for CloneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One allocation: from the request for an instance to its answer, and the holding that follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct AllocationId(#[schemars(with = "String")] pub Ulid);

impl AllocationId {
    /// The allocation of a container that was found in its instance's hands. No request for it is known.
    pub fn of_found(clone_id: CloneId) -> Self {
        Self(clone_id.0)
    }
}

impl fmt::Display for AllocationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Declares a text newtype without rules of its own beyond being a name in PVE's or a caller's world.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }
    };
}

text_id! {
    /// A node of the PVE cluster.
    Node
}
text_id! {
    /// A container's hostname at PVE.
    Hostname
}
text_id! {
    /// PVE's handle of a task, `UPID:{node}:{pid}:{pstart}:{starttime}:{type}:{id}:{user}:`.
    Upid
}
text_id! {
    /// The caller's name of a sandbox; becomes the container's hostname. Make it with [`InstanceId::new`].
    InstanceId
}
text_id! {
    /// A webhook endpoint's name in the configuration.
    EndpointName
}
text_id! {
    /// What a webhook endpoint gets in order: `container/205`, `allocation/01…`, `template/9009` or `service`.
    Lane
}

impl InstanceId {
    /// Checks that PVE and the guest can carry it as a hostname and that it cannot be taken for a pool name.
    pub fn new(text: &str, pool_prefix: &str) -> Result<Self, InvalidId> {
        if !is_hostname(text) {
            return Err(InvalidId(
                "expected a hostname: at most 63 letters, digits, hyphens and dots, each part beginning and \
                 ending with a letter or digit",
            ));
        }
        if begins_like_pool_name(text, pool_prefix) {
            return Err(InvalidId("must not begin like the pool's own hostnames"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The hostname that a container with this instance has.
    pub fn hostname(&self) -> Hostname {
        Hostname(self.0.clone())
    }
}

/// PVE's own rule for a hostname, and Linux' limit of 63 bytes for `lxc.uts.name`.
pub fn is_hostname(text: &str) -> bool {
    text.len() <= 63
        && !text.is_empty()
        && text.split('.').all(|label| {
            let bytes = label.as_bytes();
            let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
            edge(bytes.first())
                && edge(bytes.last())
                && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
        })
}

/// The pool's name of a container that nobody holds: `{prefix}-{template}-{8 hex}`, the hex being the last
/// digits of the clone's ULID, so that a container gets the same name back.
pub fn pool_hostname(prefix: &str, template: Vmid, clone_id: CloneId) -> Hostname {
    Hostname(format!("{prefix}-{template}-{:08x}", clone_id.0.0 & 0xffff_ffff))
}

/// The template that a pool hostname names, if `text` is one to the letter.
pub fn parse_pool_hostname(prefix: &str, text: &str) -> Option<Vmid> {
    let (template, random) = text.strip_prefix(prefix)?.strip_prefix('-')?.split_once('-')?;
    let hex = random.len() == 8 && random.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let digits = !template.starts_with('0') && template.bytes().all(|byte| byte.is_ascii_digit());
    (hex && digits).then(|| template.parse().ok()).flatten()
}

fn begins_like_pool_name(text: &str, prefix: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let Some(rest) = lower.strip_prefix(&prefix.to_ascii_lowercase()) else { return false };
    let Some(rest) = rest.strip_prefix('-') else { return false };
    rest.split_once('-')
        .is_some_and(|(digits, _)| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostname_is_what_pve_and_linux_accept() {
        for good in ["a", "pvelxc-1a2b3c4d", "A.b-c.d9", &"x".repeat(63)] {
            assert!(is_hostname(good), "{good}");
        }
        for bad in ["", "-a", "a-", "a..b", "a_b", "a b", "é", "a\n", ".a", &"x".repeat(64)] {
            assert!(!is_hostname(bad), "{bad:?}");
        }
    }

    #[test]
    fn only_the_exact_pattern_is_a_pool_hostname() {
        let parsed = |text| parse_pool_hostname("pool", text);
        assert_eq!(parsed("pool-9009-0a1b2c3d"), Some(Vmid(9009)));
        for foreign in [
            "pool-manager",
            "pool-9009-customer",
            "pool-9009-0a1b2c3",
            "pool-9009-0a1b2c3d4",
            "pool-9009-0A1B2C3D",
            "pool-09009-0a1b2c3d",
            "pool-5-0a1b2c3d",
            "pool-9009-0a1b2c3d.local",
            "xpool-9009-0a1b2c3d",
        ] {
            assert_eq!(parsed(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn an_instance_cannot_pass_for_a_pool_container() {
        for good in ["pool-manager", "pool-manager-1", "pool--1", "pool-9009"] {
            assert!(InstanceId::new(good, "pool").is_ok(), "{good}");
        }
        assert!(InstanceId::new("pool-9009-customer", "pool").is_err());
        assert!(InstanceId::new("Pool-1-x", "pool").is_err());
    }
}
