//! Counts and durations by who and where, for metrics that are asked for by label.
//!
//! Whoever counts keeps the set that it counts in: a [`Sender`](crate::Sender) one for each output that it
//! remembers, an [`Inbox`](crate::Inbox) one for each queue and sender. They are looked up here once, under
//! a lock; a message then costs a few relaxed additions and neither a lock nor an allocation.
//!
//! What names a set comes from outside in part (outputs, devices), so their number is limited. Past the
//! limit everything new is counted in one set without a name, and how often that was asked for is counted
//! too. Sets stay until the process ends, as counters must.

mod family;
mod histogram;
mod links;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use edge_core::{EndpointId, Identity, Origin, Priority, Timestamp};

pub use family::Family;
pub use histogram::{Distribution, Durations, Histogram, Sizes};
pub(crate) use links::Links;

/// Outputs that are told apart.
const OUTPUTS: usize = 1_024;
/// Ways from an output to an input that are told apart.
const LINKS: usize = 1_024;
/// Identities whose twins are told apart.
const TWINS: usize = 256;
/// Pairs of caller and callee that are told apart.
const CALLS: usize = 256;
/// Clients that are told apart.
const CLIENTS: usize = 1_024;
/// Reasons for which clients are refused.
const REFUSALS: usize = 64;

/// A count that goes up.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// As of now.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }
}

/// What came in at one output of one identity. Known by its [`Origin`].
#[derive(Debug, Default)]
pub struct OutputMeter {
    /// Sizes in bytes of the messages taken in; their count is that of the messages.
    pub sizes: Sizes,
    /// Messages that no route took.
    pub no_route: Count,
    /// Messages refused because they were too large.
    pub too_large: Count,
    /// Messages caught in a loop of routes.
    pub looped: Count,
    /// Messages whose commit the log did not take because it is full; their sender knows.
    pub not_stored_full: Count,
    /// The same because it failed.
    pub not_stored_failed: Count,
}

/// From where to where a message went.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LinkKey {
    /// Who sent it.
    pub origin: Arc<Origin>,
    /// Where a route led it.
    pub endpoint: EndpointId,
    /// The rank of its queue.
    pub priority: Priority,
}

/// What became of the messages that went one way. Known by its [`LinkKey`].
#[derive(Debug, Default)]
pub struct LinkMeter {
    /// From being handed to the reader until it came back for more, which is after it had handled and
    /// committed them: one time for all that it took together. Their count is that of deliveries handled.
    pub sending: Durations,
    /// From being taken in until the same moment.
    pub processing: Durations,
    /// Deliveries put off for another try.
    pub retried: Count,
    /// Entries that were not delivered before their time to live ended.
    pub expired: Count,
    /// Entries that their receiver rejected.
    pub rejected: Count,
    /// Entries given up after traps or missed deadlines.
    pub failed: Count,
    /// Entries given up because no route leads there any more.
    pub abandoned: Count,
}

/// What was asked of the twin of one [`Identity`].
#[derive(Debug, Default)]
pub struct TwinMeter {
    /// Times it was read, and how long that took.
    pub reads: Durations,
    /// Changes of reported properties that were taken, and how long that took.
    pub reports: Durations,
}

/// Who called whom. `None`: somebody outside of every module.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CallKey {
    /// The module in whose step the call was made.
    pub from: Option<Identity>,
    /// Who was to answer.
    pub to: Identity,
}

/// Calls of methods. Known by its [`CallKey`].
#[derive(Debug, Default)]
pub struct CallMeter {
    /// Calls that reached somebody who answers methods, and how long it took them to end either way.
    pub calls: Durations,
}

/// Connections of one client.
#[derive(Debug, Default)]
pub struct ClientMeter {
    /// Those that were let in.
    pub connects: Count,
    /// Those of them that ended.
    pub disconnects: Count,
    /// When the newest began and ended, in nanoseconds since 1970; zero: never.
    began: AtomicU64,
    ended: AtomicU64,
}

impl ClientMeter {
    /// Its connection has ended.
    pub fn disconnected(&self, now: Timestamp) {
        self.ended.store(now.0, Relaxed);
        self.disconnects.add(1);
    }

    /// Whether it is connected.
    pub fn is_connected(&self) -> bool {
        self.connects.get() > self.disconnects.get()
    }

    /// When its newest connection began.
    pub fn began(&self) -> Option<Timestamp> {
        time(&self.began)
    }

    /// When a connection of its ended last.
    pub fn ended(&self) -> Option<Timestamp> {
        time(&self.ended)
    }
}

fn time(nanos: &AtomicU64) -> Option<Timestamp> {
    Some(Timestamp(nanos.load(Relaxed))).filter(|at| at.0 > 0)
}

/// All of it.
#[derive(Debug)]
pub struct Meters {
    /// What came in.
    pub outputs: Family<Arc<Origin>, OutputMeter>,
    /// What went out.
    pub links: Family<LinkKey, LinkMeter>,
    /// Twins.
    pub twins: Family<Identity, TwinMeter>,
    /// Methods.
    pub calls: Family<CallKey, CallMeter>,
    /// Connections of clients, by identity; `None`: of those that have none.
    pub clients: Family<Option<Identity>, ClientMeter>,
    /// Clients that were not let in, by reason.
    pub refused: Family<&'static str, Count>,
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            outputs: Family::new(OUTPUTS),
            links: Family::new(LINKS),
            twins: Family::new(TWINS),
            calls: Family::new(CALLS),
            clients: Family::new(CLIENTS),
            refused: Family::new(REFUSALS),
        }
    }
}

impl Meters {
    /// A client was let in. What is returned is to be told when it has gone.
    pub fn client_connected(&self, client: Option<&Identity>, now: Timestamp) -> Arc<ClientMeter> {
        let meter = self.clients.get(&client.cloned());
        meter.began.store(now.0, Relaxed);
        meter.connects.add(1);
        meter
    }

    /// A client was not let in.
    pub fn client_refused(&self, reason: &'static str) {
        self.refused.get(&reason).add(1);
    }

    pub(crate) fn link(
        &self,
        origin: &Arc<Origin>,
        endpoint: &EndpointId,
        priority: Priority,
    ) -> Arc<LinkMeter> {
        self.links.get(&LinkKey {
            origin: origin.clone(),
            endpoint: endpoint.clone(),
            priority,
        })
    }
}

/// Nanoseconds of a span that fits any process's life.
pub(crate) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// Nanoseconds between two times; none if the clock was set back.
pub(crate) fn nanos_since(now: Timestamp, then: Timestamp) -> u64 {
    now.0.saturating_sub(then.0)
}
