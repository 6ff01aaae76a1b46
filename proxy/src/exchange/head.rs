//! The heads of an exchange as filters see and change them: pseudo-headers first, everything checked like the wire.
//!
//! Host is shown as `:authority`; framing fields belong to the proxy alone and can be removed (which changes nothing: framing
//! is derived from the body) but never set.

use http::header::{self, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, StatusCode};
use tollgate_abi::{HeaderMap, Refusal};

/// How many fields a filter may grow a map to, beyond what the wire allows.
const EXTRA_FIELDS: usize = 64;
/// The most bytes of names and values that a filter may grow a map to: as many as it can hand over in one list. Without it
/// the fields of one message come to 64 KiB each.
const BYTES: usize = 1024 * 1024;

/// Fields that only the proxy sets.
static FRAMING: [HeaderName; 10] = [
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::HOST,
    header::PROXY_AUTHENTICATE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Plain fields with the checks that every map shares; trailers are nothing else.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    /// The fields themselves.
    pub map: http::HeaderMap,
    /// False once the message was sent on.
    pub writable: bool,
    /// Most fields the map may hold.
    pub limit: usize,
    /// Bytes that may certainly be added before all are counted again.
    room: usize,
}

impl Fields {
    /// Fields as they came from the wire, where at most `limit` were allowed.
    pub fn new(map: http::HeaderMap, limit: usize) -> Self {
        Self::bounded(map, limit.saturating_add(EXTRA_FIELDS))
    }

    /// Fields that may become as many as `limit`.
    pub fn bounded(map: http::HeaderMap, limit: usize) -> Self {
        Self { map, writable: true, limit, room: 0 }
    }

    fn check(&self, name: &[u8], value: &[u8]) -> Result<(HeaderName, HeaderValue), Refusal> {
        if !self.writable {
            return Err(Refusal::ReadOnly);
        }
        check_field(name, value)
    }

    /// Fails where so many more bytes would be too many. They are all counted only once the room of the last count is used.
    fn admit(&mut self, more: usize) -> Result<(), Refusal> {
        if more > self.room {
            let bytes: usize = self.map.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
            self.room = BYTES.saturating_sub(bytes);
        }
        let left = self.room.checked_sub(more).ok_or(Refusal::Limit("bytes of the fields of one message"))?;
        self.room = left;
        Ok(())
    }
}

/// What every field that a filter makes must be, wherever it goes.
pub fn check_field(name: &[u8], value: &[u8]) -> Result<(HeaderName, HeaderValue), Refusal> {
    let name = HeaderName::from_bytes(name).map_err(|_| refused_name(name))?;
    if FRAMING.contains(&name) {
        return Err(refused_name(name.as_str().as_bytes()));
    }
    let value = HeaderValue::from_bytes(value).map_err(|_| refused_value(name.as_str().as_bytes()))?;
    Ok((name, value))
}

/// True for a field that only the proxy sets.
pub fn is_framing(name: &[u8]) -> bool {
    FRAMING.iter().any(|known| known.as_str().as_bytes().eq_ignore_ascii_case(name))
}

impl HeaderMap for Fields {
    fn len(&self) -> usize {
        self.map.len()
    }

    fn for_each(&self, visit: &mut dyn FnMut(&[u8], &[u8])) {
        self.map.iter().for_each(|(name, value)| visit(name.as_str().as_bytes(), value.as_bytes()));
    }

    fn first(&self, name: &[u8]) -> Option<&[u8]> {
        let name = std::str::from_utf8(name).ok()?;
        self.map.get(name).map(HeaderValue::as_bytes)
    }

    fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        let (name, value) = self.check(name, value)?;
        if self.map.len() >= self.limit {
            return Err(Refusal::Limit("fields of one message"));
        }
        self.admit(name.as_str().len() + value.len())?;
        self.map.try_append(name, value).map(drop).map_err(|_| Refusal::Limit("fields of one message"))
    }

    fn replace(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        let (name, value) = self.check(name, value)?;
        if self.map.len() >= self.limit && !self.map.contains_key(&name) {
            return Err(Refusal::Limit("fields of one message"));
        }
        self.admit(name.as_str().len() + value.len())?;
        self.map.try_insert(name, value).map(drop).map_err(|_| Refusal::Limit("fields of one message"))
    }

    fn remove(&mut self, name: &[u8]) -> Result<(), Refusal> {
        if !self.writable {
            return Err(Refusal::ReadOnly);
        }
        if let Ok(name) = std::str::from_utf8(name) {
            self.map.remove(name);
        }
        Ok(())
    }

    /// Framing fields in the list are left out rather than refused: a guest that reads all pairs and writes them
    /// back means no harm.
    fn replace_all(&mut self, fields: &[(&[u8], &[u8])]) -> Result<(), Refusal> {
        let mut fresh = Self { map: http::HeaderMap::with_capacity(fields.len()), room: 0, ..*self };
        for (name, value) in fields {
            if !is_framing(name) {
                fresh.add(name, value)?;
            }
        }
        *self = fresh;
        Ok(())
    }
}

/// A request's head.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// `:method`.
    pub method: Method,
    /// `:scheme`.
    pub scheme: Scheme,
    /// `:authority`, what HTTP/1.1 sends as Host.
    pub authority: Authority,
    /// `:path`, query included.
    pub path: PathAndQuery,
    /// All other fields, without Host and hop-by-hop fields.
    pub fields: Fields,
    /// What filters changed.
    pub edited: Edited,
}

/// What filters changed of a request's head since its route was chosen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Edited {
    /// Method, authority or path, or a filter wants the route chosen again whatever it changed.
    pub target: bool,
    /// Some other field.
    pub fields: bool,
}

/// The value of one pseudo-header, parsed.
enum Pseudo {
    Method(Method),
    Scheme(Scheme),
    Authority(Authority),
    Path(PathAndQuery),
}

impl Pseudo {
    fn parse(name: &[u8], value: &[u8]) -> Result<Self, Refusal> {
        let bad = || refused_value(name);
        match name {
            // CONNECT would make a tunnel of the exchange, as it would from a client.
            b":method" => match Method::from_bytes(value) {
                Ok(method) if method != Method::CONNECT => Ok(Self::Method(method)),
                _ => Err(bad()),
            },
            b":scheme" => match value {
                b"http" => Ok(Self::Scheme(Scheme::HTTP)),
                b"https" => Ok(Self::Scheme(Scheme::HTTPS)),
                _ => Err(bad()),
            },
            b":authority" => match Authority::try_from(value) {
                Ok(authority) if !value.contains(&b'@') => Ok(Self::Authority(authority)),
                _ => Err(bad()),
            },
            b":path" => match PathAndQuery::try_from(value) {
                Ok(path) if value.first() == Some(&b'/') => Ok(Self::Path(path)),
                _ => Err(bad()),
            },
            _ => Err(refused_name(name)),
        }
    }
}

impl RequestHead {
    /// RFC 9113 §8.5: CONNECT has neither `:path` nor `:scheme`.
    fn has_path(&self) -> bool {
        self.method != Method::CONNECT
    }

    fn set_pseudo(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        if !self.fields.writable {
            return Err(Refusal::ReadOnly);
        }
        if !self.has_path() {
            match (name, value) {
                (b":method", b"CONNECT") => return Ok(()),
                (b":authority", _) => {}
                _ => return Err(refused_name(name)),
            }
        }
        self.edited.target |= match Pseudo::parse(name, value)? {
            Pseudo::Method(method) => std::mem::replace(&mut self.method, method) != self.method,
            Pseudo::Authority(authority) => std::mem::replace(&mut self.authority, authority) != self.authority,
            Pseudo::Path(path) => std::mem::replace(&mut self.path, path) != self.path,
            // No route asks for it.
            Pseudo::Scheme(scheme) => {
                self.scheme = scheme;
                false
            }
        };
        Ok(())
    }

    fn edit(&mut self, edit: impl FnOnce(&mut Fields) -> Result<(), Refusal>) -> Result<(), Refusal> {
        edit(&mut self.fields)?;
        self.edited.fields = true;
        Ok(())
    }
}

