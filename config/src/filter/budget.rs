//! Budgets: what one plugin may spend.
//! Keeping to them is the proxy's work.

use std::time::Duration;

use schemars::{Schema, json_schema};
use serde_json::Value;

use crate::ratio::Ratio;
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

/// Whether plugins lend one another unused budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    Off,
}

impl Scalar for Share {
    const EXPECTED: &'static str = "\"off\"";

    fn parse(text: &str) -> Result<Share, Unfit> {
        let percent = text.strip_suffix('%').is_some_and(|number| number.parse::<u8>().is_ok());
        match text {
            "off" => Ok(Share::Off),
            _ if percent => Err(Unfit::not_supported()),
            _ => Err(Unfit::value("is not known here; write \"off\"")),
        }
    }

    fn spell(&self) -> Value {
        "off".into()
    }

    fn schema() -> Schema {
        json_schema!({ "enum": ["off"] })
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
}
