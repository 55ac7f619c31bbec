//! Direct methods that modules call (client contract, section 9).

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use edge_core::{ByteSize, DeviceId, Identity, ModuleId};
use edge_hub::{Caller, Invocation};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Shared;
use crate::body;
use crate::connection::Connection;
use crate::refusal::Refusal;

/// The caller: `{device}/{module}`, not encoded.
const CALLER: &str = "x-ms-edge-moduleid";
/// How long an answer is waited for if the caller does not say, in seconds, and what it may say.
const RESPONSE: (u64, std::ops::RangeInclusive<u64>) = (30, 5..=300);
/// How long a target that is not there is waited for.
const CONNECT: (u64, std::ops::RangeInclusive<u64>) = (0, 0..=300);
/// Room for what is around the payload in a request.
const AROUND_PAYLOAD: u64 = 16 << 10;

/// A payload is never read, only passed on.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Call<'a> {
    #[serde(default)]
    method_name: String,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    response_timeout_in_seconds: Option<u64>,
    connect_timeout_in_seconds: Option<u64>,
}

#[derive(Serialize)]
struct Answer {
    status: u32,
    payload: Box<RawValue>,
}

type App = State<Arc<Shared>>;
type At<T> = Result<Path<T>, PathRejection>;

pub(super) async fn of_device(
    State(shared): App,
    Extension(connection): Extension<Arc<Connection>>,
    device: At<String>,
    request: Request,
) -> Result<Response, Refusal> {
    let Path(device) = device?;
    let target = Identity::Device(DeviceId::new(&device)?);
    call(&shared, &connection, target, request).await
}

pub(super) async fn of_module(
    State(shared): App,
    Extension(connection): Extension<Arc<Connection>>,
    names: At<(String, String)>,
    request: Request,
) -> Result<Response, Refusal> {
    let Path((device, module)) = names?;
    let target = Identity::Module(DeviceId::new(&device)?, ModuleId::new(&module)?);
    call(&shared, &connection, target, request).await
}

async fn call(
    shared: &Shared,
    connection: &Connection,
    target: Identity,
    request: Request,
) -> Result<Response, Refusal> {
    let (head, body) = request.into_parts();
    let hub = &shared.config.hub;
    let caller = caller(&head.headers)?;
    if !matches!(&caller, Identity::Module(device, _) if device == hub.device()) {
        let message = format!("{caller} is no module of this device: only those call methods here");
        return Err(Refusal::new(StatusCode::UNAUTHORIZED, message));
    }
    let permit = shared.authenticate(&caller, &head.headers, &connection.peer)?;
    let limit = hub.methods().limit();
    let most = ByteSize(limit.0.saturating_add(AROUND_PAYLOAD));
    let body = body::read(&head.headers, body, most).await?;
    let call: Call<'_> = body::json(&body)?;
    if call.method_name.is_empty() {
        return Err(Refusal::bad_request("methodName is missing"));
    }
    let payload = call.payload.map_or("null", RawValue::get);
    if payload.len() as u64 > limit.0 {
        return Err(Refusal::too_large(payload.len() as u64, limit));
    }
    let invocation = Invocation {
        caller: Caller::Client(&permit.identity),
        target: &target,
        name: &call.method_name,
        payload,
        connect_timeout: seconds("connect", call.connect_timeout_in_seconds, CONNECT)?,
        response_timeout: seconds("response", call.response_timeout_in_seconds, RESPONSE)?,
    };
    let answer = hub.methods().call(invocation, shared.sleep).await?;
    let payload = RawValue::from_string(answer.payload).map_err(|error| {
        let message = format!("{target} answered something that is not JSON: {error}");
        Refusal::new(StatusCode::BAD_GATEWAY, message)
    })?;
    let status = answer.status;
    Ok(Json(Answer { status, payload }).into_response())
}

/// Whom a request says that it comes from.
fn caller(headers: &HeaderMap) -> Result<Identity, Refusal> {
    let expected = || {
        Refusal::bad_request("header x-ms-edge-moduleId: expected {device}/{module} of the caller")
    };
    let text = headers.get(CALLER).ok_or_else(expected)?;
    let text = text.to_str().map_err(|_| expected())?;
    let (device, module) = text.split_once('/').ok_or_else(expected)?;
    Ok(Identity::Module(
        DeviceId::new(device)?,
        ModuleId::new(module)?,
    ))
}

fn seconds(
    what: &str,
    asked: Option<u64>,
    (default, allowed): (u64, std::ops::RangeInclusive<u64>),
) -> Result<Duration, Refusal> {
    let seconds = asked.unwrap_or(default);
    if !allowed.contains(&seconds) {
        return Err(Refusal::bad_request(format!(
            "{what}TimeoutInSeconds is {seconds}; expected {} to {}",
            allowed.start(),
            allowed.end()
        )));
    }
    Ok(Duration::from_secs(seconds))
}
