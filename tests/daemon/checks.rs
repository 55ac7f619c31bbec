//! `edge check`, of manifests and of the device.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Daemon, Manifest, Output, edge};

#[test]
fn everything_that_is_wrong_with_a_manifest_is_said_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = Manifest::new()
        .module("filter", "filter", json!({}))
        .key("filter", "restartPolicy", json!("allways"))
        .key("filter", "startupordr", json!(1))
        .route("up", "FROM /messages/* INTO $upstraem");
    let path = manifest.write(dir.path());
    let check = |more: &str| edge(["check"]).arg(&path).args(more).output("");
    let said = check("").code(1);
    for word in [
        "allways",
        "always",
        "startupordr",
        "startupOrder",
        "$upstraem",
        "2 errors, 1 warning",
    ] {
        assert!(said.out.contains(word), "no {word} in {said:#?}");
    }
    let report: Value = serde_json::from_str(&check("--output json").code(1).out).unwrap();
    assert_eq!(
        (&report["errors"], &report["warnings"]),
        (&json!(2), &json!(1)),
        "{report}"
    );
    for mistake in report["mistakes"].as_array().unwrap() {
        assert!(mistake["line"].as_u64().unwrap() > 1, "{mistake}");
        assert!(
            mistake["path"]
                .as_str()
                .unwrap()
                .starts_with("modulesContent"),
            "{mistake}"
        );
    }
}

#[test]
fn a_manifest_with_warnings_passes_unless_they_count_as_errors() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = Manifest::new().module("filter", "filter", json!({})).key(
        "filter",
        "startupordr",
        json!(1),
    );
    let path = manifest.write(dir.path());
    edge(["check"]).arg(&path).output("").code(0);
    let strict = edge(["check", "--warnings-as-errors"]);
    strict.arg(&path).output("").code(1);
    fs::write(dir.path().join("filter.wasm"), b"\0asm\x01\0\0\0").unwrap();
    let core = edge(["check"]).arg(&path).output("").code(1);
    assert!(core.out.contains("edge componentize"), "{core:#?}");
    fs::remove_file(dir.path().join("filter.wasm")).unwrap();
    let missing = edge(["check"]).arg(&path).output("").code(1);
    assert!(
        missing.out.contains("module filter: component"),
        "{missing:#?}"
    );
}

fn check(daemon: &Daemon, words: &str) -> Output {
    let config = daemon.dir().join("config.toml");
    daemon
        .edge("check --config")
        .arg(config)
        .args(words)
        .output("")
}

/// How a check came out.
#[track_caller]
fn status(daemon: &Daemon, id: &str) -> Value {
    let report: Value = serde_json::from_str(&check(daemon, "--output json").out).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let found = checks.iter().find(|check| check["id"] == id);
    found.unwrap_or_else(|| panic!("no {id}")).clone()
}

#[test]
fn a_device_is_looked_at_with_and_without_its_daemon() {
    let mut daemon = Daemon::with("containers.socket = \"off\"\nmqtt.listen = \"127.0.0.1:0\"\n");
    daemon.apply(&Manifest::new().module("filter", "filter", json!({})));
    for id in [
        "aziot-edged-config-well-formed",
        "connect-management-uri",
        "aziot-edge-version",
        "ports",
        "identity-certificate-expiry",
        "local-ca-certificate-expiry",
        "modules-running",
    ] {
        assert_eq!(
            status(&daemon, id)["status"],
            "ok",
            "{}",
            status(&daemon, id)
        );
    }
    assert_eq!(status(&daemon, "container-engine-uri")["status"], "skipped");

    daemon.stop().code(0);
    let said = check(&daemon, "").code(1);
    assert!(
        said.out.contains("error    connect-management-uri"),
        "{said:#?}"
    );
    assert!(said.out.contains("next: start it"), "{said:#?}");
    let named = "--dont-run connect-management-uri --output json";
    let report: Value = serde_json::from_str(&check(&daemon, named).code(0).out).unwrap();
    assert_eq!(report["errors"], 0, "{report}");
    check(&daemon, "--dont-run nonsense")
        .code(2)
        .says("edge check-list");
}

#[test]
fn a_port_of_somebody_else_and_a_module_that_fails_are_errors() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap();
    let daemon = Daemon::with(&format!(
        "https.listen = \"{at}\"\ncontainers.socket = \"off\"\n"
    ));
    let ports = status(&daemon, "ports");
    assert_eq!(ports["status"], "error", "{ports}");
    assert!(
        ports["detail"].as_str().unwrap().contains(&at.to_string()),
        "{ports}"
    );
    // It asks for a directory that is not there.
    let grants = json!({"grants": {"dirs": [{"host": "/no/such/folder", "guest": "/x"}]}});
    let path = Manifest::new()
        .module("files", "files", grants)
        .write(daemon.dir());
    daemon.edge("apply").arg(&path).output("").code(1);
    let modules = status(&daemon, "modules-running");
    assert_ne!(modules["status"], "ok", "{modules}");
    assert!(
        modules["detail"].as_str().unwrap().starts_with("files is "),
        "{modules}"
    );
}

#[test]
fn the_checks_have_names() {
    let list = edge(["check-list", "--json"]).output("").code(0);
    let list: Value = serde_json::from_str(&list.out).unwrap();
    let list = list.as_array().unwrap();
    assert!(
        list.len() >= 12 && list.iter().all(|check| check["about"].is_string()),
        "{list:?}"
    );
    let text = edge(["check-list"]).output("").code(0).out;
    assert!(text.contains("container-network-addresses"), "{text}");
}
