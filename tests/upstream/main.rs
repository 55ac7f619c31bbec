//! Parents and children: what a parent does with a device below it, over the one connection that there is.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use support::family::Parent;
use support::{Daemon, Manifest, Output};

fn family() -> (Parent, Daemon) {
    let parent = Parent::with("");
    let settings = parent.adopt("child1");
    (parent, Daemon::with(&settings))
}

fn reported(daemon: &Daemon, target: &str) -> Value {
    daemon.json(&format!("twin get {target}"))["reported"]["properties"].clone()
}

#[track_caller]
fn assert_says(output: &Output, part: &str) {
    assert!(output.out.contains(part), "{output:#?}");
}

fn desired(daemon: &Daemon, target: &str) -> Value {
    daemon.json(&format!("twin get {target}"))["desired"]["properties"].clone()
}

#[test]
fn twins_go_both_ways_and_what_passed_while_the_link_was_cut_is_made_good() {
    let (mut parent, mut child) = family();
    parent
        .daemon
        .edge(r#"twin set child1 {"a":{"b":1},"x":1}"#)
        .output("")
        .code(0);
    child.eventually("what is wanted came down", |child| {
        desired(child, "child1") == json!({"a": {"b": 1}, "x": 1})
    });
    // The child wants something of itself, which the parent leaves alone.
    child
        .edge(r#"twin set child1 {"own":true}"#)
        .output("")
        .code(0);
    child.kill();
    parent
        .daemon
        .edge(r#"twin set child1 {"a":{"b":2},"x":null}"#)
        .output("")
        .code(0);
    parent.daemon.kill();
    child.again();
    parent.daemon.again();
    child.eventually("what was missed is made good", |child| {
        desired(child, "child1") == json!({"a": {"b": 2}, "own": true})
    });
    // The agent's own report goes up.
    parent
        .daemon
        .eventually("the agent's report is there", |parent| {
            reported(parent, "child1/$edgeAgent")["schemaVersion"].is_string()
        });
    // And the hub's.
    parent
        .daemon
        .eventually("the hub's report is there", |parent| {
            reported(parent, "child1/$edgeHub")["lastDesiredStatus"]["code"] == 200
        });
    // Who is connected to the parent says its own.
    parent
        .daemon
        .eventually("the child is connected", |parent| {
            reported(parent, "$edgeHub")["clients"]["child1"]["status"] == "Connected"
        });
}

/// Identities that a daemon knows, and whether they may connect.
fn known(daemon: &Daemon) -> Vec<(String, String)> {
    let list = daemon.json("identity list");
    let list = list.as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    list.map(|known| (text(&known["identity"]), text(&known["status"])))
        .collect()
}

fn may_connect(daemon: &Daemon, name: &str) -> Option<bool> {
    let known = known(daemon).into_iter().find(|(known, _)| known == name);
    known.map(|(_, status)| status == "enabled")
}

#[test]
fn a_gateway_is_told_who_is_behind_it_and_of_every_change() {
    let (parent, mut child) = family();
    let thumbprint = "A9993E364706816ABA3E25717850C26C9CD0D89D";
    for words in [
        "leaf1 --behind child1".to_owned(),
        format!("leaf2 --behind child1 --thumbprint {thumbprint}"),
        "leaf3".to_owned(),
    ] {
        let add = parent.daemon.edge(&format!("identity add {words}"));
        let added = add.output("").code(0);
        // Whoever is behind a gateway connects there, and is given its name there.
        let is_behind = words.contains("--behind");
        assert_ne!(
            added.out.contains("GatewayHostName="),
            is_behind,
            "{added:?}"
        );
        if is_behind {
            added.says("--keys` there");
        }
    }
    child.eventually("it knows who is behind it", |child| {
        ["leaf1", "leaf2"].map(|leaf| may_connect(child, leaf)) == [Some(true); 2]
    });
    assert_eq!(may_connect(&child, "leaf3"), None);
    let keys = |daemon: &Daemon| {
        daemon.json("identity show leaf1 --keys")["secrets"]["primary_key"].clone()
    };
    assert_eq!(keys(&child), keys(&parent.daemon));
    let whole = child.edge("identity show leaf1 --keys").output("").code(0);
    assert_says(&whole, "GatewayHostName=");
    // The gateway speaks for both: by the key of one, and by its own for the one with a certificate.
    for leaf in ["leaf1", "leaf2"] {
        let send = format!("send --device {leaf} --body hello");
        parent.daemon.edge(&send).output("").code(0);
        child.eventually("the message came down", |child| {
            child.depth(&format!("$device/{leaf}")) == 1
        });
    }
    // What the parent registered is changed there; it is kept out here all the same.
    let rotate = child.edge("identity rotate leaf1").output("");
    rotate.code(2).says("change it there");
    let remove = child.edge("identity remove leaf1").output("");
    remove.code(2).says("edge identity disable");
    assert_eq!(may_connect(&child, "leaf1"), Some(true));
    child.edge("identity disable leaf1").output("").code(0);
    child.kill();
    child.again();
    child.eventually("it is told of the other one", |child| {
        child.json("identity list").as_array().unwrap().len() > 2
    });
    assert_eq!(may_connect(&child, "leaf1"), Some(false));
    child.edge("identity enable leaf1").output("").code(0);
    assert_eq!(may_connect(&child, "leaf1"), Some(true));
    parent
        .daemon
        .edge("identity disable leaf1")
        .output("")
        .code(0);
    child.eventually("it is kept out", |child| {
        may_connect(child, "leaf1") == Some(false)
    });
    let moved = parent.daemon.edge("identity move leaf2 --nowhere");
    moved.output("").code(0);
    child.eventually("it is behind another one", |child| {
        may_connect(child, "leaf2").is_none()
    });
    // Offline it is known, and what changed meanwhile is found.
    child.kill();
    let moved = parent.daemon.edge("identity move leaf3 --behind child1");
    moved.output("").code(0);
    parent
        .daemon
        .edge("identity remove leaf1")
        .output("")
        .code(0);
    child.again();
    child.eventually("it is told of both", |child| {
        ["leaf1", "leaf3"].map(|leaf| may_connect(child, leaf)) == [None, Some(true)]
    });
}

#[test]
fn three_levels_share_identities_twins_deployments_and_methods() {
    let root = Parent::with("");
    let middle = Parent::with(&root.adopt("middle"));
    let add = "identity add leaf --edge --behind middle";
    root.daemon.edge(add).output("").code(0);
    let leaf = Daemon::with(&middle.adopt_told("leaf"));
    root.daemon
        .edge(r#"twin set leaf {"x":1}"#)
        .output("")
        .code(0);
    leaf.eventually("what the root wants came down", |leaf| {
        desired(leaf, "leaf") == json!({"x": 1})
    });
    let manifest = Manifest::new()
        .module("sensor", "counter", json!({"grants": {"state": true}}))
        .env("sensor", "name", "sensor")
        .env("sensor", "sender", "")
        .env("sensor", "number", "n");
    let path = deploy_here(&leaf, &manifest, "sensor");
    let apply = root.daemon.edge("apply --device leaf").arg(&path);
    let through = "middle, which it is behind, is connected now";
    assert_says(&apply.output("").code(0), through);
    leaf.becomes("sensor", "running");
    // What is applied again unchanged is the newest again, through the one in the middle too.
    leaf.apply(&Manifest::new());
    leaf.eventually("what was applied here counts", |leaf| {
        leaf.module("sensor").is_null()
    });
    let apply = root.daemon.edge("apply --device leaf").arg(&path);
    apply.output("").code(0);
    leaf.becomes("sensor", "running");
    let environment = leaf.edge("identity env sensor").output("").code(0).out;
    assert!(
        environment.contains("IOTEDGE_PARENTHOSTNAME"),
        "{environment}"
    );
    root.daemon
        .eventually("the module's state came up", |root| {
            reported(root, "leaf/$edgeAgent")["modules"]["sensor"]["runtimeStatus"] == "running"
        });
    root.daemon.eventually("the agent answers", |root| {
        let ping = root.edge("method leaf/$edgeAgent ping {} --json");
        let answer = ping.output("").out;
        let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
        answer["status"] == 200
    });
    root.daemon
        .edge("send --device leaf --body hello")
        .output("")
        .code(0);
    leaf.eventually("the message came down", |leaf| {
        leaf.depth("$device/leaf") == 1
    });
}

/// A manifest whose module's file is found wherever it is applied.
fn deploy_here(daemon: &Daemon, manifest: &Manifest, module: &str) -> std::path::PathBuf {
    let text = std::fs::read_to_string(manifest.write(daemon.dir())).unwrap();
    let mut text: Value = serde_json::from_str(&text).unwrap();
    let at = daemon.dir().join(format!("{module}.wasm"));
    let agent = &mut text["modulesContent"]["$edgeAgent"]["properties.desired"];
    agent["modules"][module]["settings"]["image"] = format!("file:{}", at.display()).into();
    let path = daemon.dir().join("from-above.json");
    std::fs::write(&path, text.to_string()).unwrap();
    path
}

#[test]
fn an_identity_that_the_parent_kept_out_comes_back_without_a_new_connection() {
    let (parent, child) = family();
    let set = |text: &str| {
        let set = format!("twin set child1 {text}");
        parent.daemon.edge(&set).output("").code(0);
    };
    set(r#"{"n":1}"#);
    child.eventually("it came down", |child| desired(child, "child1")["n"] == 1);
    let edge = |words: &str| parent.daemon.edge(words).output("").code(0);
    edge("identity disable child1");
    child.eventually("it is told why", |child| {
        link(child)["refused"]["child1"].is_string()
    });
    let check = edge_check(&child).code(1).out;
    assert!(check.contains("does not let child1 in: "), "{check}");
    set(r#"{"n":2}"#);
    edge("identity enable child1");
    child.eventually("what was wanted meanwhile came down", |child| {
        desired(child, "child1")["n"] == 2
    });
    child.eventually("nobody is refused any more", |child| {
        link(child)["refused"] == json!({})
    });
    let upstream = link(&child);
    assert_eq!(upstream["connections"], 1, "{upstream}");
    let days = upstream["days"].as_object().unwrap();
    let bytes: u64 = days.values().map(|day| day["down"].as_u64().unwrap()).sum();
    assert!(bytes > 1_000, "{upstream}");
}

/// What `edge check` says.
fn edge_check(daemon: &Daemon) -> Output {
    let check = daemon.edge("check --verbose --config");
    check.arg(daemon.dir().join("config.toml")).output("")
}

#[test]
fn how_the_parent_stands_is_said_by_check_and_top() {
    let (mut parent, child) = family();
    let top = |child: &Daemon| child.edge("top -n 1").output("").code(0).out;
    child.eventually("it is connected", |child| {
        top(child).contains("parent: connected for ")
    });
    let check = edge_check(&child).out;
    let line = "ok       parent: ";
    assert!(check.contains(line), "{check}");
    assert!(check.contains("its certificate is trusted"), "{check}");
    parent.daemon.kill();
    child.eventually("it is said that it is not", |child| {
        top(child).contains("parent: not connected for ")
    });
    let check = edge_check(&child).out;
    assert!(check.contains("warning  parent: "), "{check}");
    assert!(check.contains("not connected for "), "{check}");
}

#[test]
fn a_parent_deploys_calls_and_sends() {
    let (parent, child) = family();
    let manifest = Manifest::new()
        .module("sensor", "counter", json!({"grants": {"state": true}}))
        .env("sensor", "name", "sensor")
        .env("sensor", "sender", "")
        .env("sensor", "number", "n")
        .route("up", "FROM /messages/* INTO $upstream")
        .twin("sensor", json!({"threshold": 25}));
    let path = deploy_here(&child, &manifest, "sensor");
    let apply = parent.daemon.edge("apply --device child1").arg(&path);
    apply.output("").code(0);
    child.becomes("sensor", "running");
    assert_eq!(desired(&child, "sensor"), json!({"threshold": 25}));
    parent
        .daemon
        .eventually("the module's state is reported", |parent| {
            reported(parent, "child1/$edgeAgent")["modules"]["sensor"]["runtimeStatus"] == "running"
        });
    // Methods of the agent, through the parent.
    let answer = parent
        .daemon
        .edge("method child1/$edgeAgent ping {} --json")
        .output("")
        .code(0);
    let answer: Value = serde_json::from_str(&answer.out).unwrap();
    assert_eq!(answer["status"], 200, "{answer}");
    let gone = parent
        .daemon
        .edge("method child1/sensor nothing {} --json")
        .output("");
    let gone: Value = serde_json::from_str(&gone.out).unwrap_or_default();
    assert!(gone["status"] == 404 || gone["status"] == 501, "{gone}");
    // A message to the device waits in the child until its program reads it.
    parent
        .daemon
        .edge("send --device child1 --body hello")
        .output("")
        .code(0);
    child.eventually("the message came down", |child| {
        child.depth("$device/child1") == 1
    });
    // What is applied here is newer; what the parent wants next is newer still.
    child.apply(&Manifest::new());
    child.eventually("what was applied here counts", |child| {
        child.module("sensor").is_null()
    });
    // As it was: that it is applied once more is what makes it the newest.
    let apply = parent.daemon.edge("apply --device child1").arg(&path);
    apply.output("").code(0);
    child.becomes("sensor", "running");
    // Whoever compares the two, as IoT Hub does, sees it taken.
    for system in ["$edgeAgent", "$edgeHub"] {
        parent
            .daemon
            .eventually("what was taken is what is wanted", |parent| {
                let twin = parent.json(&format!("twin get child1/{system}"));
                let wanted = twin["desired"]["version"].as_u64().unwrap();
                assert!(wanted > 1);
                twin["reported"]["properties"]["lastDesiredVersion"] == wanted
            });
    }
}

#[test]
fn a_deployment_that_cannot_be_is_refused_where_it_is_applied() {
    let (parent, child) = family();
    let path = child.dir().join("bad.json");
    std::fs::write(&path, r#"{"modulesContent":{"$edgeAgent":{"properties.desired":{"schemaVersion":"1.1","modules":{"a":{"type":"tape"}}}}}}"#).unwrap();
    let apply = parent.daemon.edge("apply --device child1").arg(&path);
    apply.output("").code(2).says("tape");
    let apply = parent.daemon.edge("apply --device nobody").arg(&path);
    apply.output("").code(2).says("edge identity add nobody");
    // Nobody there would take it.
    parent.add("plain");
    let nothing = Manifest::new().write(child.dir());
    let apply = parent.daemon.edge("apply --device plain").arg(&nothing);
    apply.output("").code(2).says("without this program");
    // Somebody will, who was never there yet; and somebody does who is.
    let add = parent.daemon.edge("identity add later --edge");
    add.output("").code(0);
    for (device, when) in [
        ("later", "it takes it when it connects"),
        ("child1", "it is connected now"),
    ] {
        parent.daemon.eventually("what is said of it", |parent| {
            let apply = parent.edge("apply --device").arg(device).arg(&nothing);
            apply.output("").code(0).out.contains(when)
        });
    }
    // Found beside the manifest here, and nowhere there.
    let path = Manifest::new()
        .module("filter", "filter", json!({}))
        .write(child.dir());
    let apply = parent.daemon.edge("apply --device child1").arg(&path);
    let refused = apply.output("").code(2);
    refused.says("module filter: file:filter.wasm is relative");
    let known = parent.daemon.edge("identity show child1/filter").output("");
    known.code(2);
}

#[test]
fn a_device_says_why_it_does_not_take_its_parents_deployment() {
    let (parent, mut child) = family();
    let path = deploy_here(
        &child,
        &Manifest::new().module("gone", "filter", json!({})),
        "gone",
    );
    std::fs::remove_file(child.dir().join("gone.wasm")).unwrap();
    let apply = parent.daemon.edge("apply --device child1").arg(&path);
    apply.output("").code(0);
    let running = child.running();
    running.says("a deployment of the parent's was not taken");
    running.says("module gone: cannot read component ");
}

/// A proxy that connects for whoever knows its password; counts how often.
fn proxy() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let connected = Arc::<AtomicUsize>::default();
    let counter = connected.clone();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let mut head = Vec::new();
            let mut reader = client.try_clone().unwrap();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                reader.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap();
            let to = head
                .strip_prefix("CONNECT ")
                .unwrap()
                .split(' ')
                .next()
                .unwrap();
            // user:secret
            if !head.contains("Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n") {
                (&client)
                    .write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
                    .unwrap();
                continue;
            }
            let server = TcpStream::connect(to).unwrap();
            (&client)
                .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
                .unwrap();
            counter.fetch_add(1, Ordering::SeqCst);
            for (mut from, mut to) in [
                (client.try_clone().unwrap(), server.try_clone().unwrap()),
                (server, client),
            ] {
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Both);
                });
            }
        }
    });
    (port, connected)
}

