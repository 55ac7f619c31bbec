//! Applied state, behind the log: what keys have after all commits up to some [`Lsn`].
//!
//! Called by the log: its applier brings durable commits here, readers ask here for keys that are not
//! in the overlay, recovery replays the log from [`StateTables::applied`] on.
//!
//! ```text
//!   commit ──► log (the truth) ──► durable ──► apply ──► applied()
//!                   │                                       │
//!                   └──── replayed from applied() on ◄──────┘   after a crash
//! ```
//!
//! Promises
//! - [`apply`](StateTables::apply) is atomic, changes and position together, and on the device when it
//!   returns. Readers may see the changes a moment before that; they are in the log anyway. After an
//!   error either all of them are there or none, and [`applied`](StateTables::applied) says which.
//! - A value is what was applied or an error, never something else.
//! - Any call may be made from any thread; `apply` is meant for one.

use std::fmt;
use std::io;
use std::path::PathBuf;

use bytes::Bytes;

use crate::{Lsn, Table};

mod memory;
mod sled;
#[cfg(test)]
mod tests;

pub use self::memory::MemoryTables;
pub use self::sled::{Opened, SetAside, SledTables};

/// Applied state, behind the log. Only durable commits come here; the log is the truth.
pub trait StateTables: Send + Sync + fmt::Debug {
    /// The value of a key. May read a file.
    ///
    /// # Errors
    /// The value is not known then; that is not the same as a key that is not there.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, TableError>;

    /// Up to `max` keys with a prefix, in byte order, after `after` if given.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn keys(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        max: usize,
    ) -> Result<Vec<Bytes>, TableError>;

    /// Shows all pairs of a table, in key order. Pairs that `apply` changes meanwhile come as they were
    /// before or after; a snapshot is taken by the thread that applies.
    ///
    /// # Errors
    /// As [`get`](Self::get); some pairs may have been shown.
    fn for_each(&self, table: Table, visit: &mut dyn FnMut(&[u8], &[u8]))
    -> Result<(), TableError>;

    /// Applies changes, a later one over an earlier one of the same key, and the position that they
    /// bring the tables to. All of it is on the device when this returns. With `upto` before
    /// [`applied`](Self::applied) the tables hold the changes already, and nothing happens.
    ///
    /// # Errors
    /// Where the error [is full](TableError::is_full) the tables are as they were, and the same call may
    /// be made again when there is room. After any other error no call succeeds until they are opened
    /// anew, in a new process if the device failed: what a failed sync dropped cannot be told.
    fn apply(&self, changes: &[Change<'_>], upto: Lsn) -> Result<(), TableError>;

    /// The position that the tables are at; `Lsn(0)` when nothing was ever applied.
    fn applied(&self) -> Lsn;
}

/// A key that gets a value, or with `None` is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change<'a> {
    /// The table.
    pub table: Table,
    /// The key.
    pub key: &'a [u8],
    /// Its value.
    pub value: Option<&'a [u8]>,
}

/// Why tables could not be opened, read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The file system refused.
    #[error("{doing} {}", path.display())]
    Io {
        /// What was attempted, as `sync state tables in`.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// No room on the device. Passing: what was applied is kept, and the next call tries again.
    #[error("no room to {doing} {}; free some, it is tried again", path.display())]
    Full {
        /// What was attempted.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// What the files say cannot be right. Opening the tables anew sets them aside.
    #[error("state tables in {} are damaged: {what}; a restart rebuilds them", path.display())]
    Damaged {
        /// Where.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// Written by a newer version of this program. They are left as they are.
    #[error(
        "state tables in {} have format {found}, this program knows {newest}; start the newer program",
        path.display()
    )]
    NewerFormat {
        /// Where.
        path: PathBuf,
        /// Their format.
        found: u32,
        /// The newest format that can be read.
        newest: u32,
    },
    /// Another process has them open.
    #[error("state tables in {} are open in another process; stop it first", path.display())]
    InUse {
        /// Where.
        path: PathBuf,
    },
}

impl TableError {
    /// Whether the device has no room: passing, the same call may be made again.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }

    /// Whether opening the tables anew would set them aside.
    pub fn is_damaged(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }
}
