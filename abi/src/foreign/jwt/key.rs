//! Keys of tokens: a secret, a public key in PEM, or JSON Web Keys (RFC 7517).
//!
//! A key is of one kind and takes the algorithms of that kind only, so a public key is never the secret of an HMAC.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{RsaPublicKeyComponents, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::super::key::{Kind, pem};
use super::super::messages::JwtVerifyArguments;
use super::algorithm::Algorithm;

/// A key and what its owner says of it.
pub(super) struct Key {
    material: Material,
    kid: Option<String>,
    alg: Option<String>,
}

enum Material {
    Secret(Vec<u8>),
    /// SubjectPublicKeyInfo, a point, or the 32 bytes of Ed25519: the library takes either.
    Public(Kind, Vec<u8>),
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
}

/// The keys of a call, or `None` where not exactly one field has any or it cannot be read.
pub(super) fn all(args: &JwtVerifyArguments) -> Option<Vec<Key>> {
    match (args.secret.as_slice(), args.public_key_pem.as_slice(), args.jwks.as_slice()) {
        (secret, [], []) if !secret.is_empty() => Some(vec![Key::plain(Material::Secret(secret.to_vec()))]),
        ([], text, []) if !text.is_empty() => {
            let der = pem(text).filter(|pem| pem.label == "PUBLIC KEY")?.der;
            Some(vec![Key::plain(Material::Public(Kind::of(&der)?, der))])
        }
        ([], [], json) if !json.is_empty() => of_json(json),
        _ => None,
    }
}

impl Key {
    fn plain(material: Material) -> Key {
        Key { material, kid: None, alg: None }
    }

    /// Whether this key may have made a signature of `algorithm`, named `alg`, under the key id of the token.
    pub(super) fn fits(&self, algorithm: Algorithm, alg: &str, kid: Option<&str>) -> bool {
        // A key without an id stands for any, and so does a token without one.
        let same_id = self.kid.is_none() || kid.is_none() || self.kid.as_deref() == kid;
        let same_algorithm = self.alg.as_deref().is_none_or(|own| own == alg);
        let same_kind = match (&self.material, algorithm) {
            (Material::Secret(_), Algorithm::Hmac(_)) | (Material::Rsa { .. }, Algorithm::Rsa(_)) => true,
            (Material::Public(kind, _), Algorithm::Rsa(_)) => *kind == Kind::Rsa,
            (Material::Public(kind, _), Algorithm::Other(wanted, _)) => *kind == wanted,
            _ => false,
        };
        same_id && same_algorithm && same_kind
    }

    pub(super) fn verifies(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        match (&self.material, algorithm) {
            (Material::Secret(secret), Algorithm::Hmac(algorithm)) => {
                hmac::verify(&hmac::Key::new(algorithm, secret), signed, signature).is_ok()
            }
            (Material::Rsa { n, e }, Algorithm::Rsa(algorithm)) => {
                RsaPublicKeyComponents { n, e }.verify(algorithm, signed, signature).is_ok()
            }
            (Material::Public(_, key), Algorithm::Rsa(algorithm)) => {
                UnparsedPublicKey::new(algorithm, key).verify(signed, signature).is_ok()
            }
            (Material::Public(_, key), Algorithm::Other(_, algorithm)) => {
                UnparsedPublicKey::new(algorithm, key).verify(signed, signature).is_ok()
            }
            _ => false,
        }
    }
}

/// A set of keys, or one alone: whichever members are there.
#[derive(Deserialize)]
struct Document {
    keys: Option<Vec<Jwk>>,
    #[serde(flatten)]
    alone: Jwk,
}

#[derive(Deserialize)]
struct Jwk {
    kty: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    k: Option<String>,
}

fn of_json(json: &[u8]) -> Option<Vec<Key>> {
    let document: Document = serde_json::from_slice(json).ok()?;
    match document.keys {
        // RFC 7517, section 5: keys of unknown kinds or curves in a set are passed over.
        Some(keys) => Some(keys.into_iter().filter_map(Jwk::into_key).collect()),
        None => Some(vec![document.alone.into_key()?]),
    }
}

impl Jwk {
    fn into_key(self) -> Option<Key> {
        if self.purpose.as_deref().is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let material = self.material()?;
        Some(Key { material, kid: self.kid, alg: self.alg })
    }

    fn material(&self) -> Option<Material> {
        match (self.kty.as_deref()?, self.crv.as_deref()) {
            ("oct", _) => Some(Material::Secret(bytes(&self.k).filter(|secret| !secret.is_empty())?)),
            ("RSA", _) => Some(Material::Rsa { n: bytes(&self.n)?, e: bytes(&self.e)? }),
            ("EC", Some("P-256")) => self.point(Kind::P256, 32),
            ("EC", Some("P-384")) => self.point(Kind::P384, 48),
            ("EC", Some("P-521")) => self.point(Kind::P521, 66),
            ("OKP", Some("Ed25519")) => {
                Some(Material::Public(Kind::Ed25519, bytes(&self.x).filter(|key| key.len() == 32)?))
            }
            _ => None,
        }
    }

    /// The point without compression (SEC 1, section 2.3.3).
    fn point(&self, kind: Kind, size: usize) -> Option<Material> {
        let (x, y) = (bytes(&self.x)?, bytes(&self.y)?);
        let whole = x.len() == size && y.len() == size;
        whole.then(|| Material::Public(kind, [&[4], x.as_slice(), &y].concat()))
    }
}

fn bytes(text: &Option<String>) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text.as_ref()?).ok()
}
