//! The management API from the other side: typed calls over the socket.
//!
//! Called by commands. One connection for each call. Dropping a stream ends it in the daemon, too.

mod identities;
mod stream;

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::net::UnixStream;

use crate::api::types::{
    Applied, ApplyRequest, ChildDeployment, CurrentDeployment, DeadLetterInfo, DeploymentInfo,
    DeviceInfo, ErrorBody, Event, Handled, LogLine, LogQuery, MethodAnswer, MethodRequest, Modules,
    Passed, QueueInfo, RollbackRequest, SendRequest, Sent, TopSample, Twin, TwinSection, Which,
};

use stream::{Connection, failed};
pub use stream::{Download, Stream};

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers.
    #[error(
        "no edge daemon answers at {socket}: start one with `edge daemon`, or name its data directory with --data or its socket with --socket"
    )]
    NotRunning {
        /// The socket.
        socket: PathBuf,
    },
    /// Whoever calls may not.
    #[error(
        "you may not use the socket of the edge daemon, {socket}: run this as its user, or join the socket's group ([management] group)"
    )]
    NotAllowed {
        /// The socket.
        socket: PathBuf,
    },
    /// The connection failed.
    #[error("the edge daemon at {socket} cannot be talked to: {why}")]
    Connection {
        /// The socket.
        socket: PathBuf,
        /// Why.
        why: String,
    },
    /// The daemon refuses.
    #[error("{}", .0.message)]
    Refused(ErrorBody),
    /// The answer is not what it should be: daemon and command are of different versions.
    #[error(
        "the edge daemon gave an answer that this command does not understand ({0}): are they of one version?"
    )]
    Answer(String),
}

/// A daemon.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

/// No body.
const NOTHING: Option<&()> = None;

