//! Whether the service's own user may use its data directory, as whoever looks may.
//!
//! Only what the service writes there is looked at, and no more is ever given to it: who has a directory for many
//! things gets one for the log made in it.

use std::path::{Path, PathBuf};

use super::account::{Account, Barrier, FILL, WRITE};
use super::finding::{Finding, quoted};
use super::here::ONLY_THEN;
use super::settings::change;
use super::unit;

/// A data directory that is there.
#[derive(Default)]
pub(super) struct Directory {
    pub(super) path: PathBuf,
    /// Files of the service in it.
    pub(super) own: Vec<PathBuf>,
    /// There is what the service did not make.
    pub(super) is_shared: bool,
    /// The unit lets the service write there.
    pub(super) is_writable: bool,
}

/// What keeps the service from a directory, or from where it is to be made.
pub(super) fn wanting(dir: &Path, place: &Path, service: &Account, file: &Path) -> Option<Finding> {
    if let Some(directive) = unit::hides(service, dir) {
        return Some(hidden(dir, directive, file));
    }
    let is_writable = unit::lets_write(service, dir);
    if place != dir {
        let by = service.barrier(place, FILL);
        let is_made = unit::is_made_by_systemd(service, dir) || (by.is_none() && is_writable);
        return (!is_made).then(|| unmade(dir, by.as_ref(), is_writable));
    }
    let mut directory = Directory { is_writable, ..Directory::at(dir) };
    directory.is_shared |= is_right_below_root(&service.seen(dir));
    directory.is_shared &= !unit::is_made_by_systemd(service, dir);
    there(&directory, service, file).or_else(|| (!is_writable).then(|| read_only(dir)))
}

/// A directory that the unit hides.
pub(super) fn hidden(dir: &Path, directive: &str, file: &Path) -> Finding {
    let found = format!("{} is hidden from the service: its unit has {directive}=true", dir.display());
    Finding::fail("data-dir", found, ONLY_THEN).mend(elsewhere(file))
}

/// A directory that is all right but for the unit.
pub(super) fn read_only(dir: &Path) -> Finding {
    let found = format!("{} is read-only to the service: its unit has ProtectSystem=strict", dir.display());
    Finding::warn("data-dir", found, ONLY_THEN).mend(unit::to_let_write(dir))
}

fn elsewhere(file: &Path) -> String {
    change(file, "POOL_DATA_DIR") + "; without it: " + unit::STATE_DIRECTORY
}

/// A directory that is not there, and that the service may not make.
pub(super) fn unmade(dir: &Path, by: Option<&Barrier>, is_writable: bool) -> Finding {
    let by = by.map_or_else(|| "its unit has ProtectSystem=strict".to_owned(), ToString::to_string);
    let found =
        format!("{} is not there; {by}: the service's own user sandbox-pool may not make it", dir.display());
    let finding = Finding::fail("data-dir", found, ONLY_THEN).mend(to_install(dir));
    if is_writable { finding } else { finding.mend(unit::to_let_write(dir)) }
}

/// What makes a directory for the service.
pub(super) fn to_install(dir: &Path) -> String {
    format!("install -d -o sandbox-pool -g sandbox-pool -m 0700 {}", quoted(dir))
}

impl Directory {
    pub(super) fn at(path: &Path) -> Self {
        let mut directory = Self { path: path.to_owned(), ..Self::default() };
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            // What is being made goes with the next start, and a file system has its own.
            let is_temporary = Path::new(&name).extension().is_some_and(|extension| extension == "tmp");
            let passes = is_temporary || name == "lost+found";
            if is_own(&name) {
                // A link could have whoever mends it give away what it names.
                let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
                directory.own.extend(is_file.then(|| entry.path()));
            } else if !passes {
                directory.is_shared = true;
            }
        }
        // Others have a lock and a count as well.
        let is_log = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "jsonl");
        if !directory.own.iter().any(is_log) {
            directory.is_shared |= !directory.own.is_empty();
            directory.own.clear();
        }
        directory.is_shared |= is_right_below_root(path);
        directory.own.sort();
        directory
    }
}

