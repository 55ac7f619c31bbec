//! Each command, as people and as programs use it.

use serde_json::{Value, json};

use crate::support::{Daemon, Manifest, edge};

fn deployed() -> Daemon {
    let daemon = Daemon::start();
    let manifest = Manifest::new()
        .module("filter", "filter", json!({}))
        .module("misbehave", "misbehave", json!({"grants": {"state": true}}))
        .route("up", "FROM /messages/modules/filter/* INTO $upstream");
    daemon.apply(&manifest);
    daemon
}

#[test]
fn every_list_has_a_form_for_programs() {
    let daemon = deployed();
    for words in [
        "list",
        "queues",
        "dead-letters list",
        "twin get filter",
        "restart filter",
        "top -n 1",
        "explain --from filter/x",
    ] {
        let value = daemon.json(words);
        assert!(value.is_object() || value.is_array(), "{words}: {value}");
    }
    let path = daemon.dir().join("deployment.json");
    let applied = daemon.edge("apply --json").arg(path).output("").code(0);
    let applied: Value = serde_json::from_str(&applied.out).unwrap();
    assert_eq!(applied["modules"].as_array().unwrap().len(), 2, "{applied}");
}

#[test]
fn without_a_daemon_every_command_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    for words in [
        "list",
        "queues",
        "logs",
        "tail",
        "top",
        "restart m",
        "send m/i --body x",
        "dead-letters list",
        "twin get m",
        "method m n",
        "explain --from m",
    ] {
        let command = edge(words.split_whitespace()).arg("--data").arg(dir.path());
        let output = command
            .output("")
            .code(3)
            .says("start one with `edge daemon`");
        output.prints_nothing();
    }
}

#[test]
fn a_message_from_a_source_goes_through_the_routes() {
    let daemon = deployed();
    let sent = daemon.json("send --from filter/output1 --body x --property a=b");
    assert_eq!(sent["queues"], 1, "{sent}");
    daemon.waits("$upstream", 1);
    let nobody = daemon
        .edge("send --from misbehave --body x")
        .output("")
        .code(1);
    nobody.says("no route takes this message");
    daemon
        .edge("send nobody/input1 --body x")
        .output("")
        .code(2)
        .says("there is no module nobody");
    // The device is known by it, but it reads nothing.
    daemon
        .edge("send $edgeHub/input1 --body x")
        .output("")
        .code(2)
        .says("there is no module $edgeHub");
    daemon
        .edge("send filter --body x")
        .output("")
        .code(2)
        .says("is no endpoint");
}

#[test]
fn the_body_can_come_from_standard_input_or_a_file_and_be_any_bytes() {
    let daemon = deployed();
    let bytes = [0xff, 0x00, 0xfe];
    daemon.edge("send $upstream").output(bytes).code(0);
    let file = daemon.dir().join("body");
    std::fs::write(&file, bytes).unwrap();
    daemon
        .edge("send $upstream --file")
        .arg(&file)
        .output("")
        .code(0);
    daemon.waits("$upstream", 2);
}

#[test]
fn a_message_that_is_too_large_is_refused_with_its_size() {
    let daemon = Daemon::with("hub.message-limit = \"1KiB\"\n");
    let output = daemon
        .edge("send $upstream")
        .output("x".repeat(2_000))
        .code(2);
    output.says("the message has 2000 bytes with its properties, at most 1KiB are allowed");
    let output = daemon
        .edge("send $upstream")
        .output("x".repeat(200_000))
        .code(2);
    output.says("bytes, at most 66900 are taken");
}

#[test]
fn methods_are_answered_and_their_failures_told() {
    let daemon = deployed();
    assert_eq!(daemon.json("method misbehave ping")["payload"], "pong");
    // An answer is an answer, whatever its status.
    let none = daemon.edge("method misbehave nothing").output("").code(0);
    assert!(none.out.starts_with("501: "), "{none:#?}");
    daemon
        .edge("method filter ping")
        .output("")
        .code(2)
        .says("answers no methods");
    daemon
        .edge("method nobody ping")
        .output("")
        .code(2)
        .says("there is no module nobody");
}

#[test]
fn a_restarted_module_has_started_anew() {
    let daemon = deployed();
    let started = |daemon: &Daemon| daemon.json("list")["modules"][0]["started"].clone();
    let before = started(&daemon);
    daemon
        .edge("restart filter")
        .output("")
        .code(0)
        .prints_nothing();
    daemon.eventually("it started anew", |daemon| {
        let now = daemon.json("list");
        now["settled"] == true && now["modules"][0]["started"] != before
    });
    daemon
        .edge("restart nobody")
        .output("")
        .code(2)
        .says("no module nobody");
}

