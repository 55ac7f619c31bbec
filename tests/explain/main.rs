//! `edge explain`, from outside: why routes take a message, or do not.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

use std::fs;

use serde_json::{Value, json};
use support::{Edge, Output, edge};
use tempfile::tempdir;

fn explain(route: &str) -> Edge {
    edge(["explain", "--route", route])
}

const HOT: &str = "FROM /messages/* WHERE $body.t > 20 AND place = 'roof' INTO $upstream";

#[test]
fn a_message_that_matches_is_told_part_by_part() {
    let output = explain(HOT)
        .property("place", "roof")
        .arg("--body")
        .arg("{\"t\":31}")
        .output("");
    let output = output.code(0).silent();
    let first = output.out.lines().next().unwrap();
    assert_eq!(first, format!("--route 1: {HOT}"));
    assert!(!output.out.contains("not taken"), "{output:#?}");
    for part in [
        "FROM /messages/*: matches",
        "$body.t = 31",
        "place = 'roof' = true",
        "INTO $upstream",
    ] {
        assert!(output.out.contains(part), "{part:?} is not in {output:#?}");
    }
}

#[test]
fn a_message_that_does_not_match_is_told_with_the_part_that_is_false() {
    let output = explain(HOT)
        .property("place", "cellar")
        .arg("--body")
        .arg("{\"t\":31}")
        .output("");
    let output = output.code(0).silent();
    for part in ["not taken", "false", "cellar"] {
        assert!(output.out.contains(part), "{part:?} is not in {output:#?}");
    }
}

#[test]
fn what_is_undefined_is_told_with_the_reason() {
    let told = |output: Output, reason: &str| {
        let output = output.code(0);
        let all = output.out.contains("undefined") && output.out.contains(reason);
        assert!(all, "{reason:?} is not in {output:#?}");
    };
    told(
        explain(HOT)
            .property("place", "roof")
            .args("--body text")
            .output(""),
        "contentType is missing",
    );
    told(
        explain("FROM /messages/* WHERE place = 'roof' INTO $upstream").output(""),
        "place",
    );
}

#[test]
fn the_source_decides_which_routes_are_asked() {
    let route = "FROM /messages/modules/sensor/outputs/hot INTO $upstream";
    let from = |from: &str| {
        explain(route)
            .args("--from")
            .args(from)
            .output("")
            .code(0)
            .out
    };
    assert!(!from("sensor/hot").contains("not taken"));
    for other in ["sensor/cold", "sensor", "other/hot"] {
        assert!(
            from(other).contains("not taken"),
            "{other}: {}",
            from(other)
        );
    }
    assert!(explain(route).output("").code(0).out.contains("not taken"));
}

#[test]
fn json_is_one_object_for_each_route() {
    let command = explain(HOT)
        .arg("--route")
        .arg("FROM /messages INTO $upstream")
        .args("--json --body x");
    let lines = command.output("").code(0).silent().lines();
    let names: Vec<&Value> = lines.iter().map(|line| &line["route"]).collect();
    assert_eq!(names, [&json!("--route 1"), &json!("--route 2")]);
    assert_eq!(lines[0]["text"], json!(HOT));
    assert_eq!(lines[0]["endpoint"], json!("$upstream"));
    assert!(lines[0]["explanation"].is_object());
}

#[test]
fn routes_of_a_manifest_are_explained_by_their_names() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("m.json");
    let hub = json!({"properties.desired": {"schemaVersion": "1.1", "routes": {
        "hot": "FROM /messages/* WHERE as_number(t) > 20 INTO $upstream",
        "all": "FROM /messages/* INTO BrokeredEndpoint(\"/modules/m/inputs/i\")",
    }}});
    let agent = json!({"properties.desired": {"schemaVersion": "1.1", "modules": {}}});
    let manifest = json!({"modulesContent": {"$edgeAgent": agent, "$edgeHub": hub}});
    fs::write(&path, manifest.to_string()).unwrap();
    let with = || {
        edge(["explain", "--manifest"])
            .arg(&path)
            .args("--property t=21")
    };
    let all = with().args("--json").output("").code(0);
    let mut names: Vec<_> = all
        .lines()
        .iter()
        .map(|line| line["route"].clone())
        .collect();
    names.sort_by_key(Value::to_string);
    assert_eq!(names, ["all", "hot"]);
    let one = with().args("--json --name hot").output("").code(0);
    assert_eq!(one.lines().len(), 1, "{one:#?}");
    with()
        .args("--name cold")
        .output("")
        .code(2)
        .says("there is no route called cold");

    fs::write(
        &path,
        manifest.to_string().replace("INTO $upstream", "INTO"),
    )
    .unwrap();
    with()
        .output("")
        .code(2)
        .says("m.json:1:")
        .says("cannot be deployed")
        .prints_nothing();
}

#[test]
fn a_wrong_route_is_told_with_its_place() {
    let output = explain("FROM /messages WHERE")
        .output("")
        .code(2)
        .prints_nothing();
    output
        .says("--route 1: line 1, column 21: ")
        .says("expected a condition");
    explain(" ").output("").code(2).says("--route 1 is blank");
    // Without either, those in force on the device are asked for.
    edge(["explain", "--data", "/nowhere"])
        .output("")
        .code(3)
        .says("no edge daemon answers at /nowhere/mgmt.sock");
}
