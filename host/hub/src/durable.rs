//! Who waits for commits to be on the device.
//!
//! ```text
//!   add: not durable yet ─► waits, from its first commit to its last ─► wake, at each sync that brings some of it
//!        durable already ─► wake                                            └─ the last is there: waits no more
//! ```

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use edge_store::Lsn;
use smallvec::SmallVec;

use crate::Wake;

/// Somebody who is to be woken when commits are on the device; see
/// [`Hub::wake_when_durable`](crate::Hub::wake_when_durable).
pub struct DurableWaker {
    waker: Arc<dyn Wake>,
    /// The commits that it waits for, from the first to the last; none while `last` is 0. Changed under
    /// the lock of [`Awaiting`] only.
    first: AtomicU64,
    last: AtomicU64,
}

impl DurableWaker {
    /// Waits for nothing yet.
    pub fn new(waker: Arc<dyn Wake>) -> Arc<Self> {
        Arc::new(Self {
            waker,
            first: AtomicU64::new(0),
            last: AtomicU64::new(0),
        })
    }

    pub(crate) fn wake(&self) {
        self.waker.wake();
    }
}

impl fmt::Debug for DurableWaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DurableWaker")
            .field("first", &self.first)
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}

/// All who wait.
#[derive(Debug, Default)]
pub(crate) struct Awaiting(Mutex<Vec<Arc<DurableWaker>>>);

impl Awaiting {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<DurableWaker>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commits up to this one are on the device.
    pub(crate) fn wake(&self, lsn: Lsn) {
        let mut due: SmallVec<[Arc<DurableWaker>; 8]> = SmallVec::new();
        self.lock().retain(|waiting| {
            if waiting.first.load(Ordering::Relaxed) <= lsn.0 {
                due.push(waiting.clone());
                waiting.first.store(lsn.0 + 1, Ordering::Relaxed);
            }
            let more = waiting.last.load(Ordering::Relaxed) > lsn.0;
            if !more {
                waiting.last.store(0, Ordering::Relaxed);
            }
            more
        });
        due.iter().for_each(|waiting| waiting.wake());
    }

    /// Has somebody woken whenever more commits are on the device, until this one is. `durable` says which are.
    pub(crate) fn add(&self, lsn: Lsn, waiting: &Arc<DurableWaker>, durable: impl Fn() -> Lsn) {
        if durable() < lsn {
            let mut awaiting = self.lock();
            // It may have become durable before the lock was had, and then nobody calls for it any more.
            if durable() < lsn {
                let last = waiting.last.load(Ordering::Relaxed);
                waiting.last.store(last.max(lsn.0), Ordering::Relaxed);
                if last == 0 {
                    waiting.first.store(lsn.0, Ordering::Relaxed);
                    awaiting.push(waiting.clone());
                }
                return;
            }
        }
        waiting.wake();
    }
}
