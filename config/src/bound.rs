//! Bounds: counts, sizes and durations that are written with a range of their own.
//! Which range belongs to which key is said where the key is declared.

use std::time::Duration;

use schemars::{Schema, json_schema};
use serde_json::Value;

use crate::scalar::{Bare, Scalar, Unfit};
use crate::unit::ByteSize;

/// A whole number from `LEAST` to `MOST`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count<const LEAST: usize, const MOST: usize>(pub(crate) usize);

impl<const LEAST: usize, const MOST: usize> Scalar for Count<LEAST, MOST> {
    const EXPECTED: &'static str = "a whole number";
    const BARE: Bare = Bare::Taken;

    fn parse(text: &str) -> Result<Self, Unfit> {
        let fits = |number: &usize| (LEAST..=MOST).contains(number);
        let unfit = || Unfit::value(format!("is not a whole number from {LEAST} to {MOST}"));
        text.parse().ok().filter(fits).map(Count).ok_or_else(unfit)
    }

    fn spell(&self) -> Value {
        self.0.into()
    }

    fn schema() -> Schema {
        json_schema!({ "type": "integer", "minimum": LEAST, "maximum": MOST })
    }
}

/// A size of one byte to `MOST`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size<const MOST: u64>(pub(crate) u64);

impl<const MOST: u64> Scalar for Size<MOST> {
    const EXPECTED: &'static str = ByteSize::EXPECTED;
    const BARE: Bare = ByteSize::BARE;

    fn parse(text: &str) -> Result<Self, Unfit> {
        match ByteSize::parse(text)?.bytes() {
            bytes if bytes > MOST => Err(Unfit::value(format!("is too large, {} is the most", ByteSize::new(MOST)))),
            bytes => Ok(Size(bytes)),
        }
    }

    fn spell(&self) -> Value {
        ByteSize::new(self.0).spell()
    }

    fn schema() -> Schema {
        ByteSize::schema()
    }
}

/// A duration of a millisecond to `SECONDS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wait<const SECONDS: u64>(pub(crate) Duration);

impl<const SECONDS: u64> Scalar for Wait<SECONDS> {
    const EXPECTED: &'static str = Duration::EXPECTED;
    const BARE: Bare = Duration::BARE;

    fn parse(text: &str) -> Result<Self, Unfit> {
        let most = Duration::from_secs(SECONDS);
        match Duration::parse(text)? {
            wait if wait > most => Err(Unfit::value(format!("is too long, {} is the most", spelled(most)))),
            wait => Ok(Wait(wait)),
        }
    }

    fn spell(&self) -> Value {
        self.0.spell()
    }

    fn schema() -> Schema {
        Duration::schema()
    }
}

fn spelled(wait: Duration) -> String {
    match wait.spell() {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_within_its_range() {
        assert_eq!(Count::<0, 7>::parse("0"), Ok(Count(0)));
        assert_eq!(Count::<0, 7>::parse("7"), Ok(Count(7)));
        assert_eq!(Count::<1, 7>::parse("1"), Ok(Count(1)));
        for text in ["0", "8", "-1", "1.5", "", "99999999999999999999"] {
            let unfit = Count::<1, 7>::parse(text).unwrap_err();
            assert_eq!(unfit.reason, "is not a whole number from 1 to 7", "{text}");
        }
    }

    #[test]
    fn a_size_ends_at_its_bound() {
        assert_eq!(Size::<{ 64 << 10 }>::parse("64KiB"), Ok(Size(64 << 10)));
        assert_eq!(Size::<{ 64 << 10 }>::parse("1B"), Ok(Size(1)));
        let unfit = Size::<{ 64 << 10 }>::parse("65537B").unwrap_err();
        assert_eq!(unfit.reason, "is too large, 64KiB is the most");
        assert!(Size::<{ 64 << 10 }>::parse("0B").is_err());
    }

    #[test]
    fn a_wait_ends_at_its_bound() {
        assert_eq!(Wait::<300>::parse("5m"), Ok(Wait(Duration::from_secs(300))));
        assert_eq!(Wait::<300>::parse("1ms"), Ok(Wait(Duration::from_millis(1))));
        assert_eq!(Wait::<300>::parse("300001ms").unwrap_err().reason, "is too long, 5m is the most");
        assert!(Wait::<300>::parse("0s").is_err());
    }
}
