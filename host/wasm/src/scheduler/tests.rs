use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::*;

/// Longest wait for something that happens in any case.
const PATIENCE: Duration = Duration::from_secs(60);

fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "not in time: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn the_clock_ticks_while_a_service_is_polled_and_sleeps_while_it_waits() {
    let ticks = Arc::new(AtomicU64::new(0));
    let counted = ticks.clone();
    let scheduler = Scheduler::new(1, move || {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let three_more = || {
        let now = ticks.load(Ordering::Relaxed);
        until("ticks", || ticks.load(Ordering::Relaxed) >= now + 3);
    };
    let polls = AtomicU64::new(0);
    let service = std::future::poll_fn(|_| {
        three_more();
        match polls.fetch_add(1, Ordering::Relaxed) {
            0 => Poll::Pending,
            _ => Poll::Ready(()),
        }
    });
    let mut service = pin!(scheduler.ticking(service));
    let mut context = Context::from_waker(Waker::noop());
    assert!(service.as_mut().poll(&mut context).is_pending());
    until("the clock sleeps", || {
        scheduler.0.clock_sleeps.load(Ordering::SeqCst)
    });
    assert!(service.as_mut().poll(&mut context).is_ready());
    scheduler.close();
}
