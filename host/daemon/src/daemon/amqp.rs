//! The AMQP head as listeners and the gateway take it.

use std::sync::Arc;

use edge_amqp::{AmqpHead, Limits};
use edge_heads::HeadConfig;
use edge_http::{BoxedStream, Serving, StreamHead};
use edge_identity::Peer;

/// AMQP on any stream of bytes: TLS, and the inside of a WebSocket.
pub(super) struct Amqp(Arc<AmqpHead>);

impl Amqp {
    pub(super) fn open(config: HeadConfig) -> Arc<Self> {
        Arc::new(Self(AmqpHead::new(config, Limits::default())))
    }
}

impl StreamHead for Amqp {
    /// The WebSocket's (AMQP 1.0 WebSocket binding, 2.1, as Azure's clients have it).
    fn protocol(&self) -> &str {
        "AMQPWSB10"
    }

    fn serve(&self, stream: BoxedStream, peer: Peer) -> Serving {
        Box::pin(self.0.serve(stream, peer))
    }
}