impl Client {
    /// The daemon behind a socket.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
        }
    }

    /// Its socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What device it is.
    ///
    /// # Errors
    /// No answer, or a refusal; likewise for all other calls.
    pub async fn device(&self) -> Result<DeviceInfo, ClientError> {
        self.call(Method::GET, "/v1/device", NOTHING).await
    }

    /// Checks a deployment and puts it in force.
    ///
    /// # Errors
    /// Nothing changed.
    pub async fn apply(&self, request: &ApplyRequest) -> Result<Applied, ClientError> {
        self.call(Method::PUT, "/v1/deployment", Some(request))
            .await
    }

    /// Checks a deployment and wants it of a device below.
    ///
    /// # Errors
    /// Nothing changed.
    pub async fn apply_to_child(
        &self,
        device: &str,
        request: &ApplyRequest,
    ) -> Result<ChildDeployment, ClientError> {
        let path = format!("/v1/devices/{}/deployment", word(device));
        self.call(Method::PUT, &path, Some(request)).await
    }

    /// What is in force.
    ///
    /// # Errors
    /// Nothing is.
    pub async fn deployment(&self) -> Result<CurrentDeployment, ClientError> {
        self.call(Method::GET, "/v1/deployment", NOTHING).await
    }

    /// Brings an earlier deployment back.
    ///
    /// # Errors
    /// Nothing changed.
    pub async fn rollback(&self, request: &RollbackRequest) -> Result<Applied, ClientError> {
        self.call(Method::POST, "/v1/deployment/rollback", Some(request))
            .await
    }

    /// What is and was in force, newest first.
    ///
    /// # Errors
    /// As all calls.
    pub async fn deployments(&self) -> Result<Vec<DeploymentInfo>, ClientError> {
        self.call(Method::GET, "/v1/deployments", NOTHING).await
    }

    /// The modules.
    ///
    /// # Errors
    /// As all calls.
    pub async fn modules(&self) -> Result<Modules, ClientError> {
        self.call(Method::GET, "/v1/modules", NOTHING).await
    }

    /// The modules now, and whenever they changed.
    ///
    /// # Errors
    /// As all calls.
    pub async fn watch_modules(&self) -> Result<Stream<Modules>, ClientError> {
        self.stream("/v1/modules?follow=true").await
    }

    /// Stops a module and starts it again.
    ///
    /// # Errors
    /// There is no such module, or it is not to run.
    pub async fn restart(&self, module: &str) -> Result<(), ClientError> {
        let path = format!("/v1/modules/{}/restart", word(module));
        let _: Map<String, Value> = self.call(Method::POST, &path, NOTHING).await?;
        Ok(())
    }

    /// What modules logged.
    ///
    /// # Errors
    /// There is no such module, or a time, level or pattern is none.
    pub async fn logs(&self, query: &LogQuery) -> Result<Stream<Event<LogLine>>, ClientError> {
        let mut path = format!(
            "/v1/logs?follow={}&modules={}",
            query.follow,
            word(&query.modules.join("/"))
        );
        if let Some(tail) = query.tail {
            path += &format!("&tail={tail}");
        }
        for (name, value) in [
            ("since", &query.since),
            ("until", &query.until),
            ("level", &query.level),
            ("grep", &query.grep),
        ] {
            if let Some(value) = value {
                path += &format!("&{name}={}", word(value));
            }
        }
        self.stream(&path).await
    }

    /// The support bundle, a `tar.gz`; lines of modules in it are not before `since`. Comes in pieces.
    ///
    /// # Errors
    /// As all calls.
    pub async fn support_bundle(&self, since: Option<&str>) -> Result<Download, ClientError> {
        let path = match since {
            Some(since) => format!("/v1/support-bundle?since={}", word(since)),
            None => "/v1/support-bundle".to_owned(),
        };
        let (answer, connection) = self.request(Method::GET, &path, NOTHING).await?;
        let socket = self.socket.clone();
        Ok(Download::new(answer.into_body(), socket, connection))
    }

    /// The queues.
    ///
    /// # Errors
    /// As all calls.
    pub async fn queues(&self) -> Result<Vec<QueueInfo>, ClientError> {
        self.call(Method::GET, "/v1/queues", NOTHING).await
    }

    /// Messages as they pass.
    ///
    /// # Errors
    /// As all calls.
    pub async fn tail(
        &self,
        from: Option<&str>,
        into: Option<&str>,
    ) -> Result<Stream<Event<Passed>>, ClientError> {
        let mut path = "/v1/tail?".to_owned();
        for (name, value) in [("from", from), ("into", into)] {
            if let Some(value) = value {
                path += &format!("{name}={}&", word(value));
            }
        }
        self.stream(&path).await
    }

    /// What moves, at each interval.
    ///
    /// # Errors
    /// As all calls.
    pub async fn top(
        &self,
        interval: std::time::Duration,
    ) -> Result<Stream<TopSample>, ClientError> {
        self.stream(&format!("/v1/top?interval_ms={}", interval.as_millis()))
            .await
    }

    /// Sends a message. It is on the device when this returns.
    ///
    /// # Errors
    /// It was not taken.
    pub async fn send(&self, request: &SendRequest) -> Result<Sent, ClientError> {
        self.call(Method::POST, "/v1/messages", Some(request)).await
    }

    /// Dead letters from a number on, oldest first; at most 1 000 at a time.
    ///
    /// # Errors
    /// As all calls.
    pub async fn dead_letters(
        &self,
        from: u64,
        max: usize,
    ) -> Result<Vec<DeadLetterInfo>, ClientError> {
        let path = format!("/v1/dead-letters?from={from}&max={max}");
        self.call(Method::GET, &path, NOTHING).await
    }

    /// One dead letter.
    ///
    /// # Errors
    /// There is no such one.
    pub async fn dead_letter(&self, number: u64) -> Result<DeadLetterInfo, ClientError> {
        self.call(Method::GET, &format!("/v1/dead-letters/{number}"), NOTHING)
            .await
    }

    /// Puts dead letters back into their queues.
    ///
    /// # Errors
    /// The store failed.
    pub async fn replay(&self, which: &Which) -> Result<Handled, ClientError> {
        self.call(Method::POST, "/v1/dead-letters/replay", Some(which))
            .await
    }

    /// Forgets dead letters.
    ///
    /// # Errors
    /// The store failed.
    pub async fn drop_letters(&self, which: &Which) -> Result<Handled, ClientError> {
        self.call(Method::POST, "/v1/dead-letters/drop", Some(which))
            .await
    }

    /// A twin: of a module of the device, a device, or `device/module`.
    ///
    /// # Errors
    /// There is no such identity.
    pub async fn twin(&self, identity: &str) -> Result<Twin, ClientError> {
        let path = format!("/v1/twins/{}", word(identity));
        self.call(Method::GET, &path, NOTHING).await
    }

    /// A twin now, and whenever it changed.
    ///
    /// # Errors
    /// There is no such identity.
    pub async fn watch_twin(&self, identity: &str) -> Result<Stream<Twin>, ClientError> {
        let path = format!("/v1/twins/{}?follow=true", word(identity));
        self.stream(&path).await
    }

    /// Merges a patch into what is wanted.
    ///
    /// # Errors
    /// There is no such identity, or the patch is no twin.
    pub async fn set_twin(
        &self,
        identity: &str,
        patch: &Map<String, Value>,
    ) -> Result<TwinSection, ClientError> {
        let path = format!("/v1/twins/{}/desired", word(identity));
        self.call(Method::PATCH, &path, Some(patch)).await
    }

    /// Makes these properties all that is wanted.
    ///
    /// # Errors
    /// There is no such identity, or they are no twin.
    pub async fn replace_twin(
        &self,
        identity: &str,
        wanted: &Map<String, Value>,
    ) -> Result<TwinSection, ClientError> {
        let path = format!("/v1/twins/{}/desired", word(identity));
        self.call(Method::PUT, &path, Some(wanted)).await
    }

    /// Calls a method.
    ///
    /// # Errors
    /// No answer.
    pub async fn method(
        &self,
        identity: &str,
        name: &str,
        request: &MethodRequest,
    ) -> Result<MethodAnswer, ClientError> {
        let path = format!("/v1/methods/{}/{}", word(identity), word(name));
        self.call(Method::POST, &path, Some(request)).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&(impl Serialize + ?Sized)>,
    ) -> Result<T, ClientError> {
        let (answer, _connection) = self.request(method, path, body).await?;
        let bytes = answer
            .into_body()
            .collect()
            .await
            .map_err(|error| self.connection(&error))?
            .to_bytes();
        serde_json::from_slice(&bytes).map_err(|error| ClientError::Answer(error.to_string()))
    }

    async fn stream<T>(&self, path: &str) -> Result<Stream<T>, ClientError> {
        let (answer, connection) = self.request(Method::GET, path, NOTHING).await?;
        Ok(Stream::new(
            answer.into_body(),
            self.socket.clone(),
            connection,
        ))
    }

    /// Sends a request and waits for the head of an answer that is none of refusal.
    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&(impl Serialize + ?Sized)>,
    ) -> Result<(http::Response<Incoming>, Connection), ClientError> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| self.not_connected(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.connection(&error))?;
        // What goes wrong on the connection is told by the call on it.
        let connection = Connection::new(tokio::spawn(async { drop(connection.await) }));
        let bytes = match body {
            Some(body) => {
                serde_json::to_vec(body).map_err(|error| ClientError::Answer(error.to_string()))?
            }
            None => Vec::new(),
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::HOST, "edge")
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(bytes)))
            .map_err(|error| self.connection(&error))?;
        let answer = sender
            .send_request(request)
            .await
            .map_err(|error| self.connection(&error))?;
        if answer.status() == StatusCode::OK {
            return Ok((answer, connection));
        }
        let status = answer.status();
        let bytes = answer
            .into_body()
            .collect()
            .await
            .map_err(|error| self.connection(&error))?
            .to_bytes();
        match serde_json::from_slice(&bytes) {
            Ok(body) => Err(ClientError::Refused(body)),
            Err(_) => Err(ClientError::Answer(status.to_string())),
        }
    }

    fn not_connected(&self, error: &io::Error) -> ClientError {
        let socket = self.socket.clone();
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ClientError::NotRunning { socket }
            }
            io::ErrorKind::PermissionDenied => ClientError::NotAllowed { socket },
            _ => self.connection(error),
        }
    }

    fn connection(&self, error: &dyn std::error::Error) -> ClientError {
        failed(&self.socket, error)
    }
}

/// A word of a path or a query.
fn word(text: &str) -> impl std::fmt::Display {
    utf8_percent_encode(text, NON_ALPHANUMERIC)
}
