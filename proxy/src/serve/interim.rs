//! Interim answers (1xx) of an upstream, on their way to an HTTP/1.1 client (RFC 9110 §15.2).
//!
//! hyper's server has no word for them, so they are written to the socket beside it. HTTP/2 clients do not get them.

use std::rc::Rc;

use http::{HeaderMap, StatusCode, Version};

use crate::client::{Client, Progress};
use crate::exchange::hop;
use crate::upstream::h1::Hints;

/// Who writes interim answers to a client that may have them. 100 is not one of those: the proxy answers it itself.
pub(crate) fn hints(client: &Rc<Client>, version: Version) -> Option<&dyn Hints> {
    (version == Version::HTTP_11).then(|| &*client.progress as &dyn Hints)
}

impl Hints for Progress {
    fn hint(&self, status: StatusCode, mut fields: HeaderMap) {
        if status != StatusCode::CONTINUE {
            hop::strip(&mut fields, |name| name == "content-length");
            self.slip_in(&written(status, &fields));
        }
    }
}

fn written(status: StatusCode, headers: &HeaderMap) -> Vec<u8> {
    let mut head = Vec::with_capacity(256);
    head.extend_from_slice(b"HTTP/1.1 ");
    head.extend_from_slice(status.as_str().as_bytes());
    head.extend_from_slice(b" ");
    head.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    for (name, value) in headers {
        head.extend_from_slice(b"\r\n");
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
    }
    head.extend_from_slice(b"\r\n\r\n");
    head
}
