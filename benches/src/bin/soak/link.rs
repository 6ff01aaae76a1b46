//! A connection to the proxy by either protocol, for clients that do many things at a time.

use std::io;
use std::net::SocketAddr;

use http::header::HOST;
use http::{Request, Response, request};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    H2c,
}

/// See the module.
pub(crate) enum Link<B> {
    /// One exchange at a time.
    Http1(http1::SendRequest<B>),
    /// Many.
    H2c(http2::SendRequest<B>),
}

impl<B> Link<B>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Connects; the connection is served by a task of the current runtime.
    pub(crate) async fn connect(address: SocketAddr, protocol: Protocol) -> io::Result<Link<B>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let io = TokioIo::new(stream);
        // What becomes of a connection shows in its exchanges.
        match protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(io).await.map_err(io::Error::other)?;
                tokio::spawn(async move { drop(connection.await) });
                Ok(Link::Http1(sender))
            }
            Protocol::H2c => {
                let builder = http2::Builder::new(TokioExecutor::new());
                let (sender, connection) = builder.handshake(io).await.map_err(io::Error::other)?;
                tokio::spawn(async move { drop(connection.await) });
                Ok(Link::H2c(sender))
            }
        }
    }

    /// The same connection for as many users; HTTP/1.1 has one.
    pub(crate) fn shared(self, users: u16) -> Vec<Link<B>> {
        match self {
            Link::Http1(_) => vec![self],
            Link::H2c(sender) => (0..users).map(|_| Link::H2c(sender.clone())).collect(),
        }
    }

    /// What it speaks.
    pub(crate) fn protocol(&self) -> Protocol {
        match self {
            Link::Http1(_) => Protocol::Http1,
            Link::H2c(_) => Protocol::H2c,
        }
    }

    /// A request for this path, as the protocol names it.
    pub(crate) fn request(&self, path: &str) -> request::Builder {
        match self {
            Link::Http1(_) => Request::builder().uri(path).header(HOST, "soak.test"),
            Link::H2c(_) => Request::builder().uri(format!("http://soak.test{path}")),
        }
    }

    /// Sends a request; the head of the answer.
    pub(crate) async fn send(&mut self, request: Request<B>) -> hyper::Result<Response<Incoming>> {
        match self {
            Link::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Link::H2c(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }
}
