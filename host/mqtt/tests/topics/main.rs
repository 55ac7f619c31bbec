//! The open topics as clients see them, over streams in memory: who gets what, what is kept, what is refused.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../support/client.rs"]
mod support;

mod access;
mod kept;
mod messages;
mod sessions;
mod world;
