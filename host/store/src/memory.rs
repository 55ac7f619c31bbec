//! A log that lives as long as the process.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use edge_core::{ByteSize, EndpointId, Message, Priority, Timestamp, limits};

use crate::log::cost;
use crate::{
    Commit, CommitError, DeadLetter, Delivery, Durable, LogMetrics, Lsn, MessageLog, OnDurable,
    Pressure, Progress, QueueId, QueueStatus, Seq, Table, Visible,
};

/// Bytes of waiting messages at which senders outside are made to wait.
pub const DEFAULT_LIMIT: ByteSize = ByteSize(64 << 20);

/// A [`MessageLog`] in memory. A commit is durable at once, in the sense that nothing is kept beyond
/// the process anyway.
#[derive(Debug)]
pub struct MemoryLog {
    inner: Mutex<Inner>,
    used: AtomicU64,
    waiting: AtomicU64,
    limit: u64,
}

#[derive(Debug, Default)]
struct Inner {
    lsn: u64,
    names: HashMap<(EndpointId, Priority), QueueId>,
    queues: Vec<Queue>,
    tables: HashMap<Table, BTreeMap<Bytes, Bytes>>,
    dead: BTreeMap<Seq, DeadLetter>,
    dead_bytes: usize,
    dead_next: u64,
    dead_dropped: u64,
}

impl Inner {
    fn forget_letter(&mut self, seq: Seq) -> bool {
        let letter = self.dead.remove(&seq);
        if let Some(letter) = &letter {
            self.dead_bytes -= letter.message.content.size();
        }
        letter.is_some()
    }
}

#[derive(Debug)]
struct Queue {
    endpoint: EndpointId,
    priority: Priority,
    /// Sequence number of the first slot: everything before it is settled.
    low_water: Seq,
    slots: VecDeque<Slot>,
    waiting: u64,
    bytes: u64,
}

/// `message: None` is an entry settled out of order, kept until those before it are settled.
#[derive(Debug)]
struct Slot {
    message: Option<Message>,
    expiry: Option<Timestamp>,
    attempts: u32,
    failures: u32,
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self::new(DEFAULT_LIMIT)
    }
}

