//! Images that come from a registry, and what may go wrong on the way. Engine, registry and daemon share a
//! network of the test's own.

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;

use serde_json::{Value, json};

use crate::support::engine::{Engine, IMAGE, becomes, fails, module};
use crate::support::namespace::isolated;
use crate::support::registry::{PASSWORD, Registry, USER};
use crate::support::{Daemon, Manifest};
use crate::{WAIT, proxy};

/// Pushes an image of its own, forgets it, and gives its digest in the registry and its id.
fn push(engine: &Engine, registry: &Registry, name: &str) -> (String, String) {
    let image = format!("{}/{name}", registry.address());
    let id = engine.import(&image);
    let said = engine.docker(&["push", &image]);
    let (_, digest) = said.split_once("digest: ").unwrap();
    let digest = digest.split_whitespace().next().unwrap().to_owned();
    engine.docker(&["rmi", "--force", &id]);
    (digest, id)
}

fn waiting(name: &str, image: &str) -> Manifest {
    let options = json!({"Cmd": ["/bin/sh", "-c", WAIT]});
    Manifest::new().container(name, image, options)
}

fn with_credentials(manifest: Manifest, registry: &Registry, password: &str) -> Manifest {
    let known = json!({"address": registry.address(), "username": USER, "password": password});
    let settings = json!({"registryCredentials": {"r": known}});
    manifest.agent("runtime", json!({"type": "docker", "settings": settings}))
}

