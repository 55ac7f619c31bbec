//! The support bundle: what is in it, and what must never be.

use std::fs;
use std::io::Read;

use serde_json::{Value, json};

use crate::support::{Daemon, Manifest};

/// The files of a bundle: names and texts.
pub fn unpack(bytes: &[u8]) -> Vec<(String, String)> {
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(bytes));
    let mut files = Vec::new();
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        files.push((name, text));
    }
    files
}

/// What nobody may see; each is to be found in one place.
const SECRETS: [&str; 8] = [
    "S3cretInLine",
    "S3cretInQuery",
    "S3cretInEnvironment",
    "S3cretInOptions",
    "S3cretOfRegistry",
    "S3cretInSettings",
    "S3cretInComment",
    "S3cretInPiece",
];

fn planted() -> Daemon {
    // A setting that is none: its mistake is in the bundle, what it says is not.
    let daemon = Daemon::with("[device]\nhostname = \"localhost\" # S3cretInComment\n");
    let manifest = Manifest::new()
        .module("cam", "misbehave", json!({"grants": {"state": true}}))
        .env("cam", "API_KEY", "S3cretInEnvironment")
        .env("cam", "MODE", "fast")
        .container(
            "box",
            "r.example/box:1",
            json!({"Env": ["DB_PASSWORD=S3cretInOptions"]}),
        );
    let path = manifest.write(daemon.dir());
    let mut text: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let agent = &mut text["modulesContent"]["$edgeAgent"]["properties.desired"];
    agent["runtime"] = json!({"type": "docker", "settings": {"registryCredentials": {
        "r": {"address": "r.example", "username": "user", "password": "S3cretOfRegistry"},
    }}});
    let whole = r#"{"Env":["TOKEN=S3cretInPiece"]}"#;
    let (a, b) = whole.split_at(18);
    agent["modules"]["pieces"] = json!({
        "type": "docker", "version": "1.0", "status": "stopped", "restartPolicy": "never",
        "settings": {"image": "r.example/x:1", "createOptions": a, "createOptions01": b},
    });
    fs::write(&path, text.to_string()).unwrap();
    // The container has no engine here.
    daemon.edge("apply --no-wait").arg(&path).output("").code(0);
    for text in [
        "connecting with password=S3cretInLine",
        "PUT https://a.example/c?sv=1&sig=S3cretInQuery&sr=c",
        "an innocent line",
    ] {
        let send = daemon.edge("send cam/input1 --body x --property do=log --property");
        send.arg(format!("text={text}")).output("").code(0);
    }
    daemon.eventually("it is logged", |daemon| {
        daemon
            .edge("logs cam")
            .output("")
            .out
            .contains("an innocent line")
    });
    daemon
}

#[track_caller]
fn bundle(daemon: &Daemon) -> Vec<(String, String)> {
    let path = daemon.dir().join("bundle.tar.gz");
    let config = daemon.dir().join("config.toml");
    let made = daemon.edge("support-bundle --since 1d --output").arg(&path);
    let made = made.arg("--config").arg(config).output("").code(0);
    assert_eq!(made.out.trim(), path.display().to_string());
    unpack(&fs::read(&path).unwrap())
}

#[track_caller]
fn holds_no_secret(files: &[(String, String)]) {
    for (name, text) in files {
        for secret in SECRETS {
            assert!(!text.contains(secret), "{secret} is in {name}: {text}");
        }
    }
}

#[track_caller]
fn file<'f>(files: &'f [(String, String)], end: &str) -> &'f str {
    let found = files.iter().find(|(name, _)| name.ends_with(end));
    let names: Vec<_> = files.iter().map(|(name, _)| name).collect();
    &found.unwrap_or_else(|| panic!("no {end} in {names:?}")).1
}

#[test]
fn a_bundle_tells_of_everything_but_secrets() {
    let daemon = planted();
    let bad = "[mqtt]\nlisten = \"off\"\npassword = \"S3cretInSettings\"\n";
    fs::write(daemon.dir().join("config.d/z.toml"), bad).unwrap();
    let files = bundle(&daemon);
    holds_no_secret(&files);
    let innocent = |end: &str, words: &[&str]| {
        let text = file(&files, end);
        for word in words {
            assert!(text.contains(word), "no {word} in {end}: {text}");
        }
    };
    innocent(
        "logs/cam.log",
        &["an innocent line", "password=***", "sig=***"],
    );
    innocent(
        "deployments/000001.json",
        &["r.example", "fast", "API_KEY", "DB_PASSWORD=***"],
    );
    innocent("settings.json", &["hostname", "metrics"]);
    innocent(
        "check.json",
        &["aziot-edged-config-well-formed", "password"],
    );
    innocent("status.json", &["runtimeStatus", "cam"]);
    innocent("metrics.txt", &["edgeAgent_"]);
    for end in [
        "README.txt",
        "versions.json",
        "device.json",
        "queues.json",
        "certificates.json",
    ] {
        file(&files, end);
    }
}

#[test]
fn without_a_daemon_a_bundle_has_what_is_on_disk() {
    let mut daemon = planted();
    daemon.stop().code(0);
    let files = bundle(&daemon);
    holds_no_secret(&files);
    assert!(file(&files, "deployments/000001.json").contains("r.example"));
    assert!(file(&files, "check.json").contains("no edge daemon answers"));
    file(&files, "queues.json");
    file(&files, "settings.json");
    // And the device is as it was.
    daemon.again();
    assert_eq!(daemon.json("list")["deployment"], 1);
}
