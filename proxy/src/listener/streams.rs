//! The tasks of one HTTP/2 connection's streams, each of which can be ended from outside.
//!
//! hyper asks the body of an answer for nothing while the client grants no window for it, so the body could not even
//! fail. The task is dropped in its place, and with it the stream and what it holds of an upstream.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use crate::client::Client;
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
        tokio::task::spawn_local(run(Rc::clone(&self.0), stream));
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
