//! HTTPS for modules and devices: port 443 of the gateway (client contract, sections 7 and 9).
//!
//! ```text
//!   GET  /$iothub/websocket                            another protocol, in a WebSocket
//!   POST /twins/{device}[/modules/{module}]/methods    a module calls a method
//!   POST /devices/{device}[/modules/{module}]/messages/events
//!                                                      telemetry of devices that speak nothing else
//! ```
//!
//! Every request proves who sends it, with a SAS token in `Authorization` or the client certificate of the
//! connection. Query strings are ignored: some clients send an `api-version`, others none. Answers other than
//! successes are `{"message":…}`.

mod authorize;
mod methods;
mod telemetry;
#[cfg(test)]
mod tests;
mod upgrade;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{any, get, post};
use edge_core::{ByteSize, limits};
use edge_hub::Hub;
use edge_identity::{Peer, Registry};
use http::{Method, StatusCode, Uri};
use tokio::sync::watch;
use tokio::time::{Sleep, sleep};

use crate::connection;
use crate::rare::Rare;
use crate::refusal::Refusal;
use crate::stream::{BoxedStream, Serving, StreamHead};

/// What a gateway is made of.
pub struct GatewayConfig {
    /// Where messages go, and who answers methods.
    pub hub: Arc<Hub>,
    /// Who may connect.
    pub registry: Arc<Registry>,
    /// The protocols that it offers in WebSockets.
    pub heads: Vec<Arc<dyn StreamHead>>,
    /// Largest message.
    pub message_limit: ByteSize,
    /// Turns true when the daemon stops: connections end after the request under way.
    pub closing: watch::Receiver<bool>,
}

impl GatewayConfig {
    /// No protocols in WebSockets; messages as large as IoT Hub takes them.
    pub fn new(hub: Arc<Hub>, registry: Arc<Registry>, closing: watch::Receiver<bool>) -> Self {
        Self {
            hub,
            registry,
            heads: Vec::new(),
            message_limit: limits::MESSAGE,
            closing,
        }
    }
}

impl std::fmt::Debug for GatewayConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let heads: Vec<&str> = self.heads.iter().map(|head| head.protocol()).collect();
        f.debug_struct("GatewayConfig")
            .field("heads", &heads)
            .field("message_limit", &self.message_limit)
            .finish_non_exhaustive()
    }
}

/// The head of port 443.
#[derive(Debug)]
pub struct Gateway {
    router: Router,
    closing: watch::Receiver<bool>,
}

/// What its calls share.
#[derive(Debug)]
struct Shared {
    config: GatewayConfig,
    denials: Rare,
    /// How to wait for methods; tests do not.
    sleep: fn(Duration) -> Sleep,
}

impl Gateway {
    /// Made once; serves any number of connections.
    pub fn new(config: GatewayConfig) -> Self {
        Self::with(config, sleep)
    }

    fn with(config: GatewayConfig, sleep: fn(Duration) -> Sleep) -> Self {
        let closing = config.closing.clone();
        let shared = Arc::new(Shared {
            config,
            denials: Rare::default(),
            sleep,
        });
        let router = Router::new()
            .route("/$iothub/websocket", get(upgrade::upgrade))
            .route("/%24iothub/websocket", get(upgrade::upgrade))
            .route("/twins/{device}/methods", post(methods::of_device))
            .route(
                "/twins/{device}/modules/{module}/methods",
                post(methods::of_module),
            )
            .route(
                "/devices/{device}/messages/events",
                post(telemetry::of_device),
            )
            .route(
                "/devices/{device}/modules/{module}/messages/events",
                post(telemetry::of_module),
            )
            .route("/devices/{device}/files", any(files))
            .route("/devices/{device}/files/{*rest}", any(files))
            .fallback(unknown)
            .method_not_allowed_fallback(not_allowed)
            .with_state(shared);
        Self { router, closing }
    }
}

impl StreamHead for Gateway {
    fn protocol(&self) -> &str {
        "https"
    }

    fn serve(&self, stream: BoxedStream, peer: Peer) -> Serving {
        let (router, closing) = (self.router.clone(), self.closing.clone());
        Box::pin(connection::serve(stream, peer, router, closing))
    }
}

async fn files() -> Refusal {
    Refusal::not_found("files are not uploaded through this gateway; upload to the parent directly")
}

async fn unknown(uri: Uri) -> Refusal {
    Refusal::not_found(format!("there is nothing at {}", uri.path()))
}

async fn not_allowed(method: Method, uri: Uri) -> Refusal {
    let message = format!("there is no {method} {}", uri.path());
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, message)
}
