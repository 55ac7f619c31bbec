//! Reading entries: from the window in memory, and else from the segments.
//!
//! ```text
//!   from ─► in the window? ──────────────────────────────► hand out
//!      └──► ahead of the cursor? ────────────────────────► hand out
//!      └──► extent ─► place ─► record (in memory until it is written, then in the file) ─► ahead
//! ```
//! A record is read once for all of its entries of a queue, and files in chunks: a backlog is drained at
//! the speed of the file. Cursors are few and go to those who read; without one a reader begins anew.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use edge_core::{Message, Timestamp};

mod files;
mod step;

pub(crate) use files::is_lost;
use step::Step;

use super::Shared;
use super::disk::DiskFile;
use super::frame::{self, FRAME};
use super::message::Origins;
use super::queue::{Place, Queue};
use super::record::{Kind, Record};
use crate::{DeadLetter, Delivery, QueueId, Seq, Visible};

/// Bytes read from a file at once.
const CHUNK: usize = 256 << 10;
/// Places read from an index at once.
const PAGE: u32 = 1_024;
/// Queues that are read from files at the same time without beginning anew.
const CURSORS: usize = 16;

/// Where readers are in the files.
#[derive(Default)]
pub(crate) struct Cursors(Mutex<VecDeque<(QueueId, Arc<Mutex<Cursor>>)>>);

#[derive(Default)]
pub(crate) struct Cursor {
    /// Entries of `from..until` that were read and not handed out.
    ahead: VecDeque<Ahead>,
    from: u64,
    until: u64,
    chunk: Option<Chunk>,
    page: Option<Page>,
    file: Option<(u64, Arc<dyn DiskFile>)>,
    origins: Origins,
}

/// An entry that was read.
struct Ahead {
    seq: u64,
    lsn: u64,
    what: What,
}

enum What {
    Message(Message, Option<Timestamp>),
    Letter(Box<DeadLetter>),
}

/// Part of a segment.
struct Chunk {
    segment: u64,
    offset: u64,
    bytes: Bytes,
}

/// Part of an extent's places.
struct Page {
    segment: u64,
    /// Where the extent's places begin in the file.
    at: u32,
    places: Vec<Place>,
    /// The number after the last place's entries.
    until: u64,
}

impl Cursors {
    fn of(&self, queue: QueueId) -> Arc<Mutex<Cursor>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.iter().position(|(id, _)| *id == queue);
        let entry = known
            .and_then(|at| all.remove(at))
            .unwrap_or_else(|| (queue, Arc::default()));
        let cursor = entry.1.clone();
        if all.len() >= CURSORS {
            all.pop_front();
        }
        all.push_back(entry);
        cursor
    }

    /// A reader that keeps up needs none.
    fn forget(&self, queue: QueueId) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(id, _)| *id != queue);
    }
}

impl Cursor {
    /// What was read is not to be relied on.
    fn forget(&mut self) {
        self.ahead.clear();
        self.until = self.from;
        self.page = None;
    }
}

/// What is to be read from where.
struct Fetch {
    from: u64,
    segment: u64,
    /// One past the last number of the extent.
    end: u64,
    /// Bytes of the segment that are in the file.
    written: u64,
    source: Source,
}

enum Source {
    /// A record that is not in the file yet.
    Memory { record: Bytes, until: u64 },
    /// A record of the file.
    File { offset: u32, until: u64 },
    /// A record whose place is in the segment's index.
    Index { at: u32, count: u32 },
    /// The segment's index is not known.
    Unknown,
}

/// Why a record cannot be read.
enum Trouble {
    /// The index leads to no record.
    Index(String),
    /// The record is bad; entries up to this number are lost with it.
    Record { until: u64, what: String },
    /// The segment went away meanwhile.
    Gone,
    /// The system cannot read it now, and says nothing of what is there.
    Io(String),
}

/// One call of a reader.
struct Reading<'a> {
    id: QueueId,
    from: u64,
    left: usize,
    /// Commits after this one are not to be seen.
    limit: u64,
    out: &'a mut dyn FnMut(&Queue, u64, What),
}

impl Shared {
    pub(crate) fn read(
        &self,
        id: QueueId,
        from: Seq,
        max: usize,
        visible: Visible,
        out: &mut Vec<Delivery>,
    ) {
        let mut deliver = |queue: &Queue, seq: u64, what: What| {
            let What::Message(message, expiry) = what else {
                return;
            };
            let (attempts, failures) = match queue.attempts.is_empty() {
                true => (0, 0),
                false => queue.attempts.get(&seq).copied().unwrap_or_default(),
            };
            out.push(Delivery {
                queue: id,
                seq: Seq(seq),
                message,
                expiry,
                attempts,
                failures,
            });
        };
        self.read_entries(Reading {
            id,
            from: from.0,
            left: max,
            limit: match visible {
                Visible::Committed => u64::MAX,
                Visible::Durable => self.durability.lsn(),
            },
            out: &mut deliver,
        });
    }

