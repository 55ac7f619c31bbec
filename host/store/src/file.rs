//! The log on disk.
//!
//! ```text
//!             ┌────────────── one lock ──────────────┐
//!   commit ─► │ encode into the buffer, change state │ ─► visible
//!             └──────────────────┬───────────────────┘
//!                                ▼                              ┌─► spare segments, made ahead
//!   writer thread: write, fdatasync, tell who waits ─► durable  │
//!                                ▼                       upkeep thread ─► state tables, snapshot,
//!   segment 7 ─► 8 ─► 9 … dropped when nobody waits for them ◄──┘        drop, compact
//!
//!   opening: newest snapshot ─► records after it ─► state as it was at the last whole record
//! ```
//!
//! Files of the directory: `00000000000000000007.log` (segments, see `frame.rs`), `snapshot-…` (see
//! `snapshot.rs`; the newest two), `lock`.
//!
//! Promises, beside those of [`MessageLog`]
//! - Recovery keeps a prefix of the log. A torn tail, never acknowledged, is cut off; a damaged record
//!   that had been durable is named, what it held is counted as lost, and everything after it is kept.
//! - The writer syncs a commit that somebody waits for as soon as it is idle, with all that came before;
//!   what gathers during a sync goes into the next. Commits that nobody waits for are at most 10 ms late.
//! - Full, by quota or by the device: commits with messages are refused, or the oldest messages give
//!   way, as [`WhenFull`] says. Progress is taken in the room of the segment that is reserved for it.
//! - A failed write or sync closes the log for good: [`CommitError::Failed`] from then on.
//! - Memory does not grow with what waits; a queue and a segment that hold anything cost some 100 bytes
//!   for each other.
//!
//! Locks: a queue's cursor, then the one lock of the state. The latter is held for memory work only.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{JoinHandle, ThreadId};
use std::time::Instant;

use bytes::Bytes;
use edge_core::{ByteSize, EndpointId, Priority};

use crate::{
    Commit, CommitError, DeadLetter, Delivery, Durable, LogMetrics, Lsn, MessageLog, OnDurable,
    Pressure, QueueId, QueueStatus, Seq, StateTables, Table, TableError, Visible,
};

mod append;
mod compact;
mod disk;
mod durable;
mod frame;
mod index;
mod mend;
mod message;
mod meters;
mod opening;
mod overlay;
mod queue;
mod ranges;
mod read;
mod record;
mod recover;
mod scan;
mod snapshot;
mod state;
#[cfg(test)]
mod tests;
mod upkeep;
mod wire;
mod writer;

pub use disk::{Disk, DiskError, DiskFile, OsDisk};
pub use opening::{Damage, OpenError, Opening, Torn};

use durable::Durability;
use frame::{LogId, Seed};
use meters::Meters;
use queue::Place;
use read::Cursors;
use record::Encoder;
use state::State;
use upkeep::Spare;

/// What happens to messages that no longer fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// They are refused; senders wait or hear of it.
    #[default]
    Reject,
    /// The oldest messages of all queues give way, counted.
    DropOldest,
    /// The oldest messages of the queue with the highest priority number give way, counted.
    DropLowestPriority,
}

/// Settings of a log.
pub struct FileLogConfig {
    /// Size of a segment: what is read again after a crash, and what is freed at once.
    pub segment_size: ByteSize,
    /// Messages kept in memory for readers that keep up, all queues together.
    pub cache: ByteSize,
    /// Most that waiting messages may take; `None`: what the device has, less the reserve.
    pub quota: Option<ByteSize>,
    /// What is left free on the device.
    pub reserve: ByteSize,
    /// What happens when either is reached.
    pub when_full: WhenFull,
    /// Called once when a write or sync has failed: the process is to end, because what the device
    /// took is not known.
    pub on_failure: Option<OnFailure>,
}

/// Hears that the device failed, and how. Must not call the log.
pub type OnFailure = Box<dyn Fn(&str) + Send + Sync>;

impl Default for FileLogConfig {
    /// 16 MiB segments, 4 MiB cache, no quota, a reserve of 64 MiB, reject.
    fn default() -> Self {
        Self {
            segment_size: ByteSize(16 << 20),
            cache: ByteSize(4 << 20),
            quota: None,
            reserve: ByteSize(64 << 20),
            when_full: WhenFull::default(),
            on_failure: None,
        }
    }
}

