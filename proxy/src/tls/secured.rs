//! What is known of a connection that speaks TLS. Certificates are read when somebody asks, and once.

use std::sync::OnceLock;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::{CommonState, ProtocolVersion};

use super::certificate::Certificate;

/// See the module.
#[derive(Debug)]
pub struct Secured {
    version: Option<ProtocolVersion>,
    /// The name that was asked for.
    pub requested: Option<Box<str>>,
    local: Shown,
    peer: Shown,
}

/// A certificate that one side showed, if it did.
#[derive(Debug)]
struct Shown {
    der: Option<CertificateDer<'static>>,
    read: OnceLock<Option<Certificate>>,
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
    pub fn new(session: &CommonState, requested: Option<&str>, local: Option<CertificateDer<'static>>) -> Self {
        let peer = session.peer_certificates().and_then(|chain| chain.first()).cloned();
        let requested = requested.map(Into::into);
        Self { version: session.protocol_version(), requested, local: Shown::new(local), peer: Shown::new(peer) }
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
        self.peer.der.is_some()
    }

    /// What the certificate of one side says.
    pub fn certificate(&self, end: End) -> Option<&Certificate> {
        self.shown(end).certificate()
    }

    /// SHA-256 of the peer's certificate in hex.
    pub fn peer_digest(&self) -> Option<String> {
        let hash = digest(&SHA256, self.peer.der.as_ref()?);
        Some(hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The peer's certificate as PEM (RFC 7468 §3).
    pub fn peer_pem(&self) -> Option<String> {
        let text = STANDARD.encode(self.peer.der.as_ref()?);
        let lines: Vec<&str> = (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
        Some(format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n")))
    }

    fn shown(&self, end: End) -> &Shown {
        match end {
            End::Local => &self.local,
            End::Peer => &self.peer,
        }
    }
}

impl Shown {
    fn new(der: Option<CertificateDer<'static>>) -> Self {
        Self { der, read: OnceLock::new() }
    }

    fn certificate(&self) -> Option<&Certificate> {
        let read = || self.der.as_ref().and_then(|der| Certificate::parse(der));
        self.read.get_or_init(read).as_ref()
    }
}
