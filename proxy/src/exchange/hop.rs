//! What must not travel from one hop to the next, and which requests may not travel at all (RFC 9110 §7.6, RFC 9112 §3, §6).
//!
//! It works on heads alone; it never touches a body.

pub mod connect;
pub mod host;
mod http2;
pub mod upgrade;

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, StatusCode, Version, request, response};
use smallvec::SmallVec;
use tollgate_config::PathSpelling;

use crate::error::Reason;
use crate::exchange::head::{Edited, Fields, RequestHead};
use crate::exchange::hop::host::Host;
use crate::exchange::path;

/// The longest request target that is read, in bytes.
pub const TARGET_LIMIT: usize = 16 * 1024;

/// Fields that a `Connection` header may name without being believed: dropping them would change what the request means.
const NEVER_NAMED: [HeaderName; 5] =
    [header::HOST, header::CONTENT_LENGTH, header::AUTHORIZATION, header::COOKIE, header::SET_COOKIE];

/// RFC 9110 §7.6.1, and what nobody should forward.
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "te"
            | "upgrade"
            | "keep-alive"
            | "transfer-encoding"
            | "proxy-connection"
            | "proxy-authorization"
            | "http2-settings"
    )
}

/// Removes what belongs to this hop: the fixed fields, those that `Connection` names, and those that `anew` says the
/// next hop gets anew.
pub fn strip(headers: &mut HeaderMap, anew: impl Fn(&str) -> bool) -> Stripped {
    // Most messages hold few of them, and looking costs less than removing what is not there.
    let goes = |name: &&HeaderName| is_hop_by_hop(name.as_str()) || anew(name.as_str());
    let found: SmallVec<[HeaderName; 4]> = headers.keys().filter(goes).cloned().collect();
    let takes_trailers = found.contains(&header::TE) && names_trailers(headers);
    let upgrade = if found.contains(&header::UPGRADE) { upgrade::named(headers) } else { None };
    if found.contains(&header::CONNECTION) {
        strip_named(headers);
    }
    for name in found {
        headers.remove(name);
    }
    Stripped { takes_trailers, upgrade }
}

/// What the fields of a hop said.
#[derive(Debug)]
pub struct Stripped {
    /// The sender said `te: trailers`.
    pub takes_trailers: bool,
    /// The protocol that the connection is to change to.
    pub upgrade: Option<HeaderValue>,
}

/// RFC 9110 §10.1.4.
fn names_trailers(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::TE).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

fn strip_named(headers: &mut HeaderMap) {
    // One word that is none, or has bytes beyond ASCII, hides none of the others.
    let words =
        headers.get_all(header::CONNECTION).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let names = words.filter_map(|word| HeaderName::from_bytes(word.trim_ascii()).ok());
    let named: Vec<HeaderName> = names.filter(|name| !NEVER_NAMED.contains(name)).collect();
    for name in named {
        headers.remove(name);
    }
}

/// A request as it came from the client, checked and stripped.
#[derive(Debug)]
pub struct Accepted {
    /// The head that filters and the upstream see.
    pub head: RequestHead,
    /// The protocol it came in.
    pub version: Version,
    /// The body's length where the client declared one.
    pub content_length: Option<u64>,
    /// True when the client takes trailers (`te: trailers`).
    pub takes_trailers: bool,
    /// The protocol that the client asks to change to.
    pub upgrade: Option<Box<HeaderValue>>,
    /// The client's address where a trusted peer told it.
    pub client: Option<IpAddr>,
}

/// Checks a request and takes it apart; on refusal the client's connection is closed. CONNECT is refused, see `connect`.
pub fn accept<B>(
    request: Request<B>,
    field_limit: usize,
    spelling: PathSpelling,
    known: &Host,
) -> Result<(Accepted, B), Reason> {
    let (mut parts, body) = request.into_parts();
    http2::accept(&mut parts, field_limit)?;
    check_target(&parts)?;
    check_framing(&parts)?;
    check_expectation(&parts)?;
    let authority = authority(&parts, known)?;
    let content_length = content_length(&parts.headers)?;
    let path = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let path = spelled(path, spelling)?;
    // RFC 9110 §10.1.1: the proxy answers 100 itself as soon as the body is wanted.
    let stripped = strip(&mut parts.headers, |name| matches!(name, "host" | "expect" | "content-length"));
    let takes_trailers = stripped.takes_trailers;
    let upgrade = stripped.upgrade.filter(|token| upgrade::may_ask(&parts, token)).map(Box::new);
    let fields = Fields::new(parts.headers, field_limit);
    let (method, edited) = (parts.method, Edited::default());
    let head = RequestHead { method, scheme: Scheme::HTTP, authority, path, fields, edited };
    Ok((Accepted { head, version: parts.version, content_length, takes_trailers, upgrade, client: None }, body))
}

