//! Requests of HTTP/1.1 as the grammar of RFC 9112 has them, read from a whole stream at once: small, slow, and without a
//! line in common with the proxy. What RFC 9112 lets a server guess or repair is an end here.
//!
//! It knows nothing of the proxy's bounds or the names that it refuses: there the proxy is stricter. Of targets it takes
//! what RFC 3986 has and what the URL standard lets browsers leave as it is; also a quote and a backslash, which have a
//! place in no path that is in its one spelling. What belongs to a connection, and what only
//! proxies say of clients, is no part of a request here.

#![allow(dead_code, reason = "not every file of tests that reads requests looks at all of them")]

/// One request, as it is to reach an origin.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: Vec<u8>,
    /// Path and query, or `*`.
    pub(crate) target: Vec<u8>,
    /// Whom it is for: the authority of the target, or else the field.
    pub(crate) host: Vec<u8>,
    /// The fields that travel on, by name; those of one name in their order.
    pub(crate) fields: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} to {}", self.method.escape_ascii(), self.target.escape_ascii(), self.host.escape_ascii())?;
        for (name, value) in &self.fields {
            write!(f, ", {}: {}", name.escape_ascii(), value.escape_ascii())?;
        }
        write!(f, ", {:?}", self.body.escape_ascii().to_string())
    }
}

/// Fields in the order in which requests are compared.
pub(crate) fn sorted(mut fields: Vec<(Vec<u8>, Vec<u8>)>) -> Vec<(Vec<u8>, Vec<u8>)> {
    fields.sort_by(|one, other| one.0.cmp(&other.0));
    fields
}

/// What comes behind the requests of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Nothing, or a request that goes on.
    Open,
    /// Something that is no request.
    Invalid,
    /// Nothing that counts: the last request ends its connection.
    Closed,
}

/// All requests of a stream.
pub(crate) fn read(mut rest: &[u8]) -> (Vec<Request>, End) {
    let mut requests = Vec::new();
    loop {
        match one(rest) {
            Ok(Some((request, after, closes))) => {
                requests.push(request);
                rest = after;
                if closes {
                    return (requests, End::Closed);
                }
            }
            Ok(None) => return (requests, End::Open),
            Err(Invalid) => return (requests, End::Invalid),
        }
    }
}

struct Invalid;

/// A request, what follows it, and whether it ends its connection.
type Whole<'a> = (Request, &'a [u8], bool);

fn one(stream: &[u8]) -> Result<Option<Whole<'_>>, Invalid> {
    let stream = stream.strip_prefix(b"\r\n").unwrap_or(stream);
    let Some(end) = find(stream, b"\r\n\r\n") else { return Ok(None) };
    let (head, rest) = (&stream[..end], &stream[end + 4..]);
    let mut lines = split(head, b"\r\n").into_iter();
    let line = lines.next().ok_or(Invalid)?;
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let [method, target, version] = words[..] else { return Err(Invalid) };
    let is_11 = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        _ => return Err(Invalid),
    };
    let fields: Vec<Field<'_>> = lines.map(field).collect::<Result<_, _>>()?;
    let good = is_token(method) && method != b"CONNECT" && is_target(method, target) && has_host(&fields, is_11);
    let expected = all(&fields, "expect").iter().all(|value| value.eq_ignore_ascii_case(b"100-continue"));
    if !good || (is_11 && !expected) {
        return Err(Invalid);
    }
    let Some((body, rest)) = body(&fields, is_11, rest)? else { return Ok(None) };
    let closes = closes(&fields, is_11);
    let (authority, target) = parts(target);
    let host = authority.or_else(|| all(&fields, "host").first().copied()).unwrap_or(b"localhost").to_vec();
    let fields = sorted(travelling(&fields));
    Ok(Some((Request { method: method.to_vec(), target, host, fields, body }, rest, closes)))
}

/// A name in small letters and a value without the space around it.
type Field<'a> = (Vec<u8>, &'a [u8]);

fn field(line: &[u8]) -> Result<Field<'_>, Invalid> {
    let colon = line.iter().position(|byte| *byte == b':').ok_or(Invalid)?;
    let (name, mut value) = (&line[..colon], &line[colon + 1..]);
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    let is_value = value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~' | 0x80..));
    if is_token(name) && is_value { Ok((name.to_ascii_lowercase(), value)) } else { Err(Invalid) }
}

fn all<'a>(fields: &[Field<'a>], name: &str) -> Vec<&'a [u8]> {
    fields.iter().filter(|(known, _)| known == name.as_bytes()).map(|(_, value)| *value).collect()
}

/// The authority of an absolute target, and the path and query of any.
fn parts(target: &[u8]) -> (Option<&[u8]>, Vec<u8>) {
    if target == b"*" || target.starts_with(b"/") {
        return (None, target.to_vec());
    }
    let rest = &target[find(target, b"://").map_or(0, |at| at + 3)..];
    let end = rest.iter().position(|byte| b"/?".contains(byte)).unwrap_or(rest.len());
    let slash: &[u8] = if rest[end..].starts_with(b"/") { b"" } else { b"/" };
    (Some(&rest[..end]), [slash, &rest[end..]].concat())
}

