//! The engine: connections to its socket, and the one call that its library's types would cut short.
//!
//! The version of the API is agreed on once per connection kept here, and anew when the engine was away.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, Docker};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

/// Seconds that the engine may take to answer: more than a container's grace, since a stop is one call.
const TIMEOUT: u64 = 120;
/// Most bytes of an answer to the create call.
const ANSWER: usize = 1 << 20;

/// Why the engine did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// There is no socket.
    #[error("no container engine at {}: start it, or correct socket in [containers] of the settings", .0.display())]
    Absent(PathBuf),
    /// It said no.
    #[error("the container engine answers {status}: {message}")]
    Answer {
        /// HTTP status.
        status: u16,
        /// Its own words.
        message: String,
    },
    /// It did not answer.
    #[error("the container engine at {} does not answer: {why}", .socket.display())]
    Silent {
        /// Its socket.
        socket: PathBuf,
        /// Why.
        why: String,
    },
}

impl EngineError {
    /// Whether what was asked about is not there.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Answer { status: 404, .. })
    }

    /// Whether the request is wrong, and will be next time.
    pub(crate) fn is_bad_request(&self) -> bool {
        matches!(self, Self::Answer { status: 400, .. })
    }

    /// Whether it is so already.
    pub(crate) fn is_not_modified(&self) -> bool {
        matches!(self, Self::Answer { status: 304, .. })
    }
}

/// Talks to one engine.
#[derive(Debug)]
pub(crate) struct Engine {
    socket: PathBuf,
    docker: Mutex<Option<Docker>>,
}

impl Engine {
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self {
            socket,
            docker: Mutex::default(),
        }
    }

    /// Whether there is a socket at all.
    pub(crate) fn is_there(&self) -> bool {
        self.socket.exists()
    }

    /// A client that has agreed with the engine on a version.
    pub(crate) async fn docker(&self) -> Result<Docker, EngineError> {
        if let Some(docker) = &*self.lock() {
            return Ok(docker.clone());
        }
        let path = self.socket.to_string_lossy();
        let docker = Docker::connect_with_unix(&path, TIMEOUT, API_DEFAULT_VERSION)
            .map_err(|error| self.error(error))?;
        let docker = docker.negotiate_version().await;
        let docker = docker.map_err(|error| self.error(error))?;
        *self.lock() = Some(docker.clone());
        Ok(docker)
    }

    /// The engine was away: it may be another version now.
    pub(crate) fn forget(&self) {
        self.lock().take();
    }

    /// What the library's error means.
    pub(crate) fn error(&self, error: Error) -> EngineError {
        match error {
            Error::DockerResponseServerError {
                status_code,
                message,
            } => EngineError::Answer {
                status: status_code,
                message,
            },
            Error::SocketNotFoundError(_) => EngineError::Absent(self.socket.clone()),
            other => self.silent(edge_core::chain(&other)),
        }
    }

    fn silent(&self, why: impl Into<String>) -> EngineError {
        EngineError::Silent {
            socket: self.socket.clone(),
            why: why.into(),
        }
    }

    /// Creates a container from a body as it is: the library's type would lose what it does not know.
    /// Answers its id, and what the engine warns of.
    pub(crate) async fn create(
        &self,
        name: &str,
        body: &Value,
    ) -> Result<(String, Vec<String>), EngineError> {
        let version = self.docker().await?.client_version();
        let silent = |why: &dyn std::error::Error| self.silent(edge_core::chain(why));
        let stream = UnixStream::connect(&self.socket).await;
        let stream = TokioIo::new(stream.map_err(|error| silent(&error))?);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream)
            .await
            .map_err(|error| silent(&error))?;
        // Ends with the answer, or with this call.
        let mut connection = std::pin::pin!(connection);
        let request = http::Request::post(format!("/v{version}/containers/create?name={name}"))
            .header("Host", "localhost")
            .header("Content-Type", "application/json")
            .body(Full::new(Bytes::from(body.to_string())))
            .map_err(|error| silent(&error))?;
        let exchange = async {
            let answer = sender.send_request(request).await;
            let answer = answer.map_err(|error| silent(&error))?;
            let status = answer.status().as_u16();
            let body = Limited::new(answer.into_body(), ANSWER).collect().await;
            let body = body.map_err(|error| silent(&*error))?.to_bytes();
            Ok::<_, EngineError>((status, body))
        };
        let mut exchange = std::pin::pin!(exchange);
        let (status, answer) = tokio::select! {
            answered = &mut exchange => answered?,
            ended = &mut connection => match ended {
                Ok(()) => exchange.await?,
                Err(error) => return Err(silent(&error)),
            },
        };
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        let text = |key: &str| answer.get(key).and_then(Value::as_str).map(str::to_owned);
        match (status, text("Id")) {
            (200..300, Some(id)) => {
                let warnings = answer.get("Warnings").and_then(Value::as_array);
                let warnings = warnings.into_iter().flatten().filter_map(Value::as_str);
                Ok((id, warnings.map(str::to_owned).collect()))
            }
            (status, _) => Err(EngineError::Answer {
                status,
                message: text("message").unwrap_or_else(|| "no more than that".to_owned()),
            }),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Docker>> {
        self.docker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
