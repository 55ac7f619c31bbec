//! `--manifest`: modules, routes, twins and priorities of a deployment.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use crate::support::{Edge, edge, sample, sample_as};

/// A folder with a manifest and the components that it names.
struct Deployment {
    dir: TempDir,
    modules: Value,
    routes: Value,
    twins: Vec<(String, Value)>,
}

impl Deployment {
    fn new() -> Self {
        Self {
            dir: tempdir().unwrap(),
            modules: json!({}),
            routes: json!({}),
            twins: Vec::new(),
        }
    }

    /// A module of a sample, with more keys for it.
    fn module(mut self, name: &str, sample: &str, more: Value) -> Self {
        sample_as(sample, self.dir.path(), name);
        let mut module = json!({
            "type": "wasm", "version": "1.0", "status": "running", "restartPolicy": "always",
            "settings": {"image": format!("file:{name}.wasm"), "createOptions": {"grants": {"state": sample == "misbehave"}}},
        });
        for (key, value) in more.as_object().unwrap() {
            module[key] = value.clone();
        }
        self.modules[name] = module;
        self
    }

    fn route(mut self, name: &str, route: impl Into<Value>) -> Self {
        self.routes[name] = route.into();
        self
    }

    fn twin(mut self, module: &str, desired: Value) -> Self {
        self.twins
            .push((module.to_owned(), json!({"properties.desired": desired})));
        self
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("deployment.json")
    }

    fn write(&self) -> PathBuf {
        let mut content = json!({
            "$edgeAgent": {"properties.desired": {"schemaVersion": "1.1", "modules": self.modules}},
            "$edgeHub": {"properties.desired": {"schemaVersion": "1.1", "routes": self.routes}},
        });
        for (module, twin) in &self.twins {
            content[module] = twin.clone();
        }
        let text = serde_json::to_string_pretty(&json!({"modulesContent": content})).unwrap();
        fs::write(self.path(), text).unwrap();
        self.path()
    }

    fn run(&self) -> Edge {
        run(&self.write())
    }
}

fn run(manifest: &Path) -> Edge {
    edge(["run", "--manifest"]).arg(manifest)
}

fn into(module: &str) -> String {
    format!("INTO BrokeredEndpoint(\"/modules/{module}/inputs/input1\")")
}

#[test]
fn modules_and_routes_of_a_manifest_run_and_upstream_is_printed() {
    let deployment = Deployment::new()
        .module("source", "misbehave", json!({}))
        .module(
            "hot",
            "filter",
            json!({"env": {"threshold": {"value": "30"}}}),
        )
        .route(
            "toFilter",
            format!("FROM /messages/modules/source/outputs/* {}", into("hot")),
        )
        .route("up", "FROM /messages/modules/hot/outputs/* INTO $upstream");
    let lines = "{\"temperature\":29}\n{\"temperature\":31}\n";
    let output = deployment
        .run()
        .args("--to source/input1")
        .output(lines)
        .code(0)
        .silent();
    assert_eq!(output.lines()[0]["module"], json!("hot"));
    output.prints([json!({"temperature": 31})]);
    let output = deployment
        .run()
        .args("--to hot/alarms")
        .output(lines)
        .code(0)
        .silent();
    output.prints([json!({"temperature": 31})]);
    // Paths are relative to the manifest, wherever the program is started.
    let elsewhere = tempdir().unwrap();
    deployment
        .run()
        .dir(elsewhere.path())
        .args("--to hot")
        .output(lines)
        .code(0)
        .silent();
}

#[test]
fn containers_and_stopped_modules_are_named_as_skipped() {
    let mut deployment = Deployment::new()
        .module("here", "misbehave", json!({}))
        .module("off", "filter", json!({"status": "stopped"}))
        .route("up", "FROM /messages/modules/here INTO $upstream");
    deployment.modules["sensor"] = json!({
        "type": "docker", "status": "running", "restartPolicy": "always",
        "settings": {"image": "mcr.example/sensor:1.5", "createOptions": ""},
    });
    deployment.modules["far"] =
        json!({"type": "wasm", "settings": {"image": "registry.local/far:1.0"}});
    let output = deployment
        .run()
        .args("--body x")
        .output("")
        .code(0)
        .prints([json!("x")]);
    let output = output.says("module sensor skipped: it is a container (mcr.example/sensor:1.5)");
    output
        .says("module off skipped: ")
        .says("module far skipped: it comes from a registry");
}

