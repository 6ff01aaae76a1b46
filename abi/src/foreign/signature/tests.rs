#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::KeySize;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;

// Keys and signatures of `a text` by another library, OpenSSL 3.
const RSA_KEY: &str = "-----BEGIN PUBLIC KEY-----\n\
    MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAv3ONwCcwtbeOeyRzniIb\n\
    DWqVVKE+UShEifP+rWjPSL5N1IX6JiB1SiaWlKz0HtnwqIvEX2lUBqs5fpWErBTJ\n\
    wdB8DPhtWu76WYMSI8G2rdNzj2D8mqGcZggbXtRi2T1B9cHkpH8wPiK8R2tr+h46\n\
    NOyO1yFE1z8ZGh0CnubzwRyX6thBciy+DPhQmpTbrO0rvNhVGmQ0ZxleRuN0Mx76\n\
    DjlHTNnPG6C7tyUPYafpzvTX2O+Y/IIDKPUNst5bf/P0cbYh0vDGAIMvtaPdhmMg\n\
    nAi3l5CUCT89vBLt+9dHigAxzEpJK2eixwOvbmXb++Qqk1aJ7bRH9C5S0hVlTMAG\n\
    BwIDAQAB\n\
    -----END PUBLIC KEY-----";
const RSA_SIGNATURES: [(&str, &str); 4] = [
    (
        "sha1",
        "hYIY5w2dcAh+pD7R2/9PnNwfybrVUocotRiEfJI05npdWmUBLLo2hx3A8VL67BEDGyLXMFLj2OBFBwnfdNIl+d/AHC7f0d4t4Cnw\
     QlBBEcuugLXJtFPo+8A9avEOU+X2suhU4q7XYvky6iIw/nXopiZ+TgzZ6V8Uk5SGVMsqwOBzJ6HSINQ7ug5a22MBoU49/MxNxyYL\
     JlF2LUL37zpsg/KbgcgHiQAngSqkIWebXOVl52VwqYX4WRfJ6zou3HbEcwRyVMYN+omhfCN5vlnqZfiyFvWX6QtlBZ3sS+QvNw/Z\
     EGjoGCursiqTVLM+QpQ9f8+Bzyl/iqD9A8gor7N1EQ==",
    ),
    (
        "sha256",
        "oqsWDtrbJN5kDtp+lue7dv9xh3kaFJvbkf5072Y6F44m9IejcITgtLEzAF9DVeA4YlIQ6HWwa0FIMIzenBjvnuBsWAtmdqr/E6om\
     gSNEW8+/TJqFEVsMFZs4LgAHSQDLZJTUMOQsYD7hZ7pzwBA462Q7ChiNl46FPtZGGGYOta/AuTUV3Z4fWf/yL7hpDqewwj21cWnD\
     gDYoDM21pLF5f7a6zadJbrIDWN3PgU5qqJxOqRdExGE1innCyIcu4Git/s8Go0sEEITu4NBPJk9Lc9xDWc0jxvsVB7XX1ISUrECl\
     nKGWIGU27B6tG6ciIx9u4p3lulh7NFLmDt8mr/tW3Q==",
    ),
    (
        "sha384",
        "haDM4CTaDNlScQ5vqgyox/EmEH/kt+ktBdF5twSg4qQA8JktgHfYhrX4UeTsbTG6hOVU7PfyJ4UwP5ak459f+2Xd65tY7TbTzNcJ\
     WYlcEIc+5Yc8bIeEUkxUHkjdHujSxT5/hpF+g/EqxoWD+VXZdJ7TyJ98/7kl1z94HUWTOh1ZW2DFQMNvaMnCrCFYxuu6hRoOKLJn\
     vQWhuW9JwoKSsn8zzCFOrvUKiSp6cvcJGYEPIqB+h0lhqlLdAUUmIf3A8zI4vYx2vv4eICoWTrC51qL8MjQSfjJ5M/6RksIt1H6r\
     4NyIS7LcB9QgnACkWTM0FNUUwNZK+FUoXFrF7nJ80g==",
    ),
    (
        "sha512",
        "Rzdf9bC2p+GZ6iQvRev8q7hq1XaRquMa3IlBs5hs+gBFXJZvZWwy5X2Zl/f3x5Be/Dmcic4AqK7T46CLB4x0qtotflOCMQxPp4Kd\
     ygeOlAiTV7IN2ppQV9ptGFW/Ytx3GxIiWHy0qrutZhyCFRXcaDJ8PIDo4OfZgWpbrfLuOtQLC4Udl+w6x09Zdkq9dweAubXph8Rl\
     NlKF9mZQTO5mv03fPnp3vn1AzufArpZNIKfE1KuPE/QZ1YdfYObtoEPku7hISeDd6LwPU5Gnoqk5eWaD+j06D5Ll6LXdTKF4x5fh\
     OB5qD1aM9Y9ionQlnshy06XjYI8hbBkjnRnU2MyB9w==",
    ),
];
const EC_KEY: &str = "-----BEGIN PUBLIC KEY-----\n\
    MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEBPVrtB6h+yNBk4hkWm8UKIXewD96\n\
    gTd/ArheVgkISUFjt5lm/P8ufyvaKidspQUZg2KuXiprIWbGSbJvLf1SAg==\n\
    -----END PUBLIC KEY-----";
