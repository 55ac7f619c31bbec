//! The sets that one inbox counts in, found without a lock.

use std::collections::HashMap;
use std::sync::Arc;

use edge_core::{Origin, Timestamp};
use edge_store::{Delivery, QueueId};

use super::{LinkMeter, Meters, nanos_since};

/// Senders that are compared by address before anything is hashed.
const RECENT: usize = 8;

/// Ways into one inbox that are told apart; as many as the hub tells apart, so that none is looked up
/// twice.
const WAYS: usize = super::LINKS;

/// Where one reader counts, and what it handled since it last asked for more.
#[derive(Debug)]
pub(crate) struct Links {
    /// The first one is that of all others.
    sets: Vec<Arc<LinkMeter>>,
    recent: Vec<(QueueId, Arc<Origin>, usize)>,
    /// Where the next of them goes.
    turn: usize,
    ways: Vec<(QueueId, HashMap<Arc<Origin>, usize>)>,
    handled: Vec<(usize, Timestamp)>,
    taken: Timestamp,
}

impl Links {
    pub(crate) fn new() -> Self {
        Self {
            sets: Vec::new(),
            recent: Vec::with_capacity(RECENT),
            turn: 0,
            ways: Vec::new(),
            handled: Vec::new(),
            taken: Timestamp(0),
        }
    }

    /// The set for a delivery; `find` asks the hub for it, once for each sender and queue.
    pub(crate) fn of(
        &mut self,
        delivery: &Delivery,
        meters: &Meters,
        find: impl FnOnce(&Meters) -> Arc<LinkMeter>,
    ) -> &LinkMeter {
        let place = self.place(delivery, meters, find);
        &self.sets[place]
    }

    fn place(
        &mut self,
        delivery: &Delivery,
        meters: &Meters,
        find: impl FnOnce(&Meters) -> Arc<LinkMeter>,
    ) -> usize {
        let (queue, origin) = (delivery.queue, &delivery.message.origin);
        let recent = self
            .recent
            .iter()
            .find(|(known, sender, _)| *known == queue && Arc::ptr_eq(sender, origin));
        if let Some((_, _, place)) = recent {
            return *place;
        }
        let place = self.slow_place(queue, origin, meters, find);
        let entry = (queue, origin.clone(), place);
        if self.recent.len() < RECENT {
            self.recent.push(entry);
        } else {
            self.recent[self.turn] = entry;
            self.turn = (self.turn + 1) % RECENT;
        }
        place
    }

    fn slow_place(
        &mut self,
        queue: QueueId,
        origin: &Arc<Origin>,
        meters: &Meters,
        find: impl FnOnce(&Meters) -> Arc<LinkMeter>,
    ) -> usize {
        let way = match self.ways.iter().position(|(known, _)| *known == queue) {
            Some(way) => way,
            None => {
                self.ways.push((queue, HashMap::new()));
                self.ways.len() - 1
            }
        };
        if let Some(place) = self.ways[way].1.get(&**origin) {
            return *place;
        }
        if self.sets.is_empty() {
            self.sets.push(meters.links.unnamed_set());
        }
        if self.sets.len() > WAYS {
            meters.links.count_unnamed();
            return 0;
        }
        self.sets.push(find(meters));
        let place = self.sets.len() - 1;
        self.ways[way].1.insert(origin.clone(), place);
        place
    }

    /// A delivery was handled. It is counted when its reader comes back for more.
    pub(crate) fn handled(
        &mut self,
        delivery: &Delivery,
        meters: &Meters,
        find: impl FnOnce(&Meters) -> Arc<LinkMeter>,
    ) {
        let place = self.place(delivery, meters, find);
        self.handled.push((place, delivery.message.enqueued));
    }

    /// The reader comes back for more.
    pub(crate) fn come_back(&mut self, now: Timestamp) {
        let sending = nanos_since(now, self.taken);
        for run in self.handled.chunk_by(|one, next| one.0 == next.0) {
            let Some((place, _)) = run.first() else {
                continue;
            };
            let set = &self.sets[*place];
            set.sending.record(sending, run.len() as u64);
            let ages = run.iter().map(|(_, then)| nanos_since(now, *then));
            set.processing.record_all(ages);
        }
        self.handled.clear();
        self.taken = now;
    }

    /// What was handled has not been stored, and comes again.
    pub(crate) fn forget(&mut self) {
        self.handled.clear();
    }
}
