//! A future on a thread that may block: it is polled when something wakes it, or when the time that it waits
//! for has come.

use std::cell::Cell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// The time of one future that is run.
#[derive(Debug, Default)]
pub(super) struct Timer {
    /// When to poll again though nothing wakes it.
    next: Cell<Option<Instant>>,
}

impl Timer {
    /// Ends after a span.
    pub(super) fn sleep(&self, span: Duration) -> Sleep<'_> {
        Sleep {
            timer: self,
            until: Instant::now().checked_add(span),
        }
    }
}

pub(super) struct Sleep<'a> {
    timer: &'a Timer,
    /// `None`: beyond the end of time.
    until: Option<Instant>,
}

impl Future for Sleep<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.until.is_some_and(|until| until <= Instant::now()) {
            return Poll::Ready(());
        }
        self.timer.next.set(self.until);
        Poll::Pending
    }
}

/// Not [`std::thread::park`]: the future may come to code that parks this thread as well, and a wake must
/// not be lost to it.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_one();
    }
}

impl Bell {
    /// Waits until it rings or the time has come.
    fn wait(&self, until: Option<Instant>) {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        while !std::mem::take(&mut *rung) {
            rung = match until {
                None => self
                    .changed
                    .wait(rung)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return;
                    }
                    self.changed
                        .wait_timeout(rung, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
    }
}

/// Runs a future, which sleeps by this timer only, to its end on this thread.
pub(super) fn run<F: Future>(timer: &Timer, future: F) -> F::Output {
    let mut future = pin!(future);
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(bell.clone());
    let mut context = Context::from_waker(&waker);
    loop {
        timer.next.set(None);
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        bell.wait(timer.next.get());
    }
}
