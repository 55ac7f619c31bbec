//! `edge new`, from outside: what it writes builds and runs as it is.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use support::{edge, readings, run};
use tempfile::tempdir;

/// How many of the sample readings the filter passes.
const PASSED: usize = 7;

fn filters(component: &Path) {
    let output = run(component)
        .output(readings())
        .code(1)
        .says("temperature is no number");
    assert_eq!(output.lines().len(), PASSED, "{output:#?}");
}

fn build(command: &mut Command) -> Option<Output> {
    match command.output() {
        Ok(output) => Some(output),
        Err(error) => {
            eprintln!(
                "SKIPPED: {:?} cannot be started: {error}",
                command.get_program()
            );
            None
        }
    }
}

#[test]
fn a_new_module_in_rust_builds_and_runs() {
    let dir = tempdir().unwrap();
    let output = edge(["new", "--lang", "rust", "hot-spots"])
        .dir(dir.path())
        .output("")
        .code(0);
    output
        .prints_nothing()
        .says("cargo build --release")
        .says("target/wasm32-wasip2/release/hot_spots.wasm");
    let project = dir.path().join("hot-spots");
    // What they compile to is kept for the next time.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("new-rust");
    let mut cargo = Command::new(env!("CARGO"));
    // The crates that it needs are those of the samples, so that no network is needed here.
    cargo
        .current_dir(&project)
        .args(["build", "--release", "--offline"])
        .env("CARGO_TARGET_DIR", &target);
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET"] {
        cargo.env_remove(name);
    }
    let Some(built) = build(&mut cargo) else {
        return;
    };
    let said = String::from_utf8_lossy(&built.stderr).into_owned();
    if !built.status.success() && said.contains("offline") {
        eprintln!("SKIPPED: its dependencies are not on this machine: {said}");
        return;
    }
    assert!(built.status.success(), "{said}");
    filters(&target.join("wasm32-wasip2/release/hot_spots.wasm"));
}

#[test]
fn a_new_module_in_c_builds_and_runs() {
    let dir = tempdir().unwrap();
    let output = edge(["new", "--lang", "c", "hot-spots"])
        .dir(dir.path())
        .output("")
        .code(0);
    output.prints_nothing().says("make").says("hot-spots.wasm");
    let project = dir.path().join("hot-spots");
    let clang = ["clang", "clang-14"].into_iter().find(|name| {
        Command::new(name)
            .arg("--version")
            .output()
            .is_ok_and(|output| output.status.success())
    });
    let Some(clang) = clang else {
        eprintln!("SKIPPED: there is no clang; .ci/install installs it");
        return;
    };
    let mut make = Command::new("make");
    make.current_dir(&project).arg(format!("CLANG={clang}"));
    make.arg(format!("EDGE={}", env!("CARGO_BIN_EXE_edge")));
    let Some(built) = build(&mut make) else {
        return;
    };
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    filters(&project.join("hot-spots.wasm"));
}

#[test]
fn every_language_writes_input_and_a_readme_with_the_modules_name() {
    for lang in ["rust", "c", "js", "python"] {
        let dir = tempdir().unwrap();
        edge(["new", "--lang", lang, "hot-spots"])
            .dir(dir.path())
            .output("")
            .code(0);
        let project = dir.path().join("hot-spots");
        assert_eq!(
            fs::read(project.join("readings.ndjson")).unwrap(),
            readings()
        );
        let readme = fs::read_to_string(project.join("README.md")).unwrap();
        assert!(
            readme.starts_with("# hot-spots") && !readme.contains("my-module"),
            "{readme}"
        );
        assert!(project.join("wit/deps/edge-module/types.wit").exists());
    }
}

#[test]
fn a_folder_that_is_not_empty_is_left_alone() {
    let dir = tempdir().unwrap();
    let project = dir.path().join("taken");
    fs::create_dir(&project).unwrap();
    fs::write(project.join("mine"), "mine").unwrap();
    let new = || edge(["new", "taken"]).dir(dir.path());
    new().output("").refused().says("not empty");
    assert_eq!(fs::read_dir(&project).unwrap().count(), 1);
    new().args("--path other").output("").code(0);
    assert!(dir.path().join("other/Cargo.toml").exists());
    fs::write(dir.path().join("file"), "").unwrap();
    new()
        .args("--path file")
        .output("")
        .refused()
        .says("there is a file of that name");
}

#[test]
fn an_empty_folder_is_taken() {
    let dir = tempdir().unwrap();
    edge(["new", "here", "--path", "."])
        .dir(dir.path())
        .output("")
        .code(0);
    assert!(dir.path().join("Cargo.toml").exists());
}

#[test]
fn a_name_that_no_module_can_have_is_refused() {
    let dir = tempdir().unwrap();
    for name in [
        "", "Hot", "1st", "a b", "../up", "a/b", "ä", "-x", "fn", "core",
    ] {
        let output = edge(["new", "--lang", "rust", "--", name])
            .dir(dir.path())
            .output("");
        assert_eq!(output.code, 2, "{name:?}: {output:#?}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