/// How a child's link to its parent stands.
fn link(child: &Daemon) -> Value {
    let device = child.call("GET", "/v1/device", "").1;
    serde_json::from_str::<Value>(&device).unwrap()["upstream"].clone()
}

/// A child's messages come to its parent, in order, on one connection.
fn messages_flow(parent: &mut Parent, settings: &str) -> Daemon {
    let child = Daemon::with(settings);
    for n in 0..5 {
        child.send("$upstream", &n.to_string());
    }
    for n in 0..5 {
        let line: Value = serde_json::from_str(&parent.daemon.running().line()).unwrap();
        assert_eq!(line["body"], n, "{line}");
    }
    let link = link(&child);
    assert_eq!(link["connected"], true, "{link}");
    assert_eq!(link["connections"], 1, "{link}");
    child
}

const PRINT: &str = "upstream.messages = \"print\"\n";

#[test]
fn a_parent_is_reached_in_a_websocket() {
    let mut parent = Parent::with(PRINT);
    let settings = parent.adopt_in_websocket("child1");
    messages_flow(&mut parent, &settings);
}

#[test]
fn a_parent_is_reached_in_tls_through_a_proxy() {
    let mut parent = Parent::with(PRINT);
    let (port, connected) = proxy();
    let settings = parent.adopt("child1");
    let proxy = format!("upstream.proxy = \"http://user:secret@127.0.0.1:{port}\"\n");
    messages_flow(&mut parent, &format!("{settings}{proxy}"));
    assert_eq!(connected.load(Ordering::SeqCst), 1);
}

