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

use super::disk::DiskFile;
use super::frame::{self, FRAME};
use super::index::{self, PLACE};
use super::message::Origins;
use super::meters::add;
use super::queue::{Extent, Index, Place, Queue};
use super::record::{self, Kind, Record};
use super::scan::{Next, Scan};
use super::{Inner, Shared, segment_name};
use crate::{DeadLetter, Delivery, Progress, QueueId, Seq, Visible};

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

    /// The bytes of a record and perhaps more, from the chunk or from the file.
    fn record(
        &self,
        cursor: &mut Cursor,
        segment: u64,
        offset: u32,
        written: u64,
    ) -> Result<Bytes, Unreadable> {
        let offset = u64::from(offset);
        if let Some(chunk) = &cursor.chunk
            && chunk.segment == segment
            && let Some(record) = chunk.record(offset)
        {
            return Ok(record);
        }
        let mut want = CHUNK;
        loop {
            let left = usize::try_from(written.saturating_sub(offset)).unwrap_or(usize::MAX);
            let bytes = self.bytes(cursor, segment, offset, want.min(left))?;
            let chunk = Chunk {
                segment,
                offset,
                bytes,
            };
            let needed = chunk.needed();
            if needed <= chunk.bytes.len() {
                let record = chunk.bytes.clone();
                cursor.chunk = Some(chunk);
                return Ok(record);
            }
            if needed > left || needed <= want {
                return Err(Unreadable::Bad(
                    "the record is longer than the segment".to_owned(),
                ));
            }
            want = needed;
        }
    }

    fn bytes(
        &self,
        cursor: &mut Cursor,
        segment: u64,
        offset: u64,
        len: usize,
    ) -> Result<Bytes, Unreadable> {
        let file = match &cursor.file {
            Some((open, file)) if *open == segment => file.clone(),
            _ => {
                let name = segment_name(segment);
                let opened = self.disk.open(&name);
                let file = opened.map_err(|error| Unreadable::of("open it", &error))?;
                cursor.file = Some((segment, file.clone()));
                file
            }
        };
        let mut bytes = vec![0; len];
        let read = file
            .read_at(&mut bytes, offset)
            .map_err(|error| Unreadable::of("read it", &error))?;
        bytes.truncate(read);
        Ok(bytes.into())
    }

    /// The place of an entry in the index of its segment, and the number after the place's entries.
    fn place(
        &self,
        cursor: &mut Cursor,
        fetch: &Fetch,
        at: u32,
        count: u32,
    ) -> Result<(Place, u64), Trouble> {
        let bad = |trouble: Unreadable| trouble.into_index();
        if let Some(page) = &cursor.page
            && (page.segment, page.at) == (fetch.segment, at)
            && let Some(found) = page.find(fetch.from)
        {
            return Ok(found);
        }
        let places = |cursor: &mut Cursor, from: u32, n: u32| {
            let offset = u64::from(at) + u64::from(from) * PLACE as u64;
            let bytes = self.bytes(cursor, fetch.segment, offset, n as usize * PLACE)?;
            Ok(index::places(&bytes).collect::<Vec<_>>())
        };
        // The last place that begins at or before the number.
        let (mut low, mut high) = (0, count);
        while high - low > PAGE {
            let middle = low + (high - low) / 2;
            let found = places(cursor, middle, 1).map_err(bad)?;
            match found.first() {
                Some(place) if place.seq <= fetch.from => low = middle,
                _ => high = middle,
            }
        }
        let mut found = places(cursor, low, (high - low + 1).min(count - low)).map_err(bad)?;
        let sorted = found.windows(2).all(|two| two[0].seq < two[1].seq);
        if !sorted || found.is_empty() {
            return Err(Trouble::Index("its numbers are not in order".to_owned()));
        }
        let until = match low as usize + found.len() < count as usize {
            true => found.pop().map_or(fetch.end, |beyond| beyond.seq),
            false => fetch.end,
        };
        let page = cursor.page.insert(Page {
            segment: fetch.segment,
            at,
            places: found,
            until,
        });
        page.find(fetch.from)
            .ok_or_else(|| Trouble::Index("it does not have the entry".to_owned()))
    }

    /// Entries that cannot be read leave their queue, counted and named.
    pub(crate) fn lose(&self, id: QueueId, from: u64, until: u64, segment: u64, what: &str) {
        let mut inner = self.lock();
        let mut lost = Vec::new();
        for seq in from..until {
            if inner.state.settle(id, seq) {
                lost.push(Progress::Settled {
                    queue: id,
                    seq: Seq(seq),
                });
            }
        }
        add(&self.meters.damaged, lost.len() as u64);
        tracing::error!(
            segment = segment_name(segment),
            queue = id.index(),
            first = from,
            entries = lost.len(),
            what,
            "entries are lost to damage"
        );
        let written = self.write(inner, Kind::Commit, |out, _, _| {
            record::put_progress(out, &lost);
        });
        if let Ok((mut inner, at)) = written {
            inner.state.lsn = at.lsn;
            self.after_change(&inner);
        }
    }

    /// Finds the places of a segment's entries again by reading all of it.
    pub(crate) fn rebuild_index(&self, segment: u64) {
        let limit = match self.lock().state.segments.get(&segment) {
            Some(known) => known.end,
            None => return,
        };
        let scan = self
            .disk
            .open(&segment_name(segment))
            .and_then(|file| Scan::open(&*file, Some(limit), self.seed));
        let mut scan = match scan {
            Ok(scan) => scan,
            Err(error) => {
                tracing::error!(segment, %error, "segment cannot be read");
                return;
            }
        };
        let mut origins = Origins::default();
        let mut places: Vec<(QueueId, Place)> = Vec::new();
        loop {
            let found = match scan.next() {
                Next::Record(found) => found,
                Next::End => break,
                Next::Bad { .. } => match scan.skip_to_record(0) {
                    Some(found) => found,
                    None => break,
                },
            };
            let Some((Kind::Commit | Kind::Moved, _)) = found.kind() else {
                continue;
            };
            let Ok(record) = Record::read(&found.payload, &mut origins) else {
                continue;
            };
            let Ok(offset) = u32::try_from(found.offset) else {
                break;
            };
            let letters = record
                .letters
                .iter()
                .map(|l| (QueueId::DEAD_LETTERS, l.seq));
            let entries = record.entries.iter().map(|entry| (entry.queue, entry.seq));
            places.extend(
                entries
                    .chain(letters)
                    .map(|(id, seq)| (id, Place { seq, offset })),
            );
        }
        places.sort_by_key(|(id, place)| (*id, place.seq));
        let mut inner = self.lock();
        inner.replace_places(segment, &places);
    }
}

