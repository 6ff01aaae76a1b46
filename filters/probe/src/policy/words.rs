//! The words of one command, taken one after the other as what they should be.
//! Knows names and numbers of the ABI, but no command.

use super::bytes::percent_decode;
use super::refusal::Cause;

const MAPS: &[&str] = &[
    "request-headers",
    "request-trailers",
    "response-headers",
    "response-trailers",
    "grpc-initial",
    "grpc-trailing",
    "call-headers",
    "call-trailers",
];
const STREAMS: &[&str] = &["request", "response", "downstream", "upstream"];
const LEVELS: &[&str] = &["trace", "debug", "info", "warn", "error", "critical"];
const KINDS: &[&str] = &["counter", "gauge", "histogram"];

/// Names and values, in order.
pub(super) type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// What is left of a command.
pub(super) struct Words<'a> {
    left: &'a [&'a str],
}

impl<'a> Words<'a> {
    pub(super) fn new(words: &'a [&'a str]) -> Self {
        Self { left: words }
    }

    pub(super) fn len(&self) -> usize {
        self.left.len()
    }

    pub(super) fn word(&mut self, what: &'static str) -> Result<&'a str, Cause> {
        let (first, rest) = self.left.split_first().ok_or(Cause::Missing(what))?;
        self.left = rest;
        Ok(first)
    }

    pub(super) fn bytes(&mut self, what: &'static str) -> Result<Vec<u8>, Cause> {
        decoded(self.word(what)?)
    }

    pub(super) fn text(&mut self, what: &'static str) -> Result<String, Cause> {
        let word = self.word(what)?;
        String::from_utf8(decoded(word)?).map_err(|_| Cause::Bad("UTF-8", word.to_owned()))
    }

    pub(super) fn number<N: std::str::FromStr>(&mut self, what: &'static str) -> Result<N, Cause> {
        let word = self.word(what)?;
        word.parse().map_err(|_| Cause::Bad(what, word.to_owned()))
    }

    pub(super) fn map(&mut self) -> Result<u32, Cause> {
        self.named("a header map", MAPS)
    }

    pub(super) fn stream(&mut self) -> Result<u32, Cause> {
        self.named("a stream", STREAMS)
    }

    pub(super) fn level(&mut self) -> Result<u32, Cause> {
        self.named("a log level", LEVELS)
    }

    pub(super) fn kind(&mut self) -> Result<u32, Cause> {
        self.named("a kind of metric", KINDS)
    }

    /// A property path: segments between dots, on the wire between NULs.
    pub(super) fn path(&mut self) -> Result<Vec<u8>, Cause> {
        let segments: Result<Vec<_>, _> = self.word("a property path")?.split('.').map(decoded).collect();
        Ok(segments?.join(&0))
    }

    /// All that is left, with one blank between two words.
    pub(super) fn rest(&mut self) -> Result<Vec<u8>, Cause> {
        let words: Result<Vec<_>, _> = std::mem::take(&mut self.left).iter().map(|word| decoded(word)).collect();
        Ok(words?.join(&b' '))
    }

    /// All that is left, each word a pair.
    pub(super) fn pairs(&mut self) -> Result<Pairs, Cause> {
        std::mem::take(&mut self.left).iter().map(|word| pair(word)).collect()
    }

    pub(super) fn finish(self) -> Result<(), Cause> {
        match self.left.first() {
            Some(word) => Err(Cause::Extra((*word).to_owned())),
            None => Ok(()),
        }
    }

    fn named(&mut self, what: &'static str, names: &[&str]) -> Result<u32, Cause> {
        let word = self.word(what)?;
        let known = names.iter().position(|name| *name == word).and_then(|at| u32::try_from(at).ok());
        known.or_else(|| word.parse().ok()).ok_or_else(|| Cause::Bad(what, word.to_owned()))
    }
}

/// The bytes a word stands for.
pub(super) fn decoded(word: &str) -> Result<Vec<u8>, Cause> {
    if word == "''" {
        return Ok(Vec::new());
    }
    percent_decode(word).ok_or_else(|| Cause::Bad("two hexadecimal digits after each %", word.to_owned()))
}

/// Pairs between commas in one word.
pub(super) fn pair_list(word: &str) -> Result<Pairs, Cause> {
    match word {
        "''" | "" => Ok(Vec::new()),
        _ => word.split(',').map(pair).collect(),
    }
}

fn pair(word: &str) -> Result<(Vec<u8>, Vec<u8>), Cause> {
    let (name, value) = word.split_once('=').ok_or_else(|| Cause::Bad("NAME=VALUE", word.to_owned()))?;
    Ok((decoded(name)?, decoded(value)?))
}
