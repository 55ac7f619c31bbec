//! The management API: JSON over HTTP on a Unix socket, for commands and local programs.
//!
//! ```text
//!   socket (file mode, group) ─► router /v1/… ─► Device ─► answer │ ErrorBody │ a stream, a line each
//! ```
//!
//! Who may open the socket may do everything. Requests have size limits; streams have bounded buffers,
//! leave out what a slow reader cannot take, and say how much that was.

mod calls;
mod error;
mod limit;
mod socket;
mod stream;
pub mod types;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::routing::{get, patch, post, put};
use tokio::sync::watch;

use crate::device::Device;

pub(crate) use error::ApiError;
pub use socket::SocketError;
pub(crate) use socket::{Socket, group_id};

/// Largest manifest.
const MANIFEST_LIMIT: usize = 8 << 20;
/// Largest request of any other kind but a message.
const REQUEST_LIMIT: usize = 2 << 20;
/// Room for the properties and the frame of a message.
const AROUND_MESSAGE: usize = 64 << 10;

/// What every call can see.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) device: Arc<Device>,
    pub(crate) data: PathBuf,
    pub(crate) metrics: Option<SocketAddr>,
    pub(crate) listeners: Vec<types::ListenerInfo>,
    /// Turns true when the daemon stops; streams end then.
    pub(crate) closing: watch::Receiver<bool>,
    pub(crate) message_limit: u64,
}

/// The calls there are.
pub(crate) fn router(api: Arc<Api>) -> Router {
    // Base64 makes four bytes of three.
    let body = usize::try_from(api.message_limit).unwrap_or(usize::MAX / 4) / 3 * 4;
    let manifests = Router::new().route("/v1/deployment", put(calls::apply).get(calls::deployment));
    let manifests = manifests.route(
        "/v1/devices/{device}/deployment",
        put(calls::apply_to_child),
    );
    let messages = Router::new().route("/v1/messages", post(calls::send));
    let others = Router::new()
        .route("/v1/device", get(calls::device))
        .route("/v1/deployments", get(calls::deployments))
        .route("/v1/deployment/rollback", post(calls::rollback))
        .route("/v1/modules", get(calls::modules))
        .route("/v1/modules/{module}/restart", post(calls::restart))
        .route("/v1/logs", get(calls::logs))
        .route("/v1/queues", get(calls::queues))
        .route("/v1/tail", get(calls::tail))
        .route("/v1/top", get(calls::top))
        .route("/v1/dead-letters", get(calls::letters))
        .route("/v1/dead-letters/replay", post(calls::replay))
        .route("/v1/dead-letters/drop", post(calls::drop_letters))
        .route("/v1/dead-letters/{number}", get(calls::letter))
        .route("/v1/twins/{identity}", get(calls::twin))
        .route(
            "/v1/twins/{identity}/desired",
            patch(calls::set_twin).put(calls::replace_twin),
        )
        .route("/v1/methods/{identity}/{name}", post(calls::method))
        .route(
            "/v1/identities",
            get(calls::identities).post(calls::add_identity),
        )
        .route(
            "/v1/identities/{identity}",
            get(calls::identity)
                .patch(calls::change_identity)
                .delete(calls::remove_identity),
        )
        .route("/v1/identities/{identity}/rotate", post(calls::rotate_keys))
        .route("/v1/environments/{module}", get(calls::environment))
        .route("/v1/certificates", get(calls::certificates))
        .route("/v1/metrics", get(calls::metrics))
        .route("/v1/support-bundle", get(calls::support_bundle));
    limit::at_most(manifests, MANIFEST_LIMIT)
        .merge(limit::at_most(
            messages,
            body.saturating_add(AROUND_MESSAGE),
        ))
        .merge(limit::at_most(others, REQUEST_LIMIT))
        .fallback(calls::unknown)
        .method_not_allowed_fallback(calls::not_allowed)
        .with_state(api)
}
