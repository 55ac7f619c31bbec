//! The thread that looks after files: it makes the next segment before it is needed, brings keys into
//! the state tables, writes snapshots, drops segments that nobody waits for, and moves what pins them.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::disk::DiskFile;
use super::record::Kind;
use super::{Inner, Shared, Stop, overlay, segment_name, snapshot};
use crate::{Change, Table};

/// Bytes of keys that are applied to the tables before a segment is full.
const MAX_OVERLAY: u64 = 4 << 20;
/// What became free is dropped at the latest after this time.
const TIDY: Duration = Duration::from_secs(1);
/// So many free segments are dropped at once.
const MANY_DEAD: usize = 4;
/// Wait before room for a segment is looked for again.
const RETRY: Duration = Duration::from_millis(200);

/// The segment after the active one, made ahead.
pub(crate) enum Spare {
    /// To be made.
    Wanted,
    /// There.
    Ready {
        number: u64,
        file: Arc<dyn DiskFile>,
    },
    /// There is no room for it; it is tried again.
    Failed(Instant),
}

enum Job {
    Spare,
    Measure,
    Snapshot,
    Compact(u64),
    Close,
}

pub(crate) fn run(shared: &Arc<Shared>) {
    let me = std::thread::current().id();
    shared.upkeep_thread.get_or_init(|| me);
    let mut measured = Instant::now();
    while let Some(job) = next(shared, measured) {
        match job {
            Job::Spare => shared.make_spare(),
            Job::Measure => {
                shared.measure_room();
                measured = Instant::now();
            }
            Job::Snapshot => shared.snapshot(),
            Job::Compact(segment) => shared.compact(segment),
            Job::Close => {
                let lsn = shared.write_closed();
                if lsn.is_some_and(|lsn| shared.wait_durable(lsn)) {
                    shared.snapshot();
                }
                shared.stop(Stop::Now);
            }
        }
    }
}

