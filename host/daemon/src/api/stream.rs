//! Answers that go on: JSON, one object a line.
//!
//! The work that fills a stream is part of the answer's body: it is driven only as fast as the reader
//! takes lines, and is dropped when the reader goes.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use hyper::body::Frame;
use serde::Serialize;
use tokio::sync::{mpsc, watch};

/// Lines that are made ahead of the reader.
const AHEAD: usize = 16;

/// The reader is gone, or the daemon stops.
#[derive(Debug)]
pub(super) struct Gone;

/// Where lines go.
pub(super) struct Lines(mpsc::Sender<Bytes>);

impl Lines {
    /// Writes a line; waits while the reader is behind.
    pub(super) async fn send(&self, line: &impl Serialize) -> Result<(), Gone> {
        // What cannot be written as JSON would be a type of ours with a map that has no text as keys.
        let mut text = serde_json::to_vec(line).map_err(|_| Gone)?;
        text.push(b'\n');
        self.0.send(text.into()).await.map_err(|_| Gone)
    }
}

/// An answer whose lines come from `work`, until that ends or the daemon stops.
pub(super) fn lines<W, F>(mut closing: watch::Receiver<bool>, work: W) -> Response
where
    W: FnOnce(Lines) -> F,
    F: Future<Output = Result<(), Gone>> + Send + 'static,
{
    let (sender, lines) = mpsc::channel(AHEAD);
    let work = work(Lines(sender));
    let work = async move {
        tokio::select! {
            // Gone or done: either way there is nothing more to say.
            _ = work => {}
            _ = closing.wait_for(|closing| *closing) => {}
        }
    };
    let body = Body::new(NdJson {
        work: Some(Box::pin(work)),
        lines,
    });
    ([(CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

struct NdJson {
    work: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    lines: mpsc::Receiver<Bytes>,
}

impl hyper::body::Body for NdJson {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(work) = &mut self.work
            && work.as_mut().poll(cx).is_ready()
        {
            self.work = None;
        }
        self.lines
            .poll_recv(cx)
            .map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}