fn check_target(parts: &request::Parts) -> Result<(), Reason> {
    if parts.method == Method::CONNECT {
        return Err(Reason::BadRequest("connect_not_allowed"));
    }
    // RFC 9112 §3.2.3: a bare authority is CONNECT's.
    if parts.uri.authority().is_some() && parts.uri.scheme().is_none() {
        return Err(Reason::BadRequest("target_without_slash"));
    }
    if parts.uri.scheme().is_some_and(|scheme| *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS) {
        return Err(Reason::BadRequest("scheme_unknown"));
    }
    let target = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    if target.len() > TARGET_LIMIT {
        return Err(Reason::TargetTooLong);
    }
    // RFC 3986 §2: other bytes are escaped. Who gets them raw decides by itself what letters they are.
    if !target.is_ascii() {
        return Err(Reason::BadRequest("target_not_ascii"));
    }
    let whole_server = target == "*" && parts.method == Method::OPTIONS;
    if !target.starts_with('/') && !whole_server {
        return Err(Reason::BadRequest("target_without_slash"));
    }
    Ok(())
}

/// RFC 9112 §6.1 and §6.3: more than one way to find the end of a body is a way to smuggle a second request.
fn check_framing(parts: &request::Parts) -> Result<(), Reason> {
    let mut codings = parts.headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(()) };
    if parts.version != Version::HTTP_11 {
        return Err(Reason::BadRequest("transfer_encoding_not_allowed"));
    }
    if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Err(Reason::BadRequest("transfer_encoding_unknown"));
    }
    if parts.headers.contains_key(header::CONTENT_LENGTH) {
        return Err(Reason::BadRequest("two_framings"));
    }
    Ok(())
}

/// RFC 9110 §10.1.1: an expectation that cannot be met is told so; one of HTTP/1.0 means nothing.
fn check_expectation(parts: &request::Parts) -> Result<(), Reason> {
    let mut expectations = parts.headers.get_all(header::EXPECT).iter();
    let met = expectations.all(|expected| expected.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    if met || parts.version == Version::HTTP_10 { Ok(()) } else { Err(Reason::UnknownExpectation) }
}

/// The path as filters, routes and the upstream see it.
pub fn spelled(target: PathAndQuery, spelling: PathSpelling) -> Result<PathAndQuery, Reason> {
    if spelling == PathSpelling::Keep || target == "*" {
        return Ok(target);
    }
    let spelled = match path::normal(target.path()).map_err(Reason::BadRequest)? {
        Cow::Borrowed(_) => None,
        Cow::Owned(path) => Some(path),
    };
    let Some(mut spelled) = spelled else { return Ok(target) };
    if let Some(query) = target.query() {
        spelled.push('?');
        spelled.push_str(query);
    }
    PathAndQuery::try_from(spelled).map_err(|_| Reason::BadRequest("path_not_a_path"))
}

/// RFC 9112 §3.2: exactly one Host; the absolute form replaces it. RFC 9113 §8.3.1: Host must equal `:authority`.
fn authority(parts: &request::Parts, known: &Host) -> Result<Authority, Reason> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Reason::BadRequest("two_hosts"));
    }
    let host = host.map(|host| known.authority(host.as_bytes())).transpose()?;
    let target = parts.uri.authority().map(|target| known.authority(target.as_str().as_bytes())).transpose()?;
    if parts.version == Version::HTTP_2 && host.is_some() && target.is_some() && host != target {
        return Err(Reason::BadRequest("host_unlike_authority"));
    }
    let chosen = match parts.version {
        Version::HTTP_11 if host.is_none() => None,
        _ => target.or(host),
    };
    match chosen {
        Some(authority) => Ok(authority),
        None if parts.version == Version::HTTP_10 => Ok(Authority::from_static("localhost")),
        None => Err(Reason::BadRequest("host_missing")),
    }
}