/// Without what is between a client and this hop (RFC 9110 §7.6.1), what frames the body, and what only proxies say.
fn travelling(fields: &[Field<'_>]) -> Vec<(Vec<u8>, Vec<u8>)> {
    const STAYS: &str = "connection te upgrade keep-alive transfer-encoding proxy-connection proxy-authorization \
        http2-settings host content-length expect forwarded";
    const KEPT: &str = "authorization cookie set-cookie";
    let named: Vec<_> = all(fields, "connection").iter().flat_map(|value| tokens(value)).collect();
    let is_among = |name: &[u8], list: &str| list.split_whitespace().any(|known| known.as_bytes() == name);
    let travels = |name: &Vec<u8>| {
        let is_named = named.contains(name) && !is_among(name, KEPT);
        !is_among(name, STAYS) && !is_named && !name.starts_with(b"x-forwarded-")
    };
    let kept = fields.iter().filter(|(name, _)| travels(name));
    kept.map(|(name, value)| (name.clone(), value.to_vec())).collect()
}

/// The words of a list, in small letters.
fn tokens(value: &[u8]) -> Vec<Vec<u8>> {
    value.split(|byte| *byte == b',').map(|token| token.trim_ascii().to_ascii_lowercase()).collect()
}

/// A target whose path is in its one spelling (RFC 3986 §6.2.2); `None` where there is none, since readers are known that
/// take it for another path.
pub(crate) fn spelled(target: &[u8]) -> Option<Vec<u8>> {
    let end = target.iter().position(|byte| *byte == b'?').unwrap_or(target.len());
    let (path, query) = target.split_at(end);
    if path == b"*" {
        return Some(target.to_vec());
    }
    let plain = unescaped(path)?;
    let (mut kept, mut is_folder) = (Vec::new(), false);
    for segment in plain.split(|byte| *byte == b'/') {
        is_folder = matches!(segment, b"" | b"." | b"..");
        match segment {
            b"" | b"." => {}
            b".." => drop(kept.pop()),
            _ if [&b".;"[..], b"..;", b".%3B", b"..%3B"].iter().any(|odd| segment.starts_with(odd)) => return None,
            _ => kept.push(segment),
        }
    }
    let mut spelled: Vec<u8> = kept.iter().flat_map(|segment| [b"/", *segment].concat()).collect();
    if is_folder || kept.is_empty() {
        spelled.push(b'/');
    }
    Some([&spelled, query].concat())
}

/// A path whose escapes are undone where they may be, and in capitals where not.
fn unescaped(path: &[u8]) -> Option<Vec<u8>> {
    let (mut plain, mut at) = (Vec::new(), 0);
    while let Some(byte) = path.get(at) {
        if *byte != b'%' {
            plain.push(Some(*byte).filter(|byte| !b"\"\\".contains(byte))?);
            at += 1;
            continue;
        }
        let digit = |at: usize| path.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        let byte = u8::try_from(digit(at + 1)? * 16 + digit(at + 2)?).ok()?;
        match byte {
            b'/' | b'\\' | 0 => return None,
            _ if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => plain.push(byte),
            _ => plain.extend(format!("%{byte:02X}").bytes()),
        }
        at += 3;
    }
    Some(plain)
}

fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

fn is_target(method: &[u8], target: &[u8]) -> bool {
    let path_at = match target {
        b"*" => return method == b"OPTIONS",
        [b'/', ..] => 0,
        _ => {
            let lower = target.to_ascii_lowercase();
            let scheme = match &lower[..] {
                [b'h', b't', b't', b'p', b':', b'/', b'/', ..] => "http://",
                [b'h', b't', b't', b'p', b's', b':', b'/', b'/', ..] => "https://",
                _ => return false,
            };
            let rest = &target[scheme.len()..];
            let end = rest.iter().position(|byte| b"/?".contains(byte)).unwrap_or(rest.len());
            if !is_authority(&rest[..end]) {
                return false;
            }
            scheme.len() + end
        }
    };
    let (path, query) = match target[path_at..].iter().position(|byte| *byte == b'?') {
        Some(at) => (&target[path_at..path_at + at], &target[path_at + at + 1..]),
        None => (&target[path_at..], &b""[..]),
    };
    let in_path = |byte: &u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@%[]^|{}\"\\".contains(byte);
    let in_query = |byte: &u8| (in_path(byte) && *byte != b'"') || b"?`".contains(byte);
    path.iter().all(in_path) && query.iter().all(in_query)
}

fn has_host(fields: &[Field<'_>], is_11: bool) -> bool {
    match all(fields, "host")[..] {
        [] => !is_11,
        [host] => is_authority(host),
        _ => false,
    }
}

/// `uri-host [ ":" port ]`, without userinfo and with a host.
fn is_authority(authority: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(authority) else { return false };
    let (host, port) = match text.rfind(':').filter(|colon| !text[*colon..].contains(']')) {
        Some(colon) => (&text[..colon], &text[colon + 1..]),
        None => (text, ""),
    };
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit()) && (port.is_empty() || port.parse::<u16>().is_ok());
    let is_address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match is_address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let reg_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(&byte);
            !host.is_empty() && host.bytes().all(reg_name)
        }
    };
    is_port && is_host
}

