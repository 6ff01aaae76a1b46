//! TLS: what a listener shows and asks of its clients, and what is believed of the endpoints of a cluster.
//! Reading the files and speaking TLS is the proxy's work; no key is ever read here.

use std::path::PathBuf;
use std::time::Duration;

use schemars::{Schema, json_schema};
use serde_json::Value;

use crate::cluster::host_name;
use crate::scalar::{Bare, Scalar, Unfit, Word};

/// How a listener speaks TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// At least one; the first is for clients that ask for no name, or for one that no other has.
    pub certificates: Vec<Certificate>,
    /// What is asked of clients; `None`: nothing.
    pub clients: Option<Clients>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// The protocols that are offered, the preferred one first.
    pub alpn: Vec<Alpn>,
    /// How long the key of session tickets is used, and the one before it still read; `None`: there are no tickets.
    pub tickets: Option<Duration>,
}

impl ServerTls {
    /// [`ServerTls::tickets`] when nothing is written.
    pub const TICKETS: Duration = Duration::from_secs(6 * 3600);
    /// [`ServerTls::alpn`] when nothing is written.
    pub const ALPN: [Alpn; 2] = [Alpn::H2, Alpn::Http1];
}

/// A chain of certificates with its key, as paths joined to the folder of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// PEM: the certificate, then those that lead from it to a CA.
    pub cert: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
    /// The names it is shown for, in lower case, `*.example.com` among them; empty: those in the certificate.
    pub names: Vec<String>,
}

/// What a listener asks of its clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clients {
    /// PEM: the CAs that may have signed their certificates.
    pub ca: PathBuf,
    /// True when a client without a certificate is refused.
    pub required: bool,
    /// One of these has to be in the certificate; empty: any certificate of the CAs will do.
    pub names: Vec<PeerName>,
    /// PEM: lists of certificates that were revoked.
    pub crl: Option<PathBuf>,
}

/// How TLS is spoken with the endpoints of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientTls {
    /// The name that is asked for; `None`: the host of the endpoint, where that is a name.
    pub sni: Option<String>,
    /// PEM: the CAs that are believed; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// PEM: the certificate that is shown, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// One of these has to be in the certificate; empty: the name that is asked for, else the host.
    pub names: Vec<PeerName>,
    /// False: any certificate is believed.
    pub verify: bool,
}

impl Default for ClientTls {
    /// What `tls: {}` means.
    fn default() -> ClientTls {
        ClientTls { sni: None, ca: None, identity: None, names: Vec::new(), verify: true }
    }
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[default]
    V12,
    /// TLS 1.3.
    V13,
}

impl Scalar for TlsVersion {
    const EXPECTED: &'static str = "\"1.2\" or \"1.3\"";
    const BARE: Bare = Bare::Text;

    fn parse(text: &str) -> Result<TlsVersion, Unfit> {
        match text {
            "1.2" => Ok(TlsVersion::V12),
            "1.3" => Ok(TlsVersion::V13),
            _ => Err(Unfit::value("is no version of TLS that is spoken here; write \"1.2\" or \"1.3\"")),
        }
    }

    fn spell(&self) -> Value {
        match self {
            TlsVersion::V12 => "1.2".into(),
            TlsVersion::V13 => "1.3".into(),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "enum": ["1.2", "1.3", 1.2, 1.3] })
    }
}

/// A protocol that is agreed on while TLS begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alpn {
    /// HTTP/2.
    H2,
    /// HTTP/1.1.
    Http1,
}

impl Word for Alpn {
    const WORDS: &'static [(&'static str, Alpn)] = &[("h2", Alpn::H2), ("http1", Alpn::Http1)];
    const EXPECTED: &'static str = "\"h2\" or \"http1\"";
}

/// Whether clients have to show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientAuth {
    Request,
    Require,
}

impl Word for ClientAuth {
    const WORDS: &'static [(&'static str, ClientAuth)] =
        &[("request", ClientAuth::Request), ("require", ClientAuth::Require)];
    const EXPECTED: &'static str = "\"request\" or \"require\"";
}

/// Whether certificates of endpoints are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Verify {
    #[default]
    On,
    Off,
}

impl Word for Verify {
    const WORDS: &'static [(&'static str, Verify)] = &[("on", Verify::On), ("off", Verify::Off)];
    const EXPECTED: &'static str = "\"on\" or \"off\"";
}

/// A name in a peer's certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PeerName {
    /// This DNS name, in lower case, or this IP address.
    Host(String),
    /// Every DNS name with one label more than this one: `example.com` for `*.example.com`, in lower case.
    Below(String),
    /// This URI.
    Uri(String),
    /// Every URI that begins like this, which ends in a slash: `spiffe://example.org/` for `spiffe://example.org/*`.
    UrisBelow(String),
}

impl Scalar for PeerName {
    const EXPECTED: &'static str = "a name in a certificate, such as api.local or spiffe://example.org/api";

    fn parse(text: &str) -> Result<PeerName, Unfit> {
        let unfit = || {
            Unfit::value(
                "is not a name in a certificate; write api.local, *.example.com, spiffe://example.org/api or \
                 spiffe://example.org/*",
            )
        };
        if let Some((scheme, rest)) = text.split_once("://") {
            return uri(text, scheme, rest).ok_or_else(unfit);
        }
        if let Some(domain) = text.strip_prefix("*.") {
            return domain_name(domain).map(PeerName::Below).ok_or_else(unfit);
        }
        // An IPv6 address stands here as it does in a certificate, without brackets.
        let host = text.parse().map(|address: std::net::IpAddr| address.to_string()).ok();
        host.or_else(|| domain_name(text)).map(PeerName::Host).ok_or_else(unfit)
    }

