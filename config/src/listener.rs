//! Listeners: bound addresses, and what is said on each.
//! Binding them and accepting connections is the proxy's work.

use std::net::SocketAddr;

use serde_json::Value;

use crate::limits::Limits;
use crate::route::Route;
use crate::scalar::{Scalar, Unfit, Word};

/// One address to accept connections on, with the routes of its exchanges.
#[derive(Debug, Clone)]
pub struct Listener {
    /// The name written, else the address; what metrics call it.
    pub name: String,
    /// Where to listen; port 0 lets the system choose.
    pub address: SocketAddr,
    /// How new connections are spread over the workers.
    pub balance: Balance,
    /// The limits of this listener: its own where written, else the global ones.
    pub limits: Limits,
    /// The routes in the order written; may be empty, then no request finds one.
    pub routes: Vec<Route>,
}

/// How a listener's new connections are spread over the workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Balance {
    /// Every worker has its own socket, and the kernel picks one by the client's address.
    #[default]
    Kernel,
    /// The worker with the fewest connections takes the next one.
    Even,
}

impl Word for Balance {
    const WORDS: &'static [(&'static str, Balance)] = &[("kernel", Balance::Kernel), ("even", Balance::Even)];
    const EXPECTED: &'static str = "\"kernel\" or \"even\"";
}

/// An address to listen on is an IP address with a port: names are not looked up.
impl Scalar for SocketAddr {
    const EXPECTED: &'static str = "an address such as 127.0.0.1:8000";

    fn parse(text: &str) -> Result<SocketAddr, Unfit> {
        if text.starts_with("unix:") {
            return Err(Unfit::not_supported());
        }
        text.parse().map_err(|_| {
            Unfit::value("is not an address; write an IP address and a port, as in 127.0.0.1:8000 or [::1]:8000")
        })
    }

    fn spell(&self) -> Value {
        self.to_string().into()
    }
}
