//! What every request of the workload API passes first: its version, and its turn.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::StatusCode;

use super::Asker;
use crate::refusal::Refusal;

/// The first version that there was.
const OLDEST: &str = "2018-06-28";

pub(super) async fn pass(
    State(asker): State<Arc<Asker>>,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    check_version(request.uri().query().unwrap_or_default())?;
    let turn = asker.requests.acquire().await;
    // It is never closed.
    let _turn =
        turn.map_err(|error| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    Ok(next.run(request).await)
}

/// Versions are dates, so they compare as text; newer ones than we know ask for nothing that is not here.
fn check_version(query: &str) -> Result<(), Refusal> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let Some((_, version)) = pairs.find(|(name, _)| *name == "api-version") else {
        return Ok(());
    };
    let is_date = version.len() >= OLDEST.len()
        && version.bytes().zip(OLDEST.bytes()).all(|(byte, pattern)| {
            byte == pattern || byte.is_ascii_digit() && pattern.is_ascii_digit()
        });
    if is_date && version >= OLDEST {
        return Ok(());
    }
    Err(Refusal::bad_request(format!(
        "api-version is not known: expected {OLDEST} or later"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_since_the_first_are_taken() {
        for query in [
            "",
            "x=1",
            "api-version=2018-06-28",
            "a=b&api-version=2019-11-05",
            "api-version=2031-01-01-preview",
        ] {
            assert!(check_version(query).is_ok(), "{query}");
        }
        for query in [
            "api-version=",
            "api-version=2017-11-01",
            "api-version=latest",
            "api-version=9",
        ] {
            assert!(check_version(query).is_err(), "{query}");
        }
    }
}
