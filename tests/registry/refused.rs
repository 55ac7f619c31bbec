//! What must not run does not, and the module says why.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Daemon, Manifest};
use crate::{World, component_digest, filter};

/// Deploys, and waits until the module is said to have failed for a reason that has all these parts.
#[track_caller]
fn refused(daemon: &Daemon, manifest: &Manifest, parts: &[&str]) {
    daemon.apply_only(manifest);
    // What is said of the deployment before may still be there.
    daemon.eventually(&format!("it fails with {parts:?}"), |daemon| {
        let module = daemon.module("filter");
        let why = module["description"].as_str().unwrap_or_default();
        module["status"] == "failed" && parts.iter().all(|part| why.contains(part))
    });
    let kept = fs::read_dir(daemon.data().join("components")).unwrap();
    let kept: Vec<_> = kept.map(|file| file.unwrap().path()).collect();
    assert!(kept.is_empty(), "{kept:?}");
}

fn blob(world: &World, digest: &str) -> Value {
    serde_json::from_slice(&fs::read(world.registry.blob(digest)).unwrap()).unwrap()
}

#[test]
fn a_wrong_pin() {
    let (world, daemon) = (World::new(), Daemon::start());
    world.push("filter", "a/filter:1");
    let wrong = format!("sha256:{}", "ab".repeat(32));
    let image = format!("{}@{wrong}", world.image("a/filter:1"));
    let reason = format!("nothing with digest {wrong} is at");
    refused(&daemon, &filter(&image), &[&reason, "correct the digest"]);
    // The digest of the component is none of its manifest. This registry takes the component for a broken one and
    // fails, which may pass: it is tried again.
    let component = component_digest("filter");
    let manifest = filter(&world.image("a/filter:1"));
    let manifest = manifest.setting("filter", "digest", component.clone().into());
    daemon.apply_only(&manifest);
    let module = daemon.becomes("filter", "backoff");
    let why = module["description"].as_str().unwrap();
    assert!(why.contains(&component), "{why}");
}

#[test]
fn a_manifest_that_was_changed_under_its_digest() {
    let (world, daemon) = (World::new(), Daemon::start());
    let digest = world.push("filter", "a/filter:1");
    let path = world.registry.blob(&digest);
    // Valid all the same, so that the registry gives it out.
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("filter.wasm", "filtes.wasm")).unwrap();
    let image = format!("{}@{digest}", world.image("a/filter:1"));
    let reason = format!("expected a manifest with digest {digest}, found sha256:");
    refused(&daemon, &filter(&image), &[&reason, "it was changed"]);
}

#[test]
fn a_config_or_component_that_was_tampered_with() {
    for part in ["config", "component"] {
        let (world, daemon) = (World::new(), Daemon::start());
        let digest = world.push("filter", "a/filter:1");
        let manifest = blob(&world, &digest);
        let digest = match part {
            "config" => &manifest["config"]["digest"],
            _ => &manifest["layers"][0]["digest"],
        };
        let digest = digest.as_str().unwrap();
        world.registry.tamper(digest);
        let what = format!("the {part} of ");
        let reason =
            format!("is not what its manifest names: expected digest {digest}, found sha256:");
        refused(
            &daemon,
            &filter(&world.image("a/filter:1")),
            &[&what, &reason],
        );
    }
}

#[test]
fn imports_beyond_the_grants_before_anything_of_it_is_fetched() {
    let (world, daemon) = (World::new(), Daemon::start());
    world.push("aggregator", "a/filter:1");
    // The component itself cannot be had any more.
    fs::remove_file(world.registry.blob(&component_digest("aggregator"))).unwrap();
    let manifest = filter(&world.image("a/filter:1"));
    let grants = "without the grant `state`";
    refused(
        &daemon,
        &manifest,
        &["imports wasi:keyvalue/store@", grants],
    );
}

#[test]
fn a_component_that_imports_more_than_its_config_says() {
    let (world, daemon) = (World::new(), Daemon::start());
    let digest = world.push("aggregator", "a/filter:1");
    // As a liar would push it: config and manifest fit each other.
    let manifest = blob(&world, &digest);
    let mut config = blob(&world, manifest["config"]["digest"].as_str().unwrap());
    let imports = config["component"]["imports"].as_array_mut().unwrap();
    imports.retain(|name| !name.as_str().unwrap().starts_with("wasi:keyvalue"));
    let lie = world.forge(&manifest, &config);
    let manifest = filter(&format!("{}@{lie}", world.image("a/filter")));
    daemon.apply_only(&manifest);
    let module = daemon.becomes("filter", "failed");
    let why = module["description"].as_str().unwrap();
    assert!(
        why.contains("is not what it says of itself: it imports wasi:keyvalue/store@"),
        "{why}"
    );
}

#[test]
fn something_that_is_no_component() {
    let (world, daemon) = (World::new(), Daemon::start());
    let digest = world.push("filter", "a/filter:1");
    let manifest = blob(&world, &digest);
    let mut config = blob(&world, manifest["config"]["digest"].as_str().unwrap());
    config["architecture"] = json!("amd64");
    let other = world.forge(&manifest, &config);
    let image = format!("{}@{other}", world.image("a/filter"));
    refused(
        &daemon,
        &filter(&image),
        &["built for architecture \"amd64\", expected \"wasm\""],
    );
    let mut two = manifest.clone();
    two["layers"] = json!([manifest["layers"][0], manifest["layers"][0]]);
    let two = world.forge(&two, &config);
    let image = format!("{}@{two}", world.image("a/filter"));
    refused(&daemon, &filter(&image), &["has 2 layers, expected one"]);
}

impl World {
    /// Puts another config under a manifest, both into repository `a/filter`; gives the manifest's digest.
    fn forge(&self, manifest: &Value, config: &Value) -> String {
        let mut manifest = manifest.clone();
        let config = config.to_string();
        let digest = self.store(&config, "blobs");
        manifest["config"]["digest"] = digest.into();
        manifest["config"]["size"] = config.len().into();
        self.store(&manifest.to_string(), "manifests")
    }

    /// Stores something as anybody can who may push.
    fn store(&self, text: &str, kind: &str) -> String {
        use sha2::{Digest as _, Sha256};
        let hash = Sha256::digest(text.as_bytes());
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let digest = format!("sha256:{hex}");
        let path = match kind {
            "manifests" => format!("/v2/a/filter/manifests/{digest}"),
            _ => {
                let (head, _) = self.request("POST", "/v2/a/filter/blobs/uploads/", "");
                let location = head
                    .lines()
                    .find_map(|line| line.strip_prefix("Location: "));
                let at = location.unwrap().trim();
                let (_, path) = at.split_once(self.registry.address()).unwrap();
                format!("{path}&digest={digest}")
            }
        };
        let (head, body) = self.request("PUT", &path, text);
        assert!(head.starts_with("HTTP/1.1 201"), "{head}\n{body}");
        digest
    }

    fn request(&self, method: &str, path: &str, body: &str) -> (String, String) {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(self.registry.address()).unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n\
             Content-Type: application/vnd.oci.image.manifest.v1+json\r\n\r\n{body}",
            self.registry.address(),
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }
}