#[test]
fn a_parent_is_reached_through_a_proxy_and_a_websocket() {
    let mut parent = Parent::with(PRINT);
    let (port, connected) = proxy();
    let settings = parent.adopt_through("child1", &format!("http://user:secret@127.0.0.1:{port}"));
    let child = messages_flow(&mut parent, &settings);
    assert_eq!(connected.load(Ordering::SeqCst), 1);
    child.eventually("all are accepted", |child| {
        child.metrics().contains("edge_upstream_messages_total{") && child.depth("$upstream") == 0
    });
}

#[test]
fn why_there_is_no_parent_is_said() {
    let parent = Parent::with("");
    let (port, _) = proxy();
    let settings = parent.adopt_through("child1", &format!("http://user:wrong@127.0.0.1:{port}"));
    let mut child = Daemon::with(&settings);
    child.running().says("407 Proxy Authentication Required");
    let device: Value = serde_json::from_str(&child.call("GET", "/v1/device", "").1).unwrap();
    assert_eq!(device["upstream"]["connected"], false, "{device}");
    let why = device["upstream"]["why"].as_str().unwrap();
    assert!(why.contains("407"), "{why}");
}

/// Without room in the parent messages wait in the child, on a connection that stays.
#[test]
fn a_parent_without_room_is_waited_for() {
    let parent = Parent::with("store.limit = \"1MiB\"\n");
    let child = Daemon::with(&parent.adopt("child1"));
    let body = format!("\"{}\"", "x".repeat(60_000));
    let count = 40u64;
    for _ in 0..count {
        child.send("$upstream", &body);
    }
    // Twice as long as a parent may owe an answer.
    std::thread::sleep(std::time::Duration::from_secs(9));
    let link = link(&child);
    assert_eq!(link["connected"], true, "{link}");
    assert_eq!(link["connections"], 1, "{link}");
    // All that it has not taken was sent to it, and waits here all the same.
    let waiting = count - link["accepted"].as_u64().unwrap();
    assert!(waiting > 0, "the parent took all of it: {link}");
    assert_eq!(link["waiting"], waiting, "{link}");
    assert_eq!(link["under_way"], waiting, "{link}");
    let metrics = child.metrics();
    for name in ["edge_upstream_waiting{", "edge_upstream_under_way{"] {
        let line = metrics.lines().find(|line| line.starts_with(name));
        let line = line.unwrap_or_else(|| panic!("no {name} in {metrics}"));
        assert!(line.ends_with(&format!(" {waiting}")), "{line}");
    }
}

