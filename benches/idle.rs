//! `edge daemon` with ten modules that have nothing to do, and with ten containers beside them: what it takes of
//! memory, processor and disk, and how long it takes from its start until all of them run, without any network.
//! Each of the components with inputs has handled a message; then nothing comes any more.

#[path = "../tests/support/mod.rs"]
mod edge;
mod support;

use std::thread::sleep;
use std::time::{Duration, Instant};

use edge::engine::{Engine, IMAGE};
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

/// Brings up ten components, each of which has done something, and what else is in the manifest.
fn deploy(daemon: &Daemon, mut manifest: Manifest) {
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
}

/// Ten containers that sleep.
fn containers() -> Manifest {
    let options = json!({
        "Cmd": ["/bin/sleep", "100000"],
        "StopSignal": "SIGKILL",
        "HostConfig": {"NetworkMode": "none"},
    });
    let names = (1..=10).map(|number| format!("box-{number}"));
    names.fold(Manifest::new(), |manifest, name| {
        manifest.container(&name, IMAGE, options.clone()).key(
            &name,
            "imagePullPolicy",
            "never".into(),
        )
    })
}

#[allow(clippy::cast_precision_loss, reason = "figures")]
fn float(n: u64) -> f64 {
    n as f64
}

fn main() {
    let bench = Bench::new("idle");
    let case = "ten modules with nothing to do";
    if bench.wants(case) {
        let mut daemon = Daemon::start();
        deploy(&daemon, Manifest::new());
        idle(&bench, case, &mut daemon, Goal::AtMost(25.0));
        boot(&bench, case, &mut daemon, |_| {});
    }
    let case = "ten of each kind with nothing to do";
    if bench.wants(case) {
        let mut engine = Engine::start();
        let mut daemon = engine.daemon();
        deploy(&daemon, containers());
        idle(&bench, case, &mut daemon, Goal::AtMost(30.0));
        boot(&bench, case, &mut daemon, |_| {});
        // As when the power comes back: the engine has its containers, and none of them runs.
        let case = "ten of each kind, none running";
        boot(&bench, case, &mut daemon, |first| {
            engine.kill();
            engine.again();
            if first {
                assert!(engine.docker(&["ps", "--quiet"]).is_empty());
            }
        });
    }
}

fn all_run(daemon: &Daemon) -> bool {
    let list = daemon.json("list");
    let modules = list["modules"].as_array().expect("modules");
    let run = |module: &serde_json::Value| module["status"] == "running";
    list["settled"] == true && modules.iter().all(run)
}

/// Seconds from the start after a crash until all modules run.
fn boot(bench: &Bench, case: &str, daemon: &mut Daemon, mut before: impl FnMut(bool)) {
    let mut seconds = Vec::new();
    for round in 0..bench.repetitions(5) {
        daemon.kill();
        before(round == 0);
        let begin = Instant::now();
        daemon.again();
        daemon.eventually("all modules run", all_run);
        seconds.push(begin.elapsed().as_secs_f64());
    }
    bench.figure(case, "boot", "s", &seconds, Goal::AtMost(5.0));
}

fn idle(bench: &Bench, case: &str, daemon: &mut Daemon, most: Goal) {
    let span = Duration::from_secs(if bench.quick { 3 } else { 10 });
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
    bench.figure(case, "PSS", "MB", &memory, most);
    // Another process of the same program would lower the former, and not the latter.
    bench.figure(case, "RSS", "MB", &resident, Goal::None);
    bench.figure(case, "CPU", "% core", &cpu, Goal::AtMost(1.0));
    bench.figure(case, "device", "B", &device, Goal::AtMost(0.0));
    bench.figure(case, "calls", "B", &calls, Goal::AtMost(0.0));
    bench.figure(case, "threads", "", &[threads], Goal::None);
}
