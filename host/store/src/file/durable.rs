//! Who waits for commits to be on the device.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::{CommitError, Lsn, OnDurable};

/// How far the log is on the device, and who waits for more.
#[derive(Default)]
pub(crate) struct Durability {
    lsn: AtomicU64,
    /// The newest commit that somebody outside waits for.
    urgent: AtomicU64,
    waiting: Mutex<Waiting>,
    callback: OnceLock<OnDurable>,
}

#[derive(Default)]
struct Waiting {
    wakers: BTreeMap<(u64, u64), Waker>,
    count: u64,
    failed: Option<Arc<str>>,
}

impl fmt::Debug for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Durability")
            .field("lsn", &self.lsn)
            .finish_non_exhaustive()
    }
}

impl Durability {
    pub(crate) fn lsn(&self) -> u64 {
        self.lsn.load(Ordering::Acquire)
    }

    pub(crate) fn set_callback(&self, call: OnDurable) {
        // One hub per log; a second one would not hear of anything, and is a mistake in the wiring.
        assert!(self.callback.set(call).is_ok(), "one callback per log");
    }

    /// Everything up to `lsn` is on the device.
    pub(crate) fn advance(&self, lsn: u64) {
        self.lsn.store(lsn, Ordering::Release);
        let due = {
            let mut waiting = self.waiting();
            let later = waiting.wakers.split_off(&(lsn + 1, 0));
            std::mem::replace(&mut waiting.wakers, later)
        };
        due.into_values().for_each(Waker::wake);
        if let Some(call) = self.callback.get() {
            call(Lsn(lsn));
        }
    }

    /// Nothing more will be.
    pub(crate) fn fail(&self, why: &Arc<str>) {
        let all = {
            let mut waiting = self.waiting();
            waiting.failed = Some(why.clone());
            std::mem::take(&mut waiting.wakers)
        };
        all.into_values().for_each(Waker::wake);
    }

    pub(crate) fn wait(&self, lsn: Lsn) -> Wait<'_> {
        Wait {
            durability: self,
            lsn: lsn.0,
            key: None,
        }
    }

    /// Somebody outside waits for a commit.
    pub(crate) fn set_urgent(&self, lsn: u64) {
        self.urgent.fetch_max(lsn, Ordering::SeqCst);
    }

    /// Whether anybody waits for a commit that is not on the device yet.
    pub(crate) fn is_awaited(&self) -> bool {
        self.urgent.load(Ordering::SeqCst) > self.lsn()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Resolves when a commit is on the device, or when it never will be.
pub(crate) struct Wait<'a> {
    durability: &'a Durability,
    lsn: u64,
    key: Option<(u64, u64)>,
}

impl Future for Wait<'_> {
    type Output = Result<(), CommitError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let durability = self.durability;
        if durability.lsn() >= self.lsn {
            return Poll::Ready(Ok(()));
        }
        let mut waiting = durability.waiting();
        if let Some(why) = &waiting.failed {
            return Poll::Ready(Err(CommitError::Failed(why.to_string())));
        }
        // Looked at again under the lock: who advances takes the wakers under it, after the store.
        if durability.lsn() >= self.lsn {
            return Poll::Ready(Ok(()));
        }
        let key = self.key.unwrap_or_else(|| {
            waiting.count += 1;
            (self.lsn, waiting.count)
        });
        waiting.wakers.insert(key, context.waker().clone());
        drop(waiting);
        self.key = Some(key);
        Poll::Pending
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.durability.waiting().wakers.remove(&key);
        }
    }
}