impl HeaderMap for RequestHead {
    fn len(&self) -> usize {
        2 + 2 * usize::from(self.has_path()) + self.fields.len()
    }

    fn for_each(&self, visit: &mut dyn FnMut(&[u8], &[u8])) {
        visit(b":authority", self.authority.as_str().as_bytes());
        if self.has_path() {
            visit(b":path", self.path.as_str().as_bytes());
        }
        visit(b":method", self.method.as_str().as_bytes());
        if self.has_path() {
            visit(b":scheme", self.scheme.as_str().as_bytes());
        }
        self.fields.for_each(visit);
    }

    fn first(&self, name: &[u8]) -> Option<&[u8]> {
        match name {
            b":authority" => Some(self.authority.as_str().as_bytes()),
            b":path" => self.has_path().then(|| self.path.as_str().as_bytes()),
            b":method" => Some(self.method.as_str().as_bytes()),
            b":scheme" => self.has_path().then(|| self.scheme.as_str().as_bytes()),
            _ if name.eq_ignore_ascii_case(b"host") => Some(self.authority.as_str().as_bytes()),
            _ => self.fields.first(name),
        }
    }

    fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        if name.first() == Some(&b':') {
            self.set_pseudo(name, value)
        } else {
            self.edit(|fields| fields.add(name, value))
        }
    }

    fn replace(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        if name.first() == Some(&b':') {
            self.set_pseudo(name, value)
        } else {
            self.edit(|fields| fields.replace(name, value))
        }
    }

    /// A request without one of its pseudo-headers cannot be sent, so they can be changed and never removed.
    fn remove(&mut self, name: &[u8]) -> Result<(), Refusal> {
        if name.first() == Some(&b':') { Err(refused_name(name)) } else { self.edit(|fields| fields.remove(name)) }
    }

    /// The list must name `:method`, `:authority` and, where there is one, `:path`; `:scheme` stays when absent.
    fn replace_all(&mut self, fields: &[(&[u8], &[u8])]) -> Result<(), Refusal> {
        let mut fresh = self.clone();
        let (pseudo, regular) = split_pseudo(fields);
        for required in [&b":method"[..], b":authority", b":path"] {
            let is_due = required != b":path" || self.has_path();
            if is_due && !pseudo.iter().any(|(name, _)| *name == required) {
                return Err(refused_name(required));
            }
        }
        for (name, value) in pseudo {
            fresh.set_pseudo(name, value)?;
        }
        fresh.edit(|fields| fields.replace_all(&regular))?;
        *self = fresh;
        Ok(())
    }
}

/// A response's head.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// `:status`.
    pub status: StatusCode,
    /// All other fields, without hop-by-hop fields.
    pub fields: Fields,
}

impl ResponseHead {
    /// A filter may answer 200–599: 1xx would be taken for an interim answer.
    fn set_status(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        if !self.fields.writable {
            return Err(Refusal::ReadOnly);
        }
        if name != b":status" {
            return Err(refused_name(name));
        }
        match StatusCode::from_bytes(value) {
            Ok(status) if (200..600).contains(&status.as_u16()) => self.status = status,
            _ => return Err(refused_value(name)),
        }
        Ok(())
    }
}

impl HeaderMap for ResponseHead {
    fn len(&self) -> usize {
        1 + self.fields.len()
    }

    fn for_each(&self, visit: &mut dyn FnMut(&[u8], &[u8])) {
        visit(b":status", self.status.as_str().as_bytes());
        self.fields.for_each(visit);
    }

    fn first(&self, name: &[u8]) -> Option<&[u8]> {
        if name == b":status" { Some(self.status.as_str().as_bytes()) } else { self.fields.first(name) }
    }

    fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        if name.first() == Some(&b':') { self.set_status(name, value) } else { self.fields.add(name, value) }
    }

    fn replace(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        if name.first() == Some(&b':') { self.set_status(name, value) } else { self.fields.replace(name, value) }
    }

    fn remove(&mut self, name: &[u8]) -> Result<(), Refusal> {
        if name.first() == Some(&b':') { Err(refused_name(name)) } else { self.fields.remove(name) }
    }

    fn replace_all(&mut self, fields: &[(&[u8], &[u8])]) -> Result<(), Refusal> {
        let mut fresh = self.clone();
        let (pseudo, regular) = split_pseudo(fields);
        for (name, value) in pseudo {
            fresh.set_status(name, value)?;
        }
        fresh.fields.replace_all(&regular)?;
        *self = fresh;
        Ok(())
    }
}

type Pairs<'a> = Vec<(&'a [u8], &'a [u8])>;

fn split_pseudo<'a>(fields: &[(&'a [u8], &'a [u8])]) -> (Pairs<'a>, Pairs<'a>) {
    fields.iter().copied().partition(|(name, _)| name.first() == Some(&b':'))
}

fn refused_name(name: &[u8]) -> Refusal {
    Refusal::Name(String::from_utf8_lossy(name).into_owned())
}

