//! The tasks of one HTTP/2 connection's streams, each of which can be ended from outside; and those of tunnels on it.
//!
//! hyper asks the body of an answer for nothing while the client grants no window for it, so the body could not even
//! fail. The task is dropped in its place, and with it the stream and what it holds of an upstream.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use crate::client::{Client, Ending};
use crate::error::Reason;
use crate::exchange::{Exchange, Half};

/// See the module.
#[derive(Clone)]
pub(super) struct Streams(Rc<Client>);

impl Streams {
    /// Those of a client's connection.
    pub(super) fn of(client: &Rc<Client>) -> Self {
        Self(Rc::clone(client))
    }
}

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        match self.0.tunnel.take() {
            None => tokio::task::spawn_local(run(Rc::clone(&self.0), stream)),
            // hyper executes what writes a tunnel's bytes while it answers the request that asked for the tunnel.
            Some(tunnel) => tokio::task::spawn_local(carry(tunnel, stream)),
        };
    }
}

async fn run(client: Rc<Client>, stream: impl Future<Output = ()>) {
    let mut stream = pin!(stream);
    let mut exchange: Option<Rc<Exchange>> = None;
    poll_fn(|cx| {
        if exchange.as_ref().is_some_and(|exchange| is_over(&client, exchange)) {
            return Poll::Ready(());
        }
        let outcome = stream.as_mut().poll(cx);
        if outcome.is_ready() {
            // A client that left before its answer could be written gets no tunnel.
            client.tunnel.take();
        }
        // An exchange begins in the first poll of its stream, and nowhere else.
        let begun = client.newest.take();
        exchange = exchange.take().or(begun);
        if let Some(exchange) = &exchange {
            exchange.register(Half::Response, cx.waker());
        }
        outcome
    })
    .await;
}

/// A tunnel, with what writes its bytes: that is polled first, so that a reset is known before it is read as an end.
async fn carry(mut tunnel: Pin<Box<dyn Future<Output = Ending>>>, writing: impl Future<Output = ()>) {
    let mut writing = Some(Box::pin(writing));
    let ending = poll_fn(|cx| {
        if writing.as_mut().is_some_and(|writing| writing.as_mut().poll(cx).is_ready()) {
            writing = None;
        }
        tunnel.as_mut().poll(cx)
    });
    // What is not polled again when it is dropped resets the stream.
    if ending.await == Ending::Said
        && let Some(mut writing) = writing
    {
        // As far as the client's window goes: what is over waits for nobody.
        poll_fn(|cx| {
            let _ = writing.as_mut().poll(cx);
            Poll::Ready(())
        })
        .await;
    }
}

/// True when the exchange is to end and its body will not be asked, or when the client takes nothing of an answer. Where
/// its whole connection takes nothing at the moment, its network may be slow: that time is counted elsewhere.
fn is_over(client: &Client, exchange: &Exchange) -> bool {
    let pace = &exchange.pace;
    if pace.take_stalled() && pace.is_handed() {
        if client.progress.stalled.get() {
            pace.hand(client.worker.clock.now());
        } else {
            exchange.note(Reason::SlowReader);
            return true;
        }
    }
    exchange.interrupted() && pace.is_handed()
}
