//! Listeners whose connections were meant for somebody else, and where those go on.
//! Reading the original destination of a connection is the proxy's work.

use std::net::IpAddr;

use schemars::{Schema, json_schema};
use serde_json::Value;

use crate::scalar::{Bare, Scalar, Unfit, Word};

/// How connections reach a listener that were meant for other addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intercept {
    /// The kernel rewrote their destination (the target REDIRECT of iptables), and knows the one before.
    Redirect,
    /// Their destination is still the local address of the connection (the target TPROXY); the socket is transparent.
    Tproxy,
}

impl Word for Intercept {
    const WORDS: &'static [(&'static str, Intercept)] =
        &[("redirect", Intercept::Redirect), ("tproxy", Intercept::Tproxy)];
    const EXPECTED: &'static str = "\"redirect\" or \"tproxy\"";
}

/// Where exchanges and connections go whose target is `original`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Original {
    /// Which address is connected to.
    pub reach: Reach,
    /// True when that may be an address of this machine alone, such as 127.0.0.1.
    pub loopback: bool,
    /// True when that may be a link-local address, behind which clouds keep credentials.
    pub link_local: bool,
}

/// Which address is connected to for an original destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// That one.
    #[default]
    Original,
    /// Its port on 127.0.0.1 or ::1.
    Loopback,
}

impl Word for Reach {
    const WORDS: &'static [(&'static str, Reach)] = &[("original", Reach::Original), ("loopback", Reach::Loopback)];
    const EXPECTED: &'static str = "\"original\" or \"loopback\"";
}

/// Addresses that an original destination has only with permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Special {
    Loopback,
    LinkLocal,
}

impl Word for Special {
    const WORDS: &'static [(&'static str, Special)] =
        &[("loopback", Special::Loopback), ("link_local", Special::LinkLocal)];
    const EXPECTED: &'static str = "\"loopback\" or \"link_local\"";
}

impl Original {
    /// True where a connection may be meant for this address, however it is written. The unspecified address, networks that
    /// mean this one (RFC 1122 §3.2.1.3) and addresses of many hosts are nobody's destination.
    pub fn permits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        if address.is_loopback() {
            return self.loopback;
        }
        match address {
            IpAddr::V4(address) if address.is_link_local() => self.link_local,
            IpAddr::V6(address) if address.is_unicast_link_local() => self.link_local,
            IpAddr::V4(v4) => v4.octets()[0] != 0 && !v4.is_multicast() && !v4.is_broadcast(),
            IpAddr::V6(v6) => !v6.is_unspecified() && !v6.is_multicast(),
        }
    }
}

/// Which way the connections of a listener go, seen from the application beside the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// Nothing was said.
    #[default]
    Unspecified,
    /// To the application.
    Inbound,
    /// From the application. When the process drains, such listeners serve until the others are done.
    Outbound,
}

impl Word for Direction {
    const WORDS: &'static [(&'static str, Direction)] =
        &[("inbound", Direction::Inbound), ("outbound", Direction::Outbound)];
    const EXPECTED: &'static str = "\"inbound\" or \"outbound\"";
}

/// A mark of the proxy's own sockets, by which rules of the kernel tell them from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark(pub(crate) u32);

impl Scalar for Mark {
    const EXPECTED: &'static str = "a mark such as 0x7467";
    const BARE: Bare = Bare::Taken;

    fn parse(text: &str) -> Result<Mark, Unfit> {
        let number = match text.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16),
            None => text.parse(),
        };
        let unfit = || Unfit::value("is not a mark; write a number from 1 to 0xffffffff");
        number.ok().filter(|mark| *mark > 0).map(Mark).ok_or_else(unfit)
    }

    fn spell(&self) -> Value {
        self.0.into()
    }

    fn schema() -> Schema {
        json_schema!({ "type": "integer", "minimum": 1, "maximum": u32::MAX })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_addresses_need_permission_however_they_are_written() {
        let address = |text: &str| -> IpAddr { text.parse().unwrap() };
        let nobody = Original::default();
        let (loopback, link_local) = (Original { loopback: true, ..nobody }, Original { link_local: true, ..nobody });

        for text in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(!nobody.permits(address(text)) && !link_local.permits(address(text)), "{text}");
            assert!(loopback.permits(address(text)), "{text}");
        }
        for text in ["169.254.169.254", "169.254.0.1", "fe80::1", "febf::1", "::ffff:169.254.169.254"] {
            assert!(!nobody.permits(address(text)) && !loopback.permits(address(text)), "{text}");
            assert!(link_local.permits(address(text)), "{text}");
        }
        let all = Original { loopback: true, link_local: true, ..nobody };
        for text in ["0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "255.255.255.255", "ff02::1", "::ffff:0.0.0.0"] {
            assert!(!all.permits(address(text)), "{text}");
        }
        for text in ["10.0.0.1", "169.253.0.1", "fd00::1", "fec0::1", "2001:db8::1"] {
            assert!(nobody.permits(address(text)), "{text}");
        }
    }

    #[test]
    fn a_mark_is_a_number_in_either_notation() {
        let read = |text| Mark::parse(text).map(|mark| mark.0);

        assert_eq!((read("1"), read("0x7467"), read("0xffffffff")), (Ok(1), Ok(0x7467), Ok(u32::MAX)));
        for text in ["0", "0x", "0x0", "-1", "4294967296", "0x100000000", "x", "1.0", ""] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
