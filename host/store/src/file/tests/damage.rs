//! Torn tails, flipped bits, missing files.

use super::super::frame::{Seed, read};
use super::*;
use crate::Disk;

/// A log whose last commit is `last`, with three before it; nothing but the log's own file is used.
fn written() -> (TestDisk, QueueId) {
    let (disk, tables) = (TestDisk::default(), Arc::default());
    let (log, _) = open(&disk, &tables);
    let queue = log.queue(&input("a"), Priority(1));
    for bodies in [bodies(0..2), bodies(2..3), bodies(3..5)] {
        let lsn = append(&log, &[queue], &bodies);
        durable(&log, lsn);
    }
    drop(log);
    (disk, queue)
}

fn segment(disk: &TestDisk) -> String {
    let mut names = disk.names();
    names.retain(|name| name.ends_with("1.log"));
    names.remove(0)
}

/// Where the records of the first segment begin, and where the last ends.
fn records(bytes: &[u8]) -> Vec<usize> {
    let mut offsets = vec![64];
    let mut id = [0; 16];
    id.copy_from_slice(&bytes[16..32]);
    let seed = Seed::of(&id);
    while let Some(frame) = read(&bytes[*offsets.last().unwrap()..], seed).unwrap() {
        offsets.push(offsets.last().unwrap() + frame.len);
    }
    offsets
}

#[test]
fn a_tail_torn_at_any_byte_of_the_last_record_is_cut_off() {
    let (disk, queue) = written();
    let name = segment(&disk);
    let whole = disk.bytes(&name);
    let offsets = records(&whole);
    let (last, end) = (offsets[offsets.len() - 2], offsets[offsets.len() - 1]);
    for cut in last..=end {
        for zeros in [true, false] {
            let disk = disk.copy();
            disk.change(&name, |bytes| match zeros {
                true => bytes[cut..].fill(0),
                false => bytes.truncate(cut),
            });
            let (log, opening) = open(&disk, &Arc::default());
            let all = cut == end;
            assert_eq!(
                waiting(&log, queue).len(),
                if all { 5 } else { 3 },
                "cut at {cut}"
            );
            assert!(opening.damage.is_empty(), "cut at {cut}: {opening:?}");
            let torn = cut > last && cut < end;
            assert_eq!(opening.torn.is_some(), torn, "cut at {cut}: {opening:?}");
            // The log goes on, and what was cut does not come back.
            let lsn = append(&log, &[queue], &["new".to_owned()]);
            durable(&log, lsn);
            drop(log);
            let (log, _) = open(&disk, &Arc::default());
            let left = waiting(&log, queue);
            assert_eq!(left.last().unwrap().1, "new", "cut at {cut}");
            assert_eq!(left.len(), if all { 6 } else { 4 });
        }
    }
}

#[test]
fn a_flipped_bit_costs_the_record_that_it_is_in_and_no_other() {
    let (disk, queue) = written();
    let name = segment(&disk);
    let offsets = records(&disk.bytes(&name));
    let end = *offsets.last().unwrap();
    // The first record names the queue; its loss costs the name, and the number stays.
    for byte in 0..end {
        let disk = disk.copy();
        disk.change(&name, |bytes| bytes[byte] ^= 0x10);
        let record = offsets.iter().filter(|offset| **offset <= byte).count();
        let (log, opening) = open(&disk, &Arc::default());
        let left: Vec<u64> = waiting(&log, queue).iter().map(|entry| entry.0).collect();
        let expected: &[u64] = match record {
            0 => &[1, 2, 3, 4, 5],
            1 => &[3, 4, 5],
            2 => &[1, 2, 4, 5],
            // The last one is like a torn tail: nothing tells that it was durable.
            _ => &[1, 2, 3],
        };
        assert_eq!(
            left, expected,
            "byte {byte} of record {record}: {opening:?}"
        );
        let known = !opening.damage.is_empty() || opening.torn.is_some();
        assert!(known, "byte {byte} of record {record} went unnoticed");
        assert_eq!(opening.torn.is_some(), record == 3, "byte {byte}");
        // One by one, as a reader does: what is lost takes nothing else with it.
        for seq in expected {
            assert_eq!(crate::file::tests::read(&log, queue, 0, 1)[0].seq.0, *seq);
            settle(&log, queue, [*seq]);
        }
        assert_eq!(log.pressure().waiting, 0, "byte {byte}");
    }
}

#[test]
fn after_a_close_a_flipped_bit_in_the_last_record_is_damage_and_no_torn_tail() {
    let (disk, tables) = (TestDisk::default(), Arc::default());
    let (log, _) = open(&disk, &tables);
    let queue = log.queue(&input("a"), Priority(1));
    append(&log, &[queue], &bodies(0..1));
    append(&log, &[queue], &bodies(1..2));
    log.close().unwrap();
    drop(log);
    let name = segment(&disk);
    let offsets = records(&disk.bytes(&name));
    disk.change(&name, |bytes| bytes[offsets[1] + 30] ^= 1);
    let (log, opening) = open(&disk, &tables);
    assert_eq!(opening.damage.len(), 1, "{opening:?}");
    assert!(opening.torn.is_none());
    assert_eq!(waiting(&log, queue).len(), 1);
    assert_eq!(
        log.metrics().damaged,
        1,
        "what the snapshot knows is missing is counted"
    );
}

