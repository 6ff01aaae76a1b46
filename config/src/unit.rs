//! Units: sizes and durations as they are written, `32MiB` and `5ms`.
//! A number without a unit is no size and no duration.

use std::fmt;
use std::time::Duration;

use schemars::{Schema, json_schema};
use serde_json::Value;

use crate::scalar::{Bare, Scalar, Unfit};

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

impl ByteSize {
    /// So many bytes.
    pub const fn new(bytes: u64) -> ByteSize {
        ByteSize(bytes)
    }

    /// So many times 1,024 bytes.
    pub const fn kib(count: u32) -> ByteSize {
        ByteSize(count as u64 * 1024)
    }

    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The size in bytes; the largest `usize` where it does not fit.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// Units of sizes, the one to prefer in writing first.
const SIZES: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// Units of durations in milliseconds, the one to prefer in writing first.
const TIMES: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// One year; nothing in a proxy waits longer, and no clock overflows.
const LONGEST: u64 = 8_760 * 3_600_000;

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&spell(self.0, &SIZES))
    }
}

impl Scalar for ByteSize {
    const EXPECTED: &'static str = "a size such as 32MiB";
    const BARE: Bare = Bare::Lacks(&["B", "KiB"]);

    fn parse(text: &str) -> Result<ByteSize, Unfit> {
        let unfit = || Unfit::value("is not a size; write a whole number with B, KiB, MiB, GiB, kB, MB or GB");
        match parse(text, &SIZES) {
            None => Err(unfit()),
            Some(0) => Err(Unfit::value("is too small, a size is more than zero")),
            Some(bytes) => Ok(ByteSize(bytes)),
        }
    }

    fn spell(&self) -> Value {
        self.to_string().into()
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB|kB|MB|GB)$" })
    }
}

impl Scalar for Duration {
    const EXPECTED: &'static str = "a duration such as 5ms";
    const BARE: Bare = Bare::Lacks(&["s", "ms"]);

    fn parse(text: &str) -> Result<Duration, Unfit> {
        match parse(text, &TIMES) {
            None => Err(Unfit::value("is not a duration; write a whole number with ms, s, m or h")),
            Some(0) => Err(Unfit::value("is too short, a duration is more than zero")),
            Some(millis) if millis > LONGEST => Err(Unfit::value("is too long, 8760h are the most")),
            Some(millis) => Ok(Duration::from_millis(millis)),
        }
    }

    fn spell(&self) -> Value {
        let millis = u64::try_from(self.as_millis()).unwrap_or(u64::MAX);
        spell(millis, &TIMES).into()
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h)$" })
    }
}

/// A whole number with its unit, in the smallest unit.
fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// The number in the first unit that divides it.
fn spell(number: u64, units: &[(&str, u64)]) -> String {
    let dividing = units.iter().find(|(_, factor)| number.is_multiple_of(*factor));
    dividing.map(|(unit, factor)| format!("{}{unit}", number / factor)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn size(text: &str) -> Option<u64> {
        ByteSize::parse(text).ok().map(ByteSize::bytes)
    }

    #[test]
    fn sizes_are_read_with_their_units() {
        assert_eq!(size("512B"), Some(512));
        assert_eq!(size("64KiB"), Some(64 << 10));
        assert_eq!(size("32MiB"), Some(32 << 20));
        assert_eq!(size("10MB"), Some(10_000_000));
    }

    #[test]
    fn durations_are_read_with_their_units() {
        for (text, seconds) in [("10s", 10), ("2m", 120), ("1h", 3600), ("8760h", 8760 * 3600)] {
            assert_eq!(Duration::parse(text), Ok(Duration::from_secs(seconds)));
        }
        assert_eq!(Duration::parse("5ms"), Ok(Duration::from_millis(5)));
    }

    #[test]
    fn what_is_not_a_number_with_a_unit_is_refused() {
        for text in
            ["", "5", "ms", "5 ms", "1.5s", "-1s", "5%", "5d", "+5s", "٣s", "8761h", "0s", "99999999999999999999s"]
        {
            assert!(Duration::parse(text).is_err(), "{text}");
        }
        for text in ["", "5", "5mib", "5 MiB", "5%", "0B", "99999999999GiB"] {
            assert!(ByteSize::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_largest_unit_that_divides_is_written() {
        assert_eq!(ByteSize::kib(60).to_string(), "60KiB");
        assert_eq!(ByteSize::new(10_000_000).to_string(), "10MB");
        assert_eq!(ByteSize::new(1 << 20).to_string(), "1MiB");
        assert_eq!(Duration::from_secs(90).spell(), "90s");
        assert_eq!(Duration::from_secs(300).spell(), "5m");
    }

    proptest! {
        #[test]
        fn what_is_spelled_is_read_back(number in 1u64..LONGEST) {
            let bytes = ByteSize::new(number);
            prop_assert_eq!(ByteSize::parse(&bytes.to_string()), Ok(bytes));

            let duration = Duration::from_millis(number);
            let Value::String(text) = duration.spell() else { panic!("a duration is text") };
            prop_assert_eq!(Duration::parse(&text), Ok(duration));
        }

        #[test]
        fn no_text_stops_the_reading(text in "\\PC*") {
            let _ = (ByteSize::parse(&text), Duration::parse(&text));
        }
    }
}
