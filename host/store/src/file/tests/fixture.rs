//! Files of format version 1, as they were once written: every later version reads them.

use std::path::{Path, PathBuf};

use super::*;
use crate::Disk;

fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/v1")
}

/// Fills a log with one of everything.
fn fill(log: &FileLog) {
    let (a, b) = (
        log.queue(&input("a"), Priority(1)),
        log.queue(&EndpointId::Upstream, Priority::DEFAULT),
    );
    append(log, &[a, b], &bodies(0..3));
    put(log, Table::Twins, "twin", Some("1"));
    put(log, Table::ModuleState, "mod\0b\0k", Some("v"));
    settle(log, a, [2]);
    let mut commit = Commit::new();
    commit.progress(Progress::Attempted {
        queue: b,
        seq: Seq(1),
        attempts: 3,
        failures: 1,
    });
    commit.dead_letter(crate::DeadLetter {
        message: message("dead"),
        endpoint: input("a"),
        priority: Priority(1),
        attempts: 3,
        reason: crate::DeadReason::Failed("trap".to_owned()),
        at: Timestamp(77),
    });
    log.commit(&mut commit).unwrap();
}

/// More, after a snapshot: the part that is read record by record.
fn fill_more(log: &FileLog) -> Lsn {
    let b = log.queue(&EndpointId::Upstream, Priority::DEFAULT);
    put(log, Table::Twins, "twin", Some("2"));
    append(log, &[b], &["last".to_owned()])
}

fn check(log: &FileLog) {
    let a = log.queue(&input("a"), Priority(1));
    let b = log.queue(&EndpointId::Upstream, Priority::DEFAULT);
    let seqs = |queue| waiting(log, queue).iter().map(|e| e.0).collect::<Vec<_>>();
    assert_eq!((seqs(a), seqs(b)), (vec![1, 3], vec![1, 2, 3, 4]));
    let first = &read(log, b, 0, 1)[0];
    assert_eq!(first.message, message(&bodies(0..1)[0]));
    assert_eq!((first.attempts, first.failures), (3, 1));
    assert_eq!(first.expiry, Some(Timestamp(2_000)));
    assert_eq!(log.get(Table::Twins, b"twin"), Some("2".into()));
    let letters = log.dead_letters(Seq(0), 9);
    assert_eq!(
        letters[0].1.reason,
        crate::DeadReason::Failed("trap".to_owned())
    );
    assert_eq!(log.metrics().damaged, 0);
}

#[test]
fn files_of_version_1_are_read() {
    let disk = TestDisk::default();
    for file in std::fs::read_dir(kept()).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        disk.replace(&name, &std::fs::read(file.path()).unwrap())
            .unwrap();
    }
    assert!(disk.names().len() >= 2, "the fixture is not there");
    let (log, opening) = open(&disk, &Arc::default());
    assert!(
        opening.damage.is_empty() && opening.torn.is_none(),
        "{opening:?}"
    );
    // The tables are not among the files: the small ones come from the snapshot.
    assert_eq!(opening.lost_state, ["mod"]);
    check(&log);
}

/// Run by hand when a version is new: `cargo test -p edge-store -- --ignored write_the_fixture`.
#[test]
#[ignore = "writes the fixture of the version that the code has"]
fn write_the_fixture_of_this_version() {
    let (disk, tables) = (TestDisk::default(), Arc::default());
    let (log, _) = open(&disk, &tables);
    fill(&log);
    log.close().unwrap();
    drop(log);
    let (log, _) = open(&disk, &tables);
    let lsn = fill_more(&log);
    durable(&log, lsn);
    check(&log);
    drop(log);
    std::fs::create_dir_all(kept()).unwrap();
    for name in disk.names() {
        let mut bytes = disk.bytes(&name);
        let used = bytes.iter().rposition(|byte| *byte != 0);
        bytes.truncate(used.map_or(0, |last| last + 1));
        if !bytes.is_empty() {
            std::fs::write(kept().join(name), bytes).unwrap();
        }
    }
}
