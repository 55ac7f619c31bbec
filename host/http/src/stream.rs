//! What a listener and the heads behind it have in common: a stream of bytes, and who takes it.

use std::future::Future;
use std::pin::Pin;

use edge_identity::Peer;
use tokio::io::{AsyncRead, AsyncWrite};

/// A stream of bytes both ways: TCP, TLS, a Unix socket, the inside of a WebSocket.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

/// Any of them.
pub type BoxedStream = Box<dyn ByteStream>;

/// The work on one connection.
pub type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A protocol that runs on streams of bytes.
pub trait StreamHead: Send + Sync {
    /// Its name: in logs, and as WebSocket sub-protocol (`mqtt`, `AMQPWSB10`).
    fn protocol(&self) -> &str;

    /// Serves one connection until it ends. Called once for each; errors are the head's own to log. The future is
    /// dropped when the listener stops and the connection does not end in time.
    fn serve(&self, stream: BoxedStream, peer: Peer) -> Serving;
}
