//! Deployments that do not work, and the way back.

use serde_json::{Value, json};

use crate::support::{Daemon, Manifest};

const QUICK: &str = "[agent]\nrollback-stable = \"100ms\"\n";

fn works() -> Manifest {
    Manifest::new()
        .module("filter", "filter", json!({}))
        .route("up", "FROM /messages/* INTO $upstream")
}

/// Its component asks for what it is not granted.
fn fails() -> Manifest {
    works()
        .module("sum", "aggregator", json!({}))
        .twin("filter", json!({"threshold": 5}))
}

fn deployments(daemon: &Daemon) -> Value {
    daemon.json("deployments")
}

fn becomes_good(daemon: &Daemon, number: u64) {
    daemon.eventually("the deployment is known to work", |daemon| {
        let newest = &deployments(daemon)[0];
        newest["number"] == number && newest["state"] == "good"
    });
}

#[test]
fn a_deployment_that_fails_gives_way_to_the_last_good_one_whole() {
    let mut daemon = Daemon::with(QUICK);
    daemon.apply(&works());
    becomes_good(&daemon, 1);
    let path = fails().agent("rollback", json!(true)).write(daemon.dir());
    let words = format!("apply --no-wait {}", path.display());
    daemon.edge(&words).output("").code(0);
    becomes_good(&daemon, 3);
    let kept = deployments(&daemon);
    assert_eq!(kept[0]["brings_back"], 1, "{kept}");
    assert_eq!(kept[1]["state"], "failed", "{kept}");
    let why = kept[1]["why"].as_str().unwrap_or_default();
    let named = why.starts_with("deployment 2 does not work: module sum: prepare failed");
    assert!(named && why.contains("state"), "{why}");
    let list = daemon.json("list");
    assert_eq!(list["modules"].as_array().map(Vec::len), Some(1), "{list}");
    // Its routes and components are those of the first; so they are after a crash.
    daemon.kill();
    daemon.again();
    daemon.eventually("it runs", |daemon| daemon.json("list")["settled"] == true);
    daemon.send("filter/input1", "{\"machine\":{\"temperature\":30}}");
    daemon.waits("$upstream", 1);
    assert_eq!(deployments(&daemon)[0]["number"], 3);
}

#[test]
fn what_does_not_come_up_in_time_gives_way_where_the_settings_say_so() {
    let settings =
        "[agent]\nrollback = true\nrollback-within = \"1s\"\nrollback-stable = \"100ms\"\n";
    let daemon = Daemon::with(settings);
    daemon.apply(&works());
    becomes_good(&daemon, 1);
    // Nobody listens there, so whether the image is there cannot be said: it is tried again and again.
    let stuck = works().container("cam", "127.0.0.1:1/cam:1", json!({}));
    let path = stuck.write(daemon.dir());
    let words = format!("apply --no-wait {}", path.display());
    daemon.edge(&words).output("").code(0);
    becomes_good(&daemon, 3);
    let why = deployments(&daemon)[1]["why"].to_string();
    assert!(why.contains("after 1s: module cam: "), "{why}");
}

#[test]
fn without_being_asked_to_a_deployment_that_fails_stays() {
    let daemon = Daemon::with(QUICK);
    daemon.apply(&works());
    becomes_good(&daemon, 1);
    let path = fails().write(daemon.dir());
    daemon.edge("apply").arg(&path).output("").code(1);
    let kept = deployments(&daemon);
    assert_eq!(
        (&kept[0]["number"], &kept[0]["state"]),
        (&json!(2), &json!("trial"))
    );
    assert_eq!(
        daemon.json("list")["modules"].as_array().map(Vec::len),
        Some(2)
    );
}

#[test]
fn an_earlier_deployment_is_brought_back_by_hand_with_the_components_that_it_had() {
    let daemon = Daemon::with(QUICK);
    let error = daemon.edge("rollback").output("").code(2).err;
    assert!(
        error.contains("no earlier deployment is known to work"),
        "{error}"
    );
    let at = |threshold: u64| works().twin("filter", json!({ "threshold": threshold }));
    daemon.apply(&at(10));
    becomes_good(&daemon, 1);
    daemon.apply(&at(20));
    becomes_good(&daemon, 2);
    std::fs::remove_file(daemon.dir().join("filter.wasm")).unwrap();
    let brought = daemon.json("rollback");
    assert_eq!(brought["deployment"]["number"], 3, "{brought}");
    assert_eq!(brought["deployment"]["brings_back"], 1, "{brought}");
    let desired = |daemon: &Daemon| daemon.json("twin get filter")["desired"]["properties"].clone();
    assert_eq!(desired(&daemon), json!({"threshold": 10}));
    let brought = daemon.json("rollback 2");
    assert_eq!(brought["deployment"]["brings_back"], 2, "{brought}");
    assert_eq!(desired(&daemon), json!({"threshold": 20}));
    for (words, expected) in [
        ("rollback 4", "deployment 4 is in force already"),
        ("rollback 17", "deployment 17 is not kept"),
    ] {
        let error = daemon.edge(words).output("").code(2).err;
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn what_became_of_the_last_manifest_is_said_with_the_codes_of_iot_edge() {
    let daemon = Daemon::start();
    let code = |daemon: &Daemon| daemon.json("list")["last_desired"]["code"].clone();
    assert_eq!(code(&daemon), 417);
    daemon.apply(&works());
    assert_eq!(code(&daemon), 200);
    for (key, value, expected) in [
        ("schemaVersion", json!("2.0"), 412),
        ("modules", json!(5), 400),
        ("schemaVersion", json!("new"), 400),
    ] {
        let path = works().write(daemon.dir());
        let text = std::fs::read_to_string(&path).unwrap();
        let mut manifest: Value = serde_json::from_str(&text).unwrap();
        manifest["modulesContent"]["$edgeAgent"]["properties.desired"][key] = value;
        std::fs::write(&path, manifest.to_string()).unwrap();
        daemon.edge("apply").arg(&path).output("").code(2);
        assert_eq!(code(&daemon), expected);
        let list = daemon.json("list");
        assert_eq!(list["modules"][0]["status"], "running", "{list}");
    }
    daemon.apply(&works());
    assert_eq!(code(&daemon), 200);
    let path = fails().write(daemon.dir());
    daemon.edge("apply").arg(&path).output("").code(1);
    assert_eq!(code(&daemon), 500);
}
