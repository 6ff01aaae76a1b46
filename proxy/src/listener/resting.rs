//! A connection of HTTP/1.1 between requests that are far apart: nobody holds buffers for it.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use crate::client::Handle;
use crate::listener::io::ClientIo;

/// How long hyper keeps its buffers for the next request. Clients that ask all the time never wait as long.
pub(super) const REST: Duration = Duration::from_millis(100);

/// Waits for the first byte of the next request, or for the client's end; false when the connection is to close before.
pub(super) async fn until_next(handle: &Handle, io: &ClientIo, limit: Duration) -> bool {
    let told = poll_fn(|cx| {
        handle.register(cx.waker());
        if handle.is_draining() { Poll::Ready(()) } else { Poll::Pending }
    });
    let drained = async {
        told.await;
        // The runtime looks at its sockets between tasks: it may not have heard of what came.
        tokio::task::yield_now().await;
    };
    handle.set_idle(true);
    let comes = tokio::select! {
        // What came before the connection was told to drain is still served.
        biased;
        readable = io.readable() => readable.is_ok(),
        () = drained => false,
        () = tokio::time::sleep(limit) => false,
    };
    handle.set_idle(false);
    comes
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;
    use std::rc::Rc;

    use bytes::Bytes;
    use tokio::net::TcpStream;
    use tokio::task::LocalSet;

    use super::*;
    use crate::client::Progress;
    use crate::tls::stream::Stream;

    /// Waits on a connection, and has its client do this in one go with what the worker says; what came of it.
    async fn waited(act: impl FnOnce(&Handle, &mut std::net::TcpStream)) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        let transport = Stream::Plain(TcpStream::from_std(socket).unwrap());
        let io = ClientIo::new(transport, Bytes::new(), None, Rc::new(Progress::default()));
        let handle = Handle::default();
        let bell = handle.clone();
        let waiting = tokio::task::spawn_local(async move { until_next(&bell, &io, Duration::from_secs(20)).await });
        // It waits by now.
        tokio::task::yield_now().await;
        act(&handle, &mut client);
        waiting.await.unwrap()
    }

    #[tokio::test]
    async fn a_request_that_came_before_the_end_was_told_is_served() {
        LocalSet::new()
            .run_until(async {
                assert!(!waited(|handle, _| handle.drain()).await);
                // The runtime hears of the end first.
                let came = |handle: &Handle, client: &mut std::net::TcpStream| {
                    client.write_all(b"GET").unwrap();
                    handle.drain();
                };
                assert!(waited(came).await);
            })
            .await;
    }
}
