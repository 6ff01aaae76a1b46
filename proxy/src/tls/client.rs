//! What is spoken with the endpoints of a cluster: whom they are taken for, and what they are shown.
//!
//! [`Client`] lasts as long as the cluster's definition; its terms are replaced when files change. Sessions are kept for
//! each endpoint on each worker.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tollgate_config::{ClientTls, PeerName, Protocol};

use super::certificate::Certificate;
use super::failure::HandshakeError;
use super::fault::{FaultKind, Unfit};
use super::files::Files;
use super::secured::Secured;
use super::server::{H2, HTTP1};
use super::{names, provider};

/// Sessions with its endpoint that a dialer remembers: as many tickets of TLS 1.3 as rustls keeps of one server, or one
/// session of TLS 1.2.
const SESSIONS: usize = 8;

/// See the module.
#[derive(Debug)]
pub struct Client {
    definition: ClientTls,
    terms: ArcSwap<Terms>,
}

/// What handshakes begin with, until files change.
#[derive(Debug)]
pub struct Terms {
    config: Arc<ClientConfig>,
    identity: Option<Arc<CertifiedKey>>,
    /// The CAs of the system, where endpoints are believed by them.
    system: Option<Arc<RootCertStore>>,
    /// The certificate that is shown: its name, and when it ends to be good.
    pub shown: Vec<(String, SystemTime)>,
}

impl Client {
    /// A cluster that begins with these terms.
    pub fn new(definition: ClientTls, terms: Terms) -> Self {
        Self { definition, terms: ArcSwap::from_pointee(terms) }
    }

    /// What a handshake begins with that begins now.
    pub fn terms(&self) -> Arc<Terms> {
        self.terms.load_full()
    }

    /// True where terms that were read of the same files as the present ones are the same.
    pub fn has(&self, terms: &Terms) -> bool {
        let present = self.terms.load();
        present.system.as_ref().map(|system| &system.roots) == terms.system.as_ref().map(|system| &system.roots)
    }

    /// Handshakes that begin from here on see these, and go on with no session of those that there were.
    pub fn replace(&self, terms: Terms) {
        self.terms.store(Arc::new(terms));
    }
}

impl Terms {
    /// What the files of a definition come to for endpoints that speak this protocol.
    pub fn read(definition: &ClientTls, protocol: Protocol, files: &mut Files<'_>) -> Result<Terms, Unfit> {
        // All of them are read, so that all are known whatever is wrong with one.
        let identity = definition.identity.as_ref().map(|(cert, key)| files.identity(cert, key)).transpose();
        let verifier = verifier(definition, files);
        let (identity, verifier) = (identity?, verifier?);
        let shown = identity.iter().map(|identity| (identity.read.shown_name(), identity.read.not_after)).collect();
        let identity = identity.map(|identity| identity.certified);
        let config = config(protocol, verifier, identity.as_ref()).map_err(unusable)?;
        let believes_system = definition.verify && definition.ca.is_none();
        let system = believes_system.then(|| files.system()).transpose()?;
        Ok(Terms { config: Arc::new(config), identity, system, shown })
    }
}

fn unusable(error: Error) -> Unfit {
    Unfit { file: None, kind: FaultKind::Unusable(error) }
}

fn config(
    protocol: Protocol,
    verifier: Arc<dyn ServerCertVerifier>,
    identity: Option<&Arc<CertifiedKey>>,
) -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider())).with_safe_default_protocol_versions()?;
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = match identity {
        Some(certified) => {
            let shown = SingleCertAndKey::from(CertifiedKey::clone(certified));
            builder.with_client_cert_resolver(Arc::new(shown))
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = match protocol {
        Protocol::Http1 => vec![HTTP1.to_vec()],
        Protocol::H2 => vec![H2.to_vec()],
    };
    Ok(config)
}

fn verifier(definition: &ClientTls, files: &mut Files<'_>) -> Result<Arc<dyn ServerCertVerifier>, Unfit> {
    let algorithms = provider().signature_verification_algorithms;
    let roots = match &definition.ca {
        _ if !definition.verify => return Ok(Arc::new(Unverified { algorithms })),
        Some(ca) => files.authorities(ca)?,
        None => files.system()?,
    };
    if !definition.names.is_empty() {
        return Ok(Arc::new(Named { roots, algorithms, names: definition.names.clone() }));
    }
    let builder = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider()));
    let lacks = || Unfit { file: definition.ca.clone(), kind: FaultKind::Lacks("certificate") };
    builder.build().map(|verifier| verifier as Arc<dyn ServerCertVerifier>).map_err(|_| lacks())
}

/// Believes endpoints whose certificate one of these CAs signed, and that have one of these names.
#[derive(Debug)]
struct Named {
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
    names: Vec<PeerName>,
}

impl Named {
    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)?;
        let read = Certificate::parse(end_entity).ok_or(CertificateError::BadEncoding)?;
        let has_one = names::has_one(&read, &self.names);
        has_one.then_some(()).ok_or_else(|| CertificateError::NotValidForName.into())
    }
}

