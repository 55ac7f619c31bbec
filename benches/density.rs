//! What a resident instance costs in memory: a thousand of the filter, each with messages handled,
//! over what the guest itself has touched.

mod support;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use edge_core::deployment::WasmOptions;
use edge_core::{DeviceId, EndpointId, Identity, MessageBuilder, ModuleId, Priority};
use edge_hub::{Hub, HubConfig};
use edge_store::{Commit, MemoryLog};
use edge_wasm::{Allocation, RuntimeConfig, Source, WasmRuntime};
use support::{Bench, Goal};

const INSTANCES: usize = 1_000;
const MESSAGES: usize = 20;

/// A mapping of this process, in KiB.
struct Mapping {
    start: u64,
    size: u64,
    resident: u64,
}

fn mappings() -> Vec<Mapping> {
    let text = std::fs::read_to_string("/proc/self/smaps").expect("Linux");
    let mut all: Vec<Mapping> = Vec::new();
    let kib = |line: &str| {
        line.split_whitespace()
            .nth(1)
            .and_then(|n| n.parse().ok())
            .unwrap_or(0)
    };
    for line in text.lines() {
        let range = line
            .split_whitespace()
            .next()
            .and_then(|range| range.split_once('-'));
        if let Some((start, _)) = range
            && let Ok(start) = u64::from_str_radix(start, 16)
        {
            all.push(Mapping {
                start,
                size: 0,
                resident: 0,
            });
        } else if let Some(last) = all.last_mut() {
            if line.starts_with("Size:") {
                last.size = kib(line);
            } else if line.starts_with("Pss:") {
                last.resident = kib(line);
            }
        }
    }
    all
}

/// KiB of proportional memory.
fn proportional() -> u64 {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").expect("Linux");
    let line = text
        .lines()
        .find(|line| line.starts_with("Pss:"))
        .expect("a sum");
    line.split_whitespace()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .expect("a number")
}

fn main() {
    let bench = Bench::new("density");
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .expect("starts");
    let hub = Hub::new(
        HubConfig::new(DeviceId::new("bench").expect("valid")),
        Arc::new(MemoryLog::default()),
    );
    let path = support::sample("filter.wasm");
    let bytes: Arc<[u8]> = std::fs::read(&path).expect("readable").into();
    let source = Source::Bytes("filter.wasm".to_owned(), bytes);
    let cache = tempfile::tempdir().expect("a folder");
    let runtime = WasmRuntime::new(
        hub.clone(),
        RuntimeConfig {
            allocation: Allocation::OnDemand,
            workers: 2,
            cache: Some(edge_wasm::cache::CompileCache::open(cache.path()).expect("a cache")),
            compiler: edge_wasm::Compiler::InProcess,
            logs: Arc::new(support::Complaints),
            observer: None,
            tokio: tokio.handle().clone(),
        },
    );
    let mut modules = Vec::new();
    let start = |number: usize| {
        let id = ModuleId::new(&format!("filter{number}")).expect("valid");
        let prepared = runtime
            .prepare(id, &source, None, WasmOptions::default(), BTreeMap::new())
            .expect("the filter is a module");
        runtime.start(prepared)
    };
    let mut sender = hub.sender(Identity::Device(hub.device().clone()));
    let mut handle_some = |number: usize| {
        let module = ModuleId::new(&format!("filter{number}")).expect("valid");
        let queue = hub.queue(
            &EndpointId::module_input(module, "input1"),
            Priority::DEFAULT,
        );
        let mut commit = Commit::new();
        for _ in 0..MESSAGES {
            let body = format!(
                "{{\"temperature\":{number},\"note\":\"{}\"}}",
                "x".repeat(200)
            );
            let message = MessageBuilder::new(body).json().build();
            sender
                .stage_for(&mut commit, queue, message, None, hub.now())
                .expect("taken");
        }
        hub.commit(&mut commit).expect("committed");
    };
    // What the first one brings along (engine, code, threads) is not an instance's.
    modules.push(start(INSTANCES));
    handle_some(INSTANCES);
    assert!(hub.wait_until_at_most(0, Some(Instant::now() + Duration::from_secs(60))));
    let known: HashSet<u64> = mappings().iter().map(|mapping| mapping.start).collect();
    let before = proportional();

    for number in 0..INSTANCES {
        modules.push(start(number));
        handle_some(number);
    }
    assert!(hub.wait_until_at_most(0, Some(Instant::now() + Duration::from_secs(60))));
    let after = proportional();
    // A linear memory is mapped in a few pieces (image, rest, what may grow): pieces of one size that
    // there are as many of as instances. Nothing else of an instance is a mapping of its own.
    let new: Vec<Mapping> = mappings()
        .into_iter()
        .filter(|m| !known.contains(&m.start))
        .collect();
    let mut by_size: BTreeMap<u64, (usize, u64)> = BTreeMap::new();
    for mapping in new.iter().filter(|mapping| mapping.resident > 0) {
        let entry = by_size.entry(mapping.size).or_default();
        entry.0 += 1;
        entry.1 += mapping.resident;
    }
    let memories = by_size
        .values()
        .filter(|(count, _)| *count >= INSTANCES * 9 / 10);
    let touched: u64 = memories.map(|(_, resident)| *resident).sum();
    #[allow(clippy::cast_precision_loss, reason = "figures")]
    let each = |kib: u64| kib as f64 / INSTANCES as f64;
    let all = after.saturating_sub(before);
    bench.figure(
        "1 000 resident filters: each",
        "PSS",
        "KiB",
        &[each(all)],
        Goal::None,
    );
    bench.figure(
        "of it touched by the guest",
        "PSS",
        "KiB",
        &[each(touched)],
        Goal::None,
    );
    bench.figure(
        "of it ours",
        "overhead",
        "KiB",
        &[each(all.saturating_sub(touched))],
        Goal::AtMost(64.0),
    );
    for module in modules {
        assert!(module.stop(Duration::from_secs(1)));
    }
    runtime.close();
}