/// RFC 9110 §4.2.4: userinfo makes one host look like another.
fn checked(authority: Authority) -> Result<Authority, Reason> {
    match authority.as_str() {
        text if text.contains('@') => Err(Reason::BadRequest("userinfo")),
        text if !is_host_and_port(text) => Err(Reason::BadRequest("host_invalid")),
        _ => Ok(authority),
    }
}

/// RFC 3986 §3.2.2, without what no name of a host has: the delimiters by which others split lists, and escapes.
fn is_host_and_port(authority: &str) -> bool {
    let is_name = |host: &str| {
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
    };
    let (host, rest) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => (address.parse::<Ipv6Addr>().is_ok(), rest),
        None => {
            let end = authority.find(':').unwrap_or(authority.len());
            (is_name(&authority[..end]), &authority[end..])
        }
    };
    host && match rest.strip_prefix(':') {
        None => rest.is_empty(),
        Some("") => true,
        Some(port) => port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok(),
    }
}

/// RFC 9110 §8.6: one value of digits.
pub fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Reason> {
    let mut values = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match (digits.and_then(|digits| digits.parse().ok()), values.next()) {
        (Some(length), None) => Ok(Some(length)),
        _ => Err(Reason::BadRequest("content_length_invalid")),
    }
}

/// Checks the head of an answer that is to be passed on; answers the length that it declares. Whoever read it takes a body
/// behind an unknown coding to reach to the end of the connection, chunks for the body beside a length, and equal lengths for one.
pub fn check_answer(parts: &response::Parts) -> Result<Option<u64>, &'static str> {
    if parts.status.is_informational() {
        return Err("interim_answer_unasked");
    }
    // RFC 9110 §15: nothing else is defined.
    if parts.status.as_u16() > 599 {
        return Err("status_invalid");
    }
    let content_length = content_length(&parts.headers).map_err(|_| "content_length_invalid")?;
    let mut codings = parts.headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next(), content_length) {
        (None, ..) => Ok(content_length),
        (Some(_), None, Some(_)) => Err("two_framings"),
        (Some(coding), None, None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(None),
        _ => Err("transfer_encoding_unknown"),
    }
}

/// RFC 9110 §6.4.1: these answers have no body whatever their fields say.
pub fn is_bodiless(method: &Method, status: StatusCode) -> bool {
    const BODILESS: [StatusCode; 3] =
        [StatusCode::SWITCHING_PROTOCOLS, StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED];
    *method == Method::HEAD || BODILESS.contains(&status) || is_connected(method, status)
}

