//! What is asked for, what is expected, and what came. How it is said is in the files beside this one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use rustls::ClientConfig;

use super::http2;
use crate::http;

/// What is asked, of whom, and over what.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The target.
    pub address: SocketAddr,
    /// Connections at a time.
    pub connections: usize,
    /// Over HTTP/2 with so many exchanges at a time on each connection; `None`: HTTP/1.1.
    pub streams: Option<usize>,
    /// Over TLS.
    pub tls: Option<Arc<ClientConfig>>,
    /// A connection for each request.
    pub fresh: bool,
    /// The path.
    pub path: String,
    /// Fields besides those of every request.
    pub fields: Vec<(String, String)>,
    /// Bytes of the body that is expected; `None`: any.
    pub body: Option<usize>,
}

impl Ask {
    /// The simplest: `/` over HTTP/1.1 on kept connections.
    pub fn new(address: SocketAddr, connections: usize) -> Ask {
        let body = Some(http::BODY.len());
        let (path, fields) = ("/".to_owned(), Vec::new());
        Ask { address, connections, streams: None, tls: None, fresh: false, path, fields, body }
    }

    pub(super) fn wanted(&self) -> Wanted {
        let request = match self.streams {
            Some(_) => http2::block(&self.path, &self.fields, self.tls.is_some()),
            None => http::request_with(&self.path, &self.fields),
        };
        Wanted { request, body: self.body }
    }
}

/// What is sent, and what is expected for it.
pub(super) struct Wanted {
    /// A head of HTTP/1.1, or a block of HTTP/2.
    pub(super) request: Vec<u8>,
    pub(super) body: Option<usize>,
}

impl Wanted {
    pub(super) fn judge(&self, body: usize) -> Result<(), String> {
        match self.body {
            Some(expected) if expected != body => Err(format!("a body of {body} bytes in place of {expected}")),
            _ => Ok(()),
        }
    }
}

/// What came.
#[derive(Default)]
pub(super) struct Done {
    /// When the requests that were answered had been due.
    pub(super) due: Vec<Instant>,
    pub(super) kept: Option<Answer>,
}

/// An answer that is looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Its head as it came; empty over HTTP/2.
    pub head: String,
    /// Its body.
    pub body: String,
}

impl Done {
    pub(super) fn keeping() -> Done {
        Done { due: Vec::new(), kept: Some(Answer::default()) }
    }

    pub(super) fn keep_head(&mut self, head: &[u8]) {
        if let Some(kept) = &mut self.kept {
            kept.head.push_str(&String::from_utf8_lossy(head));
        }
    }

    pub(super) fn keep_body(&mut self, piece: &[u8]) {
        if let Some(kept) = &mut self.kept {
            kept.body.push_str(&String::from_utf8_lossy(piece));
        }
    }

    #[cfg(test)]
    pub(super) fn body(&self) -> &[u8] {
        self.kept.as_ref().map(|kept| kept.body.as_bytes()).unwrap_or_default()
    }
}
