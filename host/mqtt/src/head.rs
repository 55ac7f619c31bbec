//! The head: what all of its connections share.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use edge_core::Identity;
use edge_hub::Hub;
use edge_identity::{Peer, Registry, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use crate::azure::parse_client_id;
use crate::connection;
use crate::live::Live;
use crate::session::{Session, Sessions};

/// What a head works with.
#[derive(Debug, Clone)]
pub struct HeadConfig {
    /// Where messages go and come from.
    pub hub: Arc<Hub>,
    /// Who may connect.
    pub registry: Arc<Registry>,
    /// Turns true when the daemon stops; connections end then.
    pub closing: watch::Receiver<bool>,
}

/// Serves modules and devices that speak MQTT as Azure's SDKs do.
#[derive(Debug)]
pub struct Head {
    pub(crate) hub: Arc<Hub>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) closing: watch::Receiver<bool>,
    pub(crate) sessions: Sessions,
    pub(crate) live: Arc<Live>,
    pub(crate) counts: Counts,
}

/// Connections since the start, by what became of them.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) accepted: AtomicU64,
    pub(crate) refused: AtomicU64,
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

/// Has connections judged again whose identity changed.
struct Recheck(Arc<Live>);

impl Watcher for Recheck {
    fn changed(&self, identity: &Identity) {
        self.0.recheck(&identity.to_string());
    }
}

impl Head {
    /// Reads the sessions that are stored, but for those of identities that are gone, and follows changes of identities from now on.
    pub fn open(config: HeadConfig) -> Arc<Self> {
        let live = Arc::<Live>::default();
        config.registry.watch(Arc::new(Recheck(live.clone())));
        let sessions = Sessions::open(config.hub.clone());
        let is_gone = |session: &Session| {
            let identity = parse_client_id(&session.client);
            !identity.is_ok_and(|identity| config.registry.get(&identity).is_some())
        };
        sessions.expire(config.hub.now(), is_gone);
        Arc::new(Self {
            sessions,
            hub: config.hub,
            registry: config.registry,
            closing: config.closing,
            live,
            counts: Counts::default(),
        })
    }

    /// Serves one connection until it ends. Why it ended is in the log.
    pub fn serve<S>(self: &Arc<Self>, stream: S, peer: Peer) -> impl Future<Output = ()> + use<S>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let head = self.clone();
        async move { connection::serve(&head, stream, &peer).await }
    }

    /// What it has done and has.
    pub fn status(&self) -> HeadStatus {
        HeadStatus {
            connected: self.live.len(),
            asleep: self.sessions.len(),
            accepted: self.counts.accepted.load(Ordering::Relaxed),
            refused: self.counts.refused.load(Ordering::Relaxed),
            taken_over: self.live.taken_over.load(Ordering::Relaxed),
        }
    }
}
