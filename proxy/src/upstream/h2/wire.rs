//! The socket under an HTTP/2 connection: counted as long as it is open, and cut from outside.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;

use crate::clock::Clock;
use crate::frames::guarded::{Guarded, Note};
use crate::frames::{Accounting, Breach};
use crate::telemetry::metrics::ClusterSeries;
use crate::upstream::pool::Transport;

/// Ends a connection whose streams would not end by themselves.
#[derive(Default)]
pub(super) struct Shears {
    cut: Cell<bool>,
    reader: Cell<Option<Waker>>,
}

impl Shears {
    /// The connection reads its end.
    pub(super) fn cut(&self) {
        self.cut.set(true);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

/// Counts floods of an endpoint.
struct Floods(Arc<ClusterSeries>);

impl Note for Floods {
    fn came(&self, _: bool) {}

    fn ended(&self, breach: Breach) {
        if breach.is_flood() {
            self.0.floods.inc();
        }
        tracing::debug!(%breach, "an upstream connection is ended");
    }
}

/// See the module.
pub(crate) struct Wire {
    stream: Guarded<TokioIo<Transport>, Floods>,
    shears: Rc<Shears>,
    series: Arc<ClusterSeries>,
}

impl Wire {
    /// A connected socket.
    pub(super) fn new(stream: Transport, shears: Rc<Shears>, series: Arc<ClusterSeries>, clock: Rc<Clock>) -> Self {
        series.connections.inc();
        series.connections_active.add(1);
        let (frames, note) = (Accounting::of_upstream(clock.now()), Floods(Arc::clone(&series)));
        Self { stream: Guarded::new(TokioIo::new(stream), frames, clock, note), shears, series }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.series.connections_active.add(-1);
    }
}

impl Read for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        if self.shears.cut.get() {
            return Poll::Ready(Ok(()));
        }
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buf);
        if outcome.is_pending() {
            let known = self.shears.reader.take().filter(|known| known.will_wake(cx.waker()));
            self.shears.reader.set(Some(known.unwrap_or_else(|| cx.waker().clone())));
        }
        outcome
    }
}

impl Write for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}
