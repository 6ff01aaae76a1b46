//! Functions of bytes alone.

use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use tollgate_abi::testing::{self, RecordingStream};
use tollgate_abi::{Engine, EngineSettings, Limits, Module, ModuleLimits, PluginSettings};

use super::{Heard, call_one, field, flag, numbers, ok, patient, status};
use crate::common::{on_request, start_with, try_start};

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.chars().filter_map(|digit| Some(u8::try_from(digit.to_digit(16)?).unwrap())).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[test]
fn a_stream_of_zlib_is_read_and_what_is_compressed_comes_back() {
    let text = b"tollgate tollgate tollgate";
    let stream = bytes("789c2bc9cfc9494f2c495528416700008c390a55");

    let Heard(0, compressed) = call_one("compress", text) else { panic!("compress fails") };

    assert_eq!(call_one("uncompress", &stream), ok(text));
    assert_eq!(call_one("uncompress", &compressed), ok(text));
    assert_eq!(call_one("uncompress", &stream[..10]), status(3));
    assert_eq!(call_one("uncompress", b""), status(3));
}

/// A guest with room for results of 16 MiB that passes `size` zeros to `compress`, and what comes of it to `uncompress`.
fn zeros(size: u32) -> Vec<u32> {
    let body = format!(
        "(drop (memory.grow (i32.const 600)))
         (call $tell (call $proxy_call_foreign_function (i32.const 4096) (i32.const 8)
            (i32.const 2097152) (i32.const {size}) (i32.const 32) (i32.const 36)))
         (call $tell (call $proxy_call_foreign_function (i32.const 4104) (i32.const 10)
            (i32.load (i32.const 32)) (i32.load (i32.const 36)) (i32.const 32) (i32.const 36)))
         (call $tell (i32.load (i32.const 36)))"
    );
    let guest = on_request(r#"(data (i32.const 4096) "compressuncompress")"#, &body);
    let mut vm = start_with(&guest, patient(PluginSettings::default()));
    vm.begin_stream(RecordingStream::default(), 0, true).1.unwrap();
    vm.host().told()
}

#[test]
fn arguments_and_results_of_16_mib_are_taken_and_no_byte_more() {
    assert_eq!(zeros(16 << 20), [0, 0, 16 << 20]);
    assert_eq!(zeros((16 << 20) + 1)[0], 2);
}

#[test]
fn a_function_ends_with_the_time_of_its_callback() {
    let guest = on_request(
        r#"(data (i32.const 4096) "tollgate.sha256")"#,
        "(drop (memory.grow (i32.const 256)))
         (call $tell (call $proxy_call_foreign_function (i32.const 4096) (i32.const 15)
            (i32.const 0) (i32.const 16777216) (i32.const 0) (i32.const 0)))
         (loop (br 0))",
    );
    // The function looks at the time itself; the ticks, which would end the guest before or after it, are far apart.
    let slow = EngineSettings { tick: Duration::from_millis(500), ..EngineSettings::default() };
    let engine = Engine::new(&slow).unwrap();
    let module = Module::compile(&engine, &testing::guest(&guest), &ModuleLimits::default()).unwrap();
    let limits = Limits { callback: Duration::from_micros(1), ..Limits::default() };
    let mut vm = try_start(&module, PluginSettings { limits, ..PluginSettings::default() }).unwrap();

    let (_, outcome) = vm.begin_stream(RecordingStream::default(), 0, true);

    assert_eq!(vm.host().told(), [10]);
    assert!(outcome.is_err());
}

#[test]
fn digests_and_tags_are_those_of_the_standards() {
    let digest = bytes("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    let tag = bytes("b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");

    assert_eq!(call_one("tollgate.sha256", b"abc"), ok(&digest));
    let args = numbers([20], &[&[0x0b; 20][..], b"Hi There"].concat());
    assert_eq!(call_one("tollgate.hmac_sha256", &args), ok(&tag));
    assert_eq!(call_one("tollgate.hmac_sha256", &numbers([4], b"key")), status(2));
    assert_eq!(call_one("tollgate.hmac_sha256", b""), status(2));
}

#[test]
fn what_is_signed_verifies_with_the_public_key_and_nothing_else_does() {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let private = pair.to_pkcs8v1().unwrap();
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    let to_sign = [field(1, b"sha256"), field(2, private.as_ref()), field(3, b"a text")].concat();

    let Heard(0, signed) = call_one("sign", &to_sign) else { panic!("sign fails") };
    let signature = signed.strip_prefix(&[0x08, 0x01, 0x12]).unwrap();
    let to_verify = |text: &[u8]| {
        [field(1, b"sha256"), field(2, public.as_ref()), field(3, &signature[1..]), field(4, text)].concat()
    };

    assert_eq!(call_one("verify_signature", &to_verify(b"a text")), ok(&flag(1)));
    let why = b"the signature is not that of this key over this text";
    assert_eq!(call_one("verify_signature", &to_verify(b"a next")), ok(&field(2, why)));
}

#[test]
fn a_digest_that_is_not_known_is_told_and_a_key_that_is_none_is_a_bad_argument() {
    let key = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEBPVrtB6h+yNBk4hkWm8UKIXewD96gTd/ArheVgkISUFjt5lm/P8ufyvaKidspQUZg2KuXiprIWbGSbJvLf1SAg==\n-----END PUBLIC KEY-----";
    let md5 = [field(1, b"md5"), field(5, key.as_bytes())].concat();

    assert_eq!(call_one("verify_signature", &md5), ok(&field(2, b"md5 is not supported.")));
    for bad in [&b""[..], b"\xff", &field(1, b"sha256"), &field(2, b"no key")] {
        assert_eq!(call_one("verify_signature", bad), status(2));
        assert_eq!(call_one("sign", bad), status(2));
    }
}

#[test]
fn a_token_is_accepted_with_its_claims_or_refused_in_words() {
    // {"alg":"HS256"} and {"sub":"me"} under `secret`.
    let token = b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJtZSJ9.PSNT1r4v9V2Qchmr_7cQP8P7LXFivEoTalmsuwIlakM";
    let args = |secret: &[u8]| [field(1, token), field(2, secret)].concat();
    let lasting = |secret: &[u8]| [args(secret), flag(8)].concat();

    assert_eq!(
        call_one("tollgate.jwt_verify", &lasting(b"secret")),
        ok(&[flag(1), field(3, br#"{"sub":"me"}"#)].concat())
    );
    assert_eq!(call_one("tollgate.jwt_verify", &lasting(b"secreT")), ok(&field(2, b"the signature is wrong")));
    assert_eq!(call_one("tollgate.jwt_verify", &args(b"secret")), ok(&field(2, b"the token has no exp")));
    assert_eq!(call_one("tollgate.jwt_verify", &field(1, token)), status(2));
    assert_eq!(call_one("tollgate.jwt_verify", b"\xff"), status(2));
}
