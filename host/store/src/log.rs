//! What callers may ask of a log.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use edge_core::{EndpointId, Message, Priority, Timestamp};

use crate::{Commit, DeadLetter, Table};

/// Place of a commit in the log; later commits have higher ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Lsn(pub u64);

/// Place of an entry in its queue; counts up from 1 and never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seq(pub u64);

impl Seq {
    /// Before the first.
    pub const ZERO: Self = Self(0);

    /// The one after.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A queue of this log, valid while the log is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueId(u32);

impl QueueId {
    /// Where dead letters are kept. Its entries are settled to forget them; it is read with
    /// [`MessageLog::dead_letters`] and is not among [`MessageLog::queues`].
    pub const DEAD_LETTERS: Self = Self(u32::MAX);

    /// The queue with this index; for implementations of [`MessageLog`].
    pub fn from_index(index: u32) -> Self {
        Self(index)
    }

    /// Queues are numbered from 0 without gaps, so this can index a table.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// An entry of a queue, handed to its reader.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The queue.
    pub queue: QueueId,
    /// Its place there.
    pub seq: Seq,
    /// The message.
    pub message: Message,
    /// When it is no longer worth delivering.
    pub expiry: Option<Timestamp>,
    /// Tries before this one.
    pub attempts: u32,
    /// How many of those ended in a trap or a missed deadline.
    pub failures: u32,
}

/// Why a commit did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// The log takes no more messages until readers have caught up. Passing.
    #[error("the store is full: {used} of {limit} bytes wait to be delivered")]
    Full {
        /// Bytes that wait.
        used: u64,
        /// Bytes that may.
        limit: u64,
    },
    /// The device under the log failed; the log is closed. Fatal.
    #[error("the store failed: {0}")]
    Failed(String),
}

impl CommitError {
    /// Whether trying again later can help.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}

/// What an entry costs beside its message's body and properties.
const ENTRY_COST: u64 = 128;

/// What an entry counts against a log's limits.
pub(crate) fn cost(message: &Message) -> u64 {
    message.content.size() as u64 + ENTRY_COST
}

/// How full a log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pressure {
    /// Bytes of messages that wait.
    pub used: u64,
    /// Bytes at which senders outside are made to wait.
    pub limit: u64,
    /// Bytes at which modules inside may not send either. They get more room than senders outside,
    /// because they must not wait for one another.
    pub hard_limit: u64,
    /// Entries of all queues that wait to be settled.
    pub waiting: u64,
}

impl Pressure {
    /// Whether senders outside should wait.
    pub fn is_high(self) -> bool {
        self.used >= self.limit
    }

    /// Whether modules inside may not send either.
    pub fn is_extreme(self) -> bool {
        self.used >= self.hard_limit
    }
}

/// Which entries a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visible {
    /// All that is committed: for readers whose every effect is a commit in the same log.
    Committed,
    /// Only what is on the device: for whoever is seen from outside.
    Durable,
}

/// One queue, for lists and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueStatus {
    /// The queue.
    pub id: QueueId,
    /// The endpoint.
    pub endpoint: EndpointId,
    /// The priority.
    pub priority: Priority,
    /// Entries that wait.
    pub depth: u64,
    /// What they take, bodies and properties and a fixed cost for each.
    pub bytes: u64,
    /// When the oldest of them came in.
    pub oldest: Option<Timestamp>,
}

/// Hears of commits that are on the device: all up to this one.
pub type OnDurable = Box<dyn Fn(Lsn) + Send + Sync>;

/// What a log did since it was opened, and what it holds. A log in memory has zeros but for dead letters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogMetrics {
    /// Bytes handed to the device, of all files of the log.
    pub bytes_written: u64,
    /// Messages appended, each once however many queues it is in.
    pub messages: u64,
    /// Bytes of their bodies and properties.
    pub payload_bytes: u64,
    /// Commits.
    pub commits: u64,
    /// Syncs of the log, by how long they took: counts for each of [`SYNC_BUCKETS`], and beyond.
    pub sync_buckets: [u64; SYNC_BUCKETS.len() + 1],
    /// Time in syncs in nanoseconds.
    pub sync_nanos: u64,
    /// Segments there are.
    pub segments: u64,
    /// Bytes of the log's files that are in use.
    pub disk_bytes: u64,
    /// Bytes that waiting messages take.
    pub live_bytes: u64,
    /// Bytes of segments that nothing waits for any more.
    pub dead_bytes: u64,
    /// Bytes copied forward to free segments.
    pub compacted_bytes: u64,
    /// Entries dropped because the quota was reached.
    pub dropped_over_quota: u64,
    /// Entries lost to damaged records.
    pub damaged: u64,
    /// Dead letters kept.
    pub dead_letters: u64,
    /// Dead letters that gave way to newer ones.
    pub dead_letters_dropped: u64,
    /// Keys whose newest value is not in the state tables yet, in bytes.
    pub overlay_bytes: u64,
}

impl LogMetrics {
    /// Syncs.
    pub fn syncs(&self) -> u64 {
        self.sync_buckets.iter().sum()
    }
}

/// Upper bounds of the buckets of sync times in microseconds.
pub const SYNC_BUCKETS: [u64; 10] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000,
];

/// Resolves when a commit is on the device.
pub type Durable<'a> = Pin<Box<dyn Future<Output = Result<(), CommitError>> + Send + 'a>>;

/// An ordered log. Calls never wait for the device but for [`durable`](Self::durable).
pub trait MessageLog: Send + Sync + fmt::Debug {
    /// The queue of an endpoint and priority; made when it is not there yet.
    fn queue(&self, endpoint: &EndpointId, priority: Priority) -> QueueId;

    /// The queues that exist, by index, without gaps.
    fn queues(&self) -> Vec<QueueStatus>;

    /// Appends a commit and empties it. It is visible to readers when this returns.
    ///
    /// # Errors
    /// Nothing happened then, and the commit still holds what it held. Only commits that add
    /// messages are ever refused as full.
    fn commit(&self, commit: &mut Commit) -> Result<Lsn, CommitError>;

    /// The newest commit that is on the device, and with it all before.
    fn durable_lsn(&self) -> Lsn;

    /// Waits until a commit is on the device. Dropping the future has no effect on the commit.
    fn durable(&self, lsn: Lsn) -> Durable<'_>;

    /// Somebody outside waits for a commit, and hears of it by [`when_durable`](Self::when_durable): its
    /// group is closed as soon as the device is free.
    fn hurry(&self, _lsn: Lsn) {}

    /// Called, on a thread of the log's own, whenever more commits are on the device. One callback;
    /// it must not block.
    fn when_durable(&self, call: OnDurable);

    /// Hands out up to `max` waiting entries of a queue from `from` on, in order. May read files.
    fn read(
        &self,
        queue: QueueId,
        from: Seq,
        max: usize,
        visible: Visible,
        out: &mut Vec<Delivery>,
    );

    /// The value of a key.
    fn get(&self, table: Table, key: &[u8]) -> Option<Bytes>;

    /// Up to `max` keys with a prefix, in byte order, after `after` if given.
    fn keys(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, max: usize) -> Vec<Bytes>;

    /// Up to `max` dead letters that are kept, oldest first, from `from` on.
    fn dead_letters(&self, from: Seq, max: usize) -> Vec<(Seq, DeadLetter)>;

    /// How full it is.
    fn pressure(&self) -> Pressure;

    /// What it did and what it holds.
    fn metrics(&self) -> LogMetrics;
}
