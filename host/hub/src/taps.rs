//! Looking on: whoever wants to see messages pass.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use edge_core::Message;
use edge_store::{Commit, QueueId};

/// Sees messages pass. Called on the thread that committed them: must not block, and must not call back
/// into the hub.
pub trait Tap: Send + Sync {
    /// A message was committed into these queues; none of them: no route takes it.
    fn passed(&self, message: &Message, queues: &[QueueId]);
}

/// Those who look on. Costs a commit one load while there are none.
#[derive(Default)]
pub(crate) struct Taps {
    all: ArcSwap<Vec<Arc<dyn Tap>>>,
    changing: Mutex<()>,
}

/// What a commit adds, kept for the time after it.
pub(crate) type Tapped = Vec<(Message, Vec<QueueId>)>;

impl Taps {
    pub(crate) fn add(&self, tap: Arc<dyn Tap>) {
        self.change(|taps| taps.push(tap));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.load().is_empty()
    }

    pub(crate) fn remove(&self, tap: &Arc<dyn Tap>) {
        self.change(|taps| taps.retain(|known| !Arc::ptr_eq(known, tap)));
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Arc<dyn Tap>>)) {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taps = Vec::clone(&self.all.load());
        change(&mut taps);
        self.all.store(Arc::new(taps));
    }

    /// What a commit is about to add, if anybody looks.
    pub(crate) fn taken_from(&self, commit: &Commit) -> Option<Tapped> {
        if self.is_empty() {
            return None;
        }
        let queues = |message| commit.queues_of(message).collect();
        let messages = commit.messages();
        Some(
            messages
                .map(|(index, message)| (message.clone(), queues(index)))
                .collect(),
        )
    }

    pub(crate) fn tell(&self, tapped: &Tapped) {
        for tap in self.all.load().iter() {
            for (message, queues) in tapped {
                tap.passed(message, queues);
            }
        }
    }
}