isolated! {
    fn an_image_comes_with_the_registrys_credentials_and_not_without() {
        let (engine, registry) = (Engine::start(), Registry::with_password());
        let words = ["login", "--username", USER, "--password", PASSWORD, registry.address()];
        engine.docker(&words);
        push(&engine, &registry, "cam:1");
        engine.docker(&["logout", registry.address()]);
        let daemon = engine.daemon();
        let manifest = waiting("cam", &format!("{}/cam:1", registry.address()));
        let parts = ["cannot fetch image", "no basic auth credentials"];
        let found = fails(&daemon, &manifest, "cam", &parts);
        assert_eq!(found["status"], "backoff", "{found}");
        let wrong = with_credentials(manifest.clone(), &registry, "wrong");
        fails(&daemon, &wrong, "cam", &["cannot fetch image", "unauthorized"]);
        daemon.apply(&with_credentials(manifest, &registry, PASSWORD));
        becomes(&daemon, "cam", "running");
        // Nowhere in what people look at.
        for words in ["list --json", "logs cam", "deployments --json", "twin get cam"] {
            let output = daemon.edge(words).output("");
            assert!(!output.out.contains(PASSWORD), "{words}: {output:#?}");
        }
    }

    fn what_is_pinned_comes_and_nothing_else_does() {
        let (engine, registry) = (Engine::start(), Registry::start());
        let (digest, id) = push(&engine, &registry, "cam:1");
        let (other, _) = push(&engine, &registry, "cam:2");
        assert_ne!(digest, other);
        let daemon = engine.daemon();
        let image = format!("{}/cam", registry.address());
        // The tag leads elsewhere: the digest counts.
        daemon.apply(&waiting("cam", &format!("{image}:2@{digest}")));
        becomes(&daemon, "cam", "running");
        assert_eq!(engine.inspect("cam")["Image"], id);
        let nowhere = format!("{image}@sha256:{}", "0".repeat(64));
        let found = fails(&daemon, &waiting("cam", &nowhere), "cam", &["nothing with digest sha256:000"]);
        assert_eq!(found["conditions"][0]["permanent"], true, "{found}");
        // What ran goes on meanwhile.
        assert_eq!(found["status"], "running", "{found}");
    }

    fn a_tag_is_resolved_once_in_a_deployment() {
        let (engine, registry) = (Engine::start(), Registry::start());
        let (_, first) = push(&engine, &registry, "cam:1");
        let mut daemon = engine.daemon();
        let image = format!("{}/cam:1", registry.address());
        daemon.apply(&waiting("cam", &image));
        becomes(&daemon, "cam", "running");
        assert_eq!(engine.inspect("cam")["Image"], first);
        // The tag moves, and nothing is left here of what it was.
        daemon.kill();
        engine.docker(&["rm", "--force", "cam"]);
        engine.docker(&["rmi", "--force", &first]);
        let (_, second) = push(&engine, &registry, "cam:1");
        assert_ne!(first, second);
        daemon.again();
        becomes(&daemon, "cam", "running");
        assert_eq!(engine.inspect("cam")["Image"], first);
        // Another deployment that says something else of the module asks again.
        daemon.apply(&waiting("cam", &image).key("cam", "version", "2".into()));
        daemon.eventually("the new one runs", |daemon| {
            module(daemon, "cam")["status"] == "running" && engine.inspect("cam")["Image"] == second
        });
    }

    fn an_image_that_no_module_has_any_more_goes_after_a_while_and_others_stay() {
        let (engine, registry) = (Engine::start(), Registry::start());
        let (_, old) = push(&engine, &registry, "cam:1");
        let (_, new) = push(&engine, &registry, "cam:2");
        let daemon = Daemon::with(&engine.settings("unused-images = \"1s\""));
        let image = |tag| format!("{}/cam:{tag}", registry.address());
        daemon.apply(&waiting("cam", &image(1)));
        becomes(&daemon, "cam", "running");
        // One of the device's own that came from nowhere, and one that is somebody else's.
        let local = Manifest::new().container("local", IMAGE, json!({"Cmd": ["/bin/sh", "-c", WAIT]}));
        daemon.apply(&local);
        let other = engine.import("other:1");
        daemon.apply(&waiting("cam", &image(2)));
        becomes(&daemon, "cam", "running");
        let ids = || engine.docker(&["images", "--all", "--no-trunc", "--quiet"]);
        daemon.eventually("the old one is gone", |_| !ids().contains(&old));
        let left = ids();
        assert!(left.contains(&new) && left.contains(&other), "{left}");
        engine.docker(&["image", "inspect", IMAGE]);
    }

    fn a_layer_or_manifest_that_was_tampered_with_does_not_come() {
        let (engine, registry) = (Engine::start(), Registry::start());
        let (digest, _) = push(&engine, &registry, "cam:1");
        let manifest: Value = serde_json::from_slice(&fs::read(registry.blob(&digest)).unwrap()).unwrap();
        let daemon = engine.daemon();
        let image = format!("{}/cam@{digest}", registry.address());
        // The manifest first: an engine that has had it once keeps it by its digest, and takes what is whole from there.
        for blob in [
            &digest,
            manifest["config"]["digest"].as_str().unwrap(),
            manifest["layers"][0]["digest"].as_str().unwrap(),
        ] {
            registry.tamper(blob);
            let found = fails(&daemon, &waiting("cam", &image), "cam", &["prepare failed"]);
            assert_ne!(found["status"], "running", "{blob}: {found}");
            assert!(engine.containers().is_empty(), "{blob}");
            // Back to what it was.
            registry.tamper(blob);
            daemon.apply(&Manifest::new());
        }
        daemon.apply(&waiting("cam", &image));
        becomes(&daemon, "cam", "running");
    }

    fn a_pull_that_stalls_delays_no_other_module() {
        let engine = Engine::start();
        // It takes connections, and says nothing.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let image = format!("{}/cam:1", silent.local_addr().unwrap());
        let daemon = engine.daemon();
        let options = json!({"Cmd": ["/bin/sh", "-c", WAIT]});
        let manifest = waiting("cam", &image).container("worker", IMAGE, options.clone());
        let path = manifest.write(daemon.dir());
        daemon.edge(&format!("apply --no-wait {}", path.display())).output("").code(0);
        becomes(&daemon, "worker", "running");
        engine.docker(&["kill", "worker"]);
        becomes(&daemon, "worker", "backoff");
        becomes(&daemon, "worker", "running");
        assert_eq!(module(&daemon, "cam")["status"], "downloading");
        // What nobody wants any more is not waited for.
        daemon.apply(&Manifest::new().container("worker", IMAGE, options));
        assert_eq!(module(&daemon, "cam"), Value::Null);
    }

    fn a_full_disk_stops_a_pull_and_nothing_else() {
        let registry = Registry::start();
        let pusher = Engine::start();
        let folder = pusher.socket().with_file_name("large");
        fs::create_dir_all(folder.join("bin")).unwrap();
        // Random, or it would be small on its way.
        let mut large = vec![0; 40 << 20];
        fs::File::open("/dev/urandom").unwrap().read_exact(&mut large).unwrap();
        fs::write(folder.join("large"), large).unwrap();
        let image = format!("{}/large:1", registry.address());
        pusher.import_folder(&folder, &image);
        pusher.docker(&["push", &image]);
        drop(pusher);
        let engine = Engine::with_room("24m");
        let daemon = engine.daemon();
        let options = json!({"Cmd": ["/bin/sh", "-c", WAIT]});
        let worker = Manifest::new().container("worker", IMAGE, options.clone());
        daemon.apply(&worker);
        becomes(&daemon, "worker", "running");
        let both = worker.clone().container("large", &image, options);
        let found = fails(&daemon, &both, "large", &["no space left on device"]);
        assert_eq!(found["status"], "backoff", "{found}");
        assert_eq!(module(&daemon, "worker")["status"], "running");
        daemon.apply(&worker);
        becomes(&daemon, "worker", "running");
    }

    fn the_image_that_was_checked_runs_though_its_tag_is_moved_just_then() {
        let engine = Engine::start();
        let checked = engine.docker(&["image", "inspect", "--format", "{{.Id}}", IMAGE]);
        let other = engine.import("other:1");
        let socket = engine.socket().with_file_name("proxy.sock");
        let host = format!("unix://{}", engine.socket().display());
        let sent = proxy::with(engine.socket(), &socket, move |bytes| {
            // Between the check and the container.
            if String::from_utf8_lossy(bytes).contains("/containers/create") {
                let tag = ["--host", &host, "tag", "other:1", IMAGE];
                let moved = std::process::Command::new("docker").args(tag).status();
                assert!(moved.unwrap().success());
            }
        });
        let daemon = Daemon::with(&format!("[containers]\nsocket = \"unix://{}\"\n", socket.display()));
        daemon.apply(&waiting("cam", IMAGE).key("cam", "imagePullPolicy", "never".into()));
        becomes(&daemon, "cam", "running");
        assert!(!sent.lock().unwrap().is_empty());
        let tagged = engine.docker(&["image", "inspect", "--format", "{{.Id}}", IMAGE]);
        assert_eq!((tagged, &engine.inspect("cam")["Image"]), (other, &json!(checked)));
    }

    fn of_two_deployments_in_quick_succession_the_second_is_in_place() {
        let engine = Engine::start();
        let daemon = engine.daemon();
        for round in 0..3 {
            for name in ["one", "two"] {
                let manifest = waiting(name, IMAGE).env(name, "ROUND", &round.to_string());
                let path = manifest.write(daemon.dir());
                daemon.edge(&format!("apply --no-wait {}", path.display())).output("").code(0);
            }
            daemon.eventually("the second alone is there", |daemon| {
                daemon.json("list")["settled"] == true && engine.containers() == ["two"]
            });
            let environment = engine.docker(&["exec", "two", "/bin/env"]);
            assert!(environment.contains(&format!("ROUND={round}")), "{environment}");
        }
    }

    fn a_container_that_does_not_end_when_it_is_told_to_is_ended() {
        let engine = Engine::start();
        let daemon = engine.daemon();
        let deaf = json!({"Cmd": ["/bin/sh", "-c", "trap '' TERM; while :; do sleep 1; done"]});
        daemon.apply(&Manifest::new().container("deaf", IMAGE, deaf));
        becomes(&daemon, "deaf", "running");
        daemon.apply(&Manifest::new());
        daemon.eventually("it is gone", |_| engine.containers().is_empty());
    }
}
