//! The log on disk, over files in memory and over real ones.

mod damage;
mod disk;
mod fixture;
mod model;
mod room;

use std::sync::Arc;

use bytes::Bytes;
use edge_core::{
    ByteSize, DeviceId, EndpointId, Message, MessageBuilder, MessageId, ModuleId, Origin, Priority,
    Source, Timestamp,
};

use super::{FileLog, FileLogConfig, Opening, OsDisk};
use crate::suite::block_on;
use crate::{
    Commit, Delivery, Lsn, MemoryTables, MessageLog, Progress, Put, QueueId, Seq, StateTables,
    Table, Visible,
};

use disk::TestDisk;

const SMALL: ByteSize = ByteSize(64 << 10);

fn config() -> FileLogConfig {
    FileLogConfig {
        segment_size: SMALL,
        cache: ByteSize(8 << 10),
        reserve: ByteSize(0),
        ..FileLogConfig::default()
    }
}

fn open(disk: &TestDisk, tables: &Arc<MemoryTables>) -> (FileLog, Opening) {
    open_with(disk, tables, config())
}

fn open_with(
    disk: &TestDisk,
    tables: &Arc<MemoryTables>,
    config: FileLogConfig,
) -> (FileLog, Opening) {
    let tables: Arc<dyn StateTables> = tables.clone();
    FileLog::open(Arc::new(disk.clone()), tables, config).unwrap()
}

fn message(body: &str) -> Message {
    Message {
        content: MessageBuilder::new(body.to_owned())
            .property("kind", "reading")
            .json()
            .build(),
        origin: Origin::new(Source::Module {
            device: DeviceId::new("d").unwrap(),
            module: ModuleId::new("m").unwrap(),
            output: Some("out".into()),
        }),
        id: MessageId { start: 9, count: 4 },
        enqueued: Timestamp(1_000),
        hops: 3,
    }
}

fn input(name: &str) -> EndpointId {
    EndpointId::module_input(ModuleId::new("m").unwrap(), name)
}

fn append(log: &FileLog, queues: &[QueueId], bodies: &[String]) -> Lsn {
    let mut commit = Commit::new();
    for body in bodies {
        let index = commit.message(message(body));
        for queue in queues {
            commit.target(index, *queue, Some(Timestamp(2_000)));
        }
    }
    log.commit(&mut commit).unwrap()
}

fn settle(log: &FileLog, queue: QueueId, seqs: impl IntoIterator<Item = u64>) -> Lsn {
    let mut commit = Commit::new();
    for seq in seqs {
        commit.progress(Progress::Settled {
            queue,
            seq: Seq(seq),
        });
    }
    log.commit(&mut commit).unwrap()
}

fn put(log: &FileLog, table: Table, key: &str, value: Option<&str>) -> Lsn {
    let mut commit = Commit::new();
    commit.put(Put {
        table,
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: value.map(|value| Bytes::copy_from_slice(value.as_bytes())),
    });
    log.commit(&mut commit).unwrap()
}

fn durable(log: &FileLog, lsn: Lsn) {
    block_on(log.durable(lsn)).unwrap();
}

fn read(log: &FileLog, queue: QueueId, from: u64, max: usize) -> Vec<Delivery> {
    let mut out = Vec::new();
    log.read(queue, Seq(from), max, Visible::Committed, &mut out);
    out
}

/// Numbers and bodies of all that waits.
fn waiting(log: &FileLog, queue: QueueId) -> Vec<(u64, String)> {
    let text = |body: &Bytes| String::from_utf8(body.to_vec()).unwrap();
    read(log, queue, 0, usize::MAX)
        .iter()
        .map(|d| (d.seq.0, text(&d.message.content.body)))
        .collect()
}

fn bodies(range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|n| format!("{n:0>200}")).collect()
}

#[test]
fn the_file_log_keeps_a_logs_promises() {
    crate::suite::run(|| open(&TestDisk::default(), &Arc::default()).0);
}

#[test]
fn it_keeps_them_in_real_files_and_over_sled() {
    let dir = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    crate::suite::run(|| {
        count.set(count.get() + 1);
        let dir = dir.path().join(count.get().to_string());
        FileLog::open_dir(&dir, config()).unwrap().0
    });
}

