//! Whether a certificate has one of the names that were wanted.

use std::net::IpAddr;

use tollgate_config::PeerName;

use crate::tls::certificate::Certificate;

/// True when the certificate has one of these names.
pub(super) fn has_one(certificate: &Certificate, wanted: &[PeerName]) -> bool {
    wanted.iter().any(|name| has(certificate, name))
}

fn has(certificate: &Certificate, name: &PeerName) -> bool {
    let Certificate { dns, uris, addresses, .. } = certificate;
    match name {
        PeerName::Host(host) => match host.parse::<IpAddr>() {
            Ok(address) => addresses.contains(&address),
            Err(_) => dns.iter().any(|found| stands_for(found, host)),
        },
        PeerName::Below(domain) => dns.iter().any(|found| parent(found).is_some_and(|found| is_same(found, domain))),
        PeerName::Uri(uri) => uris.contains(uri),
        PeerName::UrisBelow(start) => uris.iter().any(|found| found.strip_prefix(&**start).is_some_and(is_plain)),
    }
}

/// RFC 6125 §6.4.3: a star is the whole first label, and stands for one.
fn stands_for(found: &str, host: &str) -> bool {
    match found.strip_prefix("*.") {
        Some(domain) => parent(host).is_some_and(|parent| is_same(parent, domain)),
        None => is_same(found, host),
    }
}

fn is_same(one: &str, other: &str) -> bool {
    one.strip_suffix('.').unwrap_or(one).eq_ignore_ascii_case(other)
}

/// A name without its first label.
fn parent(name: &str) -> Option<&str> {
    name.split_once('.').filter(|(label, _)| !label.is_empty()).map(|(_, parent)| parent)
}

/// True for the rest of a path that leads down: to nobody below `/a/` belongs `/a/../b`.
fn is_plain(rest: &str) -> bool {
    !rest.is_empty() && rest.split('/').all(|segment| !matches!(segment, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn certificate(dns: &[&str], uris: &[&str]) -> Certificate {
        Certificate {
            subject: String::new(),
            dns: dns.iter().map(ToString::to_string).collect(),
            uris: uris.iter().map(ToString::to_string).collect(),
            addresses: vec![IpAddr::from([10, 0, 0, 1])],
            not_before: UNIX_EPOCH,
            not_after: UNIX_EPOCH,
        }
    }

    #[test]
    fn a_host_is_found_by_its_name_its_wildcard_or_its_address() {
        let host = |dns: &[&str], host: &str| has(&certificate(dns, &[]), &PeerName::Host(host.to_owned()));

        assert!(host(&["b.test", "A.test"], "a.test") && host(&["*.a.test"], "x.a.test") && host(&[], "10.0.0.1"));
        for (dns, name) in
            [("*.a.test", "a.test"), ("*.a.test", "x.y.a.test"), ("a.test", "b.test"), ("*.a.test", ".a.test")]
        {
            assert!(!host(&[dns], name), "{dns} {name}");
        }
        assert!(!host(&["10.0.0.2"], "10.0.0.2"));
    }

    #[test]
    fn a_domain_has_names_of_one_label_more() {
        let below = |dns: &str| has(&certificate(&[dns], &[]), &PeerName::Below("a.test".to_owned()));

        assert!(below("x.a.test") && below("X.A.TEST") && below("*.a.test"));
        assert!(!below("a.test") && !below("x.y.a.test") && !below("xa.test") && !below(".a.test"));
    }

    #[test]
    fn a_spiffe_id_matches_whole_or_below_a_prefix() {
        let has = |name: PeerName, uri: &str| has(&certificate(&[], &[uri]), &name);
        let exact = || PeerName::Uri("spiffe://a.org/api".to_owned());
        let below = || PeerName::UrisBelow("spiffe://a.org/ns/".to_owned());

        assert!(has(exact(), "spiffe://a.org/api") && has(below(), "spiffe://a.org/ns/x/sa/y"));
        for uri in ["spiffe://a.org/API", "spiffe://a.org/api/x", "spiffe://b.org/api"] {
            assert!(!has(exact(), uri), "{uri}");
        }
        for uri in ["spiffe://a.org/ns/", "spiffe://a.org/nsx", "spiffe://a.org/ns/../x", "spiffe://b.org/ns/x"] {
            assert!(!has(below(), uri), "{uri}");
        }
    }
}
