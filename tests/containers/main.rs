//! Containers as modules, with a real engine: each test starts a dockerd of its own, and the daemon beside
//! it. Needs root, docker.io and busybox-static.

#![allow(clippy::unwrap_used, reason = "tests")]

mod proxy;
mod pulling;
mod sdk;
#[path = "../support/mod.rs"]
mod support;
mod trust;

use std::fs;

use serde_json::{Value, json};
use support::{Daemon, Manifest};

use support::engine::{Engine, IMAGE, becomes, container, fails, module, with_options};

/// Runs until it is stopped, and ends at once then.
const WAIT: &str = "trap 'exit 0' TERM; while :; do sleep 0.1; done";

#[test]
fn a_container_runs_and_is_restarted_when_it_exits() {
    let engine = Engine::start();
    let daemon = engine.daemon();
    // It keeps its files when it is started again: what it wrote says that it ran before.
    let script = format!("if [ -e /tmp/ran ]; then {WAIT}; fi; touch /tmp/ran; exit 3");
    let manifest = container("worker", &script)
        .key("worker", "restartPolicy", "on-failure".into())
        .env("worker", "RATE", "5");
    // Whether it counts as well just then is a matter of time.
    daemon
        .edge("apply")
        .arg(manifest.write(daemon.dir()))
        .output("");
    let found = becomes(&daemon, "worker", "backoff");
    assert_eq!(found["exit_code"], 3, "{found}");
    let found = becomes(&daemon, "worker", "running");
    assert_eq!(found["restarts"], 1, "{found}");
    assert_eq!(found["digest"], engine.inspect("worker")["Image"]);

    let environment = engine.docker(&["exec", "worker", "/bin/env"]);
    for line in [
        "RATE=5",
        "IOTEDGE_MODULEID=worker",
        "IOTEDGE_AUTHSCHEME=sasToken",
        "IOTEDGE_WORKLOADURI=unix:///run/edge/workload/sock",
    ] {
        assert!(
            environment.lines().any(|known| known == line),
            "{line} in {environment}"
        );
    }
    engine.docker(&[
        "exec",
        "worker",
        "/bin/test",
        "-S",
        "/run/edge/workload/sock",
    ]);
    let networks = &engine.inspect("worker")["NetworkSettings"]["Networks"];
    assert!(
        networks["azure-iot-edge"]["IPAddress"]
            .as_str()
            .is_some_and(|ip| !ip.is_empty())
    );
}

#[test]
fn a_stopped_module_is_stopped_and_removed_with_its_deployment() {
    let engine = Engine::start();
    let daemon = engine.daemon();
    let manifest = container("worker", WAIT);
    daemon.apply(&manifest);
    becomes(&daemon, "worker", "running");
    // What is not ours stays, whatever happens.
    engine.docker(&[
        "run",
        "--detach",
        "--name",
        "other",
        "--network",
        "none",
        IMAGE,
        "/bin/sleep",
        "1000",
    ]);

    daemon.apply(&manifest.clone().key("worker", "status", "stopped".into()));
    becomes(&daemon, "worker", "stopped");
    assert_eq!(engine.inspect("worker")["State"]["Running"], false);

    daemon.apply(&Manifest::new());
    daemon.eventually("the container is gone", |_| {
        engine.containers() == ["other"]
    });
    assert_eq!(engine.inspect("other")["State"]["Running"], true);
}

#[test]
fn another_build_of_a_module_takes_the_place_of_the_one_before() {
    let engine = Engine::start();
    let daemon = engine.daemon();
    daemon.apply(&container("worker", WAIT));
    becomes(&daemon, "worker", "running");
    let before = engine.inspect("worker");
    daemon.apply(&container("worker", WAIT).env("worker", "RATE", "6"));
    daemon.eventually("another one runs", |daemon| {
        module(daemon, "worker")["status"] == "running"
            && engine.inspect("worker")["Id"] != before["Id"]
    });
    let environment = engine.docker(&["exec", "worker", "/bin/env"]);
    assert!(environment.contains("RATE=6"), "{environment}");
}

