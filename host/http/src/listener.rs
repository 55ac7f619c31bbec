//! The accept loop of a port or Unix socket: TLS if it has that, then a [`StreamHead`].
//!
//! ```text
//!   permit ─► accept ─► task ─► first byte ─► permit ─► TLS handshake ─► StreamHead ─► end: both permits return
//!                               └────────── 10 s ───────────────────┘
//! ```
//!
//! The handshake runs in the connection's own task: somebody who connects and says nothing costs a permit for
//! ten seconds and delays nobody. Handshakes are expensive, so few run at a time; who has not sent anything yet
//! does not count among them. When all permits are out, new connections wait in the kernel rather than being
//! refused: some clients take a refusal as final (client contract, section 6.1).

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use edge_identity::{Peer, PeerAddress};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tracing::{Instrument, debug, error, info_span, warn};

use crate::connection::closed;
use crate::prompt::Prompt;
use crate::rare::Rare;
use crate::stream::{BoxedStream, StreamHead};
use crate::tcp::ask_again_soon;

#[cfg(test)]
mod tests;

/// After an accept that failed because there is no file descriptor or memory left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// What a listener allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerConfig {
    /// Connections at a time; 1024.
    pub connections: usize,
    /// TLS handshakes at a time; 32.
    pub handshakes: usize,
    /// How long a client may take until its handshake is done; 10 s.
    pub handshake_timeout: Duration,
    /// How long connections may take to end once the listener stops; 5 s.
    pub drain: Duration,
}

impl Default for ListenerConfig {
    fn default() -> Self {
        Self {
            connections: 1_024,
            handshakes: 32,
            handshake_timeout: Duration::from_secs(10),
            drain: Duration::from_secs(5),
        }
    }
}

/// A port cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("listen for {protocol} on {address}")]
pub struct ListenError {
    /// What was to be spoken there.
    pub protocol: String,
    /// Where.
    pub address: SocketAddr,
    /// Why not.
    #[source]
    pub why: io::Error,
}

impl ListenError {
    /// Whether the right to bind ports below 1024 is missing.
    pub fn is_permission(&self) -> bool {
        self.why.kind() == io::ErrorKind::PermissionDenied
    }
}

/// A port that is open. Clients can connect once this exists; they are served while [`run`](Self::run) runs.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    shared: Arc<Shared>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener, SocketAddr),
    Unix(UnixListener),
}

enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Accepted {
    fn peer(&self) -> PeerAddress {
        match self {
            Self::Tcp(_, address) => PeerAddress::Tcp(*address),
            Self::Unix(_) => PeerAddress::Unix,
        }
    }
}

/// What the tasks of a listener share.
struct Shared {
    head: Arc<dyn StreamHead>,
    tls: Option<TlsAcceptor>,
    config: ListenerConfig,
    handshakes: Semaphore,
    failed_handshakes: Rare,
}

impl Shared {
    fn new(
        head: Arc<dyn StreamHead>,
        tls: Option<Arc<ServerConfig>>,
        config: ListenerConfig,
    ) -> Self {
        Self {
            head,
            tls: tls.map(TlsAcceptor::from),
            handshakes: Semaphore::new(config.handshakes),
            failed_handshakes: Rare::default(),
            config,
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("protocol", &self.head.protocol())
            .field("tls", &self.tls.is_some())
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Listener {
    /// Opens a port. `tls`: what to say in handshakes; without it the port is plain.
    ///
    /// # Errors
    /// The port is taken, the address is not of this machine, or the right is missing.
    pub async fn bind(
        address: SocketAddr,
        tls: Option<Arc<ServerConfig>>,
        head: Arc<dyn StreamHead>,
        config: ListenerConfig,
    ) -> Result<Self, ListenError> {
        let failed = |why| ListenError {
            protocol: head.protocol().to_owned(),
            address,
            why,
        };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self {
            socket: Socket::Tcp(listener, address),
            shared: Arc::new(Shared::new(head, tls, config)),
        })
    }

    /// The same for a Unix socket, which has no TLS.
    pub fn unix(listener: UnixListener, head: Arc<dyn StreamHead>, config: ListenerConfig) -> Self {
        Self {
            socket: Socket::Unix(listener),
            shared: Arc::new(Shared::new(head, None, config)),
        }
    }

    /// Where it listens: with the port that the system chose, if 0 was asked for. `None`: on a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match self.socket {
            Socket::Tcp(_, address) => Some(address),
            Socket::Unix(_) => None,
        }
    }

