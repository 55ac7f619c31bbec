//! `edge daemon` with ten modules that have nothing to do: what it takes of memory, processor and disk.
//! Each of those with inputs has handled a message; then nothing comes any more.

#[path = "../tests/support/mod.rs"]
mod edge;
mod support;

use std::thread::sleep;
use std::time::{Duration, Instant};

use edge::{Daemon, Manifest};
use serde_json::json;
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

/// Milliseconds in which the kernel counts CPU time.
const TICK: u64 = 10;

/// What the kernel counted of a process so far.
#[derive(Clone, Copy)]
struct Counts {
    cpu: Duration,
    /// Bytes of calls that write, to files, pipes and sockets.
    calls: u64,
    /// Bytes that were to go to the device.
    device: u64,
}

impl Counts {
    fn of(pid: u32) -> Self {
        let io = proc(pid, "io");
        // The name, in brackets, may hold anything.
        let stat = proc(pid, "stat");
        let (_, fields) = stat.rsplit_once(") ").expect("a name in brackets");
        let ticks = fields.split(' ').skip(11).take(2);
        let ticks: u64 = ticks.map(|n| n.parse::<u64>().expect("a number")).sum();
        Self {
            cpu: Duration::from_millis(ticks * TICK),
            calls: number(&io, "wchar:"),
            device: number(&io, "write_bytes:"),
        }
    }

    fn since(self, before: Self) -> Self {
        Self {
            cpu: self.cpu - before.cpu,
            calls: self.calls - before.calls,
            device: self.device - before.device,
        }
    }
}

fn proc(pid: u32, file: &str) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/{file}")).expect("it runs, and may be looked at")
}

/// The number after a name.
fn number(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let word = line.and_then(|line| line.split_whitespace().next());
    word.and_then(|n| n.parse().ok()).expect(name)
}

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

/// Waits until it neither writes nor starts or ends threads for a while: what became free is tidied up
/// a second later, and surplus threads end after five.
fn settle(pid: u32) {
    const QUIET: Duration = Duration::from_secs(6);
    const PATIENCE: Duration = Duration::from_secs(60);
    let look = || {
        (
            Counts::of(pid).device,
            number(&proc(pid, "status"), "Threads:"),
        )
    };
    let begin = Instant::now();
    let (mut last, mut since) = (look(), Instant::now());
    while since.elapsed() < QUIET && begin.elapsed() < PATIENCE {
        sleep(Duration::from_millis(200));
        let now = look();
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
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
        let rollup = proc(pid, "smaps_rollup");
        let mega = |name: &str| float(number(&rollup, name) << 10) / 1e6;
        memory.push(mega("Pss:"));
        resident.push(mega("Rss:"));
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
