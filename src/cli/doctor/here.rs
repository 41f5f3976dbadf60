//! Checks of this machine: the data directory with its disk, and the address to listen on.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::change;
use super::finding::Finding;
use crate::clock::Stopwatch;

/// Syncs that are timed.
const SYNCS: u32 = 20;
/// Below this an allocation waits for the disk, not for PVE.
const SLOW_SYNCS_PER_SECOND: f64 = 50.0;
/// Two segments of the log.
const LEAST_SPACE: u64 = 128 << 20;
/// A year of a busy pool.
const GOOD_SPACE: u64 = 1 << 30;

/// Why the data directory must be writable.
const ONLY_THEN: &str = "nothing is answered before its event is in the log there";

/// Where a file system keeps what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// On a disk.
    Disk,
    /// In memory.
    Memory,
    /// On another machine.
    Network,
}

/// Who a service runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) user: u32,
    pub(super) group: u32,
}

impl Account {
    /// The one that the unit names, if there is such a user here. Whoever is not root looks with his own eyes.
    pub(super) fn of_the_service() -> Option<Self> {
        rustix::process::geteuid()
            .is_root()
            .then(|| Self::listed(&std::fs::read_to_string("/etc/passwd").ok()?))?
    }

    /// `sandbox-pool` in a table of users.
    pub(super) fn listed(passwd: &str) -> Option<Self> {
        let mut fields =
            passwd.lines().find_map(|line| line.strip_prefix("sandbox-pool:"))?.split(':').skip(1);
        Some(Self { user: fields.next()?.parse().ok()?, group: fields.next()?.parse().ok()? })
    }

    /// Whether it may read and write a file, and enter a directory.
    fn may_use(self, what: &std::fs::Metadata) -> bool {
        let needed = if what.is_dir() { 0o7 } else { 0o6 };
        let class = if what.uid() == self.user {
            6
        } else if what.gid() == self.group {
            3
        } else {
            0
        };
        what.mode() >> class & needed == needed
    }
}

/// The data directory of a service, which may run as somebody else than whoever looks.
pub(super) fn data_dir(dir: &Path, service: Option<Account>) -> Vec<Finding> {
    let place = existing(dir);
    let will_be = if place == dir { "" } else { ", made at the first start," };
    let mut findings = Vec::new();
    match sync_rate(&place) {
        Ok(rate) => {
            let well = || Finding::ok("data-dir", format!("{}{will_be} can be written", dir.display()));
            let alien = service.and_then(|service| alien(dir, service));
            findings.push(alien.or_else(|| open_to_all(dir)).unwrap_or_else(well));
            findings.push(syncs(rate));
        }
        Err(error) => findings.push(unwritable(dir, &place, &error)),
    }
    if let Ok(disk) = rustix::fs::statvfs(&place) {
        findings.push(space(disk.f_frsize.saturating_mul(disk.f_bavail), disk.f_favail));
    }
    if let Ok(disk) = rustix::fs::statfs(&place) {
        // The kernel's magic numbers are 32 bits wide, whatever the field's type is.
        findings.push(kind(dir, kind_of(u32::try_from(disk.f_type & 0xffff_ffff).unwrap_or(0))));
    }
    findings
}

/// What in the directory the service may not use, as after a copy or a start by root, who may use everything.
fn alien(dir: &Path, service: Account) -> Option<Finding> {
    let below = std::fs::read_dir(dir).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut paths: Vec<PathBuf> = below.collect();
    paths.sort();
    paths.insert(0, dir.to_owned());
    let (path, what) = paths.into_iter().find_map(|path| {
        let what = std::fs::metadata(&path).ok().filter(|what| !service.may_use(what))?;
        Some((path, what))
    })?;
    Some(unusable(dir, &path, what.uid(), what.mode() & 0o777))
}

/// Something there that the service may not use.
pub(super) fn unusable(dir: &Path, path: &Path, owner: u32, mode: u32) -> Finding {
    let found = format!(
        "{} is of user {owner} with mode {mode:04o}: the service's own user sandbox-pool may not write it",
        path.display()
    );
    let dir = dir.display();
    let mend = format!("chown -R sandbox-pool: {dir} && chmod -R u=rwX,go= {dir}");
    Finding::fail("data-dir", found, ONLY_THEN).mend(mend)
}

/// Whether everybody on this machine may look into it.
fn open_to_all(dir: &Path) -> Option<Finding> {
    let mode = std::fs::metadata(dir).ok()?.mode() & 0o777;
    let found = format!("{} has mode {mode:04o}: everybody on this machine may look into it", dir.display());
    let why = "the log holds what callers sent as metadata";
    (mode & 0o007 != 0)
        .then(|| Finding::warn("data-dir", found, why).mend(format!("chmod 0700 {}", dir.display())))
}

