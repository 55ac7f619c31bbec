//! The support bundle.

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::App;
use super::watch::Asked;
use crate::api::ApiError;
use crate::bundle::{self, Wanted};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Bundle {
    /// As [`edge_operate::moment`] reads it.
    #[serde(default)]
    since: Option<String>,
}

/// A `tar.gz`, made now.
pub(in crate::api) async fn support_bundle(
    State(api): App,
    asked: Asked<Bundle>,
) -> Result<Response, ApiError> {
    let Query(asked) = asked?;
    let now = api.device.hub().now();
    let since = asked.since.map(|text| edge_operate::moment(&text, now));
    let wanted = Wanted {
        since: since
            .transpose()
            .map_err(|error| ApiError::bad_request(error.to_string()))?,
        until: None,
        modules: true,
    };
    let bytes = bundle::of_device(&api.device, &wanted).await;
    let bytes = bytes.map_err(|error| {
        ApiError::internal(format!("the bundle could not be put together: {error}"))
    })?;
    Ok(([(http::header::CONTENT_TYPE, "application/gzip")], bytes).into_response())
}
