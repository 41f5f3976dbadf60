//! Checks of this machine: the data directory with its disk, and the address to listen on.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::account::Account;
use super::finding::{Finding, Level, quoted};
use super::ownership::{self, Directory};
use super::settings::change;
use crate::clock::Stopwatch;

/// Syncs that are timed.
const SYNCS: u32 = 20;
/// Below this an allocation waits for the disk, not for PVE.
const SLOW_SYNCS_PER_SECOND: f64 = 50.0;
/// Two segments of the log.
const LEAST_SPACE: u64 = 128 << 20;
/// A year of a busy pool.
const GOOD_SPACE: u64 = 1 << 30;

/// Why the address matters.
const REACHED: &str = "callers reach the pool there";
/// Why the data directory must be writable.
pub(super) const ONLY_THEN: &str = "nothing is answered before its event is in the log there";

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

/// The data directory of a service, which may run as somebody else than whoever looks.
pub(super) fn data_dir(dir: &Path, service: Option<&Account>, file: &Path) -> Vec<Finding> {
    let place = existing(dir);
    let disk = rustix::fs::statvfs(&place).ok().map(|disk| {
        // A file system that makes inodes as they are needed, such as btrfs, counts none.
        let inodes = (disk.f_files > 0).then_some(disk.f_favail);
        space(&place, disk.f_frsize.saturating_mul(disk.f_bavail), inodes, file)
    });
    let mut findings = written(dir, &place, sync_rate(&place), disk.as_ref(), service, file);
    findings.extend(disk);
    if let Ok(disk) = rustix::fs::statfs(&place) {
        // The kernel's magic numbers are 32 bits wide, whatever the field's type is.
        findings.push(kind(dir, kind_of(u32::try_from(disk.f_type & 0xffff_ffff).unwrap_or(0)), file));
    }
    findings
}

/// What it means for the directory that its place was written to so many times a second, or was not.
pub(super) fn written(
    dir: &Path,
    place: &Path,
    rate: std::io::Result<f64>,
    disk: Option<&Finding>,
    service: Option<&Account>,
    file: &Path,
) -> Vec<Finding> {
    let no_space = disk.is_some_and(|finding| finding.level == Level::Fail);
    match rate {
        Ok(rate) => vec![used(dir, place, service, file), syncs(rate)],
        Err(error) if error.kind() == ErrorKind::StorageFull && no_space => {
            ["data-dir", "sync-rate"].map(|check| Finding::skip(check, "not looked at: no space")).into()
        }
        Err(error) => {
            let skip = Finding::skip("sync-rate", "not looked at: nothing can be written there");
            vec![unwritable(dir, place, &error, file), skip]
        }
    }
}

/// A directory, or its place, that whoever looks may use.
fn used(dir: &Path, place: &Path, service: Option<&Account>, file: &Path) -> Finding {
    let listed = if place == dir { std::fs::read_dir(dir).map(drop) } else { Ok(()) };
    let wanting = service.and_then(|service| ownership::wanting(dir, place, service, file));
    let wanting = wanting
        .or_else(|| listed.err().map(|error| unlistable(dir, &error)))
        .or_else(|| open_to_all(dir, file));
    let will_be = if place == dir { "" } else { ", made at the first start," };
    wanting.unwrap_or_else(|| Finding::ok("data-dir", format!("{}{will_be} can be written", dir.display())))
}

/// A directory that can be written to, and not listed.
pub(super) fn unlistable(dir: &Path, error: &std::io::Error) -> Finding {
    let found = format!("what is in {} cannot be told: {error}", dir.display());
    Finding::fail("data-dir", found, "the log is found by the names of its files")
        .mend(format!("ls -la {}", quoted(dir)))
}

/// Whether everybody on this machine may look into it.
fn open_to_all(dir: &Path, file: &Path) -> Option<Finding> {
    let mode = std::fs::metadata(dir).ok()?.mode() & 0o777;
    let found = format!("{} has mode {mode:04o}: everybody on this machine may look into it", dir.display());
    let why = "the log holds what callers sent as metadata";
    let mend = || {
        let alone = || change(file, "POOL_DATA_DIR") + "; choose a directory that is the log's alone";
        if Directory::at(dir).is_shared { alone() } else { format!("chmod 0700 {}", quoted(dir)) }
    };
    (mode & 0o007 != 0).then(|| Finding::warn("data-dir", found, why).mend(mend()))
}

