//! What a reader gets next: what is in memory, what was read already, or what is to be read.

use bytes::Bytes;

use super::super::Inner;
use super::super::frame::{self, FRAME};
use super::super::queue::{Extent, Index, Place, Queue};
use super::{Cursor, Fetch, Reading, Source, What};

pub(super) enum Step {
    Done {
        /// Everything there is was handed out.
        at_end: bool,
    },
    Fetch(Fetch),
    /// Entries that wait and are not where they should be.
    Missing {
        from: u64,
        until: u64,
        segment: u64,
    },
}

impl Reading<'_> {
    /// Hands out what is in memory. Says whether that is all that is wanted, or all there is.
    pub(super) fn serve_from_window(&mut self, inner: &mut Inner) -> bool {
        let Some(queue) = inner.state.queue_mut(self.id) else {
            return true;
        };
        self.from = self.from.max(queue.low);
        if queue.waiting > 0 && !(queue.window.start..queue.window.end()).contains(&self.from) {
            return self.from >= queue.next;
        }
        let blocked = self.serve_window(queue);
        let done = blocked || self.left == 0 || self.from >= queue.next || queue.waiting == 0;
        if done {
            self.leave(inner);
        }
        done
    }

    /// The reader was here, and is now there.
    fn leave(&self, inner: &mut Inner) {
        let lsn = inner.state.lsn;
        if let Some(queue) = inner.state.queue_mut(self.id) {
            queue.window.read_to = self.from;
            queue.window.read_at = lsn;
        }
    }

    /// Says whether it came to an entry that is not to be seen yet.
    fn serve_window(&mut self, queue: &Queue) -> bool {
        let window = &queue.window;
        let skip = usize::try_from(self.from.saturating_sub(window.start)).unwrap_or(usize::MAX);
        if skip > window.slots.len() {
            return false;
        }
        for slot in window.slots.range(skip..) {
            if self.left == 0 {
                break;
            }
            if slot.lsn > self.limit {
                return true;
            }
            let seq = self.from;
            self.from += 1;
            if let Some(message) = &slot.message {
                self.left -= 1;
                (self.out)(queue, seq, What::Message(message.clone(), slot.expiry));
            }
        }
        false
    }

    /// Hands out what is in memory or was read, and says what to read next.
    pub(super) fn step(&mut self, inner: &mut Inner, cursor: &mut Cursor) -> Step {
        loop {
            let Some(queue) = inner.state.queue(self.id) else {
                return Step::Done { at_end: true };
            };
            self.from = self.from.max(queue.low);
            let at_end = self.from >= queue.next || queue.waiting == 0;
            if self.left == 0 || at_end {
                self.leave(inner);
                return Step::Done { at_end };
            }
            if (queue.window.start..queue.window.end()).contains(&self.from) {
                if self.serve_window(queue) {
                    self.leave(inner);
                    return Step::Done { at_end: false };
                }
                continue;
            }
            if (cursor.from..cursor.until).contains(&self.from) {
                let later = cursor.ahead.iter().map(|ahead| ahead.seq);
                let next = { later }.find(|seq| *seq >= self.from);
                let next = next.unwrap_or(cursor.until);
                if let Some(from) = (self.from..next).find(|seq| queue.is_waiting(*seq)) {
                    let segment = queue.extent(from).map_or(0, |at| queue.extents[at].segment);
                    return Step::Missing {
                        from,
                        until: next,
                        segment,
                    };
                }
                self.from = next;
                if self.serve_ahead(queue, cursor) {
                    self.leave(inner);
                    return Step::Done { at_end: false };
                }
                continue;
            }
            let Some(extent) = queue.extent(self.from).map(|at| &queue.extents[at]) else {
                self.from = queue.next;
                continue;
            };
            self.from = self.from.max(extent.first);
            return Step::Fetch(inner.plan(self.from, extent));
        }
    }

    /// Hands out entries that follow one another. Says whether it came to one that is not to be seen.
    fn serve_ahead(&mut self, queue: &Queue, cursor: &mut Cursor) -> bool {
        while let Some(ahead) = cursor.ahead.front() {
            if self.left == 0 || ahead.seq > self.from {
                break;
            }
            let wanted = ahead.seq == self.from && queue.is_waiting(ahead.seq);
            if wanted && ahead.lsn > self.limit {
                return true;
            }
            let Some(ahead) = cursor.ahead.pop_front() else {
                break;
            };
            self.from = self.from.max(ahead.seq + 1);
            if wanted {
                self.left -= 1;
                (self.out)(queue, ahead.seq, ahead.what);
            }
        }
        cursor.from = self.from;
        false
    }
}

impl Inner {
    /// What to read for an entry of an extent.
    fn plan(&self, from: u64, extent: &Extent) -> Fetch {
        let end = extent.last + 1;
        let places: &[Place] = match &extent.index {
            Index::Open(places) => places,
            Index::Sealing(places) => places,
            Index::Disk { .. } | Index::Unknown => &[],
        };
        let after = places.partition_point(|place| place.seq <= from);
        let source = match (&extent.index, after.checked_sub(1)) {
            (Index::Disk { at, count }, _) => Source::Index {
                at: *at,
                count: *count,
            },
            (Index::Unknown, _) | (_, None) => Source::Unknown,
            (_, Some(at)) => {
                let offset = places[at].offset;
                let until = places.get(after).map_or(end, |next| next.seq);
                match self.unwritten(extent.segment, offset) {
                    Some(record) => Source::Memory { record, until },
                    None => Source::File { offset, until },
                }
            }
        };
        Fetch {
            from,
            segment: extent.segment,
            end,
            written: self.written(extent.segment),
            source,
        }
    }

    /// A record that the writer has not written.
    fn unwritten(&self, segment: u64, offset: u32) -> Option<Bytes> {
        let offset = u64::from(offset);
        let pieces = self
            .pieces
            .iter()
            .map(|piece| (piece.segment, piece.offset, piece.bytes.as_slice()));
        let buffer = (self.active.number, self.buffer_at, self.buffer.as_slice());
        for (number, start, bytes) in pieces.chain([buffer]) {
            let end = start + bytes.len() as u64;
            if number == segment && (start..end).contains(&offset) {
                let at = usize::try_from(offset - start).ok()?;
                let len = FRAME + frame::u32_at(&bytes[at..], 0) as usize;
                return Some(Bytes::copy_from_slice(&bytes[at..at + len]));
            }
        }
        None
    }

    /// Bytes of a segment that are in its file.
    fn written(&self, segment: u64) -> u64 {
        let piece = self.pieces.iter().find(|piece| piece.segment == segment);
        match piece {
            Some(piece) => piece.offset,
            None if segment == self.active.number => self.buffer_at,
            None => self
                .state
                .segments
                .get(&segment)
                .map_or(0, |segment| segment.end),
        }
    }
}
