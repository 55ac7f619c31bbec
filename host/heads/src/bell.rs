//! Wakes the task of a connection.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use edge_hub::Wake;

/// Rung from any thread, heard by one task.
#[derive(Debug, Default)]
pub struct Bell {
    rung: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Bell {
    /// Wakes the task; many rings before it looks are one.
    pub fn ring(&self) {
        if self.rung.swap(true, Ordering::AcqRel) {
            return;
        }
        let waker = self
            .waker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ready once for any number of rings since the last time.
    pub fn poll(&self, context: &Context<'_>) -> Poll<()> {
        if self.rung.swap(false, Ordering::AcqRel) {
            return Poll::Ready(());
        }
        *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.waker().clone());
        // It may have been rung before the waker was there.
        match self.rung.swap(false, Ordering::AcqRel) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// The same as a future.
    pub async fn rung(&self) {
        std::future::poll_fn(|context| self.poll(context)).await;
    }
}

impl Wake for Bell {
    fn wake(&self) {
        self.ring();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::sync::Arc;

    #[tokio::test]
    async fn rings_are_heard_once_and_never_missed() {
        let bell = Arc::new(Bell::default());
        bell.ring();
        bell.ring();
        poll_fn(|context| bell.poll(context)).await;
        let heard = tokio::spawn({
            let bell = bell.clone();
            async move { poll_fn(|context| bell.poll(context)).await }
        });
        tokio::task::yield_now().await;
        assert!(!heard.is_finished());
        bell.ring();
        heard.await.expect("it is heard");
    }
}