/// The directory, or the nearest above it that is there.
fn existing(dir: &Path) -> PathBuf {
    let there = dir.ancestors().find(|path| path.exists());
    there.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

fn unwritable(dir: &Path, place: &Path, error: &std::io::Error, file: &Path) -> Finding {
    let found = format!("{} cannot be written: {error}", place.display());
    let finding = Finding::fail("data-dir", found, ONLY_THEN);
    let is_there = place == dir;
    let place = quoted(place);
    match error.kind() {
        ErrorKind::NotADirectory => finding.mend(change(file, "POOL_DATA_DIR")),
        ErrorKind::ReadOnlyFilesystem => finding
            .mend(format!("findmnt -T {place}   # why is it read-only? dmesg says whether the disk failed")),
        ErrorKind::PermissionDenied => {
            finding
                .mend("sudo sandbox-pool doctor   # where the service has a user of its own, only root can tell")
                // One that is there may be somebody else's.
                .mend(if is_there { format!("ls -ld {place}") } else { ownership::to_install(dir) + "   # by root" })
        }
        _ => finding.mend(format!("df -h {place}; df -i {place}; ls -ld {place}")),
    }
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
        .mend("cat /proc/pressure/io   # how long programs wait for the disk; with ZFS also: zpool status")
}

/// What is free; inodes only where they are counted.
pub(super) fn space(place: &Path, bytes: u64, inodes: Option<u64>, file: &Path) -> Finding {
    let found = format!("{} MiB free", bytes >> 20);
    let why = "without space no event can be written, and then nothing is handed out";
    let place = quoted(place);
    if inodes == Some(0) {
        return Finding::fail("disk-space", format!("{found}, and no inode"), why)
            .mend(format!("df -i {place}; du --inodes -xd1 {place}   # who has so many files?"));
    }
    let finding = match bytes {
        0..LEAST_SPACE => Finding::fail("disk-space", found, why),
        LEAST_SPACE..GOOD_SPACE => Finding::warn("disk-space", found, why),
        GOOD_SPACE.. => return Finding::ok("disk-space", found),
    };
    finding.mend(format!("df -h {place}   # make space")).mend(change(file, "LOG_RETENTION_BYTES"))
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

pub(super) fn kind(dir: &Path, kind: Kind, file: &Path) -> Finding {
    let dir = dir.display();
    let elsewhere = change(file, "POOL_DATA_DIR") + "; choose a directory on a local disk";
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

/// The address, if nobody has it and the service, where it has a user of its own, may have it. `None` if somebody
/// does: who, is asked over HTTP.
pub(super) fn listen(address: SocketAddr, has_user: bool, file: &Path) -> Option<Finding> {
    match TcpListener::bind(address) {
        Ok(_) if has_user && (1..first_unprivileged()).contains(&address.port()) => {
            Some(privileged(address, file))
        }
        Ok(_) => Some(Finding::ok("listen", format!("{address} is free"))),
        Err(error) => match error.kind() {
            ErrorKind::AddrInUse => None,
            ErrorKind::PermissionDenied => Some(privileged(address, file)),
            kind => {
                let found = match kind {
                    ErrorKind::AddrNotAvailable => format!("{address} is no address of this machine"),
                    _ => format!("{address} cannot be had: {error}"),
                };
                let finding =
                    Finding::fail("listen", found, REACHED).mend("ip -brief address   # what it has");
                Some(finding.mend(change(file, "POOL_LISTEN")))
            }
        },
    }
}

/// The first port that anybody may have.
fn first_unprivileged() -> u16 {
    let told = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    told.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1024)
}

/// A port that is root's.
pub(super) fn privileged(address: SocketAddr, file: &Path) -> Finding {
    let found = format!("{address} cannot be had: ports this low are root's, and the service is not root");
    Finding::fail("listen", found, REACHED)
        .mend(change(file, "POOL_LISTEN"))
        .mend(format!(
            "systemctl edit sandbox-pool.socket   # or, for systemd to hold it: [Socket], ListenStream=, \
             ListenStream={address}; and then:"
        ))
        // A socket is not started as long as its service runs.
        .mend(
            "systemctl stop sandbox-pool && systemctl enable --now sandbox-pool.socket && systemctl start sandbox-pool",
        )
}

/// An address that somebody has.
pub(super) fn taken(address: SocketAddr, by_service: Option<&str>) -> Finding {
    if let Some(version) = by_service {
        return Finding::ok("listen", format!("{address} is served by sandbox-pool {version}"));
    }
    let found = format!("something has {address} that does not answer as sandbox-pool does");
    Finding::fail("listen", found, REACHED).mend(format!(
        "ss -ltnp 'sport = :{}'   # says who: wait for a sandbox-pool that reads its log; else end it, or set \
         POOL_LISTEN",
        address.port()
    ))
}