    pub(crate) fn dead_letters(&self, from: Seq, max: usize) -> Vec<(Seq, DeadLetter)> {
        let mut letters = Vec::new();
        self.read_entries(Reading {
            id: QueueId::DEAD_LETTERS,
            from: from.0,
            left: max,
            limit: u64::MAX,
            out: &mut |_, seq, what| {
                if let What::Letter(letter) = what {
                    letters.push((Seq(seq), *letter));
                }
            },
        });
        letters
    }

    fn read_entries(&self, mut reading: Reading<'_>) {
        if reading.serve_from_window(&mut self.lock()) {
            return;
        }
        let cursor = self.cursors.of(reading.id);
        let mut cursor = cursor.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rebuilt = None;
        loop {
            let step = reading.step(&mut self.lock(), &mut cursor);
            let fetch = match step {
                Step::Done { at_end } => {
                    if at_end {
                        self.cursors.forget(reading.id);
                    }
                    return;
                }
                Step::Fetch(fetch) => fetch,
                Step::Missing { segment, .. } if rebuilt != Some(segment) => {
                    // The index may have led elsewhere.
                    rebuilt = Some(segment);
                    self.rebuild_index(segment);
                    cursor.forget();
                    continue;
                }
                Step::Missing {
                    from,
                    until,
                    segment,
                } => {
                    let what = "the record that had it is gone";
                    self.lose(reading.id, from, until, segment, what);
                    continue;
                }
            };
            let (from, segment) = (fetch.from, fetch.segment);
            match self.fetch(&mut cursor, reading.id, fetch) {
                Ok(()) => {}
                Err(Trouble::Index(what)) if rebuilt != Some(segment) => {
                    tracing::warn!(segment, what, "index of a segment is made anew");
                    rebuilt = Some(segment);
                    self.rebuild_index(segment);
                    cursor.forget();
                }
                Err(Trouble::Index(what)) => {
                    self.lose(reading.id, from, from + 1, segment, &what);
                    reading.from = from + 1;
                }
                Err(Trouble::Record { until, what }) => {
                    self.lose(reading.id, from, until, segment, &what);
                    reading.from = until;
                }
                // Its entries have moved, or were settled; if neither, they are lost.
                Err(Trouble::Gone) if rebuilt == Some(segment) => {
                    self.lose(reading.id, from, from + 1, segment, "the segment is gone");
                    reading.from = from + 1;
                }
                Err(Trouble::Gone) => rebuilt = Some(segment),
                Err(Trouble::Io(what)) => {
                    tracing::error!(segment, what, "entries cannot be read now");
                    return;
                }
            }
        }
    }

    /// Reads a record, and with it the entries of a queue that are in it.
    fn fetch(&self, cursor: &mut Cursor, id: QueueId, fetch: Fetch) -> Result<(), Trouble> {
        cursor.ahead.clear();
        let (record, until) = match fetch.source {
            Source::Memory { record, until } => (record, until),
            Source::File { offset, until } => {
                let record = self
                    .record(cursor, fetch.segment, offset, fetch.written)
                    .map_err(|trouble| trouble.into_record(until))?;
                (record, until)
            }
            Source::Index { at, count } => {
                let (place, until) = self.place(cursor, &fetch, at, count)?;
                let record = self
                    .record(cursor, fetch.segment, place.offset, fetch.written)
                    .map_err(|trouble| trouble.into_index())?;
                (record, until)
            }
            Source::Unknown => return Err(Trouble::Index("it is not known".to_owned())),
        };
        let bad = |what: &str| Trouble::Record {
            until,
            what: what.to_owned(),
        };
        let frame = match frame::read(&record, self.seed) {
            Ok(Some(frame)) => frame,
            Ok(None) => return Err(bad("there is no record")),
            Err(malformed) => return Err(bad(malformed.what)),
        };
        let payload = record.slice(FRAME..frame.len);
        // What was copied forward had been durable in its old place.
        let lsn = match Kind::of(&payload) {
            Ok((Kind::Moved, _)) => 0,
            _ => frame.lsn,
        };
        let record = Record::read(&payload, &mut cursor.origins)
            .map_err(|malformed| bad(&malformed.to_string()))?;
        if id == QueueId::DEAD_LETTERS {
            cursor
                .ahead
                .extend(record.letters.into_iter().map(|letter| Ahead {
                    seq: letter.seq,
                    lsn,
                    what: What::Letter(Box::new(letter.letter)),
                }));
        } else {
            let mine = record.entries.iter().filter(|entry| entry.queue == id);
            cursor.ahead.extend(mine.map(|entry| Ahead {
                seq: entry.seq,
                lsn,
                what: What::Message(record.messages[entry.message].clone(), entry.expiry),
            }));
        }
        if cursor.ahead.is_empty() {
            let what = "the record has nothing of the queue".to_owned();
            return Err(Trouble::Index(what));
        }
        cursor.from = fetch.from;
        cursor.until = until.min(fetch.end).max(fetch.from + 1);
        // A record of entries that were moved may have them in another order, and those of two extents.
        let covered = cursor.from..cursor.until;
        cursor.ahead.retain(|ahead| covered.contains(&ahead.seq));
        let ahead = cursor.ahead.make_contiguous();
        if !ahead.is_sorted_by_key(|ahead| ahead.seq) {
            ahead.sort_unstable_by_key(|ahead| ahead.seq);
        }
        Ok(())
    }
}
