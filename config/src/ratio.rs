//! Ratios: parts of a whole as they are written, `5%` or `0.5%`.
//! A number without the sign is no ratio.

use std::fmt;
use std::str::FromStr;

use schemars::{Schema, json_schema};
use serde_json::Value;

use crate::scalar::{Bare, Scalar, Unfit};

/// A part of a whole, from none of it to all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ratio(
    /// Parts per million, a million at most.
    u32,
);

/// Parts of a whole.
const WHOLE: u32 = 1_000_000;
/// Parts of a percent.
const PERCENT: u32 = WHOLE / 100;
/// Digits that a percent may have behind the point.
const DIGITS: usize = 4;

impl Ratio {
    /// So many percent; more than all of it is all of it.
    pub const fn of_percent(percent: u32) -> Ratio {
        let parts = percent.saturating_mul(PERCENT);
        Ratio(if parts > WHOLE { WHOLE } else { parts })
    }

    /// Parts per million, from 0 to 1,000,000.
    pub const fn parts_per_million(self) -> u32 {
        self.0
    }

    /// This part of a number, rounded down.
    pub fn of(self, whole: u64) -> u64 {
        let part = u128::from(whole) * u128::from(self.0) / u128::from(WHOLE);
        // A part is never more than the whole.
        u64::try_from(part).unwrap_or(whole)
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / PERCENT, self.0 % PERCENT);
        if rest == 0 {
            return write!(f, "{whole}%");
        }
        let digits = format!("{rest:0DIGITS$}");
        write!(f, "{whole}.{}%", digits.trim_end_matches('0'))
    }
}

/// A text that is no ratio; says how to write one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotRatio {
    text: String,
    reason: String,
}

impl fmt::Display for NotRatio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.text, self.reason)
    }
}

impl std::error::Error for NotRatio {}

/// Reads what a person or a client wrote, as a configuration is read.
impl FromStr for Ratio {
    type Err = NotRatio;

    fn from_str(text: &str) -> Result<Ratio, NotRatio> {
        Ratio::parse(text).map_err(|unfit| NotRatio { text: text.to_owned(), reason: unfit.reason })
    }
}

impl Scalar for Ratio {
    const EXPECTED: &'static str = "a share such as 5%";
    const BARE: Bare = Bare::Lacks(&["%"]);

    fn parse(text: &str) -> Result<Ratio, Unfit> {
        let parts = text.strip_suffix('%').and_then(parts);
        let parts = parts.ok_or_else(|| Unfit::value("is not a share; write it as in 5% or 0.5%"))?;
        match u32::try_from(parts) {
            Ok(parts) if parts <= WHOLE => Ok(Ratio(parts)),
            _ => Err(Unfit::value("is too much, 100% are the most")),
        }
    }

    fn spell(&self) -> Value {
        self.to_string().into()
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": r"^[0-9]+(\.[0-9]{1,4})?%$" })
    }
}

/// A part that is more than none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part(pub(crate) Ratio);

impl Scalar for Part {
    const EXPECTED: &'static str = Ratio::EXPECTED;
    const BARE: Bare = Ratio::BARE;

    fn parse(text: &str) -> Result<Part, Unfit> {
        match Ratio::parse(text)? {
            Ratio(0) => Err(Unfit::value("is too little, a share is more than 0%")),
            ratio => Ok(Part(ratio)),
        }
    }

    fn spell(&self) -> Value {
        self.0.spell()
    }

    fn schema() -> Schema {
        Ratio::schema()
    }
}

/// The parts per million of a number of percent.
fn parts(percent: &str) -> Option<u64> {
    let (whole, fraction) = percent.split_once('.').map_or((percent, None), |(whole, rest)| (whole, Some(rest)));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let fraction = match fraction {
        Some(text) if !digits(text) || text.len() > DIGITS => return None,
        Some(text) => format!("{text:0<DIGITS$}").parse().ok()?,
        None => 0,
    };
    let whole: u64 = whole.parse().ok().filter(|_| digits(whole))?;
    Some(whole.saturating_mul(PERCENT.into()).saturating_add(fraction))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Option<u32> {
        Ratio::parse(text).ok().map(Ratio::parts_per_million)
    }

    #[test]
    fn a_share_is_a_number_of_percent() {
        assert_eq!(read("5%"), Some(50_000));
        assert_eq!(read("0.5%"), Some(5_000));
        assert_eq!(read("0.0001%"), Some(1));
        assert_eq!(read("0%"), Some(0));
        assert_eq!(read("100%"), Some(1_000_000));
        assert_eq!(read("100.0%"), Some(1_000_000));
    }

    #[test]
    fn what_is_not_a_share_is_refused() {
        for text in ["", "%", "5", "5 %", "-1%", "+5%", ".5%", "5.%", "1e1%", "0.00001%", "٣%", "5%%", "5‰"] {
            assert_eq!(Ratio::parse(text).unwrap_err().reason, "is not a share; write it as in 5% or 0.5%", "{text}");
        }
        for text in ["101%", "100.0001%", "18446744073709551615%"] {
            assert_eq!(Ratio::parse(text).unwrap_err().reason, "is too much, 100% are the most", "{text}");
        }
    }

    #[test]
    fn a_text_that_is_no_share_is_named() {
        assert_eq!("5%".parse(), Ok(Ratio::of_percent(5)));
        let refused = "five".parse::<Ratio>().unwrap_err();
        assert_eq!(refused.to_string(), "\"five\" is not a share; write it as in 5% or 0.5%");
    }

    #[test]
    fn a_part_is_more_than_none() {
        assert_eq!(Part::parse("0.0001%"), Ok(Part(Ratio(1))));
        assert_eq!(Part::parse("0.0%").unwrap_err().reason, "is too little, a share is more than 0%");
    }

    #[test]
    fn a_part_of_a_number_is_rounded_down_and_never_more_than_it() {
        assert_eq!(Ratio::of_percent(90).of(64 << 20), 60_397_977);
        assert_eq!(Ratio::of_percent(100).of(u64::MAX), u64::MAX);
        assert_eq!(Ratio::of_percent(1).of(99), 0);
        assert_eq!(Ratio::of_percent(101), Ratio::of_percent(100));
    }

    proptest! {
        #[test]
        fn what_is_spelled_is_read_back(parts in 0..=WHOLE) {
            prop_assert_eq!(read(&Ratio(parts).to_string()), Some(parts));
        }

        #[test]
        fn no_text_stops_the_reading(text in "\\PC*") {
            let _ = Ratio::parse(&text);
        }
    }
}
