//! `kill -9` at random moments.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::chain::{self, First, SETTINGS};
use super::chance::Chance;
use super::load::{Load, WhenFull};
use crate::support::{Daemon, Edge};

/// Threads that send.
const SENDERS: u64 = 6;

/// Where the kill comes.
#[derive(Debug, Clone, Copy)]
enum Kill {
    /// While messages come in and are handled.
    UnderLoad,
    /// While a backlog grows that nobody handles, and again while it is handled.
    WithBacklog,
    /// And once more while the daemon recovers.
    InRecovery,
    /// While a deployment is put in force.
    InApply,
}

const KILLS: [Kill; 4] = [
    Kill::UnderLoad,
    Kill::WithBacklog,
    Kill::InRecovery,
    Kill::InApply,
];

fn rounds() -> u64 {
    match std::env::var_os("EDGE_LONG_TESTS") {
        Some(_) => 200,
        None => 10,
    }
}

/// A daemon that is killed again and again.
struct Victim {
    daemon: Daemon,
    load: Load,
    chance: Chance,
    /// Counts deployments.
    build: u64,
    kills: u64,
    /// From exec to ready, after a kill.
    recoveries: Vec<Duration>,
}

impl Victim {
    fn kill(&mut self) {
        self.daemon.kill();
        self.kills += 1;
    }

    fn recover(&mut self) {
        let begin = Instant::now();
        self.daemon.again();
        self.recoveries.push(begin.elapsed());
        self.load.open();
    }

    /// Lets some messages through, and a random time pass.
    fn some(&mut self, most: u64) {
        let count = self.chance.below(most);
        self.load.more(count);
        self.chance.moment(Duration::from_millis(5));
    }

    fn apply(&mut self, first: First) {
        self.build += 1;
        self.daemon.apply(&chain::manifest(first, self.build));
    }

    /// A command that puts a deployment in force; the daemon may be gone before it is done.
    fn applying(&mut self, first: First) -> Edge {
        self.build += 1;
        let manifest = chain::manifest(first, self.build).write(self.daemon.dir());
        self.daemon.edge("apply").arg(manifest)
    }

    fn round(&mut self, kill: Kill) {
        match kill {
            Kill::UnderLoad => {
                self.some(600);
                self.kill();
            }
            Kill::WithBacklog => {
                self.apply(First::Stopped);
                self.some(600);
                self.kill();
                self.recover();
                self.some(200);
                let applying = self.applying(First::Running).start();
                self.chance.moment(Duration::from_millis(100));
                self.kill();
                applying.end();
                self.recover();
                self.apply(First::Running);
                self.some(20);
                self.kill();
            }
            Kill::InRecovery => {
                self.some(200);
                self.kill();
                let usual = self.recoveries.last().copied();
                let usual = usual.unwrap_or(Duration::from_millis(100));
                for _ in 0..2 {
                    let recovering = self.daemon.command().start();
                    self.chance.moment(usual);
                    recovering.kill();
                    self.kills += 1;
                }
            }
            Kill::InApply => {
                let applying = self.applying(First::Running).start();
                self.some(20);
                self.chance.moment(Duration::from_millis(100));
                self.kill();
                applying.end();
            }
        }
        self.recover();
    }
}

#[test]
fn nothing_is_lost_or_done_twice_across_kills() {
    let mut chance = Chance::new("kills");
    let daemon = Daemon::with(SETTINGS);
    daemon.apply(&chain::manifest(First::Running, 0));
    let (ledger, store) = (daemon.dir().join("ledger"), daemon.data().join("store"));
    let load = Load::start(
        SENDERS,
        &ledger,
        &daemon.socket(),
        WhenFull::Fault,
        &mut chance,
    );
    load.open();
    let mut victim = Victim {
        daemon,
        load,
        chance,
        build: 0,
        kills: 0,
        recoveries: Vec::new(),
    };
    // Dropped before the daemon and its folder are.
    let kept = KeepOnPanic(victim.daemon.dir().to_owned());
    let rounds = rounds();
    for round in 0..rounds {
        let kill = KILLS[usize::try_from(round).unwrap() % KILLS.len()];
        if round % 20 == 0 {
            eprintln!(
                "round {round} of {rounds}, {} acknowledged so far",
                victim.load.acknowledged()
            );
        }
        victim.round(kill);
    }
    victim.apply(First::Running);
    victim.load.finish();
    chain::drained(&victim.daemon);
    victim.daemon.stop().code(0);
    let begin = Instant::now();
    let verdict = chain::judge_all(&ledger, &store);
    victim.recoveries.sort();
    eprintln!(
        "{} kills in {rounds} rounds: {verdict}; recovery {:?} (median), {:?} (longest); judged in {:?}",
        victim.kills,
        victim.recoveries[victim.recoveries.len() / 2],
        victim.recoveries.last().unwrap(),
        begin.elapsed(),
    );
    drop(kept);
}

/// Copies a folder beside the other results of tests if the test fails, so that it can be looked at.
struct KeepOnPanic(std::path::PathBuf);

impl Drop for KeepOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("durability-failed");
            let _ = fs::remove_dir_all(&kept);
            let copied = Command::new("cp")
                .arg("-a")
                .arg(&self.0)
                .arg(&kept)
                .status();
            match copied {
                Ok(status) if status.success() => eprintln!("kept: {}", kept.display()),
                failed => eprintln!("could not keep {}: {failed:?}", self.0.display()),
            }
        }
    }
}
