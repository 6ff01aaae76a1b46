//! A tunnel on one stream of HTTP/2 (RFC 9113 §8.5): the stream takes the place of the client's socket.
//!
//! hyper hands the stream over in two halves: what is read and written here, and a task that brings what was written to the
//! connection. `listener` polls both in one task, so that a stream can be ended with a reset, by not polling the latter again.
//! A reset of the client's is told once, to whichever call comes first, and is kept for all that come after. Where the endpoint
//! has said its end already, hyper tells no reset by CANCEL or NO_ERROR at all, but an end.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::client::{Ending, Socket, Successor};

/// Has the tunnel go on with the stream as soon as hyper hands it over, until its end.
pub(super) async fn carry(near: OnUpgrade, tunnel: Box<dyn Successor>) -> Ending {
    let Ok(upgraded) = near.await else { return Ending::Reset };
    let is_reset = Rc::new(Cell::new(false));
    let socket = Box::new(Stream { io: TokioIo::new(upgraded), is_broken: false, is_reset: Rc::clone(&is_reset) });
    tunnel.go_on(socket, Bytes::new()).await;
    if is_reset.get() { Ending::Reset } else { Ending::Said }
}

/// A stream as a socket.
struct Stream {
    io: TokioIo<Upgraded>,
    /// The client has reset it, or its connection is gone.
    is_broken: bool,
    /// It is to be reset in its turn.
    is_reset: Rc<Cell<bool>>,
}

impl Stream {
    /// Whatever ends what writes the stream is no end of what the client says.
    fn kept<T>(&mut self, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        outcome.map_err(|error| {
            self.is_broken = true;
            io::Error::new(io::ErrorKind::ConnectionReset, error)
        })
    }
}

impl Socket for Stream {
    fn close_by_reset(&self) {
        self.is_reset.set(true);
    }

    fn close_by_end(&self) {
        self.is_reset.set(false);
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.is_broken {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        // hyper reads a reset by CANCEL as an end. What writes the stream was polled before, and knows better.
        if buf.filled().len() == before
            && let Poll::Ready(Err(error)) = self.as_mut().poll_flush(cx)
        {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write(cx, buf);
        self.kept(outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.io).poll_flush(cx);
        self.kept(outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.io).poll_shutdown(cx);
        self.kept(outcome)
    }
}
