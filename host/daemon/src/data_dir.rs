//! The folder with everything that a device keeps, and the lock that says whose it is.
//!
//! ```text
//!   lock           held by the daemon that runs here; its process id
//!   mgmt.sock      the management API, unless it is elsewhere
//!   store/         the log
//!   components/    the components of the kept deployments by digest, and their signatures
//!   cache/         compiled components, by digest and engine
//! ```
//!
//! Others may pass through the folder, to reach the socket; what lies in it is the daemon's alone.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// A data directory that belongs to this process until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// Why a data directory is not ours.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It cannot be made or entered.
    #[error("cannot use data directory {path}: {why}")]
    Unusable {
        /// The folder or a file in it.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// Another daemon has it.
    #[error(
        "data directory {path} is in use by another edge daemon{}: stop that one, or name another directory with --data",
        .holder.map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    InUse {
        /// The folder.
        path: PathBuf,
        /// Its process, if it is known.
        holder: Option<u32>,
    },
}

impl DataDir {
    /// Makes the folder if need be and takes it.
    ///
    /// # Errors
    /// It cannot be used, or another daemon uses it.
    pub fn take(path: &Path) -> Result<Self, DataDirError> {
        let unusable = |path: &Path| {
            let path = path.to_owned();
            move |why| DataDirError::Unusable { path, why }
        };
        if !path.is_dir() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o711)
                .create(path)
                .map_err(unusable(path))?;
        }
        // Sockets and other processes must find it whatever the current folder is.
        let path = path.canonicalize().map_err(unusable(path))?;
        let lock = path.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .open(&lock)
            .map_err(unusable(&lock))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                // A holder that is not known is no reason to say less.
                let _ = (&mut file).take(32).read_to_string(&mut text);
                let holder = text.trim().parse().ok();
                return Err(DataDirError::InUse { path, holder });
            }
            Err(errno) => return Err(unusable(&lock)(errno.into())),
        }
        let mut own = || {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        if let Err(error) = own() {
            // The lock holds without it; a full device must not keep the daemon from making room.
            tracing::warn!(%error, "process id not noted in the lock file");
        }
        Ok(Self { path, _lock: file })
    }

    /// The folder, from `/` on.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A folder in it, for the daemon alone; made if need be.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn folder(&self, name: &str) -> Result<PathBuf, DataDirError> {
        let path = self.path.join(name);
        private_folder(&path).map_err(|why| DataDirError::Unusable {
            path: path.clone(),
            why,
        })?;
        Ok(path)
    }
}

/// Makes a folder that nobody else may enter, if it is not there.
pub(crate) fn private_folder(path: &Path) -> io::Result<()> {
    match path.is_dir() {
        true => Ok(()),
        false => DirBuilder::new().recursive(true).mode(0o700).create(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_belongs_to_one_daemon_at_a_time() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("new/data");
        let first = DataDir::take(&path).expect("it is free");
        let Err(DataDirError::InUse { holder, .. }) = DataDir::take(&path) else {
            panic!("it was taken twice");
        };
        assert_eq!(holder, Some(std::process::id()));
        drop(first);
        DataDir::take(&path).expect("it is free again");
    }
}
