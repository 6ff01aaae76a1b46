//! What of a request decides which endpoint it goes to, in clusters that hash.

use std::net::IpAddr;
use std::time::Duration;

use http::header::{COOKIE, HeaderMap, HeaderValue};
use tollgate_config::{HashKey, Pick};

use crate::upstream::balance::hash;
use crate::upstream::cluster::Cluster;

/// Where a request belongs.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Affinity {
    /// Absent where nothing of the request says it.
    pub hash: Option<u64>,
    /// A cookie for the client to keep, so that its next request goes to the same endpoint.
    pub cookie: Option<HeaderValue>,
}

impl Cluster {
    /// Where a request of `client` belongs; nowhere in clusters that do not hash.
    pub fn affinity(&self, fields: &HeaderMap, client: IpAddr) -> Option<Box<Affinity>> {
        match &self.fleet.config.pick {
            Pick::RingHash(key) | Pick::Maglev(key) => Some(Box::new(affinity(key, fields, client, || self.random()))),
            Pick::RoundRobin | Pick::LeastRequest | Pick::Random => None,
        }
    }
}

fn affinity(key: &HashKey, fields: &HeaderMap, client: IpAddr, random: impl FnOnce() -> u64) -> Affinity {
    let by = |bytes: &[u8]| Affinity { hash: Some(hash::of(bytes)), cookie: None };
    match key {
        HashKey::Source => match client.to_canonical() {
            IpAddr::V4(address) => by(&address.octets()),
            IpAddr::V6(address) => by(&address.octets()),
        },
        HashKey::Header(name) => fields.get(name).map(|value| by(value.as_bytes())).unwrap_or_default(),
        HashKey::Cookie { name, ttl } => match (cookie(fields, name), ttl) {
            (Some(value), _) => by(value),
            (None, Some(ttl)) => fresh(name, *ttl, random()),
            (None, None) => Affinity::default(),
        },
    }
}

/// The value of a cookie (RFC 6265 §4.2.1); the first one counts.
fn cookie<'a>(fields: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let pairs = fields.get_all(COOKIE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    let mut named = pairs.filter_map(|pair| {
        let pair = pair.trim_ascii();
        let at = pair.iter().position(|byte| *byte == b'=')?;
        (&pair[..at] == name.as_bytes()).then(|| &pair[at + 1..])
    });
    named.next()
}

/// A cookie of our own, which leads where its value does.
fn fresh(name: &str, ttl: Duration, random: u64) -> Affinity {
    let value = format!("{random:016x}");
    let text = format!("{name}={value}; Max-Age={}; Path=/; HttpOnly", ttl.as_secs().max(1));
    let cookie = HeaderValue::from_str(&text).ok();
    Affinity { hash: Some(hash::of(value.as_bytes())), cookie }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn of(key: &HashKey, fields: &[(&'static str, &str)]) -> Affinity {
        let fields = fields
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
        affinity(key, &fields.collect(), CLIENT, || 7)
    }

    #[test]
    fn a_client_is_the_same_by_its_address_in_either_form() {
        let mapped = "::ffff:127.0.0.1".parse().unwrap();

        let own = affinity(&HashKey::Source, &HeaderMap::new(), mapped, || 7);

        assert_eq!(own, of(&HashKey::Source, &[]));
        assert!(own.hash.is_some());
    }

    #[test]
    fn a_header_decides_by_its_value_and_nothing_without_it() {
        let key = HashKey::Header("x-user".to_owned());

        assert_eq!(of(&key, &[("x-user", "a")]).hash, Some(hash::of(b"a")));
        assert_eq!(of(&key, &[("x-other", "a")]), Affinity::default());
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let key = HashKey::Cookie { name: "who".to_owned(), ttl: None };

        for text in ["who=a", "x=1; who=a", "x=1;who=a; y=2", "xwho=b; who=a; who=c"] {
            assert_eq!(of(&key, &[("cookie", text)]).hash, Some(hash::of(b"a")), "{text}");
        }
        assert_eq!(of(&key, &[("cookie", "whom=a; who")]), Affinity::default());
    }

    #[test]
    fn a_client_without_the_cookie_is_given_one_that_leads_to_the_same_place() {
        let key = HashKey::Cookie { name: "who".to_owned(), ttl: Some(Duration::from_secs(60)) };

        let first = of(&key, &[]);

        let cookie = first.cookie.unwrap().to_str().unwrap().to_owned();
        let (pair, rest) = cookie.split_once("; ").unwrap();
        assert_eq!(rest, "Max-Age=60; Path=/; HttpOnly");
        assert_eq!(of(&key, &[("cookie", pair)]), Affinity { hash: first.hash, cookie: None });
    }
}
