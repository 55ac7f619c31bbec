//! Compiled components are kept: the next start does not compile, and nothing damaged is loaded.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::{TempDir, tempdir};

use crate::support::{Edge, run, sample};

fn cache() -> TempDir {
    let dir = tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    dir
}

fn filter(cache: &Path) -> Edge {
    let command = run(sample("filter")).args("--property temperature=31 --body x");
    command
        .env("EDGE_CACHE_DIR", cache)
        .env("EDGE_LOG", "debug")
}

/// The one compiled component.
fn entry(cache: &Path) -> PathBuf {
    let entries = fs::read_dir(cache)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .max_by_key(|path| fs::metadata(path).unwrap().len())
        .unwrap()
}

#[test]
fn the_second_start_does_not_compile() {
    let cache = cache();
    filter(cache.path())
        .output("")
        .code(0)
        .prints([json!("x")])
        .says("component compiled");
    let before = fs::read(entry(cache.path())).unwrap();
    let second = filter(cache.path()).output("").code(0).prints([json!("x")]);
    second.does_not_say("component compiled");
    assert_eq!(fs::read(entry(cache.path())).unwrap(), before);
}

#[test]
fn a_flipped_byte_is_noticed_wherever_it_is_and_the_entry_made_anew() {
    let cache = cache();
    filter(cache.path()).output("").code(0);
    let path = entry(cache.path());
    let good = fs::read(&path).unwrap();
    for at in [0, good.len() / 3, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, &bad).unwrap();
        let output = filter(cache.path()).output("").code(0).prints([json!("x")]);
        output
            .says("compiled component thrown away")
            .says("component compiled");
        filter(cache.path())
            .output("")
            .code(0)
            .does_not_say("component compiled");
    }
}

#[test]
fn an_entry_that_is_cut_off_or_foreign_is_not_loaded() {
    let (cache, other) = (cache(), cache());
    filter(cache.path()).output("").code(0);
    filter(other.path()).output("").code(0);
    let path = entry(cache.path());
    let (good, foreign) = (
        fs::read(&path).unwrap(),
        fs::read(entry(other.path())).unwrap(),
    );
    for bad in [&[][..], &good[..good.len() / 2], &foreign] {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, bad).unwrap();
        let output = filter(cache.path()).output("").code(0).prints([json!("x")]);
        output
            .says("compiled component thrown away")
            .says("component compiled");
    }
}

#[test]
fn a_cache_that_others_can_write_to_is_not_used() {
    let cache = cache();
    fs::set_permissions(cache.path(), fs::Permissions::from_mode(0o777)).unwrap();
    filter(cache.path())
        .output("")
        .refused()
        .says("not safe to use")
        .says("777");
    assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0);
}

#[test]
fn a_cache_folder_is_made_where_it_is_missing_and_none_where_none_is_wanted() {
    let dir = cache();
    let deep = dir.path().join("a/b");
    filter(&deep).output("").code(0);
    assert!(entry(&deep).exists());
    let none = dir.path().join("none");
    filter(&none)
        .args("--no-cache")
        .output("")
        .code(0)
        .prints([json!("x")]);
    assert!(!none.exists());
    filter(&none)
        .arg("--cache-dir")
        .arg(dir.path().join("c"))
        .output("")
        .code(0);
    assert!(!none.exists() && dir.path().join("c").exists());
}

#[test]
fn several_programs_share_a_cache_that_is_empty() {
    let cache = cache();
    let running: Vec<_> = (0..4).map(|_| filter(cache.path()).start()).collect();
    for running in running {
        running.end().code(0).prints([json!("x")]);
    }
    filter(cache.path())
        .output("")
        .code(0)
        .does_not_say("component compiled");
}
