//! AMQP 1.0 as IoT Hub speaks it (client contract, section 8).
//!
//! ```text
//!   head        serves clients, and edge devices below us      over fe2o3-amqp
//!   client      the connection to a parent                     over fe2o3-amqp
//!     │
//!   address     what a link is about, and whose it is              pure
//!   message     one message: AMQP's sections, the hub's content    pure
//!   batch       many of them in one transfer                       pure
//! ```
//!
//! Promises
//! - What a message says comes through both ways; what has no counterpart is named in `message`.
//! - Damaged or hostile input is an error that names its place, never a panic.

pub mod address;
pub mod batch;
pub mod client;
mod frames;
mod guard;
mod head;
pub mod message;

/// Updates of a link of [`Address::Scope`] that are not accepted yet. Its correlation says what the gateway knows.
const SCOPE_WINDOW: u16 = 8;
/// In answers to tokens: there is a link that tells who is behind a gateway ([`Address::Scope`]).
const OFFERS_SCOPE: &str = "edge-scope";

pub use address::{Address, UnknownAddress};
pub use guard::Traffic;
pub use head::{AmqpHead, AmqpStatus, Limits};
