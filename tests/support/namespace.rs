//! A test in network and mount namespaces of its own: loopback only, every port free, and the gateway's
//! name in `/etc/hosts`.
//!
//! ```text
//!   test ──► unshare ──► ip, mount ──► this program again, that test only ──► its body
//! ```

use std::fs;
use std::process::Command;

use tempfile::tempdir;

/// The name of this host there.
pub const GATEWAY: &str = "edgegw";
/// Says in the environment that the namespaces are there.
pub const INSIDE: &str = "EDGE_TEST_NAMESPACE";

const ENTER: &str = r#"ip link set lo up && mount --bind "$1" /etc/hosts && shift && exec "$@""#;

/// Tests whose bodies run in namespaces of their own.
macro_rules! isolated {
    ($($(#[$attribute:meta])* fn $name:ident() $body:block)*) => {$(
        #[test]
        $(#[$attribute])*
        fn $name() {
            crate::support::namespace::run(concat!(module_path!(), "::", stringify!($name)), || $body);
        }
    )*};
}

pub(crate) use isolated;

/// Whether this process is in namespaces of its own.
pub fn inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs the body of a test, which is known by its path with the crate's name.
///
/// # Panics
/// The namespaces cannot be made, or the body panicked.
pub fn run(path: &str, body: impl FnOnce()) {
    if inside() {
        return body();
    }
    let (_, name) = path.split_once("::").expect("a path of a crate");
    let dir = tempdir().unwrap();
    let hosts = dir.path().join("hosts");
    fs::write(
        &hosts,
        format!("127.0.0.1 localhost {GATEWAY}\n::1 localhost\n"),
    )
    .unwrap();
    let mut command = Command::new("unshare");
    // As another user, one becomes root in a namespace of users.
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let status = command
        .args(["--net", "--mount", "--fork", "--kill-child"])
        .args(["sh", "-c", ENTER, "sh"])
        .arg(&hosts)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .expect("unshare is there: run .ci/install");
    assert!(
        status.success(),
        "{name} failed in its namespaces (see above)"
    );
}
