//! The files under a log, as few operations as it needs: tests put other layers in their place, which
//! fail on purpose or forget what was not synced.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, FlockOperation};

/// A directory with files in it.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Makes a file of `size` bytes that read as zeros, with room on the device for all of them where
    /// the file system can promise that. Durable when this returns.
    ///
    /// # Errors
    /// No room, or there is a file of that name; then no new file is left.
    fn create(&self, name: &str, size: u64) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file to read and write.
    ///
    /// # Errors
    /// There is none, or it cannot be opened.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Writes a whole file and puts it in the place of one of that name. Durable when this returns.
    ///
    /// # Errors
    /// The earlier file, if any, is untouched.
    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Names and sizes of all files.
    ///
    /// # Errors
    /// The directory cannot be read.
    fn list(&self) -> io::Result<Vec<(String, u64)>>;

    /// Removes a file. Whether that is durable does not matter to the caller.
    ///
    /// # Errors
    /// It is still there.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Bytes that can still be written.
    ///
    /// # Errors
    /// The file system does not say.
    fn free(&self) -> io::Result<u64>;

    /// What to call it in messages.
    fn name(&self) -> String;
}

/// A file.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Writes all bytes at an offset.
    ///
    /// # Errors
    /// Any part may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Reads as many bytes as there are, at most the buffer's length.
    ///
    /// # Errors
    /// The device fails.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Puts all that was written on the device (`fdatasync`).
    ///
    /// # Errors
    /// Fatal: what the kernel dropped cannot be told, and a second try would succeed without it.
    fn sync(&self) -> io::Result<()>;

    /// Bytes in it.
    ///
    /// # Errors
    /// The device fails.
    fn size(&self) -> io::Result<u64>;

    /// Makes everything from `offset` on read as zeros, up to `size`. Durable when this returns.
    ///
    /// # Errors
    /// Part of it may be as before.
    fn zero_from(&self, offset: u64, size: u64) -> io::Result<()>;
}

/// A directory of the file system, locked against other processes while this lives.
#[derive(Debug)]
pub struct OsDisk {
    dir: PathBuf,
    handle: File,
    _lock: File,
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// Another process has it.
    #[error("{dir} is in use by another process")]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// It cannot be made or opened.
    #[error("cannot use {dir}: {source}")]
    Io {
        /// The directory.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The file that carries the lock.
const LOCK: &str = "lock";

impl OsDisk {
    /// Opens a directory, made if need be, and locks it.
    ///
    /// # Errors
    /// It cannot be used, or somebody else does.
    pub fn open(dir: &Path) -> Result<Self, DiskError> {
        let failed = |source| DiskError::Io {
            dir: dir.to_owned(),
            source,
        };
        std::fs::create_dir_all(dir).map_err(failed)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(dir.join(LOCK))
            .map_err(failed)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(DiskError::Locked {
                    dir: dir.to_owned(),
                });
            }
            Err(error) => return Err(failed(error.into())),
        }
        Ok(Self {
            handle: File::open(dir).map_err(failed)?,
            dir: dir.to_owned(),
            _lock: lock,
        })
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.handle.sync_all()
    }
}

impl Disk for OsDisk {
    fn create(&self, name: &str, size: u64) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.dir.join(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        let made = allocate(&file, size)
            .and_then(|()| file.sync_all())
            .and_then(|()| self.sync_dir());
        if let Err(error) = made {
            // What is left of it would look like a segment.
            std::fs::remove_file(&path)?;
            return Err(error);
        }
        Ok(Arc::new(OsFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.dir.join(name))?;
        Ok(Arc::new(OsFile(file)))
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.dir.join(format!("{name}.new"));
        let written = File::create(&temporary)
            .and_then(|mut file| {
                file.write_all(bytes)?;
                file.sync_all()
            })
            .and_then(|()| std::fs::rename(&temporary, self.dir.join(name)));
        if let Err(error) = written {
            // It may not even have been made.
            let _ = std::fs::remove_file(&temporary);
            return Err(error);
        }
        self.sync_dir()
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.dir)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                files.push((name, metadata.len()));
            }
        }
        Ok(files)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.dir.join(name))
    }

    fn free(&self) -> io::Result<u64> {
        let stat = rustix::fs::fstatvfs(&self.handle)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn name(&self) -> String {
        self.dir.display().to_string()
    }
}

#[derive(Debug)]
struct OsFile(File);

/// Gives a file its size, and room on the device where the file system knows how to reserve it.
fn allocate(file: &File, size: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, size) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => file.set_len(size),
        Err(error) => Err(error.into()),
    }
}

impl DiskFile for OsFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < buffer.len() {
            match self.0.read_at(&mut buffer[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(n) => read += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn zero_from(&self, offset: u64, size: u64) -> io::Result<()> {
        self.0.set_len(offset)?;
        // Without room for all of it the file is as good, it only promises less.
        allocate(&self.0, size.max(offset)).or_else(|_| self.0.set_len(size.max(offset)))?;
        self.0.sync_all()
    }
}
