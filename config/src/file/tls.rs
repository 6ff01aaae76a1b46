//! What was said about TLS: by a listener, and by a cluster.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::Value;

use crate::error::Code;
use crate::file::at::At;
use crate::file::read::{Read, Reader, SomeOf, mapping};
use crate::file::rule;
use crate::file::write::{View, Write};
use crate::file::yaml::{Kind, Node};
use crate::limits::Age;
use crate::tls::{Alpn, ClientAuth, PeerName, PemFile, ServerName, Sni, TlsVersion, Verify};

mapping! {
    /// How a listener speaks TLS.
    ListenerTls, "the TLS of a listener" {
        /// What is shown to clients; the first one also to those that ask for no name, or for one that no other has.
        "certificates" => certificates: SomeOf<Certificate>,
        /// The file with the CAs of clients' certificates.
        "client_ca" => client_ca: Option<PemPath>,
        /// Whether clients are asked for a certificate or have to show one, which is what `client_ca` alone means.
        "client_auth" => client_auth: Option<At<ClientAuth>>,
        /// Of these names one has to be in a client's certificate.
        "client_names" => client_names: Option<SomeOf<At<PeerName>>>,
        /// The file with lists of certificates that were revoked.
        "crl" => crl: Option<PemPath>,
        /// The oldest version of TLS that is spoken.
        "min_version" => min_version: Option<At<TlsVersion>>,
        /// The protocols that are offered, the preferred one first; of a listener with `tcp` none unless written.
        "alpn" => alpn: Option<SomeOf<At<Alpn>>>,
        /// How long a key of session tickets is used, or `off`.
        "tickets" => tickets: Option<At<Age>>,
    }
    later []
    rule rule::of_listener_tls
}

mapping! {
    /// Certificates with their key.
    Certificate, "a certificate" {
        /// The file with the certificate, and after it those that lead to a CA.
        "cert" => cert: PemPath,
        /// The file with its private key.
        "key" => key: PemPath,
        /// The names it is for; those in the certificate unless written.
        "names" => names: Option<SomeOf<At<ServerName>>>,
    }
    later []
}

mapping! {
    /// How TLS is spoken with the endpoints of a cluster.
    ClusterTls, "the TLS of a cluster" {
        /// The name that endpoints are asked for; their host unless written.
        "sni" => sni: Option<At<Sni>>,
        /// The file with the CAs that are believed; those of the system unless written.
        "ca" => ca: Option<PemPath>,
        /// The file with the certificate that endpoints are shown.
        "cert" => cert: Option<PemPath>,
        /// The file with its private key.
        "key" => key: Option<PemPath>,
        /// Of these names one has to be in an endpoint's certificate; `sni` or the host unless written.
        "names" => names: Option<SomeOf<At<PeerName>>>,
        /// `off` believes any certificate.
        "verify" => verify: Option<At<Verify>>,
    }
    later []
    rule rule::of_cluster_tls
}

/// The path of a PEM file. Content in its place is refused without being shown, for it may be a key.
#[derive(Debug, Clone)]
pub(crate) struct PemPath(pub(crate) At<PemFile>);

impl Read for PemPath {
    fn read(node: &Node, reader: &mut Reader<'_, '_>) -> Option<PemPath> {
        if let Kind::Text(text) = &node.kind {
            let is_content = match reader.surroundings.resolve(text) {
                Ok(resolved) => PemFile::is_content(&resolved.value),
                // Read once more below, where it is reported.
                Err(_) => false,
            };
            if is_content {
                let message = "this is what a PEM file holds; write the path of the file";
                reader.report.fault_unshown(Code::BadValue, node.spot, message);
                return None;
            }
        }
        At::read(node, reader).map(PemPath)
    }
}

impl Write for PemPath {
    fn write(&self, view: View) -> Option<Value> {
        self.0.write(view)
    }
}

impl JsonSchema for PemPath {
    fn schema_name() -> Cow<'static, str> {
        At::<PemFile>::schema_name()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        At::<PemFile>::json_schema(generator)
    }
}
