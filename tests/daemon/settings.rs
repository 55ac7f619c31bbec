//! What it is told, and told wrongly.

use std::fs;

use tempfile::tempdir;

use crate::support::edge;

#[test]
fn every_mistake_is_said_at_once_and_has_its_own_exit_code() {
    let dir = tempdir().unwrap();
    let config = dir.path().join("config.toml");
    let drop_ins = dir.path().join("config.d");
    fs::create_dir(&drop_ins).unwrap();
    fs::write(&config, "[store]\nlimt = \"1GiB\"\nreserve = 5\n").unwrap();
    fs::write(
        drop_ins.join("10-more.toml"),
        "[metrics]\nlisten = \"here\"\n",
    )
    .unwrap();
    for check in [&["--check"][..], &[]] {
        let command = check
            .iter()
            .fold(edge(["daemon", "--config"]).arg(&config), |e, word| {
                e.arg(word)
            });
        let output = command.output("").code(78);
        for part in [
            "config.toml:2:1: error: there is no key \"limt\": did you mean \"limit\"? (store.limt)",
            "config.toml:3:11: error: expected a size in quotes",
            "10-more.toml:2:10: error: \"here\" is no address",
            "there are 3 mistakes in the settings",
        ] {
            assert!(output.err.contains(part), "{part:?} is not in {output:#?}");
        }
    }
}

#[test]
fn the_printed_defaults_are_settings_that_pass_the_check() {
    let dir = tempdir().unwrap();
    let defaults = edge(["daemon", "--print-defaults"])
        .output("")
        .code(0)
        .silent();
    let config = dir.path().join("config.toml");
    fs::write(&config, &defaults.out).unwrap();
    let check = edge(["daemon", "--check", "--data"])
        .arg(dir.path().join("d"))
        .arg("--config")
        .arg(&config);
    check.output("").code(0).says("the settings are right");
    assert!(!dir.path().join("d").exists(), "a check makes nothing");
}
