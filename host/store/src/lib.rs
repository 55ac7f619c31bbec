//! The hub's ordered log. A [`Commit`] is one record in it, and the only way anything durable changes.
//!
//! Called by `edge-hub` (heads and senders) and by module runtimes (a step is one commit).
//!
//! ```text
//!              commit ──► visible to readers inside ──► durable (Lsn ≤ durable()) ──► may leave the device
//!
//!   queue     one per endpoint and priority
//!   entry     waiting ──► taken by a reader ──► settled (progress in a commit)
//!                ▲                 │
//!                └── attempt n ────┘   counted in the log, so it survives a restart
//! ```
//!
//! Promises
//! - A commit is atomic: all of its messages, progress and keys, or none. Commits are totally ordered.
//! - A queue hands out its entries in the order of their sequence numbers, which never change.
//! - Progress is a low-water mark and the settled entries above it, because windows settle out of order.
//! - One copy of a body, however many queues a message is in.
//! - Full: [`CommitError::Full`]; nothing of that commit happened. A log never drops what it took.
//!
//! [`MemoryLog`] keeps nothing beyond the process and is durable at once; it serves `edge run` and tests.
//! What callers may rely on is written down once, as [`suite`], and runs against every implementation.

mod commit;
mod file;
mod log;
mod memory;
pub mod suite;
mod tables;

pub use commit::{
    Commit, DeadLetter, DeadReason, MessageIndex, Progress, Put, Savepoint, Table, Target,
};
pub use file::{
    Damage, Disk, DiskError, DiskFile, FileLog, FileLogConfig, OnFailure, OpenError, Opening,
    OsDisk, Torn, WhenFull,
};
pub use log::{
    CommitError, Delivery, Durable, LogMetrics, Lsn, MessageLog, OnDurable, Pressure, QueueId,
    QueueStatus, SYNC_BUCKETS, Seq, Visible,
};
pub use memory::MemoryLog;
pub use tables::{Change, MemoryTables, Opened, SetAside, SledTables, StateTables, TableError};
