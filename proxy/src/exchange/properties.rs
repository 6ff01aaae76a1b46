//! What a filter may ask about an exchange with `proxy_get_property`, in the encodings of Envoy: text raw, numbers and
//! times as eight little-endian bytes, booleans as one, maps as header pairs.
//!
//! Properties of the plugin itself are answered by `filter::host`.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use http::Version;
use tollgate_abi::{HeaderMap, pairs};

use crate::exchange::stream::FilterStream;

/// The value at `path`, or `None` when this exchange has none now.
pub fn of_stream(stream: &FilterStream, path: &[&[u8]]) -> Option<Vec<u8>> {
    let (first, rest) = path.split_first()?;
    let built_in = match *first {
        b"request" => request(stream, rest),
        b"response" => response(stream, rest),
        b"source" => address(stream.facts.source, rest),
        b"destination" => address(stream.facts.destination, rest),
        b"connection" => connection(stream, rest),
        b"connection_id" => number(stream.facts.connection),
        b"upstream" => upstream(stream, rest),
        b"xds" => named(stream, rest.first()?),
        name => named(stream, name),
    };
    built_in.or_else(|| set_by_filter(stream, path))
}

/// Route, cluster and listener answer under Envoy's names, the old top-level ones included.
fn named(stream: &FilterStream, name: &[u8]) -> Option<Vec<u8>> {
    let names = &stream.facts.names;
    match name {
        b"route_name" => text(&names.route),
        b"cluster_name" => text(&names.cluster),
        b"listener_name" | b"filter_chain_name" => text(&names.listener),
        b"virtual_host_name" => text(stream.request.authority.as_str()),
        b"listener_direction" => number(0),
        _ => None,
    }
}

fn request(stream: &FilterStream, path: &[&[u8]]) -> Option<Vec<u8>> {
    let head = &stream.request;
    let header = |name: &[u8]| head.first(name).map(<[u8]>::to_vec);
    match path {
        [b"path"] => text(head.path.as_str()),
        [b"url_path"] => text(head.path.path()),
        [b"query"] => text(head.path.query().unwrap_or_default()),
        [b"host"] => text(head.authority.as_str()),
        [b"scheme"] => text(head.scheme.as_str()),
        [b"method"] => text(head.method.as_str()),
        [b"protocol"] => text(protocol(stream.facts.version)),
        [b"referer"] => header(b"referer"),
        [b"useragent"] => header(b"user-agent"),
        [b"id"] => header(b"x-request-id"),
        [b"time"] => number(nanoseconds(since_epoch(stream.facts.started)?)),
        [b"size"] => number(stream.facts.content_length.unwrap_or(stream.request_bytes)),
        [b"total_size"] => number(stream.request_bytes.saturating_add(bytes_of(head))),
        [b"headers_bytes"] => number(bytes_of(head)),
        [b"duration"] => number(nanoseconds(stream.facts.started.elapsed())),
        [b"headers"] => Some(pairs::encode(head)),
        [b"headers", name] => joined(head, name),
        [b"trailers"] => stream.request_trailers.as_ref().map(|fields| pairs::encode(fields)),
        [b"trailers", name] => joined(stream.request_trailers.as_ref()?, name),
        _ => None,
    }
}

fn response(stream: &FilterStream, path: &[&[u8]]) -> Option<Vec<u8>> {
    let head = stream.response.as_ref()?;
    match path {
        [b"code"] => number(u64::from(head.status.as_u16())),
        [b"code_details"] => Some(stream.details.clone().unwrap_or_else(|| b"via_upstream".to_vec())),
        [b"grpc_status"] => grpc_status(stream),
        [b"size"] => number(stream.response_bytes),
        [b"total_size"] => number(stream.response_bytes.saturating_add(bytes_of(head))),
        [b"headers_bytes"] => number(bytes_of(head)),
        [b"headers"] => Some(pairs::encode(head)),
        [b"headers", name] => joined(head, name),
        [b"trailers"] => stream.response_trailers.as_ref().map(|fields| pairs::encode(fields)),
        [b"trailers", name] => joined(stream.response_trailers.as_ref()?, name),
        [b"backend_latency"] => {
            let (sent, answered) = stream.upstream_times;
            number(nanoseconds(answered?.saturating_duration_since(sent?)))
        }
        _ => None,
    }
}

fn grpc_status(stream: &FilterStream) -> Option<Vec<u8>> {
    let trailer = stream.response_trailers.as_ref().and_then(|fields| fields.first(b"grpc-status"));
    let value = trailer.or_else(|| stream.response.as_ref()?.first(b"grpc-status"))?;
    number(std::str::from_utf8(value).ok()?.parse().ok()?)
}

fn address(address: std::net::SocketAddr, path: &[&[u8]]) -> Option<Vec<u8>> {
    match path {
        [b"address"] => Some(address.to_string().into_bytes()),
        [b"port"] => number(u64::from(address.port())),
        _ => None,
    }
}

fn connection(stream: &FilterStream, path: &[&[u8]]) -> Option<Vec<u8>> {
    match path {
        [b"id"] => number(stream.facts.connection),
        // No listener speaks TLS yet, so no client has shown a certificate.
        [b"mtls"] => Some(vec![0]),
        _ => None,
    }
}

fn upstream(stream: &FilterStream, path: &[&[u8]]) -> Option<Vec<u8>> {
    address(stream.upstream?, path)
}

fn set_by_filter(stream: &FilterStream, path: &[&[u8]]) -> Option<Vec<u8>> {
    let raw = path.join(&0);
    stream.properties.iter().find(|(name, _)| *name == raw).map(|(_, value)| value.clone())
}

/// Repeated names are joined by a comma, as CEL shows them.
fn joined(map: &dyn HeaderMap, name: &[u8]) -> Option<Vec<u8>> {
    let mut all: Option<Vec<u8>> = None;
    map.for_each(&mut |found, value| {
        if found.eq_ignore_ascii_case(name) {
            let all = all.get_or_insert_default();
            if !all.is_empty() {
                all.push(b',');
            }
            all.extend_from_slice(value);
        }
    });
    all
}

fn bytes_of(map: &dyn HeaderMap) -> u64 {
    let mut bytes = 0;
    map.for_each(&mut |name, value| bytes += name.len() + value.len());
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// The name of a protocol version as Envoy and access logs write it.
pub fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

/// The wall clock at a monotonic moment; asked for seldom, so the request itself reads one clock only.
fn since_epoch(moment: Instant) -> Option<std::time::Duration> {
    SystemTime::now().checked_sub(moment.elapsed())?.duration_since(UNIX_EPOCH).ok()
}

fn nanoseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[expect(clippy::unnecessary_wraps, reason = "every arm of the tables above answers an Option")]
fn number(value: u64) -> Option<Vec<u8>> {
    Some(value.to_le_bytes().to_vec())
}

#[expect(clippy::unnecessary_wraps, reason = "every arm of the tables above answers an Option")]
fn text(value: &str) -> Option<Vec<u8>> {
    Some(value.as_bytes().to_vec())
}
