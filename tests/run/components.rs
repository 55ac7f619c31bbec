//! Files that cannot be run: one line each says what it is, what was expected and what to do.

use std::fs;
use std::path::Path;

use tempfile::tempdir;

use crate::support::{Output, edge, run, sample};

fn refused(path: impl AsRef<Path>) -> Output {
    run(path).args("--body x").output("").refused()
}

#[test]
fn what_is_no_component_is_named_as_what_it_is() {
    let dir = tempdir().unwrap();
    let filter = fs::read(sample("filter")).unwrap();
    let middle = filter.len() / 2;
    let cases: [(&str, &[u8], &str); 8] = [
        ("empty", b"", "the file is empty"),
        ("text", b"fn main() {}\n", "this is a text file"),
        ("core", b"\0asm\x01\0\0\0", "this is a core Wasm module"),
        (
            "header",
            b"\0asm\x0d\0\x01\0",
            "a Wasm component with no handler",
        ),
        ("elf", b"\x7fELF\x02\x01\x01\0", "this is "),
        ("noise", &[0xfe, 0x00, 0x91, 0x07, 0xff], "this is "),
        (
            "short",
            &filter[..middle],
            "this is a Wasm component that is cut off",
        ),
        ("bytes", &filter[..6], ""),
    ];
    for (name, bytes, expected) in cases {
        let path = dir.path().join(format!("{name}.wasm"));
        fs::write(&path, bytes).unwrap();
        let output = refused(&path).says(&path.display().to_string());
        assert!(output.err.contains(expected), "{name}: {output:#?}");
        let advice = [
            "expected a",
            "expected edge:module",
            "copy or build it again",
        ];
        let advised = advice.iter().any(|advice| output.err.contains(advice));
        assert!(advised, "{name}: {output:#?}");
    }
}

#[test]
fn a_component_that_is_damaged_is_refused_wherever_the_damage_is() {
    let dir = tempdir().unwrap();
    let good = fs::read(sample("service")).unwrap();
    for at in (8..good.len()).step_by(good.len() / 24) {
        let mut bytes = good.clone();
        bytes[at] ^= 0x55;
        let path = dir.path().join("service.wasm");
        fs::write(&path, bytes).unwrap();
        let output = run(&path).args("--no-cache --for 5s").output("");
        // A flipped bit in a name or a constant leaves a component valid; nothing may break.
        assert!((0..=2).contains(&output.code), "byte {at}: {output:#?}");
        assert!(
            !output.err.contains("panicked at host"),
            "byte {at}: {output:#?}"
        );
        if output.code == 2 {
            output.refused();
        }
    }
}

#[test]
fn a_missing_file_and_a_folder_are_named() {
    let dir = tempdir().unwrap();
    refused(dir.path().join("gone.wasm"))
        .says("gone.wasm")
        .says("expected");
    refused(dir.path()).says("directory").says("expected");
}

#[test]
fn an_import_without_its_grant_is_named_with_the_grant() {
    refused(sample("aggregator"))
        .says("wasi:keyvalue/store")
        .says("--grant state");
    refused(sample("fetch"))
        .says("wasi:http/outgoing-handler")
        .says("--grant http=");
}

#[test]
fn bytes_other_than_the_pinned_ones_are_not_compiled() {
    let cache = tempdir().unwrap();
    let zeros = format!("sha256:{}", "0".repeat(64));
    let pinned = |word: String| edge(["run"]).arg(word).env("EDGE_CACHE_DIR", cache.path());
    let filter = sample("filter").display().to_string();
    let output = pinned(format!("{filter}@{zeros}"))
        .args("--body x")
        .output("")
        .refused();
    let entries = || fs::read_dir(cache.path()).unwrap().count();
    // Only the key is there.
    assert!(
        entries() <= 1,
        "{:?}",
        fs::read_dir(cache.path()).unwrap().collect::<Vec<_>>()
    );
    let found = output
        .err
        .split_whitespace()
        .find_map(|word| word.strip_prefix("sha256:"));
    let right = format!("sha256:{}", found.unwrap().trim_end_matches(','));
    let filter_31 = |word: String| pinned(word).args("--property temperature=31 --body x");
    filter_31(format!("{filter}@{right}"))
        .output("")
        .code(0)
        .silent();
    filter_31(filter.clone())
        .arg("--digest")
        .arg(right)
        .output("")
        .code(0)
        .silent();
    filter_31(filter)
        .arg("--digest")
        .arg(zeros)
        .output("")
        .refused()
        .says("expected sha256:000");
}

#[test]
fn two_modules_of_one_name_are_refused() {
    let output = edge(["run"])
        .arg(sample("filter"))
        .arg(sample("filter"))
        .output("");
    output.refused().says("two modules would be called filter");
}

#[test]
fn one_bad_component_of_several_keeps_all_from_starting() {
    let output = edge(["run"])
        .arg(sample("service"))
        .arg("gone.wasm")
        .output("");
    output.refused().says("gone.wasm");
}