/// RFC 9110 §9.3.6: behind such an answer there is a tunnel.
pub fn is_connected(method: &Method, status: StatusCode) -> bool {
    *method == Method::CONNECT && status.is_success()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept_head(build: request::Builder) -> Result<Accepted, Reason> {
        accept(build.body(()).unwrap(), 100, PathSpelling::Normalize, &Host::default()).map(|(accepted, ())| accepted)
    }

    fn bad(words: &'static str) -> Reason {
        Reason::BadRequest(words)
    }

    #[test]
    fn fields_that_connection_names_are_removed_but_never_those_that_carry_meaning() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Private, authorization"),
            ("x-private", "1"),
            ("authorization", "secret"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("x-public", "1"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }

        let stripped = strip(&mut headers, |_| false);

        assert!(stripped.takes_trailers && stripped.upgrade.is_none());
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["authorization", "x-public"]);
    }

    #[test]
    fn a_word_of_connection_that_is_no_name_hides_none_of_the_others() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONNECTION, HeaderValue::from_bytes(b"\xa0, X-Private\t,").unwrap());
        headers.insert("x-private", HeaderValue::from_static("1"));

        strip(&mut headers, |_| false);

        assert!(headers.is_empty(), "{headers:?}");
    }

    #[test]
    fn a_request_needs_exactly_one_host() {
        let base = || Request::get("/a");

        assert_eq!(accept_head(base()).unwrap_err(), bad("host_missing"));
        assert_eq!(accept_head(base().header("host", "a").header("host", "a")).unwrap_err(), bad("two_hosts"));
        assert_eq!(accept_head(base().header("host", "a b")).unwrap_err(), bad("host_invalid"));
        assert_eq!(accept_head(base().header("host", "u@a")).unwrap_err(), bad("userinfo"));
        for host in ["a:1", "A.b-c_d~e", "a:", "127.0.0.1:65535", "[::1]", "[::1]:80"] {
            assert_eq!(accept_head(base().header("host", host)).unwrap().head.authority, host);
        }
        for host in ["", ":80", "a,b", "a;b", "a%41", "a:b", "a:+1", "a:65536", "[::g]", "[::1", "a/b", "a!", "[::1]x"]
        {
            assert_eq!(accept_head(base().header("host", host)).unwrap_err(), bad("host_invalid"), "{host}");
        }
    }

    #[test]
    fn the_absolute_form_replaces_host() {
        let accepted = accept_head(Request::get("http://real.local/x?y").header("host", "other")).unwrap();

        assert_eq!(accepted.head.authority, "real.local");
        assert_eq!(accepted.head.path, "/x?y");
    }

    #[test]
    fn http_2_host_must_equal_the_authority() {
        let request = Request::get("http://a/x").version(Version::HTTP_2).header("host", "b");

        assert_eq!(accept_head(request).unwrap_err(), bad("host_unlike_authority"));
    }

    #[test]
    fn two_framings_and_unknown_codings_are_refused() {
        let base = || Request::post("/a").header("host", "a");
        let coded = |coding: &str| base().header("transfer-encoding", coding);

        assert_eq!(accept_head(coded("chunked").header("content-length", "3")).unwrap_err(), bad("two_framings"));
        assert_eq!(accept_head(coded("gzip, chunked")).unwrap_err(), bad("transfer_encoding_unknown"));
        assert_eq!(
            accept_head(coded("chunked").header("transfer-encoding", "chunked")).unwrap_err(),
            bad("transfer_encoding_unknown")
        );
        assert_eq!(
            accept_head(coded("chunked").version(Version::HTTP_10)).unwrap_err(),
            bad("transfer_encoding_not_allowed")
        );
        for length in ["+3", "3,3", "", "-1", "99999999999999999999", "0x3"] {
            assert_eq!(
                accept_head(base().header("content-length", length)).unwrap_err(),
                bad("content_length_invalid")
            );
        }
        assert_eq!(accept_head(base().header("content-length", "3")).unwrap().content_length, Some(3));
    }

    #[test]
    fn a_path_is_spelled_and_its_query_left_alone_unless_it_is_to_be_kept() {
        let request = || Request::get("/a/%2e%2E//b?c=%2e%2f//").header("host", "a").body(()).unwrap();
        let spellings = [PathSpelling::Normalize, PathSpelling::Keep];
        let paths = spellings.map(|spelling| accept(request(), 100, spelling, &Host::default()).unwrap().0.head.path);

        assert_eq!(paths, ["/b?c=%2e%2f//", "/a/%2e%2E//b?c=%2e%2f//"]);
        assert_eq!(accept_head(Request::get("/a%2fb").header("host", "a")).unwrap_err(), bad("path_escaped_slash"));
    }

    #[test]
    fn only_the_expectation_of_100_is_met() {
        let expecting = |expected: &str| Request::put("/a").header("host", "a").header("expect", expected);

        assert!(accept_head(expecting("100-Continue")).is_ok());
        assert!(accept_head(expecting("x").version(Version::HTTP_10)).is_ok());
        assert_eq!(accept_head(expecting("100-continue, x")).unwrap_err(), Reason::UnknownExpectation);
    }

    #[test]
    fn connect_and_odd_targets_are_refused() {
        assert_eq!(accept_head(Request::connect("a:443").header("host", "a")).unwrap_err(), bad("connect_not_allowed"));
        assert_eq!(accept_head(Request::get("*").header("host", "a")).unwrap_err(), bad("target_without_slash"));
        assert!(accept_head(Request::options("*").header("host", "a")).is_ok());
        assert_eq!(accept_head(Request::get("ftp://a/").header("host", "a")).unwrap_err(), bad("scheme_unknown"));
        assert_eq!(accept_head(Request::get("/ä").header("host", "a")).unwrap_err(), bad("target_not_ascii"));
        let long = format!("/{}", "a".repeat(TARGET_LIMIT));
        assert_eq!(accept_head(Request::get(long).header("host", "a")).unwrap_err(), Reason::TargetTooLong);
    }
}
