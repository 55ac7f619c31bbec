//! Appending records: admission, encoding, and going over to a new segment.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};

use edge_core::{EndpointId, Priority};

use super::frame::{self, Header};
use super::meters::add;
use super::queue::Index;
use super::record::{self, Encoder, Kind};
use super::state::{At, State};
use super::upkeep::Spare;
use super::writer::CLOSES_AT;
use super::{Inner, Piece, Seal, SealedExtent, Shared, Stop, WhenFull};
use crate::log::cost;
use crate::{Commit, CommitError, Lsn, Progress, QueueId, Seq};

/// Bytes that may wait for the writer; whoever commits beyond it waits for the device.
const MAX_PENDING: u64 = 8 << 20;
/// Entries of one queue that give way before the next queue is chosen.
const DROP_RUN: usize = 4;
/// Buffers larger than this are not kept.
const MAX_RECYCLED: usize = 4 << 20;

type Guard<'a> = MutexGuard<'a, Inner>;

impl Shared {
    pub(crate) fn queue(&self, endpoint: &EndpointId, priority: Priority) -> QueueId {
        let mut inner = self.lock();
        if let Some(id) = inner.state.find(endpoint, priority) {
            return id;
        }
        let id = inner.state.define(endpoint.clone(), priority);
        // The next record names it, whichever that is: no entry of it comes before.
        inner.undefined.push(id);
        id
    }

    pub(crate) fn commit(&self, commit: &mut Commit) -> Result<Lsn, CommitError> {
        let mut inner = self.lock();
        if !commit.targets.is_empty() {
            inner = self.admit(inner, commit)?;
        }
        while inner.pending > MAX_PENDING && inner.failed.is_none() {
            inner = self.wait(&self.changed, inner);
        }
        let (mut inner, at) = self.write(inner, Kind::Commit, |out, state, encoder| {
            let next = |id| state.queue(id).map_or(1, |queue| queue.next);
            encoder.put(out, commit, next, state.dead.next);
        })?;
        self.count(commit);
        let letters = !commit.dead.is_empty();
        let inner_mut = &mut *inner;
        inner_mut.state.commit(commit, &mut inner_mut.encoder, at);
        if letters {
            inner = self.drop_letters(inner);
        }
        self.after_change(&inner);
        Ok(Lsn(at.lsn))
    }

    fn count(&self, commit: &Commit) {
        add(&self.meters.commits, 1);
        if !commit.targets.is_empty() {
            let payload = commit.messages.iter().map(|m| m.content.size() as u64);
            add(&self.meters.messages, commit.messages.len() as u64);
            add(&self.meters.payload_bytes, payload.sum());
        }
    }

    /// After entries came or went: what others look at, and what there may be to do.
    pub(crate) fn after_change(&self, inner: &Inner) {
        self.publish(inner);
        if self.has_upkeep(inner) {
            self.to_keep_up.notify_one();
        }
    }

