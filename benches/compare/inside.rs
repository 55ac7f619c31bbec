//! The namespaces that this program runs in: a network of its own, where the daemon has the port that containers
//! know, and `/etc/hosts` with its name.

use std::ffi::OsStr;
use std::fs;
use std::process::{Command, ExitCode};

use super::edge::namespace::{self, GATEWAY};

/// As for tests; there is nothing to be kept of it.
const ENTER: &str = r#"ip link set lo up && mount --bind "$1" /etc/hosts && shift && exec "$@""#;

/// Runs this program again in namespaces, and gives its end. `None`: go on here, inside them or without them.
pub fn enter() -> Option<ExitCode> {
    if namespace::inside() || !rustix::process::geteuid().is_root() {
        return None;
    }
    let dir = tempfile::tempdir().ok()?;
    let hosts = dir.path().join("hosts");
    fs::write(
        &hosts,
        format!("127.0.0.1 localhost {GATEWAY}\n::1 localhost\n"),
    )
    .ok()?;
    let program = std::env::current_exe().ok()?;
    let mut words = vec![hosts.as_os_str(), program.as_os_str()];
    let own: Vec<_> = std::env::args_os().skip(1).collect();
    words.extend(own.iter().map(|word| -> &OsStr { word }));
    let status = Command::new("unshare")
        .args([
            "--net",
            "--mount",
            "--fork",
            "--kill-child",
            "sh",
            "-c",
            ENTER,
            "sh",
        ])
        .args(words)
        .env(namespace::INSIDE, "1")
        .status()
        .ok()?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Some(ExitCode::from(code.unwrap_or(1)))
}
