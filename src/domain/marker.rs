//! The line in a container's description by which the pool knows its own.
//!
//! Descriptions are inherited by clones, and sandboxes are turned into templates: only a marker that names
//! the very container it stands in, on something that is not a template, proves anything.

use std::fmt;

use super::ids::{CloneId, Hostname, InstanceId, Vmid, is_hostname, pool_hostname};

/// First words of every marker.
const HEAD: &str = "sandbox-pool:v1";

/// What the pool writes into the description of a container of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The container's own VMID.
    pub vmid: Vmid,
    /// The clone that made it.
    pub clone_id: CloneId,
    /// The template that it is a clone of.
    pub template: Vmid,
    /// Who holds it.
    pub instance_id: Option<InstanceId>,
}

impl Marker {
    /// Finds a marker in a description, which PVE hands back with a newline behind it.
    pub fn parse(description: &str) -> Option<Self> {
        let mut words = description.lines().next()?.split(' ');
        if words.next()? != HEAD {
            return None;
        }
        let mut field = |name: &str| words.next()?.strip_prefix(name)?.strip_prefix('=').map(str::to_owned);
        let vmid = field("vmid")?.parse().ok()?;
        let clone_id = CloneId(field("clone")?.parse().ok()?);
        let template = field("template")?.parse().ok()?;
        let instance_id = match field("instance") {
            Some(text) if is_hostname(&text) => Some(InstanceId(text)),
            Some(_) => return None,
            None => None,
        };
        Some(Self { vmid, clone_id, template, instance_id })
    }

    /// Whether `hostname` is the one that is set together with this marker.
    pub fn goes_with(&self, hostname: &str) -> bool {
        match &self.instance_id {
            Some(instance_id) => instance_id.as_str() == hostname,
            // Whatever the first part was called when the marker was written.
            None => hostname
                .rsplit_once(&format!("-{}-", self.template))
                .is_some_and(|(prefix, _)| pool_hostname(prefix, self.template, self.clone_id).0 == hostname),
        }
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HEAD} vmid={} clone={} template={}", self.vmid, self.clone_id, self.template)?;
        match &self.instance_id {
            Some(instance_id) => write!(f, " instance={instance_id}"),
            None => Ok(()),
        }
    }
}

/// What a container's configuration at PVE says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its hostname.
    pub hostname: Option<String>,
    /// Its description.
    pub description: Option<String>,
    /// It is a template.
    pub template: bool,
}

/// What State knows of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its VMID.
    pub vmid: Vmid,
    /// The clone that made it.
    pub clone_id: CloneId,
    /// The hostname that State gives it.
    pub hostname: Hostname,
    /// Who holds it, or is about to.
    pub instance_id: Option<InstanceId>,
}

/// Whether a container is the one that State knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// Surely.
    Ours,
    /// Surely not.
    Foreign(String),
    /// Some of it agrees and some does not.
    Doubtful(String),
}

/// How it is told that a container's VMID is somebody else's now, in distinction from one that is gone.
pub fn replaced(reason: &str) -> String {
    format!("replaced: {reason}")
}

/// Judges a container at PVE that State knows by its VMID.
pub fn judge(known: &Known, seen: &Seen) -> Ownership {
    if seen.template {
        return Ownership::Foreign(format!("CT {} is a template now", known.vmid));
    }
    let hostname = seen.hostname.as_deref().unwrap_or_default();
    let named_by_state = hostname == known.hostname.as_str()
        || known.instance_id.as_ref().is_some_and(|instance_id| instance_id.as_str() == hostname);
    let marker = seen.description.as_deref().and_then(Marker::parse);
    // One call sets both, so they agree also where its answer never came and State has the name of before.
    let named_by_marker = marker.as_ref().is_some_and(|marker| marker.goes_with(hostname));
    match marker.filter(|marker| marker.vmid == known.vmid) {
        Some(marker) if marker.clone_id != known.clone_id => Ownership::Foreign(format!(
            "CT {} is clone {} now, not {}",
            known.vmid, marker.clone_id, known.clone_id
        )),
        Some(_) if named_by_marker => Ownership::Ours,
        Some(_) | None if named_by_state => Ownership::Ours,
        Some(_) => Ownership::Doubtful(format!(
            "CT {} has the hostname `{hostname}`, not `{}`",
            known.vmid, known.hostname
        )),
        None => Ownership::Foreign(format!(
            "CT {} has the hostname `{hostname}` and no description of the pool",
            known.vmid
        )),
    }
}

#[cfg(test)]
mod tests {
    use ulid::Ulid;

    use super::*;