#[test]
fn without_a_parent_all_messages_wait_and_none_is_under_way() {
    let (mut parent, child) = family();
    child.eventually("it is connected", |child| link(child)["connected"] == true);
    parent.daemon.kill();
    for n in 0..5 {
        child.send("$upstream", &n.to_string());
    }
    child.eventually("it is without a parent", |child| {
        link(child)["connected"] == false
    });
    let link = link(&child);
    assert_eq!(link["waiting"], 5, "{link}");
    assert_eq!(link["under_way"], 0, "{link}");
}

#[test]
fn bytes_that_go_up_are_counted_by_day_and_over_restarts() {
    const BODY: u64 = 100_000;
    let (_parent, mut child) = family();
    let up = |child: &Daemon| -> u64 {
        let link = link(child);
        let days = link["days"].as_object().unwrap();
        // Two, if midnight was in between.
        days.values().map(|day| day["up"].as_u64().unwrap()).sum()
    };
    let body = format!("\"{}\"", "x".repeat(usize::try_from(BODY).unwrap()));
    child.send("$upstream", &body);
    child.waits("$upstream", 0);
    let once = up(&child);
    // The message, and no more than some words beside it.
    assert!((BODY..BODY * 3 / 2).contains(&once), "{once}");
    child.stop().code(0);
    child.again();
    child.send("$upstream", &body);
    child.waits("$upstream", 0);
    let twice = up(&child);
    assert!((once + BODY..BODY * 3).contains(&twice), "{twice}");
}

