//! Whether something takes another time than it did.
//!
//! Times are compared by what they were over those of a filter that does nothing, turn by turn, and by themselves: a machine
//! that was slower for both is no change, neither is what happened to the other filter alone, nor what some turns of either
//! measurement show too.

use crate::toll::report::Turns;

/// Turns below which nothing is said.
const TURNS: usize = 5;
/// Differences below this, in hundredths, are none: where a program is put in memory makes nearly as much of one.
const LEAST: f64 = 10.0;
/// How much of it the times themselves must show, in hundredths.
const LEAST_ITSELF: f64 = 5.0;

/// What a difference must exceed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// How far apart all turns have to lie: the least of the larger over the most of the smaller.
    pub(super) gap: f64,
}

/// Something that took time, in nanoseconds and over what it took with a filter that does nothing.
#[derive(Debug)]
pub(super) struct Timed {
    pub(super) median: f64,
    /// In order, without one in ten at either end, which something else may have disturbed.
    ratios: Vec<f64>,
    turns: usize,
}

/// What there is to say of two.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Answer {
    /// They differ by no more than they wander.
    Same,
    /// One has too few turns.
    Few,
    /// The second takes so many hundredths more, or less.
    Moved(f64),
}

impl From<&Turns> for Timed {
    fn from(turns: &Turns) -> Self {
        Self::new(turns.median, &turns.ratios)
    }
}

impl Timed {
    pub(super) fn new(median: f64, ratios: &[f64]) -> Self {
        let mut sorted = ratios.to_vec();
        sorted.sort_by(f64::total_cmp);
        let ends = sorted.len() / 10;
        let ratios = sorted.get(ends..sorted.len() - ends).unwrap_or_default().to_vec();
        Self { median, turns: sorted.len(), ratios }
    }

    /// How far `after` lies from this.
    pub(super) fn to(&self, after: &Self, bounds: Bounds) -> Answer {
        if self.turns.min(after.turns) < TURNS {
            return Answer::Few;
        }
        if !(self.is_below(after, bounds) || after.is_below(self, bounds)) {
            return Answer::Same;
        }
        let percent = percent_more(self.middle(), after.middle());
        let itself = percent_more(self.median, after.median) * percent.signum();
        if percent.abs() >= LEAST && itself >= LEAST_ITSELF { Answer::Moved(percent) } else { Answer::Same }
    }

    fn is_below(&self, other: &Self, Bounds { gap }: Bounds) -> bool {
        let (most, least) = (self.ratios.last(), other.ratios.first());
        most.zip(least).is_some_and(|(most, least)| *least > most * gap)
    }

    fn middle(&self) -> f64 {
        self.ratios.get(self.ratios.len() / 2).copied().unwrap_or_default()
    }
}

/// In hundredths. From nothing it is all of it.
pub(super) fn percent_more(before: f64, after: f64) -> f64 {
    match (before == 0.0, after == 0.0) {
        (true, true) => 0.0,
        (true, false) => 100.0,
        (false, _) => (after / before - 1.0) * 100.0,
    }
}
