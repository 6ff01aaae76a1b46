//! The properties of connections: `source.*`, `destination.*`, `connection.*` and `upstream.*`.

use std::net::SocketAddr;

use super::{duration, number, text};
use crate::exchange::stream::FilterStream;
use crate::percent;
use crate::tls::secured::{End, Secured};

pub(super) fn address(address: SocketAddr, path: &[&[u8]]) -> Option<Vec<u8>> {
    match path {
        [b"address"] => text(&address.to_string()),
        [b"port"] => number(address.port().into()),
        _ => None,
    }
}

pub(super) fn connection(id: u64, secured: Option<&Secured>, path: &[&[u8]]) -> Option<Vec<u8>> {
    match path {
        [b"id"] | [b"connection_id"] => number(id),
        [b"mtls"] => Some(vec![u8::from(secured.is_some_and(Secured::has_peer_certificate))]),
        [b"requested_server_name"] => text(secured?.requested.as_ref()?),
        [name] => of_tls(secured?, name),
        _ => None,
    }
}

/// What both sides have; a certificate is read when it is asked for.
fn of_tls(secured: &Secured, name: &[u8]) -> Option<Vec<u8>> {
    let of = |end| secured.certificate(end);
    match name {
        b"tls_version" => text(secured.version()),
        b"subject_local_certificate" => text(&of(End::Local)?.subject),
        b"subject_peer_certificate" => text(&of(End::Peer)?.subject),
        b"dns_san_local_certificate" => text(of(End::Local)?.dns.first()?),
        b"dns_san_peer_certificate" => text(of(End::Peer)?.dns.first()?),
        b"uri_san_local_certificate" => text(of(End::Local)?.uris.first()?),
        b"uri_san_peer_certificate" => text(of(End::Peer)?.uris.first()?),
        b"sha256_peer_certificate_digest" => text(&secured.peer_digest()?),
        b"peer_certificate" => text(&percent::encoded(&secured.peer_pem()?)),
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
        [name] => of_tls(reached.secured.as_deref()?, name),
        _ => None,
    }
}
