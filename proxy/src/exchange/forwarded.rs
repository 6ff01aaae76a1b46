//! How a request is marked on its way: who asked, for which host, under which number; and whose word counts for that.
//!
//! Peers that are not trusted are not believed: what they say of other clients is removed before anybody reads it. The loop
//! guard of callouts stays, because a false count hurts only its sender.

mod trust;

use std::fmt::Write;
use std::net::IpAddr;

use http::Version;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::Scheme;
use smallvec::SmallVec;
use tollgate_config::{ForwardFor, Http, Underscores};

use crate::error::Reason;
use crate::exchange::head::RequestHead;
use crate::exchange::hop::host::Host;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// The field that carries the number of a request.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The other end of a client's connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer<'a> {
    /// Its address.
    pub address: IpAddr,
    /// The same as a field has it.
    pub written: &'a HeaderValue,
    /// What it speaks.
    pub version: Version,
    /// The host that it asked for.
    pub host: &'a Host,
}

/// Marks a request before anything else looks at it. Answers the client's address where a trusted peer told it.
pub fn mark(head: &mut RequestHead, http: &Http, peer: Peer<'_>) -> Result<Option<IpAddr>, Reason> {
    let trust = &http.forwarded.trust;
    let trusted = trust::is_trusted(trust, peer.address);
    if !trusted {
        cleanse(&mut head.fields.map, http.underscores)?;
    }
    let client = if trusted { trust::client(trust, peer.address, &head.fields.map) } else { None };
    let said = if trusted { Said::All } else { Said::Nothing };
    if http.request_ids && !(trusted && head.fields.map.contains_key(REQUEST_ID)) {
        head.fields.map.insert(REQUEST_ID, fresh_id());
    }
    if http.forwarded.standard {
        tell_standard(head, peer, said);
    }
    if http.forwarded.fields != ForwardFor::Off {
        let replaced = (http.forwarded.fields == ForwardFor::Replace).then_some(client);
        tell(head, peer, said, replaced);
    }
    if http.via {
        head.fields.map.append(header::VIA, via(peer.version));
    }
    Ok(client)
}

/// What a request said when it came that is to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    All,
    Nothing,
}

/// RFC 9110 §7.6.3: the protocol in which a message came, and a name for who passed it on.
pub fn via(version: Version) -> HeaderValue {
    HeaderValue::from_static(match version {
        Version::HTTP_10 => "1.0 tollgate",
        Version::HTTP_2 => "2 tollgate",
        _ => "1.1 tollgate",
    })
}

/// Removes what only proxies say, and deals with names that other programs may take for them.
fn cleanse(fields: &mut HeaderMap, underscores: Underscores) -> Result<(), Reason> {
    let mut gone: SmallVec<[HeaderName; 4]> = SmallVec::new();
    for name in fields.keys() {
        let has_underscore = name.as_str().bytes().any(|byte| byte == b'_');
        match underscores {
            Underscores::Reject if has_underscore => return Err(Reason::BadRequest("underscore_in_field_name")),
            Underscores::Drop if has_underscore => gone.push(name.clone()),
            _ if is_of_proxies(name) => gone.push(name.clone()),
            _ => {}
        }
    }
    for name in gone {
        fields.remove(name);
    }
    Ok(())
}

fn is_of_proxies(name: &HeaderName) -> bool {
    name.as_str().starts_with("x-forwarded-") || *name == header::FORWARDED
}

/// The three fields that most programs read. `replaced` is there where the list is to be the client's address alone.
fn tell(head: &mut RequestHead, peer: Peer<'_>, said: Said, replaced: Option<Option<IpAddr>>) {
    let fields = &mut head.fields.map;
    let from = match replaced {
        Some(Some(client)) => written(client),
        None if said == Said::All => joined(fields, &FOR, peer.written),
        _ => peer.written.clone(),
    };
    fields.insert(FOR, from);
    if said == Said::Nothing || !fields.contains_key(PROTO) {
        fields.insert(PROTO, HeaderValue::from_static(if head.scheme == Scheme::HTTPS { "https" } else { "http" }));
    }
    if said == Said::Nothing || !fields.contains_key(HOST) {
        fields.extend(peer.host.field(&head.authority).map(|host| (HOST, host)));
    }
}

/// RFC 7239 §4: one element for this hop.
fn tell_standard(head: &mut RequestHead, peer: Peer<'_>, said: Said) {
    let mut element = String::with_capacity(64);
    let from = match peer.address {
        IpAddr::V4(address) => write!(element, "for={address}"),
        IpAddr::V6(address) => write!(element, "for=\"[{address}]\""),
    };
    // A string takes every write.
    let _ = from.and_then(|()| write!(element, ";host=\"{}\";proto={}", head.authority, head.scheme));
    let Ok(element) = HeaderValue::from_str(&element) else { return };
    let fields = &mut head.fields.map;
    let whole = if said == Said::All { joined(fields, &header::FORWARDED, &element) } else { element };
    fields.insert(header::FORWARDED, whole);
}