#[test]
fn a_full_log_refuses_messages_and_takes_progress() {
    let quota = FileLogConfig {
        quota: Some(ByteSize(4_096)),
        ..config()
    };
    crate::suite::fills_up(&open_with(&TestDisk::default(), &Arc::default(), quota).0);
}

#[test]
fn a_message_comes_back_as_it_was() {
    let (disk, tables) = (TestDisk::default(), Arc::default());
    let (log, opening) = open(&disk, &tables);
    assert!(opening.created);
    let queue = log.queue(&input("a"), Priority(3));
    let lsn = append(&log, &[queue], &["body".to_owned()]);
    durable(&log, lsn);
    drop(log);
    let (log, opening) = open(&disk, &tables);
    assert!(!opening.created && opening.torn.is_none() && opening.damage.is_empty());
    assert_eq!(opening.lsn, lsn);
    assert_eq!(log.queue(&input("a"), Priority(3)), queue);
    let delivery = &read(&log, queue, 0, 9)[0];
    assert_eq!(delivery.message, message("body"));
    assert_eq!(delivery.expiry, Some(Timestamp(2_000)));
}

#[test]
fn everything_is_there_after_a_close_and_after_none() {
    for close in [false, true] {
        let (disk, tables) = (TestDisk::default(), Arc::default());
        let (log, _) = open(&disk, &tables);
        let (a, b) = (
            log.queue(&input("a"), Priority(1)),
            log.queue(&input("b"), Priority(2)),
        );
        // Over several segments.
        for start in (0..2_000).step_by(10) {
            append(&log, &[a, b], &bodies(start..start + 10));
        }
        settle(&log, a, 1..=500);
        settle(&log, a, [503, 505]);
        put(&log, Table::Twins, "t", Some("1"));
        put(&log, Table::ModuleState, "m\0b\0k", Some("v"));
        let mut commit = Commit::new();
        commit.progress(Progress::Attempted {
            queue: b,
            seq: Seq(1),
            attempts: 4,
            failures: 2,
        });
        let lsn = log.commit(&mut commit).unwrap();
        durable(&log, lsn);
        if close {
            log.close().unwrap();
            assert!(log.commit(&mut Commit::new()).is_err());
        }
        drop(log);
        let (log, opening) = open(&disk, &tables);
        assert!(
            opening.damage.is_empty() && opening.torn.is_none(),
            "{opening:?}"
        );
        let (a_left, b_left) = (waiting(&log, a), waiting(&log, b));
        assert_eq!((a_left.len(), b_left.len()), (1_498, 2_000));
        assert_eq!(
            a_left[..3].iter().map(|e| e.0).collect::<Vec<_>>(),
            [501, 502, 504]
        );
        for (seq, body) in b_left {
            assert_eq!(body, format!("{:0>200}", seq - 1));
        }
        let first = &read(&log, b, 0, 1)[0];
        assert_eq!((first.attempts, first.failures), (4, 2));
        assert_eq!(log.get(Table::Twins, b"t"), Some("1".into()));
        assert_eq!(log.get(Table::ModuleState, b"m\0b\0k"), Some("v".into()));
        assert_eq!(log.pressure().waiting, 3_498);
    }
}

#[test]
fn a_second_log_on_the_same_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let first = OsDisk::open(dir.path()).unwrap();
    let second = OsDisk::open(dir.path()).unwrap_err();
    assert!(second.to_string().contains("in use by another process"));
    drop(first);
    OsDisk::open(dir.path()).unwrap();
}

#[test]
fn segments_that_everybody_has_passed_are_dropped() {
    let (disk, tables) = (TestDisk::default(), Arc::default());
    let (log, _) = open(&disk, &tables);
    let queue = log.queue(&input("a"), Priority(1));
    let mut seq = 0;
    for start in (0..20_000).step_by(100) {
        append(&log, &[queue], &bodies(start..start + 100));
        settle(&log, queue, seq + 1..=seq + 100);
        seq += 100;
    }
    log.close().unwrap();
    let segments = disk.names().iter().filter(|n| n.ends_with(".log")).count();
    assert!(segments <= 3, "{:?}", disk.names());
    drop(log);
    let (log, _) = open(&disk, &tables);
    append(&log, &[queue], &bodies(0..1));
    assert_eq!(waiting(&log, queue)[0].0, 20_001, "numbers go on");
}

