//! Answers that go on, from the side that reads them.

use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use tokio::task::{AbortHandle, JoinHandle};

use super::ClientError;

/// Lines of an answer that goes on.
#[derive(Debug)]
pub struct Stream<T> {
    body: Incoming,
    buffer: BytesMut,
    socket: PathBuf,
    _connection: Connection,
    items: PhantomData<fn() -> T>,
}

/// Drives a connection until it is dropped.
#[derive(Debug)]
pub(super) struct Connection(AbortHandle);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The connection failed.
pub(super) fn failed(socket: &Path, error: &dyn std::error::Error) -> ClientError {
    ClientError::Connection {
        socket: socket.to_owned(),
        why: edge_core::chain(error),
    }
}

impl Connection {
    pub(super) fn new(task: JoinHandle<()>) -> Self {
        Self(task.abort_handle())
    }
}

/// An answer that is a file.
#[derive(Debug)]
pub struct Download {
    body: Incoming,
    socket: PathBuf,
    _connection: Connection,
}

impl Download {
    pub(super) fn new(body: Incoming, socket: PathBuf, connection: Connection) -> Self {
        Self {
            body,
            socket,
            _connection: connection,
        }
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// The connection failed; what came so far is not all.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        while let Some(frame) = self.body.frame().await {
            match frame.map(hyper::body::Frame::into_data) {
                Ok(Ok(data)) => return Ok(Some(data)),
                // Trailers.
                Ok(Err(_)) => {}
                Err(error) => return Err(failed(&self.socket, &error)),
            }
        }
        Ok(None)
    }
}

impl<T> Stream<T> {
    pub(super) fn new(body: Incoming, socket: PathBuf, connection: Connection) -> Self {
        Self {
            body,
            buffer: BytesMut::new(),
            socket,
            _connection: connection,
            items: PhantomData,
        }
    }
}

impl<T: DeserializeOwned> Stream<T> {
    /// The next line; `None` when the daemon ends it.
    ///
    /// # Errors
    /// The connection failed; nothing comes after that.
    pub async fn next(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end + 1);
                return serde_json::from_slice(&line)
                    .map(Some)
                    .map_err(|error| ClientError::Answer(error.to_string()));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
                Some(Err(error)) => return Err(failed(&self.socket, &error)),
                None => return Ok(None),
            }
        }
    }
}
