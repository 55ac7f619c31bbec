//! Components from a registry: `edge push`, `edge pull`, and modules of a device. Each test starts a
//! docker-registry of its own, and the daemon beside it.

#![allow(clippy::unwrap_used, reason = "tests")]

mod commands;
mod modules;
mod refused;
#[path = "../support/mod.rs"]
mod support;

use std::fs;

use serde_json::json;
use support::registry::{PASSWORD, Registry, USER};
use support::{Daemon, Manifest, edge, sample};

/// A registry and what is in it.
struct World {
    registry: Registry,
}

impl World {
    fn new() -> Self {
        Self {
            registry: Registry::start(),
        }
    }

    /// The reference of something in it.
    fn image(&self, rest: &str) -> String {
        format!("{}/{rest}", self.registry.address())
    }

    /// Pushes a sample, and gives the digest of its manifest.
    #[track_caller]
    fn push(&self, sample_name: &str, rest: &str) -> String {
        let push = edge(["push"])
            .arg(sample(sample_name))
            .arg(self.image(rest));
        let output = push.output("").code(0);
        digest_of(&output.out)
    }
}

/// The digest in `reference@digest`.
#[track_caller]
fn digest_of(line: &str) -> String {
    let (_, digest) = line.trim().split_once('@').expect("reference@digest");
    digest.to_owned()
}

/// What a sample hashes to.
fn component_digest(sample_name: &str) -> String {
    use sha2::{Digest as _, Sha256};
    let hash = Sha256::digest(fs::read(sample(sample_name)).unwrap());
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// A deployment of a filter from a registry.
fn filter(image: &str) -> Manifest {
    Manifest::new()
        .component("filter", image, json!({}))
        .route("up", "FROM /messages/modules/* INTO $upstream")
}

/// The filter takes a message and passes it on.
#[track_caller]
fn works(daemon: &Daemon) {
    let before = daemon.depth("$upstream");
    daemon.send("filter/input1", "{\"machine\":{\"temperature\":30}}");
    daemon.waits("$upstream", before + 1);
}

/// `registryCredentials` of a manifest.
fn credentials(address: &str) -> serde_json::Value {
    json!({"type": "docker", "settings": {"registryCredentials": {
        "r": {"address": address, "username": USER, "password": PASSWORD},
    }}})
}
