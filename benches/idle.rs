//! `edge daemon` with ten modules that have nothing to do: what it takes of memory, processor and disk.
//! Each of those with inputs has handled a message; then nothing comes any more.

#[path = "../tests/support/mod.rs"]
mod edge;
mod support;

use std::thread::sleep;
use std::time::Duration;

use edge::{Daemon, Manifest};
use serde_json::json;
use support::process::{Counts, megabytes, number, proc, settle};
use support::{Bench, Goal};

/// Modules whose instances are made by a message, and the samples that they are.
const MODULES: [(&str, &str); 8] = [
    ("filter-1", "filter"),
    ("filter-2", "filter"),
    ("filter-3", "filter"),
    ("filter-4", "filter"),
    ("sum-1", "aggregator"),
    ("sum-2", "aggregator"),
    ("sum-3", "aggregator"),
    ("files", "files"),
];

/// With ten modules, each of which has done something.
fn daemon() -> Daemon {
    let daemon = Daemon::start();
    let mut manifest = Manifest::new();
    for (name, sample) in MODULES {
        let options = match sample {
            "aggregator" => json!({"grants": {"state": true}}),
            _ => json!({}),
        };
        manifest = manifest.module(name, sample, options);
    }
    let manifest = manifest
        .module("twin", "device_twin", json!({}))
        .twin("twin", json!({"interval": 7}))
        .module("sensor", "sensor", json!({"timers": {"poll": "1s"}}))
        .env("sensor", "count", "1");
    daemon.apply(&manifest);
    for (name, _) in MODULES {
        daemon.send(&format!("{name}/input1"), "{\"temperature\":20}");
    }
    for (name, _) in MODULES {
        daemon.waits(&format!("{name}/input1"), 0);
    }
    daemon
}

#[allow(clippy::cast_precision_loss, reason = "figures")]
fn float(n: u64) -> f64 {
    n as f64
}

fn main() {
    let bench = Bench::new("idle");
    let span = Duration::from_secs(if bench.quick { 3 } else { 10 });
    let mut daemon = daemon();
    let pid = daemon.running().id();
    settle(pid);

    let [mut memory, mut resident, mut cpu, mut calls, mut device] = [(); 5].map(|()| Vec::new());
    for _ in 0..bench.repetitions(3) {
        let before = Counts::of(pid);
        sleep(span);
        let used = Counts::of(pid).since(before);
        memory.push(megabytes(pid, "smaps_rollup", "Pss:"));
        resident.push(megabytes(pid, "smaps_rollup", "Rss:"));
        cpu.push(100.0 * used.cpu.as_secs_f64() / span.as_secs_f64());
        calls.push(float(used.calls));
        device.push(float(used.device));
    }
    let threads = float(number(&proc(pid, "status"), "Threads:"));
    let case = "ten modules with nothing to do";
    bench.figure(case, "PSS", "MB", &memory, Goal::AtMost(25.0));
    // Another process of the same program would lower the former, and not the latter.
    bench.figure(case, "RSS", "MB", &resident, Goal::None);
    bench.figure(case, "CPU", "% core", &cpu, Goal::AtMost(1.0));
    bench.figure(case, "device", "B", &device, Goal::AtMost(0.0));
    bench.figure(case, "calls", "B", &calls, Goal::AtMost(0.0));
    bench.figure(case, "threads", "", &[threads], Goal::None);
}
