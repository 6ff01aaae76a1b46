//! The properties `request.*` and `response.*`.

use std::time::{Duration, UNIX_EPOCH};

use http::Method;
use tollgate_abi::HeaderMap;

use super::{duration, field, map, number, protocol, text};
use crate::error::Reason;
use crate::exchange::head::{Fields, ResponseHead};
use crate::exchange::stream::FilterStream;

pub(super) fn request(stream: &FilterStream, path: &[&[u8]]) -> Option<Vec<u8>> {
    let head = &stream.request;
    let header = |name: &[u8]| head.first(name).map(<[u8]>::to_vec);
    match path {
        [b"path" | b"url_path" | b"query" | b"scheme"] if head.method == Method::CONNECT => None,
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
        [b"time"] => duration(stream.wall_clock().duration_since(UNIX_EPOCH).ok()?),
        [b"size"] => number(stream.facts.content_length.unwrap_or(stream.request_bytes)),
        [b"total_size"] => number(stream.request_bytes.saturating_add(bytes_of(head))),
        [b"headers_bytes"] => number(bytes_of(head)),
        [b"duration"] => duration(stream.ended?.saturating_duration_since(stream.facts.started)),
        [b"headers"] => map(head),
        [b"headers", name] => field(head, name),
        [b"trailers", rest @ ..] => trailers(stream.request_trailers.as_deref(), rest),
        _ => None,
    }
}

pub(super) fn response(stream: &FilterStream, path: &[&[u8]]) -> Option<Vec<u8>> {
    match path {
        [b"flags"] => number(flags(stream.reason.as_ref())),
        [b"code"] => number(stream.status.or(status(stream))?.into()),
        [b"code_details"] => details(stream),
        [b"size"] => number(stream.response_bytes),
        [b"backend_latency"] => latency(stream).and_then(duration),
        [b"grpc_status"] => grpc_status(stream),
        [b"trailers", rest @ ..] => trailers(stream.response_trailers.as_deref(), rest),
        _ => of_head(stream.response.as_ref()?, stream, path),
    }
}

fn of_head(head: &ResponseHead, stream: &FilterStream, path: &[&[u8]]) -> Option<Vec<u8>> {
    match path {
        [b"total_size"] => number(stream.response_bytes.saturating_add(bytes_of(head))),
        [b"headers_bytes"] => number(bytes_of(head)),
        [b"headers"] => map(head),
        [b"headers", name] => field(head, name),
        _ => None,
    }
}

fn trailers(fields: Option<&Fields>, path: &[&[u8]]) -> Option<Vec<u8>> {
    match path {
        [] => map(fields?),
        [name] => field(fields?, name),
        _ => None,
    }
}

fn status(stream: &FilterStream) -> Option<u16> {
    stream.response.as_ref().map(|head| head.status.as_u16())
}

/// The words of a local response, or why there was one; an answer of the upstream says so.
fn details(stream: &FilterStream) -> Option<Vec<u8>> {
    let own = || stream.reason.as_ref().map(|reason| reason.to_string().into_bytes());
    let upstream = || stream.response.as_ref().map(|_| b"via_upstream".to_vec());
    stream.details.clone().or_else(own).or_else(upstream)
}

fn latency(stream: &FilterStream) -> Option<Duration> {
    let (sent, answered) = stream.upstream_times;
    Some(answered?.saturating_duration_since(sent?))
}

fn grpc_status(stream: &FilterStream) -> Option<Vec<u8>> {
    let trailer = stream.response_trailers.as_ref().and_then(|fields| fields.first(b"grpc-status"));
    let value = trailer.or_else(|| stream.response.as_ref()?.first(b"grpc-status"))?;
    number(std::str::from_utf8(value).ok()?.parse().ok()?)
}

fn bytes_of(map: &dyn HeaderMap) -> u64 {
    let mut bytes = 0;
    map.for_each(&mut |name, value| bytes += name.len() + value.len());
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Envoy's response flags (its `CoreResponseFlag`, one bit each). What has no flag there has none here.
fn flags(reason: Option<&Reason>) -> u64 {
    let Some(reason) = reason else { return 0 };
    let bit = match reason {
        Reason::UpstreamTimeout => 2,
        Reason::FilterClosed(_) => 3,
        Reason::UpstreamConnect | Reason::UpstreamTls { .. } => 5,
        Reason::UpstreamReset => 6,
        Reason::UpstreamOverflow | Reason::UpstreamBusy => 7,
        Reason::NoRoute => 8,
        Reason::ClientGone => 14,
        Reason::StreamIdle => 16,
        Reason::BadRequest(_) | Reason::TargetTooLong | Reason::HeadersTooLarge => 18,
        Reason::RequestTimeout => 22,
        Reason::UpstreamProtocol(_) => 23,
        _ => return 0,
    };
    1 << bit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_those_of_envoy() {
        for (reason, flag) in [
            (Reason::UpstreamTimeout, 0x4),
            (Reason::UpstreamConnect, 0x20),
            (Reason::UpstreamTls { why: "closed", sent: false }, 0x20),
            (Reason::UpstreamReset, 0x40),
            (Reason::UpstreamOverflow, 0x80),
            (Reason::UpstreamBusy, 0x80),
            (Reason::NoRoute, 0x100),
            (Reason::ClientGone, 0x4000),
            (Reason::StreamIdle, 0x1_0000),
            (Reason::RequestTimeout, 0x40_0000),
            (Reason::UpstreamProtocol("not_http"), 0x80_0000),
            (Reason::FilterResponded("a".to_owned()), 0),
        ] {
            assert_eq!(flags(Some(&reason)), flag, "{reason}");
        }
        assert_eq!(flags(None), 0);
    }
}
