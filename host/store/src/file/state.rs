//! All that memory holds of a log: queues, segments, keys. Changed by commits as they are made, and by
//! records as they are read again.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use edge_core::{EndpointId, Message, ModuleId, Priority, limits};

use super::overlay::Overlay;
use super::queue::{Added, Freed, Index, Place, Queue};
use super::record::{Encoder, Kind, Record};
use super::snapshot::Snapshot;
use crate::log::cost;
use crate::{Commit, Progress, Put, QueueId, Table};

/// A file of records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Bytes of header and records.
    pub(crate) end: u64,
    pub(crate) last_lsn: u64,
    /// Entries of queues that wait.
    pub(crate) live: u64,
    /// What they cost.
    pub(crate) live_bytes: u64,
    /// Nothing more is written to it.
    pub(crate) sealed: bool,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) queues: Vec<Queue>,
    names: HashMap<(EndpointId, Priority), QueueId>,
    pub(crate) dead: Queue,
    pub(crate) segments: BTreeMap<u64, Segment>,
    pub(crate) overlay: Overlay,
    /// Modules that have keys of their own: what is lost if the tables are.
    pub(crate) keepers: BTreeSet<Bytes>,
    /// Of the newest commit.
    pub(crate) lsn: u64,
    /// Entries that wait, and what they cost.
    pub(crate) waiting: u64,
    pub(crate) used: u64,
    /// What the windows of all queues hold.
    pub(crate) cached: u64,
    pub(crate) cache_limit: u64,
    /// A full segment has nothing left that waits; upkeep looks, and takes the flag down.
    pub(crate) freed: bool,
    /// Entries whose records are lost.
    pub(crate) gaps: u64,
}

/// A reader that did not come for this many commits has no use for a window.
const AWAY: u64 = 1_000;

/// Where a record is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At {
    pub(crate) lsn: u64,
    pub(crate) segment: u64,
    pub(crate) offset: u32,
}

impl State {
    pub(crate) fn new(cache_limit: u64) -> Self {
        Self {
            queues: Vec::new(),
            names: HashMap::new(),
            dead: Queue::new(EndpointId::Upstream, Priority::DEFAULT),
            segments: BTreeMap::new(),
            overlay: Overlay::default(),
            keepers: BTreeSet::new(),
            lsn: 0,
            waiting: 0,
            used: 0,
            cached: 0,
            cache_limit,
            freed: false,
            gaps: 0,
        }
    }

    pub(crate) fn find(&self, endpoint: &EndpointId, priority: Priority) -> Option<QueueId> {
        self.names.get(&(endpoint.clone(), priority)).copied()
    }

    /// Adds a queue under the next number, or the number that it had.
    pub(crate) fn define(&mut self, endpoint: EndpointId, priority: Priority) -> QueueId {
        let index = u32::try_from(self.queues.len()).unwrap_or(u32::MAX - 1);
        let id = QueueId::from_index(index);
        self.names.insert((endpoint.clone(), priority), id);
        self.queues.push(Queue::new(endpoint, priority));
        id
    }

    pub(crate) fn queue(&self, id: QueueId) -> Option<&Queue> {
        match id {
            QueueId::DEAD_LETTERS => Some(&self.dead),
            id => self.queues.get(id.index()),
        }
    }

    pub(crate) fn queue_mut(&mut self, id: QueueId) -> Option<&mut Queue> {
        match id {
            QueueId::DEAD_LETTERS => Some(&mut self.dead),
            id => self.queues.get_mut(id.index()),
        }
    }

    /// Settles an entry; says whether it waited.
    pub(crate) fn settle(&mut self, id: QueueId, seq: u64) -> bool {
        let Some((freed, kept)) = self.queue_mut(id).and_then(|queue| queue.settle(seq)) else {
            return false;
        };
        self.cached -= kept;
        self.leave(freed);
        if id != QueueId::DEAD_LETTERS {
            self.waiting -= 1;
            self.used = self.used.saturating_sub(freed.bytes);
        }
        true
    }

    /// An entry of a segment is settled, or lies elsewhere now.
    fn leave(&mut self, freed: Freed) {
        if let Some(segment) = self.segments.get_mut(&freed.segment) {
            segment.live = segment.live.saturating_sub(1);
            segment.live_bytes = segment.live_bytes.saturating_sub(freed.bytes);
            self.freed |= segment.live == 0 && segment.sealed;
        }
    }

    fn progress(&mut self, progress: Progress) {
        match progress {
            Progress::Settled { queue, seq } => {
                self.settle(queue, seq.0);
            }
            Progress::Attempted {
                queue,
                seq,
                attempts,
                failures,
            } => {
                if let Some(queue) = self.queue_mut(queue)
                    && queue.is_waiting(seq.0)
                {
                    queue.attempts.insert(seq.0, (attempts, failures));
                }
            }
        }
    }