impl fmt::Debug for FileLogConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileLogConfig")
            .field("segment_size", &self.segment_size)
            .field("quota", &self.quota)
            .field("when_full", &self.when_full)
            .finish_non_exhaustive()
    }
}

impl FileLogConfig {
    /// Smallest segment: a record of the largest message fits many times.
    pub const MIN_SEGMENT: ByteSize = ByteSize(64 << 10);
    /// Largest segment: offsets have 32 bits.
    pub const MAX_SEGMENT: ByteSize = ByteSize(1 << 30);
}

/// A [`MessageLog`] in files.
pub struct FileLog {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What the threads of a log share.
pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) tables: Arc<dyn StateTables>,
    pub(crate) config: FileLogConfig,
    pub(crate) id: LogId,
    pub(crate) seed: Seed,
    inner: Mutex<Inner>,
    /// Something was written, made, frozen or has failed.
    pub(crate) changed: Condvar,
    /// There is something to write.
    pub(crate) to_write: Condvar,
    /// The writer waits for that; changed under the lock only.
    pub(crate) writer_waits: AtomicBool,
    /// The writer leaves a group open for more.
    pub(crate) gathering: AtomicBool,
    /// There is upkeep to do.
    pub(crate) to_keep_up: Condvar,
    pub(crate) durability: Durability,
    pub(crate) cursors: Cursors,
    pub(crate) meters: Meters,
    pub(crate) upkeep_thread: OnceLock<ThreadId>,
    used: AtomicU64,
    waiting: AtomicU64,
    limit: AtomicU64,
    full: AtomicBool,
}

/// Under the lock.
pub(crate) struct Inner {
    pub(crate) state: State,
    pub(crate) encoder: Encoder,
    pub(crate) active: Active,
    /// Records that the writer has not taken yet; the first begins at `buffer_at` of the active segment.
    pub(crate) buffer: Vec<u8>,
    pub(crate) buffer_at: u64,
    /// What the writer has taken or is to take, in order.
    pub(crate) pieces: VecDeque<Piece>,
    /// Buffers to be used again.
    pub(crate) recycled: Vec<Vec<u8>>,
    /// Bytes in buffer and pieces.
    pub(crate) pending: u64,
    pub(crate) spare: Spare,
    pub(crate) failed: Option<Arc<str>>,
    pub(crate) stop: Stop,
    /// A snapshot is to be made.
    pub(crate) snapshot_due: bool,
    /// Bytes of the newest one, and of segments filled since.
    pub(crate) last_snapshot: u64,
    pub(crate) since_snapshot: u64,
    /// Queues whose names are to be written with the next record.
    pub(crate) undefined: Vec<QueueId>,
    /// Compaction failed or found nothing; it waits until then.
    pub(crate) compact_after: Option<Instant>,
    /// The spare was made out of the reserve: it is for progress only.
    pub(crate) tight: bool,
    /// Progress needs room, of the reserve if need be.
    pub(crate) urgent: bool,
    /// Messages were dropped for room that has not come yet.
    pub(crate) dropped_for_room: bool,
}

/// Whether the threads are to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stop {
    /// No.
    No,
    /// No commit is taken any more; upkeep is to bring everything to the device.
    Closing,
    /// When what was committed is written.
    Now,
}

/// The segment that is written to.
pub(crate) struct Active {
    pub(crate) number: u64,
    pub(crate) file: Arc<dyn DiskFile>,
    /// Bytes of header and records, written or not.
    pub(crate) end: u64,
}

/// Bytes on their way to the device.
#[derive(Clone)]
pub(crate) struct Piece {
    pub(crate) segment: u64,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) offset: u64,
    pub(crate) bytes: Arc<Vec<u8>>,
    pub(crate) lsn: u64,
    /// The segment ends with this piece: its index goes behind it.
    pub(crate) seal: Option<Arc<Seal>>,
}

/// Where the entries of a full segment are, by queue.
pub(crate) struct Seal {
    pub(crate) extents: Vec<SealedExtent>,
}

/// The places of one extent.
pub(crate) struct SealedExtent {
    pub(crate) queue: QueueId,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) places: Arc<Vec<Place>>,
}

impl fmt::Debug for FileLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileLog")
            .field("disk", &self.shared.disk)
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}