#[test]
fn routes_in_force_are_explained() {
    let daemon = deployed();
    let taken = daemon
        .edge("explain --from filter/output1")
        .output("")
        .code(0);
    assert!(
        taken.out.starts_with("up: FROM /messages/modules/filter/*")
            && !taken.out.contains("not taken"),
        "{taken:#?}"
    );
    let empty = Daemon::start();
    empty
        .edge("explain --from filter")
        .output("")
        .code(2)
        .says("nothing is deployed");
}

#[test]
fn metrics_are_prometheus_text_with_names_that_dashboards_know() {
    let daemon = deployed();
    daemon.send("$upstream", "x");
    let text = daemon.metrics();
    let mut typed = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            typed.push(rest.split(' ').next().unwrap());
            continue;
        }
        if line.starts_with('#') {
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        assert!(value == "NaN" || value.parse::<f64>().is_ok(), "{line}");
        let (name, labels) = sample.split_once('{').unwrap_or_else(|| panic!("{line}"));
        let known = typed.iter().any(|known| {
            name.strip_prefix(known)
                .is_some_and(|rest| matches!(rest, "" | "_bucket" | "_sum" | "_count"))
        });
        assert!(known && labels.ends_with('}'), "{line}");
        for label in ["iothub=\"", "edge_device=\"", "instance_number=\""] {
            assert!(labels.contains(label), "{label} is not in {line}");
        }
    }
    let mut unique = typed.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), typed.len(), "a name is there twice");
    for name in [
        "edgehub_messages_received_total",
        "edgehub_queue_length",
        "edgehub_messages_dropped_total",
        "edgeAgent_module_start_total",
        "edge_store_bytes_written_total",
        "edge_store_sync_seconds",
        "edgehub_gettwin_duration_seconds",
        "edgehub_messages_unack_total",
        "edgehub_connected_clients",
        "edgeAgent_iothub_syncs_total",
    ] {
        assert!(typed.contains(&name), "{name} is not in {typed:?}");
    }
    // What was sent by hand is in the counts of the device, with the labels that dashboards group by.
    for (name, label) in [
        ("edgehub_messages_received_total{", "route_output=\""),
        ("edgehub_message_size_bytes{", "quantile=\"0.9999\""),
        ("edgehub_message_size_bytes_count{", "id=\""),
        ("edgehub_messages_dropped_total{", "from_route_output=\""),
        ("edgeAgent_used_memory_bytes{", "module_name=\"host\""),
        ("edgeAgent_host_uptime_seconds{", "edge_device=\""),
    ] {
        let there = |line: &&str| line.starts_with(name) && line.contains(label);
        let sample = text.lines().find(there);
        assert!(sample.is_some(), "no {name}…{label} in:\n{text}");
    }
    assert!(
        text.contains("endpoint=\"$upstream\",priority=\"2000000000\",} 1\n"),
        "{text}"
    );
}

#[test]
fn what_the_api_does_not_know_has_a_code() {
    let daemon = deployed();
    for (method, path, body, status, code) in [
        ("GET", "/v1/nothing", "", 404, "no-such-call"),
        ("DELETE", "/v1/queues", "", 405, "no-such-call"),
        ("POST", "/v1/messages", "{", 400, "bad-request"),
        (
            "POST",
            "/v1/messages",
            "{\"base64\":\"!\",\"to\":\"$upstream\"}",
            400,
            "bad-request",
        ),
        (
            "POST",
            "/v1/messages",
            "{\"base64\":\"\"}",
            400,
            "bad-request",
        ),
        ("POST", "/v1/modules/nobody/restart", "", 404, "not-found"),
        ("GET", "/v1/dead-letters?nonsense=1", "", 400, "bad-request"),
        (
            "PUT",
            "/v1/deployment",
            "{\"name\":\"m\",\"manifest\":\"{}\",\"base\":\"/\"}",
            422,
            "bad-manifest",
        ),
        (
            "PUT",
            "/v1/deployment",
            "{\"name\":\"m\",\"manifest\":\"{}\",\"base\":\"here\"}",
            400,
            "bad-request",
        ),
    ] {
        let (found, answer) = daemon.call(method, path, body);
        assert_eq!(found, status, "{method} {path}: {answer}");
        let answer: Value = serde_json::from_str(&answer)
            .unwrap_or_else(|error| panic!("{path}: {error}: {answer}"));
        assert_eq!(answer["code"], code, "{method} {path}");
    }
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(9 << 20));
    assert_eq!(daemon.call("PUT", "/v1/deployment", &large).0, 413);
}
