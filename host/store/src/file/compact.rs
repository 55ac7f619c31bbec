//! Moving the few entries that pin a segment, so that it can be dropped.

use std::collections::BTreeMap;

use super::disk::DiskFile;
use super::frame::{self, FRAME};
use super::index::{self, PLACE};
use super::message::Origins;
use super::meters::add;
use super::queue::Index;
use super::record::{self, Entry, Kind, Letter, Record};
use super::state::State;
use super::upkeep::Spare;
use super::{Inner, Shared, segment_name};
use crate::log::cost;
use crate::{CommitError, QueueId};

/// Full segments below which nothing is moved: their room is needed soon anyway.
const FEW: usize = 4;
/// Bytes moved in one record.
const BATCH: u64 = 256 << 10;

/// Entries of one segment on their way into a record.
#[derive(Default)]
struct Batch {
    messages: Vec<edge_core::Message>,
    entries: Vec<Entry>,
    letters: Vec<(usize, Letter)>,
    bytes: u64,
}

/// Where a record is, and which entries its index says it has: queue, first, and one past the last.
type Offsets = BTreeMap<u32, Vec<(QueueId, u64, u64)>>;

impl Inner {
    /// The full segment that is cheapest to empty, if full segments are mostly settled.
    pub(crate) fn pinned(&self, durable: u64) -> Option<u64> {
        if !matches!(self.spare, Spare::Ready { .. }) {
            return None;
        }
        let sealed = || self.state.segments.iter().filter(|(_, s)| s.sealed);
        let total: u64 = sealed().map(|(_, segment)| segment.end).sum();
        let live: u64 = sealed().map(|(_, segment)| segment.live_bytes).sum();
        if sealed().count() <= FEW || live.saturating_mul(2) >= total {
            return None;
        }
        let (number, _) = sealed()
            .filter(|(_, segment)| segment.live > 0 && segment.last_lsn <= durable)
            .filter(|(_, segment)| segment.live_bytes.saturating_mul(2) < segment.end)
            .min_by_key(|(_, segment)| segment.live_bytes)?;
        Some(*number)
    }
}

impl Shared {
    /// Copies what waits in a segment to the end of the log.
    pub(crate) fn compact(&self, segment: u64) {
        if let Err(error) = self.move_entries(segment) {
            // Its index is made anew, or the log has no room; the next round shows.
            tracing::warn!(segment, %error, "segment is not compacted yet");
            self.rebuild_index(segment);
        }
    }

    fn move_entries(&self, segment: u64) -> std::io::Result<()> {
        let file = self.disk.open(&segment_name(segment))?;
        let offsets = self.offsets(segment, &*file)?;
        let mut batch = Batch::default();
        let mut origins = Origins::default();
        for (offset, entries) in offsets {
            match read_record(&*file, offset, &mut origins) {
                Ok(record) => batch.take(record, segment, &self.lock().state),
                Err(what) => {
                    for (id, from, until) in entries {
                        self.lose(id, from, until, segment, &what);
                    }
                }
            }
            if batch.bytes >= BATCH {
                self.commit_moved(std::mem::take(&mut batch), segment)
                    .map_err(std::io::Error::other)?;
            }
        }
        self.commit_moved(batch, segment)
            .map_err(std::io::Error::other)
    }

    /// The records of a segment that have entries which wait.
    fn offsets(&self, segment: u64, file: &dyn DiskFile) -> std::io::Result<Offsets> {
        let extents: Vec<_> = {
            let inner = self.lock();
            let state = &inner.state;
            let queues = (0..).map(QueueId::from_index).zip(&state.queues);
            queues
                .chain([(QueueId::DEAD_LETTERS, &state.dead)])
                .flat_map(|(id, queue)| queue.extents.iter().map(move |extent| (id, extent)))
                .filter(|(_, extent)| extent.segment == segment)
                .map(|(id, extent)| (id, extent.clone()))
                .collect()
        };
        let mut offsets = Offsets::new();
        for (id, extent) in extents {
            let places: Vec<_> = match &extent.index {
                Index::Open(places) => places.clone(),
                Index::Sealing(places) => places.to_vec(),
                Index::Disk { at, count } => {
                    let mut bytes = vec![0; *count as usize * PLACE];
                    let read = file.read_at(&mut bytes, u64::from(*at))?;
                    index::places(&bytes[..read]).collect()
                }
                Index::Unknown => return Err(std::io::Error::other("its index is not known")),
            };
            for (at, place) in places.iter().enumerate() {
                let until = places.get(at + 1).map_or(extent.last + 1, |next| next.seq);
                if until > extent.first {
                    let entries = offsets.entry(place.offset).or_default();
                    entries.push((id, place.seq.max(extent.first), until));
                }
            }
        }
        Ok(offsets)
    }

