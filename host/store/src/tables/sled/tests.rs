#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::layout::{self, HEADER_KEY, Header};
use super::*;

mod full;

type Pairs = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

/// Numbers that look random and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn bytes(&mut self, len: u64) -> Vec<u8> {
        (0..len)
            .map(|_| u8::try_from(self.below(256)).unwrap())
            .collect()
    }
}

/// Applies a batch of random changes, and does the same to a model.
fn change(tables: &SledTables, pairs: &mut Pairs, numbers: &mut Numbers) {
    let mut changes = Vec::new();
    for _ in 0..numbers.below(20) {
        let table = Table::ALL[usize::try_from(numbers.below(5)).unwrap()];
        let key = format!("key {}", numbers.below(40)).into_bytes();
        let value = match numbers.below(10) {
            0..3 => None,
            3..9 => {
                let len = numbers.below(300);
                Some(numbers.bytes(len))
            }
            _ => {
                let len = numbers.below(20_000);
                Some(numbers.bytes(len))
            }
        };
        changes.push((table, key, value));
    }
    let given: Vec<_> = changes
        .iter()
        .map(|(table, key, value)| Change {
            table: *table,
            key,
            value: value.as_deref(),
        })
        .collect();
    let Lsn(applied) = tables.applied();
    tables.apply(&given, Lsn(applied + 1)).unwrap();
    for (table, key, value) in changes {
        match value {
            Some(value) => pairs.insert((table, key), value),
            None => pairs.remove(&(table, key)),
        };
    }
}

fn content(tables: &SledTables) -> Pairs {
    let mut pairs = Pairs::new();
    for table in Table::ALL {
        let mut add = |key: &[u8], value: &[u8]| {
            pairs.insert((table, key.to_vec()), value.to_vec());
        };
        tables.for_each(table, &mut add).unwrap();
    }
    pairs
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

fn with_one_pair(dir: &Path) {
    let tables = SledTables::open(dir).unwrap().tables;
    let change = Change {
        table: Table::Twins,
        key: b"k",
        value: Some(b"v"),
    };
    tables.apply(&[change], Lsn(3)).unwrap();
}

#[test]
fn what_was_applied_survives_closing_and_killing() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("tables");
    let mut numbers = Numbers(1);
    let mut pairs = Pairs::new();
    let mut tables = SledTables::open(&dir).unwrap().tables;
    for round in 1..=200 {
        change(&tables, &mut pairs, &mut numbers);
        if round % 10 == 0 {
            // What a process leaves that is killed now.
            let killed = scratch.path().join(format!("killed-{round}"));
            copy(&dir, &killed);
            let found = SledTables::open_from(&killed, Lsn(round)).unwrap();
            assert_eq!(found.set_aside, None);
            assert_eq!(found.tables.applied(), Lsn(round));
            assert!(content(&found.tables) == pairs, "after {round} batches");
        }
        if round % 25 == 0 {
            drop(tables);
            let opened = SledTables::open(&dir).unwrap();
            assert!(!opened.fresh);
            assert_eq!(opened.set_aside, None);
            tables = opened.tables;
            assert_eq!(tables.applied(), Lsn(round));
        }
    }
    assert!(content(&tables) == pairs);
}

