//! Tables in sled: one tree, one directory, a check over the whole content.
//!
//! ```text
//!              ┌── damaged: <dir> ► <dir>.damaged-<n>, a fresh one instead
//!   open ──────┤
//!              └── walked once ──► Open ──────► Failed   device or damage: only a restart helps
//!                                  ▲  │ no room, noticed inside sled
//!                                  │  ▼
//!                                 Closed   reopened by the next call
//! ```
//!
//! What sled 0.34.7 does by itself, read in its source and tried, and what is done about it here:
//!
//! - Each record and page has a crc32 that is checked whenever it is read from a file. But when sled
//!   opens, a damaged record in its own log is taken for the end, or for the end of that segment: the
//!   state is then older, or has holes, and no error is given. So the header holds the number of pairs
//!   and a sum over all of them, changed in the same batch, and opening compares. State that is older as
//!   a whole passes that; [`SledTables::open_from`] tells it by its position.
//! - `flush()` writes and waits for the write, but does not flush the device. `apply` does that, with
//!   `fdatasync` on a handle of its own.
//! - Pages over a quarter of [`SEGMENT`] go to files of their own that sled never syncs. Values are cut
//!   into pieces so that pages stay below; what is there nevertheless, from very long keys, is synced.
//! - After a failed write (no room) sled refuses everything, and a waiting `flush()` may not be woken.
//!   So room is reserved before sled is asked; where that was not enough, the wait looks for the error,
//!   and the tables are closed and opened again. What was not flushed is then gone, which is right.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;

use self::fault::Fault;
use self::layout::Header;
use self::plan::{Latest, value};
use super::{Change, StateTables, TableError};
use crate::{Lsn, Table};

mod device;
mod fault;
mod layout;
mod open;
mod plan;
#[cfg(test)]
mod tests;

pub use self::open::{Opened, SetAside};

/// sled's own segments, in bytes. Part of the format: sled refuses a directory of another size. Twice as
/// long ones take 7 MB more memory while batches of 2 MB are applied, and are no faster.
const SEGMENT: usize = 512 << 10;

/// sled's cache of pages, in bytes. With four times as much, tables of 4 MB are neither read nor written
/// faster.
const CACHE: u64 = 4 << 20;

/// Pairs that [`SledTables::for_each`] holds in memory at once.
const PAGE: usize = 16;

/// [`StateTables`] in a directory of sled's.
pub struct SledTables {
    dir: PathBuf,
    /// One change at a time. Taken before `state`.
    writer: Mutex<()>,
    /// Written for the moment in which a batch is handed to sled, so that no reader sees half a value.
    state: RwLock<State>,
    applied: AtomicU64,
}

enum State {
    Open(Box<Store>),
    Closed,
    Failed(String),
}

/// Open files.
struct Store {
    db: ::sled::Db,
    /// The file with sled's log, for `fdatasync` and reserving room.
    data: File,
    header: Header,
    /// The end of the file for which room was reserved, and up to where.
    reserved: device::Reserved,
    /// Files beside the log that are on the device.
    synced: HashSet<std::ffi::OsString>,
}

impl fmt::Debug for SledTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledTables")
            .field("dir", &self.dir)
            .field("applied", &self.applied())
            .finish_non_exhaustive()
    }
}

impl SledTables {
    /// Opens the tables in a directory, and makes them where there are none. Reads all of it once.
    /// Damaged ones are set aside, and fresh ones made. Takes up to a second where another process has
    /// them open. Replaces the panic hook by one that is silent about panics of sled's over damage.
    ///
    /// # Errors
    /// When the file system refuses, the tables are in use, or a newer program wrote them. Nothing is
    /// set aside then.
    pub fn open(dir: &Path) -> Result<Opened, TableError> {
        open::open(dir, Lsn(0))
    }

