//! `edge run`, from outside: the program is started with real components, and what comes out of it
//! is looked at.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

mod cache;
mod components;
mod faults;
mod grants;
mod input;
mod manifests;
mod methods;
mod neighbours;
mod routes;
mod samples;
mod steps;
mod stopping;
mod watch;
