//! Certificates that are made when a test needs them, and clients that shake hands as they are told.

use std::io::{self, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, ServerConfig, ServerConnection,
    SignatureScheme, StreamOwned, SupportedProtocolVersion,
};
use socket2::SockRef;
use tempfile::TempDir;

use crate::common::PATIENCE;
use crate::common::wire::{self, Kind, Message};

/// Both versions, for tests that hold for each.
pub(crate) const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// A CA of its own.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// What a certificate says.
#[derive(Clone)]
pub(crate) struct Wanted {
    common_name: String,
    names: Vec<String>,
    uris: Vec<String>,
    years: (i32, i32),
    /// In place of the first year.
    from: Option<SystemTime>,
    serial: u64,
}

/// A certificate and its key as PEM.
#[derive(Clone)]
pub(crate) struct Pem {
    pub(crate) cert: String,
    pub(crate) key: String,
}

/// A certificate for these DNS names and IP addresses, good for long.
pub(crate) fn named(names: &[&str]) -> Wanted {
    Wanted {
        common_name: names.first().map_or("nobody", |name| name).to_owned(),
        names: names.iter().map(ToString::to_string).collect(),
        uris: Vec::new(),
        years: (2020, 2090),
        from: None,
        serial: 1,
    }
}

impl Wanted {
    /// The same with a URI.
    pub(crate) fn uri(mut self, uri: &str) -> Wanted {
        self.uris.push(uri.to_owned());
        self
    }

    /// The same, good from the beginning of one year to that of another.
    pub(crate) fn years(self, from: i32, to: i32) -> Wanted {
        Wanted { years: (from, to), ..self }
    }

    /// The same, good from this second on.
    pub(crate) fn from(self, second: SystemTime) -> Wanted {
        Wanted { from: Some(second), ..self }
    }

    /// The same with a number by which it can be revoked.
    pub(crate) fn serial(self, serial: u64) -> Wanted {
        Wanted { serial, ..self }
    }
}

impl Authority {
    pub(crate) fn new(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2090, 1, 1);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// Its own certificate.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for servers and clients.
    pub(crate) fn issue(&self, wanted: &Wanted) -> Pem {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, &wanted.common_name);
        params.distinguished_name.push(DnType::OrganizationName, "Tests, Inc.");
        let name = |name: &String| match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(name.clone().try_into().unwrap()),
        };
        params.subject_alt_names = wanted.names.iter().map(name).collect();
        params.subject_alt_names.extend(wanted.uris.iter().map(|uri| SanType::URI(uri.clone().try_into().unwrap())));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = date_time_ymd(wanted.years.0, 1, 1);
        if let Some(from) = wanted.from {
            let seconds = from.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
            params.not_before = date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
        }
        params.not_after = date_time_ymd(wanted.years.1, 1, 1);
        params.serial_number = Some(SerialNumber::from(wanted.serial));
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap().pem();
        Pem { cert, key: key.serialize_pem() }
    }

    /// A list of the numbers that it revoked.
    pub(crate) fn revoking(&self, serials: &[u64]) -> String {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2021, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2021, 1, 1),
            next_update: date_time_ymd(2090, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

/// A folder with PEM files, as a configuration names them.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new() -> Files {
        Files(tempfile::tempdir().unwrap())
    }

    /// The path of a file.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file, and answers with its path in text.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Writes `NAME.pem` and `NAME.key`, and answers with `cert: …, key: …`.
    pub(crate) fn identity(&self, name: &str, pem: &Pem) -> String {
        let cert = self.write(&format!("{name}.pem"), &pem.cert);
        let key = self.write(&format!("{name}.key"), &pem.key);
        format!("cert: {cert}, key: {key}")
    }
}

/// How a client shakes hands.
#[derive(Clone)]
pub(crate) struct Hand {
    config: ClientConfig,
}

