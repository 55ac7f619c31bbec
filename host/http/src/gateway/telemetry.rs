//! Messages of devices that speak nothing but HTTPS, in the form in which IoT Hub takes them.
//!
//! ```text
//!   POST /devices/{device}/messages/events
//!   Authorization: SharedAccessSignature …
//!   iothub-messageid: 17                  system properties: see SYSTEM
//!   iothub-app-Line: 3                    an application property; names arrive in lower case: "line"
//!
//!   the body
//! ```
//!
//! Answered with 204 when the message is on the device. 503 says to try again: the store is full.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use edge_core::{Content, DeviceId, Identity, ModuleId, Properties, system};
use edge_store::{Commit, CommitError};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::Shared;
use crate::body;
use crate::connection::Connection;
use crate::refusal::Refusal;

/// Headers that are system properties.
const SYSTEM: [(&str, &str); 8] = [
    ("iothub-messageid", system::MESSAGE_ID),
    ("iothub-correlationid", system::CORRELATION_ID),
    ("iothub-userid", system::USER_ID),
    ("iothub-to", system::TO),
    ("iothub-expiry", system::EXPIRY),
    ("iothub-contenttype", system::CONTENT_TYPE),
    ("iothub-contentencoding", system::CONTENT_ENCODING),
    ("iothub-creationtimeutc", system::CREATION_TIME),
];
/// What headers of application properties begin with.
const APPLICATION: &str = "iothub-app-";
/// Several messages in one request, which is not taken.
const BATCH: &str = "application/vnd.microsoft.iothub.json";

type App = State<Arc<Shared>>;

pub(super) async fn of_device(
    State(shared): App,
    Extension(connection): Extension<Arc<Connection>>,
    device: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<StatusCode, Refusal> {
    let Path(device) = device?;
    let identity = Identity::Device(DeviceId::new(&device)?);
    take(&shared, &connection, identity, request).await
}

pub(super) async fn of_module(
    State(shared): App,
    Extension(connection): Extension<Arc<Connection>>,
    names: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Result<StatusCode, Refusal> {
    let Path((device, module)) = names?;
    let identity = Identity::Module(DeviceId::new(&device)?, ModuleId::new(&module)?);
    take(&shared, &connection, identity, request).await
}

async fn take(
    shared: &Shared,
    connection: &Connection,
    identity: Identity,
    request: Request,
) -> Result<StatusCode, Refusal> {
    let (head, body) = request.into_parts();
    let permit = shared.authenticate(&identity, &head.headers, &connection.peer)?;
    let mut content = content(&head.headers)?;
    content.body = body::read(&head.headers, body, shared.config.message_limit).await?;
    let hub = &shared.config.hub;
    let pressure = hub.pressure();
    if pressure.is_high() {
        let (used, limit) = (pressure.used, pressure.limit);
        return Err(CommitError::Full { used, limit }.into());
    }
    let mut commit = Commit::new();
    let mut sender = hub.sender(permit.identity);
    sender.stage(&mut commit, None, Arc::new(content), 0, hub.now())?;
    if let Some(lsn) = hub.commit(&mut commit)? {
        hub.durable(lsn).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// The properties of a message. `Content-Type: application/json` counts as its content type too, because simple
/// clients set nothing else; such a body is UTF-8 (RFC 8259, section 8.1).
fn content(headers: &HeaderMap) -> Result<Content, Refusal> {
    let mut content = Content::default();
    if let Some(value) = headers.get(CONTENT_TYPE) {
        let value = text(CONTENT_TYPE.as_str(), value)?;
        let kind = value.split(';').next().unwrap_or(value).trim();
        if kind.eq_ignore_ascii_case(BATCH) {
            return Err(Refusal::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "batches are not taken: send each message by itself",
            ));
        }
        if kind.eq_ignore_ascii_case("application/json") {
            content.system.set(system::CONTENT_TYPE, value);
            content.system.set(system::CONTENT_ENCODING, "utf-8");
        }
    }
    for (header, name) in SYSTEM {
        if let Some(value) = headers.get(header) {
            content.system.set(name, text(header, value)?);
        }
    }
    content.properties = application(headers)?;
    Ok(content)
}

fn application(headers: &HeaderMap) -> Result<Properties, Refusal> {
    let mut properties = Properties::new();
    for (header, value) in headers {
        let name = header.as_str().strip_prefix(APPLICATION);
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            properties.set(name, text(header.as_str(), value)?);
        }
    }
    Ok(properties)
}

fn text<'v>(header: &str, value: &'v HeaderValue) -> Result<&'v str, Refusal> {
    std::str::from_utf8(value.as_bytes())
        .map_err(|_| Refusal::bad_request(format!("header {header} is not UTF-8")))
}
