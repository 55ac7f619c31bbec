//! Makes the modules that run be those that are wanted.
//!
//! Called by the daemon's wiring, which registers a [`ModuleRuntime`](edge_core::runtime::ModuleRuntime)
//! for each kind of module. Knows no Wasm, no containers, no hub and no files.
//!
//! ```text
//!   set_desired ─► desired ─┐
//!   restart, shutdown ──────┤          planner (pure)                runner
//!   runtimes' events ───────┼─► desired × current × history × now ─► a command per module, each in a
//!   ends of commands ───────┤                                        task of its own, one at a time
//!   the clock ──────────────┘                                              │
//!           ▲                                                              ▼
//!           └───────────────────────────────────────── current, history, status, metrics
//! ```
//!
//! A module, as its status says it:
//!
//! ```text
//!   downloading ──► running ◄──► unhealthy
//!        │            │  ▲           │
//!        ▼            ▼  └─────── backoff ◄─── ended by itself, to be started again
//!     failed       stopped
//! ```
//!
//! Promises
//! - Modules do not wait for each other: neither for a slow preparation nor for a crash loop; only for
//!   the first start of those with a lower startup order, and for that not longer than
//!   [`planner::ORDER_WAIT`].
//! - A running build goes on until its successor is prepared. A module that is wanted as it is, is not
//!   touched.
//! - No module is given up for good: it is tried at a rate that falls, unless trying cannot help.
//! - Nothing happens while nothing changes: no polling, no tick.
//! - Nothing is kept: after a restart of the process every wanted module is started, or adopted where it
//!   still runs.

mod agent;
mod clock;
mod metrics;
pub mod planner;
mod runner;
mod status;

pub use agent::{Agent, AgentConfig, AgentHandle, Desired, RestartError};
pub use clock::{Clock, Jitter, SystemClock, random_jitter};
pub use metrics::{AgentMetrics, ModuleMetrics};
pub use status::{
    AgentStatus, Condition, DesiredState, LastDesiredStatus, ModuleStatus, RuntimeStatus,
};
