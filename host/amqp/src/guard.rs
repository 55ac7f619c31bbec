//! The stream under a connection: frames are looked at, bytes are counted, and it can be cut from outside.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::frames::Frames;

/// Cuts a stream, whatever waits for it: a peer that reads nothing must not keep a connection that is over.
#[derive(Debug, Default)]
pub(crate) struct Switch {
    off: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

impl Switch {
    /// No byte passes from now on.
    pub(crate) fn cut(&self) {
        self.off.store(true, Ordering::Release);
        self.reader.wake();
        self.writer.wake();
    }

    fn check(&self, waker: &AtomicWaker, context: &Context<'_>) -> io::Result<()> {
        waker.register(context.waker());
        match self.off.load(Ordering::Acquire) {
            true => Err(io::ErrorKind::ConnectionAborted.into()),
            false => Ok(()),
        }
    }
}

/// Bytes that passed.
#[derive(Debug, Default)]
pub struct Traffic {
    read: AtomicU64,
    written: AtomicU64,
}

impl Traffic {
    /// Bytes that came in.
    pub fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Bytes that went out.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }
}

/// A stream of which the first bytes were read already.
pub(crate) struct Guard<S> {
    stream: S,
    first: Vec<u8>,
    frames: Frames,
    switch: Arc<Switch>,
    traffic: Arc<Traffic>,
}

impl<S> Guard<S> {
    pub(crate) fn new(
        stream: S,
        first: &[u8],
        frame_limit: u32,
        switch: Arc<Switch>,
        traffic: Arc<Traffic>,
    ) -> Self {
        Self {
            stream,
            first: first.iter().rev().copied().collect(),
            frames: Frames::new(frame_limit),
            switch,
            traffic,
        }
    }
}

impl<S> Guard<S> {
    fn count(&self, written: usize) -> usize {
        let all = &self.traffic.written;
        all.fetch_add(written as u64, Ordering::Relaxed);
        written
    }
}

impl<S> fmt::Debug for Guard<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("frames", &self.frames)
            .finish_non_exhaustive()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.switch.check(&this.switch.reader, context)?;
        let before = buffer.filled().len();
        if this.first.is_empty() {
            std::task::ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        }
        while buffer.remaining() > 0
            && let Some(byte) = this.first.pop()
        {
            buffer.put_slice(&[byte]);
        }
        let fresh = &buffer.filled()[before..];
        this.traffic
            .read
            .fetch_add(fresh.len() as u64, Ordering::Relaxed);
        let fault = |fault| io::Error::new(io::ErrorKind::InvalidData, fault);
        Poll::Ready(this.frames.check(fresh).map_err(fault))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.switch.check(&self.switch.writer, context)?;
        let written = std::task::ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        Poll::Ready(Ok(self.count(written)))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.switch.check(&self.switch.writer, context)?;
        let stream = Pin::new(&mut self.stream);
        let written = std::task::ready!(stream.poll_write_vectored(context, bytes))?;
        Poll::Ready(Ok(self.count(written)))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.switch.check(&self.switch.writer, context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.switch.check(&self.switch.writer, context)?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn the_first_bytes_come_again_and_then_the_stream() {
        let (mut peer, stream) = duplex(64);
        let mut guard = Guard::new(
            stream,
            b"AMQP\x00\x01\x00\x00",
            512,
            Arc::default(),
            Arc::default(),
        );
        peer.write_all(&[0, 0, 0, 8, 2, 0, 0, 0])
            .await
            .expect("room");
        let mut read = [0; 16];
        guard.read_exact(&mut read).await.expect("both");
        assert_eq!(read[..5], *b"AMQP\0");
        assert_eq!(read[8..], [0, 0, 0, 8, 2, 0, 0, 0]);
        peer.write_all(&[0, 0, 0, 1, 2, 0, 0, 0])
            .await
            .expect("room");
        let error = guard.read_exact(&mut read[..8]).await;
        let error = error.expect_err("a short frame");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn a_stream_that_is_cut_ends_for_reader_and_writer() {
        let (_peer, stream) = duplex(8);
        let switch = Arc::<Switch>::default();
        let guard = Guard::new(stream, b"", 512, switch.clone(), Arc::default());
        let (mut reader, mut writer) = tokio::io::split(guard);
        let reading = tokio::spawn(async move { reader.read_u8().await });
        let writing = tokio::spawn(async move { writer.write_all(&[0; 64]).await });
        tokio::task::yield_now().await;
        switch.cut();
        assert!(reading.await.expect("a task").is_err());
        assert!(writing.await.expect("a task").is_err());
    }
}
