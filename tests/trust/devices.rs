//! A device that asks for signatures, and deployments with components that were tampered with.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::support::{Daemon, Manifest, Output, edge};
use crate::world::{Pair, Part, flip_file};

const UP: &str = "FROM /messages/modules/* INTO $upstream";

fn manifest() -> Manifest {
    Manifest::new()
        .module("filter", "filter", json!({}))
        .route("up", UP)
}

/// A device that trusts a pair's key, and who has it.
fn device(more: &str) -> (tempfile::TempDir, Pair, Daemon) {
    let dir = tempfile::tempdir().unwrap();
    let pair = Pair::make(dir.path(), "a", "ecdsa-p256");
    let settings = format!(
        "[verify]\nrequire-signature = true\nkeys = [{:?}]\n{more}",
        pair.public
    );
    let daemon = Daemon::with(&settings);
    (dir, pair, daemon)
}

fn sign(pair: &Pair, file: &Path) {
    let sign = edge(["sign", "--key"]).arg(&pair.private);
    sign.arg(file).output("").code(0);
}

fn apply(daemon: &Daemon) -> Output {
    let path = daemon.dir().join("deployment.json");
    daemon.edge("apply").arg(path).output("")
}

/// A module that is refused is shown with why, and is not tried again.
#[track_caller]
fn refused(output: &Output, parts: &[&str]) {
    assert_eq!(output.code, 1, "{output:#?}");
    for part in parts {
        assert!(output.out.contains(part), "{part:?} is not in {output:#?}");
    }
}

#[test]
fn a_signed_component_runs_and_goes_on_running_whatever_becomes_of_the_folder() {
    let (_dir, pair, mut daemon) = device("");
    manifest().write(daemon.dir());
    sign(&pair, &daemon.dir().join("filter.wasm"));
    let output = apply(&daemon).code(0);
    assert!(output.out.contains("running"), "{output:#?}");
    for file in [
        "filter.wasm",
        "filter.wasm.sigstore.json",
        "deployment.json",
    ] {
        fs::remove_file(daemon.dir().join(file)).unwrap();
    }
    daemon.stop().code(0);
    daemon.again();
    daemon.eventually("the module runs", |daemon| {
        daemon.json("list")["modules"][0]["status"] == "running"
    });
    daemon.send("filter/input1", "{\"machine\":{\"temperature\":30}}");
    daemon.waits("$upstream", 1);
}

#[test]
fn what_is_not_signed_does_not_start_and_does_once_it_is() {
    let (_dir, pair, daemon) = device("");
    manifest().write(daemon.dir());
    let output = apply(&daemon);
    refused(
        &output,
        &[
            "component filter.wasm may not run: signature: expected one by",
            "a.pub.pem (sha256:",
            "found none",
            "edge sign --key",
        ],
    );
    // Nothing of the deployment has changed but the signature.
    sign(&pair, &daemon.dir().join("filter.wasm"));
    let output = apply(&daemon).code(0);
    assert!(output.out.contains("running"), "{output:#?}");
}

#[test]
fn what_was_tampered_with_does_not_start() {
    let (dir, pair, daemon) = device("");
    let other = Pair::make(dir.path(), "b", "ecdsa-p256");
    let file = daemon.dir().join("filter.wasm");
    let bundle = daemon.dir().join("filter.wasm.sigstore.json");
    type Tamper<'t> = Box<dyn Fn() + 't>;
    let cases: [(&str, Tamper<'_>, &str); 5] = [
        (
            "the component, in its last bytes",
            Box::new(|| flip_file(&file, Part(100))),
            "digest in the bundle's messageDigest",
        ),
        (
            "the component, in its middle",
            Box::new(|| flip_file(&file, Part(50))),
            "digest in the bundle's messageDigest",
        ),
        (
            "the signature",
            Box::new(|| {
                let text = fs::read_to_string(&bundle).unwrap();
                let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
                let made = edge_trust::bundle::sign_bytes(&pair.key(), b"others").unwrap();
                let made: serde_json::Value = serde_json::from_str(&made).unwrap();
                json["messageSignature"]["signature"] =
                    made["messageSignature"]["signature"].clone();
                fs::write(&bundle, json.to_string()).unwrap();
            }),
            "signature of the bytes: expected one by",
        ),
        (
            "the key",
            Box::new(|| sign(&other, &file)),
            "signature of the bytes: expected one by",
        ),
        (
            "the bundle",
            Box::new(|| fs::write(&bundle, "[]").unwrap()),
            "format of the sigstore bundle",
        ),
    ];
    for (what, tamper, why) in cases {
        manifest().write(daemon.dir());
        sign(&pair, &file);
        tamper();
        let output = apply(&daemon);
        assert!(output.out.contains(why), "{what}: {output:#?}");
        refused(&output, &["component filter.wasm may not run: signature"]);
    }
    manifest().write(daemon.dir());
    sign(&pair, &file);
    apply(&daemon).code(0);
}

#[test]
fn a_component_that_rots_on_the_device_does_not_start_again() {
    let (_dir, pair, mut daemon) = device("");
    manifest().write(daemon.dir());
    sign(&pair, &daemon.dir().join("filter.wasm"));
    apply(&daemon).code(0);
    daemon.stop().code(0);
    let kept = fs::read_dir(daemon.data().join("components")).unwrap();
    let mut kept = kept.map(|entry| entry.unwrap().path());
    let kept = kept.find(|path| path.extension().is_some_and(|end| end == "wasm"));
    flip_file(&kept.unwrap(), Part(70));
    daemon.again();
    daemon.eventually("why it does not run is said", |daemon| {
        let list = daemon.json("list");
        list["modules"][0]["status"] != "running"
            && list
                .to_string()
                .contains("digest of the component on this device")
    });
}

#[test]
fn a_signature_opens_no_sandbox() {
    let (_dir, pair, daemon) = device("");
    let manifest = Manifest::new().module("sum", "aggregator", json!({}));
    manifest.write(daemon.dir());
    sign(&pair, &daemon.dir().join("sum.wasm"));
    refused(&apply(&daemon), &["wasi:keyvalue", "grant"]);
}

#[test]
fn what_is_not_pinned_does_not_start_where_that_is_asked() {
    let daemon = Daemon::with("[verify]\nrequire-digest = true\n");
    manifest().write(daemon.dir());
    let output = apply(&daemon);
    let bytes = fs::read(daemon.dir().join("filter.wasm")).unwrap();
    let digest = edge_trust::Subject::of(&bytes).digest();
    let told = format!("\"digest\": \"{digest}\"");
    refused(
        &output,
        &["pinned digest: expected one in the deployment", &told],
    );
    let settings = json!({"image": "file:filter.wasm", "digest": digest.to_string()});
    let manifest = manifest().key("filter", "settings", settings);
    daemon.apply(&manifest);
}

#[test]
fn a_key_that_cannot_be_read_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let pair = Pair::make(dir.path(), "a", "ed25519");
    let config = dir.path().join("config.toml");
    let gone = dir.path().join("gone.pem");
    for (key, why) in [
        (&gone, "cannot read key"),
        (&pair.private, "the half that signs"),
    ] {
        fs::write(&config, format!("[verify]\nkeys = [{key:?}]\n")).unwrap();
        for words in [["daemon", "--check"].as_slice(), &["daemon"]] {
            let daemon = edge(words).arg("--config").arg(&config);
            let daemon = daemon.arg("--data").arg(dir.path().join("data"));
            daemon.output("").code(78).says(why);
        }
    }
}
