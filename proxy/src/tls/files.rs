//! Files of TLS: read whole within a bound, at once or not at all, and taken out of their PEM.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};

use super::certificate::Certificate;
use super::fault::{FaultKind, Unfit};
use super::provider;

/// Lists of revocations are the largest of them.
const LIMIT: u64 = 16 << 20;

/// The CAs of the system, which are looked for once for everybody who reads at one time.
#[derive(Debug, Default)]
pub struct SystemRoots(OnceLock<Arc<RootCertStore>>);

/// Certificates that are shown although it is too late or too early for them.
#[derive(Debug)]
pub enum Untimely {
    /// Any: whoever starts has nothing better to show.
    Any,
    /// Those of these files, with the SHA-256 of what they hold: they are shown already.
    Of(HashSet<(PathBuf, [u8; 32])>),
}

impl Untimely {
    fn has(&self, file: &Path, held: [u8; 32]) -> bool {
        match self {
            Self::Any => true,
            Self::Of(shown) => shown.contains(&(file.to_owned(), held)),
        }
    }
}

/// The files that were read for one purpose, with what they held.
#[derive(Debug)]
pub struct Files<'a> {
    system: &'a SystemRoots,
    may: &'a Untimely,
    read: Vec<(PathBuf, Option<[u8; 32]>)>,
    untimely: Vec<Unfit>,
}

impl<'a> Files<'a> {
    /// Nothing was read yet.
    pub fn new(system: &'a SystemRoots, may: &'a Untimely) -> Self {
        Self { system, may, read: Vec::new(), untimely: Vec::new() }
    }

    /// Every file, with the SHA-256 of what it held if it could be read.
    pub fn read(&self) -> impl Iterator<Item = (&Path, Option<[u8; 32]>)> {
        self.read.iter().map(|(file, held)| (file.as_path(), *held))
    }

    /// The certificates that are shown although it is too late or too early for them.
    pub fn into_untimely(self) -> Vec<Unfit> {
        self.untimely
    }

    /// These and others.
    pub(super) fn extend(&mut self, others: Files<'_>) {
        self.read.extend(others.read);
        self.untimely.extend(others.untimely);
    }

    fn bytes(&mut self, file: &Path) -> Result<Vec<u8>, Unfit> {
        let bytes = read(file);
        let held = bytes.as_ref().ok().map(|bytes| {
            let mut held = [0; 32];
            held.copy_from_slice(digest(&SHA256, bytes).as_ref());
            held
        });
        self.read.push((file.to_owned(), held));
        bytes.map_err(|kind| kind.of(file))
    }

    /// The certificates of a file, at least one.
    fn certificates(&mut self, file: &Path) -> Result<Vec<CertificateDer<'static>>, Unfit> {
        items(&self.bytes(file)?, "certificate").map_err(|kind| kind.of(file))
    }

    /// A chain with its key, which fit one another and are good now, unless they may be shown all the same.
    pub(super) fn identity(&mut self, cert: &Path, key: &Path) -> Result<Identity, Unfit> {
        // Both are read, so that both are known whatever is wrong with one.
        let (chain, bytes) = (self.certificates(cert), self.bytes(key));
        let (chain, bytes) = (chain?, bytes?);
        let secret = PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| no_key(&error).of(key))?;
        let read = chain.first().and_then(|der| Certificate::parse(der));
        let read = read.ok_or_else(|| FaultKind::Malformed("certificate").of(cert))?;
        let certified = CertifiedKey::from_der(chain, secret, provider()).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => FaultKind::Mismatch(key.to_owned()).of(cert),
            // What rustls says of a key has none of it.
            error => FaultKind::Unusable(error).of(key),
        })?;
        if let Err(kind) = check_time(&read, SystemTime::now()) {
            let held = self.read.iter().rev().find_map(|(file, held)| held.filter(|_| file == cert));
            if !held.is_some_and(|held| self.may.has(cert, held)) {
                return Err(kind.of(cert));
            }
            self.untimely.push(kind.of(cert));
        }
        Ok(Identity { certified: Arc::new(certified), read })
    }

    /// The CAs of a file.
    pub(super) fn authorities(&mut self, file: &Path) -> Result<Arc<RootCertStore>, Unfit> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates(file)? {
            roots.add(certificate).map_err(|_| FaultKind::Malformed("certificate").of(file))?;
        }
        Ok(Arc::new(roots))
    }

    /// The CAs of the system, which are no file.
    pub(super) fn system(&self) -> Result<Arc<RootCertStore>, Unfit> {
        match self.system.0.get() {
            Some(known) => Ok(Arc::clone(known)),
            None => system_authorities().map(|found| Arc::clone(self.system.0.get_or_init(|| found))),
        }
    }

    /// Where the same is read for a part of the purpose.
    pub(super) fn aside(&self) -> Files<'a> {
        Files::new(self.system, self.may)
    }

    /// The lists of revocations of a file, at least one.
    pub(super) fn revocations(&mut self, file: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, Unfit> {
        items(&self.bytes(file)?, "list of revocations").map_err(|kind| kind.of(file))
    }
}

/// A certificate that can be shown.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) certified: Arc<CertifiedKey>,
    /// What its certificate says.
    pub(super) read: Certificate,
}

fn system_authorities() -> Result<Arc<RootCertStore>, Unfit> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // What the system has may hold old certificates that nothing here understands.
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let words: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        let words = if words.is_empty() { "none was found".to_owned() } else { words.join("; ") };
        return Err(Unfit { file: None, kind: FaultKind::NoRoots(words) });
    }
    Ok(Arc::new(roots))
}

fn check_time(certificate: &Certificate, now: SystemTime) -> Result<(), FaultKind> {
    match () {
        () if now > certificate.not_after => Err(FaultKind::Expired(certificate.not_after)),
        () if now < certificate.not_before => Err(FaultKind::Early(certificate.not_before)),
        () => Ok(()),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, FaultKind> {
    let file: File = tollgate_config::open(file).map_err(FaultKind::Read)?;
    let mut bytes = Vec::new();
    let length = file.take(LIMIT + 1).read_to_end(&mut bytes).map_err(FaultKind::Read)?;
    match u64::try_from(length) {
        Ok(0) => Err(FaultKind::Read(io::Error::new(io::ErrorKind::UnexpectedEof, "it is empty"))),
        Ok(length) if length <= LIMIT => Ok(bytes),
        _ => Err(FaultKind::TooLarge(LIMIT)),
    }
}

/// Everything of one kind; what else there is, is passed over.
fn items<T: PemObject>(bytes: &[u8], kind: &'static str) -> Result<Vec<T>, FaultKind> {
    let items = T::pem_slice_iter(bytes).collect::<Result<Vec<T>, _>>().map_err(|_| FaultKind::NotPem)?;
    if items.is_empty() { Err(FaultKind::Lacks(kind)) } else { Ok(items) }
}

fn no_key(error: &pem::Error) -> FaultKind {
    match error {
        pem::Error::NoItemsFound => FaultKind::Lacks("private key"),
        _ => FaultKind::NotPem,
    }
}
