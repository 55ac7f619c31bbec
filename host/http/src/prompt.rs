//! Acknowledges at once what a client sends in small pieces.
//!
//! Clients that leave Nagle's algorithm on, as Azure's SDKs do, hold a small packet back until the one before
//! is acknowledged; and the system puts acknowledgements off for 40 ms in the hope of data to send along. A
//! module that acknowledges a message and then sends one passes 23 messages a second so, and many more if the
//! first packet is acknowledged when it is read.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::net::sockopt::set_tcp_quickack;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// More than this in one read is no small piece: the system acknowledges at least each second full segment.
const SMALL: usize = 2_048;

/// A stream whose small reads are acknowledged at once.
#[derive(Debug)]
pub(crate) struct Prompt(TcpStream);

impl Prompt {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self(stream)
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.0
    }
}

impl AsyncRead for Prompt {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.0).poll_read(context, buffer))?;
        let read = buffer.filled().len() - before;
        if (1..SMALL).contains(&read) {
            // The system forgets it with the next packet that it sends. Without it all works, slower.
            if let Err(error) = set_tcp_quickack(&self.0, true) {
                tracing::trace!(%error, "TCP_QUICKACK");
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prompt {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::sockopt::tcp_quickack;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn small_pieces_are_acknowledged_at_once_also_after_an_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("bound");
        let mut client = TcpStream::connect(at).await.expect("connected");
        let mut server = Prompt::new(listener.accept().await.expect("accepted").0);
        for _ in 0..3 {
            client.write_all(b"question").await.expect("written");
            let mut question = [0; 8];
            server.read_exact(&mut question).await.expect("read");
            assert!(tcp_quickack(&server.0).expect("a socket"));
            server.write_all(b"answer").await.expect("written");
            let mut answer = [0; 6];
            client.read_exact(&mut answer).await.expect("read");
        }
    }
}
