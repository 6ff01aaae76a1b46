//! An endpoint on a thread of its own, which takes every connection. What becomes of it the scenario says.

use std::net::SocketAddr;
use std::thread;

use tokio::io;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// See the module. Its thread ends when it is dropped, and its connections with it.
pub(crate) struct Endpoint {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    _end: oneshot::Sender<()>,
}

impl Endpoint {
    /// Starts one on a free port; `serve` is called with each connection, and spawns what it does.
    pub(crate) fn start(serve: impl Fn(TcpStream) + Send + 'static) -> io::Result<Endpoint> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let (end, ended) = oneshot::channel();
        let serving = async move {
            while let Ok((stream, _)) = listener.accept().await {
                serve(stream);
            }
        };
        let run = move || {
            runtime.block_on(async {
                tokio::select! { _ = ended => {} () = serving => {} }
            })
        };
        thread::Builder::new().name("endpoint".into()).spawn(run)?;
        Ok(Endpoint { address, _end: end })
    }

    /// One that reads whatever comes, and says nothing.
    pub(crate) fn silent() -> io::Result<Endpoint> {
        Endpoint::start(|mut stream| {
            // Who connected ends it.
            tokio::spawn(async move { io::copy(&mut stream, &mut io::sink()).await });
        })
    }
}
