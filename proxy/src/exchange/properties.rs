//! What a filter may ask about an exchange with `proxy_get_property`, in the encodings of Envoy: text raw, numbers and
//! times as eight little-endian bytes, booleans as one, maps as pairs.
//!
//! Built-in names cannot be overwritten: what a filter sets under one of them is found in `filter_state` alone. The
//! plugin's own names and the node are not the exchange's; `filter::host` answers them.

mod message;
pub mod node;
pub mod passage;
mod peer;

use std::time::Duration;

use http::Version;
use tollgate_abi::{HeaderMap, VecHeaderMap, pairs};
use tollgate_config::Direction;

use crate::exchange::stream::{FilterStream, Names};

/// Envoy's names for what no exchange here has, and what is answered elsewhere. Filters cannot set them either.
const NEVER: [&[u8]; 12] = [
    b"metadata",
    b"upstream_filter_state",
    b"cluster_metadata",
    b"route_metadata",
    b"listener_metadata",
    b"virtual_host_metadata",
    b"upstream_host_metadata",
    b"upstream_host_locality_metadata",
    b"node",
    b"plugin_name",
    b"plugin_root_id",
    b"plugin_vm_id",
];

/// The value at `path`, or `None` when this exchange has none now.
pub fn of_stream(stream: &FilterStream, path: &[&[u8]]) -> Option<Vec<u8>> {
    let (first, rest) = path.split_first()?;
    match *first {
        b"request" => message::request(stream, rest),
        b"response" => message::response(stream, rest),
        b"source" => peer::address(stream.facts.source, rest),
        b"destination" => peer::address(stream.facts.destination, rest),
        b"connection" => peer::connection(stream.facts.connection, stream.facts.secured.as_deref(), rest),
        b"connection_id" => peer::connection(stream.facts.connection, None, path),
        b"upstream" => peer::upstream(stream, rest),
        b"xds" => named(&stream.facts.names, rest),
        b"route_name" | b"cluster_name" | b"listener_name" | b"listener_direction" => named(&stream.facts.names, path),
        b"virtual_host_name" | b"filter_chain_name" => named(&stream.facts.names, path),
        b"filter_state" => filter_state(stream.all_set(), rest),
        name if NEVER.contains(&name) => None,
        _ => stream.set_by_filter(&path.join(&0)).map(<[u8]>::to_vec),
    }
}

/// Route, cluster and listener under Envoy's names; the old top-level ones are the same.
fn named(names: &Names, path: &[&[u8]]) -> Option<Vec<u8>> {
    match path {
        [b"route_name"] => text(&names.route),
        [b"cluster_name"] => text(&names.cluster),
        [b"listener_name"] | [b"filter_chain_name"] => text(&names.listener),
        [b"virtual_host_name"] => text(&names.host),
        // Numbers of Envoy's `TrafficDirection`.
        [b"listener_direction"] => number(match names.direction {
            Direction::Unspecified => 0,
            Direction::Inbound => 1,
            Direction::Outbound => 2,
        }),
        _ => None,
    }
}

/// What filters set, under Envoy's keys: `wasm.` and the path as it was set.
fn filter_state<'s>(mut set: impl Iterator<Item = (&'s [u8], &'s [u8])>, path: &[&[u8]]) -> Option<Vec<u8>> {
    if path.is_empty() {
        let prefixed = |name: &[u8]| [b"wasm.", name].concat();
        let all = set.map(|(name, value)| (prefixed(name), value));
        return Some(pairs::encode(&VecHeaderMap::new(all)));
    }
    let key = path.join(&0);
    let name = key.strip_prefix(b"wasm.")?;
    set.find(|(known, _)| *known == name).map(|(_, value)| value.to_vec())
}

/// A map of fields as CEL shows it: each name once, repeated values joined by a comma.
fn map(fields: &dyn HeaderMap) -> Option<Vec<u8>> {
    let mut all: Vec<(Vec<u8>, Vec<u8>)> = Vec::with_capacity(fields.len());
    fields.for_each(&mut |name, value| match all.iter_mut().find(|(known, _)| known == name) {
        Some((_, joined)) => join(joined, value),
        None => all.push((name.to_vec(), value.to_vec())),
    });
    Some(pairs::encode(&VecHeaderMap::new(all)))
}

/// One name of a map of fields, repeated values joined by a comma.
fn field(fields: &dyn HeaderMap, name: &[u8]) -> Option<Vec<u8>> {
    let mut all: Option<Vec<u8>> = None;
    fields.for_each(&mut |found, value| {
        if found.eq_ignore_ascii_case(name) {
            match &mut all {
                Some(joined) => join(joined, value),
                None => all = Some(value.to_vec()),
            }
        }
    });
    all
}

fn join(joined: &mut Vec<u8>, value: &[u8]) {
    joined.push(b',');
    joined.extend_from_slice(value);
}

/// The name of a protocol version as Envoy and access logs write it.
pub fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

#[expect(clippy::unnecessary_wraps, reason = "every arm of the tables answers an Option")]
fn duration(duration: Duration) -> Option<Vec<u8>> {
    Some(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX).to_le_bytes().to_vec())
}

#[expect(clippy::unnecessary_wraps, reason = "every arm of the tables answers an Option")]
fn number(value: u64) -> Option<Vec<u8>> {
    Some(value.to_le_bytes().to_vec())
}

#[expect(clippy::unnecessary_wraps, reason = "every arm of the tables answers an Option")]
fn text(value: &str) -> Option<Vec<u8>> {
    Some(value.as_bytes().to_vec())
}
