//! A client's socket that gives bytes of HTTP/1.1 on only as far as [`Framing`] has seen them, and one request at a time.
//!
//! It looks at them where hyper wants them; only what waits is copied. What is refused reaches hyper as a request that
//! stands for it, so that refusals are answered and counted where all requests are, after the answers before them.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::client::Progress;
use crate::error::Malformed;
use crate::listener::framing::{Bounds, Framing, Passed};

/// Stands for a request that is refused.
const REFUSED: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

/// See the module.
pub(crate) struct Guard<S> {
    stream: S,
    /// Read while telling the protocols apart.
    first: Bytes,
    /// `None` where the bytes are not HTTP/1.1, or no longer.
    framing: Option<Framing>,
    /// Read and not given on.
    held: BytesMut,
    /// How many of them have been looked at.
    seen: usize,
    progress: Rc<Progress>,
}

impl<S> Guard<S> {
    /// A socket from which `first` was read already; without `bounds` all bytes go on.
    pub(crate) fn new(stream: S, first: Bytes, bounds: Option<Bounds>, progress: Rc<Progress>) -> Self {
        let framing = bounds.map(Framing::new);
        Self { stream, first, framing, held: BytesMut::new(), seen: 0, progress }
    }

    /// True when the client may be sending what nobody will read: after a refusal, in a body, and behind the last request.
    pub(crate) fn is_owed(&self) -> bool {
        let mid = self.framing.as_ref().is_some_and(|framing| framing.is_over() || framing.is_in_body());
        mid || !self.held.is_empty()
    }

    /// True while something waits that was read and not given on.
    pub(crate) fn holds(&self) -> bool {
        !self.held.is_empty() || !self.first.is_empty()
    }

    /// Gives these bytes on once more, before any other.
    pub(crate) fn take_back(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            let rest = std::mem::replace(&mut self.held, BytesMut::from(bytes));
            self.held.extend_from_slice(&rest);
            self.seen += bytes.len();
        }
    }

    /// The socket.
    pub(crate) fn stream(&self) -> &S {
        &self.stream
    }

    /// The socket, and no more of what it reads.
    pub(crate) fn into_stream(self) -> S {
        self.stream
    }

    /// How many of `bytes` may go on; `None` where [`REFUSED`] goes on in place of all that was read.
    fn look(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        let Some(framing) = &mut self.framing else { return Ok(Some(bytes.len())) };
        if !self.progress.is_busy() {
            framing.go_on();
        }
        match framing.look(bytes) {
            Ok(Passed { bytes, head }) => {
                if head {
                    self.progress.begin();
                }
                Ok(Some(bytes))
            }
            // Whoever reads the body is told with it.
            Err(reason) if framing.is_in_body() => {
                framing.end();
                Err(io::Error::new(io::ErrorKind::InvalidData, Malformed(reason)))
            }
            Err(reason) => {
                framing.end();
                self.progress.begin();
                self.progress.refused.set(Some(reason));
                Ok(None)
            }
        }
    }

    /// Gives on what was held and may go on; answers whether there was anything.
    fn give(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<bool> {
        if self.seen == 0 {
            let held = std::mem::take(&mut self.held);
            let Some(seen) = self.look(&held)? else {
                buf.put_slice(REFUSED);
                return Ok(true);
            };
            (self.held, self.seen) = (held, seen);
        }
        let length = self.seen.min(buf.remaining());
        buf.put_slice(&self.held[..length]);
        self.held.advance(length);
        self.seen -= length;
        if self.held.is_empty() {
            // Whoever waits between requests keeps no buffer.
            self.held = BytesMut::new();
        }
        Ok(length > 0)
    }

    /// Looks at what was read into `buf` behind `before`, and holds what may not go on; answers whether anything may.
    fn sift(&mut self, buf: &mut ReadBuf<'_>, before: usize) -> io::Result<bool> {
        let read = &buf.filled()[before..];
        if !self.held.is_empty() {
            self.held.extend_from_slice(read);
            buf.set_filled(before);
            return self.give(buf);
        }
        let Some(passed) = self.look(read)? else {
            buf.set_filled(before);
            buf.put_slice(REFUSED);
            return Ok(true);
        };
        self.held.extend_from_slice(&read[passed..]);
        buf.set_filled(before + passed);
        Ok(passed > 0)
    }

    /// True while nothing that may come is of use.
    fn waits(&self) -> bool {
        let Some(framing) = &self.framing else { return false };
        framing.is_over() || (framing.waits() && self.progress.is_busy() && !self.held.is_empty())
    }
}