#[test]
fn desired_properties_of_a_manifest_reach_its_modules() {
    let deployment = Deployment::new()
        .module("device", "device_twin", json!({}))
        .twin("device", json!({"interval": 42}));
    let output = deployment
        .run()
        .args("--method getInterval")
        .output("")
        .code(0)
        .silent();
    assert_eq!(output.lines()[0]["payload"], json!({"interval": 42}));
}

#[test]
fn timers_of_a_manifest_run() {
    let options = json!({"settings": {"image": "file:sensor.wasm", "createOptions": {"timers": {"poll": "20ms"}}}});
    let deployment = Deployment::new()
        .module("sensor", "sensor", options)
        .route("up", "FROM /messages/* INTO $upstream");
    let mut running = deployment.run().args("--for 20s").start();
    running.close_input();
    assert_eq!(running.body()["machine"]["temperature"], json!(21.0));
}

#[test]
fn a_message_of_higher_priority_overtakes_those_that_wait() {
    let by = |kind: &str, priority: u32| json!({"route": format!("FROM /messages/modules/source WHERE kind = '{kind}' {}", into("sink")), "priority": priority});
    let deployment = Deployment::new()
        .module("source", "filter", json!({}))
        .module("sink", "misbehave", json!({}))
        .route("first", by("first", 7))
        .route("low", by("low", 7))
        .route("high", by("high", 1))
        .route(
            "seen",
            "FROM /messages/modules/source/outputs/* WHERE kind = 'first' INTO $upstream",
        )
        .route("up", "FROM /messages/modules/sink INTO $upstream");
    let mut running = deployment
        .run()
        .args("--to source --format envelope")
        .start();
    // While the sink sleeps over the first, the others gather.
    let message = |body: &str, kind: &str, more: &str| {
        let properties = json!({"temperature": 31, "kind": kind, "do": more, "ms": 500});
        json!({"body": body, "properties": properties}).to_string()
    };
    running.send(&message("first", "first", "sleep"));
    assert_eq!(running.body(), json!("first"), "on its way to the sink");
    for (body, kind) in [
        ("low 1", "low"),
        ("low 2", "low"),
        ("high 1", "high"),
        ("high 2", "high"),
    ] {
        running.send(&message(body, kind, "send"));
    }
    let order: Vec<_> = (0..5).map(|_| running.body()).collect();
    let expected = ["first", "high 1", "high 2", "low 1", "low 2"].map(|body| json!(body));
    assert_eq!(order, expected, "{}", running.said());
}

#[test]
fn a_message_that_is_older_than_its_time_to_live_is_counted_and_not_handled() {
    let route = json!({
        "route": format!("FROM /messages/modules/source/outputs/* {}", into("sink")),
        "timeToLiveSecs": 1,
    });
    let deployment = Deployment::new()
        .module("source", "filter", json!({}))
        .module("sink", "misbehave", json!({}))
        .route("short", route)
        .route(
            "seen",
            "FROM /messages/modules/source/outputs/* INTO $upstream",
        )
        .route("up", "FROM /messages/modules/sink INTO $upstream");
    let sleep = |ms: u64| {
        let mut running = deployment
            .run()
            .args("--to source --format envelope")
            .start();
        let sleeper = json!({"temperature": 31, "do": "sleep", "ms": ms});
        running.send(&json!({"body": "sleeper", "properties": sleeper}).to_string());
        assert_eq!(running.body(), json!("sleeper"), "on its way to the sink");
        running.send(r#"{"body":"waits","properties":{"temperature":31}}"#);
        running.close_input();
        running.end()
    };
    let in_time = sleep(300).code(0).silent();
    assert_eq!(in_time.bodies().len(), 4, "{in_time:#?}");
    let late = sleep(1_300)
        .code(1)
        .says("1 message expired before it was handled");
    let sunk = late
        .lines()
        .into_iter()
        .filter(|line| line["module"] == "sink");
    let sunk: Vec<_> = sunk.map(|line| line["body"].clone()).collect();
    assert_eq!(sunk, ["sleeper"]);
}

#[test]
fn all_mistakes_of_a_manifest_are_told_at_once_with_their_places() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("wrong.json");
    let text = r#"{
  "modulesContent": {
    "$edgeAgent": { "properties.desired": {
      "schemaVersion": "1.1",
      "modules": {
        "filter": {
          "type": "wsam",
          "status": "runing",
          "settings": { "image": "file:filter.wasm" }
        }
      }
    } },
    "$edgeHub": { "properties.desired": {
      "schemaVersion": "1.1",
      "routes": { "up": "FROM /messages INTO" }
    } }
  }
}"#;
    fs::write(&path, text).unwrap();
    let output = run(&path)
        .args("--body x")
        .output("")
        .code(2)
        .prints_nothing();
    let name = path.display();
    for expected in [
        format!("{name}:7:19: error: found \"wsam\", expected one of docker, wasm"),
        format!("{name}:8:21: error: found \"runing\""),
        format!("{name}:15:"),
        "(modulesContent.$edgeAgent[\"properties.desired\"].modules.filter.type)".to_owned(),
        "did you mean \"running\"?".to_owned(),
        "cannot be deployed".to_owned(),
    ] {
        assert!(
            output.err.contains(&expected),
            "{expected:?} is not in {output:#?}"
        );
    }
}

