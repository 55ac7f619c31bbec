//! The way from HTTP to a WebSocket, RFC 6455 section 4.2 (client contract, section 7).
//!
//! Not axum's: that serves the WebSocket in a task of its own, which neither the permit of the connection nor its
//! listener's end would reach.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::Shared;
use crate::connection::Connection;
use crate::refusal::Refusal;

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
const VERSION: HeaderValue = HeaderValue::from_static("13");

pub(super) async fn upgrade(
    State(shared): State<Arc<Shared>>,
    Extension(connection): Extension<Arc<Connection>>,
    mut request: Request,
) -> Result<Response, Refusal> {
    let headers = request.headers();
    if !has(headers, &CONNECTION, "upgrade") || !has(headers, &UPGRADE, "websocket") {
        return Err(Refusal::new(
            StatusCode::UPGRADE_REQUIRED,
            "this is for WebSockets: expected Connection: Upgrade and Upgrade: websocket",
        ));
    }
    if headers.get(SEC_WEBSOCKET_VERSION) != Some(&VERSION) {
        return Err(Refusal::bad_request("expected Sec-WebSocket-Version: 13"));
    }
    let key = headers
        .get(SEC_WEBSOCKET_KEY)
        .ok_or_else(|| Refusal::bad_request("Sec-WebSocket-Key is missing"))?;
    let accept = derive_accept_key(key.as_bytes());
    let heads = &shared.config.heads;
    let offered = |name: &str| has(headers, &SEC_WEBSOCKET_PROTOCOL, name);
    let Some(head) = heads.iter().find(|head| offered(head.protocol())) else {
        let spoken: Vec<&str> = heads.iter().map(|head| head.protocol()).collect();
        return Err(Refusal::bad_request(format!(
            "Sec-WebSocket-Protocol: expected one of [{}]",
            spoken.join(", ")
        )));
    };
    let head = head.clone();
    let answer = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, HeaderValue::from_static("Upgrade"))
        .header(UPGRADE, WEBSOCKET)
        .header(SEC_WEBSOCKET_ACCEPT, accept)
        .header(SEC_WEBSOCKET_PROTOCOL, head.protocol())
        .body(Body::empty())
        .map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    connection.upgrade(hyper::upgrade::on(&mut request), head);
    Ok(answer)
}

/// Whether a header has a value among those in its list. Letter case is ignored.
fn has(headers: &HeaderMap, name: &HeaderName, value: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|list| list.to_str().ok())
        .flat_map(|list| list.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(value))
}
