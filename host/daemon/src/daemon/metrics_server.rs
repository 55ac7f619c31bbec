//! Metrics for Prometheus, over plain HTTP.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use tokio::net::TcpListener;
use tracing::warn;

use crate::device::Device;
use crate::metrics;

/// Listens. A port that is taken is no reason for a device not to work: it says so and goes on.
pub(super) async fn listen(at: Option<SocketAddr>) -> Option<(TcpListener, SocketAddr)> {
    let at = at?;
    let listening = async {
        let listener = TcpListener::bind(at).await?;
        let bound = listener.local_addr()?;
        Ok::<_, std::io::Error>((listener, bound))
    };
    match listening.await {
        Ok(listening) => Some(listening),
        Err(error) => {
            warn!(%at, %error, "no metrics: set [metrics] listen to another address, or to \"off\"");
            None
        }
    }
}

/// The one page.
pub(super) fn router(device: Arc<Device>) -> Router {
    Router::new()
        .route("/metrics", get(page))
        .with_state(device)
}

async fn page(State(device): State<Arc<Device>>) -> Response {
    match tokio::task::spawn_blocking(move || metrics::render(&device)).await {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
