//! What both heads have, that of Azure's SDKs and that of the open topics: how a client comes in, and what
//! then runs on its connection.
//!
//! ```text
//!   CONNECT ─► Door::admit ─► Door::resume ─► Door::service ─► Service, packet by packet ─► Door::left
//!              who is it       its session     what it can do                               what stays
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use edge_heads::{Bell, Live};
use edge_hub::Hub;
use edge_identity::{Peer, Permit, Registry};
use tokio::sync::{Notify, watch};

use crate::Reason;
use crate::azure::parse_client_id;
use crate::encode::ConnAck;
use crate::link::{Close, Link, Show};
use crate::packet::{Connect, PacketError, PacketId, Publish, Subscribe, Unsubscribe};
use crate::session::{Session, Sessions};

/// What all connections of a head share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) hub: Arc<Hub>,
    pub(crate) registry: Arc<Registry>,
    /// Turns true when the daemon stops; connections end then.
    pub(crate) closing: watch::Receiver<bool>,
    pub(crate) sessions: Sessions,
    pub(crate) live: Arc<Live>,
    pub(crate) counts: Counts,
    /// There is something to do for whoever looks after the sessions.
    pub(crate) chores: Arc<Notify>,
}

/// Connections since the start, by what became of them.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) accepted: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) taken_over: AtomicU64,
    pub(crate) connected: AtomicUsize,
}

/// What a head has done and has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadStatus {
    /// Clients that are connected.
    pub connected: usize,
    /// Sessions that wait for their client.
    pub asleep: usize,
    /// Connections that were let in.
    pub accepted: u64,
    /// Connections that were not.
    pub refused: u64,
    /// Connections that gave way to another with the same client id.
    pub taken_over: u64,
}

impl Shared {
    /// Whether nobody has the identity any more that a client's name is or begins with.
    pub(crate) fn is_gone(&self, identity: &str) -> bool {
        let identity = parse_client_id(identity);
        !identity.is_ok_and(|identity| self.registry.get(&identity).is_some())
    }

    pub(crate) fn status(&self) -> HeadStatus {
        HeadStatus {
            connected: self.counts.connected.load(Ordering::Relaxed),
            asleep: self.sessions.len(),
            accepted: self.counts.accepted.load(Ordering::Relaxed),
            refused: self.counts.refused.load(Ordering::Relaxed),
            taken_over: self.counts.taken_over.load(Ordering::Relaxed),
        }
    }
}

/// Why a client was not let in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{0}")]
    Packet(#[from] PacketError),
    #[error("{why}")]
    Said { reason: Reason, why: String },
    /// There is nobody to tell.
    #[error("{0}")]
    Gone(String),
}

impl Refusal {
    pub(crate) fn said(reason: Reason, why: impl ToString) -> Self {
        Self::Said {
            reason,
            why: why.to_string(),
        }
    }
}

/// Who a client is.
pub(crate) struct Admitted<W> {
    pub(crate) who: W,
    /// What proved it; none: it has no identity, and need not have one.
    pub(crate) permit: Option<Permit>,
    /// The name of its session, one of a kind in this head.
    pub(crate) client: Arc<str>,
    /// The client id that it was given.
    pub(crate) assigned: Option<String>,
}

/// Lets clients in.
pub(crate) trait Door: Send + Sync + 'static {
    /// Who a client is, in the terms of what runs on its connection.
    type Who: Send;
    /// What runs on a connection.
    type Service: Service + Send;

    fn shared(&self) -> &Shared;

    /// Finds out who it is.
    fn admit(&self, hello: &Connect, peer: &Peer) -> Result<Admitted<Self::Who>, Refusal>;

    /// The session that it goes on with, and whether it was there; `known` is the one that it had.
    fn resume(
        &self,
        known: Option<Session>,
        hello: &Connect,
        admitted: &Admitted<Self::Who>,
    ) -> Result<(Session, bool), Refusal>;

    /// What CONNACK says of the server.
    fn offers(&self) -> ConnAck<'static>;

    fn service(&self, who: Self::Who, session: &Session, bell: Arc<Bell>) -> Self::Service;

    /// A connection has ended; `orderly`: with DISCONNECT, and no wish for the will.
    fn left(&self, session: Session, orderly: bool);
}

/// What runs on a connection.
pub(crate) trait Service: Show {
    /// Takes up what the session is subscribed to.
    fn begin(&mut self, link: &mut Link) -> Result<(), Close>;

    fn publish(&mut self, link: &mut Link, publish: Publish) -> Result<(), Close>;

    /// Takes a PUBREL.
    fn release(&mut self, link: &mut Link, id: PacketId) -> Result<(), Close>;

    fn subscribe(&mut self, link: &mut Link, subscribe: &Subscribe) -> Result<(), Close>;

    fn unsubscribe(&mut self, link: &mut Link, unsubscribe: &Unsubscribe) -> Result<(), Close>;

    /// Does what came from elsewhere since the last time. Says whether there is more to do at once.
    fn control(&mut self, link: &mut Link) -> Result<bool, Close>;

    /// The connection ends.
    fn end(&mut self);
}
