//! Images that must be signed, in a registry of the test's own.

use std::path::PathBuf;

use serde_json::json;
use tempfile::TempDir;

use crate::WAIT;
use crate::support::engine::{Engine, IMAGE, becomes, module};
use crate::support::namespace::isolated;
use crate::support::registry::Registry;
use crate::support::{Daemon, Manifest, edge};

/// Who signs, and a registry with an image.
struct World {
    dir: TempDir,
    registry: Registry,
    engine: Engine,
}

impl World {
    fn new() -> Self {
        let world = Self {
            dir: tempfile::tempdir().unwrap(),
            registry: Registry::start(),
            engine: Engine::start(),
        };
        let key = edge(["key"]).arg(world.key()).arg(world.public());
        key.output("").code(0);
        world.push();
        world
    }

    fn key(&self) -> PathBuf {
        self.dir.path().join("a.pem")
    }

    fn public(&self) -> PathBuf {
        self.dir.path().join("a.pub.pem")
    }

    fn image(&self) -> String {
        format!("{}/worker:1", self.registry.address())
    }

    /// Pushes an image that was not there before.
    fn push(&self) -> String {
        let id = self.engine.import(&self.image());
        self.engine.docker(&["push", &self.image()]);
        id
    }

    fn sign(&self, more: &str) {
        let sign = edge(["sign", "--key"]).arg(self.key()).args(more);
        sign.arg(self.image()).output("").code(0);
    }

    fn daemon(&self) -> Daemon {
        let verify = format!(
            "[verify]\nrequire-signature = true\nkeys = [{:?}]",
            self.public()
        );
        Daemon::with(&self.engine.settings(&verify))
    }
}

fn manifest(image: &str) -> Manifest {
    Manifest::new().container("worker", image, json!({"Cmd": ["/bin/sh", "-c", WAIT]}))
}

/// Applies what is refused, and gives what is told of it.
#[track_caller]
fn refused(daemon: &Daemon, manifest: &Manifest) -> String {
    let path = manifest.write(daemon.dir());
    daemon.edge("apply").arg(path).output("").code(1).out
}

isolated! {
    fn a_signed_image_runs_and_goes_on_without_its_registry() {
        let mut world = World::new();
        let mut daemon = world.daemon();
        let told = refused(&daemon, &manifest(&world.image()));
        for part in ["signature: expected one by", "a.pub.pem", "found none; sign it in the registry"] {
            assert!(told.contains(part), "{part} is not in {told}");
        }
        assert_eq!(world.engine.containers(), [""; 0]);
        world.sign("");
        daemon.edge("restart worker").output("").code(0);
        becomes(&daemon, "worker", "running");
        let before = world.engine.inspect("worker");

        // What was verified is known without the registry: the container goes on, and is made anew.
        world.registry.kill();
        daemon.stop().code(0);
        daemon.again();
        becomes(&daemon, "worker", "running");
        assert_eq!(world.engine.inspect("worker")["Id"], before["Id"]);
        daemon.stop().code(0);
        world.engine.docker(&["rm", "--force", "worker"]);
        daemon.again();
        becomes(&daemon, "worker", "running");
        assert_ne!(world.engine.inspect("worker")["Id"], before["Id"]);
    }

    fn a_tag_that_was_moved_to_an_unsigned_image_does_not_start() {
        let world = World::new();
        world.sign("--legacy");
        let daemon = world.daemon();
        let manifest = manifest(&world.image());
        daemon.apply(&manifest);
        let signed = world.engine.inspect("worker")["Image"].clone();
        // Another one by the same name.
        let id = world.push();
        assert_ne!(signed, id);
        let next = manifest.env("worker", "RATE", "5").write(daemon.dir());
        daemon.edge("apply").arg(next).output("");
        daemon.eventually("why the next one does not start is said", |daemon| {
            let found = module(daemon, "worker");
            found["description"].as_str().is_some_and(|why| why.contains("found none; sign it"))
        });
        // The one before goes on.
        assert_eq!(module(&daemon, "worker")["status"], "running");
        assert_eq!(world.engine.inspect("worker")["Image"], signed);
    }

    fn an_image_that_was_never_in_a_registry_does_not_start() {
        let world = World::new();
        let daemon = world.daemon();
        let id = world.engine.docker(&["inspect", "--format", "{{.Id}}", IMAGE]);
        for image in [IMAGE.to_owned(), format!("{IMAGE}@{id}")] {
            let manifest = manifest(&image).key("worker", "imagePullPolicy", "never".into());
            let told = refused(&daemon, &manifest);
            assert!(told.contains("from no registry by that name"), "{told}");
        }
        assert_eq!(world.engine.containers(), [""; 0]);
    }
}
