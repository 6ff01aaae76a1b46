//! Why files cannot be used for TLS: each with whose they are, which file it is, and a code. Nothing of a key is ever part
//! of it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::telemetry::timestamp::Timestamp;

/// One file that cannot be used.
#[derive(Debug)]
pub struct Fault {
    /// Whose it is: `listener "edge"`.
    pub whose: String,
    /// The file; absent for the CAs of the system.
    pub file: Option<PathBuf>,
    /// What is wrong.
    pub kind: FaultKind,
}

/// What is wrong with a file.
#[derive(Debug)]
pub enum FaultKind {
    /// It cannot be read.
    Read(io::Error),
    /// It is larger than anything of its kind.
    TooLarge(u64),
    /// It is not PEM, or not all of it.
    NotPem,
    /// It has nothing of what it should have.
    Lacks(&'static str),
    /// It is PEM of something that cannot be understood.
    Malformed(&'static str),
    /// The key is another certificate's.
    Mismatch(PathBuf),
    /// It is too late for the certificate.
    Expired(SystemTime),
    /// It is too early for the certificate.
    Early(SystemTime),
    /// What it has is not spoken here.
    Unusable(rustls::Error),
    /// The system has no CAs, in its words.
    NoRoots(String),
}

impl FaultKind {
    /// A fault of this file.
    pub(super) fn of(self, file: &Path) -> Unfit {
        Unfit { file: Some(file.to_owned()), kind: self }
    }
}

/// A fault of which nobody said yet whose it is.
#[derive(Debug)]
pub struct Unfit {
    pub(super) file: Option<PathBuf>,
    pub(super) kind: FaultKind,
}

impl Unfit {
    /// The fault of a listener or a cluster.
    pub fn of(self, whose: &str) -> Fault {
        Fault { whose: whose.to_owned(), file: self.file, kind: self.kind }
    }
}

impl Fault {
    /// The code that stands in its message.
    pub fn code(&self) -> &'static str {
        match self.kind {
            FaultKind::Read(_) | FaultKind::TooLarge(_) => "TG0501",
            FaultKind::NotPem | FaultKind::Lacks(_) | FaultKind::Malformed(_) => "TG0502",
            FaultKind::Mismatch(_) => "TG0503",
            FaultKind::Expired(_) | FaultKind::Early(_) => "TG0504",
            FaultKind::Unusable(_) => "TG0505",
            FaultKind::NoRoots(_) => "TG0506",
        }
    }

    /// What is wrong, where it is no error: `listener "edge": a.pem expired at …`.
    pub fn words(&self) -> String {
        let file = self.file.as_ref().map(|file| format!("{} ", file.display())).unwrap_or_default();
        format!("{}: {file}{}", self.whose, self.kind)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: {}", self.code(), self.words())
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => write!(f, "cannot be read: {error}"),
            Self::TooLarge(limit) => write!(f, "is larger than the limit of {limit} bytes"),
            Self::NotPem => f.write_str("is not PEM to its end; it may be written to at this moment"),
            Self::Lacks(what) => write!(f, "has no {what} in PEM"),
            Self::Malformed(what) => write!(f, "has a {what} that cannot be understood"),
            Self::Mismatch(key) => write!(f, "does not fit the key {}", key.display()),
            Self::Expired(since) => write!(f, "expired at {}", Timestamp(*since)),
            Self::Early(until) => write!(f, "is not good before {}", Timestamp(*until)),
            Self::Unusable(error) => write!(f, "cannot be used: {error}"),
            Self::NoRoots(words) => write!(f, "the system has no CAs, name some with \"ca\": {words}"),
        }
    }
}