/// Waits for something to do; `None`: the end. `measured`: when room was last looked for.
fn next(shared: &Shared, measured: Instant) -> Option<Job> {
    let mut inner = shared.lock();
    let mut idle_since = None;
    loop {
        if inner.failed.is_some() || inner.stop == Stop::Now {
            return None;
        }
        if inner.stop == Stop::Closing {
            return Some(Job::Close);
        }
        let mut timeout = None;
        match inner.spare {
            Spare::Wanted => return Some(Job::Spare),
            Spare::Failed(at) if at.elapsed() >= RETRY => return Some(Job::Spare),
            Spare::Failed(_) => timeout = Some(RETRY),
            Spare::Ready { .. } => {}
        }
        if shared.is_short(&inner) {
            // Others may have made room. Nothing else would show it, because nothing is taken.
            if measured.elapsed() >= RETRY {
                return Some(Job::Measure);
            }
            timeout = Some(RETRY);
        }
        inner.state.freed = false;
        let dead = inner.dead_segments();
        if inner.snapshot_due || inner.state.overlay.bytes() > MAX_OVERLAY || dead >= MANY_DEAD {
            return Some(Job::Snapshot);
        }
        if let Some(segment) = inner.pinned(shared.durability.lsn()) {
            return Some(Job::Compact(segment));
        }
        if dead > 0 {
            let since: Instant = *idle_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= TIDY {
                return Some(Job::Snapshot);
            }
            timeout = Some(timeout.map_or(TIDY, |t: Duration| t.min(TIDY)));
        }
        inner = match timeout {
            Some(timeout) => {
                shared
                    .to_keep_up
                    .wait_timeout(inner, timeout)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
            None => shared.wait(&shared.to_keep_up, inner),
        };
    }
}

/// Whether only room is missing.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

impl Inner {
    /// Segments that nothing waits for.
    fn dead_segments(&self) -> usize {
        let dead = |segment: &&super::state::Segment| segment.sealed && segment.live == 0;
        self.state.segments.values().filter(dead).count()
    }

    /// Segments that nothing needs once the state as it is now is on the device: nothing waits in them,
    /// and the tables have the keys up to `applied`. What is settled later is settled by a commit that
    /// may not get to the device.
    fn dead_by_now(&self, applied: u64) -> Vec<u64> {
        let dead = self.state.segments.iter().filter(|(_, segment)| {
            segment.sealed && segment.live == 0 && segment.last_lsn <= applied
        });
        dead.map(|(number, _)| *number).collect()
    }
}

impl Shared {
    /// Whether a change leaves something to do here; asked at every commit.
    pub(crate) fn has_upkeep(&self, inner: &Inner) -> bool {
        inner.snapshot_due
            || inner.state.freed
            || matches!(inner.spare, Spare::Wanted)
            || inner.state.overlay.bytes() > MAX_OVERLAY
            || self.is_short(inner)
    }

    /// Whether senders are held back by what the device had when it was last asked.
    fn is_short(&self, inner: &Inner) -> bool {
        let limit = self.limit();
        let by_device = self.config.quota.is_none_or(|quota| limit < quota.0);
        inner.tight || (by_device && limit < u64::MAX && inner.state.used >= limit - limit / 8)
    }

    pub(crate) fn stop(&self, stop: Stop) {
        let mut inner = self.lock();
        inner.stop = inner.stop.max(stop);
        drop(inner);
        self.changed.notify_all();
        self.to_write.notify_all();
        self.to_keep_up.notify_all();
    }

    pub(crate) fn close(&self) {
        self.stop(Stop::Closing);
    }

    fn write_closed(&self) -> Option<u64> {
        let (mut inner, at) = self.write(self.lock(), Kind::Closed, |_, _, _| {}).ok()?;
        inner.state.lsn = at.lsn;
        Some(at.lsn)
    }

    /// How much may wait, by the quota and by what the device has.
    pub(crate) fn measure_room(&self) {
        let quota = self.config.quota.map_or(u64::MAX, |quota| quota.0);
        let mut inner = self.lock();
        let used = inner.state.used;
        // A file system that does not say is not asked again: it refuses when it is full.
        let free = self.disk.free().unwrap_or(u64::MAX);
        let room = free
            .saturating_sub(self.config.reserve.0)
            .saturating_add(used);
        if inner.tight && free >= self.config.reserve.0 {
            inner.tight = false;
            self.set_full(false);
        }
        drop(inner);
        let limit = quota.min(room);
        self.limit
            .store(limit, std::sync::atomic::Ordering::Relaxed);
    }

    pub(crate) fn make_spare(&self) {
        let number = self.lock().active.number + 1;
        let size = self.config.segment_size.0;
        let needed = size.saturating_add(self.config.reserve.0);
        let urgent = self.lock().urgent;
        let free = self.disk.free().unwrap_or(u64::MAX);
        let made = match free < needed && !urgent {
            true => Err(io::Error::new(
                io::ErrorKind::StorageFull,
                format!("{free} bytes are free, {needed} are needed with the reserve"),
            )),
            false => self.disk.create(&segment_name(number), size),
        };
        let mut inner = self.lock();
        inner.dropped_for_room = false;
        match made {
            Ok(file) => {
                inner.spare = Spare::Ready { number, file };
                inner.urgent = false;
                inner.tight = free < needed;
                self.set_full(inner.tight);
            }
            Err(error) => {
                if !matches!(inner.spare, Spare::Failed(_)) {
                    let place = self.disk.name();
                    tracing::error!(place, %error, "no room for messages, none are taken");
                }
                inner.spare = Spare::Failed(Instant::now());
                // What can be dropped makes room.
                inner.snapshot_due |= inner.dead_segments() > 0;
                self.set_full(true);
            }
        }
        drop(inner);
        self.changed.notify_all();
        self.measure_room();
    }

    /// Gives back the spare segment, so that there is room for what frees more.
    fn give_up_spare(&self) {
        let mut inner = self.lock();
        if let Spare::Ready { number, .. } = inner.spare {
            inner.spare = Spare::Failed(Instant::now());
            self.set_full(true);
            drop(inner);
            self.remove(&segment_name(number));
        }
    }

    fn remove(&self, name: &str) {
        if let Err(error) = self.disk.remove(name) {
            // It takes room and does no harm; the next start removes it.
            tracing::warn!(file = name, %error, "file cannot be removed");
        }
    }

    /// Brings keys into the tables, writes a snapshot, and drops what it covers.
    fn snapshot(&self) {
        let frozen = {
            let mut inner = self.lock();
            inner.snapshot_due = false;
            let upto = crate::Lsn(inner.state.lsn);
            inner.state.overlay.freeze(upto)
        };
        if !self.wait_durable(frozen.upto.0) {
            return;
        }
        let changes: Vec<Change<'_>> = overlay::changes(&frozen.layers)
            .map(|(table, key, value)| Change {
                table,
                key,
                value: value.map(|value| &**value),
            })
            .collect();
        if !changes.is_empty()
            && let Err(error) = self.tables.apply(&changes, frozen.upto)
        {
            if error.is_full() {
                tracing::warn!(%error, "keys cannot be applied yet");
                self.give_up_spare();
                self.later();
            } else {
                self.fail(format!("state tables: {error}"));
            }
            return;
        }
        self.lock().state.overlay.applied();
        let dead = match self.write_snapshot(frozen.upto.0) {
            Ok(dead) => dead,
            Err(error) => {
                tracing::warn!(%error, "snapshot cannot be written yet");
                if is_full(&error) {
                    self.give_up_spare();
                }
                self.later();
                return;
            }
        };
        {
            let mut inner = self.lock();
            inner
                .state
                .segments
                .retain(|number, _| !dead.contains(number));
            if let (Spare::Failed(_), false) = (&inner.spare, dead.is_empty()) {
                inner.spare = Spare::Wanted;
            }
        }
        for number in dead {
            self.remove(&segment_name(number));
        }
        self.measure_room();
    }

    /// Tries again after a while, and not at once: nothing has changed.
    fn later(&self) {
        let inner = self.lock();
        if inner.stop == Stop::No {
            let (mut inner, _) = self
                .to_keep_up
                .wait_timeout(inner, RETRY)
                .unwrap_or_else(PoisonError::into_inner);
            inner.snapshot_due = true;
        }
    }

    /// Says which segments it makes superfluous.
    fn write_snapshot(&self, keys_upto: u64) -> io::Result<Vec<u64>> {
        let gone = || io::Error::other("the log has failed");
        let mut inner = self.lock();
        // Indexes of full segments are to be where the snapshot says.
        while inner.pieces.iter().any(|piece| piece.seal.is_some()) {
            if inner.failed.is_some() {
                return Err(gone());
            }
            inner = self.wait(&self.changed, inner);
        }
        let lsn = inner.state.lsn;
        let dead = inner.dead_by_now(keys_upto);
        inner.since_snapshot = 0;
        let applied = self.tables.applied().0;
        let active = inner.active.number;
        let mut bytes = snapshot::begin(&self.id, applied, keys_upto, active, &inner.state);
        drop(inner);
        for table in Table::ALL.into_iter().filter(|table| table.in_snapshots()) {
            let mut put = |key: &[u8], value: &[u8]| {
                snapshot::put_pair(&mut bytes, table, key, value);
            };
            self.tables
                .for_each(table, &mut put)
                .map_err(io::Error::other)?;
        }
        snapshot::finish(&mut bytes);
        // What it tells must not be taken back by a crash.
        if !self.wait_durable(lsn) {
            return Err(gone());
        }
        let name = snapshot::name(lsn);
        self.disk.replace(&name, &bytes)?;
        super::meters::add(&self.meters.bytes_written, bytes.len() as u64);
        // Segments are dropped on its word: it is to be what was written.
        let mut again = vec![0; bytes.len() + 1];
        let read = self.disk.open(&name)?.read_at(&mut again, 0)?;
        if again[..read] != bytes {
            self.remove(&name);
            return Err(io::Error::other(format!(
                "{name} reads other than it was written"
            )));
        }
        self.lock().last_snapshot = bytes.len() as u64;
        self.prune_snapshots()?;
        Ok(dead)
    }

    /// The newest snapshot stays, and the one before it, in case the newest is damaged later.
    fn prune_snapshots(&self) -> io::Result<()> {
        let files = self.disk.list()?;
        let mut known: Vec<u64> = files
            .iter()
            .filter_map(|(name, _)| snapshot::lsn_of(name))
            .collect();
        known.sort_unstable();
        for lsn in known.iter().rev().skip(2) {
            self.remove(&snapshot::name(*lsn));
        }
        Ok(())
    }
}
