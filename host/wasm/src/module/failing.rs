//! Whether a module fails at every message, and how long its messages wait then.
//!
//! ```text
//!   works ─three messages given up in a row─► spared: pauses between tries, doubled with each that is given up
//!     ▲                                         │
//!     └── a message is handled, a new build ────┘
//! ```

use std::time::Duration;

/// Messages given up in a row after which a module is spared.
pub(super) const SPARED_AFTER: u32 = 3;
/// The first pause, doubled with each message that is given up; and the longest.
pub(super) const PAUSE_FIRST: Duration = Duration::from_secs(1);
pub(super) const PAUSE_LONGEST: Duration = Duration::from_secs(30);

/// What is known of it.
#[derive(Debug, Default)]
pub(super) struct Failing {
    /// Messages given up after faults since the last one that was handled.
    given_up: u32,
}

impl Failing {
    /// A guest that says what it wants works, whatever that is.
    pub(super) fn worked(&mut self) {
        self.given_up = 0;
    }

    /// A message was given up; whether the module is spared from now on.
    pub(super) fn gave_up(&mut self) -> bool {
        self.given_up = self.given_up.saturating_add(1);
        self.given_up == SPARED_AFTER
    }

    /// How long to wait before a message is tried again; none: it is not spared.
    pub(super) fn pause(&self) -> Option<Duration> {
        let doubled = self.given_up.checked_sub(SPARED_AFTER)?;
        let pause = PAUSE_FIRST.saturating_mul(1 << doubled.min(16));
        Some(pause.min(PAUSE_LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_begin_with_the_third_in_a_row_double_and_end_with_one_that_works() {
        let mut failing = Failing::default();
        let told: Vec<_> = (0..9)
            .map(|_| {
                let is_news = failing.gave_up();
                (is_news, failing.pause().map(|pause| pause.as_secs()))
            })
            .collect();
        let spared: [(bool, Option<u64>); 7] =
            [1, 2, 4, 8, 16, 30, 30].map(|seconds| (seconds == 1, Some(seconds)));
        assert_eq!(told[..2], [(false, None); 2]);
        assert_eq!(told[2..], spared);
        failing.worked();
        assert_eq!(failing.pause(), None);
    }
}
