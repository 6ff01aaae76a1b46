//! `verify_signature` and `sign`, with the messages of Envoy: RSA (PKCS#1 v1.5) and ECDSA (in DER) over a digest.
//!
//! A key that cannot be read is a bad argument, as in Envoy; everything else that goes wrong is told in `error`.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA1_ASN1, ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA384_ASN1,
    ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_ASN1_SIGNING,
    ECDSA_P384_SHA512_ASN1, ECDSA_P521_SHA1_ASN1, ECDSA_P521_SHA224_ASN1, ECDSA_P521_SHA224_ASN1_SIGNING,
    ECDSA_P521_SHA256_ASN1, ECDSA_P521_SHA256_ASN1_SIGNING, ECDSA_P521_SHA384_ASN1, ECDSA_P521_SHA384_ASN1_SIGNING,
    ECDSA_P521_SHA512_ASN1, ECDSA_P521_SHA512_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, ParsedPublicKey,
    RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
    RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384,
    RSA_PKCS1_SHA512, RsaEncoding, RsaKeyPair, VerificationAlgorithm,
};
use prost::Message;

use super::key::{Kind, Pem, pem};
use super::messages::{SignArguments, SignResult, VerifySignatureArguments, VerifySignatureResult};
use crate::deadline::Deadline;
use crate::limits;
use crate::types::Status;

/// Checks a signature; the answer is a `VerifySignatureResult`.
pub(super) fn verify_signature(args: &[u8], deadline: &mut Deadline) -> Result<Vec<u8>, Status> {
    let args = VerifySignatureArguments::decode(args).map_err(|_| Status::BadArgument)?;
    let der = public_key(&args).ok_or(Status::BadArgument)?;
    let answer = match verify(&args, &der, deadline) {
        Ok(()) => VerifySignatureResult { result: true, error: String::new() },
        Err(Fault::Status(status)) => return Err(status),
        Err(Fault::Words(error)) => VerifySignatureResult { result: false, error },
    };
    Ok(answer.encode_to_vec())
}

/// Signs a text; the answer is a `SignResult`.
pub(super) fn sign(args: &[u8], deadline: &mut Deadline) -> Result<Vec<u8>, Status> {
    let args = SignArguments::decode(args).map_err(|_| Status::BadArgument)?;
    let key = PrivateKey::of(&args).ok_or(Status::BadArgument)?;
    let answer = match signature(&args, &key, deadline) {
        Ok(signature) => SignResult { result: true, signature, error: String::new() },
        Err(Fault::Status(status)) => return Err(status),
        Err(Fault::Words(error)) => SignResult { result: false, signature: Vec::new(), error },
    };
    Ok(answer.encode_to_vec())
}

/// Why there is no signature, or none that is good: a status in place of an answer, or words in it.
enum Fault {
    Status(Status),
    Words(String),
}

impl From<Status> for Fault {
    fn from(status: Status) -> Self {
        Fault::Status(status)
    }
}

#[derive(Clone, Copy)]
enum Hash {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    fn named(name: &str) -> Result<Hash, Fault> {
        match name.to_ascii_lowercase().as_str() {
            "sha1" => Ok(Hash::Sha1),
            "sha224" => Ok(Hash::Sha224),
            "sha256" => Ok(Hash::Sha256),
            "sha384" => Ok(Hash::Sha384),
            "sha512" => Ok(Hash::Sha512),
            // Envoy's words, which a guest may compare.
            _ => Err(Fault::Words(format!("{name} is not supported."))),
        }
    }

    fn algorithm(self) -> &'static digest::Algorithm {
        match self {
            Hash::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha224 => &digest::SHA224,
            Hash::Sha256 => &digest::SHA256,
            Hash::Sha384 => &digest::SHA384,
            Hash::Sha512 => &digest::SHA512,
        }
    }
}

