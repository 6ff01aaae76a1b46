//! CONNECT: a head that names a host and a port, and nothing else (RFC 9110 §9.3.6, RFC 9112 §3.2.3, RFC 9113 §8.5).
//!
//! Whether it may be, and where it leads, is for routes to say: never to the host that it names.

use http::header;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Version, request};

use super::{Accepted, check_expectation, checked, http2, strip};
use crate::error::Reason;
use crate::exchange::head::{Edited, Fields, RequestHead};

/// Checks a CONNECT and takes it apart; on refusal the client's connection is closed.
pub fn accept<B>(request: Request<B>, field_limit: usize) -> Result<Accepted, Reason> {
    let (mut parts, _) = request.into_parts();
    http2::accept(&mut parts, field_limit)?;
    check_body(&parts)?;
    let authority = target(&parts)?;
    check_host(&parts, &authority)?;
    check_expectation(&parts)?;
    // RFC 9110 §11.7.2: it is for whoever makes the tunnel, and the head goes no further.
    let credentials = parts.headers.remove(header::PROXY_AUTHORIZATION);
    strip(&mut parts.headers, |name| matches!(name, "host" | "expect"));
    parts.headers.extend(credentials.map(|credentials| (header::PROXY_AUTHORIZATION, credentials)));
    let head = RequestHead {
        method: parts.method,
        scheme: Scheme::HTTP,
        authority,
        // It has none, and is shown with none.
        path: PathAndQuery::from_static("/"),
        fields: Fields::new(parts.headers, field_limit),
        edited: Edited::default(),
    };
    let version = parts.version;
    Ok(Accepted { head, version, content_length: None, takes_trailers: false, upgrade: None, client: None })
}

/// What follows the head of a CONNECT is the tunnel's: whoever takes it for a body takes the tunnel for a request.
fn check_body(parts: &request::Parts) -> Result<(), Reason> {
    if parts.version == Version::HTTP_10 {
        return Err(Reason::BadRequest("connect_of_http_1_0"));
    }
    let framing = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
    if framing.iter().any(|name| parts.headers.contains_key(name)) {
        return Err(Reason::BadRequest("connect_with_body"));
    }
    Ok(())
}

/// RFC 9112 §3.2.3: the authority form alone. RFC 9110 §9.3.6: there is no port unless it is said.
fn target(parts: &request::Parts) -> Result<Authority, Reason> {
    let uri = &parts.uri;
    let malformed = Reason::BadRequest("connect_target_malformed");
    if uri.scheme().is_some() || uri.path_and_query().is_some() {
        return Err(malformed);
    }
    let authority = uri.authority().cloned().map(checked).ok_or(malformed)??;
    match authority.port_u16() {
        Some(1..) => Ok(authority),
        _ => Err(Reason::BadRequest("connect_port_missing")),
    }
}

/// RFC 9112 §3.2: one Host, which says what the target says. RFC 9113 §8.3.1: HTTP/2 needs none.
fn check_host(parts: &request::Parts, target: &Authority) -> Result<(), Reason> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if parts.version == Version::HTTP_2 => Ok(()),
        (None, _) => Err(Reason::BadRequest("host_missing")),
        (Some(_), Some(_)) => Err(Reason::BadRequest("two_hosts")),
        (Some(host), None) if host.as_bytes().eq_ignore_ascii_case(target.as_str().as_bytes()) => Ok(()),
        (Some(_), None) => Err(Reason::BadRequest("host_unlike_authority")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connect(target: &str, version: Version, fields: &[(&'static str, &str)]) -> Result<Accepted, Reason> {
        let mut request = Request::connect(target).version(version);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        accept(request.body(()).unwrap(), 100)
    }

    fn refused(target: &str, version: Version, fields: &[(&'static str, &str)]) -> &'static str {
        match connect(target, version, fields) {
            Err(Reason::BadRequest(why)) => why,
            other => panic!("{target} {fields:?}: {other:?}"),
        }
    }

    #[test]
    fn a_host_and_a_port_are_all_that_it_names() {
        for target in ["a:443", "A.b-c:1", "127.0.0.1:65535", "[::1]:80"] {
            let accepted = connect(target, Version::HTTP_11, &[("host", target), ("te", "trailers")]).unwrap();

            assert_eq!((accepted.head.authority.as_str(), accepted.head.fields.map.len()), (target, 0));
        }
        for target in ["a", "a:", "a:0", "[::1]"] {
            assert_eq!(refused(target, Version::HTTP_11, &[("host", target)]), "connect_port_missing", "{target}");
        }
        for target in ["/", "/a:1", "*", "http://a:80/", "http://a:80"] {
            assert_eq!(refused(target, Version::HTTP_11, &[("host", "a:80")]), "connect_target_malformed", "{target}");
        }
        assert_eq!(refused("u@a:1", Version::HTTP_11, &[("host", "a:1")]), "userinfo");
        assert_eq!(refused("a!:1", Version::HTTP_11, &[("host", "a!:1")]), "host_invalid");
    }

    #[test]
    fn credentials_for_the_tunnel_are_for_filters_to_look_at() {
        let fields = [("host", "a:1"), ("proxy-authorization", "Basic dTpw"), ("keep-alive", "1"), ("x", "y")];

        let accepted = connect("a:1", Version::HTTP_11, &fields).unwrap();

        let map = accepted.head.fields.map;
        assert_eq!(map.len(), 2);
        assert!(map["proxy-authorization"] == "Basic dTpw" && map["x"] == "y");
    }

    #[test]
    fn host_says_the_same_and_in_http1_has_to() {
        let of = |version, fields: &[(&'static str, &str)]| refused("a:1", version, fields);

        for version in [Version::HTTP_11, Version::HTTP_2] {
            assert!(connect("a:1", version, &[("host", "A:1")]).is_ok());
            assert_eq!(of(version, &[("host", "a:1"), ("host", "a:1")]), "two_hosts");
            for host in ["b:1", "a", "a:2", "a:01", ""] {
                assert_eq!(of(version, &[("host", host)]), "host_unlike_authority", "{host}");
            }
        }
        assert_eq!(of(Version::HTTP_11, &[]), "host_missing");
        assert!(connect("a:1", Version::HTTP_2, &[]).is_ok());
    }

    #[test]
    fn it_has_no_body_and_is_none_of_http_1_0() {
        for field in [("content-length", "0"), ("content-length", "3"), ("transfer-encoding", "chunked")] {
            for version in [Version::HTTP_11, Version::HTTP_2] {
                assert_eq!(refused("a:1", version, &[("host", "a:1"), field]), "connect_with_body", "{field:?}");
            }
        }
        assert_eq!(refused("a:1", Version::HTTP_10, &[("host", "a:1")]), "connect_of_http_1_0");
        let expecting = connect("a:1", Version::HTTP_11, &[("host", "a:1"), ("expect", "x")]);
        assert_eq!(expecting.unwrap_err(), Reason::UnknownExpectation);
    }
}
