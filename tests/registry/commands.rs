//! `edge push` and `edge pull`.

use std::fs;

use serde_json::Value;

use crate::support::registry::{PASSWORD, Registry, USER};
use crate::support::{edge, sample};
use crate::{World, component_digest, digest_of};

#[test]
fn what_was_pushed_is_pulled_and_both_name_the_same_digest() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    let image = world.image("a/filter:1");
    let push = edge(["push"]).arg(sample("filter")).arg(&image);
    let pushed = push.output("").code(0).silent().out;
    assert!(pushed.starts_with(&format!("{image}@sha256:")), "{pushed}");
    let pull = edge(["pull", &image]).dir(dir.path());
    assert_eq!(pull.output("").code(0).silent().out, pushed);
    let (pulled, original) = (
        fs::read(dir.path().join("filter.wasm")),
        fs::read(sample("filter")),
    );
    assert_eq!(pulled.unwrap(), original.unwrap());
    let files = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(files, 1, "nothing else is left there");
    // By its digest, to another file.
    let into = dir.path().join("other.wasm");
    let pull = edge(["pull", pushed.trim(), "--output"]).arg(&into);
    pull.output("").code(0);
    assert!(into.exists());
}

#[test]
fn an_artifact_says_what_its_component_imports_and_exports() {
    let world = World::new();
    let digest = world.push("aggregator", "a/sum:1");
    let read = |digest: &str| -> Value {
        serde_json::from_slice(&fs::read(world.registry.blob(digest)).unwrap()).unwrap()
    };
    let manifest = read(&digest);
    assert_eq!(
        manifest["mediaType"],
        "application/vnd.oci.image.manifest.v1+json"
    );
    assert_eq!(
        manifest["config"]["mediaType"],
        "application/vnd.wasm.config.v0+json"
    );
    let layer = &manifest["layers"][0];
    assert_eq!(layer["mediaType"], "application/wasm");
    assert_eq!(layer["digest"], component_digest("aggregator").as_str());
    assert_eq!(
        layer["annotations"]["org.opencontainers.image.title"],
        "aggregator.wasm"
    );
    let config = read(manifest["config"]["digest"].as_str().unwrap());
    assert_eq!(
        (&config["architecture"], &config["os"]),
        (&"wasm".into(), &"wasip2".into())
    );
    assert_eq!(config["layerDigests"][0], layer["digest"]);
    let names = |key: &str| config["component"][key].to_string();
    assert!(
        names("imports").contains("wasi:keyvalue/store@"),
        "{config}"
    );
    assert!(
        names("exports").contains("edge:module/input-handler@0.1.0"),
        "{config}"
    );
}

#[test]
fn a_password_comes_by_standard_input_or_from_docker_login() {
    let (registry, dir) = (Registry::with_password(), tempfile::tempdir().unwrap());
    let image = format!("{}/filter:1", registry.address());
    let push = || {
        let push = edge(["push"]).arg(sample("filter")).arg(&image);
        push.env("DOCKER_CONFIG", dir.path())
    };
    let nobody = push().output("").code(1);
    assert!(nobody.err.contains("without credentials"), "{nobody:#?}");
    let words = format!("--username {USER} --password-stdin");
    let wrong = push().args(&words).output("wrong\n").code(1);
    assert!(wrong.err.contains("refuses user \"device\""), "{wrong:#?}");
    let pushed = push().args(&words).output(format!("{PASSWORD}\n")).code(0);
    // base64 of device:secret.
    let login = format!(
        r#"{{"auths": {{"{}": {{"auth": "ZGV2aWNlOnNlY3JldA=="}}}}}}"#,
        registry.address()
    );
    fs::write(dir.path().join("config.json"), login).unwrap();
    let pull = edge(["pull", &image])
        .dir(dir.path())
        .env("DOCKER_CONFIG", dir.path());
    let pulled = pull.output("").code(0);
    assert_eq!(digest_of(&pulled.out), digest_of(&pushed.out));
}

#[test]
fn what_is_no_component_is_not_pushed() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    let file = dir.path().join("core.wasm");
    fs::write(&file, b"\0asm\x01\0\0\0").unwrap();
    let push = edge(["push"]).arg(&file).arg(world.image("core:1"));
    push.output("").code(2).says("it is no Wasm component");
    let pull = edge(["pull", &world.image("core:1")]).dir(dir.path());
    pull.output("").code(1).says("has no manifest");
}

#[test]
fn a_pull_that_fails_leaves_the_file_that_was_there() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    world.push("filter", "filter:1");
    world.registry.tamper(&component_digest("filter"));
    let file = dir.path().join("filter.wasm");
    fs::write(&file, "mine").unwrap();
    let pull = edge(["pull", &world.image("filter:1")]).dir(dir.path());
    pull.output("")
        .code(1)
        .says("is not what its manifest names: expected digest");
    assert_eq!(fs::read(&file).unwrap(), b"mine");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}
