//! What a listener tells upstreams about its clients, and whom it believes about them.
//! Writing the fields is the proxy's work.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use schemars::{Schema, json_schema};
use serde_json::Value;

use crate::scalar::{Scalar, Unfit, Word};
use crate::spelling::PathSpelling;

/// How requests of a listener are marked on their way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// What upstreams are told about clients.
    pub forwarded: Forwarded,
    /// Whether every request gets an `x-request-id`.
    pub request_ids: bool,
    /// Whether messages say in `via` that they passed here.
    pub via: bool,
    /// What becomes of field names with `_` from peers that are not trusted.
    pub underscores: Underscores,
    /// What becomes of paths.
    pub path: PathSpelling,
}

impl Default for Http {
    fn default() -> Http {
        let (forwarded, underscores, path) = Default::default();
        Http { forwarded, request_ids: true, via: false, underscores, path }
    }
}

/// What upstreams are told about clients.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Forwarded {
    /// The fields `x-forwarded-for`, `-proto` and `-host`.
    pub fields: ForwardFor,
    /// The field `forwarded` of RFC 7239.
    pub standard: bool,
    /// Who is believed about clients; what others say is removed.
    pub trust: Trust,
}

/// What is done with `x-forwarded-for`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForwardFor {
    /// The peer is added to what a trusted peer said.
    #[default]
    Append,
    /// The client's address alone is said, as far as peers are trusted.
    Replace,
    /// Nothing is said.
    Off,
}

impl Word for ForwardFor {
    const WORDS: &'static [(&'static str, ForwardFor)] =
        &[("append", ForwardFor::Append), ("replace", ForwardFor::Replace), ("off", ForwardFor::Off)];
    const EXPECTED: &'static str = "\"append\", \"replace\" or \"off\"";
}

/// Which peers are proxies that are believed about their clients.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Trust {
    /// None.
    #[default]
    Nobody,
    /// Those with such an address; never empty.
    Networks(Vec<Network>),
    /// Every peer, as the last of so many proxies in a row.
    Hops(usize),
}

/// Addresses that begin alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// The first one.
    address: IpAddr,
    /// The bits that are alike.
    bits: u32,
}

impl Network {
    /// True for an address of the network; one of version four counts as such however it is written.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (own, other) = (wide(self.address), wide(address.to_canonical()));
        let version = self.address.is_ipv4() == address.to_canonical().is_ipv4();
        version && (own ^ other) & self.mask() == 0
    }

    /// True when it has every address of its version.
    pub fn is_everything(&self) -> bool {
        self.bits == 0
    }

    /// The bits that are alike, at the top; addresses of version four stand at the bottom.
    fn mask(&self) -> u128 {
        let (width, all) = match self.address {
            IpAddr::V4(_) => (32, u128::from(u32::MAX)),
            IpAddr::V6(_) => (128, u128::MAX),
        };
        // A shift by the whole width leaves nothing.
        all & all.checked_shl(width - self.bits).unwrap_or(0)
    }
}

fn wide(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl std::fmt::Display for Network {
    /// The address and how many bits of it count.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl Scalar for Network {
    const EXPECTED: &'static str = "a network such as 10.0.0.0/8";

    fn parse(text: &str) -> Result<Network, Unfit> {
        let unfit = || Unfit::value("is not a network; write an address, or one with its bits as in 10.0.0.0/8");
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| unfit())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let digits = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let bits = match bits {
            None => width,
            Some(bits) => Some(bits).filter(digits).and_then(|bits| bits.parse().ok()).ok_or_else(unfit)?,
        };
        if bits > width {
            return Err(Unfit::value(format!("is not a network; this address has {width} bits")));
        }
        let network = Network { address, bits };
        let first = wide(address) & network.mask();
        if first != wide(address) {
            let first = Network { address: narrow(first, address), bits };
            return Err(Unfit::value(format!("begins in the middle of a network, write {first}")));
        }
        Ok(network)
    }

    fn spell(&self) -> Value {
        self.to_string().into()
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$" })
    }
}

/// An address of these bits, of the version of another.
fn narrow(bits: u128, like: IpAddr) -> IpAddr {
    match like {
        // The bits of an address of version four are masked already.
        IpAddr::V4(_) => Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX)).into(),
        IpAddr::V6(_) => Ipv6Addr::from_bits(bits).into(),
    }
}

/// What becomes of field names with `_`, which many programs cannot tell from `-`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Underscores {
    /// The request is refused.
    #[default]
    Reject,
    /// The fields are left out.
    Drop,
    /// They pass.
    Allow,
}

impl Word for Underscores {
    const WORDS: &'static [(&'static str, Underscores)] =
        &[("reject", Underscores::Reject), ("drop", Underscores::Drop), ("allow", Underscores::Allow)];
    const EXPECTED: &'static str = "\"reject\", \"drop\" or \"allow\"";
}

/// Whether something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Switch {
    On,
    Off,
}

impl Word for Switch {
    const WORDS: &'static [(&'static str, Switch)] = &[("on", Switch::On), ("off", Switch::Off)];
    const EXPECTED: &'static str = "\"on\" or \"off\"";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(network: &str, address: &str) -> bool {
        Network::parse(network).unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn a_network_has_the_addresses_that_begin_like_it() {
        assert!(has("10.0.0.0/8", "10.255.0.1") && !has("10.0.0.0/8", "11.0.0.0"));
        assert!(has("192.0.2.1", "192.0.2.1") && !has("192.0.2.1", "192.0.2.0"));
        assert!(has("0.0.0.0/0", "255.255.255.255") && !has("0.0.0.0/0", "::1"));
        assert!(has("2001:db8::/33", "2001:db8:7fff::1") && !has("2001:db8::/33", "2001:db8:8000::1"));
        assert!(has("::/0", "::1") && !has("::/0", "10.0.0.1"));
        assert!(has("10.0.0.0/8", "::ffff:10.1.2.3"));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0/8", "a.local", "10.0.0.0/+8", "10.0.0.0/8/8"] {
            assert!(Network::parse(text).is_err(), "{text}");
        }
        let middle = Network::parse("10.1.2.3/8").unwrap_err();
        assert_eq!(middle.reason, "begins in the middle of a network, write 10.0.0.0/8");
        assert!(Network::parse("2001:db8::1/64").unwrap_err().reason.ends_with("write 2001:db8::/64"));
    }

    #[test]
    fn a_network_is_spelled_with_its_bits() {
        for (text, spelled) in [("10.0.0.1", "10.0.0.1/32"), ("::1", "::1/128"), ("10.0.0.0/8", "10.0.0.0/8")] {
            assert_eq!(Network::parse(text).map(|network| network.spell()), Ok(spelled.into()));
        }
    }
}
