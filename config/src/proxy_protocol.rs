//! The PROXY protocol: who may say whose connection it is, and to whom that is said on.
//! Its headers are read and written by the proxy.

use crate::forwarding::Network;
use crate::scalar::Word;

/// A version of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// A line of text.
    V1,
    /// Bytes.
    V2,
}

impl Word for ProxyProtocol {
    const WORDS: &'static [(&'static str, ProxyProtocol)] = &[("v1", ProxyProtocol::V1), ("v2", ProxyProtocol::V2)];
    const EXPECTED: &'static str = "\"v1\" or \"v2\"";
}

/// Whose connections begin with a header of the PROXY protocol. Whoever else connects is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Senders {
    /// Everybody's: whoever connects is believed.
    Everybody,
    /// Those of proxies with such an address; never empty.
    Networks(Vec<Network>),
}
