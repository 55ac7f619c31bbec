//! `--watch`: new builds are taken up between two messages; broken ones are not.

use std::fs;

use serde_json::json;
use tempfile::tempdir;

use crate::support::{Edge, Running, run, sample, sample_as};

fn watched(path: &std::path::Path) -> Edge {
    run(path).args("--watch --grant state --format envelope")
}

fn asks(running: &mut Running, command: &str) -> serde_json::Value {
    let body = json!({"body": {"t": 31}, "properties": {"do": command, "temperature": "31"}});
    running.send(&body.to_string());
    running.body()
}

#[test]
fn a_new_build_is_taken_up_between_two_messages_and_its_state_is_kept() {
    let dir = tempdir().unwrap();
    let path = sample_as("misbehave", dir.path(), "module");
    let mut running = watched(&path).start();
    running.send(r#"{"body":"","properties":{"do":"state-write","value":"kept"}}"#);
    assert_eq!(asks(&mut running, "count"), json!({"seen": 1}));
    assert_eq!(asks(&mut running, "count"), json!({"seen": 2}));

    // Another build of it: the same code, and a section that says nothing.
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend_from_slice(&[0, 2, 1, b'x']);
    fs::write(&path, bytes).unwrap();
    running.says("module module: new build sha256:");
    assert_eq!(
        asks(&mut running, "count"),
        json!({"seen": 1}),
        "another instance"
    );
    assert_eq!(asks(&mut running, "state-read"), json!("kept"));

    // Another module altogether, put in its place by a rename, as compilers do.
    let next = sample_as("filter", dir.path(), "next");
    fs::rename(next, &path).unwrap();
    running.says_times("module module: new build sha256:", 2);
    assert_eq!(asks(&mut running, "count"), json!({"t": 31}));
    running.close_input();
    running.end().code(0);
}

#[test]
fn a_broken_build_is_refused_and_the_old_one_goes_on() {
    let dir = tempdir().unwrap();
    let path = sample_as("misbehave", dir.path(), "module");
    let mut running = watched(&path).start();
    assert_eq!(asks(&mut running, "count"), json!({"seen": 1}));
    let whole = fs::read(&path).unwrap();
    for (times, broken) in [
        &b""[..],
        b"error: could not compile",
        &whole[..whole.len() / 2],
    ]
    .iter()
    .enumerate()
    {
        fs::write(&path, broken).unwrap();
        running.says_times(
            "module module: new build not taken up, the old one goes on: ",
            times + 1,
        );
        assert_eq!(asks(&mut running, "count"), json!({"seen": times + 2}));
    }
    // It is gone for a moment, and comes back the same.
    fs::remove_file(&path).unwrap();
    fs::write(&path, &whole).unwrap();
    assert_eq!(asks(&mut running, "count"), json!({"seen": 5}));
    running.close_input();
    running.end().code(0);
}

#[test]
fn a_new_build_that_wants_more_than_was_granted_is_refused() {
    let dir = tempdir().unwrap();
    let path = sample_as("filter", dir.path(), "module");
    let mut running = run(&path).args("--watch --property temperature=31").start();
    running.send("1");
    assert_eq!(running.body(), json!(1));
    fs::copy(sample("misbehave"), &path).unwrap();
    running.says("new build not taken up");
    running.says("--grant state");
    running.send("2");
    assert_eq!(running.body(), json!(2));
}

#[test]
fn a_pinned_module_takes_up_no_other_bytes() {
    let dir = tempdir().unwrap();
    let path = sample_as("misbehave", dir.path(), "module");
    let refused = run(format!("{}@sha256:{}", path.display(), "0".repeat(64)))
        .output("")
        .refused();
    let digest = refused
        .err
        .split_whitespace()
        .find_map(|word| word.strip_prefix("sha256:"));
    let pin = format!("sha256:{}", digest.unwrap().trim_end_matches(','));
    let mut running = watched(&path).arg("--digest").arg(pin).start();
    assert_eq!(asks(&mut running, "count"), json!({"seen": 1}));
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend_from_slice(&[0, 2, 1, b'x']);
    fs::write(&path, bytes).unwrap();
    running.says("new build not taken up");
    assert_eq!(asks(&mut running, "count"), json!({"seen": 2}));
}

#[test]
fn watching_ends_with_the_input() {
    let dir = tempdir().unwrap();
    let path = sample_as("misbehave", dir.path(), "module");
    watched(&path)
        .output("{\"body\":1}\n")
        .code(0)
        .prints([json!(1)]);
}
