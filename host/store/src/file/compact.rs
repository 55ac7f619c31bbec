//! Moving the few entries that pin a segment, so that it can be dropped.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::disk::DiskFile;
use super::frame::{self, FRAME};
use super::index::{self, PLACE};
use super::message::Origins;
use super::meters::add;
use super::queue::Index;
use super::read::is_lost;
use super::record::{self, Entry, Kind, Letter, Record};
use super::state::State;
use super::upkeep::Spare;
use super::{Inner, Shared, segment_name};
use crate::log::cost;
use crate::{CommitError, QueueId};

/// Full segments below which nothing is moved: their room is needed soon anyway.
const FEW: usize = 4;
/// Wait before a segment that could not be emptied is tried again.
const AGAIN: Duration = Duration::from_secs(30);
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
        let later = self.compact_after.is_some_and(|at| Instant::now() < at);
        if later || self.tight || !matches!(self.spare, Spare::Ready { .. }) {
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
        let moved = self.move_entries(segment);
        if let Err(error) = &moved {
            tracing::warn!(segment, %error, "segment is not compacted yet");
            self.rebuild_index(segment);
        }
        let mut inner = self.lock();
        let left = inner.state.segments.get(&segment).map_or(0, |s| s.live);
        if moved.is_err() || left > 0 {
            inner.compact_after = Some(Instant::now() + AGAIN);
        }
    }

    fn move_entries(&self, segment: u64) -> std::io::Result<()> {
        let file = self.disk.open(&segment_name(segment))?;
        let offsets = self.offsets(segment, &*file)?;
        let mut batch = Batch::default();
        let mut origins = Origins::default();
        for (offset, entries) in offsets {
            match self.read_record(&*file, offset, &mut origins)? {
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

impl Shared {
    /// A record, or what is wrong with it.
    fn read_record(
        &self,
        file: &dyn DiskFile,
        offset: u32,
        origins: &mut Origins,
    ) -> std::io::Result<Result<Record, String>> {
        let bytes = match read_frame(file, offset.into()) {
            Err(error) if is_lost(&error) => return Ok(Err(error.to_string())),
            bytes => bytes?,
        };
        let payload = match frame::read(&bytes, self.seed) {
            Ok(Some(frame)) => Bytes::from(bytes).slice(FRAME..frame.len),
            Ok(None) => return Ok(Err("there is no record".to_owned())),
            Err(malformed) => return Ok(Err(malformed.what.to_owned())),
        };
        Ok(Record::read(&payload, origins).map_err(|malformed| malformed.to_string()))
    }
}

/// The bytes of a record, as far as the file has them.
fn read_frame(file: &dyn DiskFile, offset: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; FRAME];
    let read = file.read_at(&mut bytes, offset)?;
    if read == FRAME {
        let left = file.size()?.saturating_sub(offset);
        let len = (FRAME + frame::u32_at(&bytes, 0) as usize) as u64;
        bytes.resize(usize::try_from(len.min(left)).unwrap_or(FRAME), 0);
        file.read_at(&mut bytes, offset)?;
    }
    Ok(bytes)
}
