//! What a head works with.

use std::sync::Arc;

use edge_core::Identity;
use edge_hub::Hub;
use edge_identity::{Registry, Watcher};
use tokio::sync::watch;

use crate::Live;

/// What a head works with.
#[derive(Debug, Clone)]
pub struct HeadConfig {
    /// Where messages go and come from.
    pub hub: Arc<Hub>,
    /// Who may connect.
    pub registry: Arc<Registry>,
    /// Turns true when the daemon stops; connections end then.
    pub closing: watch::Receiver<bool>,
    /// Who is connected, by identity, to this head and those that share it.
    pub live: Arc<Live>,
}

/// Has connections judged again whose identity changed.
struct Recheck(Arc<Live>);

impl Watcher for Recheck {
    fn changed(&self, identity: &Identity) {
        self.0.recheck(&identity.to_string());
    }
}

impl HeadConfig {
    /// Nobody is connected yet. From now on connections hear of changes of their identities.
    pub fn new(hub: Arc<Hub>, registry: Arc<Registry>, closing: watch::Receiver<bool>) -> Self {
        let live = Arc::<Live>::default();
        registry.watch(Arc::new(Recheck(live.clone())));
        Self {
            hub,
            registry,
            closing,
            live,
        }
    }
}
