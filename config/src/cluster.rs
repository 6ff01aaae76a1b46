//! Clusters: named sets of endpoints.
//! Resolving host names and picking an endpoint is the proxy's work.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use serde_json::Value;

use crate::scalar::{Scalar, Unfit, Word};
use crate::tls::ClientTls;

/// The position of a [`Cluster`] in [`Config::clusters`](crate::Config::clusters).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterId(pub usize);

/// A named set of endpoints that answer alike; they are taken in turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// The name written; for a target that is a URL, its host and port.
    pub name: String,
    /// At least one, in the order written.
    pub endpoints: Vec<Endpoint>,
    /// What is spoken with them.
    pub protocol: Protocol,
    /// How TLS is spoken with them; `None`: it is not.
    pub tls: Option<ClientTls>,
    /// The longest wait for a new connection to an endpoint.
    pub connect_timeout: Duration,
    /// How long an unused connection to an endpoint is kept.
    pub upstream_idle_timeout: Duration,
    /// The most connections to one endpoint.
    pub upstream_connections: usize,
    /// The most exchanges that wait for a connection.
    pub pending: usize,
}

/// One address of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// A DNS name in lower case, or an IP address without brackets.
    pub host: String,
    /// The port, never 0.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    /// The host and the port, as in a URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl Scalar for Endpoint {
    const EXPECTED: &'static str = "a host with its port, such as 10.0.0.1:8080";

    fn parse(text: &str) -> Result<Endpoint, Unfit> {
        if text.starts_with("unix:") {
            return Err(Unfit::not_supported());
        }
        let unfit = || Unfit::value("is not a host with its port; write it as in 10.0.0.1:8080 or app.local:8080");
        let (host, port) = text.rsplit_once(':').ok_or_else(unfit)?;
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|&port: &u16| digits && port != 0).ok_or_else(unfit)?;
        Ok(Endpoint { host: host_name(host).ok_or_else(unfit)?, port })
    }

    fn spell(&self) -> Value {
        self.to_string().into()
    }
}

/// A host as it stands in a URL: a DNS name, an IPv4 address, or an IPv6 address in brackets,
/// which are taken off.
pub(crate) fn host_name(text: &str) -> Option<String> {
    if let Some(inside) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inside.parse::<Ipv6Addr>().ok().map(|address| address.to_string());
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    // A name whose last label is a number can only be an IPv4 address, perhaps a wrong one.
    let last = name.rsplit('.').next().unwrap_or_default();
    let fits = match last.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse::<Ipv4Addr>().is_ok(),
        false => name.len() <= 253 && name.split('.').all(label),
    };
    fits.then(|| text.to_ascii_lowercase())
}

/// How an endpoint of a cluster is picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pick {
    RoundRobin,
}

impl Word for Pick {
    const WORDS: &'static [(&'static str, Pick)] = &[("round_robin", Pick::RoundRobin)];
    const LATER: &'static [&'static str] = &["least_request", "random", "weighted", "ring_hash", "maglev"];
    const EXPECTED: &'static str = "\"round_robin\"";
}

/// What is spoken with the endpoints of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2: from the first byte, or as TLS agrees on it.
    H2,
}

impl Word for Protocol {
    const WORDS: &'static [(&'static str, Protocol)] = &[("http1", Protocol::Http1), ("h2", Protocol::H2)];
    const EXPECTED: &'static str = "\"http1\" or \"h2\"";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_a_port_and_loses_its_brackets() {
        for (text, host, port) in [
            ("10.0.0.1:8080", "10.0.0.1", 8080),
            ("App.Local:80", "app.local", 80),
            ("[2001:DB8::1]:80", "2001:db8::1", 80),
        ] {
            let endpoint = Endpoint::parse(text).unwrap();
            assert_eq!((endpoint.host.as_str(), endpoint.port), (host, port));
            assert_eq!(Endpoint::parse(&endpoint.to_string()), Ok(endpoint));
        }
    }

    #[test]
    fn what_is_no_host_with_a_port_is_refused() {
        for text in [
            "",
            "app",
            "app:",
            ":80",
            "app:0",
            "app:65536",
            "app:+80",
            "10.0.0.256:80",
            "::1:80",
            "[::1]",
            "a b:80",
            "http://app:80",
            "app:80/x",
            "a..b:80",
            "user@app:80",
            "[app]:80",
        ] {
            assert!(Endpoint::parse(text).is_err(), "{text}");
        }
    }
}
