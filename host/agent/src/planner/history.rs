//! What is remembered of a module's restarts.

use edge_core::Timestamp;
use edge_core::runtime::RuntimeKind;

use super::{AT_ONCE, AT_ONCE_WITHIN};

/// How soon a module is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Now.
    AtOnce,
    /// When it has cooled off.
    CoolOff,
}

/// A module's restarts, since it was changed or last ran well for [`RESET`](super::RESET).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct History {
    /// All of them.
    pub restarts: u32,
    /// Those after a cool-off: the exponent of the next one.
    pub cool_offs: u32,
    /// When it was started again at once; the last [`AT_ONCE`] times.
    pub at_once: Vec<Timestamp>,
    /// Of the next cool-off, in thousandths of [`JITTER`](super::JITTER); drawn when the module ends.
    pub jitter: u16,
}

impl History {
    /// Whether there is nothing to forget.
    pub fn is_empty(&self) -> bool {
        self.restarts == 0
    }

    /// How soon it is started again, should it end at `ended`. Components cost little to start, so
    /// they have some tries at once; when these are used up, cooling off goes on until it is forgotten.
    pub fn pace(&self, kind: RuntimeKind, ended: Timestamp) -> Pace {
        let lately = |at: &&Timestamp| ended.since(**at) < AT_ONCE_WITHIN;
        let used = self.at_once.iter().filter(lately).count();
        match kind {
            RuntimeKind::Wasm if self.cool_offs == 0 && used < AT_ONCE => Pace::AtOnce,
            RuntimeKind::Wasm | RuntimeKind::Container => Pace::CoolOff,
        }
    }

    /// Takes down a restart.
    pub fn restarted(&mut self, pace: Pace, now: Timestamp) {
        self.restarts = self.restarts.saturating_add(1);
        match pace {
            Pace::CoolOff => self.cool_offs = self.cool_offs.saturating_add(1),
            Pace::AtOnce => {
                if self.at_once.len() == AT_ONCE {
                    self.at_once.remove(0);
                }
                self.at_once.push(now);
            }
        }
    }
}
