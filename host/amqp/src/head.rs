//! The head for clients that speak AMQP 1.0, and for edge devices whose parent we are.
//!
//! ```text
//!   stream ─► guard (frames) ─► SASL or none ─► connection ─► session ─► attach: whose is it, what is it about?
//!                                                                          │ $cbs ─► token ─► client
//!              ┌───────────────────────────────────────────────────────────┘
//!              ▼
//!   client (an identity on a connection: permit, seat)
//!     ├ telemetry    receives ─► commit of what is there ─► on the device ─► accepted
//!     ├ deliveries   inbox ─► window and credit open? ─► transfer ─► outcome ─► progress
//!     ├ twin         requests ─► answers; changes of desired properties
//!     └ methods      calls ─► answers
//! ```
//!
//! One connection carries as many identities as put tokens, one TCP connection of an edge device all of its
//! modules and devices.
//!
//! Promises
//! - `accepted` means that it is on the device, and in order. What cannot be taken is `rejected` with a reason.
//! - What a peer has not settled when its link or connection ends comes again, first of all.
//! - Full: telemetry waits without credit; nothing else of the connection waits with it.
//! - A peer that breaks the protocol, is silent or takes nothing loses its connection, and nobody else's.
//! - One connection for an identity: the newest, by whatever protocol ([`edge_heads::Live`]).

mod cbs;
mod client;
mod condition;
mod connection;
mod deliveries;
mod methods;
mod sasl;
mod scope;
mod telemetry;
mod twin;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use edge_heads::HeadConfig;
use edge_identity::Peer;
use tokio::io::{AsyncRead, AsyncWrite};

/// What a peer may use of us.
#[derive(Debug, Clone)]
pub struct Limits {
    /// From the first byte to the open connection.
    pub handshake: Duration,
    /// From the open connection to the first identity that is proven.
    pub proof: Duration,
    /// A peer that sends nothing for so long is gone. It is told so, and well-behaved ones send at half of it.
    pub idle: Duration,
    /// Bytes of a frame.
    pub frame: u32,
    /// Sessions of a connection.
    pub sessions: u16,
    /// Links of a session.
    pub links: u32,
    /// Identities of a connection.
    pub identities: usize,
    /// Deliveries that a link may have without an outcome, in either direction.
    pub window: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(30),
            proof: Duration::from_secs(120),
            idle: Duration::from_secs(240),
            frame: 64 << 10,
            sessions: 16,
            links: 32_768,
            identities: 4_096,
            window: 512,
        }
    }
}

/// Serves clients that speak AMQP.
#[derive(Debug)]
pub struct AmqpHead(Arc<Shared>);

/// What all connections share.
#[derive(Debug)]
struct Shared {
    config: HeadConfig,
    limits: Limits,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicUsize,
    accepted: AtomicU64,
    refused: AtomicU64,
    taken_over: AtomicU64,
}

/// What a head has done and has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AmqpStatus {
    /// Connections that are open.
    pub connections: usize,
    /// Identities that were let in.
    pub accepted: u64,
    /// Connections, tokens and links that were refused.
    pub refused: u64,
    /// Identities whose place another connection took.
    pub taken_over: u64,
}

impl AmqpHead {
    /// Nobody is connected yet.
    pub fn new(config: HeadConfig, limits: Limits) -> Arc<Self> {
        Arc::new(Self(Arc::new(Shared {
            config,
            limits,
            counts: Counts::default(),
        })))
    }

    /// Serves one connection until it ends. Why it ended is in the log.
    pub fn serve<S>(&self, stream: S, peer: Peer) -> impl Future<Output = ()> + Send + use<S>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        connection::serve(self.0.clone(), stream, peer)
    }

    /// What it has done and has.
    pub fn status(&self) -> AmqpStatus {
        let counts = &self.0.counts;
        AmqpStatus {
            connections: counts.connections.load(Ordering::Relaxed),
            accepted: counts.accepted.load(Ordering::Relaxed),
            refused: counts.refused.load(Ordering::Relaxed),
            taken_over: counts.taken_over.load(Ordering::Relaxed),
        }
    }
}

impl Shared {
    fn count_refused(&self, code: &'static str) {
        self.counts.refused.fetch_add(1, Ordering::Relaxed);
        self.config.hub.meters().client_refused(code);
    }
}
