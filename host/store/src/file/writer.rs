//! The thread that brings records to the device.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::index;
use super::meters::add;
use super::upkeep::is_full;
use super::{Inner, Piece, Shared, Stop};

/// Time from one sync to the next under load. What a sync costs the processor is much more than what
/// one more commit in it does, and a fast device would be synced for every few of them.
const SYNC_EVERY: Duration = Duration::from_millis(1);
/// So much less than that may have passed, all syncs together: at low load each comes at once.
const SYNCS_AHEAD: u32 = 8;

/// Writes whatever there is, syncs, tells who waits, and begins again. What comes in meanwhile is the
/// next group.
pub(crate) fn run(shared: &Arc<Shared>) {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut due = Instant::now();
    loop {
        {
            let mut inner = shared.lock();
            if !inner.buffer.is_empty() {
                inner = shared.gather(inner, due);
            }
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
            due = next_due(due, Instant::now());
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

/// When the sync after one that begins now is due.
fn next_due(due: Instant, now: Instant) -> Instant {
    // Those that somebody waited for came before they were due: the next is not put off for them.
    let next = (due + SYNC_EVERY).min(now + SYNC_EVERY);
    match now.checked_sub(SYNC_EVERY * SYNCS_AHEAD) {
        Some(earliest) => next.max(earliest),
        None => next,
    }
}

impl Shared {
    /// Leaves a group open until it is due, or until somebody waits for a commit.
    fn gather<'a>(
        &'a self,
        mut inner: MutexGuard<'a, Inner>,
        due: Instant,
    ) -> MutexGuard<'a, Inner> {
        self.gathering.store(true, Ordering::Relaxed);
        while self.gathering.load(Ordering::Relaxed)
            && !self.durability.is_awaited()
            && inner.stop == Stop::No
            && inner.failed.is_none()
        {
            let left = due.saturating_duration_since(Instant::now());
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
    pub(crate) fn hurry(&self) {
        if self.gathering.load(Ordering::Relaxed) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syncs_come_at_once_at_low_load_and_spaced_under_load() {
        let start = Instant::now() + Duration::from_secs(60);
        let mut due = start - Duration::from_secs(10);
        let mut at_once = 0;
        while next_due(due, start) <= start {
            due = next_due(due, start);
            at_once += 1;
        }
        assert_eq!(at_once, SYNCS_AHEAD + 1);
        // However many did not wait until they were due, the next one does not wait longer.
        for _ in 0..1_000 {
            due = next_due(due, start);
        }
        assert_eq!(due, start + SYNC_EVERY);
    }
}
