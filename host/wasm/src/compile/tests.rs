use std::sync::Arc;

use edge_core::deployment::WasmOptions;
use edge_core::{DeviceId, ModuleId};
use edge_hub::{Hub, HubConfig};
use edge_store::MemoryLog;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::*;
use crate::engine::Allocation;
use crate::logs::{Level, LogSink};
use crate::runtime::RuntimeConfig;

#[derive(Debug)]
struct NoLogs;

impl LogSink for NoLogs {
    fn line(&self, _: &ModuleId, _: Level, _: &str, _: &str) {}
}

/// A component with a handler, whose function body is this.
fn component(body: &str) -> Arc<[u8]> {
    let text = format!(
        r#"(component
            (core module $m (func (export "run") (result i32) {body}))
            (core instance $i (instantiate $m))
            (func $run (result (result)) (canon lift (core func $i "run")))
            (instance $e (export "run" (func $run)))
            (export "wasi:cli/run@0.2.6" (instance $e)))"#
    );
    wat::parse_str(text).expect("well-formed text").into()
}

/// Prepares a component with `program` as the compiler, and says whether an entry is kept.
fn prepare(program: &str, bytes: &Arc<[u8]>) -> (Result<(), LoadError>, bool) {
    let dir = TempDir::new().expect("a folder");
    let cache = || CompileCache::open(&dir.path().join("cache")).expect("opens");
    let tokio = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("starts");
    let hub = Hub::new(
        HubConfig::new(DeviceId::new("device").expect("an id")),
        Arc::new(MemoryLog::default()),
    );
    let runtime = WasmRuntime::new(
        hub,
        RuntimeConfig {
            allocation: Allocation::OnDemand,
            workers: 1,
            cache: Some(cache()),
            compiler: Compiler::Child(program.into()),
            logs: Arc::new(NoLogs),
            observer: None,
            tokio: tokio.handle().clone(),
        },
    );
    let prepared = runtime.prepare(
        ModuleId::new("one").expect("an id"),
        &Source::Bytes("one.wasm".to_owned(), bytes.clone()),
        None,
        WasmOptions::default(),
        std::collections::BTreeMap::new(),
    );
    let engine = runtime.engines.get(EngineKind::Plain).expect("an engine");
    let digest = Digest(Sha256::digest(bytes).into());
    let kept = matches!(cache().load(engine, &digest), Ok(Lookup::Hit(_)));
    runtime.close();
    (prepared.map(drop), kept)
}

#[test]
fn without_a_program_to_start_it_is_compiled_here_and_kept() {
    let (prepared, kept) = prepare("/nowhere/edge", &component("i32.const 0"));
    prepared.expect("compiled");
    assert!(kept);
}

#[test]
fn where_the_process_ends_well_and_leaves_no_entry_it_is_compiled_here() {
    let (prepared, kept) = prepare("/bin/true", &component("i32.const 0"));
    prepared.expect("compiled");
    assert!(kept);
    // `false` ends with 1, as the process does that cannot write the entry.
    let (prepared, _) = prepare("/bin/false", &component("i32.const 0"));
    prepared.expect("compiled");
}

#[test]
fn a_process_that_fails_in_its_own_way_is_an_error_that_may_pass() {
    // `env` ends with 125 on words that it does not know.
    let (prepared, kept) = prepare("/usr/bin/env", &component("i32.const 0"));
    let error = prepared.expect_err("it fails");
    assert!(matches!(error, LoadError::Compiler { .. }), "{error:?}");
    assert!(error.is_transient());
    assert!(
        error.to_string().starts_with("cannot compile one.wasm: "),
        "{error}"
    );
    assert!(!kept);
}

#[test]
fn what_the_compiler_does_not_take_is_an_error_for_good_wherever_it_was_compiled() {
    let (prepared, kept) = prepare("/nowhere/edge", &component("i64.const 0"));
    let error = prepared.expect_err("it fails");
    assert!(matches!(error, LoadError::Compile { .. }), "{error:?}");
    assert!(!error.is_transient());
    assert!(!kept);
}
