//! The socket: whose it is, who may use it, and that no other daemon's is taken away.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

use crate::settings::ManagementSettings;

/// Why the management API cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The socket cannot be made.
    #[error("cannot listen on management socket {path}: {why}")]
    Listen {
        /// The socket.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// Another daemon listens there.
    #[error(
        "management socket {0} is in use by another edge daemon: stop that one, or set [management] socket"
    )]
    InUse(PathBuf),
    /// Something else is there.
    #[error("{0} is there and is no socket: move it away, or set [management] socket")]
    NoSocket(PathBuf),
    /// No such group.
    #[error(
        "group {0:?} of the management socket is not in /etc/group: make it, or correct [management] group"
    )]
    NoGroup(String),
}

/// A socket with its file, which goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Socket {
    path: PathBuf,
}

impl Socket {
    /// Listens at a path. Whatever an earlier daemon left there gives way; the file has its mode and
    /// group before anybody can find it.
    pub(crate) fn listen(
        path: &Path,
        settings: &ManagementSettings,
    ) -> Result<(Self, UnixListener), SocketError> {
        let failed = |why| SocketError::Listen {
            path: path.to_owned(),
            why,
        };
        let group = settings.group.as_deref();
        let group = group
            .map(|name| group_id(name).ok_or_else(|| SocketError::NoGroup(name.to_owned())))
            .transpose()?;
        if let Some(folder) = path.parent()
            && !folder.is_dir()
        {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        match fs::symlink_metadata(path) {
            Ok(meta) if !meta.file_type().is_socket() => {
                return Err(SocketError::NoSocket(path.to_owned()));
            }
            Ok(_) => {
                if std::os::unix::net::UnixStream::connect(path).is_ok() {
                    return Err(SocketError::InUse(path.to_owned()));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let new = path.with_extension(format!("{}", std::process::id()));
        let _ = fs::remove_file(&new);
        let prepare = || {
            let listener = UnixListener::bind(&new)?;
            if let Some(group) = group {
                chown(&new, None, Some(group))?;
            }
            fs::set_permissions(&new, Permissions::from_mode(settings.mode))?;
            fs::rename(&new, path)?;
            Ok(listener)
        };
        let listener = prepare().map_err(|why| {
            let _ = fs::remove_file(&new);
            failed(why)
        })?;
        let path = path.to_owned();
        Ok((Self { path }, listener))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // The next daemon replaces it anyway.
        let _ = fs::remove_file(&self.path);
    }
}

/// The number of a group; numbers stand for themselves. None: there is no such group.
pub(crate) fn group_id(name: &str) -> Option<u32> {
    if let Ok(id) = name.parse() {
        return Some(id);
    }
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_dead_daemon_left_gives_way_and_what_a_living_one_has_does_not() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("run/mgmt.sock");
        let settings = ManagementSettings {
            mode: 0o600,
            ..ManagementSettings::default()
        };
        let (socket, listener) = Socket::listen(&path, &settings).expect("it is free");
        let mode = fs::metadata(&path)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(matches!(
            Socket::listen(&path, &settings),
            Err(SocketError::InUse(_))
        ));
        // As after a kill: the file stays, nobody listens.
        drop(listener);
        std::mem::forget(socket);
        let (socket, _listener) = Socket::listen(&path, &settings).expect("it is replaced");
        drop(socket);
        assert!(!path.exists());
        fs::write(&path, "mine").expect("file");
        assert!(matches!(
            Socket::listen(&path, &settings),
            Err(SocketError::NoSocket(_))
        ));
    }

    #[test]
    fn groups_are_found_by_name_and_number() {
        assert_eq!(group_id("root"), Some(0));
        assert_eq!(group_id("4711"), Some(4711));
        assert_eq!(group_id("no-such-group"), None);
    }
}