/// A list in one line: what a field said in however many, and one more.
fn joined(fields: &HeaderMap, name: &HeaderName, last: &HeaderValue) -> HeaderValue {
    let mut list = Vec::new();
    for value in fields.get_all(name).iter().filter(|value| !value.is_empty()) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(last.as_bytes());
    // Parts of values with a comma between are a value.
    HeaderValue::from_bytes(&list).unwrap_or_else(|_| last.clone())
}

/// An address as a field has it.
pub fn written(address: IpAddr) -> HeaderValue {
    // Digits, letters, dots and colons.
    HeaderValue::from_str(&address.to_string()).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

/// A fresh number for a request, in the form of a UUID of version four (RFC 9562 §5.4).
fn fresh_id() -> HeaderValue {
    let bits = random().to_be_bytes();
    let mut text = [b'-'; 36];
    let digit = |digit: u8| b"0123456789abcdef"[usize::from(digit & 15)];
    for (byte, place) in bits.into_iter().zip([0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34]) {
        [text[place], text[place + 1]] = [digit(byte >> 4), digit(byte)];
    }
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

/// 122 bits that nobody can guess, with the version and the variant of a UUID among them. They come from a keyed hash of a
/// counter, whose key the system draws once for each thread, so that a request asks the system for nothing.
fn random() -> u128 {
    use std::cell::Cell;
    use std::hash::{BuildHasher, RandomState};
    thread_local! {
        static KEY: RandomState = RandomState::new();
        static COUNT: Cell<u64> = const { Cell::new(0) };
    }
    let count = COUNT.with(|count| count.replace(count.get().wrapping_add(1)));
    let half = |side: u8| KEY.with(|key| u128::from(key.hash_one((count, side))));
    let bits = half(0) << 64 | half(1);
    bits & !(0xf << 76) & !(0b11 << 62) | 0x4 << 76 | 0b10 << 62
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::path::Path;

    use http::Method;
    use http::uri::{Authority, PathAndQuery};

    use super::*;
    use crate::exchange::head::{Edited, Fields};

    fn settings(said: &str) -> Http {
        let text = format!("listeners: [{{ listen: 127.0.0.1:0, routes: [], http: {said} }}]");
        tollgate_config::parse(&text, Path::new("t.yaml")).unwrap().listeners.remove(0).http
    }

    /// What a request with these fields from this peer is marked with.
    fn marked(said: &str, peer: &str, fields: &[(&str, &str)]) -> Result<(HeaderMap, Option<IpAddr>), Reason> {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let mut head = RequestHead {
            method: Method::GET,
            scheme: Scheme::HTTP,
            authority: Authority::from_static("api.local:81"),
            path: PathAndQuery::from_static("/"),
            fields: Fields::new(map, 100),
            edited: Edited::default(),
        };
        let address: IpAddr = peer.parse().unwrap();
        let peer = Peer { address, written: &written(address), version: Version::HTTP_11, host: &Host::default() };
        let client = mark(&mut head, &settings(said), peer)?;
        Ok((head.fields.map, client))
    }

    fn value<'a>(map: &'a HeaderMap, name: &str) -> Option<&'a str> {
        let mut values = map.get_all(name).iter();
        let value = values.next().map(|value| value.to_str().unwrap());
        assert!(values.next().is_none(), "{name} is there twice");
        value
    }

    const LIES: [(&str, &str); 5] = [
        ("x-forwarded-for", "10.9.9.9"),
        ("x-forwarded-host", "evil"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-client-cert", "mine"),
        ("forwarded", "for=10.9.9.9"),
    ];

    #[test]
    fn a_stranger_is_not_believed() {
        let (map, client) = marked("{}", "192.0.2.1", &LIES).unwrap();

        assert_eq!(value(&map, "x-forwarded-for"), Some("192.0.2.1"));
        assert_eq!(value(&map, "x-forwarded-host"), Some("api.local:81"));
        assert_eq!(value(&map, "x-forwarded-proto"), Some("http"));
        assert_eq!((value(&map, "x-forwarded-client-cert"), value(&map, "forwarded")), (None, None));
        assert_eq!((value(&map, "via"), client), (None, None));
    }

    #[test]
    fn a_stranger_is_not_believed_even_where_nothing_is_said_instead() {
        let (map, _) = marked("{ forwarded: { for: off }, request_id: off }", "192.0.2.1", &LIES).unwrap();

        assert!(map.is_empty(), "{map:?}");
    }

    #[test]
    fn what_a_trusted_peer_says_is_continued() {
        let said = "{ forwarded: { trusted: [10.0.0.0/8], standard: on }, via: on }";
        let before =
            [("x-forwarded-for", "192.0.2.1"), ("x-forwarded-for", "10.0.0.2"), ("x-forwarded-proto", "https")];
        let (map, client) = marked(said, "10.0.0.1", &before).unwrap();

        assert_eq!(value(&map, "x-forwarded-for"), Some("192.0.2.1, 10.0.0.2, 10.0.0.1"));
        assert_eq!(value(&map, "x-forwarded-proto"), Some("https"));
        assert_eq!(value(&map, "x-forwarded-host"), Some("api.local:81"));
        assert_eq!(value(&map, "forwarded"), Some("for=10.0.0.1;host=\"api.local:81\";proto=http"));
        assert_eq!(value(&map, "via"), Some("1.1 tollgate"));
        assert_eq!(client, Some("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn an_address_of_version_six_is_quoted_where_the_standard_wants_it() {
        let said = "{ forwarded: { hops: 1, standard: on } }";
        let (map, _) = marked(said, "2001:db8::1", &[("forwarded", "for=a"), ("forwarded", "for=b")]).unwrap();

        assert_eq!(value(&map, "x-forwarded-for"), Some("2001:db8::1"));
        let whole = "for=a, for=b, for=\"[2001:db8::1]\";host=\"api.local:81\";proto=http";
        assert_eq!(value(&map, "forwarded"), Some(whole));
    }

    #[test]
    fn a_replaced_list_is_the_client_as_far_as_peers_are_trusted() {
        let before = [("x-forwarded-for", "192.0.2.1")];
        let of = |said, peer| {
            let (map, _) = marked(said, peer, &before).unwrap();
            value(&map, "x-forwarded-for").map(str::to_owned)
        };

        assert_eq!(of("{ forwarded: { for: replace, hops: 1 } }", "10.0.0.1").as_deref(), Some("192.0.2.1"));
        assert_eq!(of("{ forwarded: { for: replace } }", "10.0.0.1").as_deref(), Some("10.0.0.1"));
    }

    #[test]
    fn names_with_underscores_are_refused_left_out_or_passed_and_pass_from_trusted_peers() {
        let field = [("x_forwarded_for", "10.9.9.9"), ("x-a", "1")];

        assert_eq!(marked("{}", "::1", &field).unwrap_err(), Reason::BadRequest("underscore_in_field_name"));
        let (dropped, _) = marked("{ underscores: drop }", "::1", &field).unwrap();
        let (allowed, _) = marked("{ underscores: allow }", "::1", &field).unwrap();
        let (trusted, _) = marked("{ forwarded: { trusted: ['::1'] } }", "::1", &field).unwrap();

        assert_eq!((value(&dropped, "x_forwarded_for"), value(&dropped, "x-a")), (None, Some("1")));
        assert_eq!(value(&allowed, "x_forwarded_for"), Some("10.9.9.9"));
        assert_eq!(value(&trusted, "x_forwarded_for"), Some("10.9.9.9"));
    }

    #[test]
    fn a_number_is_kept_from_a_trusted_peer_and_made_otherwise() {
        let number = |said, fields: &[(&str, &str)]| {
            let (map, _) = marked(said, "10.0.0.1", fields).unwrap();
            value(&map, "x-request-id").map(str::to_owned)
        };
        let theirs = [("x-request-id", "theirs")];

        assert_eq!(number("{ forwarded: { hops: 1 } }", &theirs).as_deref(), Some("theirs"));
        assert_eq!(number("{ request_id: off }", &theirs).as_deref(), Some("theirs"));
        assert_eq!(number("{ request_id: off }", &[]), None);
        for made in [number("{}", &theirs), number("{ forwarded: { hops: 1 } }", &[])] {
            assert_eq!(made.unwrap().len(), 36);
        }
    }

    #[test]
    fn numbers_are_uuids_of_version_four_and_none_comes_twice() {
        let numbers: HashSet<String> = (0..10_000).map(|_| fresh_id().to_str().unwrap().to_owned()).collect();

        assert_eq!(numbers.len(), 10_000);
        let form = regex::Regex::new("^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$").unwrap();
        assert!(numbers.iter().all(|number| form.is_match(number)), "{numbers:?}");
    }

    #[test]
    fn two_threads_draw_different_numbers() {
        let other = std::thread::spawn(|| (0..100).map(|_| random()).collect::<HashSet<_>>()).join().unwrap();

        assert!((0..100).all(|_| !other.contains(&random())));
    }
}