    /// As [`open`](Self::open), for a caller that cannot replay commits up to and including `oldest`:
    /// tables that are at an earlier position have lost something, and are set aside as well. For tables
    /// that are made new it says nothing.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_from(dir: &Path, oldest: Lsn) -> Result<Opened, TableError> {
        open::open(dir, oldest)
    }

    fn new(dir: &Path, store: Store) -> Self {
        Self {
            dir: dir.to_owned(),
            writer: Mutex::default(),
            applied: AtomicU64::new(store.header.applied.0),
            state: RwLock::new(State::Open(Box::new(store))),
        }
    }

    fn one_writer(&self) -> MutexGuard<'_, ()> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads, after opening the tables again if they were closed.
    fn reading<T>(
        &self,
        doing: &'static str,
        read: impl Fn(&::sled::Db) -> Result<T, Fault>,
    ) -> Result<T, TableError> {
        if let Some(result) = self.try_reading(&read) {
            return result.map_err(|fault| fault.at(doing, &self.dir));
        }
        self.open_again()?;
        match self.try_reading(&read) {
            Some(result) => result.map_err(|fault| fault.at(doing, &self.dir)),
            None => Err(self.failed("read state tables in")),
        }
    }

    /// `None` when they are not open.
    fn try_reading<T>(
        &self,
        read: impl Fn(&::sled::Db) -> Result<T, Fault>,
    ) -> Option<Result<T, Fault>> {
        match &*self.read_state() {
            State::Open(store) => Some(fault::guarded(|| read(&store.db))),
            State::Closed | State::Failed(_) => None,
        }
    }

    fn failed(&self, doing: &'static str) -> TableError {
        let why = match &*self.read_state() {
            State::Failed(why) => format!("closed for good after: {why}"),
            State::Open(_) | State::Closed => "closed again at once".to_owned(),
        };
        Fault::Io(std::io::Error::other(why)).at(doing, &self.dir)
    }

    fn open_again(&self) -> Result<(), TableError> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if !matches!(&*state, State::Closed) {
            return Ok(());
        }
        let store = open::check(&self.dir)
            .map_err(|fault| fault.at("open state tables again in", &self.dir))?;
        self.applied
            .store(store.header.applied.0, Ordering::Release);
        *state = State::Open(Box::new(store));
        Ok(())
    }

    /// Reserves room and hands a batch to sled; what to sync comes back.
    fn hand_over(&self, changes: &Latest<'_>, upto: Lsn) -> Result<Pending, Fault> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let State::Open(store) = &mut *state else {
            return Err(Fault::Io(std::io::Error::other("the tables were closed")));
        };
        let (batch, header, bytes) = fault::guarded(|| store.plan(changes, upto))?;
        store
            .reserved
            .make_room(&store.data, &self.dir, bytes)
            .map_err(Fault::NoRoom)?;
        fault::guarded(|| Ok(store.db.apply_batch(batch)?))?;
        let data = store.data.try_clone().map_err(Fault::Io)?;
        Ok(Pending {
            db: store.db.clone(),
            data,
            header,
        })
    }

    /// After a failed change: what sled holds in memory is more than what is on the device.
    fn close_after(&self, fault: &Fault) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let State::Open(store) = &*state else { return };
        // With an error noted inside, sled writes nothing more, not even when it is closed.
        let writes_no_more = store.db.context.global_error().is_err();
        let next = match fault {
            _ if fault.is_full() && writes_no_more => State::Closed,
            _ => State::Failed(fault.to_string()),
        };
        if let State::Open(store) = std::mem::replace(&mut *state, next)
            && !writes_no_more
        {
            // Closing would write half of the batch. Files and lock stay until the process ends.
            std::mem::forget(store);
        }
    }

    fn settle(&self, header: Header, dir: &Path) -> Result<(), Fault> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if let State::Open(store) = &mut *state {
            device::sync_files_beside(dir, &mut store.synced).map_err(Fault::Io)?;
            store.header = header;
            self.applied.store(header.applied.0, Ordering::Release);
        }
        Ok(())
    }
}

/// Handed to sled, not on the device.
struct Pending {
    db: ::sled::Db,
    data: File,
    header: Header,
}

/// Where a listing starts, in sled's keys.
fn start(table: Table, prefix: &[u8], after: Option<&[u8]>) -> Bound<Vec<u8>> {
    match after {
        Some(after) if after >= prefix => Bound::Excluded(layout::head_key(table, after)),
        _ => Bound::Included(layout::head_key(table, prefix)),
    }
}

impl StateTables for SledTables {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, TableError> {
        self.reading("read state tables in", |db| {
            let stored = db.get(layout::head_key(table, key))?;
            stored.map(|stored| value(db, table, &stored)).transpose()
        })
    }

    fn keys(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        max: usize,
    ) -> Result<Vec<Bytes>, TableError> {
        self.reading("list state tables in", |db| {
            let common = layout::head_key(table, prefix);
            let mut keys = Vec::new();
            let range = (start(table, prefix, after), Bound::Unbounded);
            for key in db.range::<Vec<u8>, _>(range).keys().take(max) {
                let key = key?;
                if !key.starts_with(&common) {
                    break;
                }
                keys.push(Bytes::copy_from_slice(&key[layout::CODE..]));
            }
            Ok(keys)
        })
    }

    fn for_each(
        &self,
        table: Table,
        visit: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), TableError> {
        let mut last: Option<Bytes> = None;
        loop {
            let page = self.reading("list state tables in", |db| {
                let common = layout::head_key(table, &[]);
                let mut page = Vec::new();
                let range = (start(table, &[], last.as_deref()), Bound::Unbounded);
                for pair in db.range::<Vec<u8>, _>(range).take(PAGE) {
                    let (key, stored) = pair?;
                    if !key.starts_with(&common) {
                        break;
                    }
                    let key = Bytes::copy_from_slice(&key[layout::CODE..]);
                    let value = value(db, table, &stored)?;
                    page.push((key, value));
                }
                Ok(page)
            })?;
            // Shown without any lock, so that the visitor may call back.
            page.iter().for_each(|(key, value)| visit(key, value));
            match page.last() {
                Some((key, _)) => last = Some(key.clone()),
                None => return Ok(()),
            }
        }
    }

    fn apply(&self, changes: &[Change<'_>], upto: Lsn) -> Result<(), TableError> {
        let _one = self.one_writer();
        self.open_again()?;
        if upto < self.applied() {
            return Ok(());
        }
        let latest = changes
            .iter()
            .map(|change| ((change.table, change.key), change.value))
            .collect();
        let done = self.hand_over(&latest, upto).and_then(|pending| {
            fault::guarded(|| device::flush(&pending.db))?;
            pending.data.sync_data().map_err(Fault::Io)?;
            self.settle(pending.header, &self.dir)
        });
        done.map_err(|fault| {
            // Room is asked for before sled is: then it is untouched.
            if !matches!(fault, Fault::NoRoom(_)) {
                self.close_after(&fault);
            }
            fault.at("apply commits to state tables in", &self.dir)
        })
    }

    fn applied(&self) -> Lsn {
        Lsn(self.applied.load(Ordering::Acquire))
    }
}
