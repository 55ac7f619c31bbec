//! A module's socket as a file.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

use super::WorkloadListenError;

/// The file of a socket, which goes when this is dropped.
#[derive(Debug)]
pub(super) struct File(PathBuf);

impl Drop for File {
    fn drop(&mut self) {
        // The next one at this place replaces it anyway.
        let _ = fs::remove_file(&self.0);
    }
}

/// Listens at a path. A socket that is there gives way: the data directory has one daemon only. The file has its
/// mode before anybody can find it.
pub(super) fn listen(path: &Path, mode: u32) -> Result<(File, UnixListener), WorkloadListenError> {
    let failed = |why| WorkloadListenError::Socket {
        path: path.to_owned(),
        why,
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    match fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => {
            return Err(WorkloadListenError::NoSocket(path.to_owned()));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let prepare = || {
        let listener = UnixListener::bind(&new)?;
        fs::set_permissions(&new, Permissions::from_mode(mode))?;
        fs::rename(&new, path)?;
        Ok(listener)
    };
    match prepare() {
        Ok(listener) => Ok((File(path.to_owned()), listener)),
        Err(why) => {
            // What went wrong is worse than what it may leave behind.
            let _ = fs::remove_file(&new);
            Err(failed(why))
        }
    }
}