impl<S: AsyncRead + Unpin> Guard<S> {
    /// Reads once; answers how many bytes there were before.
    fn poll_stream(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
        let before = buf.filled().len();
        if self.first.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf).map_ok(|()| before);
        }
        let length = self.first.len().min(buf.remaining());
        buf.put_slice(&self.first.split_to(length));
        Poll::Ready(Ok(before))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let guard = &mut *self;
        if guard.progress.is_tunnel.get() {
            guard.framing = None;
        }
        if !guard.held.is_empty() {
            guard.progress.unread_head.set(true);
            if guard.give(buf)? {
                return Poll::Ready(Ok(()));
            }
        }
        loop {
            if guard.waits() {
                // The end of the exchange wakes this connection; after a refusal nothing does.
                guard.progress.waits();
                return Poll::Pending;
            }
            let before = std::task::ready!(guard.poll_stream(cx, buf))?;
            if buf.filled().len() == before {
                let ended = guard.held.is_empty();
                return Poll::Ready(if ended { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) });
            }
            guard.progress.unread_head.set(true);
            if guard.sift(buf, before)? {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;
    use crate::error::Reason;

    const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";

    /// A guard, who sends to it, and what it tells.
    fn guarded() -> (Guard<DuplexStream>, DuplexStream, Rc<Progress>) {
        let (client, stream) = duplex(1 << 16);
        let progress = Rc::new(Progress::default());
        let bounds = Some(Bounds { fields: 100, bytes: 60 * 1024 });
        (Guard::new(stream, Bytes::new(), bounds, Rc::clone(&progress)), client, progress)
    }

    /// What can be read at the moment.
    async fn read(guard: &mut Guard<DuplexStream>) -> Vec<u8> {
        let mut bytes = vec![0; 1 << 16];
        let length = tokio::select! {
            biased;
            length = guard.read(&mut bytes) => length.unwrap(),
            () = std::future::ready(()) => 0,
        };
        bytes.truncate(length);
        bytes
    }

    #[tokio::test]
    async fn bytes_behind_an_upgrade_go_on_as_they_are_once_it_is_a_tunnel() {
        let (mut guard, mut client, progress) = guarded();
        client.write_all(&[UPGRADE, b"\x01\x02\n\n"].concat()).await.unwrap();

        let head = read(&mut guard).await;
        let before = read(&mut guard).await;
        progress.is_tunnel.set(true);
        let early = read(&mut guard).await;
        client.write_all(b"\x03\n").await.unwrap();
        let later = read(&mut guard).await;

        assert_eq!((head.as_slice(), before.as_slice()), (UPGRADE, &b""[..]));
        assert_eq!((early.as_slice(), later.as_slice()), (&b"\x01\x02\n\n"[..], &b"\x03\n"[..]));
        assert!(progress.refused.take().is_none());
    }

    #[tokio::test]
    async fn what_is_refused_has_a_request_in_its_place_and_nothing_behind_it() {
        let (mut guard, mut client, progress) = guarded();
        client.write_all(b"GET / HTTP/1.1\r\nx: ").await.unwrap();

        let half = read(&mut guard).await;
        client.write_all(&[b"y\n", UPGRADE].concat()).await.unwrap();
        let refused = read(&mut guard).await;
        let rest = read(&mut guard).await;

        assert_eq!((half.as_slice(), refused.as_slice(), rest.as_slice()), (&b""[..], REFUSED, &b""[..]));
        assert_eq!(progress.refused.take(), Some(Reason::BadRequest("bare_lf")));
        assert!(guard.is_owed());
    }
}