    /// Makes room for the messages of a commit, or refuses them.
    fn admit<'a>(
        &'a self,
        mut inner: Guard<'a>,
        commit: &Commit,
    ) -> Result<Guard<'a>, CommitError> {
        let new: u64 = commit
            .targets
            .iter()
            .map(|target| cost(&commit.messages[target.message.0]))
            .sum();
        let limit = self.limit();
        let full = |inner: &Inner| CommitError::Full {
            used: inner.state.used,
            limit,
        };
        // The second half of a segment is for progress while there is no next one.
        let half = self.config.segment_size.0 / 2;
        while matches!(inner.spare, Spare::Wanted)
            && inner.active.end > half
            && inner.failed.is_none()
        {
            self.to_keep_up.notify_one();
            inner = self.wait(&self.changed, inner);
        }
        if inner.tight || matches!(inner.spare, Spare::Failed(_)) {
            if self.config.when_full != WhenFull::Reject && !inner.dropped_for_room {
                // Enough for upkeep to free a segment; nothing more until it has tried.
                inner.dropped_for_room = true;
                let goal = inner
                    .state
                    .used
                    .saturating_sub(self.config.segment_size.0 * 2);
                inner = self.drop_entries(inner, goal)?;
                inner.snapshot_due = true;
                self.after_change(&inner);
            }
            return Err(full(&inner));
        }
        if inner.state.used.saturating_add(new) <= limit {
            return Ok(inner);
        }
        if self.config.when_full == WhenFull::Reject || new > limit {
            return Err(full(&inner));
        }
        self.drop_entries(inner, limit - new)
    }

    /// Drops entries, as the policy says, until what waits takes at most `goal` bytes.
    fn drop_entries<'a>(&'a self, inner: Guard<'a>, goal: u64) -> Result<Guard<'a>, CommitError> {
        let mut inner = inner;
        let before = inner.state.waiting;
        let mut dropped = Vec::new();
        while inner.state.used > goal {
            let Some(queue) = self.victim(&inner.state) else {
                break;
            };
            // Several at once: choosing a queue looks at all of them.
            for _ in 0..DROP_RUN {
                let Some(seq) = inner.state.first_waiting(queue) else {
                    break;
                };
                inner.state.settle(queue, seq);
                dropped.push(Progress::Settled {
                    queue,
                    seq: Seq(seq),
                });
                if inner.state.used <= goal {
                    break;
                }
            }
        }
        if dropped.is_empty() {
            return Ok(inner);
        }
        add(
            &self.meters.dropped_over_quota,
            before - inner.state.waiting,
        );
        let (mut inner, at) = self.write(inner, Kind::Commit, |out, _, _| {
            record::put_progress(out, &dropped);
        })?;
        inner.state.lsn = at.lsn;
        Ok(inner)
    }

    /// The queue whose oldest entry gives way.
    fn victim(&self, state: &State) -> Option<QueueId> {
        let heads = (0..).zip(&state.queues).filter_map(|(index, queue)| {
            let since = queue.oldest()?;
            Some((QueueId::from_index(index), queue.priority, since))
        });
        let (queue, ..) = match self.config.when_full {
            WhenFull::DropLowestPriority => {
                heads.min_by_key(|(_, priority, since)| (std::cmp::Reverse(*priority), *since))
            }
            WhenFull::DropOldest | WhenFull::Reject => heads.min_by_key(|(.., since)| *since),
        }?;
        Some(queue)
    }

    /// The oldest dead letters give way to newer ones.
    fn drop_letters<'a>(&'a self, mut inner: Guard<'a>) -> Guard<'a> {
        let mut dropped = Vec::new();
        while let Some(seq) = inner.state.letter_to_drop() {
            inner.state.settle(QueueId::DEAD_LETTERS, seq);
            dropped.push(Progress::Settled {
                queue: QueueId::DEAD_LETTERS,
                seq: Seq(seq),
            });
        }
        if dropped.is_empty() {
            return inner;
        }
        add(&self.meters.dead_letters_dropped, dropped.len() as u64);
        let written = self.write(inner, Kind::Commit, |out, _, _| {
            record::put_progress(out, &dropped);
        });
        match written {
            Ok((mut inner, at)) => {
                inner.state.lsn = at.lsn;
                inner
            }
            // It is dropped in memory; after a crash it is dropped again with the next letter.
            Err(_) => self.lock(),
        }
    }

    /// Appends a record. `put` writes its sections and may be called again; it must change nothing. The
    /// caller does what the record says before it gives the lock back.
    ///
    /// # Errors
    /// Nothing was appended.
    pub(crate) fn write<'a>(
        &'a self,
        mut inner: Guard<'a>,
        kind: Kind,
        mut put: impl FnMut(&mut Vec<u8>, &State, &mut Encoder),
    ) -> Result<(Guard<'a>, At), CommitError> {
        loop {
            if let Some(why) = &inner.failed {
                return Err(CommitError::Failed(why.to_string()));
            }
            if inner.stop != Stop::No && kind != Kind::Closed {
                return Err(CommitError::Failed("it is closed".to_owned()));
            }
            let this = &mut *inner;
            let lsn = this.state.lsn + 1;
            let start = frame::begin(&mut this.buffer);
            record::put_kind(&mut this.buffer, kind, lsn - self.durability.lsn());
            let names = matches!(kind, Kind::Commit | Kind::Moved);
            for id in this.undefined.iter().filter(|_| names) {
                if let Some(queue) = this.state.queue(*id) {
                    record::put_queue(&mut this.buffer, *id, &queue.endpoint, queue.priority);
                }
            }
            put(&mut this.buffer, &this.state, &mut this.encoder);
            if frame::finish(&mut this.buffer, start, lsn, self.seed).is_err() {
                this.buffer.truncate(start);
                return Err(CommitError::Failed("a commit of over 4 GiB".to_owned()));
            }
            let len = (this.buffer.len() - start) as u64;
            let mut start = start as u64;
            let fits = this.active.end + len <= self.config.segment_size.0;
            if !fits && this.active.end > u64::from(frame::HEADER) {
                if !matches!(this.spare, Spare::Ready { .. }) {
                    this.buffer
                        .truncate(usize::try_from(start).unwrap_or(usize::MAX));
                    if let Spare::Failed(_) = this.spare {
                        if this.urgent {
                            // Not even the reserve has room.
                            return Err(CommitError::Full {
                                used: this.state.used,
                                limit: this.state.used,
                            });
                        }
                        // Messages are refused before they come here: this is what makes room.
                        this.urgent = true;
                        this.spare = Spare::Wanted;
                    }
                    if self.upkeep_thread.get() == Some(&std::thread::current().id()) {
                        // Nobody else would make it.
                        drop(inner);
                        self.make_spare();
                        inner = self.lock();
                        continue;
                    }
                    self.to_keep_up.notify_one();
                    inner = self.wait(&self.changed, inner);
                    continue;
                }
                start = this.roll(usize::try_from(start).unwrap_or(usize::MAX), lsn, &self.id);
                self.to_keep_up.notify_one();
            }
            let at = At {
                lsn,
                segment: this.active.number,
                // Below the largest segment size, or the first of its segment.
                offset: u32::try_from(this.buffer_at + start).unwrap_or(u32::MAX),
            };
            if names {
                this.undefined.clear();
            }
            this.active.end += len;
            this.pending += len;
            if let Some(segment) = this.state.segments.get_mut(&at.segment) {
                segment.end = this.active.end;
                segment.last_lsn = lsn;
            }
            // Else it looks by itself, or waits for more.
            let closes = this.pending >= CLOSES_AT && self.gathering.load(Ordering::Relaxed);
            if self.writer_waits.swap(false, Ordering::Relaxed) || closes {
                self.to_write.notify_one();
            }
            return Ok((inner, at));
        }
    }
}

