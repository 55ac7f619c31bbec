//! A queue as memory holds it: how far it got, and in which segments its entries lie.
//!
//! ```text
//!   settled      │ low                    waiting, some settled                    │ next
//!   ─────────────┼──────────────────────────────────────────────────────────────────┼──►  seq
//!   extents      [ segment 3 ][ segment 4          ][ segment 7, moved ][ segment 8 ]
//!   window                                                          [ messages kept ]
//! ```
//! Memory does not grow with what waits: an extent stands for all entries of a segment, and the window
//! has a budget. Whatever is not in the window is read from the segment.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use edge_core::{EndpointId, Message, Priority, Timestamp};

use super::ranges::Ranges;
use crate::log::cost;

/// Where the entries of a queue from `seq` on, up to those of the next place, are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) seq: u64,
    /// Of the record in its segment.
    pub(crate) offset: u32,
}

/// The places of an extent, in order of sequence numbers.
#[derive(Debug, Clone)]
pub(crate) enum Index {
    /// Of the segment that is written.
    Open(Vec<Place>),
    /// Of a segment that is full, while its index is written.
    Sealing(Arc<Vec<Place>>),
    /// In the segment's own index.
    Disk {
        /// Where in the file the first place is.
        at: u32,
        /// How many places.
        count: u32,
    },
    /// It was lost; the segment tells when it is read from end to end.
    Unknown,
}

/// Entries of a queue that lie in one segment.
#[derive(Debug, Clone)]
pub(crate) struct Extent {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) segment: u64,
    /// Entries that wait.
    pub(crate) live: u64,
    /// What those cost.
    pub(crate) bytes: u64,
    /// When the first and the last entry came in.
    pub(crate) since: Timestamp,
    pub(crate) until: Timestamp,
    pub(crate) index: Index,
}

impl Extent {
    /// When an entry came in, as if they had come evenly.
    fn came(&self, seq: u64) -> Timestamp {
        let span = u128::from(self.until.0.saturating_sub(self.since.0));
        let place = u128::from(seq.saturating_sub(self.first));
        let all = u128::from(self.last - self.first).max(1);
        // At most the span, for what lies in the extent.
        let after = u64::try_from(span * place / all).unwrap_or(u64::MAX);
        Timestamp(self.since.0.saturating_add(after))
    }
}

/// An entry that was written just now, and its message.
pub(crate) struct Added<'a> {
    pub(crate) seq: u64,
    pub(crate) message: &'a Message,
    /// What it counts against the log's limits.
    pub(crate) cost: u64,
    pub(crate) expiry: Option<Timestamp>,
    pub(crate) lsn: u64,
    pub(crate) segment: u64,
    pub(crate) offset: u32,
}

/// What an entry that was settled gives back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Freed {
    pub(crate) segment: u64,
    pub(crate) bytes: u64,
}

/// A message kept in memory; `None` when its entry is settled.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) message: Option<Message>,
    pub(crate) expiry: Option<Timestamp>,
    pub(crate) lsn: u64,
}

/// The messages of entries from `start` on.
#[derive(Debug, Default)]
pub(crate) struct Window {
    pub(crate) start: u64,
    pub(crate) slots: VecDeque<Slot>,
    pub(crate) bytes: u64,
    /// One past the last entry that the reader got.
    pub(crate) read_to: u64,
    /// The commit at which the reader last came.
    pub(crate) read_at: u64,
}

impl Window {
    pub(crate) fn end(&self) -> u64 {
        self.start + self.slots.len() as u64
    }

    pub(crate) fn clear(&mut self) -> u64 {
        self.slots.clear();
        std::mem::take(&mut self.bytes)
    }

    pub(crate) fn slot(&mut self, seq: u64) -> Option<&mut Slot> {
        let index = usize::try_from(seq.checked_sub(self.start)?).ok()?;
        self.slots.get_mut(index)
    }
}

#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) endpoint: EndpointId,
    pub(crate) priority: Priority,
    /// What the next entry gets.
    pub(crate) next: u64,
    /// Everything before it is settled.
    pub(crate) low: u64,
    /// What is settled from there on.
    pub(crate) settled: Ranges,
    /// Attempts and failures of entries that were tried.
    pub(crate) attempts: BTreeMap<u64, (u32, u32)>,
    pub(crate) extents: VecDeque<Extent>,
    pub(crate) window: Window,
    pub(crate) waiting: u64,
    pub(crate) bytes: u64,
}

impl Queue {
    pub(crate) fn new(endpoint: EndpointId, priority: Priority) -> Self {
        Self {
            endpoint,
            priority,
            next: 1,
            low: 1,
            settled: Ranges::default(),
            attempts: BTreeMap::new(),
            extents: VecDeque::new(),
            window: Window {
                start: 1,
                read_to: 1,
                ..Window::default()
            },
            waiting: 0,
            bytes: 0,
        }
    }