#[test]
fn a_segment_pinned_by_few_messages_is_emptied_and_dropped() {
    let (disk, tables) = (TestDisk::default(), Arc::default());
    let (log, _) = open(&disk, &tables);
    let (busy, idle) = (
        log.queue(&input("busy"), Priority(1)),
        log.queue(&input("idle"), Priority(1)),
    );
    let mut seq = 0;
    for start in (0..40_000).step_by(100) {
        append(&log, &[busy], &bodies(start..start + 100));
        settle(&log, busy, seq + 1..=seq + 100);
        seq += 100;
        if start % 1_000 == 0 {
            append(&log, &[idle], &bodies(start..start + 1));
        }
    }
    log.close().unwrap();
    let segments = disk.names().iter().filter(|n| n.ends_with(".log")).count();
    let metrics = log.metrics();
    assert!(metrics.compacted_bytes > 0);
    assert!(segments <= 8, "{:?}", disk.names());
    let expected: Vec<_> = (0..40)
        .map(|n| (n + 1, format!("{:0>200}", n * 1_000)))
        .collect();
    assert_eq!(waiting(&log, idle), expected);
    drop(log);
    let (log, opening) = open(&disk, &tables);
    assert!(opening.damage.is_empty());
    assert_eq!(waiting(&log, idle), expected);
}

#[test]
fn what_is_committed_and_not_durable_is_seen_inside_only() {
    let (disk, tables) = (TestDisk::default(), Arc::default());
    let (log, _) = open(&disk, &tables);
    let queue = log.queue(&input("a"), Priority(1));
    let lsn = append(&log, &[queue], &bodies(0..1));
    assert_eq!(read(&log, queue, 0, 9).len(), 1);
    durable(&log, lsn);
    let mut out = Vec::new();
    log.read(queue, Seq(0), 9, Visible::Durable, &mut out);
    assert_eq!(out.len(), 1);
}

#[test]
fn a_reader_behind_the_cache_gets_everything_in_order() {
    let (disk, tables) = (TestDisk::default(), Arc::default());
    let (log, _) = open(&disk, &tables);
    let queue = log.queue(&input("a"), Priority(1));
    let mut next = 0;
    for start in (0..3_000).step_by(7) {
        append(&log, &[queue], &bodies(start..start + 7));
        // Slower than what comes in, and with a step back now and then.
        for delivery in read(&log, queue, next + 1, 5) {
            assert_eq!(delivery.seq.0, next + 1);
            next += 1;
        }
        if start % 70 == 0 {
            settle(
                &log,
                queue,
                next.saturating_sub(50).max(1)..next.saturating_sub(10),
            );
            assert_eq!(read(&log, queue, next, 1)[0].seq.0, next);
        }
    }
    while let Some(delivery) = read(&log, queue, next + 1, 1).first() {
        assert_eq!(delivery.seq.0, next + 1);
        next += 1;
    }
    assert_eq!(next, 3_003);
}

#[test]
fn what_nobody_waits_for_rides_with_the_next_commit_that_somebody_does() {
    const TIMES: u64 = 100;
    let (log, _) = open(&TestDisk::default(), &Arc::default());
    let queue = log.queue(&input("a"), Priority(1));
    durable(&log, append(&log, &[queue], &bodies(0..1)));
    let before = log.metrics().syncs();
    for n in 0..TIMES {
        settle(&log, queue, [n]);
        // The writer has looked at it, and leaves it for later.
        std::thread::sleep(std::time::Duration::from_micros(500));
        durable(&log, append(&log, &[queue], &bodies(0..1)));
    }
    // One each; a busy machine may be late for some.
    let syncs = log.metrics().syncs() - before;
    assert!(syncs < TIMES * 3 / 2, "{syncs}");
}

#[test]
fn what_nobody_waits_for_comes_to_the_device_by_itself() {
    let (log, _) = open(&TestDisk::default(), &Arc::default());
    let queue = log.queue(&input("a"), Priority(1));
    for _ in 0..3 {
        let lsn = append(&log, &[queue], &bodies(0..1));
        let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while log.durable_lsn() < lsn {
            assert!(std::time::Instant::now() < end, "it stays in memory");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}