impl Inner {
    /// Goes over to the spare segment. The record at `start` of the buffer, `lsn`, becomes the first of
    /// it; says where it is then.
    fn roll(&mut self, start: usize, lsn: u64, log: &frame::LogId) -> u64 {
        let Spare::Ready { number, file } = std::mem::replace(&mut self.spare, Spare::Wanted)
        else {
            unreachable!("whoever rolls has looked");
        };
        let record = self.buffer.split_off(start);
        let filled = self.active.end;
        let seal = Arc::new(self.seal());
        if let Some(segment) = self.state.segments.get_mut(&self.active.number) {
            segment.sealed = true;
        }
        self.cut_piece(Some(seal));
        let header = Header {
            log: *log,
            number,
            first_lsn: lsn,
        };
        self.buffer.extend_from_slice(&header.write());
        self.buffer.extend_from_slice(&record);
        self.buffer_at = 0;
        self.pending += u64::from(frame::HEADER);
        self.active.number = number;
        self.active.file = file;
        self.active.end = frame::HEADER.into();
        let segment = self.state.segments.entry(number).or_default();
        segment.end = self.active.end;
        // Often enough to free room, and not so often that snapshots are most of what is written.
        self.since_snapshot += filled;
        self.snapshot_due |= self.since_snapshot >= self.last_snapshot.saturating_mul(4);
        frame::HEADER.into()
    }

    /// Moves the buffer among the pieces.
    pub(crate) fn cut_piece(&mut self, seal: Option<Arc<Seal>>) {
        let next = self.recycled.pop().unwrap_or_default();
        let bytes = std::mem::replace(&mut self.buffer, next);
        let offset = self.buffer_at;
        self.buffer_at += bytes.len() as u64;
        self.pieces.push_back(Piece {
            segment: self.active.number,
            file: self.active.file.clone(),
            offset,
            bytes: Arc::new(bytes),
            lsn: self.state.lsn,
            seal,
        });
    }

    /// Gives back the room of a piece that is written.
    pub(crate) fn recycle(&mut self, bytes: Arc<Vec<u8>>) {
        if let Ok(mut bytes) = Arc::try_unwrap(bytes)
            && bytes.capacity() <= MAX_RECYCLED
            && self.recycled.len() < 2
        {
            bytes.clear();
            self.recycled.push(bytes);
        }
    }

    /// Takes the places of the active segment's extents, to be written behind it.
    fn seal(&mut self) -> Seal {
        let number = self.active.number;
        let mut extents = Vec::new();
        let queues = (0..).map(QueueId::from_index).zip(&mut self.state.queues);
        let dead = std::iter::once((QueueId::DEAD_LETTERS, &mut self.state.dead));
        for (id, queue) in queues.chain(dead) {
            for extent in &mut queue.extents {
                if extent.segment != number {
                    continue;
                }
                if let Index::Open(places) = &mut extent.index {
                    let places = Arc::new(std::mem::take(places));
                    extent.index = Index::Sealing(places.clone());
                    extents.push(SealedExtent {
                        queue: id,
                        first: extent.first,
                        last: extent.last,
                        places,
                    });
                }
            }
        }
        Seal { extents }
    }
}
