//! What stands where the parent would be: a thread that hands out what is routed to `$upstream`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use edge_core::Message;
use edge_hub::{Hub, Owner, Wake};
use edge_store::{Commit, Delivery, Visible};

/// Messages handed out before progress is committed.
const BATCH: usize = 256;

/// Takes messages. An error ends the delivery; the message stays in its queue.
pub trait Take: Send {
    /// The next message, in order.
    ///
    /// # Errors
    /// It cannot be taken, now or ever.
    fn message(&mut self, message: &Message) -> std::io::Result<()>;

    /// The end of a batch: what was held back goes out now.
    ///
    /// # Errors
    /// It cannot go out; the batch counts as not taken.
    fn flush(&mut self) -> std::io::Result<()>;
}

/// Why delivery ended before it was stopped.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The taker failed.
    #[error("what goes upstream cannot be handed on")]
    Take(#[from] std::io::Error),
    /// Whatever reads the output does not read on.
    #[error("the output is not read on")]
    Stuck,
    /// The thread panicked.
    #[error("the output thread panicked")]
    Panicked,
}

/// A running delivery.
#[derive(Debug)]
pub struct Upstream {
    bell: Arc<Bell>,
    thread: JoinHandle<std::io::Result<()>>,
}

#[derive(Debug, Default)]
struct Bell {
    rung: Mutex<bool>,
    ring: Condvar,
    stop: AtomicBool,
}

impl Wake for Bell {
    fn wake(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.ring.notify_one();
    }
}

impl Bell {
    fn wait(&self, until: Option<Instant>) {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        while !*rung && !self.stop.load(Ordering::Acquire) {
            let left = until.map_or(Duration::from_secs(3600), |at| {
                at.saturating_duration_since(Instant::now())
            });
            if left.is_zero() {
                break;
            }
            rung = self
                .ring
                .wait_timeout(rung, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        *rung = false;
    }
}

impl Upstream {
    pub(crate) fn start(hub: &Arc<Hub>, take: Box<dyn Take>) -> std::io::Result<Self> {
        let bell = Arc::new(Bell::default());
        let (hub, rings) = (hub.clone(), bell.clone());
        let thread = std::thread::Builder::new()
            .name("upstream".to_owned())
            .spawn(move || deliver(&hub, rings, take))?;
        Ok(Self { bell, thread })
    }

    /// Whether it ended by itself, because the taker failed.
    pub fn has_failed(&self) -> bool {
        self.thread.is_finished()
    }

    /// Hands out what is there, at most for `grace`, and says how it went.
    ///
    /// # Errors
    /// The taker had failed, or did not come to an end in time: then it is left behind.
    pub fn stop(self, grace: Duration) -> Result<(), UpstreamError> {
        self.bell.stop.store(true, Ordering::Release);
        self.bell.wake();
        let until = Instant::now() + grace;
        while !self.thread.is_finished() {
            if Instant::now() >= until {
                return Err(UpstreamError::Stuck);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.thread.join().map_err(|_| UpstreamError::Panicked)??;
        Ok(())
    }
}

fn deliver(hub: &Arc<Hub>, bell: Arc<Bell>, mut take: Box<dyn Take>) -> std::io::Result<()> {
    let mut inbox = hub.inbox(Owner::Upstream, bell.clone(), Visible::Durable);
    let mut commit = Commit::new();
    let mut batch: Vec<Delivery> = Vec::new();
    loop {
        // Looked at first, so that nothing that was there before is left.
        let stop = bell.stop.load(Ordering::Acquire);
        let now = hub.now();
        let again = inbox.take(BATCH, now, &mut batch, &mut commit);
        let idle = batch.is_empty();
        for delivery in batch.drain(..) {
            take.message(&delivery.message)?;
            inbox.handled(&delivery, &mut commit);
        }
        if !idle {
            take.flush()?;
        }
        if let Err(error) = hub.commit(&mut commit) {
            return Err(std::io::Error::other(error));
        }
        if idle && stop {
            return Ok(());
        }
        if idle {
            bell.wait(again.map(|at| Instant::now() + at.since(now)));
        }
    }
}
