//! The properties of a connection that is passed on: those of an exchange that need no request.

use super::{NEVER, filter_state, named, peer};
use crate::exchange::passage::PassageStream;

/// The value at `path`, or `None` when this connection has none now.
pub fn of_passage(stream: &PassageStream, path: &[&[u8]]) -> Option<Vec<u8>> {
    let (first, rest) = path.split_first()?;
    let facts = &stream.facts;
    match *first {
        b"source" => peer::address(facts.source, rest),
        b"destination" => peer::address(facts.destination, rest),
        b"connection" => peer::connection(facts.connection, facts.secured.as_deref(), rest),
        b"connection_id" => peer::connection(facts.connection, None, path),
        b"upstream" => peer::address(stream.upstream?, rest),
        b"xds" => of_names(stream, rest),
        b"cluster_name" | b"listener_name" | b"listener_direction" | b"filter_chain_name" => of_names(stream, path),
        b"filter_state" => filter_state(stream.all_set(), rest),
        b"request" | b"response" | b"route_name" | b"virtual_host_name" => None,
        name if NEVER.contains(&name) => None,
        _ => stream.set_by_filter(&path.join(&0)).map(<[u8]>::to_vec),
    }
}

/// No route and no virtual host leads a connection.
fn of_names(stream: &PassageStream, path: &[&[u8]]) -> Option<Vec<u8>> {
    let is_routed = matches!(path, [b"route_name" | b"virtual_host_name"]);
    if is_routed { None } else { named(&stream.facts.names, path) }
}
