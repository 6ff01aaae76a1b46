//! What a listener speaks TLS with: which certificate is shown to whom, and which clients are believed.
//!
//! [`Server`] lasts as long as the listener's definition; its terms are replaced when files change.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, VerifierBuilderError, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
};
use tollgate_config::{Alpn, Clients, PeerName, ServerTls, TlsVersion};

use super::certificate::Certificate;
use super::fault::{FaultKind, Unfit};
use super::files::{Files, Identity};
use super::tickets::Tickets;
use super::{names, provider};

/// The name of HTTP/2 in ALPN.
pub const H2: &[u8] = b"h2";
/// The name of HTTP/1.1 in ALPN.
pub const HTTP1: &[u8] = b"http/1.1";

/// See the module. All workers share it; a handshake takes no lock.
#[derive(Debug)]
pub struct Server {
    terms: ArcSwap<Terms>,
}

/// What handshakes begin with, until files change.
#[derive(Debug)]
pub struct Terms {
    /// Its certificates among it.
    pub config: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
    tickets: Option<Arc<Tickets>>,
    /// What the files about clients held: tickets of clients that were believed under others are worth nothing.
    about_clients: Vec<Option<[u8; 32]>>,
    /// The certificates that are shown: their first name, and when each ends to be good.
    pub shown: Vec<(String, SystemTime)>,
}

impl Server {
    /// A listener that begins with these terms.
    pub fn new(terms: Terms) -> Self {
        Self { terms: ArcSwap::from_pointee(terms) }
    }

    /// What a handshake begins with that begins now.
    pub fn terms(&self) -> Arc<Terms> {
        self.terms.load_full()
    }

    /// Handshakes that begin from here on see these.
    pub fn replace(&self, terms: Terms) {
        self.terms.store(Arc::new(terms));
    }
}

impl Terms {
    /// What the files of a definition come to; `before` are the terms that there were, whose tickets go on being good
    /// unless other clients are believed now.
    pub fn read(definition: &ServerTls, before: Option<&Terms>, files: &mut Files<'_>) -> Result<Terms, Unfit> {
        // All of them are read, so that all are known whatever is wrong with one.
        let certificates = Certificates::read(&definition.certificates, files);
        let mut about = files.aside();
        let verifier = definition.clients.as_ref().map(|clients| verifier(clients, &mut about)).transpose();
        let about_clients: Vec<_> = about.read().map(|(_, held)| held).collect();
        files.extend(about);
        let (certificates, verifier) = (certificates?, verifier?);
        let shown = certificates.shown.clone();
        let same_clients = before.filter(|before| before.about_clients == about_clients);
        let tickets = match (same_clients.and_then(|before| before.tickets.clone()), definition.tickets) {
            (Some(tickets), Some(_)) => Some(tickets),
            (None, Some(time)) => {
                Some(Arc::new(Tickets::new(time).ok_or_else(|| unusable(Error::FailedToGetRandomBytes))?))
            }
            (_, None) => None,
        };
        let certificates = Arc::new(certificates);
        let config = config(definition, Arc::clone(&certificates), verifier, tickets.clone()).map_err(unusable)?;
        Ok(Terms { config: Arc::new(config), certificates, tickets, about_clients, shown })
    }

    /// The certificate that a client is shown.
    pub fn shown_to(&self, hello: &ClientHello<'_>) -> Arc<CertifiedKey> {
        Arc::clone(self.certificates.pick(hello.server_name(), hello.signature_schemes()))
    }
}

fn unusable(error: Error) -> Unfit {
    Unfit { file: None, kind: FaultKind::Unusable(error) }
}

fn config(
    definition: &ServerTls,
    certificates: Arc<Certificates>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    tickets: Option<Arc<Tickets>>,
) -> Result<ServerConfig, Error> {
    let versions: &[&SupportedProtocolVersion] = match definition.min_version {
        TlsVersion::V12 => &[&TLS12, &TLS13],
        TlsVersion::V13 => &[&TLS13],
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider())).with_protocol_versions(versions)?;
    let verifier = verifier.unwrap_or_else(WebPkiClientVerifier::no_client_auth);
    let mut config = builder.with_client_cert_verifier(verifier).with_cert_resolver(certificates);
    let name = |alpn: &Alpn| match alpn {
        Alpn::H2 => H2.to_vec(),
        Alpn::Http1 => HTTP1.to_vec(),
    };
    config.alpn_protocols = definition.alpn.iter().map(name).collect();
    // What is remembered of a session is the client's to keep: nothing here is shared that would need a lock.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    match tickets {
        Some(tickets) => config.ticketer = tickets,
        None => config.send_tls13_tickets = 0,
    }
    Ok(config)
}

