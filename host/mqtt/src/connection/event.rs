//! What a connection waits for.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::link::Link;
use crate::output::Output;
use edge_heads::Bell;

/// Room for reading at first; a thousand quiet clients must not cost much.
const LEAST: usize = 2 << 10;
/// Room for reading under load.
const MOST: usize = 64 << 10;

/// Something happened.
pub(super) enum Event {
    /// Bytes came in.
    Read,
    /// All that waited was written, and more waits for the room.
    Written,
    /// The bell rang.
    Woken,
    /// The time is up.
    Time,
    /// The stream ended or failed.
    Ended(io::Error),
}

/// The stream, and what was read of it.
pub(super) struct Events<S> {
    stream: S,
    pub(super) input: BytesMut,
    room: usize,
    timer: Pin<Box<Sleep>>,
    armed: Instant,
    unflushed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Events<S> {
    pub(super) fn new(stream: S, input: BytesMut) -> Self {
        let armed = Instant::now() + super::LOOK_AGAIN;
        Self {
            stream,
            input,
            room: LEAST,
            timer: Box::pin(sleep_until(armed)),
            armed,
            unflushed: false,
        }
    }

    pub(super) fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Waits for the next event, and writes what there is to write; `held_back`: there is input that had to
    /// wait for room. Cancel safe.
    pub(super) async fn next(
        &mut self,
        link: &mut Link,
        bell: &Bell,
        deadline: Instant,
        held_back: bool,
    ) -> Event {
        // A deadline that moves away, as that of silence does with each packet, is let come.
        if deadline < self.armed {
            self.arm(deadline);
        }
        let held_up = held_back || link.is_held_up();
        poll_fn(|context| {
            let written = match self.poll_write(&mut link.output, context) {
                Poll::Ready(Ok(written)) => written,
                Poll::Ready(Err(error)) => return Poll::Ready(Event::Ended(error)),
                Poll::Pending => false,
            };
            if link.may_read() {
                match self.poll_read(context) {
                    Poll::Ready(Ok(0)) => {
                        return Poll::Ready(Event::Ended(io::ErrorKind::UnexpectedEof.into()));
                    }
                    Poll::Ready(Ok(_)) => return Poll::Ready(Event::Read),
                    Poll::Ready(Err(error)) => return Poll::Ready(Event::Ended(error)),
                    Poll::Pending => {}
                }
            }
            if bell.poll(context).is_ready() {
                return Poll::Ready(Event::Woken);
            }
            if self.timer.as_mut().poll(context).is_ready() {
                self.arm(Instant::now() + super::LOOK_AGAIN);
                return Poll::Ready(Event::Time);
            }
            match written && held_up {
                true => Poll::Ready(Event::Written),
                false => Poll::Pending,
            }
        })
        .await
    }

    fn arm(&mut self, at: Instant) {
        self.armed = at;
        self.timer.as_mut().reset(at);
    }

    /// Ready with whether anything was written, when nothing waits any more.
    fn poll_write(
        &mut self,
        output: &mut Output,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<bool>> {
        let written = !output.is_empty();
        if written {
            match output.poll_write(&mut self.stream, context)? {
                Poll::Ready(()) => self.unflushed = true,
                Poll::Pending => return Poll::Pending,
            }
        }
        if self.unflushed {
            match Pin::new(&mut self.stream).poll_flush(context)? {
                Poll::Ready(()) => self.unflushed = false,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(written))
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.input.capacity() - self.input.len() < LEAST / 4 {
            self.input.reserve(self.room);
        }
        let room = self.input.capacity() - self.input.len();
        let read = pin!(self.stream.read_buf(&mut self.input)).poll(context);
        if let Poll::Ready(Ok(read)) = &read {
            // What fills its room gets more, and gives it back when it no longer does.
            match *read == room {
                true => self.room = (self.room * 2).min(MOST),
                false if *read < self.room / 8 => self.room = (self.room / 2).max(LEAST),
                false => {}
            }
        }
        read
    }

    /// Writes what is left.
    pub(super) async fn finish(&mut self, output: &mut Output) -> io::Result<()> {
        poll_fn(|context| output.poll_write(&mut self.stream, context)).await?;
        self.stream.flush().await
    }
}
