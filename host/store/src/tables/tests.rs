//! What all tables promise; run for each implementation.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::{Change, MemoryTables, SledTables, StateTables};
use crate::{Lsn, Table};

fn set<'a>(table: Table, key: &'a [u8], value: &'a [u8]) -> Change<'a> {
    Change {
        table,
        key,
        value: Some(value),
    }
}

fn delete(table: Table, key: &[u8]) -> Change<'_> {
    Change {
        table,
        key,
        value: None,
    }
}

fn suite<T: StateTables>(open: impl Fn() -> T) {
    what_was_applied_is_read(&open());
    keys_are_listed_in_order(&open());
    every_pair_is_shown_in_key_order(&open());
    commits_before_the_position_change_nothing(&open());
    values_of_any_length_are_kept(&open());
    a_visitor_may_call_back(&open());
}

fn get(tables: &impl StateTables, table: Table, key: &[u8]) -> Option<Vec<u8>> {
    tables.get(table, key).unwrap().map(Vec::from)
}

fn what_was_applied_is_read(tables: &impl StateTables) {
    assert_eq!(tables.applied(), Lsn(0));
    assert_eq!(get(tables, Table::Twins, b"a"), None);
    let changes = [
        set(Table::Twins, b"a", b"1"),
        set(Table::Twins, b"", b"empty key"),
        set(Table::Sessions, b"a", b"another table"),
        set(Table::Twins, b"a", b"2"),
        delete(Table::Twins, b"never there"),
    ];
    tables.apply(&changes, Lsn(7)).unwrap();
    assert_eq!(tables.applied(), Lsn(7));
    assert_eq!(get(tables, Table::Twins, b"a").unwrap(), b"2");
    assert_eq!(get(tables, Table::Twins, b"").unwrap(), b"empty key");
    assert_eq!(
        get(tables, Table::Sessions, b"a").unwrap(),
        b"another table"
    );
    tables.apply(&[delete(Table::Twins, b"a")], Lsn(8)).unwrap();
    assert_eq!(get(tables, Table::Twins, b"a"), None);
    assert_eq!(
        get(tables, Table::Sessions, b"a").unwrap(),
        b"another table"
    );
    tables.apply(&[], Lsn(9)).unwrap();
    assert_eq!(tables.applied(), Lsn(9));
}

fn keys_are_listed_in_order(tables: &impl StateTables) {
    let keys: [&[u8]; 6] = [b"", b"a", b"a\0", b"a\xff", b"b", b"\xff\xff"];
    let long = vec![1; 10_000];
    let mut changes = keys.map(|key| set(Table::ModuleState, key, &long)).to_vec();
    changes.push(set(Table::Twins, b"a", b"not this one"));
    changes.push(set(Table::Deployments, b"z", b"nor this"));
    tables.apply(&changes, Lsn(1)).unwrap();
    let list = |prefix: &[u8], after: Option<&[u8]>, max| {
        let found = tables.keys(Table::ModuleState, prefix, after, max).unwrap();
        found.into_iter().map(Vec::from).collect::<Vec<_>>()
    };
    assert_eq!(list(b"", None, 10), keys);
    assert_eq!(list(b"", None, 2), keys[..2]);
    assert_eq!(list(b"", None, 0), keys[..0]);
    assert_eq!(list(b"a", None, 10), keys[1..4]);
    assert_eq!(list(b"a", Some(b"a"), 10), keys[2..4]);
    assert_eq!(list(b"a", Some(b""), 10), keys[1..4]);
    assert_eq!(list(b"", Some(b"a\0"), 2), keys[3..5]);
    assert_eq!(list(b"\xff", None, 10), keys[5..]);
    assert_eq!(list(b"c", None, 10), keys[..0]);
}

fn every_pair_is_shown_in_key_order(tables: &impl StateTables) {
    let pairs: Vec<(Vec<u8>, Vec<u8>)> = (0..100u32)
        .map(|n| (n.to_be_bytes().to_vec(), vec![7; n as usize * 100]))
        .collect();
    let changes: Vec<_> = pairs
        .iter()
        .rev()
        .map(|(key, value)| set(Table::Identities, key, value))
        .collect();
    tables.apply(&changes, Lsn(1)).unwrap();
    let mut shown = Vec::new();
    let mut show = |key: &[u8], value: &[u8]| shown.push((key.to_vec(), value.to_vec()));
    tables.for_each(Table::Identities, &mut show).unwrap();
    tables.for_each(Table::Twins, &mut show).unwrap();
    assert_eq!(shown, pairs);
}

fn commits_before_the_position_change_nothing(tables: &impl StateTables) {
    tables
        .apply(&[set(Table::Twins, b"k", b"new")], Lsn(5))
        .unwrap();
    tables
        .apply(&[set(Table::Twins, b"k", b"old")], Lsn(4))
        .unwrap();
    assert_eq!(get(tables, Table::Twins, b"k").unwrap(), b"new");
    assert_eq!(tables.applied(), Lsn(5));
    tables
        .apply(&[set(Table::Twins, b"k", b"repeated")], Lsn(5))
        .unwrap();
    assert_eq!(get(tables, Table::Twins, b"k").unwrap(), b"repeated");
}

fn values_of_any_length_are_kept(tables: &impl StateTables) {
    let lengths = [4_097, 0, 1, 4_096, 1 << 20, 8_191, 8_192, 8_193, 3, 500_000];
    for (len, lsn) in lengths.into_iter().zip(1..) {
        let value: Vec<u8> = (0..=250).cycle().take(len).collect();
        let change = set(Table::ModuleState, b"key", &value);
        tables.apply(&[change], Lsn(lsn)).unwrap();
        assert_eq!(get(tables, Table::ModuleState, b"key").unwrap(), value);
    }
    let mut pairs = 0;
    let mut count = |_: &[u8], _: &[u8]| pairs += 1;
    tables.for_each(Table::ModuleState, &mut count).unwrap();
    assert_eq!(pairs, 1);
}

fn a_visitor_may_call_back(tables: &impl StateTables) {
    let changes = [set(Table::Twins, b"a", b"1"), set(Table::Twins, b"b", b"2")];
    tables.apply(&changes, Lsn(1)).unwrap();
    let mut visit = |key: &[u8], value: &[u8]| {
        let change = set(Table::Sessions, key, value);
        tables.apply(&[change], Lsn(2)).unwrap();
    };
    tables.for_each(Table::Twins, &mut visit).unwrap();
    assert_eq!(get(tables, Table::Sessions, b"b").unwrap(), b"2");
}

#[test]
fn tables_in_memory_keep_the_promises() {
    suite(MemoryTables::new);
}

#[test]
fn tables_in_sled_keep_the_promises() {
    let scratch = tempfile::tempdir().unwrap();
    let n = std::cell::Cell::new(0);
    suite(|| {
        n.set(n.get() + 1);
        let dir = scratch.path().join(n.get().to_string());
        SledTables::open(&dir).unwrap().tables
    });
}

#[test]
fn clones_of_memory_tables_share_state_and_copies_do_not() {
    let tables = MemoryTables::new();
    let (shared, copy) = (tables.clone(), tables.copy());
    tables
        .apply(&[set(Table::Twins, b"k", b"v")], Lsn(1))
        .unwrap();
    assert_eq!(shared.applied(), Lsn(1));
    assert_eq!(get(&shared, Table::Twins, b"k").unwrap(), b"v");
    assert_eq!(copy.applied(), Lsn(0));
    assert_eq!(get(&copy, Table::Twins, b"k"), None);
}
