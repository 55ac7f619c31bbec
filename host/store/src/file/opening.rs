//! What opening a log found, and why it may not be opened.

use std::io;

use super::disk::DiskError;
use super::frame::VERSION;
use crate::{Lsn, SetAside, TableError};

/// What opening a log found.
#[derive(Debug, Default)]
pub struct Opening {
    /// There was no log yet.
    pub created: bool,
    /// The newest commit.
    pub lsn: Lsn,
    /// Records read after the snapshot.
    pub replayed: u64,
    /// What was written last and never acknowledged.
    pub torn: Option<Torn>,
    /// What was on the device and cannot be read.
    pub damage: Vec<Damage>,
    /// The state tables were damaged and are kept aside.
    pub set_aside: Option<SetAside>,
    /// Modules whose keys are lost with the state tables, but for those set since the last snapshot.
    pub lost_state: Vec<String>,
}

/// A tail that was cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// The file.
    pub file: String,
    /// Where it was cut.
    pub offset: u64,
    /// Bytes behind that, zeros not counted.
    pub bytes: u64,
}

/// A place that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: String,
    /// Where in it.
    pub offset: u64,
    /// What stands there.
    pub what: String,
    /// Commits that are lost with it.
    pub commits: u64,
    /// Entries that are known to be lost.
    pub entries: u64,
}

/// Why a log was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The state tables.
    #[error(transparent)]
    Tables(#[from] TableError),
    /// A file cannot be read or made.
    #[error("cannot {doing} {file}: {source}")]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// On what.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// A newer version of this program wrote it.
    #[error("{file} has format {found}, this program knows {VERSION}; start the newer program")]
    Newer {
        /// The file.
        file: String,
        /// Its version.
        found: u32,
    },
    /// Files of two logs in one directory.
    #[error("{file} belongs to another log; move it elsewhere")]
    Foreign {
        /// The file.
        file: String,
    },
    /// A setting that no log can have.
    #[error("segment size {0} is out of range, expected 64KiB to 1GiB")]
    SegmentSize(edge_core::ByteSize),
    /// No thread.
    #[error("cannot start a thread of the log: {source}")]
    Thread {
        /// Why.
        source: io::Error,
    },
}
