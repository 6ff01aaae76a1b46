//! What a test is played in: a folder with certificates of its own CA, and the configuration of its proxy.

use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use tempfile::TempDir;

use crate::peer::target;
use crate::proxy::Tollgate;

/// A folder, removed when the test is over.
pub(crate) struct Scene(TempDir);

impl Scene {
    /// With `ca.pem`, and as `NAME.pem` and `NAME.key` certificates by it: `a` for `a.test`, `wild` for `*.wild.test`, and
    /// `client` for nobody in particular. `stranger` is by another CA.
    pub(crate) fn new() -> Scene {
        let scene = Scene(tempfile::tempdir().unwrap());
        let ours = Authority::new("ours");
        scene.write("ca.pem", &ours.pem);
        scene.write("other-ca.pem", &Authority::new("nobody's").pem);
        scene.certificate(&ours, "a", &["a.test", "localhost"]);
        scene.certificate(&ours, "wild", &["*.wild.test"]);
        scene.certificate(&ours, "client", &["client.test"]);
        scene.certificate(&Authority::new("theirs"), "stranger", &["client.test"]);
        scene
    }

    fn certificate(&self, authority: &Authority, file: &str, names: &[&str]) {
        let (cert, key) = authority.issue(names);
        self.write(&format!("{file}.pem"), &cert);
        self.write(&format!("{file}.key"), &key);
        // As haproxy wants them.
        self.write(&format!("{file}.both"), format!("{cert}{key}"));
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        self.0.path()
    }

    /// The path of a file in the folder, as an argument.
    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// Writes a file and answers with its path.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    /// A file of that many bytes, no two parts of which are alike.
    pub(crate) fn bytes(&self, name: &str, length: u32) -> String {
        let words = (0..length / 4).map(|number| number.wrapping_mul(2_654_435_761));
        self.write(name, words.flat_map(u32::to_be_bytes).collect::<Vec<_>>())
    }

    /// A proxy of one worker with these clusters. A listener `plain` and one with TLS, `tls`, have the same routes; a filter
    /// `noop` is there to be named.
    pub(crate) fn proxy(&self, clusters: &str, routes: &str) -> Tollgate {
        self.proxy_with("", clusters, routes)
    }

    /// The same, with further keys of the TLS of the listener, each with `, ` in front.
    pub(crate) fn proxy_with(&self, tls: &str, clusters: &str, routes: &str) -> Tollgate {
        let filter = target().join("wasm32-wasip1/filter/filter_noop.wasm");
        let certificates = "[{ cert: a.pem, key: a.key }, { cert: wild.pem, key: wild.key }]";
        let config = format!(
            "workers: 1\nadmin: off\nwatch: off\nfilters: {{ noop: {{ wasm: {} }} }}\nclusters: {clusters}\nlisteners:\n\
             - {{ name: plain, listen: 127.0.0.1:0, routes: {routes} }}\n\
             - {{ name: tls, listen: 127.0.0.1:0, tls: {{ certificates: {certificates}{tls} }}, routes: {routes} }}\n",
            filter.display()
        );
        Tollgate::start(Path::new(&self.write("tollgate.yaml", config)))
    }
}

/// A CA of its own.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2090, 1, 1));
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for these DNS names and its key, as PEM.
    fn issue(&self, names: &[&str]) -> (String, String) {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names.clone()).unwrap();
        params.distinguished_name.push(DnType::CommonName, &names[0]);
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2090, 1, 1));
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap().pem();
        (cert, key.serialize_pem())
    }
}