#[test]
fn what_is_reported_while_the_link_is_cut_comes_up_as_one_state() {
    let (mut parent, child) = family();
    let manifest = Manifest::new().module("m", "device_twin", json!({}));
    child.apply(&manifest);
    let want = |interval: &str| {
        let set = format!("twin set m {{\"interval\":{interval}}}");
        child.edge(&set).output("").code(0);
    };
    let says = |daemon: &Daemon, target: &str, refused: &str| {
        let reported = reported(daemon, target);
        reported["interval"] == 7
            && reported["intervalRefused"]
                .as_str()
                .is_some_and(|why| why.contains(refused))
    };
    let version = |parent: &Daemon| {
        let twin = parent.json("twin get child1/m");
        twin["reported"]["version"].as_u64().unwrap()
    };
    want("3");
    parent.daemon.eventually("it is reported", |parent| {
        reported(parent, "child1/m")["interval"] == 3
    });
    let before = version(&parent.daemon);
    parent.daemon.stop().code(0);
    want("7");
    child.eventually("it says the one thing", |child| {
        reported(child, "m")["interval"] == 7
    });
    want("\"often\"");
    child.eventually("it says the other, too", |child| says(child, "m", "often"));
    parent.daemon.again();
    parent
        .daemon
        .eventually("both are there", |parent| says(parent, "child1/m", "often"));
    assert_eq!(version(&parent.daemon), before + 1);
}