#[test]
fn a_daemon_that_was_killed_adopts_its_containers() {
    let engine = Engine::start();
    let mut daemon = engine.daemon();
    let manifest = container("worker", WAIT).key("worker", "restartPolicy", "never".into());
    daemon.apply(&manifest);
    becomes(&daemon, "worker", "running");
    let identity = |found: &Value| (found["Id"].clone(), found["State"]["StartedAt"].clone());
    let before = identity(&engine.inspect("worker"));
    for end in ["crash", "stop"] {
        match end {
            "stop" => drop(daemon.stop().code(0)),
            _ => daemon.kill(),
        }
        assert_eq!(engine.inspect("worker")["State"]["Running"], true, "{end}");
        daemon.again();
        becomes(&daemon, "worker", "running");
        assert_eq!(identity(&engine.inspect("worker")), before, "{end}");
    }
    // Its socket is that of the new daemon.
    engine.docker(&[
        "exec",
        "worker",
        "/bin/test",
        "-S",
        "/run/edge/workload/sock",
    ]);
    // It is watched as one that this daemon started.
    engine.docker(&["kill", "worker"]);
    let found = becomes(&daemon, "worker", "failed");
    assert_eq!(found["exit_code"], 137, "{found}");
}

#[test]
fn what_left_the_deployment_while_the_daemon_was_away_is_removed() {
    let engine = Engine::start();
    let mut daemon = engine.daemon();
    daemon.apply(&container("worker", WAIT));
    becomes(&daemon, "worker", "running");
    // One of this device that no deployment names: as if it had been deployed before.
    let labels = engine.inspect("worker")["Config"]["Labels"].clone();
    let device = format!("edge.device={}", labels["edge.device"].as_str().unwrap());
    let words = ["run", "--detach", "--name", "stray", "--network", "none"];
    let labels = [
        "--label",
        "net.azure-devices.edge.owner=edge",
        "--label",
        "edge.module=stray",
        "--label",
        &device,
    ];
    engine.docker(&[&words[..], &labels, &[IMAGE, "/bin/sleep", "1000"]].concat());
    daemon.kill();
    daemon.again();
    daemon.eventually("the stray is gone", |_| engine.containers() == ["worker"]);
}

#[test]
fn privileges_are_refused_and_the_setting_named() {
    let engine = Engine::start();
    let daemon = engine.daemon();
    let data = daemon.dir().join("given");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("file"), "").unwrap();
    let bind = format!("{}:/given", data.display());
    for (asked, setting) in [
        (
            json!({"HostConfig": {"Privileged": true}}),
            "\"privileged\"",
        ),
        (
            json!({"hostconfig": {"PRIVILEGED": true}}),
            "\"privileged\"",
        ),
        (
            json!({"HostConfig": {"CapAdd": ["SYS_ADMIN"]}}),
            "\"capabilities\"",
        ),
        (json!({"HostConfig": {"Binds": [&bind]}}), "\"host-mounts\""),
        (
            json!({"HostConfig": {"NetworkMode": "host"}}),
            "\"host-network\"",
        ),
    ] {
        let manifest = with_options("worker", asked);
        daemon
            .edge("apply")
            .arg(manifest.write(daemon.dir()))
            .output("");
        let found = becomes(&daemon, "worker", "failed");
        let why = found["description"].as_str().unwrap();
        assert!(
            why.contains(setting) && why.contains("[containers]"),
            "{found}"
        );
    }
    assert!(engine.containers().is_empty());

    let daemon = Daemon::with(&engine.settings("allow = [\"host-mounts\"]"));
    let options = json!({"Cmd": ["/bin/sh", "-c", WAIT], "HostConfig": {"Binds": [&bind]}});
    daemon.apply(&with_options("worker", options));
    becomes(&daemon, "worker", "running");
    engine.docker(&["exec", "worker", "/bin/test", "-e", "/given/file"]);
}

