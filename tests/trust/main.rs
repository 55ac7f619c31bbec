//! Nothing starts unverified: artifacts that somebody has tampered with are refused, each with the reason.
//!
//! `files` looks at a file and the signatures beside it, `registries` at what is in a registry, both through
//! `edge verify`; `devices` applies what was tampered with to a real daemon.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

mod devices;
mod files;
mod registries;
mod world;
