//! What goes to a process that compiles, and what comes back: one request and one answer, each with its length.
//!
//! Both ends are the same build of this program, so nothing here need last; whether they are is asked by fingerprint.

use std::cmp::Ordering;
use std::io::{self, Read, Write};

use bytes::buf::Chain;
use bytes::{Buf, Bytes};
use tollgate_abi::{AbiVersion, Artifact, Fingerprint, ModuleError, ModuleLimits};

const REQUEST: [u8; 8] = *b"TGCOMP1?";
const ANSWER: [u8; 8] = *b"TGCOMP1!";
/// Bytes of an answer before its code.
const ANSWER_HEAD: usize = 8 + 1 + 16 + 8;
const COMPILED: u8 = 0;
const REFUSED: u8 = 1;

/// Bytes of the largest answer that is taken. Code is a few times the size of its module.
pub const ANSWER_LIMIT: usize = 256 * 1024 * 1024;

/// One module to compile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The version of the interface that the operator names for it.
    pub abi: Option<AbiVersion>,
    /// What it may be.
    pub limits: ModuleLimits,
    /// Its bytes.
    pub module: Bytes,
}

impl Request {
    /// The whole request as it is sent, the module as it is.
    pub fn encode(&self) -> Chain<Bytes, Bytes> {
        let ModuleLimits { bytes, functions, body_bytes, imports, exports } = self.limits;
        let mut out = REQUEST.to_vec();
        out.push(abi_number(self.abi));
        for limit in [wide(bytes), functions.into(), wide(body_bytes), imports.into(), exports.into()] {
            out.extend(limit.to_le_bytes());
        }
        out.extend(wide(self.module.len()).to_le_bytes());
        Bytes::from(out).chain(self.module.clone())
    }

    /// Reads one to its end, and no more of the module than its own limit allows.
    pub fn read(mut from: impl Read) -> io::Result<Request> {
        expect(&mut from, &REQUEST)?;
        let abi = abi_version(read_byte(&mut from)?)?;
        let limits = ModuleLimits {
            bytes: narrow(read_u64(&mut from)?)?,
            functions: narrow(read_u64(&mut from)?)?,
            body_bytes: narrow(read_u64(&mut from)?)?,
            imports: narrow(read_u64(&mut from)?)?,
            exports: narrow(read_u64(&mut from)?)?,
        };
        let module = read_exactly(&mut from, limits.bytes)?.into();
        Ok(Request { abi, limits, module })
    }
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The engine that answers.
    pub fingerprint: Fingerprint,
    /// The code, or what the compiler says against the module.
    pub outcome: Result<Artifact, String>,
}

impl Answer {
    /// The answer for an outcome of `Module::precompile`.
    pub fn new(fingerprint: Fingerprint, outcome: Result<Artifact, ModuleError>) -> Answer {
        let outcome = outcome.map_err(|error| match error {
            ModuleError::Invalid(text) => text,
            // All others are found before a process is started.
            other => other.to_string(),
        });
        Answer { fingerprint, outcome }
    }

    /// Writes it whole.
    pub fn write(&self, mut to: impl Write) -> io::Result<()> {
        let (kind, bytes) = match &self.outcome {
            Ok(artifact) => (COMPILED, artifact.as_bytes()),
            Err(text) => (REFUSED, text.as_bytes()),
        };
        to.write_all(&ANSWER)?;
        to.write_all(&[kind])?;
        to.write_all(&self.fingerprint.0)?;
        to.write_all(&wide(bytes.len()).to_le_bytes())?;
        to.write_all(bytes)?;
        to.flush()
    }

    /// How long the answer becomes that begins like this, once it says so.
    pub fn length(begun: &[u8]) -> Option<usize> {
        let (_, _, length) = head(begun).ok()?;
        length.checked_add(ANSWER_HEAD)
    }

    /// Takes an answer apart; anything but exactly one is an error.
    pub fn decode(bytes: Bytes) -> io::Result<Answer> {
        let (kind, fingerprint, length) = head(&bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => wrong("less than an answer"),
            _ => error,
        })?;
        match length.cmp(&(bytes.len() - ANSWER_HEAD)) {
            Ordering::Less => return Err(wrong("more than an answer")),
            Ordering::Greater => return Err(wrong("less than an answer")),
            Ordering::Equal => {}
        }
        let bytes = bytes.slice(ANSWER_HEAD..);
        let outcome = match kind {
            COMPILED => Ok(Artifact::vouched(bytes)),
            REFUSED => Err(String::from_utf8_lossy(&bytes).into_owned()),
            _ => return Err(wrong("an answer of no known kind")),
        };
        Ok(Answer { fingerprint, outcome })
    }
}

