//! The thread that brings records to the device.

use std::sync::Arc;
use std::time::Instant;

use super::index;
use super::meters::add;
use super::{Inner, Piece, Shared, Stop};

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
                inner = shared.wait(&shared.to_write, inner);
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
            if let Some((record, written)) = index::encode(seal, piece.segment, end, piece.lsn) {
                piece
                    .file
                    .write_at(&record, end)
                    .map_err(|error| failed("write", error))?;
                bytes += record.len() as u64;
                sealed.push(written);
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