#[test]
fn an_unknown_create_option_reaches_the_engine() {
    let engine = Engine::start();
    let socket = engine.socket().with_file_name("proxy.sock");
    let sent = proxy::start(engine.socket(), &socket);
    let daemon = Daemon::with(&format!(
        "[containers]\nsocket = \"unix://{}\"\n",
        socket.display()
    ));
    let options = json!({
        "Cmd": ["/bin/sh", "-c", WAIT],
        "UnheardOf": {"a": [1, 2.5, null]},
        "HostConfig": {"UnheardOfHost": "x", "Mounts": [
            {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"FutureOption": true}},
        ]},
    });
    daemon.apply(&with_options("worker", options.clone()));
    becomes(&daemon, "worker", "running");
    let sent = sent.lock().unwrap();
    let texts = sent.iter().map(|bytes| String::from_utf8_lossy(bytes));
    let create = texts.filter(|text| text.contains("/containers/create?name=worker"));
    let bodies: Vec<Value> = create
        .map(|text| serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap())
        .collect();
    let [body] = &bodies[..] else {
        panic!("{bodies:?}");
    };
    assert_eq!(body["UnheardOf"], options["UnheardOf"]);
    assert_eq!(body["HostConfig"]["UnheardOfHost"], "x");
    assert_eq!(
        body["HostConfig"]["Mounts"][0],
        options["HostConfig"]["Mounts"][0]
    );
    assert_eq!(
        body["Image"],
        engine.inspect("worker")["Image"],
        "not by its name"
    );
}

#[test]
fn a_wrong_digest_is_refused() {
    let engine = Engine::start();
    let daemon = engine.daemon();
    let id = engine.docker(&["image", "inspect", "--format", "{{.Id}}", IMAGE]);
    let wrong = format!("sha256:{}", "ab".repeat(32));
    let pinned = |digest: &str| {
        let options = json!({"Cmd": ["/bin/sh", "-c", WAIT]});
        let image = format!("{IMAGE}@{digest}");
        let manifest = Manifest::new().container("worker", &image, options);
        manifest.key("worker", "imagePullPolicy", "never".into())
    };
    daemon
        .edge("apply")
        .arg(pinned(&wrong).write(daemon.dir()))
        .output("");
    let found = becomes(&daemon, "worker", "failed");
    let why = found["description"].as_str().unwrap();
    assert!(why.contains(&wrong) && why.contains(&id), "{found}");
    assert!(engine.containers().is_empty());

    daemon.apply(&pinned(&id));
    becomes(&daemon, "worker", "running");
    // The tag moves on; what was checked is what runs, and what goes on after a restart of the daemon.
    engine.import("edge-test:2");
    engine.docker(&["tag", "edge-test:2", IMAGE]);
    daemon.edge("restart worker").output("").code(0);
    daemon.eventually("it was restarted", |daemon| {
        module(daemon, "worker")["status"] == "running"
    });
    assert_eq!(engine.inspect("worker")["Image"], id.as_str());
}

#[test]
fn an_image_that_is_not_there_is_named() {
    let engine = Engine::start();
    let daemon = engine.daemon();
    let manifest = Manifest::new().container("worker", "nobody.invalid/none:1", json!({}));
    let parts = ["cannot fetch image nobody.invalid/none:1"];
    fails(&daemon, &manifest, "worker", &parts);
    let never = manifest.key("worker", "imagePullPolicy", "never".into());
    fails(&daemon, &never, "worker", &["imagePullPolicy is never"]);
}

#[test]
fn the_engine_may_restart_under_the_daemon() {
    let mut engine = Engine::start();
    let daemon = engine.daemon();
    daemon.apply(&container("worker", WAIT));
    becomes(&daemon, "worker", "running");
    engine.kill();
    engine.again();
    // It ended with its engine, which the daemon finds out when that is back, and starts it again.
    daemon.eventually("it is started again", |daemon| {
        let found = module(daemon, "worker");
        found["status"] == "running" && found["restarts"] == 1
    });
    assert_eq!(engine.inspect("worker")["State"]["Running"], true);
    // Events come as they did before.
    engine.docker(&["kill", "worker"]);
    daemon.eventually("its end is seen", |daemon| {
        module(daemon, "worker")["exit_code"] == 137
    });
}

