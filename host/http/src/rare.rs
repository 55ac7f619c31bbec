//! Log lines that a peer can cause at will: one a second, with the number of those left out.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Lines are at least this far apart.
const APART: Duration = Duration::from_secs(1);

/// Lets a line through now and then.
#[derive(Debug)]
pub(crate) struct Rare {
    start: Instant,
    /// When the next may pass, in nanoseconds since the start.
    next: AtomicU64,
    left_out: AtomicU64,
}

impl Default for Rare {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            next: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
        }
    }
}

impl Rare {
    /// Whether a line may be written now; if so, how many were left out before it.
    pub(crate) fn pass(&self) -> Option<u64> {
        self.pass_after(self.start.elapsed())
    }

    fn pass_after(&self, since_start: Duration) -> Option<u64> {
        let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let (now, next) = (nanos(since_start), self.next.load(Relaxed));
        let then = nanos(since_start.saturating_add(APART));
        let passes = next <= now
            && self
                .next
                .compare_exchange(next, then, Relaxed, Relaxed)
                .is_ok();
        if !passes {
            self.left_out.fetch_add(1, Relaxed);
            return None;
        }
        Some(self.left_out.swap(0, Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_passes_and_says_how_many_did_not() {
        let rare = Rare::default();
        let at = |ms| rare.pass_after(Duration::from_millis(ms));
        assert_eq!(at(0), Some(0));
        assert_eq!((at(1), at(999)), (None, None));
        assert_eq!((at(1_000), at(1_001)), (Some(2), None));
        assert_eq!(at(9_000), Some(1));
    }
}