fn refused_value(name: &[u8]) -> Refusal {
    Refusal::Value(String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> RequestHead {
        let mut map = http::HeaderMap::new();
        map.insert("accept", HeaderValue::from_static("*/*"));
        RequestHead {
            method: Method::GET,
            scheme: Scheme::HTTP,
            authority: Authority::from_static("api.local"),
            path: PathAndQuery::from_static("/a?b=c"),
            fields: Fields::new(map, 2),
            edited: Edited::default(),
        }
    }

    fn pairs(map: &dyn HeaderMap) -> Vec<(String, String)> {
        let mut all = Vec::new();
        map.for_each(&mut |name, value| {
            all.push((String::from_utf8(name.to_vec()).unwrap(), String::from_utf8(value.to_vec()).unwrap()));
        });
        all
    }

    #[test]
    fn pseudo_headers_come_first_and_count() {
        let head = request();

        let all = pairs(&head);

        assert_eq!(all.len(), head.len());
        assert_eq!(all[0], (":authority".to_owned(), "api.local".to_owned()));
        assert_eq!(all[4], ("accept".to_owned(), "*/*".to_owned()));
        assert_eq!(head.first(b"Host"), Some(&b"api.local"[..]));
    }

    #[test]
    fn a_connect_has_an_authority_alone_and_stays_one() {
        let mut head = RequestHead { method: Method::CONNECT, ..request() };

        let all: Vec<_> = pairs(&head).into_iter().map(|(name, _)| name).collect();
        let shown: Vec<_> = pairs(&head);
        let back: Vec<_> = shown.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();

        assert_eq!((head.len(), &all[..]), (3, &[":authority", ":method", "accept"].map(str::to_owned)[..]));
        assert_eq!((head.first(b":path"), head.first(b":scheme")), (None, None));
        for (name, value) in [(&b":method"[..], &b"GET"[..]), (b":path", b"/"), (b":scheme", b"http")] {
            assert!(head.replace(name, value).is_err());
        }
        head.replace_all(&back).unwrap();
        assert!(!head.edited.target);
        head.replace(b":authority", b"other:1").unwrap();
        assert!(head.edited.target && head.method == Method::CONNECT);
    }

    #[test]
    fn what_the_wire_refuses_a_filter_cannot_set() {
        let mut head = request();

        for (name, value) in [
            (&b"x"[..], &b"a\r\nb: c"[..]),
            (b"x", b"a\nb"),
            (b"x", b"a\0b"),
            (b"x y", b"1"),
            (b"x:", b"1"),
            (b"", b"1"),
            (b":path", b"relative"),
            (b":path", b"/a b"),
            (b":path", b"/a\r\n"),
            (b":path", b""),
            (b":path", b"*"),
            (b":path", b"http://other/"),
            (b":method", b"G ET"),
            (b":method", b""),
            (b":method", b"CONNECT"),
            (b":authority", b""),
            (b":authority", b"a/b"),
            (b":authority", b"user@host"),
            (b":authority", b"a b"),
            (b":scheme", b"ftp"),
            (b":protocol", b"websocket"),
            (b"content-length", b"3"),
            (b"Transfer-Encoding", b"chunked"),
            (b"host", b"other"),
        ] {
            assert!(head.add(name, value).is_err(), "{:?}", String::from_utf8_lossy(name));
            assert!(head.replace(name, value).is_err(), "{:?}", String::from_utf8_lossy(name));
        }
        assert_eq!(pairs(&head), pairs(&request()));
    }

    #[test]
    fn bytes_above_ascii_pass_untouched() {
        let mut head = request();

        head.add(b"x", b"caf\xe9").unwrap();

        assert_eq!(head.first(b"X"), Some(&b"caf\xe9"[..]));
    }

    #[test]
    fn a_map_takes_fields_up_to_its_limit_and_none_past_it() {
        let mut fields = Fields::new(http::HeaderMap::new(), 1);

        for n in 0..=EXTRA_FIELDS {
            fields.add(format!("x-{n}").as_bytes(), b"1").unwrap();
        }

        assert_eq!(fields.add(b"one-more", b"1"), Err(Refusal::Limit("fields of one message")));
        assert_eq!(fields.replace(b"one-more", b"1"), Err(Refusal::Limit("fields of one message")));
        assert_eq!(fields.replace(b"x-0", b"2"), Ok(()));
    }

    #[test]
    fn a_map_takes_bytes_up_to_its_limit_and_none_past_it() {
        let mut fields = Fields::new(http::HeaderMap::new(), 100);
        let over = Err(Refusal::Limit("bytes of the fields of one message"));

        fields.add(b"ab", &vec![b'x'; BYTES - 4]).unwrap();

        assert_eq!(fields.add(b"c", b"dd"), over);
        assert_eq!(fields.replace(b"c", b"dd"), over);
        assert_eq!(fields.add(b"c", b"d"), Ok(()));
        assert_eq!(fields.add(b"c", b""), over);
    }

    #[test]
    fn bytes_that_are_replaced_or_removed_make_room() {
        let mut fields = Fields::new(http::HeaderMap::new(), 100);
        let large = vec![b'x'; BYTES / 2];

        for _ in 0..10 {
            fields.add(b"large", &large).unwrap();
            fields.remove(b"large").unwrap();
        }

        assert_eq!(fields.replace_all(&[(b"large", &large), (b"other", b"1")]), Ok(()));
        assert!(fields.replace_all(&[(b"large", &large), (b"other", &large)]).is_err());
        assert_eq!(fields.len(), 2);
    }

    #[test]
    fn replacing_all_fields_is_all_or_nothing() {
        let mut head = request();

        let refused =
            head.replace_all(&[(b":method", b"POST"), (b":authority", b"h"), (b":path", b"/"), (b"x", b"\n")]);
        let without_path = head.replace_all(&[(b":method", b"POST"), (b":authority", b"h")]);

        assert!(refused.is_err());
        assert!(without_path.is_err());
        assert_eq!(pairs(&head), pairs(&request()));
        head.replace_all(&[(b":method", b"POST"), (b":authority", b"h"), (b":path", b"/"), (b"content-length", b"9")])
            .unwrap();
        assert_eq!(head.method, Method::POST);
        assert_eq!(head.fields.len(), 0);
    }

    #[test]
    fn a_response_status_stays_between_200_and_599() {
        let mut head = ResponseHead { status: StatusCode::OK, fields: Fields::new(http::HeaderMap::new(), 10) };

        for status in [&b"101"[..], b"199", b"600", b"1000", b"abc", b"0", b"-1"] {
            assert!(head.replace(b":status", status).is_err());
        }
        head.replace(b":status", b"599").unwrap();

        assert_eq!(head.status.as_u16(), 599);
        assert!(head.remove(b":status").is_err());
    }

    #[test]
    fn a_sent_message_can_only_be_read() {
        let mut head = request();
        head.fields.writable = false;

        assert_eq!(head.add(b"x", b"1"), Err(Refusal::ReadOnly));
        assert_eq!(head.replace(b":path", b"/"), Err(Refusal::ReadOnly));
        assert_eq!(head.remove(b"accept"), Err(Refusal::ReadOnly));
        assert_eq!(head.first(b"accept"), Some(&b"*/*"[..]));
    }
}