/// Certificates by the names that clients ask for.
#[derive(Debug)]
struct Certificates {
    /// Never empty.
    all: Vec<Arc<CertifiedKey>>,
    /// By name, and by domain for those that begin with a star; where several have a name, in their order.
    exact: HashMap<String, Vec<usize>>,
    below: HashMap<String, Vec<usize>>,
    shown: Vec<(String, SystemTime)>,
}

impl Certificates {
    fn read(said: &[tollgate_config::Certificate], files: &mut Files<'_>) -> Result<Self, Unfit> {
        let (exact, below) = (HashMap::new(), HashMap::new());
        let mut certificates = Self { all: Vec::new(), exact, below, shown: Vec::new() };
        let mut unfit = None;
        for said in said {
            // Every file is read, so that a change of any is seen.
            match files.identity(&said.cert, &said.key) {
                Ok(identity) => certificates.add(identity, &said.names),
                Err(error) => unfit = unfit.or(Some(error)),
            }
        }
        unfit.map_or(Ok(certificates), Err)
    }

    fn add(&mut self, identity: Identity, names: &[String]) {
        let Identity { certified, read } = identity;
        let place = self.all.len();
        let names = if names.is_empty() { &read.dns } else { names };
        for name in names {
            let name = name.to_ascii_lowercase();
            let (map, name) = match name.strip_prefix("*.") {
                Some(domain) => (&mut self.below, domain.to_owned()),
                None => (&mut self.exact, name),
            };
            map.entry(name).or_default().push(place);
        }
        let name = names.first().cloned().unwrap_or_else(|| read.shown_name());
        self.shown.push((name, read.not_after));
        self.all.push(certified);
    }

    /// For a name its own certificate, else that of its domain, else the first; of several that one whose key the client
    /// understands.
    fn pick(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> &Arc<CertifiedKey> {
        let exact = name.and_then(|name| self.exact.get(name));
        let below = || self.below.get(name?.split_once('.')?.1);
        let places = exact.or_else(below).map_or(&[0][..], Vec::as_slice);
        let candidates = || places.iter().filter_map(|place| self.all.get(*place));
        let fits = |certified: &&Arc<CertifiedKey>| certified.key.choose_scheme(schemes).is_some();
        candidates().find(fits).or_else(|| candidates().next()).unwrap_or(&self.all[0])
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(self.pick(hello.server_name(), hello.signature_schemes())))
    }
}

fn verifier(clients: &Clients, files: &mut Files<'_>) -> Result<Arc<dyn ClientCertVerifier>, Unfit> {
    // Both are read, so that both are known whatever is wrong with one.
    let (roots, crls) = (files.authorities(&clients.ca), clients.crl.as_ref().map(|crl| files.revocations(crl)));
    let (roots, crls) = (roots?, crls.transpose()?.unwrap_or_default());
    let mut builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider())).with_crls(crls);
    if !clients.required {
        builder = builder.allow_unauthenticated();
    }
    let inner = builder.build().map_err(|error| match (error, &clients.crl) {
        (VerifierBuilderError::InvalidCrl(_), Some(crl)) => FaultKind::Malformed("list of revocations").of(crl),
        _ => FaultKind::Lacks("certificate").of(&clients.ca),
    })?;
    let names = clients.names.clone();
    Ok(if names.is_empty() { inner } else { Arc::new(Named { inner, names }) })
}

/// Believes clients that another verifier believes, and that have one of these names.
#[derive(Debug)]
struct Named {
    inner: Arc<dyn ClientCertVerifier>,
    names: Vec<PeerName>,
}

impl ClientCertVerifier for Named {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.inner.verify_client_cert(end_entity, intermediates, now)?;
        let read = Certificate::parse(end_entity).ok_or(CertificateError::BadEncoding)?;
        let has_one = names::has_one(&read, &self.names);
        has_one.then_some(verified).ok_or_else(|| CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
