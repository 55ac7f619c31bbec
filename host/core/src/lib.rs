//! What every other crate shares: ids, messages, deployments, limits, units and error codes.
//!
//! Pure data: no I/O, no clock, no async. Time comes in as [`Timestamp`], read by whoever owns a clock.
//!
//! ```text
//! Message ── Arc<Content>   body, application properties, the sender's system properties
//!    │                      shared by every copy, queue and derived message
//!    └────── Arc<Origin>    who sent it, by which output: shared by all messages of one sender
//! ```

mod chain;
pub mod deployment;
mod digest;
mod ids;
pub mod limits;
mod message;
mod properties;
mod reference;
pub mod runtime;
pub mod twin;
mod units;

pub use chain::chain;
pub use digest::{Digest, ParseDigestError};
pub use ids::{DeviceId, EndpointId, Identity, InvalidId, ModuleId, Priority};
pub use message::{Content, Message, MessageBuilder, MessageId, Origin, Source};
pub use properties::{Properties, SystemProperties, system};
pub use reference::{ParseReferenceError, Reference, registry_of_address};
pub use units::{ByteSize, ParseUnitError, Timestamp, format_duration, parse_duration};