const EC_SIGNATURES: [(&str, &str); 4] = [
    ("sha1", "MEQCIAaBxzDKv2u8Htwi+Q0lItbe3qlp8SQ0XOpN4sq/6OZfAiB2PzJaOOW/naATi6J3jLnttQf/yZlgwTyGhG6KRPsHwA=="),
    ("sha256", "MEYCIQD8ycTgC/WbQ9cuVfLPPUmLoJsJtA8DmOHLwBMGKe5eQwIhANjw+cClyb4rVgYJkn4AP4Br8gAm2abieh3GUqZwXPeh"),
    ("sha384", "MEUCIEnP1pDbL/K+vHyHKEMTf440kSUKPEl9BbXNPi87CbalAiEA6G5YwCdupJO0dK+UJUmBBceBMnxnoe7YuHgSUJiJmGI="),
    ("sha512", "MEUCIC5DVgAo5iC29cDsTY6sAWOpe9+/qRBkigzQNUW4Uf7JAiEAwQO/EOPGBsNbQcZ01NHXJCpBG9hij35DvngZdoVVgxw="),
];

fn ample() -> Deadline {
    Deadline::new(Instant::now(), Duration::from_secs(60), 10)
}

fn checked(args: &VerifySignatureArguments) -> Result<VerifySignatureResult, Status> {
    let result = verify_signature(&args.encode_to_vec(), &mut ample())?;
    Ok(VerifySignatureResult::decode(result.as_slice()).unwrap())
}

fn args(hash: &str, pem: &str, signature: &[u8]) -> VerifySignatureArguments {
    VerifySignatureArguments {
        hash_function: hash.into(),
        public_key_pem: pem.into(),
        signature: signature.to_vec(),
        text: b"a text".to_vec(),
        public_key: Vec::new(),
    }
}

fn signed(args: &SignArguments) -> Result<SignResult, Status> {
    let result = sign(&args.encode_to_vec(), &mut ample())?;
    Ok(SignResult::decode(result.as_slice()).unwrap())
}

fn to_sign(hash: &str, private_key: &[u8]) -> SignArguments {
    SignArguments {
        hash_function: hash.into(),
        private_key: private_key.to_vec(),
        text: b"a text".to_vec(),
        private_key_pem: Vec::new(),
    }
}

fn armoured(label: &str, der: &[u8]) -> Vec<u8> {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der)).into_bytes()
}

#[test]
fn signatures_of_openssl_are_good_with_keys_in_pem_and_der() {
    for (key, signatures) in [(RSA_KEY, RSA_SIGNATURES), (EC_KEY, EC_SIGNATURES)] {
        for (hash, signature) in signatures {
            let in_pem = args(&hash.to_uppercase(), key, &STANDARD.decode(signature).unwrap());
            let der = pem(key.as_bytes()).unwrap().der;
            let in_der = VerifySignatureArguments { public_key: der, public_key_pem: Vec::new(), ..in_pem.clone() };

            let good = VerifySignatureResult { result: true, error: String::new() };
            assert_eq!(checked(&in_pem), Ok(good.clone()), "{hash}");
            assert_eq!(checked(&in_der), Ok(good), "{hash}");
        }
    }
}

#[test]
fn another_text_signature_or_digest_is_told_in_words() {
    let signature = STANDARD.decode(RSA_SIGNATURES[1].1).unwrap();
    let good = args("sha256", RSA_KEY, &signature);

    let bad = [
        VerifySignatureArguments { text: b"a next".to_vec(), ..good.clone() },
        args("sha512", RSA_KEY, &signature),
        args("sha256", RSA_KEY, &signature[1..]),
        args("sha256", RSA_KEY, b""),
        args("sha256", EC_KEY, &signature),
    ];

    for bad in bad {
        let result = checked(&bad).unwrap();
        assert!(!result.result && result.error.contains("not that of this key"), "{}", result.error);
    }
}

#[test]
fn a_digest_that_is_not_known_is_told_in_words() {
    let told = |hash: &str, key: &str| checked(&args(hash, key, b"")).unwrap().error;

    assert_eq!(told("md5", RSA_KEY), "md5 is not supported.");
    assert_eq!(told("", RSA_KEY), " is not supported.");
    assert_eq!(told("sha224", RSA_KEY), "sha224 is not supported with this kind of key.");
    assert_eq!(told("sha224", EC_KEY), "sha224 is not supported with this kind of key.");
}

