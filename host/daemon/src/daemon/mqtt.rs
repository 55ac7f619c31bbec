//! The MQTT heads as listeners and the gateway take them.

use std::sync::Arc;

use edge_http::{BoxedStream, Serving, StreamHead};
use edge_identity::Peer;
use edge_mqtt::{BadFilter, Head, HeadConfig, Topics, TopicsConfig};

use crate::settings::TopicSettings;

/// MQTT on any stream of bytes: TLS, and the inside of a WebSocket.
pub(super) struct Mqtt(Arc<Head>);

impl Mqtt {
    pub(super) fn open(config: HeadConfig) -> Arc<Self> {
        Arc::new(Self(Head::open(config)))
    }

    /// Looks after sessions until the daemon stops.
    pub(super) fn keep(&self) -> impl Future<Output = ()> + use<> {
        self.0.keep()
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

/// Open topics on a stream of bytes.
pub(super) struct OpenTopics(Arc<Topics>);

impl OpenTopics {
    pub(super) fn open(
        config: HeadConfig,
        settings: &TopicSettings,
    ) -> Result<Arc<Self>, BadFilter> {
        let topics = Topics::open(TopicsConfig {
            hub: config.hub,
            registry: config.registry,
            closing: config.closing,
            anonymous: settings.anonymous,
            rules: settings.rules.clone(),
            mappings: settings.mappings.clone(),
            queue_limit: settings.queue_limit,
        })?;
        Ok(Arc::new(Self(topics)))
    }

    /// Looks after sessions until the daemon stops.
    pub(super) fn keep(&self) -> impl Future<Output = ()> + use<> {
        self.0.keep()
    }
}

impl StreamHead for OpenTopics {
    fn protocol(&self) -> &str {
        "mqtt"
    }

    fn serve(&self, stream: BoxedStream, peer: Peer) -> Serving {
        Box::pin(self.0.serve(stream, peer))
    }
}
