//! What each call does: words in, the device's work, words out.

mod bundle;
mod identities;
mod letters;
mod twins;
mod watch;

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use edge_core::{DeviceId, ModuleId};
use http::{StatusCode, Uri};
use serde_json::{Map, Value};

use super::types::{
    Applied, ApplyRequest, ChildDeployment, CurrentDeployment, DeploymentInfo, DeviceInfo,
    QueueInfo, RollbackRequest, SendRequest, Sent,
};
use super::{Api, ApiError};

pub(super) use bundle::support_bundle;
pub(super) use identities::{
    add_identity, certificates, change_identity, environment, identities, identity,
    remove_identity, rotate_keys,
};
pub(super) use letters::{drop_letters, letter, letters, replay};
pub(super) use twins::{method, replace_twin, set_twin, twin};
pub(super) use watch::{logs, modules, tail, top};

type App = State<Arc<Api>>;
type Answer<T> = Result<Json<T>, ApiError>;
type Request<T> = Result<Json<T>, JsonRejection>;

fn module_id(text: &str) -> Result<ModuleId, ApiError> {
    ModuleId::new(text).map_err(|error| ApiError::bad_request(error.to_string()))
}

pub(super) async fn device(State(api): App) -> Json<DeviceInfo> {
    let device = &api.device;
    Json(DeviceInfo {
        device: device.name().to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        started: device.started().to_string(),
        data: api.data.clone(),
        hostname: device.hostname().to_owned(),
        hub_name: device.hub_name().to_owned(),
        listeners: api.listeners.clone(),
        metrics: api.metrics.map(|at| at.to_string()),
        deployment: device.deployment().map(|current| current.deployment),
        upstream: device.upstream().map(Into::into),
    })
}

pub(super) async fn apply(State(api): App, request: Request<ApplyRequest>) -> Answer<Applied> {
    let device = api.device.clone();
    let Json(request) = request?;
    // Whoever hangs up does not stop it half-way.
    let applied = tokio::spawn(async move { device.apply(request).await });
    Ok(Json(applied.await??))
}

pub(super) async fn apply_to_child(
    State(api): App,
    path: Path<String>,
    request: Request<ApplyRequest>,
) -> Answer<ChildDeployment> {
    let Path(child) = path;
    let child = DeviceId::new(&child).map_err(|error| ApiError::bad_request(error.to_string()))?;
    let Json(request) = request?;
    let device = api.device.clone();
    // Whoever hangs up does not stop it half-way.
    let applied = tokio::spawn(async move { device.apply_to_child(&child, request).await });
    Ok(Json(applied.await??))
}

pub(super) async fn deployment(State(api): App) -> Answer<CurrentDeployment> {
    let none = || ApiError::not_found("nothing is deployed: `edge apply MANIFEST` does that");
    api.device.deployment().map(Json).ok_or_else(none)
}

pub(super) async fn deployments(State(api): App) -> Answer<Vec<DeploymentInfo>> {
    let device = api.device.clone();
    let deployments = tokio::task::spawn_blocking(move || device.deployments());
    Ok(Json(deployments.await?))
}

pub(super) async fn rollback(
    State(api): App,
    request: Request<RollbackRequest>,
) -> Answer<Applied> {
    let Json(request) = request?;
    let device = api.device.clone();
    // Whoever goes away does not leave it half done.
    let done = tokio::spawn(async move { device.rollback(request.number).await });
    Ok(Json(done.await??))
}

pub(super) async fn restart(
    State(api): App,
    Path(module): Path<String>,
) -> Answer<Map<String, Value>> {
    let module = module_id(&module)?;
    api.device.agent().restart(&module).await?;
    Ok(Json(Map::new()))
}

pub(super) async fn queues(State(api): App) -> Answer<Vec<QueueInfo>> {
    let device = api.device.clone();
    Ok(Json(
        tokio::task::spawn_blocking(move || device.queues()).await?,
    ))
}

pub(super) async fn send(State(api): App, request: Request<SendRequest>) -> Answer<Sent> {
    let Json(request) = request?;
    Ok(Json(api.device.send(&request).await?))
}

pub(super) async fn metrics(State(api): App) -> Result<Response, ApiError> {
    let device = api.device.clone();
    let text = tokio::task::spawn_blocking(move || crate::metrics::render(&device)).await?;
    Ok((
        [(http::header::CONTENT_TYPE, crate::metrics::CONTENT_TYPE)],
        text,
    )
        .into_response())
}

pub(super) async fn unknown(uri: Uri) -> ApiError {
    let message = format!("there is no call {}", uri.path());
    ApiError::no_such_call(StatusCode::NOT_FOUND, message)
}

pub(super) async fn not_allowed(method: http::Method, uri: Uri) -> ApiError {
    let message = format!("there is no call {method} {}", uri.path());
    ApiError::no_such_call(StatusCode::METHOD_NOT_ALLOWED, message)
}
