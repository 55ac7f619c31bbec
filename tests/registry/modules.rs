//! Modules whose components are in a registry.

use std::net::TcpListener;

use serde_json::json;

use crate::support::registry::{PASSWORD, Registry, USER};
use crate::support::{Daemon, edge, sample};
use crate::{World, component_digest, credentials, filter, works};

#[test]
fn a_component_from_a_registry_runs_and_runs_again_without_a_network() {
    let (mut world, mut daemon) = (World::new(), Daemon::start());
    world.push("filter", "a/filter:1");
    daemon.apply(&filter(&world.image("a/filter:1")));
    works(&daemon);
    assert_eq!(
        daemon.module("filter")["digest"],
        component_digest("filter").as_str()
    );
    world.registry.kill();
    for crash in [true, false] {
        match crash {
            true => daemon.kill(),
            false => drop(daemon.stop()),
        }
        daemon.again();
        daemon.becomes("filter", "running");
        works(&daemon);
    }
}

#[test]
fn credentials_come_from_the_manifest_or_from_the_settings() {
    let registry = Registry::with_password();
    let image = format!("{}/filter:1", registry.address());
    let push = edge(["push"]).arg(sample("filter")).arg(&image);
    let push = push.args(&format!("--username {USER} --password-stdin"));
    push.output(PASSWORD).code(0);

    let daemon = Daemon::start();
    daemon.apply_only(&filter(&image));
    daemon.eventually("it says what is missing", |daemon| {
        let why = daemon.module("filter")["description"].to_string();
        why.contains("without credentials") && why.contains("registryCredentials")
    });
    // Wrong credentials may pass: it is tried again.
    daemon.becomes("filter", "backoff");
    daemon.apply(&filter(&image).agent("runtime", credentials(registry.address())));
    works(&daemon);

    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), format!("{PASSWORD}\n")).unwrap();
    let daemon = Daemon::with(&format!(
        "[[registries]]\naddress = \"{}\"\nusername = \"{USER}\"\npassword-file = \"{}\"\n",
        registry.address(),
        secret.path().display()
    ));
    daemon.apply(&filter(&image));
    works(&daemon);
}

#[test]
fn a_tag_is_resolved_once_and_a_changed_module_resolves_it_anew() {
    let (world, mut daemon) = (World::new(), Daemon::start());
    let image = world.image("a/filter:1");
    world.push("filter", "a/filter:1");
    daemon.apply(&filter(&image));
    let (first, second) = (component_digest("filter"), component_digest("counter"));
    let runs = |daemon: &Daemon, digest: &str| {
        daemon.eventually(&format!("{digest} runs"), |daemon| {
            let module = daemon.module("filter");
            module["status"] == "running" && module["digest"] == digest
        });
    };
    runs(&daemon, &first);
    world.push("counter", "a/filter:1");
    // Neither a start, nor the same deployment, nor one that leaves the module as it is.
    daemon.kill();
    daemon.again();
    runs(&daemon, &first);
    daemon.apply(&filter(&image));
    runs(&daemon, &first);
    let other = filter(&image).module("sensor", "sensor", json!({}));
    daemon.apply(&other);
    daemon.kill();
    daemon.again();
    runs(&daemon, &first);
    let granted = json!({"grants": {"state": true}});
    let changed = filter(&image).setting("filter", "createOptions", granted);
    daemon.apply(&changed);
    runs(&daemon, &second);
    // What is brought back is what it was, whatever the tag leads to.
    daemon.edge("rollback 1").output("").code(0);
    runs(&daemon, &first);
    daemon.kill();
    daemon.again();
    runs(&daemon, &first);
}

#[test]
fn a_pin_holds_where_the_tag_moves() {
    let (world, daemon) = (World::new(), Daemon::start());
    let digest = world.push("filter", "a/filter:1");
    world.push("counter", "a/filter:1");
    let pinned = format!("{}@{digest}", world.image("a/filter:1"));
    daemon.apply(&filter(&pinned));
    works(&daemon);
    let pinned = filter(&world.image("a/filter:1")).setting("filter", "digest", digest.into());
    daemon.apply(&pinned);
    assert_eq!(
        daemon.module("filter")["digest"],
        component_digest("filter").as_str()
    );
}

#[test]
fn components_that_no_kept_deployment_needs_are_removed_and_others_stay() {
    let (world, daemon) = (World::new(), Daemon::start());
    world.push("filter", "a/filter:1");
    daemon.apply(&filter(&world.image("a/filter:1")));
    let file = |name: &str| {
        let digest = component_digest(name);
        let hex = digest.strip_prefix("sha256:").unwrap().to_owned();
        daemon.data().join("components").join(format!("{hex}.wasm"))
    };
    assert!(file("filter").exists());
    // Ten deployments are kept.
    for number in 1..=10 {
        assert!(file("filter").exists(), "{number}");
        let sensor = crate::Manifest::new().module("sensor", "sensor", json!({}));
        daemon.apply(&sensor.env("sensor", "number", &number.to_string()));
    }
    assert!(!file("filter").exists() && file("sensor").exists());
}

#[test]
fn a_registry_that_stalls_delays_no_other_module() {
    // It takes connections, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (world, daemon) = (World::new(), Daemon::start());
    world.push("filter", "a/filter:1");
    let image = format!("{}/slow:1", silent.local_addr().unwrap());
    let manifest = filter(&world.image("a/filter:1")).component("slow", &image, json!({}));
    daemon.apply_only(&manifest);
    daemon.becomes("filter", "running");
    works(&daemon);
    daemon.becomes("slow", "downloading");
    daemon.edge("restart filter").output("").code(0);
    daemon.becomes("filter", "running");
    works(&daemon);
    // What is no longer wanted is given up, and does not hold up the end.
    daemon.apply(&filter(&world.image("a/filter:1")));
    works(&daemon);
}

#[test]
fn edge_run_names_what_is_in_a_registry_as_skipped() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    let manifest = filter(&world.image("a/filter:1")).module("sensor", "sensor", json!({}));
    let path = manifest.write(dir.path());
    let run = edge(["run", "--for", "1ms", "--manifest"]).arg(path);
    let output = run.output("");
    assert!(
        output.err.contains("it comes from a registry"),
        "{output:#?}"
    );
}