fn public_key(args: &VerifySignatureArguments) -> Option<Vec<u8>> {
    match (args.public_key.is_empty(), args.public_key_pem.is_empty()) {
        (false, true) => Some(args.public_key.clone()),
        (true, false) => pem(&args.public_key_pem).filter(|pem| pem.label == "PUBLIC KEY").map(|pem| pem.der),
        _ => None,
    }
}

fn verify(args: &VerifySignatureArguments, der: &[u8], deadline: &mut Deadline) -> Result<(), Fault> {
    let kind = Kind::of(der).ok_or(Status::BadArgument)?;
    let readable = |algorithm| ParsedPublicKey::new(algorithm, der).map_err(|_| Status::BadArgument);
    readable(any_verifier(kind))?;
    let hash = Hash::named(&args.hash_function)?;
    let algorithm = verifier(kind, hash).ok_or_else(|| mismatch(&args.hash_function))?;
    let digest = super::digest::of(hash.algorithm(), &args.text, deadline)?;
    let good = readable(algorithm)?.verify_digest_sig(&digest, &args.signature);
    good.map_err(|_| Fault::Words("the signature is not that of this key over this text".into()))
}

fn mismatch(hash: &str) -> Fault {
    Fault::Words(format!("{hash} is not supported with this kind of key."))
}

fn any_verifier(kind: Kind) -> &'static dyn VerificationAlgorithm {
    match kind {
        Kind::Rsa => &RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
        Kind::P256 => &ECDSA_P256_SHA256_ASN1,
        Kind::P384 => &ECDSA_P384_SHA384_ASN1,
        Kind::P521 => &ECDSA_P521_SHA512_ASN1,
        Kind::Ed25519 => &aws_lc_rs::signature::ED25519,
    }
}

/// What the library verifies; the pairs that are missing it does not know.
fn verifier(kind: Kind, hash: Hash) -> Option<&'static dyn VerificationAlgorithm> {
    Some(match (kind, hash) {
        (Kind::Rsa, Hash::Sha1) => &RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
        (Kind::Rsa, Hash::Sha256) => &RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
        (Kind::Rsa, Hash::Sha384) => &RSA_PKCS1_2048_8192_SHA384,
        (Kind::Rsa, Hash::Sha512) => &RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
        (Kind::P256, Hash::Sha1) => &ECDSA_P256_SHA1_ASN1,
        (Kind::P256, Hash::Sha256) => &ECDSA_P256_SHA256_ASN1,
        (Kind::P256, Hash::Sha384) => &ECDSA_P256_SHA384_ASN1,
        (Kind::P256, Hash::Sha512) => &ECDSA_P256_SHA512_ASN1,
        (Kind::P384, Hash::Sha256) => &ECDSA_P384_SHA256_ASN1,
        (Kind::P384, Hash::Sha384) => &ECDSA_P384_SHA384_ASN1,
        (Kind::P384, Hash::Sha512) => &ECDSA_P384_SHA512_ASN1,
        (Kind::P521, Hash::Sha1) => &ECDSA_P521_SHA1_ASN1,
        (Kind::P521, Hash::Sha224) => &ECDSA_P521_SHA224_ASN1,
        (Kind::P521, Hash::Sha256) => &ECDSA_P521_SHA256_ASN1,
        (Kind::P521, Hash::Sha384) => &ECDSA_P521_SHA384_ASN1,
        (Kind::P521, Hash::Sha512) => &ECDSA_P521_SHA512_ASN1,
        _ => return None,
    })
}

/// A private key that was found, and for RSA read; a curve's is read with the digest it signs.
enum PrivateKey {
    Rsa(RsaKeyPair),
    Curve(Kind, Vec<u8>),
}

impl PrivateKey {
    fn of(args: &SignArguments) -> Option<PrivateKey> {
        let der = &args.private_key;
        match (der.is_empty(), args.private_key_pem.is_empty()) {
            (false, true) => PrivateKey::pkcs8(der),
            (true, false) => pem(&args.private_key_pem).and_then(|pem| PrivateKey::of_pem(&pem)),
            _ => None,
        }
    }

