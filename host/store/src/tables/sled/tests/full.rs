//! No room on the device. Needs the right to mount a small file system; says so where it is missing.

use std::io::Write;
use std::process::Command;

use super::*;

struct Small {
    at: tempfile::TempDir,
}

impl Small {
    fn mount() -> Option<Self> {
        let at = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]);
        let done = mount.arg(at.path()).output();
        if done.as_ref().is_ok_and(|done| done.status.success()) {
            return Some(Self { at });
        }
        eprintln!("SKIPPED: a full device cannot be tested without the right to mount: {done:?}");
        None
    }

    fn filler(&self) -> PathBuf {
        self.at.path().join("filler")
    }

    /// Takes a part of the room.
    fn take(&self, bytes: usize) {
        fs::write(self.filler(), vec![0; bytes]).unwrap();
    }

    /// Leaves no room.
    fn fill(&self) {
        let options = fs::File::options().append(true).create(true).clone();
        let mut file = options.open(self.filler()).unwrap();
        for size in [1 << 20, 4096, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let done = Command::new("umount")
            .arg("-l")
            .arg(self.at.path())
            .status();
        assert!(done.unwrap().success());
    }
}

fn put<'a>(key: &'a [u8], value: &'a [u8]) -> Change<'a> {
    Change {
        table: Table::ModuleState,
        key,
        value: Some(value),
    }
}

/// Changes until there is no room; returns how many of them are in.
fn until_full(tables: &SledTables, value: &[u8]) -> u64 {
    for n in 1..10_000u64 {
        match tables.apply(&[put(&n.to_be_bytes(), value)], Lsn(n)) {
            Ok(()) => {}
            Err(error) => {
                assert!(error.is_full(), "{error:?}");
                return n - 1;
            }
        }
    }
    panic!("a small device takes everything");
}

fn holds(tables: &SledTables, upto: u64, value: &[u8]) {
    assert_eq!(tables.applied(), Lsn(upto));
    let mut n = 0u64;
    let mut visit = |key: &[u8], found: &[u8]| {
        n += 1;
        assert_eq!(key, n.to_be_bytes());
        assert!(found == value, "value {n}");
    };
    tables.for_each(Table::ModuleState, &mut visit).unwrap();
    assert_eq!(n, upto);
}

fn tables_in(small: &Small) -> (PathBuf, SledTables, Vec<u8>) {
    let dir = small.at.path().join("tables");
    let tables = SledTables::open(&dir).unwrap().tables;
    (dir, tables, Numbers(5).bytes(10_000))
}

/// Room is made: the call that failed works, and so does opening.
fn goes_on(small: &Small, dir: &Path, tables: SledTables, kept: u64, value: &[u8]) {
    fs::remove_file(small.filler()).unwrap();
    let next = kept + 1;
    let key = next.to_be_bytes();
    tables.apply(&[put(&key, value)], Lsn(next)).unwrap();
    holds(&tables, next, value);
    drop(tables);
    let opened = SledTables::open_from(dir, Lsn(next)).unwrap();
    assert_eq!(opened.set_aside, None);
    holds(&opened.tables, next, value);
}

#[test]
fn no_room_is_noticed_before_sled_is_touched_and_stops_no_reader() {
    let Some(small) = Small::mount() else { return };
    let (dir, tables, value) = tables_in(&small);
    tables.apply(&[], Lsn(0)).unwrap();
    small.fill();
    let kept = until_full(&tables, &value);
    assert!(kept > 0, "there was room in reserve");
    holds(&tables, kept, &value);
    drop(tables);
    let opened = SledTables::open_from(&dir, Lsn(kept)).unwrap();
    assert_eq!(opened.set_aside, None);
    holds(&opened.tables, kept, &value);
    goes_on(&small, &dir, opened.tables, kept, &value);
}

#[test]
fn no_room_that_only_sled_notices_loses_nothing_applied() {
    let Some(small) = Small::mount() else { return };
    let (dir, tables, value) = tables_in(&small);
    {
        let mut state = tables.state.write().unwrap();
        let State::Open(store) = &mut *state else {
            panic!("it is open");
        };
        store.reserved = device::Reserved::unlimited();
    }
    small.take(10 << 20);
    let kept = until_full(&tables, &value);
    assert!(kept > 100, "only {kept} were applied");
    small.fill();
    // sled cannot even be opened: readers are told, and are told no wrong value.
    let key = kept.to_be_bytes();
    for _ in 0..3 {
        match tables.get(Table::ModuleState, &key) {
            Ok(found) => assert!(found.unwrap() == value),
            Err(error) => assert!(error.is_full(), "{error:?}"),
        }
    }
    let left = SledTables::open_from(&dir, Lsn(kept));
    match left {
        Ok(_) => panic!("it is in use, or there is no room"),
        Err(TableError::InUse { .. }) => {}
        Err(error) => assert!(error.is_full(), "{error:?}"),
    }
    goes_on(&small, &dir, tables, kept, &value);
}
