//! HTTPS and WebSocket on one port, the workload API, and the accept loop of every port with TLS.
//!
//! Called by the daemon, which opens the ports and hands in the heads that speak other protocols. Knows HTTP, TLS
//! and WebSocket; what identities and keys are is `edge-identity`'s, what messages and methods are the hub's.
//!
//! ```text
//!   8883 ─► Listener ── TLS ──────────────────────────────► StreamHead (MQTT)
//!   443  ─► Listener ── TLS ─► Gateway ─┬─ WebSocket ─────► StreamHead (MQTT)
//!                                       ├─ methods ───────► Hub
//!                                       └─ telemetry ─────► Hub
//!   a socket per module ─► WorkloadServer ─► edge_identity::Workload
//! ```
//!
//! Promises
//! - A connection lives in one task from accept to end; it holds a permit, and there is a bounded number of those.
//! - Nobody holds up others by doing nothing: handshakes, heads of requests and bodies have time limits.
//! - Every request has a size limit, and its body is read as bytes whatever it says that it is: clients leave
//!   `Content-Type` out (client contract, section 1, row 6).
//! - Stopping is orderly: no new connections, what is under way ends, what does not end in time is cut off.

mod body;
mod connection;
mod gateway;
mod listener;
mod prompt;
mod rare;
mod refusal;
mod stream;
#[cfg(test)]
mod support;
mod tcp;
mod websocket;
mod workload;

pub use gateway::{Gateway, GatewayConfig};
pub use listener::{ListenError, Listener, ListenerConfig};
pub use stream::{BoxedStream, ByteStream, Serving, StreamHead};
pub use tcp::{ask_again_soon, round_trip};
pub use websocket::{WebSocketBytes, websocket_client};
pub use workload::{WorkloadConfig, WorkloadListenError, WorkloadServer, WorkloadSocket};