    /// Adds an entry at the end.
    pub(crate) fn add(&mut self, added: &Added<'_>) {
        let bytes = added.cost;
        let place = Place {
            seq: added.seq,
            offset: added.offset,
        };
        match self.extents.back_mut() {
            Some(Extent {
                segment,
                last,
                live,
                bytes: all,
                until,
                index: Index::Open(places),
                ..
            }) if *segment == added.segment => {
                *last = added.seq;
                *until = added.message.enqueued;
                *live += 1;
                *all += bytes;
                if places.last().is_none_or(|last| last.offset != added.offset) {
                    places.push(place);
                }
            }
            _ => self.extents.push_back(Extent {
                first: added.seq,
                last: added.seq,
                segment: added.segment,
                live: 1,
                bytes,
                since: added.message.enqueued,
                until: added.message.enqueued,
                index: Index::Open(vec![place]),
            }),
        }
        if added.seq > self.next {
            // Those between were in a record that is lost.
            self.settled.insert_run(self.next, added.seq);
        }
        self.next = added.seq + 1;
        self.waiting += 1;
        self.bytes += bytes;
    }

    /// Keeps an entry that was just added in memory, if the entries before it are there too, or were
    /// read already. Says what that takes of the budget.
    pub(crate) fn keep(&mut self, added: &Added<'_>, budget: u64) -> u64 {
        let window = &mut self.window;
        if window.slots.is_empty() && window.read_to >= added.seq {
            window.start = added.seq;
        }
        let bytes = added.cost;
        if window.end() != added.seq || bytes > budget {
            return 0;
        }
        window.slots.push_back(Slot {
            message: Some(added.message.clone()),
            expiry: added.expiry,
            lsn: added.lsn,
        });
        window.bytes += bytes;
        bytes
    }

    pub(crate) fn is_waiting(&self, seq: u64) -> bool {
        seq >= self.low && seq < self.next && !self.settled.contains(seq) && {
            let extent = self.extent(seq);
            extent.is_some_and(|index| self.extents[index].first <= seq)
        }
    }

    /// The extent that `seq` lies in, or else the next one.
    pub(crate) fn extent(&self, seq: u64) -> Option<usize> {
        if self.extents.front()?.last >= seq {
            return Some(0);
        }
        let index = self.extents.partition_point(|extent| extent.last < seq);
        (index < self.extents.len()).then_some(index)
    }

