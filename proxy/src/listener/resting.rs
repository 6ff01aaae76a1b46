//! A connection of HTTP/1.1 between requests that are far apart: nobody holds buffers for it.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use crate::client::Client;
use crate::listener::io::ClientIo;

/// How long hyper keeps its buffers for the next request. Clients that ask all the time never wait as long.
pub(super) const REST: Duration = Duration::from_millis(500);

/// Waits for the first byte of the next request, or for the client's end; false when the connection is to close before.
pub(super) async fn until_next(client: &Client, io: &ClientIo, limit: Duration) -> bool {
    let drained = poll_fn(|cx| {
        client.handle.register(cx.waker());
        if client.handle.is_draining() { Poll::Ready(()) } else { Poll::Pending }
    });
    client.handle.set_idle(true);
    let comes = tokio::select! {
        // What came before the connection was told to drain is still served.
        biased;
        readable = io.readable() => readable.is_ok(),
        () = drained => false,
        () = tokio::time::sleep(limit) => false,
    };
    client.handle.set_idle(false);
    comes
}
