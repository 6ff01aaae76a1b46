//! Why hands were not shaken, in a word for whoever counts and in words for whoever reads a log.

use std::fmt;
use std::io;

use rustls::{AlertDescription, CertificateError, Error};

/// What failed on the way to a connection that speaks TLS, on either side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandshakeError {
    /// One of a few, for labels and logs.
    pub word: &'static str,
    words: String,
}

impl HandshakeError {
    /// What an endpoint did, or its certificate lacks.
    pub(super) fn of_endpoint(error: io::Error) -> io::Error {
        let word = match of_rustls(&error) {
            Some(Error::InvalidCertificate(error)) => of_certificate(error),
            Some(Error::AlertReceived(alert)) => of_alert(*alert),
            Some(Error::NoApplicationProtocol) => "alpn",
            Some(Error::PeerIncompatible(_)) => "incompatible",
            Some(Error::InvalidMessage(_)) => "not_tls",
            Some(_) => "handshake",
            None => "closed",
        };
        io::Error::other(Self { word, words: error.to_string() })
    }

    /// An endpoint whose host is no name that could be asked for.
    pub(super) fn name(name: &str) -> io::Error {
        io::Error::other(Self {
            word: "name",
            words: format!("{name:?} is no name that an endpoint could be asked for"),
        })
    }

    /// An endpoint that does not speak HTTP/2.
    pub(super) fn alpn() -> io::Error {
        io::Error::other(Self { word: "alpn", words: "the endpoint did not agree on h2".to_owned() })
    }

    /// The word of an error that came up while hands were shaken.
    pub fn word_of(error: &io::Error) -> Option<&'static str> {
        error.get_ref()?.downcast_ref::<Self>().map(|error| error.word)
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl std::error::Error for HandshakeError {}

/// What an endpoint said once hands were shaken: with TLS 1.3 it is only then that it looks at this side's certificate.
pub fn late_word(error: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(Error::AlertReceived(alert)) = error.downcast_ref::<io::Error>().and_then(of_rustls) {
            return Some(of_alert(*alert));
        }
        next = error.source();
    }
    None
}

/// How rustls words an alert, where its error is no more than text.
pub const ALERT_WORDS: &str = "received fatal alert: ";

fn of_rustls(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

fn of_certificate(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "certificate_expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "certificate_not_yet_valid",
        CertificateError::Revoked => "certificate_revoked",
        CertificateError::UnknownRevocationStatus => "certificate_revocation_unknown",
        CertificateError::UnknownIssuer => "certificate_unknown_issuer",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => "certificate_name",
        CertificateError::ApplicationVerificationFailure => "certificate_name",
        _ => "certificate_invalid",
    }
}

fn of_alert(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::CertificateRequired => "alert_certificate_required",
        AlertDescription::BadCertificate | AlertDescription::UnsupportedCertificate => "alert_bad_certificate",
        AlertDescription::CertificateExpired => "alert_certificate_expired",
        AlertDescription::CertificateRevoked => "alert_certificate_revoked",
        AlertDescription::UnknownCA => "alert_unknown_ca",
        AlertDescription::UnrecognisedName => "alert_unrecognized_name",
        AlertDescription::HandshakeFailure => "alert_handshake_failure",
        AlertDescription::ProtocolVersion => "alert_protocol_version",
        AlertDescription::NoApplicationProtocol => "alpn",
        _ => "alert",
    }
}

/// Why a client's handshake failed: the label `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientFailure {
    /// Its first byte begins no handshake.
    NotTls,
    /// It took too long.
    Timeout,
    /// It left.
    Gone,
    /// It showed no certificate.
    NoCertificate,
    /// The time of its certificate is over.
    Expired,
    /// Its certificate was revoked.
    Revoked,
    /// None of the CAs signed its certificate.
    UnknownIssuer,
    /// Its certificate has none of the names.
    Name,
    /// Its certificate is no good in another way.
    Certificate,
    /// It said that it does not go on, such as one that does not believe our certificate.
    Alert,
    /// It speaks no version or no cipher that is spoken here.
    Incompatible,
    /// It offered no protocol that is spoken here.
    Alpn,
    /// What it sent is no TLS.
    Protocol,
}

impl ClientFailure {
    /// How many there are.
    pub const COUNT: usize = 13;

    /// Every one, each at its [`ClientFailure::index`].
    pub const ALL: [ClientFailure; ClientFailure::COUNT] = [
        Self::NotTls,
        Self::Timeout,
        Self::Gone,
        Self::NoCertificate,
        Self::Expired,
        Self::Revoked,
        Self::UnknownIssuer,
        Self::Name,
        Self::Certificate,
        Self::Alert,
        Self::Incompatible,
        Self::Alpn,
        Self::Protocol,
    ];

    /// Its place among all.
    pub fn index(self) -> usize {
        self as usize
    }

    /// The value of the label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotTls => "not_tls",
            Self::Timeout => "timeout",
            Self::Gone => "gone",
            Self::NoCertificate => "certificate_missing",
            Self::Expired => "certificate_expired",
            Self::Revoked => "certificate_revoked",
            Self::UnknownIssuer => "certificate_unknown_issuer",
            Self::Name => "certificate_name",
            Self::Certificate => "certificate_invalid",
            Self::Alert => "alert",
            Self::Incompatible => "incompatible",
            Self::Alpn => "alpn",
            Self::Protocol => "protocol",
        }
    }

    /// What an error of a handshake with a client comes to.
    pub fn of(error: &io::Error) -> Self {
        match of_rustls(error) {
            None => Self::Gone,
            Some(Error::NoCertificatesPresented) => Self::NoCertificate,
            Some(Error::InvalidCertificate(error)) => match of_certificate(error) {
                "certificate_expired" => Self::Expired,
                "certificate_revoked" => Self::Revoked,
                "certificate_unknown_issuer" => Self::UnknownIssuer,
                "certificate_name" => Self::Name,
                _ => Self::Certificate,
            },
            Some(Error::AlertReceived(_)) => Self::Alert,
            Some(Error::PeerIncompatible(_)) => Self::Incompatible,
            Some(Error::NoApplicationProtocol) => Self::Alpn,
            Some(_) => Self::Protocol,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// An error as hyper has them.
    #[derive(Debug, thiserror::Error)]
    #[error("the connection broke")]
    struct Outer(#[source] io::Error);

    #[test]
    fn every_failure_of_a_client_is_at_its_index_with_a_word_of_its_own() {
        for (at, failure) in ClientFailure::ALL.into_iter().enumerate() {
            assert_eq!(failure.index(), at);
        }
        let words: HashSet<_> = ClientFailure::ALL.into_iter().map(ClientFailure::as_str).collect();
        assert_eq!(words.len(), ClientFailure::COUNT);
    }

    #[test]
    fn an_alert_is_found_below_other_errors_and_in_the_words_of_rustls() {
        let alert = || Error::AlertReceived(AlertDescription::CertificateRequired);
        let error = Outer(io::Error::new(io::ErrorKind::InvalidData, alert()));

        assert_eq!(late_word(&error), Some("alert_certificate_required"));
        assert_eq!(late_word(&io::Error::other("x")), None);
        assert!(alert().to_string().starts_with(ALERT_WORDS));
    }
}
