//! Twins and methods of whoever has an identity.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

use super::watch::{Asked, Follow};
use super::{Answer, App, Request};
use crate::api::ApiError;
use crate::api::stream::lines;
use crate::api::types::{MethodAnswer, MethodRequest, TwinSection};

/// How long a method's answer is waited for, if the caller does not say.
const METHOD_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest that a caller may ask for.
const METHOD_LONGEST: Duration = Duration::from_secs(300);

/// A twin; with `follow` a line now, and one whenever it changed.
pub(in crate::api) async fn twin(
    State(api): App,
    Path(name): Path<String>,
    asked: Asked<Follow>,
) -> Result<Response, ApiError> {
    let Query(asked) = asked?;
    let identity = api.device.find(&name)?;
    if !asked.follow {
        return Ok(Json(api.device.twin(&identity)?).into_response());
    }
    // Before it is read for the first time, so that no change is missed.
    let watch = api.device.watch_twin(&identity);
    let mut twin = api.device.twin(&identity)?;
    let device = api.device.clone();
    let work = |out: crate::api::stream::Lines| async move {
        loop {
            out.send(&twin).await?;
            loop {
                watch.changed().await;
                match device.twin(&identity) {
                    Ok(now) if now == twin => {}
                    Ok(now) => {
                        twin = now;
                        break;
                    }
                    Err(error) => {
                        tracing::warn!(%identity, %error, "a twin that is watched cannot be read");
                        return Ok(());
                    }
                }
            }
        }
    };
    Ok(lines(api.closing.clone(), work))
}

/// Merges a patch into the desired properties.
pub(in crate::api) async fn set_twin(
    State(api): App,
    Path(name): Path<String>,
    patch: Request<Map<String, Value>>,
) -> Answer<TwinSection> {
    let identity = api.device.find(&name)?;
    let Json(patch) = patch?;
    Ok(Json(api.device.set_twin(&identity, patch).await?.into()))
}

/// Replaces the desired properties as a whole.
pub(in crate::api) async fn replace_twin(
    State(api): App,
    Path(name): Path<String>,
    wanted: Request<Map<String, Value>>,
) -> Answer<TwinSection> {
    let identity = api.device.find(&name)?;
    let Json(wanted) = wanted?;
    let section = api.device.replace_twin(&identity, &wanted).await?;
    Ok(Json(section.into()))
}

/// Calls a method.
pub(in crate::api) async fn method(
    State(api): App,
    Path((target, name)): Path<(String, String)>,
    request: Request<MethodRequest>,
) -> Answer<MethodAnswer> {
    let identity = api.device.find(&target)?;
    let Json(request) = request?;
    let span = |seconds: Option<u64>| seconds.map(|s| Duration::from_secs(s).min(METHOD_LONGEST));
    let connect = span(request.connect_timeout_seconds).unwrap_or_default();
    let response = span(request.timeout_seconds).unwrap_or(METHOD_TIMEOUT);
    let payload = &request.payload;
    let answer = api
        .device
        .invoke(&identity, &name, payload, connect, response);
    let answer = answer.await?;
    Ok(Json(MethodAnswer {
        status: answer.status,
        // The hub lets nothing pass that is no JSON.
        payload: serde_json::from_str(&answer.payload).unwrap_or(Value::String(answer.payload)),
    }))
}
