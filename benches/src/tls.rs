//! As much TLS as a measurement needs: a certificate that signs itself, for a proxy, and clients that believe it.

use std::fs;
use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// The name on the certificate.
const NAME: &str = "bench.test";

/// See the module.
pub struct Identity {
    cert: PathBuf,
    key: PathBuf,
    roots: RootCertStore,
}

impl Identity {
    /// A new one, whose files are in `folder`.
    pub fn make(folder: &Path) -> io::Result<Identity> {
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let params = CertificateParams::new(vec![NAME.to_owned()]).map_err(io::Error::other)?;
        let certificate = params.self_signed(&key).map_err(io::Error::other)?;
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).map_err(io::Error::other)?;
        let identity = Identity { cert: folder.join("cert.pem"), key: folder.join("key.pem"), roots };
        fs::write(&identity.cert, certificate.pem())?;
        fs::write(&identity.key, key.serialize_pem())?;
        Ok(identity)
    }

    /// What a listener is told of it, in YAML.
    pub fn listener(&self) -> String {
        format!("tls: {{ certificates: [{{ cert: {:?}, key: {:?} }}] }}", self.cert, self.key)
    }

    /// For clients that offer one protocol, such as `h2`.
    pub fn client(&self, protocol: &str) -> io::Result<Arc<ClientConfig>> {
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_safe_default_protocol_versions().map_err(io::Error::other)?;
        let mut config = builder.with_root_certificates(self.roots.clone()).with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        Ok(Arc::new(config))
    }
}

/// A stream on which hands will be shaken with the first byte.
pub fn stream(config: &Arc<ClientConfig>, socket: TcpStream) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
    let connection = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
    Ok(StreamOwned::new(connection, socket))
}