/// Believes whoever has the key of the certificate that is shown.
#[derive(Debug)]
struct Unverified {
    algorithms: WebPkiSupportedAlgorithms,
}

/// Signatures are always looked at.
macro_rules! verifies {
    ($verifier:ident, |$this:ident, $end_entity:ident, $intermediates:ident, $now:ident| $verify:expr) => {
        impl ServerCertVerifier for $verifier {
            fn verify_server_cert(
                &self,
                $end_entity: &CertificateDer<'_>,
                $intermediates: &[CertificateDer<'_>],
                _: &ServerName<'_>,
                _: &[u8],
                $now: UnixTime,
            ) -> Result<ServerCertVerified, Error> {
                let $this = self;
                $verify.map(|()| ServerCertVerified::assertion())
            }

            fn verify_tls12_signature(
                &self,
                message: &[u8],
                cert: &CertificateDer<'_>,
                signed: &DigitallySignedStruct,
            ) -> Result<HandshakeSignatureValid, Error> {
                verify_tls12_signature(message, cert, signed, &self.algorithms)
            }

            fn verify_tls13_signature(
                &self,
                message: &[u8],
                cert: &CertificateDer<'_>,
                signed: &DigitallySignedStruct,
            ) -> Result<HandshakeSignatureValid, Error> {
                verify_tls13_signature(message, cert, signed, &self.algorithms)
            }

            fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
                self.algorithms.supported_schemes()
            }
        }
    };
}

verifies!(Named, |this, end_entity, intermediates, now| this.verify(end_entity, intermediates, now));
verifies!(Unverified, |_this, _end_entity, _intermediates, _now| Ok::<_, Error>(()));

impl Client {
    /// Shakes hands with an endpoint at this host once; the caller bounds the time. An error has a [`HandshakeError`] in it.
    pub async fn connect(&self, host: &str, protocol: Protocol, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let connector = TlsConnector::from(Arc::clone(&self.terms.load().config));
        self.greet(&connector, (host, Some(protocol)), stream).await
    }

    async fn greet(
        &self,
        connector: &TlsConnector,
        (host, protocol): (&str, Option<Protocol>),
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = self.definition.sni.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.to_owned()).map_err(|_| HandshakeError::name(name))?;
        let stream = connector.connect(name, stream).await.map_err(HandshakeError::of_endpoint)?;
        if protocol == Some(Protocol::H2) && stream.get_ref().1.alpn_protocol() != Some(H2) {
            return Err(HandshakeError::alpn());
        }
        Ok(stream)
    }
}

/// What an endpoint is offered to speak (ALPN).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// The protocol of its cluster.
    Protocol,
    /// Nothing: whose bytes are passed on knows what is spoken.
    Nothing,
}

/// Speaks TLS with one endpoint, from one worker.
pub struct Dialer {
    client: Arc<Client>,
    host: String,
    protocol: Protocol,
    /// For exchanges, and for bytes that are passed on.
    own: [Connector; 2],
}

/// The terms that were last used, with sessions of this worker alone.
type Connector = RefCell<Option<(Arc<Terms>, TlsConnector)>>;

impl Dialer {
    /// For an endpoint at this host, which is asked for by its name unless the definition has another.
    pub fn new(client: &Arc<Client>, host: &str, protocol: Protocol) -> Self {
        Self { client: Arc::clone(client), host: host.to_owned(), protocol, own: Default::default() }
    }

    /// True for endpoints of the same cluster.
    pub fn is_of(&self, client: Option<&Arc<Client>>) -> bool {
        client.is_some_and(|client| Arc::ptr_eq(client, &self.client))
    }

    /// Shakes hands; the caller bounds the time. An error has a [`HandshakeError`] in it.
    pub async fn connect(&self, stream: TcpStream, offer: Offer) -> io::Result<(TlsStream<TcpStream>, Secured)> {
        let (terms, connector) = self.current(offer);
        let protocol = (offer == Offer::Protocol).then_some(self.protocol);
        let stream = self.client.greet(&connector, (&self.host, protocol), stream).await?;
        let sni = self.client.definition.sni.as_deref();
        let secured = Secured::new(stream.get_ref().1, sni, terms.identity.clone());
        Ok((stream, secured))
    }

    fn current(&self, offer: Offer) -> (Arc<Terms>, TlsConnector) {
        let current = self.client.terms.load();
        let mut own = self.own[usize::from(offer == Offer::Nothing)].borrow_mut();
        let known = own.take().filter(|(terms, _)| Arc::ptr_eq(terms, &current));
        let (terms, connector) = known.unwrap_or_else(|| {
            let mut config = ClientConfig::clone(&current.config);
            // A session under other terms is no session of these.
            config.resumption = Resumption::in_memory_sessions(SESSIONS);
            if offer == Offer::Nothing {
                config.alpn_protocols.clear();
            }
            (Arc::clone(&current), TlsConnector::from(Arc::new(config)))
        });
        own.insert((terms, connector)).clone()
    }
}
