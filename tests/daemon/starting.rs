//! How it starts and ends.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::tempdir;

use crate::support::{Daemon, Manifest, edge};

#[test]
fn it_starts_without_settings_and_says_where_it_keeps_its_data() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("state");
    let mut running = edge(["daemon"])
        .env("EDGE_DATA_DIR", &data)
        .env("HOME", dir.path())
        .start();
    running.says(&format!("edge: data directory {}", data.display()));
    running.says("edge: ready");
    assert!(running.said().contains("mgmt.sock"), "{}", running.said());
    let list = edge(["list"]).env("EDGE_DATA_DIR", &data).output("");
    assert!(list.code(0).out.starts_with("there are no modules"));
    running.close_input();
    running.interrupt();
    running.end().code(0);
}

#[test]
fn told_to_end_it_ends_in_order_and_leaves_no_socket() {
    let mut daemon = Daemon::start();
    daemon.apply(&Manifest::new().module("filter", "filter", serde_json::json!({})));
    let output = daemon.stop().code(0);
    let at = |what: &str| {
        output
            .err
            .find(what)
            .unwrap_or_else(|| panic!("{what}: {output:#?}"))
    };
    assert!(at("stopping") < at("stopped"));
    assert!(
        !output.err.contains("WARN") && !output.err.contains("ERROR"),
        "{output:#?}"
    );
    assert!(!daemon.socket().exists());
    daemon
        .edge("list")
        .output("")
        .code(3)
        .says("no edge daemon answers");
}

#[test]
fn a_second_daemon_on_the_same_directory_is_refused_with_a_code_of_its_own() {
    let mut daemon = Daemon::start();
    let holder = daemon.running().id();
    let second = daemon.command().output("").code(79);
    let second = second.says("is in use by another edge daemon");
    second.says(&format!("(process {holder})"));
    daemon.json("list");
}

#[test]
fn the_directory_of_a_killed_daemon_is_free() {
    let mut daemon = Daemon::start();
    daemon.kill();
    assert!(daemon.socket().exists(), "a crash leaves the socket");
    daemon.again();
    daemon.json("list");
}

#[test]
fn the_socket_has_the_mode_and_the_data_are_private() {
    let daemon = Daemon::with("management.mode = \"0640\"\n");
    let mode = |name: &str| {
        let path = daemon.data().join(name);
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode("mgmt.sock"), 0o640);
    for folder in ["store", "components"] {
        assert_eq!(mode(folder), 0o700, "{folder}");
    }
}

#[test]
fn the_service_manager_hears_that_it_is_ready_and_that_it_stops() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    socket
        .set_read_timeout(Some(crate::support::PATIENCE))
        .unwrap();
    let running = edge(["daemon", "--data"])
        .arg(dir.path().join("data"))
        .env("NOTIFY_SOCKET", &path)
        .start();
    let told = || {
        let mut buffer = [0; 256];
        let count = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..count]).trim().to_owned()
    };
    assert_eq!(told(), "READY=1");
    running.terminate();
    assert_eq!(told(), "STOPPING=1");
    running.end().code(0);
}