/// Kind, engine and length of an answer.
fn head(mut bytes: &[u8]) -> io::Result<(u8, Fingerprint, usize)> {
    expect(&mut bytes, &ANSWER)?;
    let (kind, mut fingerprint) = (read_byte(&mut bytes)?, [0; 16]);
    bytes.read_exact(&mut fingerprint)?;
    Ok((kind, Fingerprint(fingerprint), narrow(read_u64(&mut bytes)?)?))
}

fn expect(from: &mut impl Read, magic: &[u8; 8]) -> io::Result<()> {
    let mut found = [0; 8];
    from.read_exact(&mut found)?;
    if found == *magic { Ok(()) } else { Err(wrong("not what this program writes")) }
}

/// A length, and that many bytes.
fn read_exactly(from: &mut impl Read, limit: usize) -> io::Result<Vec<u8>> {
    let length: usize = narrow(read_u64(from)?)?;
    if length > limit {
        return Err(wrong("a length over the limit"));
    }
    let mut bytes = Vec::new();
    from.take(wide(length)).read_to_end(&mut bytes)?;
    if bytes.len() == length { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn read_byte(from: &mut impl Read) -> io::Result<u8> {
    let mut byte = [0];
    from.read_exact(&mut byte)?;
    Ok(byte[0])
}

fn read_u64(from: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    from.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn abi_number(abi: Option<AbiVersion>) -> u8 {
    match abi {
        None => 0,
        Some(AbiVersion::V0_1_0) => 1,
        Some(AbiVersion::V0_2_0) => 2,
        Some(AbiVersion::V0_2_1) => 3,
    }
}

fn abi_version(number: u8) -> io::Result<Option<AbiVersion>> {
    match number {
        0 => Ok(None),
        1 => Ok(Some(AbiVersion::V0_1_0)),
        2 => Ok(Some(AbiVersion::V0_2_0)),
        3 => Ok(Some(AbiVersion::V0_2_1)),
        _ => Err(wrong("a version of no known number")),
    }
}

fn wide(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

fn narrow<T: TryFrom<u64>>(number: u64) -> io::Result<T> {
    T::try_from(number).map_err(|_| wrong("a number that is too large"))
}

fn wrong(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        let limits = ModuleLimits { bytes: 10, functions: 2, body_bytes: 3, imports: 4, exports: 5 };
        Request { abi: Some(AbiVersion::V0_2_0), limits, module: Bytes::from_static(b"0123456789") }
    }

    #[test]
    fn a_request_comes_back_as_it_was_sent() {
        for abi in [None, Some(AbiVersion::V0_1_0), Some(AbiVersion::V0_2_0), Some(AbiVersion::V0_2_1)] {
            let request = Request { abi, ..request() };

            assert_eq!(Request::read(request.encode().reader()).unwrap(), request);
        }
    }

    #[test]
    fn a_request_that_ends_early_or_is_over_its_limit_is_an_error() {
        let mut whole = Vec::new();
        request().encode().reader().read_to_end(&mut whole).unwrap();
        let mut long = request();
        long.module = Bytes::from_static(b"0123456789a");

        for end in 0..whole.len() {
            assert!(Request::read(&whole[..end]).is_err(), "{end}");
        }
        assert!(Request::read(long.encode().reader()).is_err());
    }

    #[test]
    fn an_answer_comes_back_as_it_was_written_and_in_no_part() {
        let fingerprint = Fingerprint([7; 16]);
        for outcome in [Ok(Artifact::vouched(b"code".to_vec())), Err("no".to_owned())] {
            let answer = Answer { fingerprint, outcome };
            let mut bytes = Vec::new();
            answer.write(&mut bytes).unwrap();

            assert_eq!(Answer::decode(bytes.clone().into()).unwrap(), answer);
            for end in 0..bytes.len() {
                assert!(Answer::decode(bytes[..end].to_vec().into()).is_err(), "{end}");
            }
            bytes.push(0);
            assert!(Answer::decode(bytes.into()).is_err());
        }
    }
}
