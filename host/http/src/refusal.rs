//! The one place where what goes wrong becomes an HTTP answer: a status and `{"message":…}`, as the seed system's
//! hub and daemon have it.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::response::{IntoResponse, Response};
use edge_core::{ByteSize, InvalidId};
use edge_hub::{MethodError, SendRefusal};
use edge_identity::{Denied, WorkloadError, WorkloadErrorKind};
use edge_store::CommitError;
use http::StatusCode;
use serde::Serialize;

/// A request that is not answered as its sender hoped.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
}

#[derive(Serialize)]
struct Body<'a> {
    message: &'a str,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(crate) fn too_large(size: u64, limit: ByteSize) -> Self {
        let message = format!("the body has {size} bytes or more, at most {limit} are taken");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = Body {
            message: &self.message,
        };
        (self.status, Json(body)).into_response()
    }
}

impl From<InvalidId> for Refusal {
    fn from(error: InvalidId) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl From<PathRejection> for Refusal {
    fn from(error: PathRejection) -> Self {
        Self::bad_request(format!("the path: {}", error.body_text()))
    }
}

/// Nothing of what was wrong: it would help those who guess.
impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        match denied.is_transient() {
            true => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "identities cannot be checked yet; try again",
            ),
            false => Self::new(
                StatusCode::UNAUTHORIZED,
                "the caller did not prove who it is: expected a SAS token in Authorization, or a client certificate",
            ),
        }
    }
}

impl From<MethodError> for Refusal {
    fn from(error: MethodError) -> Self {
        let status = match error {
            MethodError::NotFound(_) => StatusCode::NOT_FOUND,
            MethodError::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
            // Passing: the caller's own step must end first.
            MethodError::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
            MethodError::Invalid(_) => StatusCode::BAD_REQUEST,
            MethodError::Failed(_) => StatusCode::BAD_GATEWAY,
        };
        Self::new(status, error.to_string())
    }
}

impl From<SendRefusal> for Refusal {
    fn from(refusal: SendRefusal) -> Self {
        let status = match refusal {
            SendRefusal::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            SendRefusal::InvalidOutput(_) => StatusCode::BAD_REQUEST,
            SendRefusal::Full => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, refusal.to_string())
    }
}

impl From<CommitError> for Refusal {
    fn from(error: CommitError) -> Self {
        let status = match error.is_transient() {
            true => StatusCode::SERVICE_UNAVAILABLE,
            false => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}

impl From<WorkloadError> for Refusal {
    fn from(error: WorkloadError) -> Self {
        let status = match error.kind() {
            WorkloadErrorKind::NotFound => StatusCode::NOT_FOUND,
            WorkloadErrorKind::Forbidden => StatusCode::FORBIDDEN,
            WorkloadErrorKind::BadRequest => StatusCode::BAD_REQUEST,
            WorkloadErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}
