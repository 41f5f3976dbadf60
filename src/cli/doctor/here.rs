//! Checks of this machine: the data directory with its disk, and the address to listen on.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

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

/// The data directory.
pub(super) fn data_dir(dir: &Path) -> Vec<Finding> {
    let place = existing(dir);
    let will_be = if place == dir { "" } else { ", made at the first start," };
    let mut findings = Vec::new();
    match sync_rate(&place) {
        Ok(rate) => {
            findings.push(Finding::ok("data-dir", format!("{}{will_be} can be written", dir.display())));
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

/// The directory, or the nearest above it that is there.
fn existing(dir: &Path) -> PathBuf {
    let there = dir.ancestors().find(|path| path.exists());
    there.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

fn unwritable(dir: &Path, place: &Path, error: &std::io::Error) -> Finding {
    let found = format!("{} cannot be written: {error}", place.display());
    let why = "nothing is answered before its event is in the log there";
    let finding = Finding::fail("data-dir", found, why);
    if error.kind() == ErrorKind::NotADirectory {
        return finding.mend("sandbox-pool settings | grep POOL_DATA_DIR");
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
    let mend = "sandbox-pool settings | grep LOG_RETENTION   # or make space";
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
    let elsewhere = "sandbox-pool settings | grep POOL_DATA_DIR   # and choose a directory on a local disk";
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
            Some(finding.mend("sandbox-pool settings | grep POOL_LISTEN   # ports below 1024 are root's"))
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
