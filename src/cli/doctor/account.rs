//! The user that the service runs as, and what of the files it may use: root, who looks, may use them all.
//!
//! By owner, groups and mode, as they stand there; nobody's identity is taken on.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// To read a file.
pub(super) const READ: u32 = 0o4;
/// To read and write a file.
pub(super) const WRITE: u32 = 0o6;
/// To make files in a directory, and to find them.
pub(super) const FILL: u32 = 0o7;
/// To come by.
const PASS: u32 = 0o1;

/// Who a service runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) user: u32,
    pub(super) groups: Vec<u32>,
    /// Its `/`: what is above is nobody's business. A test has another.
    pub(super) root: PathBuf,
}

/// What an account may not use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Barrier {
    pub(super) path: PathBuf,
    pub(super) owner: u32,
    pub(super) mode: u32,
    pub(super) is_dir: bool,
}

impl std::fmt::Display for Barrier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is of user {} with mode {:04o}", self.path.display(), self.owner, self.mode)
    }
}

impl Account {
    /// The one of the installed service, if there is such a user here. Whoever is not root looks with his own eyes.
    pub(super) fn of_the_service() -> Option<Self> {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let is_root = rustix::process::geteuid().is_root();
        is_root.then(|| Self::listed(&read("/etc/passwd"), &read("/etc/group")))?
    }

    /// `sandbox-pool` in tables of users and groups.
    pub(super) fn listed(passwd: &str, group: &str) -> Option<Self> {
        let mut fields =
            passwd.lines().find_map(|line| line.strip_prefix("sandbox-pool:"))?.split(':').skip(1);
        let (user, own) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let others = group.lines().filter_map(|line| {
            let mut fields = line.split(':').skip(2);
            let (number, members) = (fields.next()?.parse().ok()?, fields.next()?);
            members.split(',').any(|member| member == "sandbox-pool").then_some(number)
        });
        Some(Self { user, groups: std::iter::once(own).chain(others).collect(), root: "/".into() })
    }

    /// A path without links, as far as it is there, from the account's `/` on.
    pub(super) fn seen(&self, path: &Path) -> PathBuf {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let whole = path.ancestors().find_map(|above| {
            let rest = path.strip_prefix(above).ok()?;
            Some(above.canonicalize().ok()?.join(rest))
        });
        let path = whole.unwrap_or(path);
        Path::new("/").join(path.strip_prefix(&self.root).unwrap_or(&path))
    }

    /// Whether it may use what it has come to.
    pub(super) fn may(&self, what: &Metadata, needed: u32) -> bool {
        let class = if what.uid() == self.user {
            6
        } else if self.groups.contains(&what.gid()) {
            3
        } else {
            0
        };
        what.mode() >> class & needed == needed
    }

    /// What keeps it from a file, or from a directory, that is there: one of those above it, or itself.
    pub(super) fn barrier(&self, path: &Path, needed: u32) -> Option<Barrier> {
        let path = path.canonicalize().ok()?;
        let mut way: Vec<&Path> = path.ancestors().take_while(|step| step.starts_with(&self.root)).collect();
        way.reverse();
        way.into_iter().find_map(|step| self.bar(step, if *step == *path { needed } else { PASS }))
    }

    /// The same, without what is above it.
    pub(super) fn bar(&self, path: &Path, needed: u32) -> Option<Barrier> {
        let what = std::fs::metadata(path).ok()?;
        let (owner, mode, is_dir) = (what.uid(), what.mode() & 0o777, what.is_dir());
        (!self.may(&what, needed)).then(|| Barrier { path: path.to_owned(), owner, mode, is_dir })
    }
}
