//! Identities, what acts as one, and certificates. Keys leave the daemon here and nowhere else.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use edge_core::DeviceId;
use edge_identity::{Entry, Status, Which, debug_environment};
use serde::Deserialize;

use super::watch::Asked;
use super::{Answer, App, Request};
use crate::api::types::{
    AddIdentity, CertificatesInfo, ChangeIdentity, EnvironmentInfo, Hidden, IdentityInfo,
    IdentitySecrets, IdentityStatus, Removed, RotateKeys, WhichKey,
};
use crate::api::{Api, ApiError};
use crate::device;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Secrets {
    #[serde(default)]
    secrets: bool,
}

/// What is told of an identity, with its keys where they are asked for.
fn info(api: &Api, entry: &Entry, secrets: bool) -> IdentityInfo {
    let device = &api.device;
    let show = || {
        let behind = device.gateway_of(entry);
        IdentitySecrets::of(entry, device.hub_name(), device.hostname(), behind.as_ref())
    };
    IdentityInfo {
        secrets: secrets.then(show),
        ..IdentityInfo::of(entry)
    }
}

/// All of them.
pub(in crate::api) async fn identities(State(api): App) -> Json<Vec<IdentityInfo>> {
    let entries = api.device.registry().list();
    Json(
        entries
            .iter()
            .map(|entry| IdentityInfo::of(entry))
            .collect(),
    )
}

/// One.
pub(in crate::api) async fn identity(
    State(api): App,
    Path(name): Path<String>,
    asked: Asked<Secrets>,
) -> Answer<IdentityInfo> {
    let Query(asked) = asked?;
    let entry = entry(&api, &name)?;
    Ok(Json(info(&api, &entry, asked.secrets)))
}

fn entry(api: &Api, name: &str) -> Result<Arc<Entry>, ApiError> {
    let identity = device::identity(name)?;
    let entry = api.device.registry().get(&identity);
    entry.ok_or_else(|| {
        ApiError::not_found(format!(
            "{identity} is not registered: `edge identity list` shows those that are"
        ))
    })
}

/// Makes one; answers with its keys, which whoever adds it passes on.
pub(in crate::api) async fn add_identity(
    State(api): App,
    request: Request<AddIdentity>,
) -> Answer<IdentityInfo> {
    let Json(request) = request?;
    let identity = device::identity(&request.identity)?;
    let parent = request.parent.as_deref().map(gateway).transpose()?;
    let added = api
        .device
        .add_identity(&identity, request.auth.into(), parent.as_ref())
        .await?;
    Ok(Json(info(&api, &added, true)))
}

/// The name of a gateway.
fn gateway(name: &str) -> Result<DeviceId, ApiError> {
    DeviceId::new(name).map_err(|error| ApiError::bad_request(format!("parent {name:?}: {error}")))
}

/// Lets it in, or keeps it out; puts it behind a gateway.
pub(in crate::api) async fn change_identity(
    State(api): App,
    Path(name): Path<String>,
    request: Request<ChangeIdentity>,
) -> Answer<IdentityInfo> {
    let identity = device::identity(&name)?;
    let Json(request) = request?;
    if request == ChangeIdentity::default() {
        let why = "nothing to change: give status or parent";
        return Err(ApiError::bad_request(why.to_owned()));
    }
    if let Some(parent) = &request.parent {
        let parent = (!parent.is_empty()).then(|| gateway(parent)).transpose()?;
        let device = &api.device;
        device
            .set_identity_parent(&identity, parent.as_ref())
            .await?;
    }
    if let Some(status) = request.status {
        let status = match status {
            IdentityStatus::Enabled => Status::Enabled,
            IdentityStatus::Disabled => Status::Disabled,
        };
        api.device.set_identity_status(&identity, status).await?;
    }
    let entry = entry(&api, &name)?;
    Ok(Json(info(&api, &entry, false)))
}

/// Replaces keys; answers with them.
pub(in crate::api) async fn rotate_keys(
    State(api): App,
    Path(name): Path<String>,
    request: Request<RotateKeys>,
) -> Answer<IdentityInfo> {
    let identity = device::identity(&name)?;
    let Json(request) = request?;
    let which = match request.which {
        WhichKey::Primary => Which::Primary,
        WhichKey::Secondary => Which::Secondary,
        WhichKey::Both => Which::Both,
    };
    let rotated = api.device.rotate_keys(&identity, which).await?;
    Ok(Json(info(&api, &rotated, true)))
}

/// Removes it; a device takes its modules along.
pub(in crate::api) async fn remove_identity(
    State(api): App,
    Path(name): Path<String>,
) -> Answer<Removed> {
    let identity = device::identity(&name)?;
    let removed = api.device.remove_identity(&identity).await?;
    Ok(Json(Removed {
        removed: removed.iter().map(ToString::to_string).collect(),
    }))
}

/// What a process on this machine needs to act as a module.
pub(in crate::api) async fn environment(
    State(api): App,
    Path(module): Path<String>,
    asked: Asked<Secrets>,
) -> Answer<EnvironmentInfo> {
    let Query(asked) = asked?;
    let device = &api.device;
    let (entry, variables) = device.environment(&module)?;
    let owned = |(name, value): (&str, String)| (name.to_owned(), value);
    let debug = || {
        let variables = debug_environment(
            &entry,
            device.hub_name(),
            device.hostname(),
            device.bundle_file(),
        );
        let hidden = variables
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Hidden::new(value.as_str())));
        hidden.collect()
    };
    Ok(Json(EnvironmentInfo {
        identity: entry.identity.to_string(),
        variables: variables.into_iter().map(owned).collect(),
        debug_variables: asked.secrets.then(debug),
    }))
}

/// The certificates there are.
pub(in crate::api) async fn certificates(State(api): App) -> Json<CertificatesInfo> {
    Json(api.device.certificates())
}