#[test]
fn what_is_no_manifest_is_told_with_its_place() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("m.json");
    for (text, place) in [
        ("", ":1:1:"),
        ("{", ":1:"),
        ("[]", ":1:1:"),
        ("{}", ":1:1:"),
        ("{\n  \"a\": }", ":2:8:"),
        ("\u{feff}{}", ":1:"),
    ] {
        fs::write(&path, text).unwrap();
        let output = run(&path).output("").code(2).prints_nothing();
        assert!(
            output.err.contains(&format!("m.json{place}")),
            "{text:?}: {output:#?}"
        );
    }
    fs::write(&path, [0xff, 0xfe, b'{']).unwrap();
    run(&path).output("").code(2).says("m.json");
    run(&dir.path().join("gone.json"))
        .output("")
        .code(2)
        .says("gone.json");
}

#[test]
fn a_component_that_is_missing_is_told_with_its_path() {
    let deployment = Deployment::new().module("filter", "filter", json!({}));
    deployment.write();
    fs::remove_file(deployment.dir.path().join("filter.wasm")).unwrap();
    deployment
        .run()
        .args("--body x")
        .output("")
        .refused()
        .says("filter.wasm");
}

#[test]
fn the_digest_in_a_manifest_is_held_against_the_file() {
    let zeros = format!("sha256:{}", "0".repeat(64));
    let settings = json!({"settings": {"image": "file:filter.wasm", "digest": zeros}});
    let deployment = Deployment::new().module("filter", "filter", settings);
    deployment
        .run()
        .args("--body x")
        .output("")
        .refused()
        .says(&zeros);
}

#[test]
fn a_warning_does_not_keep_a_manifest_from_running() {
    let deployment = Deployment::new()
        .module("filter", "filter", json!({"statsu": "running"}))
        .route("up", "FROM /messages/modules/filter INTO $upstream");
    let output = deployment
        .run()
        .args("--property temperature=31 --body x")
        .output("");
    output
        .code(0)
        .says("warning: unknown key \"statsu\" is ignored")
        .prints([json!("x")]);
}

#[test]
fn a_route_to_a_module_that_does_not_run_here_is_named_and_holds_nothing_up() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(sample("filter"), dir.path().join("filter.wasm")).unwrap();
    let manifest = serde_json::json!({"modulesContent": {
        "$edgeAgent": {"properties.desired": {"schemaVersion": "1.1", "modules": {
            "filter": {"type": "wasm", "settings": {"image": "file:filter.wasm"}},
            "logger": {"type": "docker", "settings": {"image": "example/logger:1"}},
        }}},
        "$edgeHub": {"properties.desired": {"schemaVersion": "1.1", "routes": {
            "log": "FROM /messages/modules/filter/outputs/* INTO BrokeredEndpoint(\"/modules/logger/inputs/in\")",
            "up": "FROM /messages/modules/filter/outputs/* INTO $upstream",
        }}},
    }});
    let path = dir.path().join("m.json");
    std::fs::write(&path, manifest.to_string()).unwrap();
    // More than a feeder lets wait in all queues.
    let lines = "{\"temperature\":31}\n".repeat(10_000);
    let output = edge(["run", "--manifest"])
        .arg(path)
        .args("--to filter")
        .output(&lines);
    let output = output
        .code(0)
        .says("route log leads to a module that does not run here");
    assert_eq!(output.bodies().len(), 10_000);
}