    fn of_pem(pem: &Pem<'_>) -> Option<PrivateKey> {
        match pem.label {
            "PRIVATE KEY" => PrivateKey::pkcs8(&pem.der),
            "RSA PRIVATE KEY" => PrivateKey::rsa(&pem.der, RsaKeyPair::from_der),
            "EC PRIVATE KEY" => PrivateKey::curve(Kind::of_curve(&pem.der)?, &pem.der),
            _ => None,
        }
    }

    fn pkcs8(der: &[u8]) -> Option<PrivateKey> {
        match Kind::of(der)? {
            Kind::Rsa => PrivateKey::rsa(der, RsaKeyPair::from_pkcs8),
            Kind::Ed25519 => None,
            kind => PrivateKey::curve(kind, der),
        }
    }

    fn rsa<E>(der: &[u8], read: fn(&[u8]) -> Result<RsaKeyPair, E>) -> Option<PrivateKey> {
        // Reading checks the key, which takes as long as signing with it; so the bytes are bounded first.
        let pair = (der.len() <= limits::PRIVATE_KEY).then(|| read(der).ok()).flatten()?;
        (pair.public_modulus_len() <= limits::RSA_SIGNER).then_some(PrivateKey::Rsa(pair))
    }

    fn curve(kind: Kind, der: &[u8]) -> Option<PrivateKey> {
        let any = signer(kind, Hash::Sha256).or_else(|| signer(kind, Hash::Sha384))?;
        EcdsaKeyPair::from_private_key_der(any, der).ok()?;
        Some(PrivateKey::Curve(kind, der.to_vec()))
    }
}

fn signature(args: &SignArguments, key: &PrivateKey, deadline: &mut Deadline) -> Result<Vec<u8>, Fault> {
    let hash = Hash::named(&args.hash_function)?;
    let none = || mismatch(&args.hash_function);
    match key {
        PrivateKey::Rsa(pair) => {
            let encoding = encoding(hash).ok_or_else(none)?;
            let digest = super::digest::of(hash.algorithm(), &args.text, deadline)?;
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign_digest(encoding, &digest, &mut signature).map_err(|_| unsigned())?;
            Ok(signature)
        }
        PrivateKey::Curve(kind, der) => {
            let algorithm = signer(*kind, hash).ok_or_else(none)?;
            let digest = super::digest::of(hash.algorithm(), &args.text, deadline)?;
            let pair = EcdsaKeyPair::from_private_key_der(algorithm, der).map_err(|_| Status::BadArgument)?;
            Ok(pair.sign_digest(&digest).map_err(|_| unsigned())?.as_ref().to_vec())
        }
    }
}

fn unsigned() -> Fault {
    Fault::Words("the text could not be signed".into())
}

fn encoding(hash: Hash) -> Option<&'static dyn RsaEncoding> {
    match hash {
        Hash::Sha256 => Some(&RSA_PKCS1_SHA256),
        Hash::Sha384 => Some(&RSA_PKCS1_SHA384),
        Hash::Sha512 => Some(&RSA_PKCS1_SHA512),
        Hash::Sha1 | Hash::Sha224 => None,
    }
}

fn signer(kind: Kind, hash: Hash) -> Option<&'static EcdsaSigningAlgorithm> {
    match (kind, hash) {
        (Kind::P256, Hash::Sha256) => Some(&ECDSA_P256_SHA256_ASN1_SIGNING),
        (Kind::P384, Hash::Sha384) => Some(&ECDSA_P384_SHA384_ASN1_SIGNING),
        (Kind::P521, Hash::Sha224) => Some(&ECDSA_P521_SHA224_ASN1_SIGNING),
        (Kind::P521, Hash::Sha256) => Some(&ECDSA_P521_SHA256_ASN1_SIGNING),
        (Kind::P521, Hash::Sha384) => Some(&ECDSA_P521_SHA384_ASN1_SIGNING),
        (Kind::P521, Hash::Sha512) => Some(&ECDSA_P521_SHA512_ASN1_SIGNING),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
