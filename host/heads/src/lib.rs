//! What protocol heads share, whatever their clients speak.
//!
//! ```text
//!   Live       who is connected: one connection for a name, and what becomes of the one before
//!   Controls   what comes to a client from the hub outside of queues: calls, changes of its twin
//!   Bell       wakes the task of a connection from any thread
//! ```
//!
//! Called by `host/mqtt` and `host/amqp`. Those heads whose clients are identities share one [`Live`], so that
//! who comes back by another protocol takes the place of the connection that it left behind.

mod bell;
mod config;
mod controls;
mod live;

pub use bell::Bell;
pub use config::HeadConfig;
pub use controls::{Control, Controls};
pub use live::{Handle, Live, NoSeat, Seat, Told};