impl Inner {
    /// Gives extents of a segment their places anew, unless they are in memory.
    pub(crate) fn replace_places(&mut self, segment: u64, places: &[(QueueId, Place)]) {
        let queues = (0..).map(QueueId::from_index).zip(&mut self.state.queues);
        let dead = std::iter::once((QueueId::DEAD_LETTERS, &mut self.state.dead));
        for (id, queue) in queues.chain(dead) {
            for extent in queue.extents.iter_mut().filter(|e| e.segment == segment) {
                if matches!(extent.index, Index::Open(_) | Index::Sealing(_)) {
                    continue;
                }
                let start = places.partition_point(|(of, p)| (*of, p.seq) < (id, extent.first));
                let mut own: Vec<Place> = Vec::new();
                for (of, place) in &places[start..] {
                    if *of != id || place.seq > extent.last {
                        break;
                    }
                    if own.last().is_none_or(|last| last.offset != place.offset) {
                        own.push(*place);
                    }
                }
                extent.index = Index::Sealing(Arc::new(own));
            }
        }
    }
}

/// Why bytes of a segment cannot be had.
enum Unreadable {
    Bad(String),
    Gone,
    Io(String),
}

impl Unreadable {
    /// A device that cannot read a place has lost what was there; anything else may pass.
    fn of(doing: &str, error: &std::io::Error) -> Self {
        let what = format!("cannot {doing}: {error}");
        match error.kind() {
            std::io::ErrorKind::NotFound => Self::Gone,
            _ if is_lost(error) => Self::Bad(what),
            _ => Self::Io(what),
        }
    }
}

/// Whether the device says that it cannot read what was written (`EIO`).
pub(crate) fn is_lost(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

impl Unreadable {
    fn into_record(self, until: u64) -> Trouble {
        match self {
            Self::Bad(what) => Trouble::Record { until, what },
            Self::Gone => Trouble::Gone,
            Self::Io(what) => Trouble::Io(what),
        }
    }

    fn into_index(self) -> Trouble {
        match self {
            Self::Bad(what) => Trouble::Index(what),
            Self::Gone => Trouble::Gone,
            Self::Io(what) => Trouble::Io(what),
        }
    }
}

impl Chunk {
    /// The bytes from a record on, if all of it is here.
    fn record(&self, offset: u64) -> Option<Bytes> {
        let start = usize::try_from(offset.checked_sub(self.offset)?).ok()?;
        let rest = self.bytes.get(start..)?;
        let len = frame::u32_at(rest.get(..4)?, 0) as usize;
        (FRAME + len <= rest.len()).then(|| self.bytes.slice(start..))
    }

    /// Bytes that the record at its start has.
    fn needed(&self) -> usize {
        match self.bytes.get(..4) {
            Some(len) => FRAME.saturating_add(frame::u32_at(len, 0) as usize),
            None => FRAME,
        }
    }
}

impl Page {
    fn find(&self, seq: u64) -> Option<(Place, u64)> {
        if seq >= self.until {
            return None;
        }
        let after = self.places.partition_point(|place| place.seq <= seq);
        let place = self.places.get(after.checked_sub(1)?)?;
        let until = self.places.get(after).map_or(self.until, |next| next.seq);
        Some((*place, until))
    }
}

enum Step {
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
    fn serve_from_window(&mut self, inner: &mut Inner) -> bool {
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
    fn step(&mut self, inner: &mut Inner, cursor: &mut Cursor) -> Step {
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