/// The file of a segment.
pub(crate) fn segment_name(number: u64) -> String {
    format!("{number:020}.log")
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| {
            // Somebody panicked in the middle of a change: what memory says is not to be relied on.
            self.inner.clear_poison();
            let mut inner = poisoned.into_inner();
            if inner.failed.is_none() {
                self.close_for_good(&mut inner, "a panic while the log was changed".into());
            }
            inner
        })
    }

    pub(crate) fn wait<'a>(
        &self,
        on: &Condvar,
        inner: MutexGuard<'a, Inner>,
    ) -> MutexGuard<'a, Inner> {
        on.wait(inner).unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings what is looked at without the lock up to date.
    pub(crate) fn publish(&self, inner: &Inner) {
        self.used.store(inner.state.used, Ordering::Relaxed);
        self.waiting.store(inner.state.waiting, Ordering::Relaxed);
    }

    pub(crate) fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Closes the log for good.
    pub(crate) fn fail(&self, why: String) {
        let mut inner = self.lock();
        if inner.failed.is_none() {
            self.close_for_good(&mut inner, why.into());
        }
    }

    fn close_for_good(&self, inner: &mut Inner, why: Arc<str>) {
        inner.failed = Some(why.clone());
        self.changed.notify_all();
        self.to_write.notify_all();
        self.to_keep_up.notify_all();
        if let Some(tell) = &self.config.on_failure {
            tell(&why);
        }
        self.durability.fail(&why);
    }

    /// Waits until a commit is on the device; says whether it is.
    pub(crate) fn wait_durable(&self, lsn: u64) -> bool {
        self.hurry(lsn);
        let mut inner = self.lock();
        while self.durability.lsn() < lsn {
            if inner.failed.is_some() {
                return false;
            }
            inner = self.wait(&self.changed, inner);
        }
        true
    }

    fn table(&self, result: Result<Option<Bytes>, TableError>) -> Option<Bytes> {
        result.unwrap_or_else(|error| {
            // Nothing that is answered from here on could be trusted; the next start rebuilds them.
            self.fail(format!("state tables: {error}"));
            None
        })
    }
}

impl FileLog {
    /// Opens the log in a directory, made if need be, over state tables.
    ///
    /// # Errors
    /// Files that another program or a newer version of this one wrote, or a device that fails. Damage
    /// is no error: what it cost is in [`Opening`].
    pub fn open(
        disk: Arc<dyn Disk>,
        tables: Arc<dyn StateTables>,
        config: FileLogConfig,
    ) -> Result<(Self, Opening), OpenError> {
        let recovered = recover::recover(&disk, &tables, &config)?;
        let opening = recovered.opening;
        let mut inner = recovered.inner;
        // Written with the first group: the header of a new segment.
        inner.pending = inner.buffer.len() as u64;
        let shared = Arc::new(Shared {
            disk,
            tables,
            config,
            id: recovered.id,
            seed: Seed::of(&recovered.id),
            changed: Condvar::new(),
            to_write: Condvar::new(),
            writer_waits: AtomicBool::new(false),
            gathering: AtomicBool::new(false),
            to_keep_up: Condvar::new(),
            durability: Durability::default(),
            cursors: Cursors::default(),
            meters: Meters::default(),
            upkeep_thread: OnceLock::new(),
            used: AtomicU64::new(inner.state.used),
            waiting: AtomicU64::new(inner.state.waiting),
            limit: AtomicU64::new(u64::MAX),
            full: AtomicBool::new(false),
            inner: Mutex::new(inner),
        });
        shared.durability.advance(shared.lock().state.lsn);
        shared.measure_room();
        let spawn = |name: &str, run: fn(&Arc<Shared>)| {
            let shared = shared.clone();
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || {
                    let ran = catch_unwind(AssertUnwindSafe(|| run(&shared)));
                    if ran.is_err() {
                        shared.fail("a thread of the log panicked".to_owned());
                    }
                })
                .map_err(|source| OpenError::Thread { source })
        };
        let threads = vec![
            spawn("log writer", writer::run)?,
            spawn("log upkeep", upkeep::run)?,
        ];
        let log = Self {
            shared,
            threads: Mutex::new(threads),
        };
        Ok((log, opening))
    }

    /// Opens the log and the state tables of a directory: `log` and `state` in it.
    ///
    /// # Errors
    /// As [`open`](Self::open); and the directory is in use, or the tables are of a newer version.
    pub fn open_dir(dir: &Path, config: FileLogConfig) -> Result<(Self, Opening), OpenError> {
        let disk = Arc::new(OsDisk::open(&dir.join("log"))?);
        // Tables that are behind what the snapshot saw of them have lost their end.
        let seen = recover::tables_seen(&*disk)?;
        let opened = crate::SledTables::open_from(&dir.join("state"), seen)?;
        let (log, mut opening) = Self::open(disk, Arc::new(opened.tables), config)?;
        opening.set_aside = opened.set_aside;
        Ok((log, opening))
    }

    /// Brings everything to the device and ends. Commits are refused from now on.
    ///
    /// # Errors
    /// The device failed. What was durable is there when the log is opened again.
    pub fn close(&self) -> Result<(), CommitError> {
        self.shared.close();
        self.join();
        match &self.shared.lock().failed {
            Some(why) => Err(CommitError::Failed(why.to_string())),
            None => Ok(()),
        }
    }

    fn join(&self) {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            if thread.join().is_err() {
                self.shared.fail("a thread of the log panicked".to_owned());
            }
        }
    }
}

