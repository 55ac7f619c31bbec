//! Methods and twins: from the command line, and between modules.

use std::fs;

use serde_json::{Value, json};
use tempfile::tempdir;

use crate::support::{Edge, edge, run, sample, sample_as};

fn twin_file(dir: &tempfile::TempDir, text: &str) -> std::path::PathBuf {
    let path = dir.path().join("twin.json");
    fs::write(&path, text).unwrap();
    path
}

fn device_twin() -> Edge {
    run(sample("device_twin"))
}

#[test]
fn a_method_is_called_and_its_answer_printed() {
    let output = device_twin()
        .args("--method getInterval")
        .output("")
        .code(0)
        .silent();
    let answer = json!({"module": "device_twin", "method": "getInterval", "status": 200, "payload": {"interval": 5}});
    assert_eq!(output.lines(), [answer]);
}

#[test]
fn to_names_the_module_whose_method_is_called_also_when_it_takes_no_messages() {
    let both = || {
        let command = edge(["run"])
            .arg(sample("misbehave"))
            .arg(sample("device_twin"));
        command.args("--grant state --method getInterval")
    };
    let answer = both().args("--to device_twin").output("").code(0).silent();
    assert_eq!(answer.lines()[0]["payload"], json!({"interval": 5}));
    let first = both().output("").code(0);
    assert_eq!(first.lines()[0]["status"], json!(501), "{first:#?}");
    both().args("--to nobody").output("").code(1).says("nobody");
}

#[test]
fn an_unknown_method_is_answered_with_501() {
    let output = device_twin()
        .args("--method getX --method getInterval=1")
        .output("");
    let statuses: Vec<_> = output
        .lines()
        .iter()
        .map(|line| line["status"].clone())
        .collect();
    assert_eq!(statuses, [501, 200], "{output:#?}");
    assert_eq!(
        output.lines()[0]["payload"],
        json!("no method getX: there is getInterval")
    );
}

#[test]
fn desired_properties_reach_the_module_and_what_it_reports_is_printed() {
    let dir = tempdir().unwrap();
    let path = twin_file(&dir, r#"{"desired": {"interval": 12}}"#);
    let output = device_twin()
        .arg("--twin")
        .arg(&path)
        .args("--method getInterval")
        .output("");
    let output = output.code(0).silent();
    assert_eq!(output.lines()[0]["payload"], json!({"interval": 12}));
    let reported = &output.lines()[1];
    assert_eq!(reported["module"], json!("device_twin"));
    assert_eq!(
        reported["reported"],
        json!({"interval": 12, "intervalVersion": 2})
    );

    let path = twin_file(&dir, r#"{"desired": {"interval": "soon"}}"#);
    let output = device_twin().arg("--twin").arg(path).output("").code(0);
    let refused = output.lines()[0]["reported"]["intervalRefused"].to_string();
    assert!(refused.contains("soon"), "{output:#?}");
}

#[test]
fn a_file_that_is_no_twin_is_refused() {
    let dir = tempdir().unwrap();
    for text in [
        "",
        "[]",
        "{}",
        r#"{"desired": 1}"#,
        r#"{"desired": {}, "desird": {}}"#,
        r#"{"desired": {"a.b": 1}}"#,
    ] {
        let output = device_twin()
            .arg("--twin")
            .arg(twin_file(&dir, text))
            .output("");
        output.code(2).says("twin").prints_nothing();
    }
    device_twin()
        .args("--twin gone.json")
        .output("")
        .code(2)
        .says("gone.json");
}

#[test]
fn a_method_where_nobody_answers_any_is_refused() {
    let output = run(sample("filter")).args("--method m").output("");
    output.says("none of the modules answers methods").code(2);
}

/// What comes of a method called by a module named `misbehave`, beside one named `other`.
fn called(properties: &[(&str, &str)]) -> crate::support::Output {
    let dir = tempdir().unwrap();
    let other = sample_as("misbehave", dir.path(), "other");
    let command = edge(["run"])
        .arg(sample("misbehave"))
        .arg(other)
        .args("--grant state --body x");
    let command = properties
        .iter()
        .fold(command.property("do", "call"), |command, (name, value)| {
            command.property(name, value)
        });
    command.output("")
}

#[test]
fn a_module_calls_a_method_of_another() {
    let pong: [Value; 1] = [json!("pong")];
    called(&[("module", "other")]).code(0).silent().prints(pong);
    let unknown = called(&[("module", "other"), ("method", "pong")]).code(0);
    assert_eq!(unknown.lines()[0]["properties"], json!({"status": "501"}));
}

#[test]
fn a_call_that_would_wait_for_the_caller_is_told_busy_at_once() {
    called(&[])
        .code(1)
        .says("call: MethodError::Busy")
        .within(std::time::Duration::from_secs(5));
    let back = [
        ("module", "other"),
        ("method", "call-back"),
        ("payload", "\"misbehave\""),
    ];
    let output = called(&back)
        .code(0)
        .within(std::time::Duration::from_secs(5));
    output.prints([json!("MethodError::Busy")]);
}

#[test]
fn a_call_of_a_module_that_is_not_there_is_told() {
    called(&[("module", "nobody")])
        .code(1)
        .says("MethodError::NotFound");
}
