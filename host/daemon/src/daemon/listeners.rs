//! The ports that clients connect to.
//!
//! A port that cannot be opened is no reason for a device not to work: that is said with the setting that
//! changes it, and the device goes on without the port.

use std::net::SocketAddr;
use std::sync::Arc;

use edge_http::{ListenError, Listener, ListenerConfig, StreamHead};
use rustls::ServerConfig;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::warn;

use crate::api::types::ListenerInfo;
use crate::settings::LimitSettings;

/// A protocol, and where it is to be served.
pub(super) struct Port<'s> {
    /// Its section of the settings.
    pub(super) section: &'static str,
    /// The addresses that are set.
    pub(super) listen: &'s [SocketAddr],
    /// How TLS is spoken; none: not at all.
    pub(super) tls: Option<Arc<ServerConfig>>,
    /// Who serves connections.
    pub(super) head: Arc<dyn StreamHead>,
}

/// Open ports. Clients can connect once they are open, and are served once [`run`](Self::run) was called.
#[derive(Default)]
pub(super) struct Listeners {
    open: Vec<(&'static str, Listener)>,
}

impl Listeners {
    /// Opens the addresses of a port, as far as that can be done.
    pub(super) async fn open(&mut self, limits: &LimitSettings, port: Port<'_>) {
        for &address in port.listen {
            let config = ListenerConfig {
                connections: limits.connections,
                ..ListenerConfig::default()
            };
            let bound = Listener::bind(address, port.tls.clone(), port.head.clone(), config);
            match bound.await {
                Ok(listener) => self.open.push((port.section, listener)),
                Err(error) => say(port.section, address, &error),
            }
        }
    }

    /// Where clients are served.
    pub(super) fn info(&self) -> Vec<ListenerInfo> {
        let open = self.open.iter().filter_map(|(section, listener)| {
            Some(ListenerInfo {
                name: (*section).to_owned(),
                address: listener.address()?.to_string(),
            })
        });
        open.collect()
    }

    /// Serves clients until `closing` turns true; then what is under way ends, or is cut off.
    pub(super) fn run(self, serving: &mut JoinSet<&'static str>, closing: &watch::Receiver<bool>) {
        for (section, listener) in self.open {
            let work = listener.run(closing.clone());
            serving.spawn(async move {
                work.await;
                section
            });
        }
    }
}

fn say(section: &str, address: SocketAddr, error: &ListenError) {
    let why = &error.why;
    match error.is_permission() {
        true => {
            warn!(%address, error = %why, "[{section}] is not served: ports under 1024 need CAP_NET_BIND_SERVICE; give the daemon that, or set [{section}] listen to another address or to \"off\"")
        }
        false => {
            warn!(%address, error = %why, "[{section}] is not served: set [{section}] listen to another address or to \"off\"")
        }
    }
}