#[test]
fn a_key_that_is_none_is_a_bad_argument() {
    let der = pem(RSA_KEY.as_bytes()).unwrap().der;
    let cut = der[..der.len() - 1].to_vec();
    let good = args("sha256", RSA_KEY, b"");
    let none = args("sha256", "", b"");

    let bad = [
        none.clone(),
        VerifySignatureArguments { public_key: der.clone(), ..good.clone() },
        VerifySignatureArguments { public_key: cut, ..none.clone() },
        VerifySignatureArguments { public_key: b"no key".to_vec(), ..none.clone() },
        VerifySignatureArguments { public_key_pem: armoured("PRIVATE KEY", &der), ..none },
    ];

    for bad in bad {
        assert_eq!(checked(&bad), Err(Status::BadArgument));
    }
    assert_eq!(verify_signature(b"\xff", &mut ample()), Err(Status::BadArgument));
}

#[test]
fn what_is_signed_with_rsa_verifies_whatever_form_the_key_has() {
    let pair = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).unwrap();
    let pkcs8 = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&pair).unwrap();
    let public =
        AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(aws_lc_rs::signature::KeyPair::public_key(&pair))
            .unwrap();
    // PKCS#1 lies inside PKCS#8, behind 26 bytes for this size.
    let pkcs1 = armoured("RSA PRIVATE KEY", &pkcs8.as_ref()[26..]);

    for hash in ["sha256", "sha384", "sha512"] {
        let in_der = to_sign(hash, pkcs8.as_ref());
        for pem in [armoured("PRIVATE KEY", pkcs8.as_ref()), pkcs1.clone()] {
            let in_pem = SignArguments { private_key: Vec::new(), private_key_pem: pem, ..in_der.clone() };
            assert_eq!(signed(&in_pem), signed(&in_der));
        }
        let signature = signed(&in_der).unwrap();
        assert!(signature.result, "{}", signature.error);
        let args =
            VerifySignatureArguments { public_key: public.as_ref().to_vec(), ..args(hash, "", &signature.signature) };
        assert!(checked(&args).unwrap().result);
    }
}

#[test]
fn what_is_signed_on_a_curve_verifies() {
    let curves = [
        ("sha256", &ECDSA_P256_SHA256_ASN1_SIGNING),
        ("sha384", &ECDSA_P384_SHA384_ASN1_SIGNING),
        ("sha224", &ECDSA_P521_SHA224_ASN1_SIGNING),
    ];
    for (hash, algorithm) in curves {
        let pair = EcdsaKeyPair::generate(algorithm).unwrap();
        let sec1 = AsDer::<aws_lc_rs::encoding::EcPrivateKeyRfc5915Der<'_>>::as_der(&pair.private_key()).unwrap();
        let public = AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(
            aws_lc_rs::signature::KeyPair::public_key(&pair),
        )
        .unwrap();
        let in_der = to_sign(hash, pair.to_pkcs8v1().unwrap().as_ref());
        let pem = armoured("EC PRIVATE KEY", sec1.as_ref());
        let in_pem = SignArguments { private_key: Vec::new(), private_key_pem: pem, ..in_der.clone() };

        for by in [in_der, in_pem] {
            let signature = signed(&by).unwrap();
            let args = VerifySignatureArguments {
                public_key: public.as_ref().to_vec(),
                ..args(hash, "", &signature.signature)
            };
            assert!(signature.result && checked(&args).unwrap().result, "{hash}");
        }
    }
}

#[test]
fn what_cannot_be_signed_is_told_and_what_is_no_key_is_a_bad_argument() {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let pkcs8 = pair.to_pkcs8v1().unwrap();
    let told = |hash: &str| signed(&to_sign(hash, pkcs8.as_ref())).unwrap().error;

    assert_eq!(told("sha384"), "sha384 is not supported with this kind of key.");
    assert_eq!(told("sha1"), "sha1 is not supported with this kind of key.");
    assert_eq!(told("crc32"), "crc32 is not supported.");
    let both =
        SignArguments { private_key_pem: armoured("PRIVATE KEY", pkcs8.as_ref()), ..to_sign("sha256", pkcs8.as_ref()) };
    for bad in [both, to_sign("sha256", b""), to_sign("sha256", b"no key"), to_sign("sha256", &pkcs8.as_ref()[1..])] {
        assert_eq!(signed(&bad), Err(Status::BadArgument));
    }
    assert_eq!(sign(b"\x0a\xff", &mut ample()), Err(Status::BadArgument));
}

#[test]
fn rsa_signs_with_4096_bits_and_not_with_more() {
    let pkcs8 = |size| {
        let pair = aws_lc_rs::rsa::KeyPair::generate(size).unwrap();
        AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&pair).unwrap().as_ref().to_vec()
    };

    assert!(signed(&to_sign("sha256", &pkcs8(KeySize::Rsa4096))).unwrap().result);
    assert_eq!(signed(&to_sign("sha256", &vec![0x30; limits::PRIVATE_KEY + 1])), Err(Status::BadArgument));
}

#[test]
fn hashing_stops_where_the_time_of_the_entry_is_over() {
    let mut spent = Deadline::new(Instant::now(), Duration::ZERO, 1);
    let args = args("sha256", RSA_KEY, b"").encode_to_vec();

    assert_eq!(verify_signature(&args, &mut spent), Err(Status::InternalFailure));
}
