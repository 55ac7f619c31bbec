//! Dead letters.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use serde::Deserialize;

use super::{Answer, App, Request};
use crate::api::ApiError;
use crate::api::types::{DeadLetterInfo, Handled, Which};

/// Most dead letters of one answer.
const PAGE: usize = 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Page {
    #[serde(default)]
    from: u64,
    #[serde(default)]
    max: Option<usize>,
}

/// A page of them, oldest first; the next one begins after the last number.
pub(in crate::api) async fn letters(
    State(api): App,
    page: Result<Query<Page>, QueryRejection>,
) -> Answer<Vec<DeadLetterInfo>> {
    let Query(page) = page?;
    let max = page.max.unwrap_or(PAGE).min(PAGE);
    let device = api.device.clone();
    let letters = tokio::task::spawn_blocking(move || {
        let letters = device.letters(page.from, max);
        letters.iter().map(DeadLetterInfo::from).collect()
    });
    Ok(Json(letters.await?))
}

/// One of them.
pub(in crate::api) async fn letter(
    State(api): App,
    Path(number): Path<u64>,
) -> Answer<DeadLetterInfo> {
    let device = api.device.clone();
    let letters = tokio::task::spawn_blocking(move || device.letters(number, 1)).await?;
    let found = letters.first().filter(|(seq, _)| seq.0 == number);
    let none = || ApiError::not_found(format!("there is no dead letter {number}"));
    found.map(DeadLetterInfo::from).map(Json).ok_or_else(none)
}

/// Back into the queues that they came from.
pub(in crate::api) async fn replay(State(api): App, which: Request<Which>) -> Answer<Handled> {
    let Json(which) = which?;
    let device = api.device.clone();
    let work = tokio::task::spawn_blocking(move || device.replay_letters(which));
    let (handled, lsn) = work.await??;
    api.device.durable(lsn).await?;
    Ok(Json(handled))
}

/// Gone for good.
pub(in crate::api) async fn drop_letters(
    State(api): App,
    which: Request<Which>,
) -> Answer<Handled> {
    let Json(which) = which?;
    let device = api.device.clone();
    let work = tokio::task::spawn_blocking(move || device.drop_letters(which));
    let (handled, lsn) = work.await??;
    api.device.durable(lsn).await?;
    Ok(Json(handled))
}
