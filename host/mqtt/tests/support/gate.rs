//! A log in memory whose device can be held up: what is committed meanwhile is on the device later.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use edge_core::{ByteSize, EndpointId, Priority};
use edge_store::{
    Commit, CommitError, DeadLetter, Delivery, Durable, LogMetrics, Lsn, MemoryLog, MessageLog,
    OnDurable, Pressure, QueueId, QueueStatus, Seq, Table, Visible,
};
use tokio::sync::Notify;

/// See the head of this file. What is not on the device is handed out nevertheless, also to those who want to
/// see only what is.
#[derive(Default)]
pub struct Gate {
    inner: MemoryLog,
    held: Mutex<Option<Lsn>>,
    call: Mutex<Option<OnDurable>>,
    released: Notify,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}

impl Gate {
    /// One that holds senders back when so many bytes wait.
    pub fn with_room(room: ByteSize) -> Self {
        Self {
            inner: MemoryLog::new(room),
            ..Self::default()
        }
    }

    fn held(&self) -> Option<Lsn> {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on nothing more gets on the device.
    pub fn hold(&self) {
        let newest = self.inner.durable_lsn();
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(newest);
    }

    /// All is on the device.
    pub fn release(&self) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if let Some(call) = &*self.call.lock().unwrap_or_else(PoisonError::into_inner) {
            call(self.inner.durable_lsn());
        }
        self.released.notify_waiters();
    }
}

impl MessageLog for Gate {
    fn queue(&self, endpoint: &EndpointId, priority: Priority) -> QueueId {
        self.inner.queue(endpoint, priority)
    }

    fn queues(&self) -> Vec<QueueStatus> {
        self.inner.queues()
    }

    fn commit(&self, commit: &mut Commit) -> Result<Lsn, CommitError> {
        self.inner.commit(commit)
    }

    fn durable_lsn(&self) -> Lsn {
        self.held().unwrap_or_else(|| self.inner.durable_lsn())
    }

    fn durable(&self, lsn: Lsn) -> Durable<'_> {
        Box::pin(async move {
            loop {
                let released = self.released.notified();
                tokio::pin!(released);
                // From here on a release is not missed.
                released.as_mut().enable();
                if self.durable_lsn() >= lsn {
                    return Ok(());
                }
                released.await;
            }
        })
    }

    fn when_durable(&self, call: OnDurable) {
        *self.call.lock().unwrap_or_else(PoisonError::into_inner) = Some(call);
    }

    fn read(
        &self,
        queue: QueueId,
        from: Seq,
        max: usize,
        visible: Visible,
        out: &mut Vec<Delivery>,
    ) {
        self.inner.read(queue, from, max, visible, out);
    }

    fn get(&self, table: Table, key: &[u8]) -> Option<Bytes> {
        self.inner.get(table, key)
    }

    fn keys(&self, table: Table, prefix: &[u8], after: Option<&[u8]>, max: usize) -> Vec<Bytes> {
        self.inner.keys(table, prefix, after, max)
    }

    fn dead_letters(&self, from: Seq, max: usize) -> Vec<(Seq, DeadLetter)> {
        self.inner.dead_letters(from, max)
    }

    fn pressure(&self) -> Pressure {
        self.inner.pressure()
    }

    fn metrics(&self) -> LogMetrics {
        self.inner.metrics()
    }
}