#[test]
fn deployments_of_a_parent_are_left_where_they_are_to_be_ignored() {
    let parent = Parent::with("");
    let settings = parent.adopt("child1");
    let mut child = Daemon::with(&format!("{settings}upstream.deployments = \"ignore\"\n"));
    let counter = |name: &str| {
        let grants = json!({"grants": {"state": true}});
        Manifest::new().module(name, "counter", grants)
    };
    child.apply(&counter("own"));
    let path = deploy_here(&child, &counter("theirs"), "theirs");
    let apply = parent.daemon.edge("apply --device child1").arg(&path);
    apply.output("").code(0);
    child.running().says("a deployment of the parent's is left");
    // What else the parent wants is taken all the same.
    parent
        .daemon
        .edge(r#"twin set child1 {"x":1}"#)
        .output("")
        .code(0);
    child.eventually("it came down", |child| desired(child, "child1")["x"] == 1);
    assert_eq!(child.module("own")["status"], "running");
    assert!(child.module("theirs").is_null());
}

#[test]
fn a_message_that_the_parent_has_no_room_for_in_any_case_holds_up_nobody() {
    let parent = Parent::with("hub.message-limit = \"4KiB\"\n");
    let child = Daemon::with(&parent.adopt("child1"));
    let large = format!("\"{}\"", "x".repeat(20 << 10));
    for body in ["\"before\"", &large, "\"after\""] {
        child.send("$upstream", body);
    }
    child.eventually("all are settled", |child| {
        let link = link(child);
        [&link["accepted"], &link["rejected"]] == [2, 1]
    });
    child.waits("$upstream", 0);
    parent.daemon.waits("$upstream", 2);
}

#[test]
fn a_root_writes_messages_to_a_file_of_the_day() {
    let daemon = Daemon::with("upstream.messages = \"files\"\n");
    for n in 0..10 {
        daemon.send("$upstream", &n.to_string());
    }
    daemon.waits("$upstream", 0);
    let folder = daemon.data().join("upstream");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    // Two, if midnight was in between.
    let text: String = files
        .iter()
        .map(|file| std::fs::read_to_string(file).unwrap())
        .collect();
    let bodies: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["body"].clone())
        .collect();
    assert_eq!(bodies, (0..10).map(Value::from).collect::<Vec<_>>());
}
