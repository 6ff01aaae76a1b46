//! Digests of any length, in steps: `tollgate.sha256`, `tollgate.hmac_sha256`, and the digests that signatures are made of.

use aws_lc_rs::digest::{self, Algorithm, Digest};
use aws_lc_rs::hmac;

use super::Reader;
use crate::deadline::Deadline;
use crate::limits;
use crate::types::Status;

/// Bytes between two looks at the clock.
const STEP: usize = 64 * 1024;

/// `tollgate.sha256`: the 32 bytes of the digest of the arguments.
pub(super) fn sha256(args: &[u8], deadline: &mut Deadline) -> Result<Vec<u8>, Status> {
    Ok(of(&digest::SHA256, args, deadline)?.as_ref().to_vec())
}

/// `tollgate.hmac_sha256`: length of the key as four bytes, the key, the message; the result is the 32 bytes of the tag.
pub(super) fn hmac_sha256(args: &[u8], deadline: &mut Deadline) -> Result<Vec<u8>, Status> {
    let mut args = Reader::new(args);
    let key = args.sized()?;
    // A long key is hashed in one step.
    if key.len() > limits::STRING as usize {
        return Err(Status::BadArgument);
    }
    let mut tag = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    in_steps(args.rest(), deadline, |step| tag.update(step))?;
    Ok(tag.sign().as_ref().to_vec())
}

/// The digest of `bytes`.
pub(super) fn of(algorithm: &'static Algorithm, bytes: &[u8], deadline: &mut Deadline) -> Result<Digest, Status> {
    let mut context = digest::Context::new(algorithm);
    in_steps(bytes, deadline, |step| context.update(step))?;
    Ok(context.finish())
}

fn in_steps(bytes: &[u8], deadline: &mut Deadline, mut take: impl FnMut(&[u8])) -> Result<(), Status> {
    for step in bytes.chunks(STEP) {
        if deadline.is_over() {
            return Err(Status::InternalFailure);
        }
        take(step);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::fmt::Write;
    use std::time::{Duration, Instant};

    use super::*;

    fn ample() -> Deadline {
        Deadline::new(Instant::now(), Duration::from_secs(60), 10)
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
    }

    #[test]
    fn digests_are_those_of_fips_180() {
        let digest = |bytes: &[u8]| hex(&sha256(bytes, &mut ample()).unwrap());

        assert_eq!(digest(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(digest(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(digest(&vec![b'a'; 1_000_000]), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    }

    #[test]
    fn tags_are_those_of_rfc_4231() {
        let tag = |key: &[u8], message: &[u8]| {
            let size = u32::try_from(key.len()).unwrap().to_le_bytes();
            hex(&hmac_sha256(&[&size, key, message].concat(), &mut ample()).unwrap())
        };

        assert_eq!(tag(&[0x0b; 20], b"Hi There"), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
        assert_eq!(
            tag(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First"),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    #[test]
    fn a_key_has_a_bound() {
        let of = |size: u32| [size.to_le_bytes().to_vec(), vec![7; size as usize]].concat();

        assert!(hmac_sha256(&of(limits::STRING), &mut ample()).is_ok());
        assert_eq!(hmac_sha256(&of(limits::STRING + 1), &mut ample()), Err(Status::BadArgument));
    }

    #[test]
    fn a_key_longer_than_the_arguments_is_a_bad_argument() {
        for bad in [&b""[..], b"\x01\0\0", b"\x02\0\0\0k", b"\xff\xff\xff\xffkey"] {
            assert_eq!(hmac_sha256(bad, &mut ample()), Err(Status::BadArgument));
        }
        assert!(hmac_sha256(b"\x01\0\0\0k", &mut ample()).is_ok());
        assert!(hmac_sha256(b"\0\0\0\0", &mut ample()).is_ok());
    }

    #[test]
    fn work_stops_where_the_time_of_the_entry_is_over() {
        let mut spent = Deadline::new(Instant::now(), Duration::ZERO, 1);

        assert_eq!(sha256(b"a", &mut spent), Err(Status::InternalFailure));
        assert_eq!(hmac_sha256(b"\0\0\0\0a", &mut spent), Err(Status::InternalFailure));
    }
}
