//! `edge daemon` and the commands that talk to it, from outside: the program is started with real
//! components in a temporary directory.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

mod agent;
mod bundle;
mod checks;
mod commands;
mod compile;
mod deploying;
mod identities;
mod letters;
mod rollback;
mod settings;
mod starting;
mod streams;
