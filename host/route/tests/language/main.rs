//! The language from outside: both modes, tables, explanations, and that nothing panics.

#![allow(clippy::unwrap_used, reason = "tests")]

mod compat;
mod properties;
mod strict;
mod support;
mod table;
