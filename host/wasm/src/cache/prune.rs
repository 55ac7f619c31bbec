//! Keeping the folder small: what was used last stays.

use std::collections::HashSet;
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

use edge_core::Digest;
use rustix::fs::{AtFlags, Dir, FlockOperation, Mode, OFlags};

use super::{CacheError, CompileCache, io_error};

/// What [`CompileCache::prune`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Entries that were removed.
    pub removed: usize,
    /// Their size in bytes.
    pub removed_bytes: u64,
    /// Entries that are left.
    pub kept: usize,
    /// Their size in bytes.
    pub kept_bytes: u64,
}

struct Found {
    name: String,
    bytes: u64,
    /// Seconds and nanoseconds.
    used: (i64, i64),
}

impl CompileCache {
    /// Removes the entries that were unused for longest until the rest takes `max_bytes` at most,
    /// and what writers that died left behind. Running modules keep what they have mapped.
    ///
    /// # Errors
    /// Failed file operations. Entries that another process removes meanwhile are no error.
    pub fn prune(&self, max_bytes: u64) -> Result<Pruned, CacheError> {
        let (mut found, mut notes) = (Vec::new(), Vec::new());
        for name in self.names()? {
            if name.ends_with(".tmp") {
                self.remove_abandoned(&name)?;
            } else if name.ends_with(".cwasm") {
                found.extend(self.measure(name)?);
            } else if name.ends_with(".note") {
                notes.push(name);
            }
        }
        // Last used first; the name settles ties, so that two runs do the same.
        found.sort_by(|a, b| b.used.cmp(&a.used).then_with(|| a.name.cmp(&b.name)));
        let mut done = Pruned::default();
        let mut kept = HashSet::new();
        for entry in found {
            if done.removed == 0 && done.kept_bytes.saturating_add(entry.bytes) <= max_bytes {
                done.kept += 1;
                kept.extend(entry.name.split('.').next().map(str::to_owned));
                done.kept_bytes += entry.bytes;
            } else {
                self.remove_file(&entry.name)?;
                done.removed += 1;
                done.removed_bytes += entry.bytes;
            }
        }
        // A note goes with the last entry of its component.
        for note in notes {
            if note
                .split('.')
                .next()
                .is_some_and(|digest| !kept.contains(digest))
            {
                self.remove_file(&note)?;
            }
        }
        Ok(done)
    }

    /// Removes what there is of a component, for all engines. Returns the number of entries.
    ///
    /// # Errors
    /// Failed file operations.
    pub fn remove(&self, digest: &Digest) -> Result<usize, CacheError> {
        let prefix = format!("{}.", digest.hex());
        let mut removed = 0;
        for name in self.names()? {
            if name.starts_with(&prefix) && name.ends_with(".cwasm") {
                self.remove_file(&name)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    pub(super) fn names(&self) -> Result<Vec<String>, CacheError> {
        let failed = |error: rustix::io::Errno| io_error("list", &self.path, error.into());
        let mut names = Vec::new();
        for item in Dir::read_from(&self.dir).map_err(failed)? {
            let item = item.map_err(failed)?;
            // All our names are ASCII; other files are not ours to touch.
            if let Ok(name) = CStr::to_str(item.file_name()) {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    fn measure(&self, name: String) -> Result<Option<Found>, CacheError> {
        let Some(file) = self.open_quietly(&name)? else {
            return Ok(None);
        };
        let meta = file
            .metadata()
            .map_err(|source| io_error("read", &self.path.join(&name), source))?;
        Ok(Some(Found {
            name,
            bytes: meta.len(),
            used: (meta.mtime(), meta.mtime_nsec()),
        }))
    }

    /// Removes a file that is being written, unless its writer lives and so holds its lock.
    fn remove_abandoned(&self, name: &str) -> Result<(), CacheError> {
        let Some(file) = self.open_quietly(name)? else {
            return Ok(());
        };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => self.remove_file(name),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(()),
            Err(error) => Err(io_error("lock", &self.path.join(name), error.into())),
        }
    }

    /// Opens a file of the folder; `None` if it is gone, or is a link.
    fn open_quietly(&self, name: &str) -> Result<Option<File>, CacheError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.dir, name, flags, Mode::empty()) {
            Ok(fd) => Ok(Some(File::from(fd))),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::LOOP) => Ok(None),
            Err(error) => Err(io_error("open", &self.path.join(name), error.into())),
        }
    }

    fn remove_file(&self, name: &str) -> Result<(), CacheError> {
        match rustix::fs::unlinkat(&self.dir, name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => {
                let source = io::Error::from(error);
                Err(io_error("remove", &self.path.join(name), source))
            }
        }
    }
}
