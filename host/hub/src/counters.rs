//! What the hub did with messages, by reason.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::meters::Meters;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Running counts since the hub started.
        #[derive(Debug, Default)]
        pub struct Counters {
            /// Messages taken in are counted there already, by output; once is enough for a message.
            meters: Arc<Meters>,
            $($(#[$doc])* pub(crate) $name: AtomicU64,)*
        }

        /// The counts at one moment.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
        pub struct Snapshot {
            /// Messages taken in.
            pub received: u64,
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            pub(crate) fn new(meters: Arc<Meters>) -> Self {
                Self { meters, ..Self::default() }
            }

            /// The counts now.
            pub fn snapshot(&self) -> Snapshot {
                let outputs = self.meters.outputs.all();
                let received = outputs.iter().map(|(_, meter)| meter.sizes.count()).sum();
                Snapshot { received, $($name: self.$name.load(Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Messages that no route took; acknowledged and dropped, as the seed system does.
    no_route,
    /// Messages refused because they were too large.
    too_large,
    /// Deliveries that were handled.
    handled,
    /// Deliveries put off for another try.
    retried,
    /// Entries that were not delivered before their time to live ended.
    expired,
    /// Entries that their receiver rejected.
    rejected,
    /// Entries given up after traps or missed deadlines.
    failed,
    /// Messages caught in a loop of routes.
    looped,
    /// Entries given up because no route leads to their endpoint any more.
    abandoned,
}

pub(crate) fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(n as u64, Relaxed);
}
