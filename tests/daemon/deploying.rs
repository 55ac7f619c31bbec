//! Deployments: what is applied runs, and goes on running.

use std::fs;

use serde_json::json;

use crate::support::{Daemon, Manifest};

const UP: &str = "FROM /messages/modules/* INTO $upstream";

fn filter() -> Manifest {
    Manifest::new()
        .module("filter", "filter", json!({}))
        .route("up", UP)
}

fn hot() -> &'static str {
    "{\"machine\":{\"temperature\":30}}"
}

#[test]
fn what_is_applied_runs_and_messages_flow() {
    let daemon = Daemon::start();
    let output = daemon.apply(&filter());
    assert!(output.out.starts_with("deployment 1: "), "{output:#?}");
    let list = daemon.json("list");
    assert_eq!(list["modules"][0]["status"], "running", "{list}");
    let id = daemon.send("filter/input1", hot());
    assert_eq!(id.len(), 32, "{id}");
    daemon.waits("$upstream", 1);
}

#[test]
fn a_restart_keeps_deployment_messages_and_state_whatever_becomes_of_the_folder() {
    let mut daemon = Daemon::start();
    let manifest = Manifest::new()
        .module("sum", "aggregator", json!({"grants": {"state": true}}))
        .env("sum", "window", "3")
        .route("up", UP);
    daemon.apply(&manifest);
    for wanted in 1..=2 {
        for end in ["stop", "crash"] {
            daemon.send("sum/input1", "{\"temperature\":20}");
            match end {
                "stop" => drop(daemon.stop().code(0)),
                _ => daemon.kill(),
            }
            for file in ["sum.wasm", "deployment.json"] {
                // Gone after the first time.
                let _ = fs::remove_file(daemon.dir().join(file));
            }
            daemon.again();
            daemon.eventually("the module runs", |daemon| {
                let list = daemon.json("list");
                list["settled"] == true && list["modules"][0]["status"] == "running"
            });
        }
        daemon.send("sum/input1", "{\"temperature\":20}");
        daemon.waits("$upstream", wanted);
        daemon.waits("sum/input1", 0);
    }
    assert_eq!(daemon.json("list")["deployment"], 1);
}

#[test]
fn a_manifest_with_mistakes_changes_nothing_and_each_is_said() {
    let daemon = Daemon::start();
    daemon.apply(&filter());
    let wrong = filter()
        .module("other", "filter", json!({"memory": "lots"}))
        .route("broken", "FROM /messages INTO nowhere");
    let path = wrong.write(daemon.dir());
    let output = daemon.edge("apply").arg(&path).output("").code(2);
    for part in ["deployment.json:", "memory", "broken", "cannot be deployed"] {
        assert!(output.err.contains(part), "{part:?} is not in {output:#?}");
    }
    let list = daemon.json("list");
    assert_eq!(
        (
            &list["deployment"],
            list["modules"].as_array().unwrap().len()
        ),
        (&json!(1), 1)
    );
}

#[test]
fn a_component_that_is_missing_or_not_the_pinned_one_is_told_before_anything_changes() {
    let daemon = Daemon::start();
    let manifest = filter().module("other", "filter", json!({}));
    let path = manifest.write(daemon.dir());
    let text = fs::read_to_string(&path).unwrap();
    let image = "\"image\": \"file:filter.wasm\"";
    let pin = format!("{image}, \"digest\": \"sha256:{}\"", "0".repeat(64));
    assert!(text.contains(image), "{text}");
    fs::write(&path, text.replace(image, &pin)).unwrap();
    fs::remove_file(daemon.dir().join("other.wasm")).unwrap();
    let output = daemon.edge("apply").arg(&path).output("").code(2);
    for part in [
        "module filter: ",
        "expected sha256:000",
        "module other: cannot read component",
    ] {
        assert!(output.err.contains(part), "{part:?} is not in {output:#?}");
    }
    assert_eq!(daemon.json("list")["deployment"], 0);
}

#[test]
fn a_module_that_cannot_be_brought_up_is_told_and_hurts_no_other() {
    let daemon = Daemon::start();
    let manifest = filter().module("sum", "aggregator", json!({}));
    let path = manifest.write(daemon.dir());
    let output = daemon.edge("apply").arg(path).output("").code(1);
    assert!(
        output.out.contains("grant") && output.out.contains("sum"),
        "{output:#?}"
    );
    daemon.send("filter/input1", hot());
    daemon.waits("$upstream", 1);
}

#[test]
fn another_deployment_takes_the_place_and_components_that_nobody_names_go() {
    let daemon = Daemon::start();
    daemon.apply(&filter());
    daemon.apply(&Manifest::new().module("twin", "device_twin", json!({})));
    let list = daemon.json("list");
    let names: Vec<_> = list["modules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|module| &module["name"])
        .collect();
    assert_eq!(names, ["twin"]);
    // Both are kept to go back to; when ten other deployments were applied, the first one is not.
    let components = || {
        fs::read_dir(daemon.data().join("components"))
            .unwrap()
            .count()
    };
    assert_eq!(components(), 2);
    for n in 0..10 {
        let again = Manifest::new()
            .module("twin", "device_twin", json!({}))
            .env("twin", "n", &n.to_string());
        daemon.apply(&again);
    }
    assert_eq!(components(), 1);
}

#[test]
fn the_same_manifest_again_is_the_same_deployment() {
    let daemon = Daemon::start();
    daemon.apply(&filter());
    let started = daemon.json("list")["modules"][0]["started"].clone();
    daemon.apply(&filter());
    let list = daemon.json("list");
    assert_eq!(
        (&list["deployment"], &list["modules"][0]["started"]),
        (&json!(1), &started)
    );
}

#[test]
fn desired_properties_are_those_of_the_manifest_and_changes_by_hand_outlive_a_restart() {
    let mut daemon = Daemon::start();
    let manifest = |desired| {
        Manifest::new()
            .module("dev", "device_twin", json!({}))
            .twin("dev", desired)
    };
    daemon.apply(&manifest(json!({"interval": 7, "old": {"a": 1}})));
    daemon.apply(&manifest(json!({"interval": 8})));
    let desired = |daemon: &Daemon| daemon.json("twin get dev")["desired"]["properties"].clone();
    assert_eq!(desired(&daemon), json!({"interval": 8}));
    let set = daemon
        .edge("twin set dev")
        .arg("{\"interval\":9}")
        .output("")
        .code(0);
    assert!(set.out.contains("\"interval\": 9"), "{set:#?}");
    daemon.kill();
    daemon.again();
    assert_eq!(desired(&daemon), json!({"interval": 9}));
    daemon.eventually("it reports", |daemon| {
        daemon.json("twin get dev")["reported"]["properties"]["interval"] == 9
    });
    let answer = daemon.json("method dev getInterval");
    assert_eq!(answer["payload"], json!({"interval": 9}), "{answer}");
}
