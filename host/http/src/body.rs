//! Bodies of requests: as bytes, whatever their content type, under a size limit and a time limit.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use edge_core::ByteSize;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use serde::Deserialize;
use tokio::time::timeout;

use crate::refusal::Refusal;

/// How long a body may take to come in.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of a body that is too large which are read and thrown away, so that its sender comes to reading the answer.
/// A sender of more than that finds the connection closed.
const THROWN_AWAY: u64 = 4 << 20;

/// All of a body.
///
/// # Errors
/// 413 if it is larger than `limit`, 408 if it does not come in within 30 s, 400 if it breaks off.
pub(crate) async fn read(
    headers: &HeaderMap,
    body: Body,
    limit: ByteSize,
) -> Result<Bytes, Refusal> {
    match timeout(PATIENCE, collect(headers, body, limit)).await {
        Ok(read) => read,
        Err(_) => Err(Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("the body did not come in within {} s", PATIENCE.as_secs()),
        )),
    }
}

async fn collect(headers: &HeaderMap, mut body: Body, limit: ByteSize) -> Result<Bytes, Refusal> {
    let length = headers.get(CONTENT_LENGTH);
    let length = length.and_then(|text| text.to_str().ok()?.parse::<u64>().ok());
    if let Some(length) = length.filter(|length| *length > limit.0) {
        throw_away(&mut body).await;
        return Err(Refusal::too_large(length, limit));
    }
    // Most bodies come in one piece, which is kept as it is.
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| Refusal::bad_request(format!("the body broke off: {error}")))?;
        let Ok(piece) = frame.into_data() else {
            continue;
        };
        let size = (first.len().max(rest.len()) + piece.len()) as u64;
        if size > limit.0 {
            throw_away(&mut body).await;
            return Err(Refusal::too_large(size, limit));
        }
        if !rest.is_empty() {
            rest.extend_from_slice(&piece);
        } else if first.is_empty() {
            first = piece;
        } else {
            let known = length.and_then(|length| usize::try_from(length).ok());
            rest.reserve(known.unwrap_or_default());
            rest.extend_from_slice(&first);
            rest.extend_from_slice(&piece);
        }
    }
    Ok(match rest.is_empty() {
        true => first,
        false => rest.freeze(),
    })
}

async fn throw_away(body: &mut Body) {
    let mut read = 0;
    while read < THROWN_AWAY
        && let Some(Ok(frame)) = body.frame().await
    {
        read += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
}

/// What a body says in JSON. An empty one says `{}`.
///
/// # Errors
/// 400 if it is something else, with the place.
pub(crate) fn json<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, Refusal> {
    let body = match body.trim_ascii().is_empty() {
        true => b"{}".as_slice(),
        false => body,
    };
    serde_json::from_slice(body)
        .map_err(|error| Refusal::bad_request(format!("the body is not what is expected: {error}")))
}
