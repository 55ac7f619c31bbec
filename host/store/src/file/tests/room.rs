//! Quotas, full devices, devices that fail.

use super::super::upkeep::Spare;
use super::disk::Failure;
use super::*;
use crate::{CommitError, WhenFull};

fn with_quota(when_full: WhenFull) -> (FileLog, QueueId, QueueId) {
    let config = FileLogConfig {
        quota: Some(ByteSize(40_000)),
        when_full,
        ..config()
    };
    let (log, _) = open_with(&TestDisk::default(), &Arc::default(), config);
    let first = log.queue(&input("first"), Priority(1));
    let second = log.queue(&input("second"), Priority(2));
    (log, first, second)
}

#[test]
fn over_quota_the_oldest_messages_of_all_queues_give_way() {
    let (log, first, second) = with_quota(WhenFull::DropOldest);
    for n in 0..1_000 {
        let queue = if n % 2 == 0 { first } else { second };
        let mut commit = Commit::new();
        let mut message = message(&format!("{n:0>200}"));
        message.enqueued = Timestamp(n);
        let index = commit.message(message);
        commit.target(index, queue, None);
        log.commit(&mut commit).unwrap();
    }
    let pressure = log.pressure();
    assert!(pressure.used <= 40_000 && !pressure.is_high());
    let dropped = log.metrics().dropped_over_quota;
    assert_eq!(dropped + pressure.waiting, 1_000);
    let (a, b) = (waiting(&log, first), waiting(&log, second));
    assert!(
        a.len().abs_diff(b.len()) <= 4,
        "{} and {}",
        a.len(),
        b.len()
    );
    assert_eq!((a.last().unwrap().0, b.last().unwrap().0), (500, 500));
}

#[test]
fn over_quota_messages_of_the_lowest_priority_give_way_first() {
    let (log, first, second) = with_quota(WhenFull::DropLowestPriority);
    append(&log, &[first], &bodies(0..50));
    for start in 0..200 {
        append(&log, &[second], &bodies(start..start + 1));
    }
    assert_eq!(waiting(&log, first).len(), 50);
    for start in 0..200 {
        append(&log, &[first], &bodies(start..start + 1));
    }
    assert_eq!(waiting(&log, second).len(), 0);
    assert!(waiting(&log, first).len() < 250);
}

#[test]
fn a_full_device_takes_no_messages_keeps_what_it_took_and_goes_on_when_there_is_room() {
    let (disk, tables) = (TestDisk::with_capacity(6 * SMALL.0), Arc::default());
    let (log, _) = open(&disk, &tables);
    let queue = log.queue(&input("a"), Priority(1));
    let mut taken = 0;
    let refused = loop {
        let mut commit = Commit::new();
        let index = commit.message(message(&format!("{taken:0>200}")));
        commit.target(index, queue, None);
        match log.commit(&mut commit) {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 10_000, "never full");
    };
    assert!(matches!(refused, CommitError::Full { .. }), "{refused}");
    assert!(log.pressure().is_high());
    assert_eq!(waiting(&log, queue).len() as u64, taken);
    // Progress is taken, and makes room.
    settle(&log, queue, 1..=taken);
    let mut tries = 0;
    let mut commit = Commit::new();
    let index = commit.message(message("again"));
    commit.target(index, queue, None);
    while log.commit(&mut commit).is_err() {
        tries += 1;
        assert!(tries < 1_000, "it does not recover");
        std::thread::park_timeout(std::time::Duration::from_millis(10));
    }
    drop(log);
    let (log, opening) = open(&disk, &tables);
    assert!(opening.damage.is_empty(), "{opening:?}");
    assert_eq!(waiting(&log, queue), [(taken + 1, "again".to_owned())]);
}

/// Runs commits until one fails; says the bodies that were acknowledged.
fn run_until_it_fails(log: &FileLog) -> Vec<String> {
    let queue = log.queue(&input("a"), Priority(1));
    let mut acknowledged = Vec::new();
    for n in 0..600u64 {
        let body = format!("{n:0>200}");
        let mut commit = Commit::new();
        let index = commit.message(message(&body));
        commit.target(index, queue, None);
        let Ok(lsn) = log.commit(&mut commit) else {
            break;
        };
        if n % 20 == 19 {
            if block_on(log.durable(lsn)).is_err() {
                break;
            }
            acknowledged = (0..=n).map(|n| format!("{n:0>200}")).collect();
        }
    }
    acknowledged
}

#[test]
fn whichever_operation_fails_nothing_acknowledged_is_lost() {
    let count = {
        let disk = TestDisk::default();
        let (log, _) = open(&disk, &Arc::default());
        run_until_it_fails(&log);
        log.close().unwrap();
        disk.operations()
    };
    for failure in [Failure::Full, Failure::Broken] {
        for n in 0..count {
            let (disk, tables) = (TestDisk::default(), Arc::new(MemoryTables::default()));
            disk.fail_at(n, failure);
            let shared: Arc<dyn StateTables> = tables.clone();
            let opened = FileLog::open(Arc::new(disk.clone()), shared, config());
            let acknowledged = match &opened {
                Ok((log, _)) => run_until_it_fails(log),
                Err(_) => Vec::new(),
            };
            drop(opened);
            let mut seed = n;
            let after = disk.cut_power(|choices| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                usize::try_from((seed >> 33) % choices as u64).unwrap()
            });
            let (log, opening) = open(&after, &tables);
            assert!(opening.damage.is_empty(), "{failure:?} at {n}: {opening:?}");
            let queue = log.queue(&input("a"), Priority(1));
            let left: Vec<_> = waiting(&log, queue).into_iter().map(|e| e.1).collect();
            assert!(left.len() >= acknowledged.len(), "{failure:?} at {n}");
            assert_eq!(
                left[..acknowledged.len()],
                acknowledged,
                "{failure:?} at {n}"
            );
        }
    }
}

#[test]
fn a_failed_sync_closes_the_log_and_is_told() {
    let disk = TestDisk::default();
    let told = Arc::new(std::sync::Mutex::new(String::new()));
    let tell = told.clone();
    let config = FileLogConfig {
        on_failure: Some(Box::new(move |why| *tell.lock().unwrap() = why.to_owned())),
        ..config()
    };
    let (log, _) = open_with(&disk, &Arc::default(), config);
    let queue = log.queue(&input("a"), Priority(1));
    let lsn = append(&log, &[queue], &bodies(0..1));
    durable(&log, lsn);
    // Nothing else is to use the disk from now on: a write comes, and then its sync.
    let mut inner = log.shared.lock();
    while !matches!(inner.spare, Spare::Ready { .. }) {
        inner = log.shared.wait(&log.shared.changed, inner);
    }
    drop(inner);
    disk.fail_at(1, Failure::Broken);
    let lsn = append(&log, &[queue], &bodies(1..2));
    let error = block_on(log.durable(lsn)).unwrap_err();
    assert!(error.to_string().contains("cannot sync"), "{error}");
    assert!(!error.is_transient());
    assert!(told.lock().unwrap().contains("device is broken"));
    let mut commit = Commit::new();
    commit.forget_dead_letter(Seq(1));
    assert!(matches!(
        log.commit(&mut commit),
        Err(CommitError::Failed(_))
    ));
}