    fn spell(&self) -> Value {
        match self {
            PeerName::Host(name) | PeerName::Uri(name) => name.as_str().into(),
            PeerName::Below(domain) => format!("*.{domain}").into(),
            PeerName::UrisBelow(start) => format!("{start}*").into(),
        }
    }
}

fn uri(text: &str, scheme: &str, rest: &str) -> Option<PeerName> {
    let fits = |letter: char| letter.is_ascii_graphic() && letter != '*';
    let (start, below) = match text.strip_suffix('*') {
        Some(start) if start.ends_with('/') && !rest.starts_with(['/', '*']) => (start, true),
        Some(_) => return None,
        None => (text, false),
    };
    let is_uri = !scheme.is_empty() && !rest.is_empty() && start.chars().all(fits);
    let name = is_uri.then(|| start.to_owned())?;
    Some(if below { PeerName::UrisBelow(name) } else { PeerName::Uri(name) })
}

/// A DNS name in lower case, without the dot of a fully qualified one.
fn domain_name(text: &str) -> Option<String> {
    let name = host_name(text.strip_suffix('.').unwrap_or(text))?;
    let is_address = name.contains(':') || name.parse::<std::net::IpAddr>().is_ok();
    (!is_address).then_some(name)
}

/// A name that clients ask for: a DNS name, or `*.` and a domain; in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerName(pub(crate) String);

impl Scalar for ServerName {
    const EXPECTED: &'static str = "a DNS name such as api.local or *.example.com";

    fn parse(text: &str) -> Result<ServerName, Unfit> {
        let unfit = || Unfit::value("is not a DNS name; write it as in api.local or *.example.com");
        match text.strip_prefix("*.") {
            Some(domain) => domain_name(domain).map(|name| format!("*.{name}")),
            None => domain_name(text),
        }
        .map(ServerName)
        .ok_or_else(unfit)
    }

    fn spell(&self) -> Value {
        self.0.as_str().into()
    }
}

/// The name that a server is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sni(pub(crate) String);

impl Scalar for Sni {
    const EXPECTED: &'static str = "a DNS name such as api.local";

    fn parse(text: &str) -> Result<Sni, Unfit> {
        domain_name(text).map(Sni).ok_or_else(|| Unfit::value("is not a DNS name; write it as in api.local"))
    }

    fn spell(&self) -> Value {
        self.0.as_str().into()
    }
}

/// The path of a file with certificates, a key or revocations, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PemFile(pub(crate) PathBuf);

impl PemFile {
    /// True for what is the content of such a file rather than its path; nothing may print it.
    pub(crate) fn is_content(text: &str) -> bool {
        text.contains("-----BEGIN") || text.contains('\n')
    }
}

impl Scalar for PemFile {
    const EXPECTED: &'static str = "the path of a PEM file";

    fn parse(text: &str) -> Result<PemFile, Unfit> {
        match text.is_empty() || text.contains('\0') || text.contains("://") {
            true => Err(Unfit::value("is not the path of a file")),
            false => Ok(PemFile(text.into())),
        }
    }

    fn spell(&self) -> Value {
        self.0.to_string_lossy().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_a_certificate_is_a_host_a_domain_or_a_uri() {
        let name = |text| PeerName::parse(text);

        assert_eq!(name("Api.Local."), Ok(PeerName::Host("api.local".into())));
        assert_eq!(name("10.0.0.1"), Ok(PeerName::Host("10.0.0.1".into())));
        assert_eq!(name("2001:DB8::1"), Ok(PeerName::Host("2001:db8::1".into())));
        assert_eq!(name("*.Example.com"), Ok(PeerName::Below("example.com".into())));
        assert_eq!(name("spiffe://a.org/ns/Api"), Ok(PeerName::Uri("spiffe://a.org/ns/Api".into())));
        assert_eq!(name("spiffe://a.org/*"), Ok(PeerName::UrisBelow("spiffe://a.org/".into())));
        for text in
            ["", "*", "*.", "a b", "a.*.b", "spiffe://", "spiffe://a*", "spiffe://a/*/b", "spiffe:///*", "://a", "a:80"]
        {
            assert!(name(text).is_err(), "{text}");
        }
        for text in ["api.local", "*.example.com", "spiffe://a.org/ns/*", "::1"] {
            assert_eq!(name(text).map(|name| name.spell()), Ok(text.into()));
        }
    }

    #[test]
    fn a_name_that_clients_ask_for_is_no_address() {
        assert_eq!(ServerName::parse("*.Example.com"), Ok(ServerName("*.example.com".into())));
        assert_eq!(ServerName::parse("api.local."), Ok(ServerName("api.local".into())));
        for text in ["", "*", "10.0.0.1", "[::1]", "*.10.0.0.1", "api.local:443", "https://a"] {
            assert!(ServerName::parse(text).is_err(), "{text}");
        }
        assert!(Sni::parse("*.example.com").is_err() && Sni::parse("127.0.0.1").is_err());
    }
}