#[test]
fn a_flipped_byte_is_either_harmless_or_noticed() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("tables");
    let mut numbers = Numbers(2);
    let mut pairs = Pairs::new();
    let mut states = vec![pairs.clone()];
    // Closed in between, so that a part is in sled's snapshot and a part only in its log.
    for _ in 0..2 {
        let tables = SledTables::open(&dir).unwrap().tables;
        for _ in 0..15 {
            change(&tables, &mut pairs, &mut numbers);
            states.push(pairs.clone());
        }
    }
    let last = Lsn(30);
    let mut places: Vec<(PathBuf, u64)> = Vec::new();
    for entry in fs::read_dir(&dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            continue;
        }
        let name = PathBuf::from(entry.file_name());
        let len = entry.metadata().unwrap().len();
        let step = if name == Path::new("db") { 4096 } else { 16 };
        places.extend((0..len).step_by(step).map(|block| {
            let inside = numbers.below(u64::try_from(step).unwrap());
            (name.clone(), (block + inside).min(len - 1))
        }));
    }
    let intact = scratch.path().join("intact");
    copy(&dir, &intact);
    assert_eq!(
        SledTables::open_from(&intact, last).unwrap().set_aside,
        None
    );
    let mut noticed = 0;
    for (name, place) in places {
        let damaged = scratch.path().join("flipped");
        copy(&dir, &damaged);
        let file = damaged.join(&name);
        let mut bytes = fs::read(&file).unwrap();
        bytes[usize::try_from(place).unwrap()] ^= 1 << numbers.below(8);
        fs::write(&file, bytes).unwrap();

        let opened = SledTables::open(&damaged).unwrap();
        let Lsn(position) = opened.tables.applied();
        let state = &states[usize::try_from(position).unwrap()];
        assert!(
            content(&opened.tables) == *state,
            "byte {place} of {name:?}: wrong values at position {position}"
        );
        if let Some(set_aside) = &opened.set_aside {
            assert!(set_aside.to.join(&name).exists());
            noticed += 1;
        } else if Lsn(position) < last {
            // An earlier state as a whole; the position tells.
            drop(opened);
            let opened = SledTables::open_from(&damaged, last).unwrap();
            assert!(opened.set_aside.is_some() && opened.fresh);
            noticed += 1;
        }
        remove_all(scratch.path(), "flipped");
    }
    assert!(noticed > 50, "only {noticed} flips were noticed");
}

/// Removes the directories whose names begin so.
fn remove_all(parent: &Path, stem: &str) {
    for entry in fs::read_dir(parent).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_str().unwrap().starts_with(stem) {
            fs::remove_dir_all(entry.path()).unwrap();
        }
    }
}

#[test]
fn tables_at_an_earlier_position_are_set_aside() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("tables");
    with_one_pair(&dir);
    let kept = SledTables::open_from(&dir, Lsn(3)).unwrap();
    assert_eq!((kept.set_aside, kept.fresh), (None, false));
    drop(kept.tables);
    let lost = SledTables::open_from(&dir, Lsn(4)).unwrap();
    let set_aside = lost.set_aside.unwrap();
    assert!(set_aside.why.contains("commit 3"), "{}", set_aside.why);
    assert_eq!(lost.tables.applied(), Lsn(0));
    // It is as it was, for whoever wants to look at it.
    let old = SledTables::open(&set_aside.to).unwrap().tables;
    assert_eq!(old.get(Table::Twins, b"k").unwrap().unwrap(), "v");
}

#[test]
fn the_two_newest_damaged_directories_are_kept() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("tables");
    for n in 1..=4 {
        with_one_pair(&dir);
        fs::write(dir.join("db"), "not a database").unwrap();
        let opened = SledTables::open(&dir).unwrap();
        assert!(opened.fresh);
        let to = scratch.path().join(format!("tables.damaged-{n}"));
        assert_eq!(opened.set_aside.unwrap().to, to);
    }
    let mut left: Vec<_> = fs::read_dir(scratch.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["tables", "tables.damaged-3", "tables.damaged-4"]);
}

#[test]
fn a_directory_without_a_database_is_set_aside() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("tables");
    fs::create_dir(&dir).unwrap();
    let opened = SledTables::open(&dir).unwrap();
    assert_eq!((opened.set_aside, opened.fresh), (None, true));
    drop(opened.tables);
    fs::remove_file(dir.join("db")).unwrap();
    let opened = SledTables::open(&dir).unwrap();
    assert!(opened.set_aside.unwrap().why.contains("no file db"));
}

#[test]
fn tables_of_a_newer_format_are_refused_and_left_alone() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("tables");
    with_one_pair(&dir);
    let store = open::check(&dir).unwrap();
    let mut header = store.db.get(HEADER_KEY).unwrap().unwrap().to_vec();
    let end = header.len() - 4;
    header[4..8].copy_from_slice(&2u32.to_be_bytes());
    let crc = crc32fast::hash(&header[..end]).to_be_bytes();
    header[end..].copy_from_slice(&crc);
    store.db.insert(HEADER_KEY, header).unwrap();
    drop(store);
    let error = SledTables::open(&dir).unwrap_err();
    assert!(
        matches!(
            error,
            TableError::NewerFormat {
                found: 2,
                newest: 1,
                ..
            }
        ),
        "{error}"
    );
    assert!(dir.join("db").exists());
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
}

