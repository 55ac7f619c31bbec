//! What AMQP 1.0 says as IoT Hub speaks it (client contract, section 8): pure, no I/O and no clock. Connections
//! are to come on top of it: the head for clients, and the client side for the parent.
//!
//! ```text
//!   link address ──── Address      what a link is about, and whose it is
//!   transfer ──────── message      one message, between AMQP's sections and the hub's content
//!   batch transfer ── batch        many of them in one transfer
//! ```
//!
//! Promises
//! - What a message says comes through both ways; what has no counterpart is named in `message`.
//! - Damaged or hostile input is an error that names its place, never a panic.

pub mod address;
pub mod batch;
pub mod message;

pub use address::{Address, UnknownAddress};