    fn marker(instance: Option<&str>) -> Marker {
        Marker {
            vmid: Vmid(205),
            clone_id: CloneId(Ulid(7)),
            template: Vmid(9009),
            instance_id: instance.map(InstanceId::from),
        }
    }

    fn known(hostname: &str, instance: Option<&str>) -> Known {
        Known {
            vmid: Vmid(205),
            clone_id: CloneId(Ulid(7)),
            hostname: hostname.into(),
            instance_id: instance.map(InstanceId::from),
        }
    }

    fn seen(hostname: &str, description: &str) -> Seen {
        Seen {
            hostname: Some(hostname.to_owned()),
            description: Some(description.to_owned()),
            template: false,
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn what_anybody_writes_into_a_description_is_a_marker_or_none(
            head in proptest::option::of(proptest::arbitrary::any::<String>()),
            words in proptest::collection::vec("(vmid|clone|template|instance| )=?[0-9A-Za-z=-]{0,27}", 0..6),
            tail in proptest::arbitrary::any::<String>(),
        ) {
            let description = format!("{} {}{tail}", head.as_deref().unwrap_or(HEAD), words.join(" "));
            if let Some(found) = Marker::parse(&description) {
                proptest::prop_assert!(description.starts_with(HEAD));
                proptest::prop_assert_eq!(Marker::parse(&found.to_string()), Some(found));
            }
        }
    }

    #[test]
    fn a_marker_reads_back_with_the_newline_that_pve_adds() {
        for marker in [marker(None), marker(Some("pvelxc-1"))] {
            assert_eq!(Marker::parse(&format!("{marker}\n")), Some(marker));
        }
        assert_eq!(Marker::parse("sandbox-pool:v1 vmid=205 clone=x template=9009"), None);
        let unnameable = format!("{} instance=-box", marker(None));
        assert_eq!(Marker::parse(&unnameable), None);
        assert_eq!(Marker::parse("my notes"), None);
    }

    #[test]
    fn ours_is_what_names_itself_and_has_a_name_of_states() {
        let ours = marker(None).to_string();
        assert_eq!(
            judge(&known("pool-9009-00000001", None), &seen("pool-9009-00000001", &ours)),
            Ownership::Ours
        );
        let held = known("pool-9009-00000001", Some("box"));
        assert_eq!(judge(&held, &seen("box", &marker(Some("box")).to_string())), Ownership::Ours);
        assert!(matches!(judge(&held, &seen("renamed", &ours)), Ownership::Doubtful(_)));
    }

    #[test]
    fn ours_is_what_was_renamed_by_a_call_that_was_never_answered() {
        let back = "pool-9009-00000007";
        let unheard_rename = seen("box", &marker(Some("box")).to_string());
        assert_eq!(judge(&known(back, None), &unheard_rename), Ownership::Ours);
        let unheard_rename_back = seen(back, &marker(None).to_string());
        assert_eq!(judge(&known("box", Some("box")), &unheard_rename_back), Ownership::Ours);
        for other in ["pool-9009-00000008", "pool-9010-00000007", "9009-00000007", "web"] {
            let seen = seen(other, &marker(None).to_string());
            assert!(matches!(judge(&known("box", Some("box")), &seen), Ownership::Doubtful(_)), "{other}");
        }
        let renamed_by_somebody = seen("web", &marker(Some("box")).to_string());
        assert!(matches!(judge(&known(back, None), &renamed_by_somebody), Ownership::Doubtful(_)));
    }

    #[test]
    fn an_edited_description_is_ours_while_the_hostname_is() {
        let known = known("pool-9009-00000001", None);
        assert_eq!(judge(&known, &seen("pool-9009-00000001", "my notes")), Ownership::Ours);
        assert!(matches!(judge(&known, &seen("web", "my notes")), Ownership::Foreign(_)));
    }

    #[test]
    fn an_inherited_marker_or_a_reused_vmid_is_foreign() {
        let known = known("pool-9009-00000001", None);
        let inherited = Marker { vmid: Vmid(300), ..marker(None) }.to_string();
        assert!(matches!(judge(&known, &seen("web", &inherited)), Ownership::Foreign(_)));
        let successor = Marker { clone_id: CloneId(Ulid(8)), ..marker(None) }.to_string();
        assert!(matches!(judge(&known, &seen("pool-9009-00000001", &successor)), Ownership::Foreign(_)));
        let template = Seen { template: true, ..seen("pool-9009-00000001", &marker(None).to_string()) };
        assert!(matches!(judge(&known, &template), Ownership::Foreign(_)));
    }
}