impl Drop for FileLog {
    /// Ends the threads when what was committed is written; no snapshot is made.
    fn drop(&mut self) {
        self.shared.stop(Stop::Now);
        self.join();
    }
}

impl MessageLog for FileLog {
    fn queue(&self, endpoint: &EndpointId, priority: Priority) -> QueueId {
        self.shared.queue(endpoint, priority)
    }

    fn queues(&self) -> Vec<QueueStatus> {
        let inner = self.shared.lock();
        let status = |(index, queue): (u32, &queue::Queue)| QueueStatus {
            id: QueueId::from_index(index),
            endpoint: queue.endpoint.clone(),
            priority: queue.priority,
            depth: queue.waiting,
            bytes: queue.bytes,
            oldest: queue.oldest(),
        };
        (0..).zip(&inner.state.queues).map(status).collect()
    }

    fn commit(&self, commit: &mut Commit) -> Result<Lsn, CommitError> {
        self.shared.commit(commit)
    }

    fn durable_lsn(&self) -> Lsn {
        Lsn(self.shared.durability.lsn())
    }

    fn durable(&self, lsn: Lsn) -> Durable<'_> {
        self.hurry(lsn);
        Box::pin(self.shared.durability.wait(lsn))
    }

    fn hurry(&self, lsn: Lsn) {
        self.shared.hurry(lsn.0);
    }

    fn when_durable(&self, call: OnDurable) {
        self.shared.durability.set_callback(call);
    }

    fn read(
        &self,
        queue: QueueId,
        from: Seq,
        max: usize,
        visible: Visible,
        out: &mut Vec<Delivery>,
    ) {
        self.shared.read(queue, from, max, visible, out);
    }

    fn get(&self, table: Table, key: &[u8]) -> Option<Bytes> {
        let newest = self.shared.lock().state.overlay.get(table, key);
        match newest {
            Some(value) => value,
            None => self.shared.table(self.shared.tables.get(table, key)),
        }
    }

    fn keys(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, max: usize) -> Vec<Bytes> {
        let newest = self.shared.lock().state.overlay.keys(table, prefix, after);
        let deleted = newest.values().filter(|there| !**there).count();
        let known = self
            .shared
            .tables
            .keys(table, prefix, after, max.saturating_add(deleted));
        let known = known.unwrap_or_else(|error| {
            self.shared.fail(format!("state tables: {error}"));
            Vec::new()
        });
        let mut keys: std::collections::BTreeSet<Bytes> = known.into_iter().collect();
        for (key, there) in newest {
            match there {
                true => keys.insert(key),
                false => keys.remove(&key),
            };
        }
        keys.into_iter().take(max).collect()
    }

    fn dead_letters(&self, from: Seq, max: usize) -> Vec<(Seq, DeadLetter)> {
        self.shared.dead_letters(from, max)
    }

    fn pressure(&self) -> Pressure {
        let used = self.shared.used.load(Ordering::Relaxed);
        let waiting = self.shared.waiting.load(Ordering::Relaxed);
        let (limit, hard_limit) = if self.shared.full.load(Ordering::Relaxed) {
            (0, 0)
        } else if self.shared.config.when_full == WhenFull::Reject {
            let hard = self.shared.limit();
            // Senders outside leave some room to modules inside.
            (hard - hard / 8, hard)
        } else {
            (u64::MAX, u64::MAX)
        };
        Pressure {
            used,
            limit,
            hard_limit,
            waiting,
        }
    }

    fn metrics(&self) -> LogMetrics {
        self.shared.metrics()
    }
}