    fn add(&mut self, id: QueueId, added: &Added<'_>) {
        let next = self.queue(id).map_or(added.seq, |queue| queue.next);
        self.gaps += added.seq.saturating_sub(next);
        let Some(queue) = self.queue_mut(id) else {
            return;
        };
        queue.add(added);
        if id != QueueId::DEAD_LETTERS {
            self.waiting += 1;
            self.used += added.cost;
        }
        if let Some(segment) = self.segments.get_mut(&added.segment) {
            segment.live += 1;
            segment.live_bytes += added.cost;
        }
    }

    fn put(&mut self, put: Put) {
        if put.table == Table::ModuleState
            && let Some(end) = put.key.iter().position(|byte| *byte == 0)
            && !self.keepers.contains(&put.key[..end])
        {
            self.keepers.insert(Bytes::copy_from_slice(&put.key[..end]));
        }
        self.overlay.put(put);
    }

    /// Does what a commit says, and empties it. It was written with the numbers in `encoder`.
    pub(crate) fn commit(&mut self, commit: &mut Commit, encoder: &mut Encoder, at: At) {
        self.lsn = at.lsn;
        for target in commit.targets.drain(..) {
            let Some((_, seq)) = encoder
                .queues
                .iter_mut()
                .find(|(id, _)| *id == target.queue)
            else {
                continue;
            };
            let message = &commit.messages[target.message.0];
            let added = Added {
                seq: *seq,
                message,
                cost: cost(message),
                expiry: target.expiry,
                lsn: at.lsn,
                segment: at.segment,
                offset: at.offset,
            };
            *seq += 1;
            self.add(target.queue, &added);
            self.keep(target.queue, &added);
        }
        commit.messages.clear();
        for letter in commit.dead.drain(..) {
            let added = Added {
                seq: self.dead.next,
                message: &letter.message,
                cost: cost(&letter.message),
                expiry: None,
                lsn: at.lsn,
                segment: at.segment,
                offset: at.offset,
            };
            self.add(QueueId::DEAD_LETTERS, &added);
        }
        for progress in commit.progress.drain(..) {
            self.progress(progress);
        }
        for put in commit.puts.drain(..) {
            self.put(put);
        }
    }

    /// Keeps an entry in memory if there is room, or if a reader that stays away can give some up.
    fn keep(&mut self, id: QueueId, added: &Added<'_>) {
        if self.cached + added.cost > self.cache_limit {
            let away = |queue: &&mut Queue| {
                queue.window.read_at + AWAY < added.lsn && queue.window.bytes > 0
            };
            let largest = self
                .queues
                .iter_mut()
                .filter(away)
                .max_by_key(|queue| queue.window.bytes);
            if let Some(queue) = largest {
                self.cached -= queue.window.clear();
            }
        }
        let budget = self.cache_limit.saturating_sub(self.cached);
        let Some(queue) = self.queues.get_mut(id.index()) else {
            return;
        };
        self.cached += queue.keep(added, budget);
    }

    /// Does again what a record says. Puts are left out if the tables have them.
    pub(crate) fn replay(&mut self, kind: Kind, record: Record, at: At, puts: bool) {
        self.lsn = at.lsn;
        for (id, endpoint, priority) in record.queues {
            self.make_up_to(id);
            if let Some(queue) = self.queues.get_mut(id.index()) {
                self.names.remove(&(queue.endpoint.clone(), queue.priority));
                self.names.insert((endpoint.clone(), priority), id);
                (queue.endpoint, queue.priority) = (endpoint, priority);
            }
        }
        for entry in &record.entries {
            self.make_up_to(entry.queue);
        }
        for entry in &record.entries {
            let message = &record.messages[entry.message];
            self.replay_entry(kind, entry.queue, entry.seq, message, at);
        }
        for letter in &record.letters {
            let message = &letter.letter.message;
            self.replay_entry(kind, QueueId::DEAD_LETTERS, letter.seq, message, at);
        }
        for (queue, first, len) in record.settled {
            for seq in first..first.saturating_add(len) {
                self.settle(queue, seq);
            }
        }
        for progress in record.attempted {
            self.progress(progress);
        }
        if puts {
            self.replay_puts(record.puts);
        }
    }

    pub(crate) fn replay_puts(&mut self, puts: Vec<Put>) {
        for put in puts {
            self.put(put);
        }
    }

