//! How large requests may be, and how the refusal of one reaches whoever is still sending it.

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use edge_core::ByteSize;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt;

use super::ApiError;

/// Bytes of a request that is refused that are read and thrown away, so that its sender comes to
/// reading the answer. A sender of more than that finds the connection closed.
const THROWN_AWAY: u64 = 64 << 20;

/// The calls of a router, with requests of at most so many bytes.
pub(super) fn at_most<S: Clone + Send + Sync + 'static>(
    router: Router<S>,
    limit: usize,
) -> Router<S> {
    router
        .layer(DefaultBodyLimit::max(limit))
        .layer(from_fn_with_state(ByteSize(limit as u64), refuse))
}

async fn refuse(State(limit): State<ByteSize>, request: Request, next: Next) -> Response {
    let length = request.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|text| text.to_str().ok()?.parse::<u64>().ok());
    let Some(length) = length.filter(|length| *length > limit.0) else {
        return next.run(request).await;
    };
    let mut body = request.into_body();
    let mut read = 0;
    while read < THROWN_AWAY
        && let Some(Ok(frame)) = body.frame().await
    {
        read += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
    ApiError::too_large(format!(
        "the request has {length} bytes, at most {} are taken",
        limit.0
    ))
    .into_response()
}
