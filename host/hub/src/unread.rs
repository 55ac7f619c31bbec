//! When queues that nobody reads are to be looked at.
//!
//! ```text
//!   commit ──earliest end of what it puts there──► next ──sooner than before: bell──► sweeper
//!                                                   ▲                                   │
//!                                                   └────── what the sweep left ────────┘
//! ```
//!
//! A queue whose entries end in order rings once, for the first of them; the sweep finds when the next one
//! ends. While nothing waits there nothing rings.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use edge_core::Timestamp;

use crate::Wake;

const NEVER: u64 = u64::MAX;

/// The time of the next look, and who is to know of it.
pub(crate) struct Unread {
    next: AtomicU64,
    bell: ArcSwapOption<Arc<dyn Wake>>,
}

impl Default for Unread {
    fn default() -> Self {
        Self {
            // What an earlier process left there is not known yet.
            next: AtomicU64::new(0),
            bell: ArcSwapOption::empty(),
        }
    }
}

impl Unread {
    pub(crate) fn set_bell(&self, bell: Arc<dyn Wake>) {
        self.bell.store(Some(Arc::new(bell)));
    }

    /// Something there ends at this time.
    pub(crate) fn ends(&self, at: Timestamp) {
        if self.next.fetch_min(at.0, Ordering::AcqRel) > at.0
            && let Some(bell) = &*self.bell.load()
        {
            bell.wake();
        }
    }

    /// The sweeper itself is to come again at this time.
    pub(crate) fn again(&self, at: Timestamp) {
        self.next.fetch_min(at.0, Ordering::AcqRel);
    }

    /// A sweep begins: what comes from now on, it may miss.
    pub(crate) fn begin(&self) {
        self.next.store(NEVER, Ordering::Release);
    }

    pub(crate) fn next(&self) -> Option<Timestamp> {
        let next = self.next.load(Ordering::Acquire);
        (next != NEVER).then_some(Timestamp(next))
    }
}
