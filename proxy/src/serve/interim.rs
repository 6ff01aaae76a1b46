//! Interim answers (1xx) of an upstream, on their way to an HTTP/1.1 client (RFC 9110 §15.2).
//!
//! hyper's server has no word for them, so they are written to the socket beside it. HTTP/2 clients do not get them.

use std::rc::Rc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use fragile::Fragile;
use http::{HeaderMap, Request, StatusCode};

use crate::client::Client;
use crate::error::Reason;
use crate::exchange::{Exchange, hop};
use crate::upstream::body::RequestBody;

/// Interim answers that one exchange may bring.
const MOST: u8 = 10;

/// Why an exchange ends that brings more.
pub(crate) const STORM: Reason = Reason::UpstreamProtocol("interim_answers_too_many");

/// Counts interim answers to `request` and, where the client may have them, has them written to it. 100 is not one of
/// those: the proxy answers it itself.
pub(crate) fn attend(request: &mut Request<RequestBody>, client: &Rc<Client>, exchange: &Rc<Exchange>, relays: bool) {
    let parties = Fragile::new((Rc::clone(&client.progress), Rc::clone(exchange)));
    let seen = AtomicU8::new(0);
    hyper::ext::on_informational(request, move |answer| {
        let (progress, exchange) = parties.get();
        if seen.fetch_add(1, Relaxed) >= MOST {
            // Counting ends with it.
            seen.store(MOST, Relaxed);
            exchange.interrupt(STORM);
        } else if relays && answer.status() != StatusCode::CONTINUE {
            let mut fields = answer.headers().clone();
            hop::strip(&mut fields, |name| name == "content-length");
            progress.slip_in(&written(answer.status(), &fields));
        }
    });
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
