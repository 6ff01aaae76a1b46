//! How names are looked up: whom one asks, which addresses count, and how long an answer is used.
//! Asking is the proxy's work.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use schemars::Schema;
use serde_json::Value;

use crate::scalar::{Bare, Scalar, Unfit, Word};

/// The port of name servers.
const PORT: u16 = 53;

/// How names are looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// Whom one asks.
    pub resolver: Resolver,
    /// Which of a name's addresses count.
    pub family: Family,
    /// The longest that an answer is used before the name is looked up again; an answer that says so is used for less.
    pub refresh: Duration,
    /// How long the last answer is used while a name cannot be looked up.
    pub keep: Duration,
}

impl Dns {
    /// [`Dns::keep`] when none is written.
    pub(crate) const KEEP: Duration = Duration::from_secs(300);
}

impl Default for Dns {
    fn default() -> Dns {
        let resolver = Resolver::default();
        Dns { refresh: resolver.word().refresh(), resolver, family: Family::default(), keep: Dns::KEEP }
    }
}

/// Whom one asks for the addresses of a name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Resolver {
    /// `/etc/hosts`, then the name servers of `/etc/resolv.conf`, with its search domains.
    #[default]
    Dns,
    /// `/etc/hosts`, then these name servers, for a name as it is written; never empty.
    Servers(Vec<SocketAddr>),
    /// The resolver of the system's library, which tells no time to live.
    System,
}

impl Resolver {
    fn word(&self) -> ResolverWord {
        match self {
            Resolver::Dns | Resolver::Servers(_) => ResolverWord::Dns,
            Resolver::System => ResolverWord::System,
        }
    }
}

/// The kind of a resolver as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum ResolverWord {
    #[default]
    Dns,
    System,
}

impl ResolverWord {
    /// [`Dns::refresh`] when none is written: long where answers say themselves how long they last.
    pub(crate) fn refresh(self) -> Duration {
        match self {
            ResolverWord::Dns => Duration::from_secs(300),
            ResolverWord::System => Duration::from_secs(5),
        }
    }
}

impl Word for ResolverWord {
    const WORDS: &'static [(&'static str, ResolverWord)] =
        &[("dns", ResolverWord::Dns), ("system", ResolverWord::System)];
    const EXPECTED: &'static str = "\"dns\" or \"system\"";
}

/// Which of a name's addresses count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Family {
    /// Those of IPv4; those of IPv6 where there are none.
    #[default]
    PreferIpv4,
    /// Those of IPv6; those of IPv4 where there are none.
    PreferIpv6,
    /// Those of IPv4 alone.
    Ipv4,
    /// Those of IPv6 alone.
    Ipv6,
    /// All of them.
    All,
}

impl Word for Family {
    const WORDS: &'static [(&'static str, Family)] = &[
        ("prefer_ipv4", Family::PreferIpv4),
        ("prefer_ipv6", Family::PreferIpv6),
        ("ipv4", Family::Ipv4),
        ("ipv6", Family::Ipv6),
        ("all", Family::All),
    ];
    const EXPECTED: &'static str = "\"prefer_ipv4\", \"prefer_ipv6\", \"ipv4\", \"ipv6\" or \"all\"";
}

/// How long an answer is used: resolvers are asked ten times a second at the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RefreshWait(pub(crate) Duration);

impl Scalar for RefreshWait {
    const EXPECTED: &'static str = Duration::EXPECTED;
    const BARE: Bare = Duration::BARE;

    fn parse(text: &str) -> Result<RefreshWait, Unfit> {
        match Duration::parse(text)? {
            wait if wait < Duration::from_millis(100) => Err(Unfit::value("is too short, 100ms are the least")),
            wait => Ok(RefreshWait(wait)),
        }
    }

    fn spell(&self) -> Value {
        self.0.spell()
    }

    fn schema() -> Schema {
        Duration::schema()
    }
}

/// A name server: names are not looked up to find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NameServer(pub(crate) SocketAddr);

impl Scalar for NameServer {
    const EXPECTED: &'static str = "the address of a name server, such as 10.0.0.10";

    fn parse(text: &str) -> Result<NameServer, Unfit> {
        if text.contains('%') {
            return Err(Unfit::value("has a zone, in which no name server can be asked; write an address without one"));
        }
        let unfit = || {
            Unfit::value("is not the address of a name server; write an IP address, as in 10.0.0.10 or [fd00::10]:5353")
        };
        let bare = text.parse().map(|ip: IpAddr| SocketAddr::new(ip, PORT));
        let address: SocketAddr = bare.or_else(|_| text.parse()).map_err(|_| unfit())?;
        match address.port() {
            0 => Err(unfit()),
            _ => Ok(NameServer(address)),
        }
    }

    fn spell(&self) -> Value {
        match self.0 {
            address if address.port() == PORT => address.ip().to_string().into(),
            address => address.to_string().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_server_has_the_usual_port_unless_it_is_written() {
        for (text, address, spelled) in [
            ("10.0.0.10", "10.0.0.10:53", "10.0.0.10"),
            ("10.0.0.10:53", "10.0.0.10:53", "10.0.0.10"),
            ("10.0.0.10:5353", "10.0.0.10:5353", "10.0.0.10:5353"),
            ("FD00::10", "[fd00::10]:53", "fd00::10"),
            ("[fd00::10]:5353", "[fd00::10]:5353", "[fd00::10]:5353"),
        ] {
            let server = NameServer::parse(text).unwrap();
            assert_eq!((server.0, server.spell()), (address.parse().unwrap(), spelled.into()), "{text}");
            assert_eq!(NameServer::parse(spelled), Ok(server));
        }
    }

    #[test]
    fn what_is_no_address_is_no_name_server() {
        for text in ["", "dns.local", "10.0.0", "10.0.0.10:", "10.0.0.10:0", "10.0.0.10:65536", "[fd00::10]", ":53"] {
            assert!(NameServer::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_that_no_socket_could_be_told_is_no_name_server() {
        let refused = |text| NameServer::parse(text).unwrap_err();

        for text in ["[fe80::1%2]:53", "fe80::1%2", "fe80::1%eth0"] {
            assert_eq!(refused(text), refused("[fe80::1%1]:5353"), "{text}");
            assert_ne!(refused(text), refused("fe80"), "{text}");
        }
    }
}
