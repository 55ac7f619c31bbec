//! Messages in flight to a client, and their packet ids.
//!
//! ```text
//!   id = 1 + lane × 1024 + seq mod 1024        lanes 0 to 62: queues, in the order in which the session met them
//!        64 513 to 65 535                      what is in no queue: answers, calls, changes of twins
//! ```
//!
//! The id of a message follows from its place in its queue, so that a message has the same one after a
//! reconnect and after a crash [MQTT-4.4.0-1], and nothing of it need be stored but the order of the lanes.
//! For that, a lane is never more than 1 024 entries ahead of its oldest unacknowledged one. Queues beyond
//! the 62nd take turns on the last lane.

use std::collections::VecDeque;
use std::num::NonZeroU16;

use edge_store::{Delivery, QueueId, Seq};

use crate::packet::PacketId;

/// Ids of one lane, and how far it may be ahead.
pub(crate) const SPAN: u64 = 1_024;
/// Lanes there are ids for.
const LANES: usize = 63;
/// The first id that belongs to no lane.
const FIRST_LOOSE: u16 = 64_513;

/// The id of an entry of a lane.
pub(crate) fn id_of(lane: usize, seq: Seq) -> PacketId {
    let place = u64::try_from(lane.min(LANES - 1)).unwrap_or_default() * SPAN + seq.0 % SPAN;
    let id = u16::try_from(place + 1).unwrap_or(1);
    PacketId::new(id).unwrap_or(NonZeroU16::MIN)
}

/// What is in flight of one queue.
#[derive(Debug)]
struct Lane {
    queue: QueueId,
    /// In the order of sending, which is that of the numbers. `None`: acknowledged before an older one.
    sent: VecDeque<(Seq, Option<Delivery>)>,
}

/// What is in flight of all queues of a session.
#[derive(Debug, Default)]
pub(crate) struct Window {
    lanes: Vec<Option<Lane>>,
    count: usize,
    bytes: usize,
}

impl Window {
    /// Messages that are not acknowledged.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Bytes of their bodies and properties.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether an entry may be sent now.
    pub(crate) fn admits(&self, lane: usize, queue: QueueId, seq: Seq) -> bool {
        let Some(Some(lane)) = self.lanes.get(lane.min(LANES - 1)) else {
            return true;
        };
        match lane.sent.front() {
            Some((oldest, _)) => lane.queue == queue && seq.0 < oldest.0 + SPAN,
            None => true,
        }
    }

    /// An entry was sent; its id.
    pub(crate) fn sent(&mut self, lane: usize, delivery: Delivery) -> PacketId {
        let lane = lane.min(LANES - 1);
        if self.lanes.len() <= lane {
            self.lanes.resize_with(lane + 1, || None);
        }
        let id = id_of(lane, delivery.seq);
        let slot = self.lanes[lane].get_or_insert_with(|| Lane {
            queue: delivery.queue,
            sent: VecDeque::new(),
        });
        debug_assert!(
            slot.sent.is_empty() || slot.queue == delivery.queue,
            "queues take turns"
        );
        slot.queue = delivery.queue;
        self.count += 1;
        self.bytes += delivery.message.content.size();
        slot.sent.push_back((delivery.seq, Some(delivery)));
        id
    }

    /// The client acknowledged an id. `None`: nothing with this id is in flight.
    pub(crate) fn acknowledged(&mut self, id: PacketId) -> Option<Delivery> {
        let place = u64::from(id.get() - 1);
        let (lane, rest) = (place / SPAN, place % SPAN);
        let lane = self.lanes.get_mut(usize::try_from(lane).ok()?)?.as_mut()?;
        let oldest = lane.sent.front()?.0;
        // The one number with this rest that can be in flight.
        let seq = oldest.0 + (rest + SPAN - oldest.0 % SPAN) % SPAN;
        let at = lane
            .sent
            .binary_search_by_key(&seq, |(seq, _)| seq.0)
            .ok()?;
        let delivery = lane.sent[at].1.take()?;
        while lane.sent.front().is_some_and(|(_, there)| there.is_none()) {
            lane.sent.pop_front();
        }
        self.count -= 1;
        self.bytes -= delivery.message.content.size();
        Some(delivery)
    }
}

/// Ids of packets that are in no queue, and the packets until they are acknowledged.
#[derive(Debug)]
pub(crate) struct Loose<T> {
    next: u16,
    sent: VecDeque<(PacketId, T)>,
}

impl<T> Default for Loose<T> {
    fn default() -> Self {
        Self {
            next: FIRST_LOOSE,
            sent: VecDeque::new(),
        }
    }
}

