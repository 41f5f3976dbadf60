//! The few file operations that the log stands on, so that tests can put a disk that loses power under it.
//!
//! It knows names in one directory and bytes, never what they mean. No other file of the log touches files,
//! but for the lock.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

/// One directory. A create, rename or remove is durable only after [`Disk::sync_dir`].
pub(super) trait Disk: Send + Sync {
    /// The name as messages show it.
    fn path(&self, name: &str) -> PathBuf;
    /// Names of all files, in any order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// An existing file, to read.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// An empty file, to write; one of that name is emptied.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Puts `from` in the place of `to`.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a name.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creates, renames and removes durable.
    fn sync_dir(&self) -> io::Result<()>;
}

/// One file. What is written is durable only after [`DiskFile::sync`].
pub(super) trait DiskFile: Send + Sync {
    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Reads up to `buffer.len()` bytes; 0 at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes some of `bytes`; says how many.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Cuts the file, or fills it with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes content and length durable. An error if the file has no name any more: nobody will find it again.
    fn sync(&self) -> io::Result<()>;
    /// Reserves space up to `len` without changing the length, where the file system can.
    fn reserve(&self, len: u64) -> io::Result<()>;
}

/// Writes all of `bytes`, in one call to the system unless it takes only a part.
pub(super) fn write_all_at(file: &dyn DiskFile, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written..];
                offset += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads a file from `offset` to `end`, or to its own end.
pub(super) fn read_from(file: Box<dyn DiskFile>, offset: u64, end: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    FileReader::new(file, offset).take(end.saturating_sub(offset)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a file from front to back.
pub(super) struct FileReader {
    file: Box<dyn DiskFile>,
    offset: u64,
}

impl FileReader {
    /// Begins at `offset`.
    pub(super) fn new(file: Box<dyn DiskFile>, offset: u64) -> Self {
        Self { file, offset }
    }
}

impl Read for FileReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

/// A directory of the machine.
pub(super) struct Directory(PathBuf);

impl Directory {
    /// The directory at `path`, which exists.
    pub(super) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }
}

impl Disk for Directory {
    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.0)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(io::Result::transpose).collect()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(File::open(self.path(name))?))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        Ok(Box::new(options.read(true).write(true).create(true).truncate(true).open(self.path(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }
}

impl DiskFile for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        FileExt::write_at(self, bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()?;
        if self.metadata()?.nlink() == 0 {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the file was removed"));
        }
        Ok(())
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        match fallocate(self, FallocateFlags::KEEP_SIZE, 0, len) {
            // The file system knows no reservation: a full disk is met while appending, and survived there.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A file that takes three bytes at most, and is interrupted before each.
    #[derive(Default)]
    struct Reluctant(Mutex<(Vec<u8>, bool)>);

    impl DiskFile for Reluctant {
        fn len(&self) -> io::Result<u64> {
            Ok(self.0.lock().unwrap().0.len() as u64)
        }
        fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
            Err(io::ErrorKind::Unsupported.into())
        }
        fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
            let (written, interrupted) = &mut *self.0.lock().unwrap();
            *interrupted = !*interrupted;
            if *interrupted {
                return Err(io::ErrorKind::Interrupted.into());
            }
            assert_eq!(offset, written.len() as u64);
            let taken = &bytes[..bytes.len().min(3)];
            written.extend_from_slice(taken);
            Ok(taken.len())
        }
        fn set_len(&self, _: u64) -> io::Result<()> {
            Ok(())
        }
        fn sync(&self) -> io::Result<()> {
            Ok(())
        }
        fn reserve(&self, _: u64) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_write_that_is_interrupted_or_partial_goes_on() {
        let file = Reluctant::default();
        write_all_at(&file, b"all of it", 0).unwrap();
        assert_eq!(file.0.lock().unwrap().0, b"all of it");
    }

    #[test]
    fn a_directory_does_what_it_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Directory::new(dir.path());
        let file = disk.create("one").unwrap();
        write_all_at(&*file, b"some bytes", 0).unwrap();
        file.set_len(4).unwrap();
        assert_eq!((file.len().unwrap(), read_from(file, 1, u64::MAX).unwrap()), (4, b"ome".to_vec()));
        disk.rename("one", "two").unwrap();
        assert_eq!(disk.list().unwrap(), ["two"]);
        disk.remove("two").unwrap();
        assert_eq!(disk.list().unwrap(), [""; 0]);
    }

    #[test]
    fn a_file_that_was_removed_cannot_be_synced() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Directory::new(dir.path());
        let file = disk.create("one").unwrap();
        file.sync().unwrap();
        fs::remove_dir_all(dir.path()).unwrap();
        write_all_at(&*file, b"some bytes", 0).unwrap();
        assert_eq!(file.sync().unwrap_err().to_string(), "the file was removed");
    }
}
