//! An origin that takes every connection, reads whatever comes, and says nothing.

use std::net::SocketAddr;
use std::thread;

use tokio::io;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// See the module. Its thread ends when it is dropped.
pub(crate) struct Silent {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    _end: oneshot::Sender<()>,
}

impl Silent {
    /// Starts one on a free port.
    pub(crate) fn start() -> io::Result<Silent> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let (end, ended) = oneshot::channel();
        let serving = async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                // Who connected ends it.
                tokio::spawn(async move { io::copy(&mut stream, &mut io::sink()).await });
            }
        };
        let serve = move || {
            runtime.block_on(async {
                tokio::select! { _ = ended => {} () = serving => {} }
            })
        };
        thread::Builder::new().name("silent".into()).spawn(serve)?;
        Ok(Silent { address, _end: end })
    }
}
