//! One HTTP/1.1 connection: its requests, and what becomes of it if one of them is for another protocol.
//!
//! ```text
//!   requests, one after another ──► the end
//!        └── upgrade ──► StreamHead, in the same task ──► the end
//! ```

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use edge_identity::Peer;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::watch;
use tracing::debug;

use crate::stream::{BoxedStream, StreamHead};
use crate::websocket;

/// How long the head of a request may take, from the end of the one before it: also how long a connection may
/// be idle.
const HEAD_PATIENCE: Duration = Duration::from_secs(60);
/// Largest head of a request, and how much is read at once.
const HEAD_LIMIT: usize = 64 << 10;

/// What its requests know of a connection: an extension of each.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) peer: Peer,
    upgrade: Mutex<Option<Upgrade>>,
}

struct Upgrade {
    ready: OnUpgrade,
    head: Arc<dyn StreamHead>,
}

impl std::fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.head.protocol())
    }
}

impl Connection {
    /// After the answer to this request, the connection is a WebSocket of this head.
    pub(crate) fn upgrade(&self, ready: OnUpgrade, head: Arc<dyn StreamHead>) {
        *self.slot() = Some(Upgrade { ready, head });
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Upgrade>> {
        self.upgrade.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until a watch turns true. One whose sender is gone counts as that: nobody is left to say so.
pub(crate) async fn closed(closing: &mut watch::Receiver<bool>) {
    let _ = closing.wait_for(|closing| *closing).await;
}

/// Serves a connection until it ends. When `closing` turns true, the request under way is the last.
pub(crate) async fn serve(
    stream: BoxedStream,
    peer: Peer,
    router: Router,
    mut closing: watch::Receiver<bool>,
) {
    let connection = Arc::new(Connection {
        peer,
        upgrade: Mutex::default(),
    });
    let router = TowerToHyperService::new(router);
    let known = connection.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(known.clone());
        let answer = router.call(request);
        async move { Ok::<_, Infallible>(answer.await.unwrap_or_else(|never| match never {})) }
    });
    let mut serving = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_PATIENCE)
            .max_buf_size(HEAD_LIMIT)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
    );
    let ended = tokio::select! {
        // What has come in already is answered.
        biased;
        ended = serving.as_mut() => ended,
        () = closed(&mut closing) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "HTTP connection ended");
        return;
    }
    let Some(Upgrade { ready, head }) = connection.slot().take() else {
        return;
    };
    match ready.await {
        Ok(stream) => {
            let stream = websocket::bytes(TokioIo::new(stream)).await;
            let peer = connection.peer.clone().through_websocket();
            head.serve(Box::new(stream), peer).await;
        }
        Err(error) => debug!(%error, "WebSocket did not come about"),
    }
}
