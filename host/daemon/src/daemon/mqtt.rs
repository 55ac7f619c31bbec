//! The MQTT head as listeners and the gateway take it.

use std::sync::Arc;

use edge_http::{BoxedStream, Serving, StreamHead};
use edge_identity::Peer;
use edge_mqtt::{Head, HeadConfig};

/// MQTT on any stream of bytes: TLS, and the inside of a WebSocket.
pub(super) struct Mqtt(Arc<Head>);

impl Mqtt {
    pub(super) fn open(config: HeadConfig) -> Arc<Self> {
        Arc::new(Self(Head::open(config)))
    }
}

impl StreamHead for Mqtt {
    fn protocol(&self) -> &str {
        "mqtt"
    }

    fn serve(&self, stream: BoxedStream, peer: Peer) -> Serving {
        Box::pin(self.0.serve(stream, peer))
    }
}
