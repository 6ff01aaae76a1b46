//! What is known of a connection that speaks TLS. Certificates are read when somebody asks, and once.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use rustls::{CommonState, ProtocolVersion};

use super::certificate::Certificate;

/// See the module.
#[derive(Debug)]
pub struct Secured {
    version: Option<ProtocolVersion>,
    /// The name that was asked for.
    pub requested: Option<Box<str>>,
    local: Option<Arc<CertifiedKey>>,
    peer: Option<CertificateDer<'static>>,
    /// The certificates of both, once somebody asked.
    read: [OnceLock<Option<Certificate>>; 2],
}

/// Which side of a connection showed a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// This proxy.
    Local,
    /// Whoever is at the other end.
    Peer,
}

impl Secured {
    /// A connection on which hands were shaken, with the certificate that this side showed.
    pub fn new(session: &CommonState, requested: Option<&str>, local: Option<Arc<CertifiedKey>>) -> Self {
        let peer = session.peer_certificates().and_then(|chain| chain.first()).cloned();
        let (version, requested) = (session.protocol_version(), requested.map(Into::into));
        Self { version, requested, local, peer, read: Default::default() }
    }

    /// The version, as Envoy writes it.
    pub fn version(&self) -> &'static str {
        match self.version {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        }
    }

    /// True when the peer showed a certificate, which was believed.
    pub fn has_peer_certificate(&self) -> bool {
        self.peer.is_some()
    }

    /// What the certificate of one side says.
    pub fn certificate(&self, end: End) -> Option<&Certificate> {
        let (read, der) = match end {
            End::Local => (&self.read[0], self.local.as_ref().and_then(|local| local.cert.first())),
            End::Peer => (&self.read[1], self.peer.as_ref()),
        };
        read.get_or_init(|| Certificate::parse(der?)).as_ref()
    }

    /// SHA-256 of the peer's certificate in hex.
    pub fn peer_digest(&self) -> Option<String> {
        let hash = digest(&SHA256, self.peer.as_ref()?);
        Some(hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The peer's certificate as PEM (RFC 7468 §3).
    pub fn peer_pem(&self) -> Option<String> {
        let text = STANDARD.encode(self.peer.as_ref()?);
        let lines: Vec<&str> = (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
        Some(format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n")))
    }
}
