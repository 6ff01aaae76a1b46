//! The defaults of TLS, spelled.

use super::or;
use crate::file::at::At;
use crate::file::read::SomeOf;
use crate::file::{ClusterTls, ListenerTls};
use crate::limits::Age;
use crate::tls::{ClientAuth, ServerTls, TlsVersion, Verify};

/// What a listener does where nothing is said. One that passes bytes on does not know what is spoken, and offers nothing.
pub(super) fn of_listener(said: ListenerTls, is_tcp: bool) -> ListenerTls {
    let spot = said.spot;
    let alpn = || SomeOf(ServerTls::ALPN.map(|protocol| At::new(protocol, spot)).into());
    ListenerTls {
        // A CA that nobody has to show a certificate of would guard nothing.
        client_auth: or(said.client_auth, said.client_ca.as_ref().map(|_| ClientAuth::Require), spot),
        min_version: or(said.min_version, TlsVersion::default(), spot),
        alpn: said.alpn.or_else(|| (!is_tcp).then(alpn)),
        tickets: or(said.tickets, Age(Some(ServerTls::TICKETS)), spot),
        ..said
    }
}

/// What is believed of endpoints where nothing is said.
pub(super) fn of_cluster(said: ClusterTls) -> ClusterTls {
    ClusterTls { verify: or(said.verify, Verify::default(), said.spot), ..said }
}