impl Hand {
    /// Believes an authority, and speaks one version or all.
    pub(crate) fn new(
        authority: &Authority,
        versions: &[&'static SupportedProtocolVersion],
        show: Option<&Pem>,
    ) -> Hand {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_protocol_versions(versions).unwrap().with_root_certificates(roots);
        let config = match show {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let chain = CertificateDer::pem_slice_iter(pem.cert.as_bytes()).map(Result::unwrap).collect();
                let key = PrivateKeyDer::from_pem_slice(pem.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        Hand { config }
    }

    /// The same, offering these protocols.
    pub(crate) fn offering(mut self, protocols: &[&str]) -> Hand {
        self.config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        Arc::new(self.config.clone())
    }

    /// Shakes hands with whoever has this address, under this name.
    pub(crate) fn shake(&self, address: SocketAddr, name: &str) -> io::Result<TlsClient> {
        shake(&self.config(), address, name)
    }
}

/// Shakes hands; sessions are those of `config`.
pub(crate) fn shake(config: &Arc<ClientConfig>, address: SocketAddr, name: &str) -> io::Result<TlsClient> {
    shake_on(config, TcpStream::connect_timeout(&address, PATIENCE)?, name)
}

/// The same on a connection that is there.
pub(crate) fn shake_on(config: &Arc<ClientConfig>, stream: TcpStream, name: &str) -> io::Result<TlsClient> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    let mut session = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
    let mut stream = stream;
    while session.is_handshaking() {
        session.complete_io(&mut stream)?;
    }
    Ok(TlsClient { reader: BufReader::with_capacity(1 << 16, StreamOwned::new(session, stream)) })
}

/// A connection on which hands were shaken.
pub(crate) struct TlsClient {
    reader: BufReader<StreamOwned<ClientConnection, TcpStream>>,
}

impl TlsClient {
    pub(crate) fn session(&self) -> &ClientConnection {
        &self.reader.get_ref().conn
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.reader.get_ref().sock
    }

    /// What the proxy's certificate is called first.
    pub(crate) fn shown(&self) -> CertificateDer<'static> {
        self.session().peer_certificates().unwrap()[0].clone()
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes.as_ref())
    }

    pub(crate) fn reader(&mut self) -> &mut BufReader<StreamOwned<ClientConnection, TcpStream>> {
        &mut self.reader
    }

    /// The next final answer, whole.
    pub(crate) fn answer(&mut self) -> io::Result<Message> {
        let mut head = wire::read_head(&mut self.reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        wire::read_body(&mut self.reader, &mut head, Kind::Answer)?;
        Ok(head)
    }

    /// One GET.
    pub(crate) fn get(&mut self, path: &str) -> io::Result<Message> {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n"))?;
        self.answer()
    }
}

/// A client that believes any certificate, to see which one it is shown.
pub(crate) fn believing() -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().dangerous();
    Arc::new(builder.with_custom_certificate_verifier(Arc::new(Believer)).with_no_client_auth())
}

#[derive(Debug)]
struct Believer;

impl ServerCertVerifier for Believer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// An endpoint that shows a certificate which no listener would, and talks to nobody who does not believe it.
pub(crate) fn expired_endpoint(pem: &Pem) -> SocketAddr {
    scripted_endpoint(pem, |reader| wire::read_head(reader).map(drop))
}

/// An endpoint that does with each connection, one after the other, what `script` says, and then lets go of it without a word.
pub(crate) fn scripted_endpoint(
    pem: &Pem,
    script: impl Fn(&mut BufReader<StreamOwned<ServerConnection, TcpStream>>) -> io::Result<()> + Send + 'static,
) -> SocketAddr {
    let chain = CertificateDer::pem_slice_iter(pem.cert.as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(pem.key.as_bytes()).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config = Arc::new(builder.with_single_cert(chain, key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // Whoever sends more than is read finds out soon.
    SockRef::from(&listener).set_recv_buffer_size(4096).unwrap();
    let address = listener.local_addr().unwrap();
    // It ends with the process of the tests.
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            // Else a last word may wait for an acknowledgement, and go with the socket.
            stream.set_nodelay(true).unwrap();
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut reader = BufReader::new(StreamOwned::new(session, stream));
            // What the proxy makes of it is what a test looks at.
            let _ = script(&mut reader);
        }
    });
    address
}
