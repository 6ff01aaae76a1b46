//! Interim answers (1xx) of an upstream, on their way to an HTTP/1.1 client (RFC 9110 §15.2).
//!
//! hyper's server has no word for them, so they are written to the socket beside it. HTTP/2 clients do not get them.

use std::rc::Rc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use fragile::Fragile;
use http::{Request, StatusCode};

use crate::client::Client;
use crate::upstream::body::RequestBody;

/// Interim answers that one exchange may bring; a storm of them is dropped.
const MOST: u8 = 10;

/// Has interim answers to `request` written to the client. 100 is not one of them: the proxy answers it itself.
pub(crate) fn relay(request: &mut Request<RequestBody>, client: &Rc<Client>) {
    let progress = Fragile::new(Rc::clone(&client.progress));
    let seen = AtomicU8::new(0);
    hyper::ext::on_informational(request, move |answer| {
        let status = answer.status();
        if status == StatusCode::CONTINUE || seen.fetch_add(1, Relaxed) >= MOST {
            return;
        }
        let mut head = Vec::with_capacity(256);
        head.extend_from_slice(b"HTTP/1.1 ");
        head.extend_from_slice(status.as_str().as_bytes());
        head.extend_from_slice(b" ");
        head.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
        for (name, value) in answer.headers() {
            if *name == http::header::CONNECTION {
                continue;
            }
            head.extend_from_slice(b"\r\n");
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
        }
        head.extend_from_slice(b"\r\n\r\n");
        progress.get().slip_in(&head);
    });
}
