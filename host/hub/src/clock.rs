//! The hub's one source of time.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use edge_core::Timestamp;

/// Tells the time. Everything that expires or waits in the hub asks it, so that tests need not wait.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }
}
