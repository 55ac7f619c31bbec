//! The workload API: what modules ask of their daemon (client contract, section 3; seed system, section 4.3).
//!
//! ```text
//!   GET  /trust-bundle, /manifest-trust-bundle                     certificates to trust
//!   GET  /modules                                                  modules of this device
//!   POST /modules/{module}/genid/{generation}/sign                 HMAC by the module's key
//!   POST /modules/{module}/genid/{generation}/encrypt, decrypt     under a key of the module
//!   POST /modules/{module}/genid/{generation}/certificate/server   201
//!   POST /modules/{module}/certificate/identity                    201
//! ```
//!
//! Each module has a socket of its own, so the socket says who asks: a path that names another module is refused
//! with 403. There is no look at process ids, and nothing to ask of a container engine. On loopback TCP, for
//! development, the path is believed.
//!
//! At most 16 requests of a socket are worked on at a time and the rest waits, where the seed system hangs up. Any
//! `api-version` from 2018-06-28 on is taken, and none at all.

mod calls;
mod gate;
mod socket;
#[cfg(test)]
mod tests;
mod time;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use edge_core::{DeviceId, Identity, ModuleId};
use edge_hub::Clock;
use edge_identity::{Peer, Workload};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::connection;
use crate::listener::{ListenError, Listener, ListenerConfig};
use crate::refusal::Refusal;
use crate::stream::{BoxedStream, Serving, StreamHead};

/// Requests of one socket that are worked on at a time.
const REQUESTS: usize = 16;
/// Connections to one socket.
const CONNECTIONS: usize = 64;

/// What a workload server is made of.
#[derive(Debug, Clone)]
pub struct WorkloadConfig {
    /// What answers.
    pub workload: Arc<Workload>,
    /// This device.
    pub device: DeviceId,
    /// The time, for certificates.
    pub clock: Arc<dyn Clock>,
    /// The certificates by which manifests are signed, if they are; PEM.
    pub manifest_trust_bundle: Option<Arc<str>>,
}

/// Opens sockets of the workload API.
#[derive(Debug)]
pub struct WorkloadServer {
    config: Arc<WorkloadConfig>,
}

/// Why a socket cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadListenError {
    /// The socket's file cannot be made.
    #[error("make workload socket {path}")]
    Socket {
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        why: io::Error,
    },
    /// Something else is there.
    #[error("{0} is there and is no socket: move it away")]
    NoSocket(PathBuf),
    /// Whoever can reach the port can be any module.
    #[error("{0} is not a loopback address; the workload API is offered on those only")]
    NotLoopback(SocketAddr),
    /// The port cannot be opened.
    #[error(transparent)]
    Port(#[from] ListenError),
}

/// A socket that is served. Dropped, it takes no more requests, and its file goes.
#[derive(Debug)]
pub struct WorkloadSocket {
    closing: watch::Sender<bool>,
    serving: JoinHandle<()>,
    address: Option<SocketAddr>,
    _file: Option<socket::File>,
}

impl WorkloadSocket {
    /// Where it listens on loopback; `None` for a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Takes no more requests and waits until those under way have ended, at most 5 s.
    pub async fn close(self) {
        self.closing.send_replace(true);
        if let Err(error) = self.serving.await {
            tracing::error!(%error, "the workload API's socket ended early");
        }
    }
}

impl WorkloadServer {
    /// One for the device.
    pub fn new(config: WorkloadConfig) -> Self {
        Self {
            config: Arc::new(config),
        }
    }

    fn asker(&self, identity: Option<Identity>) -> Arc<Asker> {
        Arc::new(Asker {
            config: self.config.clone(),
            identity,
            requests: Semaphore::new(REQUESTS),
        })
    }

