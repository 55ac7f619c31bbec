//! The MQTT head: 3.1.1 and 5 for modules, devices, and open topics.
//!
//! ```text
//! stream ──► connection ──► packet::Decoder ──► Service ──► link ──► the hub's commit ──► encode ──► stream
//!                │                                 │ sdk: topics of Azure's SDKs (azure, bag)
//!                └ door: who may come in           │ topics: open topics (topic, tree)
//!                  (head: SDKs, topics: open)      session, window: what outlives the connection
//! ```
//!
//! The daemon opens a [`Head`] and, where open topics are served, [`Topics`], and hands them streams. What is
//! public beside them does no I/O and knows no clock: packets, and what names mean.

pub mod azure;
pub mod bag;
pub mod client;
mod connection;
mod door;
pub mod encode;
mod head;
mod link;
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
pub use edge_heads::HeadConfig;
pub use head::Head;
pub use packet::{Decoder, Packet, PacketError};
pub use reason::Reason;
pub use topics::{BadFilter, TopicMapping, TopicRule, Topics, TopicsConfig};