impl<T> Loose<T> {
    /// Packets that may wait for their acknowledgement; as many as there are ids.
    pub(crate) const MOST: usize = (u16::MAX - FIRST_LOOSE) as usize;

    /// Takes a packet; `None` if too many wait.
    pub(crate) fn send(&mut self, packet: T) -> Option<PacketId> {
        if self.sent.len() >= Self::MOST {
            return None;
        }
        loop {
            let id = PacketId::new(self.next).unwrap_or(NonZeroU16::MAX);
            self.next = self.next.checked_add(1).unwrap_or(FIRST_LOOSE);
            if !self.sent.iter().any(|(known, _)| *known == id) {
                self.sent.push_back((id, packet));
                return Some(id);
            }
        }
    }

    /// The client acknowledged an id; whether it was one of these.
    pub(crate) fn acknowledged(&mut self, id: PacketId) -> bool {
        let before = self.sent.len();
        self.sent.retain(|(known, _)| *known != id);
        self.sent.len() < before
    }

    /// Those that wait, oldest first.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = (PacketId, &T)> {
        self.sent.iter().map(|(id, packet)| (*id, packet))
    }
}

#[cfg(test)]
mod tests {
    use edge_core::{DeviceId, Message, MessageBuilder, MessageId, Origin, Source, Timestamp};

    use super::*;

    fn delivery(queue: u32, seq: u64) -> Delivery {
        Delivery {
            queue: QueueId::from_index(queue),
            seq: Seq(seq),
            message: Message {
                content: MessageBuilder::new("x").build(),
                origin: Origin::new(Source::Device(DeviceId::new("d").expect("id"))),
                id: MessageId::default(),
                enqueued: Timestamp(0),
                hops: 0,
            },
            expiry: None,
            attempts: 0,
            failures: 0,
        }
    }

    #[test]
    fn an_id_follows_from_lane_and_number_and_is_one_at_a_time() {
        let mut window = Window::default();
        let mut ids = std::collections::HashSet::new();
        for lane in 0..LANES {
            for seq in 5_000..5_000 + SPAN {
                let queue = u32::try_from(lane).expect("small");
                assert!(window.admits(lane, QueueId::from_index(queue), Seq(seq)));
                let id = window.sent(lane, delivery(queue, seq));
                assert_eq!(id, id_of(lane, Seq(seq)));
                assert!(ids.insert(id) && id.get() < FIRST_LOOSE);
            }
            let queue = QueueId::from_index(u32::try_from(lane).expect("small"));
            assert!(!window.admits(lane, queue, Seq(5_000 + SPAN)));
        }
    }

    #[test]
    fn acknowledgements_in_any_order_free_the_window_from_its_oldest_on() {
        let mut window = Window::default();
        for seq in 1..=SPAN {
            window.sent(0, delivery(0, seq));
        }
        for seq in (2..=SPAN).rev() {
            let taken = window.acknowledged(id_of(0, Seq(seq))).expect("in flight");
            assert_eq!(taken.seq, Seq(seq));
            let next = Seq(SPAN + 1);
            assert!(
                !window.admits(0, QueueId::from_index(0), next),
                "the oldest holds it"
            );
        }
        assert!(window.acknowledged(id_of(0, Seq(2))).is_none(), "once");
        assert!(window.acknowledged(id_of(0, Seq(1))).is_some());
        assert!(window.admits(0, QueueId::from_index(0), Seq(SPAN + 1)));
        assert_eq!((window.len(), window.bytes()), (0, 0));
    }

    #[test]
    fn queues_beyond_the_lanes_take_turns() {
        let mut window = Window::default();
        let (one, other) = (QueueId::from_index(70), QueueId::from_index(80));
        let id = window.sent(70, delivery(70, 9));
        assert!(window.admits(70, one, Seq(10)) && !window.admits(80, other, Seq(9)));
        assert!(window.acknowledged(id).is_some());
        assert!(window.admits(80, other, Seq(9)));
        assert_eq!(window.sent(80, delivery(80, 9)), id);
    }

    #[test]
    fn loose_packets_have_ids_of_their_own_and_a_bound() {
        let mut loose = Loose::default();
        let first = loose.send("a").expect("room");
        for _ in 1..Loose::<&str>::MOST {
            assert!(loose.send("b").is_some_and(|id| id.get() >= FIRST_LOOSE));
        }
        assert_eq!(loose.send("c"), None);
        assert!(loose.acknowledged(first) && !loose.acknowledged(first));
        assert_ne!(loose.send("c"), None);
        assert_eq!(loose.waiting().count(), Loose::<&str>::MOST);
    }
}
