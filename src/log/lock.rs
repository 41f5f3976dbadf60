//! The exclusive hold on a data directory: two writers would destroy the log.
//!
//! The lock is the kernel's, so that it ends with its process; the pid in the file is for the message only.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use super::error::OpenError;

const NAME: &str = "lock";

/// Holds the directory until dropped.
#[derive(Debug)]
pub(super) struct DirLock(#[expect(dead_code, reason = "held, not read")] File);

impl DirLock {
    /// Keeps a directory from being taken without writing into it; `None` if nobody ever took it.
    pub(super) fn keep_out(dir: &Path) -> Result<Option<Self>, OpenError> {
        let path = dir.join(NAME);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(OpenError::Io { doing: "open", path, source }),
        };
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Err(locked(dir, &mut file)),
            Err(TryLockError::Error(source)) => Err(OpenError::Io { doing: "lock", path, source }),
        }
    }

    /// Takes the directory, or says who has it.
    pub(super) fn take(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(NAME);
        let io_error = |doing, source| OpenError::Io { doing, path: path.clone(), source };
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|source| io_error("open", source))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(locked(dir, &mut file)),
            Err(TryLockError::Error(source)) => return Err(io_error("lock", source)),
        }
        write_pid(&mut file).map_err(|source| io_error("write", source))?;
        Ok(Self(file))
    }
}

/// The refusal, with who holds it.
fn locked(dir: &Path, file: &mut File) -> OpenError {
    let mut text = String::new();
    let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
    OpenError::Locked { dir: dir.to_owned(), pid }
}

/// Written over the old pid before what is left of it is cut, so that a full disk cannot stop a start.
fn write_pid(file: &mut File) -> io::Result<()> {
    let text = format!("{}\n", std::process::id());
    file.rewind()?;
    match file.write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(()),
        Err(error) => Err(error),
        Ok(()) => file.set_len(text.len() as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_does_not_stop_a_start_and_any_other_error_does() {
        let mut full = OpenOptions::new().write(true).open("/dev/full").expect("a disk that is always full");
        assert!(write_pid(&mut full).is_ok());
        let mut unwritable = File::open("/dev/null").expect("a file that is open to read");
        assert!(write_pid(&mut unwritable).is_err());
    }
}
