//! The inside of a WebSocket as a stream of bytes (client contract, section 7).
//!
//! Binary messages are pieces of the stream; where one ends means nothing. Pings are answered by the library while
//! the stream is read. Text ends the connection: no protocol in here sends any.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream};
use http::HeaderValue;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

/// Largest message and frame: clients write at most one packet of their protocol into one, and those are at most
/// a message and its topic.
const MESSAGE_LIMIT: usize = 1 << 20;
/// Most bytes of a write that go into one frame.
const PIECE: usize = 64 << 10;
/// Read at once.
const READ_BUFFER: usize = 8 << 10;
/// Gathered before it is written, unless it is flushed.
const WRITE_BUFFER: usize = 16 << 10;

/// A stream of bytes in a WebSocket.
#[derive(Debug)]
pub struct WebSocketBytes<S> {
    socket: WebSocketStream<S>,
    /// What is left of the newest message.
    unread: Bytes,
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(WRITE_BUFFER + 2 * PIECE)
        .max_message_size(Some(MESSAGE_LIMIT))
        .max_frame_size(Some(MESSAGE_LIMIT))
}

/// The client's side of a WebSocket on a connection that is secured already; `host` is what it connected to, with
/// the port if that is not 443. The path is that of Azure's hubs.
///
/// # Errors
/// The other end does not upgrade the connection, or does not speak the protocol in it.
pub async fn websocket_client<S>(
    stream: S,
    host: &str,
    protocol: &'static str,
) -> io::Result<WebSocketBytes<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let uri = format!("wss://{host}/$iothub/websocket?iothub-no-client-cert=true");
    let mut request = uri.into_client_request().map_err(failed)?;
    let protocol = HeaderValue::from_static(protocol);
    request
        .headers_mut()
        .insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    let upgrading = tokio_tungstenite::client_async_with_config(request, stream, Some(config()));
    let (socket, _) = upgrading.await.map_err(failed)?;
    Ok(WebSocketBytes {
        socket,
        unread: Bytes::new(),
    })
}

/// The server's side of a WebSocket on a connection that has been upgraded.
pub(crate) async fn bytes<S>(stream: S) -> WebSocketBytes<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config())).await;
    WebSocketBytes {
        socket,
        unread: Bytes::new(),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocketBytes<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        while me.unread.is_empty() {
            match ready!(Pin::new(&mut me.socket).poll_next(context)) {
                Some(Ok(Message::Binary(bytes))) => me.unread = bytes,
                Some(Ok(Message::Text(_))) => {
                    let why = "a text frame came; expected binary ones";
                    return Poll::Ready(Err(io::Error::new(ErrorKind::InvalidData, why)));
                }
                // Answered by the library; after a close it says that there is nothing more.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(failed(error))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let size = me.unread.len().min(into.remaining());
        into.put_slice(&me.unread[..size]);
        me.unread.advance(size);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocketBytes<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let mut socket = Pin::new(&mut self.get_mut().socket);
        ready!(socket.as_mut().poll_ready(context)).map_err(failed)?;
        let size = bytes.len().min(PIECE);
        let piece = Bytes::copy_from_slice(&bytes[..size]);
        socket.start_send(Message::Binary(piece)).map_err(failed)?;
        Poll::Ready(Ok(size))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = Pin::new(&mut self.get_mut().socket);
        socket.poll_flush(context).map_err(failed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = Pin::new(&mut self.get_mut().socket);
        socket.poll_close(context).map_err(failed)
    }
}

fn failed(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::ConnectionClosed | Error::AlreadyClosed => ErrorKind::BrokenPipe.into(),
        other => io::Error::new(ErrorKind::InvalidData, other),
    }
}
