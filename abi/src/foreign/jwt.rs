//! `tollgate.jwt_verify`: whether a JSON Web Token (RFC 7519) is signed by a key, not expired, and meant for us.
//!
//! Written here on the cryptography of `aws-lc-rs` rather than with a crate for tokens: those choose their cryptography for
//! the whole process, read the clock themselves, and accept critical headers they do not know.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prost::Message;
use serde::Deserialize;

use self::claims::Claims;
use self::key::Key;
use super::messages::{JwtVerifyArguments, JwtVerifyResult};
use crate::limits;
use crate::types::Status;

mod algorithm;
mod claims;
mod key;

/// Why a token is not accepted, in words for the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refused(&'static str);

/// Checks a token at `now`, in seconds since 1970. The answer is a `JwtVerifyResult`.
///
/// Arguments that can never be right are a bad argument: not exactly one key, a key that cannot be read, too many bytes.
pub(super) fn jwt_verify(args: &[u8], now: u64) -> Result<Vec<u8>, Status> {
    if args.len() > limits::JWT {
        return Err(Status::BadArgument);
    }
    let args = JwtVerifyArguments::decode(args).map_err(|_| Status::BadArgument)?;
    let lists = [&args.issuers, &args.audiences, &args.algorithms];
    if lists.iter().any(|list| list.len() > limits::JWT_LIST) {
        return Err(Status::BadArgument);
    }
    let keys = key::all(&args).ok_or(Status::BadArgument)?;
    let answer = match accept(&args, &keys, now) {
        Ok(claims) => JwtVerifyResult { result: true, error: String::new(), claims },
        Err(Refused(why)) => JwtVerifyResult { result: false, error: why.into(), claims: Vec::new() },
    };
    Ok(answer.encode_to_vec())
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// What a token says of itself. A header member given twice is refused by the parser.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde_json::Value>,
}

fn accept(args: &JwtVerifyArguments, keys: &[Key], now: u64) -> Result<Vec<u8>, Refused> {
    let (signed, signature) = args.token.rsplit_once('.').ok_or(MALFORMED)?;
    let (header, payload) = signed.split_once('.').ok_or(MALFORMED)?;
    let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| MALFORMED)?;
    // RFC 7515, section 4.1.11: an extension that is critical and not understood makes the token invalid.
    if header.crit.is_some() {
        return Err(Refused("the token has a critical header, and none is known"));
    }
    check_signature(args, keys, &header, signed.as_bytes(), &decode(signature)?)?;
    let payload = decode(payload)?;
    let claims: Claims = serde_json::from_slice(&payload).map_err(|_| Refused("the claims cannot be read"))?;
    claims.check(args, now)?;
    Ok(payload)
}

const MALFORMED: Refused = Refused("the token is malformed");

fn decode(part: &str) -> Result<Vec<u8>, Refused> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| MALFORMED)
}

fn check_signature(
    args: &JwtVerifyArguments,
    keys: &[Key],
    header: &Header,
    signed: &[u8],
    signature: &[u8],
) -> Result<(), Refused> {
    let allowed = args.algorithms.is_empty() || args.algorithms.contains(&header.alg);
    let algorithm = algorithm::named(&header.alg).filter(|_| allowed);
    let algorithm = algorithm.ok_or(Refused("the algorithm of the token is not allowed"))?;
    let fitting = keys.iter().filter(|key| key.fits(algorithm, &header.alg, header.kid.as_deref()));
    let mut tried = fitting.take(limits::JWT_KEYS).peekable();
    if tried.peek().is_none() {
        return Err(Refused("no key fits the token"));
    }
    let good = tried.any(|key| key.verifies(algorithm, signed, signature));
    if good { Ok(()) } else { Err(Refused("the signature is wrong")) }
}

#[cfg(test)]
mod tests;
