//! Clusters: named sets of endpoints.
//! Resolving host names and picking an endpoint is the proxy's work.

pub(crate) mod balance;
mod health;
pub(crate) mod retry;
pub(crate) mod status;

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use serde_json::Value;

use crate::dns::Dns;
use crate::interception::Original;
use crate::proxy_protocol::ProxyProtocol;
use crate::ratio::Ratio;
use crate::scalar::{Scalar, Unfit, Word};
use crate::tls::ClientTls;

pub use balance::{HashKey, Pick};
pub use health::{Health, Initial, Outliers, Probe};
pub use retry::{Retry, RetryOn};
pub use status::Statuses;

/// The position of a [`Cluster`] in [`Config::clusters`](crate::Config::clusters).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterId(pub usize);

/// A named set of endpoints that answer alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// The name written; for a target that is a URL, its host and port.
    pub name: String,
    /// In the order written; at least one, but for what connections were meant for.
    pub endpoints: Vec<Endpoint>,
    /// What is spoken with them.
    pub protocol: Protocol,
    /// How TLS is spoken with them; `None`: it is not.
    pub tls: Option<ClientTls>,
    /// Present where the destination that a client's connection was meant for takes the place of endpoints. What the client
    /// speaks is spoken there.
    pub original: Option<Original>,
    /// The mark of the sockets that connect to its endpoints.
    pub mark: Option<u32>,
    /// The header that connections begin with, each of which belongs to one client then; never with HTTP/2.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// How one is picked.
    pub pick: Pick,
    /// How the names among them are looked up.
    pub dns: Dns,
    /// What they are asked; `None`: nothing.
    pub health: Option<Health>,
    /// When one is left alone for a while; `None`: never.
    pub outliers: Option<Outliers>,
    /// Where fewer than this part of them is worth a request, all of them get some.
    pub panic: Ratio,
    /// How long one that comes, or comes back, gets fewer requests than its weight says.
    pub slow_start: Option<Duration>,
    /// After what requests are sent once more; `None`: after what costs nothing and harms nobody.
    pub retry: Option<Retry>,
    /// The most requests under way, in the whole process.
    pub requests: Option<usize>,
    /// The most repetitions under way, in the whole process; `None`: [`Retry::budget`] alone counts.
    pub retries: Option<usize>,
    /// The longest wait for a new connection to an endpoint.
    pub connect_timeout: Duration,
    /// The longest wait for one of the connections to an endpoint, when it may have no more of them.
    pub pool_timeout: Duration,
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
    /// How many requests it gets, compared with its neighbours; never 0.
    pub weight: u32,
    /// The lower the sooner it is used.
    pub priority: u32,
}

impl Endpoint {
    /// One like any other.
    pub(crate) fn new(host: String, port: u16) -> Endpoint {
        Endpoint { host, port, weight: 1, priority: 0 }
    }
}

/// The name of a cookie. RFC 6265, section 4.1.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CookieName(pub(crate) String);

impl Scalar for CookieName {
    const EXPECTED: &'static str = "the name of a cookie";

    fn parse(text: &str) -> Result<CookieName, Unfit> {
        match crate::route::is_token(text) {
            true => Ok(CookieName(text.to_owned())),
            false => Err(Unfit::value("is not the name of a cookie")),
        }
    }

    fn spell(&self) -> Value {
        self.0.as_str().into()
    }
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
        Ok(Endpoint::new(host_name(host).ok_or_else(unfit)?, port))
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

/// What is spoken with the endpoints of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
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