fn closes(fields: &[Field<'_>], is_11: bool) -> bool {
    let named: Vec<_> = all(fields, "connection").iter().flat_map(|value| tokens(value)).collect();
    let has = |token: &[u8]| named.iter().any(|found| found == token);
    has(b"close") || (!is_11 && !has(b"keep-alive"))
}

/// A body and what follows it.
type Body<'a> = (Vec<u8>, &'a [u8]);

/// The body and what follows it; `None` where it goes on.
fn body<'a>(fields: &[Field<'_>], is_11: bool, rest: &'a [u8]) -> Result<Option<Body<'a>>, Invalid> {
    let (lengths, codings) = (all(fields, "content-length"), all(fields, "transfer-encoding"));
    match (&lengths[..], &codings[..]) {
        ([], []) => Ok(Some((Vec::new(), rest))),
        ([length], []) => {
            let digits = std::str::from_utf8(length).map_err(|_| Invalid)?;
            let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            let length: i64 = digits.parse().ok().filter(|_| is_number).ok_or(Invalid)?;
            let length = usize::try_from(length).map_err(|_| Invalid)?;
            Ok(rest.split_at_checked(length).map(|(body, rest)| (body.to_vec(), rest)))
        }
        ([], [coding]) if is_11 && coding.eq_ignore_ascii_case(b"chunked") => chunks(rest),
        _ => Err(Invalid),
    }
}

fn chunks(mut rest: &[u8]) -> Result<Option<Body<'_>>, Invalid> {
    let mut body = Vec::new();
    loop {
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
        let line = rest[..end].strip_suffix(b"\r").ok_or(Invalid)?;
        rest = &rest[end + 1..];
        let digits = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
        let number = std::str::from_utf8(&line[..digits]).map_err(|_| Invalid)?;
        let size = i64::from_str_radix(number, 16).map_err(|_| Invalid)?;
        if !extensions(&line[digits..]) {
            return Err(Invalid);
        }
        if size == 0 {
            return Ok(trailers(rest)?.map(|rest| (body, rest)));
        }
        let size = usize::try_from(size).map_err(|_| Invalid)?;
        let Some((chunk, after)) = rest.split_at_checked(size) else { return Ok(None) };
        body.extend_from_slice(chunk);
        match after {
            [b'\r', b'\n', after @ ..] => rest = after,
            [] | [b'\r'] => return Ok(None),
            _ => return Err(Invalid),
        }
    }
}

/// `*( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )`, a letter at a time.
fn extensions(text: &[u8]) -> bool {
    let mut at = 0;
    let space = |at: &mut usize| {
        while matches!(text.get(*at), Some(b' ' | b'\t')) {
            *at += 1
        }
    };
    let token = |at: &mut usize| {
        let from = *at;
        while text.get(*at).is_some_and(|byte| is_token(&[*byte])) {
            *at += 1;
        }
        *at > from
    };
    while at < text.len() {
        space(&mut at);
        if text.get(at) != Some(&b';') {
            return false;
        }
        at += 1;
        space(&mut at);
        if !token(&mut at) {
            return false;
        }
        let before = at;
        space(&mut at);
        if text.get(at) != Some(&b'=') {
            at = before;
            continue;
        }
        at += 1;
        space(&mut at);
        if text.get(at) != Some(&b'"') {
            if !token(&mut at) {
                return false;
            }
            continue;
        }
        at += 1;
        loop {
            match text.get(at) {
                Some(b'"') => break at += 1,
                Some(b'\\') if text.get(at + 1).is_some_and(|byte| matches!(byte, b'\t' | b' '..=b'~' | 0x80..)) => {
                    at += 2
                }
                Some(b'\t' | b' '..=b'[' | b']'..=b'~' | 0x80..) => at += 1,
                _ => return false,
            }
        }
    }
    true
}

/// What follows the trailer section.
fn trailers(rest: &[u8]) -> Result<Option<&[u8]>, Invalid> {
    if let Some(rest) = rest.strip_prefix(b"\r\n") {
        return Ok(Some(rest));
    }
    let Some(end) = find(rest, b"\r\n\r\n") else { return Ok(None) };
    split(&rest[..end], b"\r\n").into_iter().try_for_each(|line| field(line).map(drop))?;
    Ok(Some(&rest[end + 4..]))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn split<'a>(mut bytes: &'a [u8], by: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    while let Some(at) = find(bytes, by) {
        parts.push(&bytes[..at]);
        bytes = &bytes[at + by.len()..];
    }
    parts.push(bytes);
    parts
}