    /// When the oldest entry that waits came in, exactly if it is in memory.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        let extent = self.extents.front()?;
        let front = self.window.slots.front();
        let kept = front.filter(|_| self.window.start == self.low);
        let kept = kept.and_then(|slot| slot.message.as_ref());
        Some(kept.map_or_else(|| extent.came(self.low), |message| message.enqueued))
    }

    /// The extent of a segment that waits for its index to be written.
    pub(crate) fn sealing(&mut self, segment: u64, first: u64, last: u64) -> Option<&mut Extent> {
        let at = self.extent(last)?;
        let extent = &mut self.extents[at];
        // Its first entries may have been settled or moved meanwhile.
        let known = extent.segment == segment && extent.last == last && extent.first >= first;
        (known && matches!(extent.index, Index::Sealing(_))).then_some(extent)
    }

    /// Settles an entry. `None` if it does not wait. The second number is what leaves the window.
    pub(crate) fn settle(&mut self, seq: u64) -> Option<(Freed, u64)> {
        if !self.is_waiting(seq) {
            return None;
        }
        let index = self.extent(seq)?;
        let exact = self
            .window
            .slot(seq)
            .and_then(|slot| slot.message.take())
            .map(|message| cost(&message));
        let kept = exact.unwrap_or(0);
        self.window.bytes -= kept;
        let extent = &mut self.extents[index];
        // What is not in memory is taken for the average; the last of an extent gives back the rest.
        let bytes = match extent.live {
            1 => extent.bytes,
            live => exact.unwrap_or(extent.bytes / live).min(extent.bytes),
        };
        extent.live -= 1;
        extent.bytes -= bytes;
        let freed = Freed {
            segment: extent.segment,
            bytes,
        };
        if extent.live == 0 {
            self.extents.remove(index);
        }
        self.waiting -= 1;
        self.bytes -= bytes;
        self.attempts.remove(&seq);
        // In order, as most are, they need no run of their own.
        match seq == self.low {
            true => self.low += 1,
            false => self.settled.insert(seq),
        }
        self.advance();
        Some((freed, kept))
    }

    /// Moves the low-water mark over what is settled, and over what is nowhere any more.
    pub(crate) fn advance(&mut self) {
        loop {
            if let Some(end) = self.settled.take_first_until(self.low) {
                self.low = self.low.max(end);
                continue;
            }
            let first = self
                .extents
                .front()
                .map_or(self.next, |extent| extent.first);
            if first <= self.low {
                break;
            }
            self.low = first;
        }
        while self.window.start < self.low && !self.window.slots.is_empty() {
            self.window.slots.pop_front();
            self.window.start += 1;
        }
        if self.window.slots.is_empty() {
            self.window.start = self.window.start.max(self.low);
        }
    }

    /// An entry now lies in another segment, at `offset`. Entries of an extent move in their order.
    pub(crate) fn relocate(&mut self, seq: u64, segment: u64, offset: u32) -> Option<Freed> {
        if !self.is_waiting(seq) {
            return None;
        }
        let at = self.extent(seq)?;
        let old = &mut self.extents[at];
        let bytes = match old.live {
            1 => old.bytes,
            live => old.bytes / live,
        };
        let freed = Freed {
            segment: old.segment,
            bytes,
        };
        let came = old.came(seq);
        old.live -= 1;
        old.bytes -= bytes;
        old.since = came;
        old.first = seq + 1;
        if old.live == 0 {
            self.extents.remove(at);
        }
        let place = Place { seq, offset };
        let before = at.checked_sub(1).map(|before| &mut self.extents[before]);
        match before {
            Some(Extent {
                segment: there,
                last,
                live,
                bytes: all,
                until,
                index: Index::Open(places),
                ..
            }) if *there == segment => {
                *last = seq;
                *until = came;
                *live += 1;
                *all += bytes;
                if places.last().is_none_or(|last| last.offset != offset) {
                    places.push(place);
                }
            }
            _ => self.extents.insert(
                at,
                Extent {
                    first: seq,
                    last: seq,
                    segment,
                    live: 1,
                    bytes,
                    since: came,
                    until: came,
                    index: Index::Open(vec![place]),
                },
            ),
        }
        Some(freed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edge_core::{DeviceId, MessageBuilder, MessageId, Origin, Source};

    fn message() -> Message {
        Message {
            content: MessageBuilder::new("body").build(),
            origin: Origin::new(Source::Device(DeviceId::new("d").unwrap())),
            id: MessageId::default(),
            enqueued: Timestamp(1),
            hops: 0,
        }
    }

    fn queue(entries: u64, per_segment: u64) -> Queue {
        let message = message();
        let mut queue = Queue::new(EndpointId::Upstream, Priority::DEFAULT);
        for seq in 1..=entries {
            queue.add(&Added {
                seq,
                message: &message,
                cost: cost(&message),
                expiry: None,
                lsn: seq,
                segment: (seq - 1) / per_segment,
                offset: 64,
            });
        }
        queue
    }

    #[test]
    fn what_is_settled_out_of_order_leaves_when_those_before_are() {
        let mut queue = queue(10, 4);
        for seq in [2, 3, 10, 5] {
            assert!(queue.settle(seq).is_some());
        }
        assert!(queue.settle(2).is_none() && queue.settle(11).is_none());
        assert_eq!((queue.low, queue.waiting), (1, 6));
        queue.settle(1);
        assert_eq!((queue.low, queue.extents.len()), (4, 3));
        for seq in [4, 6, 7, 8, 9] {
            queue.settle(seq);
        }
        assert_eq!((queue.low, queue.waiting, queue.bytes), (11, 0, 0));
        assert!(queue.extents.is_empty() && queue.settled.iter().len() == 0);
    }

    #[test]
    fn entries_that_move_keep_their_numbers_and_free_their_segment() {
        let mut queue = queue(8, 4);
        queue.settle(2);
        for seq in [1, 3, 4] {
            let freed = queue.relocate(seq, 9, 64).unwrap();
            assert_eq!(freed.segment, 0);
        }
        assert_eq!(queue.relocate(2, 9, 64), None, "it is settled");
        let extents: Vec<_> = queue
            .extents
            .iter()
            .map(|extent| (extent.first, extent.last, extent.segment, extent.live))
            .collect();
        assert_eq!(extents, [(1, 4, 9, 3), (5, 8, 1, 4)]);
        assert!(!queue.is_waiting(2) && queue.is_waiting(3));
        assert_eq!(queue.settle(3).unwrap().0.segment, 9);
    }

    #[test]
    fn a_gap_where_entries_were_lost_is_passed() {
        let mut queue = queue(8, 4);
        queue.extents.pop_front();
        queue.advance();
        assert_eq!(queue.low, 5);
        assert!(!queue.is_waiting(3));
    }
}
