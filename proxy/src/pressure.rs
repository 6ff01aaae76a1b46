//! How short of memory the process is, as steps of what is done about it. Each ends at less than it began with, so that none
//! flickers.
//!
//! Nothing is measured here; `app::memory` does that.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// See the module. Each step comes with those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Pressure {
    /// Nothing is done.
    #[default]
    Calm,
    /// Connections without an exchange are closed, clients' and upstreams'.
    Tight,
    /// Requests are refused.
    Over,
    /// No connection is accepted.
    FarOver,
}

/// How far below its mark a step ends, in hundredths of the bound.
const SLACK: u64 = 5;

impl Pressure {
    /// All but the first, the last one first.
    const STEPS: [Self; 3] = [Self::FarOver, Self::Over, Self::Tight];

    /// What follows when so many bytes are resident.
    #[must_use]
    pub fn next(self, resident: u64, bound: u64) -> Self {
        // What has slack reaches no less far, so the first is never above the second.
        self.clamp(Self::at(resident, bound, 0), Self::at(resident, bound, SLACK))
    }

    fn at(resident: u64, bound: u64, slack: u64) -> Self {
        let reached = |step: &Self| {
            let mark = u128::from(step.mark().saturating_sub(slack)) * u128::from(bound) / 100;
            u128::from(resident) > mark
        };
        Self::STEPS.into_iter().find(reached).unwrap_or_default()
    }

    /// Above what it begins, in hundredths of the bound.
    fn mark(self) -> u64 {
        match self {
            Self::Calm => 0,
            Self::Tight => 95,
            Self::Over => 100,
            Self::FarOver => 105,
        }
    }

    /// What is done, as people read it.
    pub fn measure(self) -> &'static str {
        match self {
            Self::Calm => "nothing is refused",
            Self::Tight => "idle connections are closed",
            Self::Over => "requests are refused (overloaded)",
            Self::FarOver => "requests are refused (overloaded), and no connection is accepted",
        }
    }
}

/// A step that one thread sets and another reads.
#[derive(Debug, Default)]
pub struct Level(AtomicU8);

impl Level {
    /// From here on it is this one.
    pub fn set(&self, pressure: Pressure) {
        self.0.store(pressure as u8, Relaxed);
    }

    /// True where it has come to this step or further; every request asks.
    pub fn has_reached(&self, pressure: Pressure) -> bool {
        self.0.load(Relaxed) >= pressure as u8
    }

    /// The step at this moment.
    pub fn pressure(&self) -> Pressure {
        let step = self.0.load(Relaxed);
        Pressure::STEPS.into_iter().find(|known| *known as u8 == step).unwrap_or_default()
    }
}

/// The memory of the process when it was last looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Bytes that are resident.
    pub resident: u64,
    /// How many may be; `None`: any number.
    pub bound: Option<u64>,
    /// What is done about it.
    pub pressure: Pressure,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_begins_above_its_mark_and_ends_five_hundredths_below_it() {
        let steps = |resident: &[u64]| {
            let mut pressure = Pressure::default();
            let next = |resident: &u64| {
                pressure = pressure.next(*resident, 1000);
                pressure
            };
            resident.iter().map(next).collect::<Vec<_>>()
        };
        use Pressure::{Calm, FarOver, Over, Tight};

        assert_eq!(steps(&[950, 951, 901, 900]), [Calm, Tight, Tight, Calm]);
        assert_eq!(steps(&[1000, 1001, 951, 950, 900]), [Tight, Over, Over, Tight, Calm]);
        assert_eq!(steps(&[1050, 1051, 1001, 1000, 951, 950]), [Over, FarOver, FarOver, Over, Over, Tight]);
        assert_eq!(steps(&[5000, 0]), [FarOver, Calm]);
    }

    #[test]
    fn no_number_stops_the_reckoning() {
        assert_eq!(Pressure::Calm.next(u64::MAX, u64::MAX), Pressure::Tight);
        assert_eq!(Pressure::Calm.next(1, 0), Pressure::FarOver);
        assert_eq!(Pressure::FarOver.next(0, 0), Pressure::Calm);
    }

    #[test]
    fn what_is_set_is_read() {
        let level = Level::default();
        for pressure in [Pressure::Over, Pressure::Calm, Pressure::FarOver, Pressure::Tight] {
            level.set(pressure);

            assert_eq!(level.pressure(), pressure);
            let reached = Pressure::STEPS.map(|step| level.has_reached(step));
            assert_eq!(reached, Pressure::STEPS.map(|step| step <= pressure));
        }
    }
}
