//! The hub: authorize, route, append, deliver.
//!
//! Called by protocol heads and module runtimes on one side (through [`Sender`] and [`Inbox`]) and by
//! the daemon on the other (routes, twins, methods, counters). It knows neither Wasm nor containers.
//!
//! ```text
//!   Sender ──stage──► Commit ──Hub::commit──► log ──wake──► Inbox ──take──► module, device, upstream
//!     │ size, output name,       │ atomic                     │ order, TTL, priority
//!     │ route, loop guard        │                            │ settled │ retry later │ dead letter
//!     ▼                          ▼                            ▼
//!   refused, with a reason     counted                      progress, in the next commit
//! ```
//!
//! Promises
//! - A sender is a permit: it sends as the identity that it was made for, and as nobody else.
//! - What is staged takes effect with the commit, or not at all; a failed step is rolled back by whoever
//!   filled the commit.
//! - A queue is delivered in order. An entry that is to be retried blocks its queue until then, and no other.
//! - Whatever leaves a queue unhandled is counted by reason; what was rejected is kept as a dead letter.
//! - Full: senders outside wait or are refused ([`Hub::pressure`]); modules inside are refused by `send`
//!   only at a multiple of that, and never wait for each other.
//!
//! Locks: that of the readers is held while the log lists its queues, that of a change of a twin or a dead
//! letter across its commit; no other is held while one is taken, and none across a call to a waker but the
//! last.

mod clock;
mod counters;
mod durable;
mod hub;
mod inbox;
pub mod meters;
mod methods;
mod sender;
mod taps;
#[cfg(test)]
mod tests;
mod twins;
mod unread;
mod upkeep;

pub use clock::{Clock, SystemClock};
pub use counters::{Counters, Snapshot};
pub use durable::DurableWaker;
pub use hub::{Hub, HubConfig, Observer, Wake};
pub use inbox::{Inbox, Owner};
pub use methods::{
    Caller, Invocation, MethodCall, MethodError, MethodResponse, MethodTarget, Methods,
};
pub use sender::{SendRefusal, Sender};
pub use taps::Tap;
pub use twins::{ReportListener, Section, Side, TwinError, TwinListener};
pub use upkeep::ReplayError;
