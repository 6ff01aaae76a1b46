//! Who the client is, as far as the proxies in front are trusted.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use tollgate_config::Trust;

use super::FOR;

/// True for a peer that is believed about its clients.
pub(super) fn is_trusted(trust: &Trust, peer: IpAddr) -> bool {
    match trust {
        Trust::Nobody => false,
        Trust::Networks(networks) => networks.iter().any(|network| network.contains(peer)),
        Trust::Hops(_) => true,
    }
}

/// The client of a trusted peer: the last address of `x-forwarded-for` that no trusted proxy has, or the one that stands as
/// far from its end as there are proxies. `None` where the list does not go so far, or has something else there.
pub(super) fn client(trust: &Trust, peer: IpAddr, fields: &HeaderMap) -> Option<IpAddr> {
    let mut entries = entries(fields);
    match trust {
        Trust::Nobody => None,
        Trust::Hops(hops) => entries.nth(hops.checked_sub(1)?).and_then(address),
        Trust::Networks(_) => {
            let mut client = None;
            let mut last = peer;
            while is_trusted(trust, last) {
                let Some(before) = entries.next().and_then(address) else { break };
                client = Some(before);
                last = before;
            }
            client
        }
    }
}

/// The entries of the list, the last one first.
fn entries(fields: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = fields.get_all(FOR).iter().rev();
    lines
        .flat_map(|line| line.to_str().unwrap_or_default().rsplit(','))
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
}

/// An entry is an address; some programs put a port behind it.
fn address(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    let ported = || entry.parse().ok().map(|address: SocketAddr| address.ip());
    bare.parse().ok().or_else(ported).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn found(said: &str, peer: &str, lines: &[&str]) -> Option<String> {
        let text = format!("listeners: [{{ listen: 127.0.0.1:0, routes: [], http: {{ forwarded: {said} }} }}]");
        let config = tollgate_config::parse(&text, Path::new("t.yaml")).unwrap();
        let mut fields = HeaderMap::new();
        for line in lines {
            fields.append(FOR, line.parse().unwrap());
        }
        let client = client(&config.listeners[0].http.forwarded.trust, peer.parse().unwrap(), &fields);
        client.map(|client| client.to_string())
    }

    #[test]
    fn the_last_address_that_is_not_trusted_is_the_client() {
        let trusted = "{ trusted: [10.0.0.0/8] }";
        let client = |peer, lines: &[&str]| found(trusted, peer, lines);

        assert_eq!(client("10.0.0.1", &["6.6.6.6, 192.0.2.1, 10.0.0.2"]).as_deref(), Some("192.0.2.1"));
        assert_eq!(client("10.0.0.1", &["6.6.6.6", "192.0.2.1,10.0.0.2 ,"]).as_deref(), Some("192.0.2.1"));
        assert_eq!(client("10.0.0.1", &["10.0.0.3, 10.0.0.2"]).as_deref(), Some("10.0.0.3"));
        assert_eq!(client("10.0.0.1", &["192.0.2.1:4711"]).as_deref(), Some("192.0.2.1"));
        assert_eq!(client("10.0.0.1", &["[2001:db8::1]:80"]).as_deref(), Some("2001:db8::1"));
        assert_eq!(client("10.0.0.1", &["6.6.6.6, unknown"]), None);
        assert_eq!(client("10.0.0.1", &["6.6.6.6, unknown, 10.0.0.2"]).as_deref(), Some("10.0.0.2"));
        assert_eq!(client("10.0.0.1", &[]), None);
        assert_eq!(client("11.0.0.1", &["192.0.2.1"]), None);
    }

    #[test]
    fn hops_are_counted_from_the_end() {
        let client = |said, lines: &[&str]| found(said, "198.51.100.1", lines);

        assert_eq!(client("{ hops: 1 }", &["6.6.6.6, 192.0.2.1"]).as_deref(), Some("192.0.2.1"));
        assert_eq!(client("{ hops: 2 }", &["6.6.6.6, 192.0.2.1, 203.0.113.9"]).as_deref(), Some("192.0.2.1"));
        assert_eq!(client("{ hops: 2 }", &["192.0.2.1"]), None);
        assert_eq!(client("{ hops: 1 }", &["6.6.6.6, _hidden"]), None);
    }
}
