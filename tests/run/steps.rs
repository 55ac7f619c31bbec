//! A handler's call is a step: all of its effects, or none; retries come in order.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Edge, run, sample};

fn misbehave() -> Edge {
    run(sample("misbehave")).args("--grant state")
}

/// Envelopes of messages, each with a body and properties.
fn envelopes(messages: &[(&str, Value)]) -> String {
    let line = |(body, properties): &(&str, Value)| {
        format!("{}\n", json!({"body": body, "properties": properties}))
    };
    messages.iter().map(line).collect()
}

fn fed(messages: &[(&str, Value)]) -> crate::support::Output {
    misbehave()
        .args("--format envelope")
        .output(envelopes(messages))
}

#[test]
fn what_a_failed_step_sent_is_not_sent() {
    for command in ["send-then-fail", "send-then-trap"] {
        let output = fed(&[("bad", json!({"do": command})), ("good", json!({}))]);
        output.code(1).prints([json!("good")]);
    }
}

#[test]
fn what_a_failed_step_wrote_is_not_written() {
    for command in ["state-then-fail", "state-then-trap"] {
        let output = fed(&[
            ("w", json!({"do": "state-write", "value": "before"})),
            ("x", json!({"do": command, "value": "after"})),
            ("r", json!({"do": "state-read"})),
            ("y", json!({"do": command, "key": "new", "value": "after"})),
            ("r", json!({"do": "state-read", "key": "new"})),
        ]);
        output.code(1).prints([json!("before"), json!("")]);
    }
}

#[test]
fn state_outlives_the_instance() {
    let messages = [
        ("w", json!({"do": "state-write", "value": "kept"})),
        ("t", json!({"do": "trap"})),
        ("r", json!({"do": "state-read"})),
    ];
    fed(&messages).code(1).prints([json!("kept")]);
    let fresh = misbehave().args("--format envelope --mode per-message");
    fresh
        .output(envelopes(&messages))
        .code(1)
        .prints([json!("kept")]);
}

#[test]
fn a_retry_comes_again_and_later_messages_wait_for_it() {
    let retry = json!({"do": "retry", "times": 3, "delay-ms": 30});
    let output = fed(&[
        ("1", json!({})),
        ("2", retry),
        ("3", json!({})),
        ("4", json!({})),
    ]);
    output
        .code(0)
        .silent()
        .prints([json!(1), json!(2), json!(3), json!(4)]);
}

#[test]
fn a_retry_without_a_delay_backs_off() {
    let output = fed(&[("x", json!({"do": "retry", "times": 3}))]).code(0);
    assert!(
        output.took > Duration::from_millis(700),
        "100 + 200 + 400 ms: {output:#?}"
    );
    output.within(Duration::from_secs(5)).prints([json!("x")]);
}

#[test]
fn another_input_does_not_wait_for_a_retry() {
    let mut running = misbehave().args("--format envelope").start();
    running.send(r#"{"body":"stuck","properties":{"do":"retry"}}"#);
    running.send(r#"{"body":"behind"}"#);
    running.send(r#"{"input":"input2","body":"free"}"#);
    assert_eq!(running.body(), json!("free"));
}

#[test]
fn a_retry_for_ever_ends_with_the_drain_time_and_is_told() {
    let retry = misbehave().args("--format envelope --drain 500ms");
    let output = retry.output(envelopes(&[
        ("x", json!({"do": "retry"})),
        ("y", json!({})),
    ]));
    let output = output
        .code(1)
        .prints_nothing()
        .within(Duration::from_secs(3));
    output.says("left unhandled: 2 messages for misbehave/input1");
}

#[test]
fn a_step_that_sends_too_much_is_told_full_and_sends_nothing() {
    let many = |count: &str| {
        let command = misbehave().args("--body x --property do=send-too-many");
        command.property("count", count).output("")
    };
    many("1001")
        .code(1)
        .says("send to output1: full")
        .prints_nothing();
    assert_eq!(many("1000").code(0).lines().len(), 1_000);
}

#[test]
fn a_message_that_is_too_large_is_not_taken() {
    let large = |bytes: &str| {
        let command = misbehave().args("--body x --property do=send-too-large");
        command.property("bytes", bytes).output("")
    };
    large("262145")
        .code(1)
        .says("send to output1: too-large")
        .prints_nothing();
    assert_eq!(
        large("262144").code(0).bodies()[0].as_str().unwrap().len(),
        262_144
    );
}

#[test]
fn what_a_slow_step_sent_lives_from_its_end_on() {
    // Its time to live is one second, and the step that sends it takes longer.
    let dir = tempfile::tempdir().unwrap();
    for name in ["source", "sink"] {
        crate::support::sample_as("misbehave", dir.path(), name);
    }
    let module = |name: &str| {
        let image = format!("file:{name}.wasm");
        json!({"type": "wasm", "settings": {"image": image, "createOptions": {"grants": {"state": true}}}})
    };
    let modules = json!({"source": module("source"), "sink": module("sink")});
    let routes = json!({
        "short": {
            "route": "FROM /messages/modules/source/outputs/* INTO BrokeredEndpoint(\"/modules/sink/inputs/input1\")",
            "timeToLiveSecs": 1,
        },
        "up": "FROM /messages/modules/sink/outputs/* INTO $upstream",
    });
    let manifest = json!({"modulesContent": {
        "$edgeAgent": {"properties.desired": {"schemaVersion": "1.1", "modules": modules}},
        "$edgeHub": {"properties.desired": {"schemaVersion": "1.1", "routes": routes}},
    }});
    let path = dir.path().join("m.json");
    std::fs::write(&path, manifest.to_string()).unwrap();
    let command = crate::support::edge(["run", "--manifest"])
        .arg(path)
        .args("--to source");
    let output = command
        .args("--body x --property do=sleep --property ms=1300")
        .output("");
    output.code(0).silent().prints([json!("x")]);
}
