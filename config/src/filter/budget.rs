//! Budgets: what one plugin may spend.
//! Keeping to them is the proxy's work.

use std::time::Duration;

use schemars::{Schema, json_schema};
use serde_json::Value;

use crate::ratio::{Part, Ratio};
use crate::scalar::{Bare, Scalar, Unfit};
use crate::unit::ByteSize;

/// What one plugin may spend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// CPU time of one callback.
    pub time: Duration,
    /// Time to start and configure a VM.
    pub start: Duration,
    /// Bytes of memory of one VM.
    pub memory: u64,
    /// The share of a worker that its calls may take in the long run, never zero; `None`: whatever it takes.
    pub share: Option<Ratio>,
    /// Bytes of memory above which a VM is replaced between two exchanges, `memory` at most; `None`: it never is.
    pub recycle: Option<u64>,
}

impl Budget {
    /// The part of [`Budget::memory`] that [`Budget::recycle`] is when none is written.
    pub const RECYCLE: Ratio = Ratio::of_percent(90);
}

impl Default for Budget {
    fn default() -> Budget {
        let memory = 64 << 20;
        Budget {
            time: Duration::from_millis(10),
            start: Duration::from_secs(10),
            memory,
            share: None,
            recycle: Some(Budget::RECYCLE.of(memory)),
        }
    }
}

/// The memory of one VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory(pub(crate) ByteSize);

impl Scalar for Memory {
    const EXPECTED: &'static str = ByteSize::EXPECTED;
    const BARE: Bare = ByteSize::BARE;

    fn parse(text: &str) -> Result<Memory, Unfit> {
        let size = ByteSize::parse(text)?;
        // WebAssembly memory is counted in pages of 64 KiB and addressed with 32 bits.
        match size.bytes() {
            bytes if bytes < 64 << 10 => Err(Unfit::value("is too small, a VM has 64KiB at least")),
            bytes if bytes > 4 << 30 => Err(Unfit::value("is too large, a VM has 4GiB at most")),
            _ => Ok(Memory(size)),
        }
    }

    fn spell(&self) -> Value {
        self.0.spell()
    }

    fn schema() -> Schema {
        ByteSize::schema()
    }
}

/// The share of a worker that a plugin may take, or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share(pub(crate) Option<Part>);

impl Scalar for Share {
    const EXPECTED: &'static str = "\"off\" or a share such as 20%";
    const BARE: Bare = Ratio::BARE;

    fn parse(text: &str) -> Result<Share, Unfit> {
        match text {
            "off" => Ok(Share(None)),
            _ if text.ends_with('%') => Part::parse(text).map(|part| Share(Some(part))),
            _ => Err(Unfit::value("is not known here; write \"off\" or a share such as 20%")),
        }
    }

    fn spell(&self) -> Value {
        self.0.map_or_else(|| "off".into(), |part| part.spell())
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": r"^(off|[0-9]+(\.[0-9]{1,4})?%)$" })
    }
}

/// The memory above which a VM is replaced: none, a share of what it may have, or a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recycle {
    Off,
    Part(Part),
    Size(ByteSize),
}

impl Recycle {
    /// In bytes, for a VM that may have `memory`.
    pub(crate) fn bytes(self, memory: u64) -> Option<u64> {
        match self {
            Recycle::Off => None,
            Recycle::Part(Part(ratio)) => Some(ratio.of(memory)),
            Recycle::Size(size) => Some(size.bytes()),
        }
    }
}

impl Scalar for Recycle {
    const EXPECTED: &'static str = "\"off\", a share such as 90% or a size such as 32MiB";
    const BARE: Bare = Bare::Lacks(&["%", "MiB"]);

    fn parse(text: &str) -> Result<Recycle, Unfit> {
        match text {
            "off" => Ok(Recycle::Off),
            _ if text.ends_with('%') => Part::parse(text).map(Recycle::Part),
            _ if text.starts_with(|letter: char| letter.is_ascii_digit()) => ByteSize::parse(text).map(Recycle::Size),
            _ => Err(Unfit::value("is not known here; write \"off\", a share such as 90% or a size such as 32MiB")),
        }
    }

    fn spell(&self) -> Value {
        match self {
            Recycle::Off => "off".into(),
            Recycle::Part(part) => part.spell(),
            Recycle::Size(size) => size.spell(),
        }
    }

    fn schema() -> Schema {
        let pattern = r"^(off|[0-9]+(\.[0-9]{1,4})?%|[0-9]+(B|KiB|MiB|GiB|kB|MB|GB))$";
        json_schema!({ "type": "string", "pattern": pattern })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_a_page_at_least_and_four_gibibytes_at_most() {
        assert!(Memory::parse("64KiB").is_ok());
        assert!(Memory::parse("63KiB").is_err());
        assert!(Memory::parse("4GiB").is_ok());
        assert!(Memory::parse("4097MiB").is_err());
    }

    #[test]
    fn a_share_of_a_worker_is_off_or_more_than_none() {
        let spelled = |text| Share::parse(text).map(|share| share.spell());

        assert_eq!(spelled("off"), Ok("off".into()));
        assert_eq!(spelled("20.50%"), Ok("20.5%".into()));
        assert_eq!(spelled("100%"), Ok("100%".into()));
        for text in ["", "on", "0%", "101%", "20", "5ms"] {
            assert!(Share::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_vm_is_replaced_above_a_part_of_its_memory_or_a_size() {
        let bytes = |text| Recycle::parse(text).map(|recycle| recycle.bytes(1000));

        assert_eq!(bytes("off"), Ok(None));
        assert_eq!(bytes("90%"), Ok(Some(900)));
        assert_eq!(bytes("1kB"), Ok(Some(1000)));
        for text in ["", "on", "0%", "101%", "0B", "5ms", "1kb"] {
            assert!(Recycle::parse(text).is_err(), "{text}");
        }
    }
}
