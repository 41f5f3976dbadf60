//! What the machine says: the process by /proc, the disk by its file system, torn ends of the log by their files.
//!
//! What cannot be read is left out; a measurement never fails anything.

use std::fs;
use std::path::Path;

/// The process, now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) cpu_seconds: u64,
    pub(super) resident_bytes: u64,
    pub(super) open_fds: u64,
    pub(super) max_fds: u64,
}

/// Where the log is, now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) free_bytes: u64,
    pub(super) size_bytes: u64,
    pub(super) torn_tails: u64,
}

/// Ticks of /proc in a second; the same on every Linux.
const TICKS: u64 = 100;

impl Process {
    pub(super) fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The command's name may have spaces and parentheses; the fields begin behind its last one.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let mut ticks = || fields.next()?.parse::<u64>().ok();
        let cpu_seconds = (ticks()? + ticks()?) / TICKS;
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let resident_kib: u64 = resident.trim().strip_suffix(" kB")?.parse().ok()?;
        let limits = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        Some(Self {
            cpu_seconds,
            resident_bytes: resident_kib * 1024,
            open_fds: fs::read_dir("/proc/self/fd").map_or(0, |fds| fds.count() as u64),
            max_fds: limits.current.unwrap_or(u64::MAX),
        })
    }
}

impl Place {
    /// It waits for the disk.
    pub(super) fn read(dir: &Path) -> Option<Self> {
        let disk = rustix::fs::statvfs(dir).ok()?;
        let is_torn = |name: &str| name.starts_with("torn-");
        let names = fs::read_dir(dir).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Some(Self {
            free_bytes: disk.f_bavail * disk.f_frsize,
            size_bytes: disk.f_blocks * disk.f_frsize,
            torn_tails: names.filter(|name| is_torn(name)).count() as u64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_and_its_disk_can_be_read() {
        let process = Process::read().unwrap();
        assert!(process.resident_bytes > 1 << 20, "{process:?}");
        assert!((1..process.max_fds).contains(&process.open_fds), "{process:?}");
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("torn-7.bin"), "x").unwrap();
        let place = Place::read(dir.path()).unwrap();
        assert!(place.free_bytes <= place.size_bytes && place.size_bytes > 0, "{place:?}");
        assert_eq!(place.torn_tails, 1);
    }
}
