//! The algorithms of tokens (RFC 7518 and 8037) that are known. `none` is not one of them.

use aws_lc_rs::hmac::{self, HMAC_SHA256, HMAC_SHA384, HMAC_SHA512};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
    RSA_PSS_2048_8192_SHA512, RsaParameters, VerificationAlgorithm,
};

use super::super::key::Kind;

/// How a token is signed.
#[derive(Clone, Copy)]
pub(super) enum Algorithm {
    Hmac(hmac::Algorithm),
    Rsa(&'static RsaParameters),
    /// Of a curve.
    Other(Kind, &'static dyn VerificationAlgorithm),
}

pub(super) fn named(name: &str) -> Option<Algorithm> {
    Some(match name {
        "HS256" => Algorithm::Hmac(HMAC_SHA256),
        "HS384" => Algorithm::Hmac(HMAC_SHA384),
        "HS512" => Algorithm::Hmac(HMAC_SHA512),
        "RS256" => Algorithm::Rsa(&RSA_PKCS1_2048_8192_SHA256),
        "RS384" => Algorithm::Rsa(&RSA_PKCS1_2048_8192_SHA384),
        "RS512" => Algorithm::Rsa(&RSA_PKCS1_2048_8192_SHA512),
        "PS256" => Algorithm::Rsa(&RSA_PSS_2048_8192_SHA256),
        "PS384" => Algorithm::Rsa(&RSA_PSS_2048_8192_SHA384),
        "PS512" => Algorithm::Rsa(&RSA_PSS_2048_8192_SHA512),
        "ES256" => Algorithm::Other(Kind::P256, &ECDSA_P256_SHA256_FIXED),
        "ES384" => Algorithm::Other(Kind::P384, &ECDSA_P384_SHA384_FIXED),
        "ES512" => Algorithm::Other(Kind::P521, &ECDSA_P521_SHA512_FIXED),
        "EdDSA" => Algorithm::Other(Kind::Ed25519, &ED25519),
        _ => return None,
    })
}
