//! Commands that go on.

use serde_json::{Value, json};

use crate::support::{Daemon, Manifest, Running};

fn deployed() -> Daemon {
    let daemon = Daemon::start();
    let manifest = Manifest::new()
        .module("sensor", "sensor", json!({"timers": {"poll": "50ms"}}))
        .module("filter", "filter", json!({}))
        .env("sensor", "temperature", "90")
        .route("in", "FROM /messages/modules/sensor/outputs/temperatureOutput INTO BrokeredEndpoint(\"/modules/filter/inputs/input1\")")
        .route("up", "FROM /messages/modules/filter INTO $upstream");
    daemon.apply(&manifest);
    daemon
}

fn value(running: &mut Running) -> Value {
    let line = running.line();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[test]
fn messages_are_seen_as_they_pass_by_source_and_by_endpoint() {
    let daemon = deployed();
    let from = daemon
        .edge("tail -n 2 --from sensor --json")
        .output("")
        .code(0);
    for line in from.lines() {
        assert_eq!(
            (&line["module"], &line["into"]),
            (&json!("sensor"), &json!(["filter/input1"]))
        );
        assert!(line["body"]["machine"]["temperature"].is_number(), "{line}");
    }
    let into = daemon
        .edge("tail -n 2 --into $upstream --json")
        .output("")
        .code(0);
    for line in into.lines() {
        assert_eq!(
            (&line["module"], &line["into"]),
            (&json!("filter"), &json!(["$upstream"]))
        );
    }
    let text = daemon.edge("tail -n 1 --into filter").output("").code(0);
    assert!(
        text.out
            .contains("/messages/modules/sensor/outputs/temperatureOutput → filter/input1: {"),
        "{text:#?}"
    );
}

#[test]
fn rates_are_told_again_and_again() {
    let daemon = deployed();
    let mut top = daemon.edge("top --json --interval 100ms").start();
    value(&mut top);
    let sample = value(&mut top);
    assert!(
        sample["rates"]["received"].is_number() && sample["queues"].is_array(),
        "{sample}"
    );
    assert_eq!(sample["modules"]["modules"].as_array().unwrap().len(), 2);
}

#[test]
fn logs_are_kept_by_module_and_followed() {
    let daemon = Daemon::start();
    daemon.apply(&Manifest::new().module(
        "misbehave",
        "misbehave",
        json!({"grants": {"state": true}}),
    ));
    let say = |count: u32| {
        let send = daemon.edge("send misbehave/input1 --body x --property do=flood-log --property");
        send.arg(format!("count={count}")).output("").code(0);
    };
    say(2);
    daemon.eventually("it is logged", |daemon| {
        let logs = daemon.edge("logs misbehave").output("");
        logs.out.contains("flood: line 1")
    });
    let mut follow = daemon.edge("logs misbehave --follow --json").start();
    assert_eq!(value(&mut follow)["line"], "line 0");
    assert_eq!(value(&mut follow)["line"], "line 1");
    say(1);
    let more = value(&mut follow);
    assert_eq!(
        (&more["line"], &more["module"], &more["number"]),
        (&json!("line 0"), &json!("misbehave"), &json!(3))
    );
    let tail = daemon.edge("logs -n 1 --since 10m").output("").code(0);
    assert!(
        tail.out.ends_with("misbehave info: flood: line 0\n") && tail.out.lines().count() == 1,
        "{tail:#?}"
    );
    daemon
        .edge("logs nobody")
        .output("")
        .code(2)
        .says("there is no module nobody");
}

#[test]
fn streams_end_when_the_daemon_does() {
    let mut daemon = deployed();
    let mut tail = daemon.edge("tail --json").start();
    value(&mut tail);
    let mut top = daemon.edge("top --json").start();
    value(&mut top);
    daemon.stop().code(0).does_not_say("calls were cut off");
    tail.end().code(0);
    top.end().code(0);
}

#[test]
fn what_goes_upstream_is_printed_where_the_settings_say_so() {
    let mut daemon = Daemon::with("upstream.messages = \"print\"\n");
    daemon.send("$upstream", "{\"n\":1}");
    let line = daemon.running().line();
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&line["body"], &line["from"]),
        (&json!({"n": 1}), &json!("/messages"))
    );
    daemon.waits("$upstream", 0);
}