    /// Serves clients until `closing` turns true or its sender is gone. Returns when the last connection has ended;
    /// those that do not end within the time for it are cut off.
    pub async fn run(self, mut closing: watch::Receiver<bool>) {
        let Self { socket, shared } = self;
        let protocol = shared.head.protocol();
        let connections = Arc::new(Semaphore::new(shared.config.connections));
        let mut tasks = JoinSet::new();
        let failed_accepts = Rare::default();
        loop {
            let accepted = tokio::select! {
                () = closed(&mut closing) => break,
                Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                    report(&shared, ended);
                    continue;
                }
                accepted = accept(&socket, &connections) => accepted,
            };
            match accepted {
                Ok((accepted, permit)) => {
                    let span = info_span!("connection", protocol, peer = %accepted.peer());
                    let work = connection(shared.clone(), accepted, permit);
                    tasks.spawn(work.instrument(span));
                }
                Err(error) if is_of_the_peer(&error) => debug!(%error, "client left at once"),
                Err(error) => {
                    if let Some(left_out) = failed_accepts.pass() {
                        warn!(%error, protocol, left_out, "cannot accept connections; trying on");
                    }
                    sleep(ACCEPT_AGAIN).await;
                }
            }
        }
        // Whoever connects from here on is refused.
        drop(socket);
        let end = Instant::now() + shared.config.drain;
        loop {
            match timeout_at(end, tasks.join_next()).await {
                Ok(Some(ended)) => report(&shared, ended),
                Ok(None) => break,
                Err(_) => {
                    warn!(
                        protocol,
                        connections = tasks.len(),
                        "connections did not end in time and are cut off"
                    );
                    tasks.shutdown().await;
                    break;
                }
            }
        }
    }
}

async fn accept(
    socket: &Socket,
    connections: &Arc<Semaphore>,
) -> io::Result<(Accepted, OwnedSemaphorePermit)> {
    let permit = connections.clone().acquire_owned().await;
    // It is never closed; as an error it would say so and be tried again.
    let permit = permit.map_err(io::Error::other)?;
    let accepted = match socket {
        Socket::Tcp(listener, _) => {
            let (stream, peer) = listener.accept().await?;
            Accepted::Tcp(stream, peer)
        }
        Socket::Unix(listener) => Accepted::Unix(listener.accept().await?.0),
    };
    Ok((accepted, permit))
}

/// Errors of one connection that the system reports on accept.
fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

fn report(shared: &Shared, ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        error!(protocol = shared.head.protocol(), %error, "the task of a connection panicked");
    }
}

async fn connection(shared: Arc<Shared>, accepted: Accepted, _permit: OwnedSemaphorePermit) {
    let address = accepted.peer();
    let stream = match accepted {
        Accepted::Tcp(stream, _) => stream,
        Accepted::Unix(stream) => {
            let peer = Peer::plain(address);
            return shared.head.serve(Box::new(stream), peer).await;
        }
    };
    // Small packets must not wait for the acknowledgement of those before them.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "TCP_NODELAY");
    }
    let Some(tls) = &shared.tls else {
        let peer = Peer::plain(address);
        let stream = Box::new(Prompt::new(stream));
        return shared.head.serve(stream, peer).await;
    };
    let handshake = handshake(&shared, tls, stream, address);
    let done = timeout(shared.config.handshake_timeout, handshake).await;
    match done.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok((stream, peer)) => shared.head.serve(stream, peer).await,
        Err(error) => {
            if let Some(left_out) = shared.failed_handshakes.pass() {
                warn!(%error, left_out, "TLS handshake failed");
            }
        }
    }
}

async fn handshake(
    shared: &Shared,
    tls: &TlsAcceptor,
    stream: TcpStream,
    address: PeerAddress,
) -> io::Result<(BoxedStream, Peer)> {
    // Not `readable`: the runtime may say so of a stream that has nothing.
    stream.peek(&mut [0]).await?;
    let permit = shared.handshakes.acquire().await;
    let _permit = permit.map_err(io::Error::other)?;
    let stream = tls.accept(Prompt::new(stream)).await?;
    if let Err(error) = ask_again_soon(stream.get_ref().0.tcp().as_fd()) {
        debug!(%error, "TCP_RTO_MAX_MS");
    }
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let peer = Peer::encrypted(address, certificates);
    Ok((Box::new(stream), peer))
}
