//! Where things lie that belong to the user rather than to a device.

use std::ffi::OsString;
use std::path::PathBuf;

/// Where compiled components are kept: `$EDGE_CACHE_DIR`, else `edge` in the user's cache folder (XDG
/// base directories). `None` where there is neither; then nothing is kept.
pub fn cache_dir() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value: &OsString| !value.is_empty());
    if let Some(dir) = set("EDGE_CACHE_DIR") {
        return Some(dir.into());
    }
    let base = set("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute())
        .or_else(|| Some(PathBuf::from(set("HOME")?).join(".cache")))?;
    Some(base.join("edge").join("components"))
}
