//! What is to go out on a connection: small packets gathered in one buffer, large bodies as they are.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;

/// Bodies from here on are not copied into the buffer.
const LARGE: usize = 8 << 10;
/// Pieces handed to the system at once.
const SLICES: usize = 16;
/// The buffer is given up when it was larger than this and is empty.
const KEPT: usize = 64 << 10;

/// Bytes that wait to be written, in order.
#[derive(Debug, Default)]
pub(crate) struct Output {
    full: VecDeque<Bytes>,
    /// Bytes in `full`.
    queued: usize,
    tail: BytesMut,
}

impl Output {
    /// Where packets are appended.
    pub(crate) fn tail(&mut self) -> &mut BytesMut {
        &mut self.tail
    }

    /// Appends a body to the packet whose head was just written.
    pub(crate) fn body(&mut self, body: &Bytes) {
        if body.len() < LARGE {
            self.tail.extend_from_slice(body);
            return;
        }
        self.seal();
        self.queued += body.len();
        self.full.push_back(body.clone());
    }

    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.queued + self.tail.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            let sealed = self.tail.split().freeze();
            self.queued += sealed.len();
            self.full.push_back(sealed);
        }
    }

    /// Writes as much as the stream takes. Ready when nothing waits any more.
    pub(crate) fn poll_write(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let written = if self.full.is_empty() {
                if self.tail.is_empty() {
                    if self.tail.capacity() > KEPT {
                        self.tail = BytesMut::new();
                    }
                    return Poll::Ready(Ok(()));
                }
                let written = ready!(Pin::new(&mut *stream).poll_write(context, &self.tail))?;
                self.tail.advance(written.min(self.tail.len()));
                written
            } else {
                self.seal();
                let mut slices = [IoSlice::new(&[]); SLICES];
                let pieces = self.full.iter().take(SLICES);
                let count = pieces.len();
                for (slice, piece) in slices.iter_mut().zip(pieces) {
                    *slice = IoSlice::new(piece);
                }
                let stream = Pin::new(&mut *stream);
                let written = ready!(stream.poll_write_vectored(context, &slices[..count]))?;
                self.advance(written);
                written
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
        }
    }

    fn advance(&mut self, mut written: usize) {
        self.queued -= written.min(self.queued);
        while let Some(first) = self.full.front_mut() {
            if first.len() > written {
                first.advance(written);
                return;
            }
            written -= first.len();
            self.full.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn what_is_written_comes_out_in_order_whatever_its_size() {
        let (mut near, mut far) = tokio::io::duplex(1_000);
        let mut output = Output::default();
        let mut expected = Vec::new();
        for size in [3, LARGE, 100, 3 * LARGE, LARGE - 1, 0, 7] {
            let head = [u8::try_from(size % 251).expect("small"); 5];
            output.tail().extend_from_slice(&head);
            let body = Bytes::from(vec![u8::try_from(size % 199).expect("small"); size]);
            output.body(&body);
            expected.extend_from_slice(&head);
            expected.extend_from_slice(&body);
        }
        assert_eq!(output.len(), expected.len());
        let read = tokio::spawn(async move {
            let mut read = Vec::new();
            far.read_to_end(&mut read).await.expect("read");
            read
        });
        poll_fn(|context| output.poll_write(&mut near, context))
            .await
            .expect("write");
        assert!(output.is_empty());
        drop(near);
        assert_eq!(read.await.expect("reader"), expected);
    }
}
