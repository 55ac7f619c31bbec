//! That nothing acknowledged is lost and nothing takes effect twice: `edge daemon` is killed and
//! starved, and a ledger outside of it says what should be there.
//!
//! `EDGE_LONG_TESTS=1` makes it 200 kills instead of 10; `EDGE_SEED` repeats a run's choices.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

mod amqp;
mod chain;
mod chance;
mod full;
mod judge;
mod kills;
mod line;
mod load;
mod mqtt;
mod outages;
mod outside;
mod parent;
mod relay;
