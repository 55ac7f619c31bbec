//! Time and chance, which come in from outside.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use edge_core::Timestamp;
use edge_core::runtime::BoxFuture;

/// A clock that people set, and waiting that does not depend on it.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The time of day. May jump, backwards too.
    fn now(&self) -> Timestamp;

    /// Time since some moment that stays the same. Never jumps.
    fn elapsed(&self) -> Duration;

    /// Waits. Cancel safe.
    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()>;
}

/// The clock of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Timestamp(0).after(since.unwrap_or_default())
    }

    fn elapsed(&self) -> Duration {
        static BEGIN: OnceLock<Instant> = OnceLock::new();
        BEGIN.get_or_init(Instant::now).elapsed()
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(span))
    }
}

/// Draws how much shorter than its full time a module cools off, in thousandths (0 to 1000) of
/// [`planner::JITTER`](crate::planner::JITTER).
pub type Jitter = Box<dyn FnMut() -> u16 + Send>;

/// Draws from all.
pub fn random_jitter() -> Jitter {
    // Each state has a key of its own, drawn by the standard library: chance enough to spread restarts.
    Box::new(|| u16::try_from(RandomState::new().hash_one(0) % 1_001).unwrap_or(0))
}
