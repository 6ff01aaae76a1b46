//! The properties of connections: `source.*`, `destination.*`, `connection.*` and `upstream.*`.

use std::net::SocketAddr;

use super::{duration, number, text};
use crate::exchange::stream::FilterStream;

pub(super) fn address(address: SocketAddr, path: &[&[u8]]) -> Option<Vec<u8>> {
    match path {
        [b"address"] => text(&address.to_string()),
        [b"port"] => number(address.port().into()),
        _ => None,
    }
}

pub(super) fn connection(id: u64, path: &[&[u8]]) -> Option<Vec<u8>> {
    match path {
        [b"id"] | [b"connection_id"] => number(id),
        // No listener speaks TLS, so no client has shown a certificate.
        [b"mtls"] => Some(vec![0]),
        _ => None,
    }
}

pub(super) fn upstream(stream: &FilterStream, path: &[&[u8]]) -> Option<Vec<u8>> {
    let reached = &stream.reached;
    match path {
        [b"address"] | [b"port"] => address(reached.address?, path),
        [b"local_address"] => address(reached.local?, &[b"address"]),
        [b"local_port"] => address(reached.local?, &[b"port"]),
        [b"num_endpoints"] => number(u64::try_from(reached.endpoints?).ok()?),
        [b"request_attempt_count"] => number(reached.attempts?.into()),
        [b"cx_pool_ready_duration"] => duration(reached.waited?),
        [b"transport_failure_reason"] => text(reached.failure.as_ref()?),
        _ => None,
    }
}
