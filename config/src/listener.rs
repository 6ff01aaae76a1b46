//! Listeners: bound addresses, and what is said on each.
//! Binding them and accepting connections is the proxy's work.

use std::net::SocketAddr;

use serde_json::Value;

use crate::cluster::{ClusterId, Endpoint};
use crate::filter::PluginId;
use crate::forwarding::Http;
use crate::interception::{Direction, Intercept};
use crate::limits::Limits;
use crate::proxy_protocol::Senders;
use crate::route::{HeaderEdits, Route};
use crate::scalar::{Name, Scalar, Unfit, Word};
use crate::tls::ServerTls;

/// One address to accept connections on, with the routes of its exchanges or where its connections go.
#[derive(Debug, Clone)]
pub struct Listener {
    /// The name written, else the address; what metrics call it.
    pub name: String,
    /// Where to listen; port 0 lets the system choose.
    pub address: SocketAddr,
    /// How TLS is spoken; `None`: it is not. Never beside `tcp`.
    pub tls: Option<ServerTls>,
    /// How new connections are spread over the workers.
    pub balance: Balance,
    /// How connections get here that were meant for other addresses; `None`: they do not.
    pub intercept: Option<Intercept>,
    /// Which way its connections go.
    pub direction: Direction,
    /// Whose connections begin with a header of the PROXY protocol; `None`: nobody's.
    pub proxy_protocol: Option<Senders>,
    /// The limits of this listener: its own where written, else the global ones.
    pub limits: Limits,
    /// How its requests are marked on their way.
    pub http: Http,
    /// Header fields that are changed in every exchange, before those of the route.
    pub headers: HeaderEdits,
    /// The routes in the order written; may be empty, then no request finds one.
    pub routes: Vec<Route>,
    /// Where connections go as they are, without HTTP; then there are no routes.
    pub tcp: Option<Tcp>,
}

/// Where connections go whose bytes are passed on as they come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tcp {
    /// The cluster; never one that speaks HTTP/2.
    pub cluster: ClusterId,
    /// The filters in the order in which they see what the client sends.
    pub chain: Vec<PluginId>,
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

/// The target of a listener of TCP as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TcpTarget {
    /// `tcp://HOST:PORT`.
    Url(Endpoint),
    Cluster(Name),
    /// What the client's connection was meant for.
    Original,
}

impl Scalar for TcpTarget {
    const EXPECTED: &'static str = "a URL such as tcp://10.0.0.1:5432, the name of a cluster, or \"original\"";

    fn parse(text: &str) -> Result<TcpTarget, Unfit> {
        let unfit = || Unfit::value("is not a target of TCP; write tcp://, a host and its port");
        match text.split_once("://") {
            None if text == "echo" => {
                Err(Unfit::value("is no target of TCP, because it answers requests of HTTP; name a cluster"))
            }
            None if text == "original" => Ok(TcpTarget::Original),
            None => Name::parse(text).map(TcpTarget::Cluster),
            Some(("tcp", rest)) => Endpoint::parse(rest).map(TcpTarget::Url).map_err(|_| unfit()),
            Some(_) => Err(unfit()),
        }
    }

    fn spell(&self) -> Value {
        match self {
            TcpTarget::Url(endpoint) => format!("tcp://{endpoint}").into(),
            TcpTarget::Cluster(Name(name)) => name.as_str().into(),
            TcpTarget::Original => "original".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_of_tcp_is_a_cluster_or_a_host_with_its_port() {
        let spelled = |text| TcpTarget::parse(text).map(|target| target.spell());

        assert_eq!(spelled("db"), Ok("db".into()));
        assert_eq!(TcpTarget::parse("original"), Ok(TcpTarget::Original));
        assert_eq!(spelled("original"), Ok("original".into()));
        assert_eq!(spelled("tcp://Db.Local:5432"), Ok("tcp://db.local:5432".into()));
        assert_eq!(spelled("tcp://[::1]:1"), Ok("tcp://[::1]:1".into()));
        for text in ["", "echo", "tcp://", "tcp://db", "tcp://db:0", "tcp://db:1/", "http://db:1", "a b"] {
            assert!(spelled(text).is_err(), "{text}");
        }
    }
}