#[test]
fn tables_that_are_in_use_are_refused_and_left_alone() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("tables");
    let _open = SledTables::open(&dir).unwrap();
    let error = SledTables::open(&dir).unwrap_err();
    assert!(matches!(error, TableError::InUse { .. }), "{error}");
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
}

#[test]
fn what_a_crash_left_of_making_tables_is_made_again() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("tables");
    fs::create_dir(scratch.path().join("tables.new")).unwrap();
    fs::write(scratch.path().join("tables.new/db"), "half").unwrap();
    let opened = SledTables::open(&dir).unwrap();
    assert_eq!((opened.set_aside, opened.fresh), (None, true));
}

#[test]
fn no_value_goes_to_a_file_of_its_own() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("tables");
    let tables = SledTables::open(&dir).unwrap().tables;
    let mut numbers = Numbers(3);
    for n in 0..40u64 {
        let (key, value) = (numbers.bytes(1_000), numbers.bytes(200_000));
        let change = Change {
            table: Table::ModuleState,
            key: &key,
            value: Some(&value),
        };
        tables.apply(&[change], Lsn(n)).unwrap();
    }
    assert_eq!(fs::read_dir(dir.join("blobs")).unwrap().count(), 0);
}

#[test]
fn files_that_long_keys_need_are_synced_and_read_back() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("tables");
    let tables = SledTables::open(&dir).unwrap().tables;
    let mut numbers = Numbers(4);
    let keys: Vec<_> = (0..1_000).map(|_| numbers.bytes(12_000)).collect();
    for (batch, lsn) in keys.chunks(50).zip(1..) {
        let changes: Vec<_> = batch
            .iter()
            .map(|key| Change {
                table: Table::ModuleState,
                key,
                value: Some(&key[..10]),
            })
            .collect();
        tables.apply(&changes, Lsn(lsn)).unwrap();
    }
    let beside = fs::read_dir(dir.join("blobs")).unwrap();
    let beside: HashSet<_> = beside.map(|entry| entry.unwrap().file_name()).collect();
    assert!(!beside.is_empty(), "keys of 12 kB make large pages");
    {
        let State::Open(store) = &*tables.read_state() else {
            panic!("it is open");
        };
        assert!(store.synced.is_superset(&beside));
    }
    drop(tables);
    let opened = SledTables::open_from(&dir, Lsn(20)).unwrap();
    assert_eq!(opened.set_aside, None);
    let found = content(&opened.tables);
    assert_eq!(found.len(), keys.len());
    assert!(found.iter().all(|((_, key), value)| key[..10] == value[..]));
}

#[test]
fn a_header_is_read_back_and_a_changed_one_is_not() {
    let mut header = Header {
        applied: Lsn(u64::MAX - 1),
        ..Header::default()
    };
    header.count(b"key", b"value");
    let bytes = header.write();
    assert_eq!(Header::read(&bytes).unwrap(), header);
    for n in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[n] ^= 1;
        assert!(Header::read(&changed).is_err(), "byte {n}");
        assert!(Header::read(&bytes[..n]).is_err(), "{n} bytes");
    }
}

#[test]
fn the_sum_tells_pairs_apart_that_differ_only_in_where_the_key_ends() {
    let (mut one, mut other) = (Header::default(), Header::default());
    one.count(b"ab", b"c");
    other.count(b"a", b"bc");
    assert_ne!(one, other);
    one.forget(b"ab", b"c");
    assert_eq!(one, Header::default());
}

#[test]
fn a_missing_piece_of_a_long_value_is_an_error() {
    let scratch = tempfile::tempdir().unwrap();
    let tables = SledTables::open(&scratch.path().join("tables"))
        .unwrap()
        .tables;
    let change = Change {
        table: Table::Twins,
        key: b"k",
        value: Some(&[1; 20_000]),
    };
    tables.apply(&[change], Lsn(1)).unwrap();
    {
        let State::Open(store) = &*tables.read_state() else {
            panic!("it is open");
        };
        let piece = layout::piece_key(Table::Twins, 1, 2);
        assert!(store.db.remove(piece).unwrap().is_some());
    }
    let error = tables.get(Table::Twins, b"k").unwrap_err();
    assert!(error.is_damaged(), "{error}");
}
