//! What was said about TLS to what it means: paths are joined to the folder of the configuration, and no file is read.

use std::path::{Path, PathBuf};

use crate::error::Code;
use crate::file::at::At;
use crate::file::read::SomeOf;
use crate::file::{self, ClusterTls, ListenerTls};
use crate::report::Report;
use crate::scalar::Scalar;
use crate::tls::{Certificate, ClientAuth, ClientTls, Clients, PeerName, ServerTls, Verify};

/// The TLS of a listener; a name or a protocol that is written twice is reported.
pub(super) fn of_listener(said: &ListenerTls, folder: &Path, report: &mut Report<'_>) -> ServerTls {
    let certificates = said.certificates.0.iter().map(|said| certificate(said, folder)).collect();
    let clients = said.client_ca.as_ref().map(|ca| Clients {
        ca: folder.join(&ca.0.value.0),
        required: said.client_auth.as_ref().is_none_or(|auth| auth.value == ClientAuth::Require),
        names: names(said.client_names.as_ref(), report),
        crl: path(said.crl.as_ref(), folder),
    });
    let alpn = said.alpn.as_ref().map_or_else(Vec::new, |said| values(said, report));
    ServerTls {
        certificates,
        clients,
        min_version: said.min_version.as_ref().map(|version| version.value).unwrap_or_default(),
        alpn,
        tickets: said.tickets.as_ref().map_or(Some(ServerTls::TICKETS), |tickets| tickets.value.0),
    }
}

/// The TLS of a cluster.
pub(super) fn of_cluster(said: &ClusterTls, folder: &Path, report: &mut Report<'_>) -> ClientTls {
    let verify = said.verify.as_ref().is_none_or(|verify| verify.value == Verify::On);
    if !verify {
        let ca = said.ca.as_ref().map(|ca| ("ca", ca.0.spot));
        let names = said.names.as_ref().and_then(|names| Some(("names", names.0.first()?.spot)));
        for (key, spot) in ca.into_iter().chain(names) {
            let message =
                format!("{key:?} says whom to believe, and \"verify: off\" believes everybody; leave one of them out");
            report.fault(Code::Conflict, spot, message);
        }
    }
    ClientTls {
        sni: said.sni.as_ref().map(|sni| sni.value.0.clone()),
        ca: path(said.ca.as_ref(), folder),
        identity: path(said.cert.as_ref(), folder).zip(path(said.key.as_ref(), folder)),
        names: names(said.names.as_ref(), report),
        verify,
    }
}

fn certificate(said: &file::Certificate, folder: &Path) -> Certificate {
    let names = said.names.iter().flat_map(|names| &names.0);
    Certificate {
        cert: folder.join(&said.cert.0.value.0),
        key: folder.join(&said.key.0.value.0),
        names: names.map(|name| name.value.0.clone()).collect(),
    }
}

fn path(said: Option<&file::PemPath>, folder: &Path) -> Option<PathBuf> {
    said.map(|said| folder.join(&said.0.value.0))
}

fn names(said: Option<&SomeOf<At<PeerName>>>, report: &mut Report<'_>) -> Vec<PeerName> {
    said.map_or_else(Vec::new, |said| values(said, report))
}

/// The values of a list, each of which may stand there once.
fn values<T: Scalar + Clone + PartialEq>(said: &SomeOf<At<T>>, report: &mut Report<'_>) -> Vec<T> {
    let mut values = Vec::new();
    for said in &said.0 {
        if values.contains(&said.value) {
            report.fault(Code::DuplicateName, said.spot, format!("{} is written twice", said.shown()));
        }
        values.push(said.value.clone());
    }
    values
}
