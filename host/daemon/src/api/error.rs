//! The one place where errors become answers: a status, a stable code, and what to do.

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::response::{IntoResponse, Response};
use edge_agent::RestartError;
use edge_hub::{MethodError, SendRefusal, TwinError};
use edge_identity::RegistryError;
use edge_store::CommitError;
use http::StatusCode;

use super::types::ErrorBody;
use crate::device::{ApplyError, IdentityError, SendError};

/// An answer that is none.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    body: ErrorBody,
}

impl ApiError {
    fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            body: ErrorBody {
                code: code.to_owned(),
                message: message.into(),
                mistakes: Vec::new(),
            },
        }
    }

    /// The request is wrong.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", message)
    }

    /// What it names is not there.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", message)
    }

    /// It is larger than it may be.
    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", message)
    }

    /// There is no such call.
    pub(crate) fn no_such_call(status: StatusCode, message: impl Into<String>) -> Self {
        Self::new(status, "no-such-call", message)
    }

    /// A fault of ours.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if self.status.is_server_error() {
            tracing::warn!(code = %self.body.code, message = %self.body.message, "request failed");
        }
        (self.status, Json(self.body)).into_response()
    }
}

impl From<CommitError> for ApiError {
    fn from(error: CommitError) -> Self {
        let message = error.to_string();
        match error {
            CommitError::Full { .. } => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "full", message)
            }
            CommitError::Failed(_) => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "store-failed", message)
            }
        }
    }
}

impl From<ApplyError> for ApiError {
    fn from(error: ApplyError) -> Self {
        let message = edge_core::chain(&error);
        match error {
            ApplyError::Mistakes { mistakes, .. } => {
                let mut answer =
                    Self::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-manifest", message);
                answer.body.mistakes = mistakes;
                answer
            }
            ApplyError::Request(_) => Self::bad_request(message),
            ApplyError::NoSuch(_) => Self::not_found(message),
            ApplyError::Twin { why, .. } => Self {
                body: ErrorBody {
                    message,
                    ..Self::from(why.clone()).body
                },
                ..Self::from(why)
            },
            ApplyError::Identities(error) => error.into(),
            ApplyError::Store(error) => error.into(),
            ApplyError::Panicked => Self::internal(message),
        }
    }
}

impl From<IdentityError> for ApiError {
    fn from(error: IdentityError) -> Self {
        let message = error.to_string();
        match error {
            IdentityError::Name { .. } => Self::bad_request(message),
            IdentityError::Nobody(_) => Self::not_found(message),
            IdentityError::Own(_) => Self::new(StatusCode::CONFLICT, "own-identity", message),
            IdentityError::Store(error) | IdentityError::Registry(RegistryError::Commit(error)) => {
                error.into()
            }
            IdentityError::Registry(error) => match error {
                RegistryError::Unknown(_) | RegistryError::NoSuchDevice { .. } => {
                    Self::not_found(message)
                }
                RegistryError::AlreadyThere(_) => {
                    Self::new(StatusCode::CONFLICT, "already-there", message)
                }
                RegistryError::BadKey(_)
                | RegistryError::BadThumbprint(_)
                | RegistryError::NoKeys(_)
                | RegistryError::OfParent(_)
                | RegistryError::WouldComeBack(_)
                | RegistryError::BadParent { .. } => Self::bad_request(message),
                RegistryError::Random(_) | RegistryError::Commit(_) => Self::internal(message),
            },
        }
    }
}

impl From<SendError> for ApiError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Request(message) => Self::bad_request(message),
            SendError::Store(error) => error.into(),
            SendError::Refused(refusal) => {
                let message = refusal.to_string();
                match refusal {
                    SendRefusal::TooLarge { .. } => Self::too_large(message),
                    SendRefusal::InvalidOutput(_) => Self::bad_request(message),
                    SendRefusal::Full => {
                        Self::new(StatusCode::INSUFFICIENT_STORAGE, "full", message)
                    }
                }
            }
        }
    }
}

impl From<TwinError> for ApiError {
    fn from(error: TwinError) -> Self {
        let message = error.to_string();
        match error {
            TwinError::Invalid(_) => Self::bad_request(message),
            TwinError::TooLarge { .. } => Self::too_large(message),
            TwinError::NotStored(error) => error.into(),
        }
    }
}

impl From<MethodError> for ApiError {
    fn from(error: MethodError) -> Self {
        let message = error.to_string();
        match error {
            MethodError::NotFound(_) => Self::not_found(message),
            MethodError::Timeout(_) => Self::new(StatusCode::GATEWAY_TIMEOUT, "timeout", message),
            MethodError::Busy(_) => Self::new(StatusCode::CONFLICT, "busy", message),
            MethodError::Invalid(_) => Self::bad_request(message),
            MethodError::Failed(_) => Self::new(StatusCode::BAD_GATEWAY, "method-failed", message),
        }
    }
}

impl From<RestartError> for ApiError {
    fn from(error: RestartError) -> Self {
        let message = error.to_string();
        match error {
            RestartError::Unknown(_) => Self::not_found(message),
            RestartError::Stopped(_) => Self::new(StatusCode::CONFLICT, "stopped", message),
            RestartError::ShutDown(_) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", message)
            }
        }
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        let message = rejection.body_text();
        match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Self::too_large(message),
            _ => Self::bad_request(message),
        }
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad_request(rejection.body_text())
    }
}

/// A thread of ours panicked.
impl From<tokio::task::JoinError> for ApiError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::internal(format!("the work on it ended early: {error}"))
    }
}
