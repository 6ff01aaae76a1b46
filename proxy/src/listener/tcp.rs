//! One client connection whose bytes are passed on to an endpoint as they come, and the endpoint's to the client.
//!
//! An end that one side says is said on to the other, and the opposite way goes on. A side that breaks off, or an endpoint
//! that cannot be reached, is told with a reset: a mere end would look like a whole conversation.

mod relay;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::Sleep;

use self::relay::{Broken, Relay, Side, reset};
use crate::client::Handle;
use crate::clock::Clock;
use crate::listener::connection::{Active, Known};
use crate::snapshot::{LocalListener, LocalTcp};
use crate::upstream::tunnel::{self, Tunnel};
use crate::worker::Worker;

/// Passes a connection on until either side ends it, nothing moves for `limits.stream_idle_timeout`, or the worker ends.
pub(super) async fn serve(worker: Rc<Worker>, listener: Rc<LocalListener>, tcp: Rc<LocalTcp>, client: Accepted) {
    let _known = Known::new(&worker, Handle::default());
    let _active = Active::new(&listener);
    let _busy = Busy::new(&worker, &tcp);
    match tunnel::open(&tcp.cluster).await {
        Ok(tunnel) => pass(&worker.clock, (&listener, &tcp), &client.stream, &tunnel).await,
        Err(reason) => {
            tracing::debug!(source = %client.source, %reason, "a connection cannot be passed on");
            reset(&client.stream);
        }
    }
}

/// A client's socket.
pub(super) struct Accepted {
    pub(super) stream: TcpStream,
    pub(super) source: SocketAddr,
}

async fn pass(clock: &Clock, (listener, tcp): (&LocalListener, &LocalTcp), client: &TcpStream, tunnel: &Tunnel) {
    let mut relay = Relay::new(client, &tunnel.stream);
    let mut idle = Idle::new(clock, listener.limits.stream_idle_timeout);
    let end = std::future::poll_fn(|cx| {
        let before = relay.bytes();
        let (outcome, moved) = relay.poll(cx);
        let after = relay.bytes();
        tcp.series.bytes_in.add(after.0 - before.0);
        tcp.series.bytes_out.add(after.1 - before.1);
        match outcome {
            Poll::Ready(outcome) => Poll::Ready(outcome),
            Poll::Pending => idle.poll(cx, moved).map(Ok),
        }
    });
    match end.await {
        Err(Broken { side: Side::Client, was_whole: false }) => reset(&tunnel.stream),
        Err(Broken { side: Side::Upstream, was_whole: false }) => reset(client),
        Ok(()) | Err(_) => {}
    }
}

/// The time without a byte in either direction.
struct Idle<'a> {
    clock: &'a Clock,
    limit: Duration,
    since: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl<'a> Idle<'a> {
    fn new(clock: &'a Clock, limit: Duration) -> Self {
        Self { clock, limit, since: clock.look(), sleep: Box::pin(tokio::time::sleep(limit)) }
    }

    /// Completes when nothing moved for too long. The timer is set again only when it rang.
    fn poll(&mut self, cx: &mut Context<'_>, moved: bool) -> Poll<()> {
        if moved {
            self.since = self.clock.now();
        }
        while self.sleep.as_mut().poll(cx).is_ready() {
            let deadline = self.since + self.limit;
            if self.clock.look() >= deadline {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(deadline.into());
        }
        Poll::Pending
    }
}

/// Counts a connection as under way, so that a drain waits for it.
struct Busy {
    worker: Rc<Worker>,
    tcp: Rc<LocalTcp>,
}

impl Busy {
    fn new(worker: &Rc<Worker>, tcp: &Rc<LocalTcp>) -> Self {
        worker.load().passages.fetch_add(1, Relaxed);
        tcp.series.connections.inc();
        tcp.series.active.add(1);
        Self { worker: Rc::clone(worker), tcp: Rc::clone(tcp) }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.worker.load().passages.fetch_sub(1, Relaxed);
        self.tcp.series.active.add(-1);
    }
}