impl MemoryLog {
    /// An empty log that makes senders outside wait at `limit` bytes.
    pub fn new(limit: ByteSize) -> Self {
        Self {
            inner: Mutex::default(),
            used: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            limit: limit.0,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // Nothing under the lock panics half-way through a change: indices are checked before.
        self.inner
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Queue {
    fn slot(&mut self, seq: Seq) -> Option<&mut Slot> {
        let index = seq.0.checked_sub(self.low_water.0)?;
        self.slots.get_mut(usize::try_from(index).ok()?)
    }

    /// Settles an entry; returns the bytes that it frees, none if it was settled before.
    fn settle(&mut self, seq: Seq) -> Option<u64> {
        let message = self.slot(seq)?.message.take()?;
        self.waiting -= 1;
        self.bytes -= cost(&message);
        while self
            .slots
            .front()
            .is_some_and(|slot| slot.message.is_none())
        {
            self.slots.pop_front();
            self.low_water = self.low_water.next();
        }
        Some(cost(&message))
    }
}

impl MessageLog for MemoryLog {
    fn queue(&self, endpoint: &EndpointId, priority: Priority) -> QueueId {
        let mut inner = self.lock();
        let name = (endpoint.clone(), priority);
        if let Some(id) = inner.names.get(&name) {
            return *id;
        }
        let index = u32::try_from(inner.queues.len()).expect("fewer queues than 2^32");
        let id = QueueId::from_index(index);
        inner.names.insert(name, id);
        inner.queues.push(Queue {
            endpoint: endpoint.clone(),
            priority,
            low_water: Seq(1),
            slots: VecDeque::new(),
            waiting: 0,
            bytes: 0,
        });
        id
    }

    fn queues(&self) -> Vec<QueueStatus> {
        let inner = self.lock();
        let status = |(index, queue): (u32, &Queue)| QueueStatus {
            id: QueueId::from_index(index),
            bytes: queue.bytes,
            endpoint: queue.endpoint.clone(),
            priority: queue.priority,
            depth: queue.waiting,
            oldest: queue
                .slots
                .front()
                .and_then(|slot| slot.message.as_ref())
                .map(|message| message.enqueued),
        };
        (0..).zip(&inner.queues).map(status).collect()
    }

    fn commit(&self, commit: &mut Commit) -> Result<Lsn, CommitError> {
        if !commit.targets.is_empty() {
            let pressure = self.pressure();
            if pressure.is_extreme() {
                return Err(CommitError::Full {
                    used: pressure.used,
                    limit: pressure.limit,
                });
            }
        }
        let (mut added, mut freed) = (0, 0);
        let (arrived, mut left) = (commit.targets.len() as u64, 0);
        let mut inner = self.lock();
        let inner = &mut *inner;
        for target in commit.targets.drain(..) {
            let message = &commit.messages[target.message.0];
            let queue = &mut inner.queues[target.queue.index()];
            added += cost(message);
            queue.waiting += 1;
            queue.bytes += cost(message);
            queue.slots.push_back(Slot {
                message: Some(message.clone()),
                expiry: target.expiry,
                attempts: 0,
                failures: 0,
            });
        }
        commit.messages.clear();
        for progress in commit.progress.drain(..) {
            match progress {
                Progress::Settled {
                    queue: QueueId::DEAD_LETTERS,
                    seq,
                } => {
                    inner.forget_letter(seq);
                }
                Progress::Settled { queue, seq } => {
                    if let Some(bytes) = inner.queues[queue.index()].settle(seq) {
                        freed += bytes;
                        left += 1;
                    }
                }
                Progress::Attempted {
                    queue,
                    seq,
                    attempts,
                    failures,
                } => {
                    if let Some(slot) = inner.queues[queue.index()].slot(seq) {
                        (slot.attempts, slot.failures) = (attempts, failures);
                    }
                }
            }
        }
        for put in commit.puts.drain(..) {
            let table = inner.tables.entry(put.table).or_default();
            match put.value {
                Some(value) => table.insert(put.key, value),
                None => table.remove(&put.key),
            };
        }
        for letter in commit.dead.drain(..) {
            inner.dead_bytes += letter.message.content.size();
            inner.dead_next += 1;
            inner.dead.insert(Seq(inner.dead_next), letter);
        }
        while inner.dead.len() > limits::DEAD_LETTERS
            || inner.dead_bytes > limits::DEAD_LETTER_BYTES
        {
            let Some((&oldest, _)) = inner.dead.first_key_value() else {
                break;
            };
            inner.forget_letter(oldest);
            inner.dead_dropped += 1;
        }
        inner.lsn += 1;
        // Both under the lock, so that what is used never dips below zero.
        self.used.fetch_add(added, Ordering::Relaxed);
        self.used.fetch_sub(freed, Ordering::Relaxed);
        self.waiting.fetch_add(arrived, Ordering::Relaxed);
        self.waiting.fetch_sub(left, Ordering::Relaxed);
        Ok(Lsn(inner.lsn))
    }

    fn durable_lsn(&self) -> Lsn {
        Lsn(self.lock().lsn)
    }

    fn durable(&self, _: Lsn) -> Durable<'_> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn when_durable(&self, _: OnDurable) {
        // A commit is durable before anybody could ask.
    }

    fn read(&self, queue: QueueId, from: Seq, max: usize, _: Visible, out: &mut Vec<Delivery>) {
        let inner = self.lock();
        let Some(entries) = inner.queues.get(queue.index()) else {
            return;
        };
        let from = from.max(entries.low_water);
        let skip = usize::try_from(from.0 - entries.low_water.0).unwrap_or(usize::MAX);
        let slots = entries.slots.range(skip.min(entries.slots.len())..);
        let end = out.len().saturating_add(max);
        out.reserve(max.min(slots.len()));
        for (seq, slot) in (from.0..).zip(slots) {
            if out.len() >= end {
                break;
            }
            if let Some(message) = &slot.message {
                out.push(Delivery {
                    queue,
                    seq: Seq(seq),
                    message: message.clone(),
                    expiry: slot.expiry,
                    attempts: slot.attempts,
                    failures: slot.failures,
                });
            }
        }
    }

    fn get(&self, table: Table, key: &[u8]) -> Option<Bytes> {
        self.lock().tables.get(&table)?.get(key).cloned()
    }

    fn keys(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, max: usize) -> Vec<Bytes> {
        let inner = self.lock();
        let Some(table) = inner.tables.get(&table) else {
            return Vec::new();
        };
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        table
            .range::<[u8], _>((start, Bound::Unbounded))
            .map(|(key, _)| key)
            .take_while(|key| key.starts_with(prefix))
            .take(max)
            .cloned()
            .collect()
    }

    fn dead_letters(&self, from: Seq, max: usize) -> Vec<(Seq, DeadLetter)> {
        let inner = self.lock();
        let kept = inner.dead.range(from..).take(max);
        kept.map(|(seq, letter)| (*seq, letter.clone())).collect()
    }

    fn pressure(&self) -> Pressure {
        Pressure {
            used: self.used.load(Ordering::Relaxed),
            limit: self.limit,
            hard_limit: self.limit.saturating_mul(4),
            waiting: self.waiting.load(Ordering::Relaxed),
        }
    }

    fn metrics(&self) -> LogMetrics {
        let inner = self.lock();
        LogMetrics {
            commits: inner.lsn,
            live_bytes: self.used.load(Ordering::Relaxed),
            dead_letters: inner.dead.len() as u64,
            dead_letters_dropped: inner.dead_dropped,
            ..LogMetrics::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_log_keeps_a_logs_promises() {
        crate::suite::run(MemoryLog::default);
    }

    #[test]
    fn a_full_log_refuses_messages_and_takes_progress() {
        crate::suite::fills_up(&MemoryLog::new(ByteSize(4096)));
    }
}
