#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaKeyPair,
};

use super::*;

/// RFC 7515, appendix A.1.
const RFC_HS256: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
    eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
    dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const RFC_SECRET: &str =
    r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#;
/// The same, appendix A.3.
const RFC_ES256: &str = "eyJhbGciOiJFUzI1NiJ9.\
    eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
    DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
const RFC_POINT: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
/// When those two expire.
const RFC_EXPIRY: u64 = 1_300_819_380;

const NOW: u64 = 1_000_000;
const CLAIMS: &str = r#"{"exp":1000000,"iss":"us","aud":["a","b"],"sub":"me"}"#;

fn checked(args: &JwtVerifyArguments, now: u64) -> Result<JwtVerifyResult, Status> {
    let result = jwt_verify(&args.encode_to_vec(), now)?;
    Ok(JwtVerifyResult::decode(result.as_slice()).unwrap())
}

fn error(args: &JwtVerifyArguments, now: u64) -> String {
    let result = checked(args, now).unwrap();
    assert!(!result.result && result.claims.is_empty());
    result.error
}

fn unsigned(header: &str, claims: &str) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

fn token(header: &str, claims: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let signed = unsigned(header, claims);
    let signature = URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn by_secret(text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"secret"), text).as_ref().to_vec()
}

/// A token with these claims under the secret `secret`.
fn hs256(claims: &str) -> JwtVerifyArguments {
    with_header(r#"{"alg":"HS256"}"#, claims)
}

fn with_header(header: &str, claims: &str) -> JwtVerifyArguments {
    JwtVerifyArguments { token: token(header, claims, by_secret), secret: b"secret".to_vec(), ..Default::default() }
}

fn with_keys(token: &str, jwks: &str) -> JwtVerifyArguments {
    JwtVerifyArguments { token: token.into(), jwks: jwks.into(), ..Default::default() }
}

#[test]
fn the_examples_of_the_standard_are_accepted_and_their_claims_come_back() {
    for (token, key) in [(RFC_HS256, RFC_SECRET), (RFC_ES256, RFC_POINT)] {
        let result = checked(&with_keys(token, key), RFC_EXPIRY).unwrap();

        assert!(result.result, "{}", result.error);
        assert!(result.claims.starts_with(br#"{"iss":"joe","#));
    }
}

#[test]
fn every_kind_of_key_verifies_its_own_algorithms() {
    let rsa = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let sign_rsa = |encoding, text: &[u8]| {
        let mut signature = vec![0; rsa.public_modulus_len()];
        rsa.sign(encoding, &SystemRandom::new(), text, &mut signature).unwrap();
        signature
    };
    // PKCS#1 of 2,048 bits: a head of 9 bytes, the modulus, the head and three bytes of the exponent.
    let pkcs1 = rsa.public_key().as_ref();
    let (n, e) = (&pkcs1[9..9 + 256], &pkcs1[pkcs1.len() - 3..]);
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let rsa_key = format!(r#"{{"kty":"RSA","n":"{}","e":"{}"}}"#, text(n), text(e));
    let ed = Ed25519KeyPair::generate().unwrap();
    let ed_key = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"}}"#, text(ed.public_key().as_ref()));
    let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = ec.public_key().as_ref();
    let ec_key = format!(r#"{{"kty":"EC","crv":"P-256","x":"{}","y":"{}"}}"#, text(&point[1..33]), text(&point[33..]));

    let tokens = [
        (token(r#"{"alg":"RS256"}"#, CLAIMS, |text| sign_rsa(&RSA_PKCS1_SHA256, text)), &rsa_key),
        (token(r#"{"alg":"PS256"}"#, CLAIMS, |text| sign_rsa(&RSA_PSS_SHA256, text)), &rsa_key),
        (token(r#"{"alg":"EdDSA"}"#, CLAIMS, |text| ed.sign(text).as_ref().to_vec()), &ed_key),
        (
            token(r#"{"alg":"ES256"}"#, CLAIMS, |text| ec.sign(&SystemRandom::new(), text).unwrap().as_ref().to_vec()),
            &ec_key,
        ),
    ];

    let set = format!(r#"{{"keys":[{{"kty":"new"}},{rsa_key},{ed_key},{ec_key}]}}"#);
    for (token, key) in tokens {
        assert!(checked(&with_keys(&token, key), NOW).unwrap().result);
        assert!(checked(&with_keys(&token, &set), NOW).unwrap().result);
        assert_eq!(error(&with_keys(&token, RFC_SECRET), NOW), "no key fits the token");
        assert_eq!(error(&with_keys(&format!("{token}AAAA"), &set), NOW), "the signature is wrong");
    }
}

#[test]
fn a_public_key_in_pem_verifies_and_is_never_a_secret() {
    use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
    let ed = Ed25519KeyPair::generate().unwrap();
    let der: PublicKeyX509Der<'_> = ed.public_key().as_der().unwrap();
    let encoded = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{encoded}\n-----END PUBLIC KEY-----\n");
    let with_pem = |token| JwtVerifyArguments { token, public_key_pem: pem.clone().into(), ..Default::default() };

    let good = token(r#"{"alg":"EdDSA"}"#, CLAIMS, |text| ed.sign(text).as_ref().to_vec());
    let forged = token(r#"{"alg":"HS256"}"#, CLAIMS, |text| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, pem.as_bytes()), text).as_ref().to_vec()
    });

    assert!(checked(&with_pem(good), NOW).unwrap().result);
    assert_eq!(error(&with_pem(forged), NOW), "no key fits the token");
}

#[test]
fn a_signature_over_anything_else_is_wrong() {
    let good = hs256(CLAIMS).token;
    let (_, signature) = good.rsplit_once('.').unwrap();
    let other = format!("{}.{signature}", unsigned(r#"{"alg":"HS256"}"#, r#"{"exp":9000000}"#));
    let none = format!("{}.", unsigned(r#"{"alg":"none"}"#, CLAIMS));
    let empty = format!("{}.", unsigned(r#"{"alg":"HS256"}"#, CLAIMS));

    let with = |token| JwtVerifyArguments { token, ..hs256(CLAIMS) };
    assert_eq!(error(&with(other), NOW), "the signature is wrong");
    assert_eq!(error(&with(empty), NOW), "the signature is wrong");
    assert_eq!(error(&with(none), NOW), "the algorithm of the token is not allowed");
}

#[test]
fn a_malformed_token_is_told_in_words() {
    for bad in ["", ".", "..", "a.b", "a.b.c.d", "e30.e30.e30", "!!!.e30.AAAA"] {
        let args = JwtVerifyArguments { token: bad.into(), ..hs256(CLAIMS) };
        assert_eq!(error(&args, NOW), "the token is malformed", "{bad}");
    }
    let twice = with_header(r#"{"alg":"HS256","alg":"none"}"#, CLAIMS);
    assert_eq!(error(&twice, NOW), "the token is malformed");
}

#[test]
fn a_critical_header_is_refused() {
    let args = with_header(r#"{"alg":"HS256","crit":["exp"],"exp":1}"#, CLAIMS);

    assert_eq!(error(&args, NOW), "the token has a critical header, and none is known");
}

#[test]
fn times_are_kept_with_a_minute_of_leeway() {
    assert!(checked(&hs256(CLAIMS), NOW + 59).unwrap().result);
    assert_eq!(error(&hs256(CLAIMS), NOW + 60), "the token is expired");
    let later = hs256(r#"{"exp":2000000,"nbf":1000000.5}"#);
    assert!(checked(&later, NOW - 59).unwrap().result);
    assert_eq!(error(&later, NOW - 60), "the token is not valid yet");
}

#[test]
fn a_token_without_expiry_is_accepted_only_where_asked_for() {
    let args = hs256("{}");

    assert_eq!(error(&args, NOW), "the token has no exp");
    assert!(checked(&JwtVerifyArguments { without_expiry: true, ..args }, NOW).unwrap().result);
}

#[test]
fn claims_that_are_not_what_they_should_be_are_refused() {
    for bad in [
        "",
        "[]",
        "1",
        r#"{"exp":"soon"}"#,
        r#"{"exp":1e999}"#,
        r#"{"exp":9000000,"exp":1}"#,
        r#"{"exp":9000000,"aud":1}"#,
    ] {
        assert_eq!(error(&hs256(bad), NOW), "the claims cannot be read", "{bad}");
    }
}

#[test]
fn issuer_audience_and_algorithm_are_checked_where_named() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let with = |issuers: &[&str], audiences: &[&str], algorithms: &[&str]| JwtVerifyArguments {
        issuers: names(issuers),
        audiences: names(audiences),
        algorithms: names(algorithms),
        ..hs256(CLAIMS)
    };

    assert!(checked(&with(&["them", "us"], &["c", "b"], &["HS256"]), NOW).unwrap().result);
    assert_eq!(error(&with(&["them"], &[], &[]), NOW), "the issuer is not allowed");
    assert_eq!(error(&with(&[], &["c"], &[]), NOW), "the token is for another audience");
    assert_eq!(error(&with(&[], &[], &["RS256"]), NOW), "the algorithm of the token is not allowed");
    let bare = hs256(r#"{"exp":1000000}"#);
    assert_eq!(
        error(&JwtVerifyArguments { issuers: names(&["us"]), ..bare.clone() }, NOW),
        "the issuer is not allowed"
    );
    assert_eq!(
        error(&JwtVerifyArguments { audiences: names(&["a"]), ..bare }, NOW),
        "the token is for another audience"
    );
}

#[test]
fn a_key_of_a_set_is_found_by_its_id_use_and_algorithm() {
    let k = URL_SAFE_NO_PAD.encode("secret");
    let set = |members: &str| format!(r#"{{"keys":[{{"kty":"oct","k":"{k}",{members}}}]}}"#);
    let named = with_header(r#"{"alg":"HS256","kid":"one"}"#, CLAIMS).token;

    for good in [r#""kid":"one""#, r#""alg":"HS256""#, r#""use":"sig""#] {
        assert!(checked(&with_keys(&named, &set(good)), NOW).unwrap().result, "{good}");
    }
    for bad in [r#""kid":"two""#, r#""alg":"HS512""#, r#""use":"enc""#] {
        assert_eq!(error(&with_keys(&named, &set(bad)), NOW), "no key fits the token", "{bad}");
    }
}

#[test]
fn only_the_first_keys_that_fit_are_tried() {
    let key = |secret: &str| format!(r#"{{"kty":"oct","k":"{}"}}"#, URL_SAFE_NO_PAD.encode(secret));
    let set =
        |others: usize| format!(r#"{{"keys":[{}{}]}}"#, format!("{},", key("other")).repeat(others), key("secret"));
    let token = hs256(CLAIMS).token;

    assert!(checked(&with_keys(&token, &set(limits::JWT_KEYS - 1)), NOW).unwrap().result);
    assert_eq!(error(&with_keys(&token, &set(limits::JWT_KEYS)), NOW), "the signature is wrong");
}

#[test]
fn arguments_that_can_never_be_right_are_bad() {
    let good = hs256(CLAIMS);
    let no_key = JwtVerifyArguments { secret: Vec::new(), ..good.clone() };
    let names = |count: usize| vec!["a".to_owned(); count];

    let bad = [
        no_key.clone(),
        JwtVerifyArguments { jwks: RFC_SECRET.into(), ..good.clone() },
        JwtVerifyArguments { jwks: "{".into(), ..no_key.clone() },
        JwtVerifyArguments { jwks: r#"{"kty":"oct","k":""}"#.into(), ..no_key.clone() },
        JwtVerifyArguments { jwks: RFC_POINT.replace("f83", "f8").into(), ..no_key.clone() },
        JwtVerifyArguments { public_key_pem: b"no PEM".to_vec(), ..no_key },
        JwtVerifyArguments { issuers: names(limits::JWT_LIST + 1), ..good.clone() },
        JwtVerifyArguments { audiences: names(limits::JWT_LIST + 1), ..good.clone() },
    ];

    for (index, bad) in bad.iter().enumerate() {
        assert_eq!(checked(bad, NOW), Err(Status::BadArgument), "{index}");
    }
    assert_eq!(jwt_verify(b"\xff", NOW), Err(Status::BadArgument));
    assert!(checked(&JwtVerifyArguments { audiences: names(limits::JWT_LIST), ..good }, NOW).unwrap().result);
}

#[test]
fn arguments_have_a_bound() {
    let sized = |size: usize| {
        let mut args = hs256(CLAIMS);
        args.secret = vec![b'k'; size - args.encoded_len() + args.secret.len() - 2];
        args
    };

    assert_eq!(sized(limits::JWT).encoded_len(), limits::JWT);
    assert_eq!(error(&sized(limits::JWT), NOW), "the signature is wrong");
    assert_eq!(checked(&sized(limits::JWT + 1), NOW), Err(Status::BadArgument));
}
