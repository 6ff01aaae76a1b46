//! What one side of a connection that is passed on has not taken yet of what the other one said.
//!
//! Nothing is to be read for a side to which something is owed, so this is all that is held for it; where nothing is owed, no
//! buffer. A stream of HTTP/2 took what hyper took, which keeps up to three pieces until there is a window for them. Ends are not
//! its business.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

/// See the module.
#[derive(Debug, Default)]
pub struct Owed {
    rest: Bytes,
    /// What was handed over may not all have left: TLS makes something else of it first.
    unflushed: bool,
    written: u64,
}

impl Owed {
    /// These bytes are owed, and none was written.
    pub fn new(bytes: Bytes) -> Self {
        Self { rest: bytes, ..Self::default() }
    }

    /// True where all was taken, and what TLS made of it has left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty() && !self.unflushed
    }

    /// Bytes that were taken so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// These come next, where nothing is owed.
    pub fn put(&mut self, bytes: Bytes) {
        self.rest = bytes;
    }

    /// The side takes nothing more.
    pub fn forget(&mut self) {
        self.rest = Bytes::new();
        self.unflushed = false;
    }

    /// Writes what there is; true when anything moved. Where something is owed afterwards, the task is woken for it.
    pub fn write(&mut self, cx: &mut Context<'_>, to: &mut (impl AsyncWrite + Unpin + ?Sized)) -> io::Result<bool> {
        let mut moved = false;
        while !self.rest.is_empty() {
            let Poll::Ready(length) = Pin::new(&mut *to).poll_write(cx, &self.rest)? else { return Ok(moved) };
            self.count(length)?;
            self.rest.advance(length);
            moved = true;
        }
        // It would keep its buffer, of which nothing is left.
        self.rest = Bytes::new();
        if self.unflushed && Pin::new(to).poll_flush(cx)?.is_ready() {
            (moved, self.unflushed) = (true, false);
        }
        Ok(moved)
    }

    /// Writes what the side takes of these at once, and keeps the rest, where nothing is owed.
    pub fn pass(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut (impl AsyncWrite + Unpin + ?Sized),
        bytes: &[u8],
    ) -> io::Result<()> {
        let mut taken = 0;
        if !bytes.is_empty()
            && let Poll::Ready(length) = Pin::new(&mut *to).poll_write(cx, bytes)?
        {
            self.count(length)?;
            taken = length;
        }
        self.rest = Bytes::copy_from_slice(bytes.get(taken..).unwrap_or_default());
        self.write(cx, to).map(drop)
    }

    fn count(&mut self, length: usize) -> io::Result<()> {
        if length == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.unflushed = true;
        self.written = self.written.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Waker;

    use super::*;

    /// A side that takes so many bytes, and lets them leave when it may.
    #[derive(Default)]
    struct Side {
        room: usize,
        taken: Vec<u8>,
        lets_leave: bool,
    }

    impl AsyncWrite for Side {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let length = bytes.len().min(self.room);
            if length == 0 {
                return Poll::Pending;
            }
            self.room -= length;
            self.taken.extend_from_slice(&bytes[..length]);
            Poll::Ready(Ok(length))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.lets_leave { Poll::Ready(Ok(())) } else { Poll::Pending }
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn what_was_not_taken_is_owed_until_it_has_left() {
        let cx = &mut Context::from_waker(Waker::noop());
        let (mut owed, mut side) = (Owed::default(), Side { room: 2, ..Side::default() });

        owed.pass(cx, &mut side, b"words").unwrap();
        assert!(!owed.write(cx, &mut side).unwrap() && !owed.is_empty());
        side.room = 9;
        assert!(owed.write(cx, &mut side).unwrap() && !owed.is_empty());
        side.lets_leave = true;
        assert!(owed.write(cx, &mut side).unwrap() && owed.is_empty());

        assert!(!owed.write(cx, &mut side).unwrap());
        assert_eq!((side.taken.as_slice(), owed.written()), (&b"words"[..], 5));
    }

    #[test]
    fn where_nothing_is_owed_no_buffer_is_held() {
        let cx = &mut Context::from_waker(Waker::noop());
        let buffer = Arc::new([b'x'; 64]);
        let bytes = || Bytes::from_owner(Held(Arc::clone(&buffer)));
        let mut written = Owed::new(bytes());
        let mut forgotten = Owed::new(bytes());

        written.write(cx, &mut tokio::io::sink()).unwrap();
        forgotten.forget();

        assert!(written.is_empty() && forgotten.is_empty());
        assert_eq!(Arc::strong_count(&buffer), 1);
    }

    struct Held(Arc<[u8; 64]>);

    impl AsRef<[u8]> for Held {
        fn as_ref(&self) -> &[u8] {
            &*self.0
        }
    }

    #[test]
    fn a_side_that_takes_nothing_for_good_is_an_error() {
        let cx = &mut Context::from_waker(Waker::noop());
        let mut full = io::Cursor::new(Box::<[u8]>::default());

        let outcomes =
            [Owed::new("x".into()).write(cx, &mut full).map(drop), Owed::default().pass(cx, &mut full, b"x")];

        assert!(outcomes.iter().all(|outcome| outcome.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::WriteZero)));
    }
}
