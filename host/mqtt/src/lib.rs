//! The MQTT head: 3.1.1 and 5 for modules, devices, and open topics.
//!
//! ```text
//! bytes ──► packet::Decoder ──► Packet ──► session ──► encode::… ──► bytes
//!                                            │
//!                       azure: the SDKs' topics │ bag: their properties
//!                       topic, tree: open topics and what subscribes to them
//! ```
//!
//! The modules here do no I/O and know no clock: what one connection says and hears, and what names mean.

pub mod azure;
pub mod bag;
mod bell;
pub mod client;
mod connection;
mod door;
pub mod encode;
mod head;
mod link;
mod live;
mod output;
pub mod packet;
mod reason;
mod refused;
mod sdk;
mod session;
pub mod topic;
mod topics;
pub mod tree;
mod window;

pub use door::HeadStatus;
pub use head::{Head, HeadConfig};
pub use packet::{Decoder, Packet, PacketError};
pub use reason::Reason;
pub use topics::{BadFilter, TopicMapping, TopicRule, Topics, TopicsConfig};