    /// Queues are numbered in order. One whose name was in a record that is lost gets a name that says
    /// so: what is in it is not delivered to somebody else, and can be seen.
    fn make_up_to(&mut self, id: QueueId) {
        while self.queues.len() <= id.index() && self.queues.len() < MAX_QUEUES {
            let input = format!("queue-{}", self.queues.len());
            let module = ModuleId::new("$lost").expect("it has the characters of an id");
            self.define(EndpointId::module_input(module, &input), Priority::DEFAULT);
        }
    }

    fn replay_entry(&mut self, kind: Kind, id: QueueId, seq: u64, message: &Message, at: At) {
        if kind == Kind::Moved {
            self.moved(id, seq, at);
            return;
        }
        self.add(
            id,
            &Added {
                seq,
                message,
                cost: cost(message),
                expiry: None,
                lsn: at.lsn,
                segment: at.segment,
                offset: at.offset,
            },
        );
    }

    /// Where an entry lies that is known already: its segment is read again.
    pub(crate) fn found_again(&mut self, id: QueueId, seq: u64, at: At) {
        let Some(queue) = self.queue_mut(id) else {
            return;
        };
        let Some(extent) = queue.extent(seq).map(|index| &mut queue.extents[index]) else {
            return;
        };
        if let Index::Open(places) = &mut extent.index
            && extent.segment == at.segment
            && extent.first <= seq
            && places.last().is_none_or(|last| last.offset != at.offset)
        {
            places.push(Place {
                seq,
                offset: at.offset,
            });
        }
    }

    /// Takes over what a snapshot holds.
    pub(crate) fn restore(&mut self, snapshot: &mut Snapshot) {
        self.lsn = snapshot.lsn;
        self.queues = std::mem::take(&mut snapshot.queues);
        for (id, queue) in (0..).map(QueueId::from_index).zip(&self.queues) {
            self.names
                .insert((queue.endpoint.clone(), queue.priority), id);
            self.waiting += queue.waiting;
            self.used += queue.bytes;
        }
        let empty = Queue::new(EndpointId::Upstream, Priority::DEFAULT);
        self.dead = std::mem::replace(&mut snapshot.dead, empty);
        self.segments = std::mem::take(&mut snapshot.segments);
        for queue in self.queues.iter().chain([&self.dead]) {
            for extent in &queue.extents {
                let segment = self.segments.entry(extent.segment).or_default();
                segment.live += extent.live;
                segment.live_bytes += extent.bytes;
            }
        }
        self.keepers = std::mem::take(&mut snapshot.keepers);
    }

    /// What lay in a segment that is not there any more. Says how many entries are lost.
    pub(crate) fn forget_segment(&mut self, number: u64) -> u64 {
        let mut lost = 0;
        let dead = std::iter::once((true, &mut self.dead));
        let queues = self.queues.iter_mut().map(|queue| (false, queue));
        for (letters, queue) in queues.chain(dead) {
            let (mut entries, mut bytes) = (0, 0);
            queue.extents.retain(|extent| {
                let gone = extent.segment == number;
                if gone {
                    entries += extent.live;
                    bytes += extent.bytes;
                }
                !gone
            });
            queue.waiting -= entries;
            queue.bytes -= bytes;
            queue.advance();
            if !letters {
                self.waiting -= entries;
                self.used -= bytes;
            }
            lost += entries;
        }
        self.segments.remove(&number);
        lost
    }

    /// An entry was copied forward.
    pub(crate) fn moved(&mut self, id: QueueId, seq: u64, at: At) {
        let freed = self
            .queue_mut(id)
            .and_then(|queue| queue.relocate(seq, at.segment, at.offset));
        let Some(freed) = freed else {
            return;
        };
        self.leave(freed);
        if let Some(segment) = self.segments.get_mut(&at.segment) {
            segment.live += 1;
            segment.live_bytes += freed.bytes;
        }
    }

    /// The oldest dead letter, if there are more than may be kept.
    pub(crate) fn letter_to_drop(&self) -> Option<u64> {
        let dead = &self.dead;
        let many = dead.waiting > limits::DEAD_LETTERS as u64;
        let large = dead.bytes > limits::DEAD_LETTER_BYTES as u64;
        (many || large).then(|| self.first_waiting(QueueId::DEAD_LETTERS))?
    }

    /// The first entry of a queue that waits.
    pub(crate) fn first_waiting(&self, id: QueueId) -> Option<u64> {
        let queue = self.queue(id).filter(|queue| queue.waiting > 0)?;
        let first = queue.extents.front()?.first.max(queue.low);
        (first..queue.next).find(|seq| queue.is_waiting(*seq))
    }
}

/// Queues that a log may have; a number beyond it is damage.
const MAX_QUEUES: usize = 1 << 20;