/// A log of several segments, closed, with what waits in it.
fn large() -> (TestDisk, Arc<MemoryTables>, QueueId) {
    let (disk, tables) = (TestDisk::default(), Arc::default());
    let (log, _) = open(&disk, &tables);
    let queue = log.queue(&input("a"), Priority(1));
    for start in (0..1_500).step_by(5) {
        append(&log, &[queue], &bodies(start..start + 5));
    }
    put(&log, Table::Twins, "twin", Some("kept"));
    put(&log, Table::ModuleState, "mod\0b\0k", Some("kept"));
    log.close().unwrap();
    (disk, tables, queue)
}

fn segments(disk: &TestDisk) -> Vec<String> {
    let mut names = disk.names();
    names.retain(|name| name.ends_with(".log"));
    names
}

#[test]
fn a_flipped_bit_anywhere_in_a_full_segment_costs_at_most_the_record_it_is_in() {
    let (disk, tables, queue) = large();
    let name = &segments(&disk)[1];
    let used = disk
        .bytes(name)
        .iter()
        .rposition(|byte| *byte != 0)
        .unwrap();
    for byte in (0..used).step_by(997).chain(used.saturating_sub(400)..used) {
        let disk = disk.copy();
        disk.change(name, |bytes| bytes[byte] ^= 0x04);
        let (log, _) = open(&disk, &tables);
        let left = waiting(&log, queue);
        assert!(
            left.len() == 1_500 || left.len() == 1_495,
            "byte {byte}: {}",
            left.len()
        );
        assert_eq!(
            log.metrics().damaged,
            1_500 - left.len() as u64,
            "byte {byte}"
        );
        for (seq, body) in left {
            assert_eq!(body, format!("{:0>200}", seq - 1), "byte {byte}");
        }
    }
}

#[test]
fn a_damaged_snapshot_gives_way_to_the_one_before_or_to_the_log_itself() {
    let (disk, tables, queue) = large();
    let mut names = disk.names();
    names.retain(|name| name.starts_with("snapshot-"));
    for spoiled in 1..=names.len() {
        let disk = disk.copy();
        for name in names.iter().rev().take(spoiled) {
            disk.change(name, |bytes| *bytes.last_mut().unwrap() ^= 1);
        }
        let (log, opening) = open(&disk, &tables);
        assert_eq!(opening.damage.len(), spoiled, "{opening:?}");
        assert_eq!(waiting(&log, queue).len(), 1_500);
        assert_eq!(log.get(Table::Twins, b"twin"), Some("kept".into()));
    }
}

#[test]
fn lost_state_tables_are_rebuilt_and_what_cannot_be_is_named() {
    let (disk, _, queue) = large();
    let tables = Arc::default();
    let (log, opening) = open(&disk, &tables);
    assert_eq!(opening.lost_state, ["mod"]);
    assert_eq!(log.get(Table::Twins, b"twin"), Some("kept".into()));
    assert_eq!(log.get(Table::ModuleState, b"mod\0b\0k"), None);
    assert_eq!(waiting(&log, queue).len(), 1_500);
}

#[test]
fn a_missing_segment_is_named_and_its_entries_counted() {
    let (disk, tables, queue) = large();
    disk.remove(&segments(&disk)[1]).unwrap();
    let (log, opening) = open(&disk, &tables);
    let damage = &opening.damage[0];
    assert_eq!(damage.what, "the file is missing");
    let left = waiting(&log, queue);
    assert_eq!(left.len() as u64 + damage.entries, 1_500);
    settle(&log, queue, 1..=1_500);
    assert_eq!(log.pressure().waiting, 0);
}

#[test]
fn files_of_another_log_or_of_a_newer_version_are_refused() {
    let (disk, _) = written();
    let (other, _) = written();
    let name = segment(&disk);
    let foreign = other.bytes(&name);
    let refused = |disk: &TestDisk| {
        let tables: Arc<dyn StateTables> = Arc::new(MemoryTables::default());
        let error = FileLog::open(Arc::new(disk.clone()), tables, config()).unwrap_err();
        error.to_string()
    };
    let mixed = disk.copy();
    drop(mixed.create("00000000000000000002.log", 0));
    mixed.change("00000000000000000002.log", |bytes| *bytes = foreign);
    assert!(refused(&mixed).contains("belongs to another log"));
    disk.change(&name, |bytes| {
        bytes[8] = 2;
        let crc = crc32fast::hash(&bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    });
    assert!(
        refused(&disk).contains("has format 2"),
        "{}",
        refused(&disk)
    );
}
