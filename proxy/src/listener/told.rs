//! Whose a connection is: of whoever connected, or of whom a PROXY header in front of it tells.
//!
//! Where headers are due, no connection goes without one, and what comes behind it shares the time for a head. Who may send
//! them is looked at first.

use std::io;
use std::net::IpAddr;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tollgate_config::Senders;

use crate::listener::Accepted;
use crate::proxy_protocol::{self, Passed, Told};
use crate::telemetry::metrics::ListenerSeries;

/// What comes before everything else on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing.
    Nothing,
    /// A PROXY header.
    Header,
}

/// What is due of a connection from `source`; `None`: it is not let in.
pub(super) fn due(senders: Option<&Senders>, source: IpAddr) -> Option<Due> {
    match senders {
        None => Some(Due::Nothing),
        Some(Senders::Everybody) => Some(Due::Header),
        Some(Senders::Networks(networks)) => {
            networks.iter().any(|network| network.contains(source)).then_some(Due::Header)
        }
    }
}

/// Reads the header that is due, and has `accepted` say whose connection it tells of; false where none comes by `deadline`,
/// which is counted.
pub(super) async fn hear(accepted: &mut Accepted, deadline: Instant, series: &ListenerSeries) -> bool {
    match told(&mut accepted.stream, deadline).await {
        Ok(Told::Passed(Passed { source, destination })) => {
            (accepted.source, accepted.destination) = (source, destination);
            true
        }
        Ok(Told::Nothing) => true,
        Err(error) => {
            series.protocol_errors.inc();
            tracing::debug!(source = %accepted.source, %error, "a connection begins with no PROXY header");
            false
        }
    }
}

async fn told(stream: &mut TcpStream, deadline: Instant) -> io::Result<Told> {
    timeout_at(deadline, proxy_protocol::read(stream)).await?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_no_sender_is_not_let_in() {
        let network = |keys: &str| {
            let text = format!("listeners: [{{ listen: '127.0.0.1:0', routes: [], {keys} }}]");
            let config = tollgate_config::parse(&text, std::path::Path::new("t.yaml")).unwrap();
            config.listeners[0].proxy_protocol.clone()
        };
        let some = network("proxy_protocol: { from: [10.0.0.0/8, '::1'] }");
        let of = |source: &str| due(some.as_ref(), source.parse().unwrap());

        assert_eq!(
            (of("10.1.2.3"), of("::ffff:10.1.2.3"), of("::1")),
            (Some(Due::Header), Some(Due::Header), Some(Due::Header))
        );
        assert_eq!((of("11.1.2.3"), of("::2")), (None, None));
        assert_eq!(due(network("proxy_protocol: on").as_ref(), IpAddr::from([1, 2, 3, 4])), Some(Due::Header));
        assert_eq!(due(network("proxy_protocol: off").as_ref(), IpAddr::from([1, 2, 3, 4])), Some(Due::Nothing));
    }
}
