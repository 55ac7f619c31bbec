//! Where things lie: those of a user, and those of a device.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Where compiled components are kept: `$EDGE_CACHE_DIR`, else `edge` in the user's cache folder (XDG
/// base directories). `None` where there is neither; then nothing is kept.
pub fn cache_dir() -> Option<PathBuf> {
    if let Some(dir) = set("EDGE_CACHE_DIR") {
        return Some(dir.into());
    }
    let base = absolute("XDG_CACHE_HOME").or_else(|| Some(home()?.join(".cache")))?;
    Some(base.join("edge").join("components"))
}

/// The data directory of a device that runs as root.
const SYSTEM_DATA: &str = "/var/lib/edge";
/// The management socket that belongs to it.
const SYSTEM_SOCKET: &str = "/run/edge/mgmt.sock";
/// The name of the management socket in other data directories.
const SOCKET: &str = "mgmt.sock";

/// Nothing says where a device's data lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no data directory: set --data, or $EDGE_DATA_DIR, or $HOME")]
pub struct NoDataDir;

/// Where a device keeps its data if nobody says otherwise: `$EDGE_DATA_DIR`, else `/var/lib/edge` as
/// root, else `edge` in the user's state folder (XDG base directories).
///
/// # Errors
/// There is none of them.
pub fn data_dir() -> Result<PathBuf, NoDataDir> {
    if let Some(dir) = set("EDGE_DATA_DIR") {
        return Ok(dir.into());
    }
    if is_root() {
        return Ok(SYSTEM_DATA.into());
    }
    let base = absolute("XDG_STATE_HOME").or_else(|| Some(home()?.join(".local/state")));
    Ok(base.ok_or(NoDataDir)?.join("edge"))
}

/// The management socket of the device in this data directory.
pub fn socket(data: &Path) -> PathBuf {
    match data == Path::new(SYSTEM_DATA) && is_root() {
        true => SYSTEM_SOCKET.into(),
        false => data.join(SOCKET),
    }
}

/// Where commands look for a daemon whose socket and data directory nobody names.
///
/// # Errors
/// There is no data directory.
pub fn find_socket(data: Option<&Path>) -> Result<PathBuf, NoDataDir> {
    if let Some(data) = data {
        return Ok(socket(data));
    }
    if set("EDGE_DATA_DIR").is_none() && Path::new(SYSTEM_SOCKET).exists() {
        return Ok(SYSTEM_SOCKET.into());
    }
    Ok(socket(&data_dir()?))
}

/// The configuration that is read where none is named: `/etc/edge/config.toml` as root, else that in
/// the user's configuration folder; if it is there.
pub fn config_file() -> Option<PathBuf> {
    let path = match is_root() {
        true => PathBuf::from("/etc/edge/config.toml"),
        false => absolute("XDG_CONFIG_HOME")
            .or_else(|| Some(home()?.join(".config")))?
            .join("edge/config.toml"),
    };
    path.exists().then_some(path)
}

fn set(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn absolute(name: &str) -> Option<PathBuf> {
    set(name).map(PathBuf::from).filter(|dir| dir.is_absolute())
}

fn home() -> Option<PathBuf> {
    set("HOME").map(PathBuf::from)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
