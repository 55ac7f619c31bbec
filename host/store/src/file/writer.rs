//! The thread that brings records to the device.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::index;
use super::meters::add;
use super::upkeep::is_full;
use super::{Inner, Piece, Shared, Stop};

/// How long commits that nobody waits for stay in memory. What a sync costs is much more than what one more commit in
/// it does, in wear of flash as well: progress of readers, and what goes from component to component, rides with the
/// next commit that somebody does wait for.
const STAYS_OPEN: Duration = Duration::from_millis(10);
/// Bytes after which such a group is closed all the same.
pub(crate) const CLOSES_AT: u64 = 4 << 20;

/// Writes whatever there is, syncs, tells who waits, and begins again. What comes in meanwhile is the
/// next group.
pub(crate) fn run(shared: &Arc<Shared>) {
    let mut pieces: Vec<Piece> = Vec::new();
    loop {
        {
            let mut inner = shared.lock();
            loop {
                if inner.failed.is_some() {
                    return;
                }
                if !inner.buffer.is_empty() || !inner.pieces.is_empty() {
                    break;
                }
                if inner.stop == Stop::Now {
                    return;
                }
                shared.writer_waits.store(true, Ordering::Relaxed);
                inner = shared.wait(&shared.to_write, inner);
            }
            inner = shared.gather(inner);
            if inner.failed.is_some() {
                return;
            }
            if !inner.buffer.is_empty() {
                inner.cut_piece(None);
            }
            pieces.extend(inner.pieces.iter().cloned());
        }
        match write(shared, &pieces) {
            Ok(sealed) => written(shared, &mut pieces, sealed),
            Err(why) => {
                shared.fail(why);
                return;
            }
        }
    }
}

impl Shared {
    /// Leaves a group open for as long as nobody waits for a commit of it.
    fn gather<'a>(&'a self, mut inner: MutexGuard<'a, Inner>) -> MutexGuard<'a, Inner> {
        let until = Instant::now() + STAYS_OPEN;
        // Before the look at who waits, as whoever waits says so before they look at this: one sees the other.
        self.gathering.store(true, Ordering::SeqCst);
        while self.gathering.load(Ordering::Relaxed)
            && !self.durability.is_awaited()
            && inner.pending < CLOSES_AT
            && inner.stop == Stop::No
            && inner.failed.is_none()
        {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            inner = self
                .to_write
                .wait_timeout(inner, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        self.gathering.store(false, Ordering::Relaxed);
        inner
    }

    /// Somebody waits for a commit: the group that may have it is closed.
    pub(crate) fn hurry(&self, lsn: u64) {
        if self.durability.lsn() >= lsn {
            return;
        }
        self.durability.set_urgent(lsn);
        if self.gathering.load(Ordering::SeqCst) {
            // Under the lock, or the writer could miss it between its look and its wait.
            let _inner = self.lock();
            self.gathering.store(false, Ordering::Relaxed);
            self.to_write.notify_one();
        }
    }
}

/// Writes and syncs pieces, each file once; returns where the indexes of sealed segments went.
fn write(shared: &Shared, pieces: &[Piece]) -> Result<Vec<index::Written>, String> {
    let mut sealed = Vec::new();
    for (at, piece) in pieces.iter().enumerate() {
        let name = || {
            format!(
                "{} in {}",
                super::segment_name(piece.segment),
                shared.disk.name()
            )
        };
        let failed = |what, error| format!("cannot {what} {}: {error}", name());
        piece
            .file
            .write_at(&piece.bytes, piece.offset)
            .map_err(|error| failed("write", error))?;
        let mut bytes = piece.bytes.len() as u64;
        if let Some(seal) = &piece.seal {
            let end = piece.offset + bytes;
            let index = index::encode(seal, piece.segment, end, piece.lsn, shared.seed);
            if let Some((record, written)) = index {
                match piece.file.write_at(&record, end) {
                    Ok(()) => {
                        bytes += record.len() as u64;
                        sealed.push(written);
                    }
                    // It goes behind what was reserved, and can be had again by reading the segment.
                    Err(error) if is_full(&error) => {
                        // Half of it would look like damage.
                        let cleared = piece.file.zero_from(end, end);
                        cleared.map_err(|error| failed("clear the end of", error))?;
                    }
                    Err(error) => return Err(failed("write", error)),
                }
            }
        }
        add(&shared.meters.bytes_written, bytes);
        let next = pieces.get(at + 1);
        if next.is_none_or(|next| next.segment != piece.segment) {
            // A segment is on the device before anything of the next one is: recovery keeps a prefix.
            let begin = Instant::now();
            piece.file.sync().map_err(|error| failed("sync", error))?;
            shared.meters.synced(begin.elapsed());
        }
    }
    Ok(sealed)
}

fn written(shared: &Shared, pieces: &mut Vec<Piece>, sealed: Vec<index::Written>) {
    let lsn = pieces.last().map(|piece| piece.lsn);
    let mut inner = shared.lock();
    for index in sealed {
        inner.install(&index);
    }
    for piece in pieces.drain(..) {
        inner.pieces.pop_front();
        inner.pending = inner.pending.saturating_sub(piece.bytes.len() as u64);
        let Piece { bytes, .. } = piece;
        inner.recycle(bytes);
    }
    drop(inner);
    if let Some(lsn) = lsn {
        shared.durability.advance(lsn);
    }
    // Whoever looked before that, under the lock, waits by now and hears it.
    drop(shared.lock());
    shared.changed.notify_all();
}

impl Inner {
    /// The index of a full segment is written: memory need not have it.
    fn install(&mut self, written: &index::Written) {
        if let Some(segment) = self.state.segments.get_mut(&written.segment) {
            segment.end = written.end;
        }
        for extent in &written.extents {
            let queue = self.state.queue_mut(extent.queue);
            if let Some(known) =
                queue.and_then(|queue| queue.sealing(written.segment, extent.first, extent.last))
            {
                known.index = extent.index.clone();
            }
        }
    }
}
