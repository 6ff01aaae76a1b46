//! Keys as guests hand them over: DER or PEM, and which curve or cipher they are for.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::limits;

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Rsa,
    P256,
    P384,
    P521,
    Ed25519,
}

// The object identifiers as DER writes them, with tag and length.
const RSA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
const P256: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
const P384: &[u8] = b"\x06\x05\x2b\x81\x04\x00\x22";
const P521: &[u8] = b"\x06\x05\x2b\x81\x04\x00\x23";
const ED25519: &[u8] = b"\x06\x03\x2b\x65\x70";

/// Where the identifier lies in PKCS#8 and SubjectPublicKeyInfo: within their first bytes.
const HEAD: usize = 40;

impl Kind {
    /// The kind of a key in PKCS#8 or SubjectPublicKeyInfo. Only a guess: the parser for that kind has the last word.
    pub(super) fn of(der: &[u8]) -> Option<Kind> {
        let head = der.get(..HEAD).unwrap_or(der);
        if holds(head, RSA) {
            return Some(Kind::Rsa);
        }
        if holds(head, ED25519) {
            return Some(Kind::Ed25519);
        }
        Kind::of_curve(head)
    }

    /// The curve that `der` names anywhere.
    pub(super) fn of_curve(der: &[u8]) -> Option<Kind> {
        let curves = [(P256, Kind::P256), (P384, Kind::P384), (P521, Kind::P521)];
        curves.into_iter().find(|(id, _)| holds(der, id)).map(|(_, kind)| kind)
    }
}

fn holds(bytes: &[u8], id: &[u8]) -> bool {
    bytes.windows(id.len()).any(|window| window == id)
}

/// One block of PEM.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pem<'a> {
    pub(super) label: &'a str,
    pub(super) der: Vec<u8>,
}

/// The first block of `text`, of at most the bytes that a key may have.
pub(super) fn pem(text: &[u8]) -> Option<Pem<'_>> {
    let text = std::str::from_utf8(text).ok()?;
    let (_, rest) = text.split_once("-----BEGIN ")?;
    let (label, rest) = rest.split_once("-----")?;
    let (body, rest) = rest.split_once("-----END ")?;
    let (end, _) = rest.split_once("-----")?;
    // A header (RFC 1421) means encryption, which nobody can undo here; its colon is no base64.
    if end != label || body.len() > limits::PRIVATE_KEY * 2 {
        return None;
    }
    let body: Vec<u8> = body.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    Some(Pem { label, der: STANDARD.decode(body).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_block_is_read_whatever_stands_around_it() {
        let text = b"a comment\r\n-----BEGIN X-----\r\nAQ\r\nID\r\n-----END X-----\r\n-----BEGIN Y-----";

        assert_eq!(pem(text), Some(Pem { label: "X", der: vec![1, 2, 3] }));
    }

    #[test]
    fn what_is_no_block_is_no_key() {
        let encrypted = b"-----BEGIN X-----\nProc-Type: 4,ENCRYPTED\n\nAQID\n-----END X-----";
        let other_end = b"-----BEGIN X-----\nAQID\n-----END Y-----";
        for bad in
            [&encrypted[..], other_end, b"", b"-----BEGIN X-----", b"-----BEGIN X-----\nAQID\n-----END X", b"\xff"]
        {
            assert_eq!(pem(bad), None);
        }
    }

    #[test]
    fn a_block_has_a_bound() {
        let block = |size: usize| format!("-----BEGIN X-----{}-----END X-----", "A".repeat(size));

        assert!(pem(block(limits::PRIVATE_KEY * 2).as_bytes()).is_some());
        assert_eq!(pem(block(limits::PRIVATE_KEY * 2 + 4).as_bytes()), None);
    }
}