    /// Offers a socket for one module. Folders above it are made; what an earlier daemon left at its place gives
    /// way. `mode` is that of the file: whoever may open it is the module. To be called in a tokio runtime.
    ///
    /// # Errors
    /// The file cannot be made, or something that is no socket is there.
    pub fn open(
        &self,
        path: &Path,
        module: &ModuleId,
        mode: u32,
    ) -> Result<WorkloadSocket, WorkloadListenError> {
        let identity = Identity::Module(self.config.device.clone(), module.clone());
        let (file, listener) = socket::listen(path, mode)?;
        let head = Arc::new(WorkloadHead::new(self.asker(Some(identity))));
        let listener = Listener::unix(listener, head.clone(), limits());
        Ok(serve(listener, head, Some(file)))
    }

    /// Offers the API on a loopback port, where every caller is whoever its path says.
    ///
    /// # Errors
    /// The address is not loopback, or the port is taken.
    pub async fn listen(&self, address: SocketAddr) -> Result<WorkloadSocket, WorkloadListenError> {
        if !address.ip().is_loopback() {
            return Err(WorkloadListenError::NotLoopback(address));
        }
        let head = Arc::new(WorkloadHead::new(self.asker(None)));
        let listener = Listener::bind(address, None, head.clone(), limits()).await?;
        Ok(serve(listener, head, None))
    }
}

fn limits() -> ListenerConfig {
    ListenerConfig {
        connections: CONNECTIONS,
        ..ListenerConfig::default()
    }
}

fn serve(
    listener: Listener,
    head: Arc<WorkloadHead>,
    file: Option<socket::File>,
) -> WorkloadSocket {
    let closing = head.closing.clone();
    WorkloadSocket {
        address: listener.address(),
        serving: tokio::spawn(listener.run(closing.subscribe())),
        closing,
        _file: file,
    }
}

/// The protocol on a socket.
#[derive(Debug)]
struct WorkloadHead {
    router: Router,
    closing: watch::Sender<bool>,
}

/// What the calls on one socket share.
#[derive(Debug)]
struct Asker {
    config: Arc<WorkloadConfig>,
    /// Whose socket it is; `None`: whoever the path says.
    identity: Option<Identity>,
    requests: Semaphore,
}

impl Asker {
    /// Whom a path is about.
    ///
    /// # Errors
    /// 403 if the socket is another's.
    fn named(&self, module: &str) -> Result<Identity, Refusal> {
        let named = Identity::Module(self.config.device.clone(), ModuleId::new(module)?);
        match &self.identity {
            Some(own) if *own != named => Err(Refusal::new(
                http::StatusCode::FORBIDDEN,
                format!("this is the socket of {own}; it answers nothing about {named}"),
            )),
            _ => Ok(named),
        }
    }
}

impl WorkloadHead {
    fn new(asker: Arc<Asker>) -> Self {
        let of_module = |call: &str| format!("/modules/{{module}}/genid/{{generation}}/{call}");
        let router = Router::new()
            .route("/trust-bundle", get(calls::trust_bundle))
            .route("/manifest-trust-bundle", get(calls::manifest_trust_bundle))
            .route("/modules", get(calls::modules))
            .route(&of_module("sign"), post(calls::sign))
            .route(&of_module("encrypt"), post(calls::encrypt))
            .route(&of_module("decrypt"), post(calls::decrypt))
            .route(
                &of_module("certificate/server"),
                post(calls::certificate_server),
            )
            .route(
                "/modules/{module}/certificate/identity",
                post(calls::certificate_identity),
            )
            .fallback(calls::unknown)
            .method_not_allowed_fallback(calls::not_allowed)
            .layer(from_fn_with_state(asker.clone(), gate::pass))
            .with_state(asker);
        Self {
            router,
            closing: watch::Sender::new(false),
        }
    }
}

impl StreamHead for WorkloadHead {
    fn protocol(&self) -> &str {
        "workload"
    }

    fn serve(&self, stream: BoxedStream, peer: Peer) -> Serving {
        let (router, closing) = (self.router.clone(), self.closing.subscribe());
        Box::pin(connection::serve(stream, peer, router, closing))
    }
}