    fn commit_moved(&self, mut batch: Batch, segment: u64) -> Result<(), CommitError> {
        let inner = self.lock();
        // What was settled while it was read stays behind.
        batch
            .entries
            .retain(|entry| inner.state.lies_in(entry.queue, entry.seq, segment));
        batch.letters.retain(|(_, letter)| {
            inner
                .state
                .lies_in(QueueId::DEAD_LETTERS, letter.seq, segment)
        });
        if batch.entries.is_empty() && batch.letters.is_empty() {
            return Ok(());
        }
        let (mut inner, at) = self.write(inner, Kind::Moved, |out, _, _| {
            record::put_moved(out, &batch.messages, &batch.entries, &batch.letters);
        })?;
        inner.state.lsn = at.lsn;
        for entry in &batch.entries {
            inner.state.moved(entry.queue, entry.seq, at);
        }
        for (_, letter) in &batch.letters {
            inner.state.moved(QueueId::DEAD_LETTERS, letter.seq, at);
        }
        add(&self.meters.compacted_bytes, batch.bytes);
        Ok(())
    }
}

impl State {
    fn lies_in(&self, id: QueueId, seq: u64, segment: u64) -> bool {
        self.queue(id).is_some_and(|queue| {
            let extent = queue.extent(seq).map(|at| &queue.extents[at]);
            extent.is_some_and(|extent| extent.segment == segment) && queue.is_waiting(seq)
        })
    }
}

impl Batch {
    /// Takes from a record what waits.
    fn take(&mut self, record: Record, segment: u64, state: &State) {
        let mut places: Vec<Option<usize>> = vec![None; record.messages.len()];
        for entry in record.entries {
            if !state.lies_in(entry.queue, entry.seq, segment) {
                continue;
            }
            let message = &record.messages[entry.message];
            let place = *places[entry.message].get_or_insert_with(|| {
                self.bytes += cost(message);
                self.messages.push(message.clone());
                self.messages.len() - 1
            });
            self.entries.push(Entry {
                message: place,
                ..entry
            });
        }
        for letter in record.letters {
            if state.lies_in(QueueId::DEAD_LETTERS, letter.seq, segment) {
                self.bytes += cost(&letter.letter.message);
                self.messages.push(letter.letter.message.clone());
                self.letters.push((self.messages.len() - 1, letter));
            }
        }
    }
}

fn read_record(file: &dyn DiskFile, offset: u32, origins: &mut Origins) -> Result<Record, String> {
    let offset = u64::from(offset);
    let io = |error: std::io::Error| error.to_string();
    let mut bytes = vec![0; FRAME];
    let read = file.read_at(&mut bytes, offset).map_err(io)?;
    if read < FRAME {
        return Err("the segment ends before it".to_owned());
    }
    let len = frame::u32_at(&bytes, 0) as usize;
    let left = file.size().map_err(io)?.saturating_sub(offset);
    if (FRAME + len) as u64 > left {
        return Err("a record that is longer than the file".to_owned());
    }
    bytes.resize(FRAME + len, 0);
    file.read_at(&mut bytes, offset).map_err(io)?;
    match frame::read(&bytes) {
        Ok(Some(_)) => {}
        Ok(None) => return Err("there is no record".to_owned()),
        Err(malformed) => return Err(malformed.what.to_owned()),
    }
    let payload = bytes::Bytes::from(bytes).slice(FRAME..);
    Record::read(&payload, origins).map_err(|malformed| malformed.to_string())
}
