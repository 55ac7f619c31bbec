//! Components are compiled by a process of their own, which ends.

use std::fs;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::support::{Daemon, Manifest, PATIENCE};

/// Components that differ, so that each is compiled.
const SAMPLES: [&str; 5] = ["sensor", "aggregator", "files", "filter", "device_twin"];

fn modules() -> Manifest {
    let mut manifest = Manifest::new();
    for sample in SAMPLES {
        let name = sample.replace('_', "-");
        manifest = manifest.module(&name, sample, json!({"grants": {"state": true}}));
    }
    manifest
}

/// A field of `/proc/PID/stat`, counted from 1 as in proc(5); `None` where the process is gone.
fn stat(pid: u32, field: usize) -> Option<String> {
    let text = file(pid, "stat");
    // The second field is a name in brackets, with anything in it.
    let (_, rest) = text.rsplit_once(") ")?;
    rest.split(' ').nth(field - 3).map(str::to_owned)
}

/// Processor time of the children that have ended, in ticks of the kernel.
fn spent_by_children(pid: u32) -> u64 {
    let time = |field| stat(pid, field).unwrap().parse::<u64>().unwrap();
    time(16) + time(17)
}

/// The process that compiles for a daemon.
fn compiler(daemon: u32) -> Option<u32> {
    let all = fs::read_dir("/proc").unwrap();
    let mut pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.find(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        stat(*pid, 4) == Some(daemon.to_string())
            && stat(*pid, 3) != Some("Z".to_owned())
            && line.starts_with(b"edge\0compile\0")
    })
}

/// Applies what has to be compiled, and gives the process that does it: it stands still, and has
/// already done what it does before it compiles.
fn stopped_while_compiling(daemon: &mut Daemon) -> u32 {
    let id = daemon.running().id();
    let path = modules().write(daemon.dir());
    let _applying = daemon.edge("apply").arg(path).start();
    let until = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < until, "nothing is compiled");
        let Some(child) = compiler(id) else { continue };
        if send(child, Signal::STOP) && file(child, "oom_score_adj").trim() == "1000" {
            return child;
        }
        send(child, Signal::CONT);
    }
}

/// A file of a process; empty where the process is gone.
fn file(pid: u32, name: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default()
}

fn send(pid: u32, signal: Signal) -> bool {
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    kill_process(pid, signal).is_ok()
}

fn up(daemon: &Daemon) {
    daemon.eventually("the modules run", |daemon| {
        let list = daemon.json("list");
        let modules = list["modules"].as_array().unwrap();
        modules.len() == SAMPLES.len() && modules.iter().all(|it| it["status"] == "running")
    });
}

#[test]
fn the_daemon_leaves_compiling_to_others_and_after_a_restart_nothing_is_compiled() {
    let mut daemon = Daemon::start();
    daemon.apply(&modules());
    up(&daemon);
    let spent = spent_by_children(daemon.running().id());
    assert!(spent > 0, "no other process compiled");
    let output = daemon.stop().code(0);
    assert!(!output.err.contains("WARN"), "{output:#?}");
    daemon.again();
    up(&daemon);
    assert_eq!(spent_by_children(daemon.running().id()), 0);
}

#[test]
fn a_compiler_gives_way_to_the_daemon() {
    let mut daemon = Daemon::start();
    let child = stopped_while_compiling(&mut daemon);
    // What it runs on beside its own thread inherits that.
    assert_eq!(stat(child, 19).unwrap(), "5");
    assert_eq!(file(child, "oom_score_adj").trim(), "1000");
    assert_eq!(compiler(daemon.running().id()), Some(child));
    send(child, Signal::CONT);
    up(&daemon);
}

#[test]
fn a_compiler_that_is_killed_is_told_with_its_component_and_tried_again() {
    let mut daemon = Daemon::start();
    let child = stopped_while_compiling(&mut daemon);
    assert!(send(child, Signal::KILL));
    daemon.running().says("killed by signal 9");
    let said = daemon.running().said();
    let line = said.lines().find(|line| line.contains("signal 9")).unwrap();
    assert!(
        line.contains("cannot compile ") && line.contains("too little memory"),
        "{line}"
    );
    up(&daemon);
}

#[test]
fn a_compiler_ends_with_the_daemon_however_that_ends() {
    for end in ["stop", "crash"] {
        let mut daemon = Daemon::start();
        let child = stopped_while_compiling(&mut daemon);
        match end {
            "stop" => drop(daemon.stop().code(0)),
            _ => daemon.kill(),
        }
        daemon.eventually("it is gone", |_| {
            stat(child, 3).is_none_or(|state| state == "Z")
        });
    }
}