/// One right below / is for many things, though it be empty: /srv, /mnt.
fn is_right_below_root(dir: &Path) -> bool {
    dir.is_absolute() && dir.components().count() <= 2
}

/// Whether the service writes a file of this name: the log, its snapshots, what was torn off it, the lock, and what
/// was counted.
pub(super) fn is_own(name: &str) -> bool {
    let between = |prefix, suffix| name.strip_prefix(prefix).and_then(|rest: &str| rest.strip_suffix(suffix));
    let is_number = |text: &str| text.len() == 20 && text.bytes().all(|byte| byte.is_ascii_digit());
    let numbered = between("log-", ".jsonl").or_else(|| between("snapshot-", ".json"));
    let torn = between("torn-", ".bin").and_then(|rest| rest.split_once('-'));
    ["lock", "counted.json"].contains(&name)
        || numbered.or(torn.map(|(number, _)| number)).is_some_and(is_number)
}

/// What in a directory the service may not use, as after a copy or a start by root, who may use everything.
fn there(directory: &Directory, service: &Account, file: &Path) -> Option<Finding> {
    let Directory { path, own, .. } = directory;
    let itself = service.barrier(path, FILL);
    if let Some(by) = itself.as_ref().filter(|by| path.canonicalize().is_ok_and(|path| path != by.path)) {
        return Some(behind(by, unit::private(&service.seen(&by.path)).is_some(), file));
    }
    let barred = own.iter().filter_map(|path| service.bar(path, WRITE));
    let barred: Vec<Barrier> = itself.into_iter().chain(barred).collect();
    barred.split_first().map(|(first, others)| unusable(directory, first, others, file))
}

/// A directory behind one that the service may not pass. A home is opened to nobody.
pub(super) fn behind(by: &Barrier, is_private: bool, file: &Path) -> Finding {
    let mend = if is_private { elsewhere(file) } else { format!("chmod o+x {}", quoted(&by.path)) };
    Finding::fail("data-dir", may_not_use(by), ONLY_THEN).mend(mend)
}

fn may_not_use(by: &Barrier) -> String {
    format!("{by}: the service's own user sandbox-pool may not use it")
}

/// The directory or files in it that the service may not use.
pub(super) fn unusable(directory: &Directory, first: &Barrier, others: &[Barrier], file: &Path) -> Finding {
    let more =
        if others.is_empty() { String::new() } else { format!(", nor {} more of its files", others.len()) };
    let finding = Finding::fail("data-dir", may_not_use(first) + &more, ONLY_THEN);
    let let_write = |finding: Finding, dir: &Path| {
        if directory.is_writable { finding } else { finding.mend(unit::to_let_write(dir)) }
    };
    if first.is_dir && directory.is_shared {
        let alone = directory.path.join("sandbox-pool");
        let own = directory.own.iter().map(PathBuf::as_path);
        let moved = if directory.own.is_empty() {
            String::new()
        } else {
            format!(" && mv -n {} {}/", list(own), quoted(&alone))
        };
        let set = change(file, &format!("POOL_DATA_DIR={}", quoted(&alone)));
        return let_write(finding.mend(to_install(&alone) + &moved).mend(set), &alone);
    }
    let barred = || std::iter::once(first).chain(others);
    let is_closed = |by: &&Barrier| if by.is_dir { by.mode != 0o700 } else { by.mode & 0o600 != 0o600 };
    let closed: Vec<&Path> = barred().filter(is_closed).map(|by| &*by.path).collect();
    // Not by root: what is the service's may have become a link to another thing.
    let opened = if closed.is_empty() {
        String::new()
    } else {
        format!(" && runuser -u sandbox-pool -- chmod u=rwX,go= {}", list(closed.into_iter()))
    };
    let owned = format!("chown -h sandbox-pool: {}", list(barred().map(|by| &*by.path)));
    let_write(finding.mend(owned + &opened), &directory.path)
}

fn list<'a>(paths: impl Iterator<Item = &'a Path>) -> String {
    paths.map(quoted).collect::<Vec<_>>().join(" ")
}