#[test]
fn a_failing_health_check_makes_a_module_unhealthy() {
    let engine = Engine::start();
    let daemon = engine.daemon();
    let second = 1_000_000_000_u64;
    let options = json!({
        "Cmd": ["/bin/sh", "-c", WAIT],
        "Healthcheck": {
            "Test": ["CMD", "/bin/sh", "-c", "[ -e /tmp/well ] || { echo no pressure; exit 1; }"],
            "Interval": second, "Timeout": 5 * second, "Retries": 1,
        },
    });
    let manifest =
        with_options("worker", options).key("worker", "restartPolicy", "on-failure".into());
    daemon.apply(&manifest);
    let found = becomes(&daemon, "worker", "unhealthy");
    let why = found["description"].as_str().unwrap();
    assert!(why.contains("no pressure"), "{found}");
    engine.docker(&["exec", "worker", "/bin/touch", "/tmp/well"]);
    becomes(&daemon, "worker", "running");
}

#[test]
fn containers_that_start_at_once_share_the_one_network() {
    let engine = Engine::start();
    let daemon = engine.daemon();
    let names = ["n1", "n2", "n3", "n4", "n5"];
    let options = json!({"Cmd": ["/bin/sh", "-c", WAIT]});
    let manifest = names.iter().fold(Manifest::new(), |manifest, name| {
        manifest.container(name, IMAGE, options.clone()).key(
            name,
            "imagePullPolicy",
            "never".into(),
        )
    });
    daemon.apply(&manifest);
    for name in names {
        becomes(&daemon, name, "running");
    }
    let networks = engine.docker(&["network", "ls", "--format", "{{.Name}}"]);
    let ours = networks.lines().filter(|name| *name == "azure-iot-edge");
    assert_eq!(ours.count(), 1, "{networks}");
}

#[test]
fn podman_does_it_as_well() {
    let engine = Engine::podman();
    let mut daemon = engine.daemon();
    let options = json!({
        "Cmd": ["/bin/sh", "-c", format!("echo started; {WAIT}")],
        "HostConfig": {"NetworkMode": "none"},
    });
    daemon.apply(&with_options("worker", options));
    becomes(&daemon, "worker", "running");
    engine.docker(&["kill", "worker"]);
    becomes(&daemon, "worker", "backoff");
    becomes(&daemon, "worker", "running");
    let started = |engine: &Engine| engine.inspect("worker")["State"]["StartedAt"].clone();
    let before = started(&engine);
    daemon.kill();
    daemon.again();
    let found = becomes(&daemon, "worker", "running");
    assert_eq!((started(&engine), &found["restarts"]), (before, &json!(1)));
    let logs = daemon.edge("logs worker").output("").code(0).out;
    assert!(logs.contains("started"), "{logs}");
    daemon.apply(&Manifest::new());
    daemon.eventually("it is gone", |_| engine.containers().is_empty());
}

#[test]
fn a_flood_of_lines_is_said_and_its_end_is_shown() {
    let engine = Engine::start();
    let daemon = engine.daemon();
    let flood = "i=0; while [ $i -lt 60000 ]; do echo line $i; i=$((i+1)); done";
    daemon.apply(&container("worker", &format!("{flood}; {WAIT}")));
    becomes(&daemon, "worker", "running");
    daemon.eventually("the last line is there", |daemon| {
        let logs = daemon.edge("logs worker").output("").out;
        logs.contains("line 59999\n")
    });
    let logs = daemon.edge("logs worker").output("").code(0).out;
    let note = logs.find("more than 1000 lines a second");
    assert!(note < logs.find("line 59999\n") && note.is_some(), "{logs}");
}

#[test]
fn logs_are_shown() {
    let engine = Engine::start();
    let mut daemon = engine.daemon();
    let script = format!("echo to you; echo beware >&2; {WAIT}");
    daemon.apply(&container("worker", &script));
    becomes(&daemon, "worker", "running");
    let shown = |daemon: &Daemon| {
        let logs = daemon.edge("logs worker").output("").out;
        logs.matches("to you").count() == 1 && logs.matches("beware").count() == 1
    };
    daemon.eventually("both lines, once", shown);
    // A daemon that adopts a container shows what it wrote before.
    daemon.kill();
    daemon.again();
    becomes(&daemon, "worker", "running");
    daemon.eventually("both lines, once, after a crash", shown);
}