/// The directory, or the nearest above it that is there.
fn existing(dir: &Path) -> PathBuf {
    let there = dir.ancestors().find(|path| path.exists());
    there.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

fn unwritable(dir: &Path, place: &Path, error: &std::io::Error) -> Finding {
    let found = format!("{} cannot be written: {error}", place.display());
    let finding = Finding::fail("data-dir", found, ONLY_THEN);
    if error.kind() == ErrorKind::NotADirectory {
        return finding.mend(change("POOL_DATA_DIR"));
    }
    finding.mend(format!("install -d -o sandbox-pool -g sandbox-pool -m 0700 {}", dir.display()))
}

/// Durable writes per second, measured with a file that is removed again.
fn sync_rate(dir: &Path) -> std::io::Result<f64> {
    let path = dir.join(format!("doctor-{}.tmp", std::process::id()));
    let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
    let timed = time_syncs(file);
    std::fs::remove_file(&path)?;
    timed
}

fn time_syncs(mut file: File) -> std::io::Result<f64> {
    let watch = Stopwatch::start();
    for _ in 0..SYNCS {
        file.write_all(&[b'\n'; 512])?;
        file.sync_data()?;
    }
    Ok(f64::from(SYNCS) / watch.elapsed().as_secs_f64().max(1e-6))
}

pub(super) fn syncs(rate: f64) -> Finding {
    let found = format!("{rate:.0} durable writes a second");
    if rate >= SLOW_SYNCS_PER_SECOND {
        return Finding::ok("sync-rate", found);
    }
    let why = "each allocation waits for one; a disk this slow is felt by every caller";
    Finding::warn("sync-rate", found, why)
        .mend("zpool status   # or: iostat -x 5, to see who keeps the disk busy")
}

pub(super) fn space(bytes: u64, inodes: u64) -> Finding {
    let found = format!("{} MiB free", bytes >> 20);
    let why = "without space no event can be written, and then nothing is handed out";
    let mend = change("LOG_RETENTION_BYTES") + "; or make space";
    match bytes {
        _ if inodes == 0 && bytes < GOOD_SPACE => {
            Finding::fail("disk-space", format!("{found}, and no inode"), why).mend(mend)
        }
        0..LEAST_SPACE => Finding::fail("disk-space", found, why).mend(mend),
        LEAST_SPACE..GOOD_SPACE => Finding::warn("disk-space", found, why).mend(mend),
        GOOD_SPACE.. => Finding::ok("disk-space", found),
    }
}

/// By the kernel's magic numbers.
pub(super) fn kind_of(magic: u32) -> Kind {
    match magic {
        // tmpfs, ramfs
        0x0102_1994 | 0x8584_58f6 => Kind::Memory,
        // NFS, SMB2, CIFS, 9P, FUSE (of which sshfs and glusterfs are)
        0x6969 | 0xfe53_4d42 | 0xff53_4d42 | 0x0102_1997 | 0x6573_5546 => Kind::Network,
        _ => Kind::Disk,
    }
}

pub(super) fn kind(dir: &Path, kind: Kind) -> Finding {
    let dir = dir.display();
    let elsewhere = change("POOL_DATA_DIR") + "; choose a directory on a local disk";
    match kind {
        Kind::Disk => Finding::ok("file-system", format!("{dir} is on a local disk")),
        Kind::Memory => {
            let why = "a restart of the machine forgets who holds which container";
            Finding::warn("file-system", format!("{dir} is in memory"), why).mend(elsewhere)
        }
        Kind::Network => {
            let why = "locks and syncs there are as good as the server's; the log stands on both";
            Finding::warn("file-system", format!("{dir} is on a network file system"), why).mend(elsewhere)
        }
    }
}

/// The address, if nobody has it. `None` if somebody does: who, is asked over HTTP.
pub(super) fn listen(address: SocketAddr) -> Option<Finding> {
    let why = "callers reach the pool there";
    match TcpListener::bind(address) {
        Ok(_) => Some(Finding::ok("listen", format!("{address} is free"))),
        Err(error) if error.kind() == ErrorKind::AddrInUse => None,
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {
            let finding = Finding::fail("listen", format!("{address} is no address of this machine"), why);
            Some(finding.mend("ip -brief address   # and set POOL_LISTEN to one of these"))
        }
        Err(error) => {
            let finding = Finding::fail("listen", format!("{address} cannot be had: {error}"), why);
            Some(finding.mend(change("POOL_LISTEN") + "; ports below 1024 are root's"))
        }
    }
}

/// An address that somebody has.
pub(super) fn taken(address: SocketAddr, by_service: Option<&str>) -> Finding {
    if let Some(version) = by_service {
        return Finding::ok("listen", format!("{address} is served by sandbox-pool {version}"));
    }
    Finding::fail("listen", format!("something else has {address}"), "callers reach the pool there")
        .mend(format!("ss -ltnp 'sport = :{}'   # says who; or set POOL_LISTEN", address.port()))
}
