//! A device without room. Needs a file system of its own, and so root: skipped, loudly, without.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use edge_core::EndpointId;
use edge_store::FileLog;
use tempfile::{TempDir, tempdir};

use super::chain::{self, First, INSIDE};
use super::chance::Chance;
use super::load::{Load, WhenFull};
use crate::support::Daemon;
use crate::support::ledger::{Ledger, Received, judge};

const SENDERS: u64 = 4;

/// A small file system in memory, gone when this is dropped.
struct Tmpfs(TempDir);

impl Tmpfs {
    /// With room for so many bytes; none where it may not be made.
    fn mount(size: &str) -> Option<Self> {
        let dir = tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o"])
            .arg(format!("size={size}"));
        let mounted = mount.arg("edge-test").arg(dir.path()).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(dir)),
            failed => {
                eprintln!("SKIPPED: no tmpfs can be mounted (this needs root): {failed:?}");
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn store(&self) -> PathBuf {
        self.path().join("store")
    }

    fn settings(&self) -> String {
        format!(
            "[store]\nsegment-size = \"1MiB\"\nreserve = \"4MiB\"\npath = \"{}\"\n[hub]\ntime-to-live = \"24h\"\n",
            self.store().display()
        )
    }

    /// Takes all the room that there is.
    fn fill(&self) -> PathBuf {
        let path = self.path().join("filler");
        let mut file = File::create(&path).unwrap();
        let block = vec![0xA5; 64 << 10];
        for size in [block.len(), 4_096, 1] {
            loop {
                match file.write(&block[..size]) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        path
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.path()).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} is left mounted", self.path().display());
        }
    }
}

/// What waits at the inputs of `first`.
fn at_first(log: &FileLog) -> Vec<Received> {
    let inputs = ["input1", "input2"].map(|input| {
        let module = edge_core::ModuleId::new("first").unwrap();
        chain::waiting(log, &EndpointId::module_input(module, input))
    });
    let items = inputs.iter().flatten().map(chain::item);
    items.map(Received::from).collect()
}

#[test]
fn a_full_device_refuses_loses_nothing_and_goes_on_when_there_is_room() {
    let Some(tmpfs) = Tmpfs::mount("32m") else {
        return;
    };
    let mut chance = Chance::new("full");
    let mut daemon = Daemon::with(&tmpfs.settings());
    daemon.apply(&chain::manifest(First::Stopped, 0));
    let ledger = daemon.dir().join("ledger");
    let socket = daemon.socket();
    let load = Load::start(SENDERS, &ledger, &socket, WhenFull::Wait, &mut chance);
    load.open();
    load.all_wait();
    assert!(load.refused() > 0);
    let send = daemon.edge("send --from source/a --body x").output("");
    send.code(1).says("the store is full");
    assert_eq!(
        daemon.call("GET", "/v1/queues", "").0,
        200,
        "it still answers"
    );

    // A crash when there is no room is a crash like any other.
    daemon.kill();
    daemon.again();
    load.open();
    load.all_wait();
    let taken = load.acknowledged();
    daemon.stop().code(0);
    let log = chain::open(&tmpfs.store());
    let waiting = at_first(&log);
    drop(log);
    let entries = Ledger::read(&ledger).unwrap();
    let verdict = judge(&entries, &waiting, INSIDE).expect("what waits when full");
    eprintln!("full: {verdict}");

    daemon.again();
    daemon.apply(&chain::manifest(First::Draining, 1));
    chain::drained(&daemon);
    load.again(2_000);
    let more = load.finish() - taken;
    chain::drained(&daemon);
    daemon.stop().code(0);
    let log = chain::open(&tmpfs.store());
    let handled = chain::state(&log, "first", "count");
    assert_eq!(
        handled,
        verdict.received + more,
        "all that was taken was handled once"
    );
    for report in chain::waiting(&log, &EndpointId::Upstream) {
        assert_eq!(chain::text(&report, "odd"), "repeat", "{report:?}");
    }
}

#[test]
fn room_that_others_take_costs_nothing_that_was_acknowledged() {
    let Some(tmpfs) = Tmpfs::mount("48m") else {
        return;
    };
    let mut chance = Chance::new("filled by others");
    let mut daemon = Daemon::with(&tmpfs.settings());
    daemon.apply(&chain::manifest(First::Running, 0));
    let ledger = daemon.dir().join("ledger");
    let socket = daemon.socket();
    let load = Load::start(SENDERS, &ledger, &socket, WhenFull::Wait, &mut chance);
    load.open();
    for round in 0..3 {
        load.more(100 + chance.below(500));
        let filler = tmpfs.fill();
        load.all_wait();
        eprintln!("round {round}: {} refused", load.refused());
        // It has segments made ahead, and refuses when they are full: it does not fail.
        assert!(!load.lost_the_daemon() && daemon.running().goes_on());
        fs::remove_file(filler).unwrap();
        load.again(100);
    }
    load.finish();
    chain::drained(&daemon);
    daemon.stop().code(0);
    let verdict = chain::judge_all(&ledger, &tmpfs.store());
    eprintln!("filled by others: {verdict}");
}
