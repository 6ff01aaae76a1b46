//! Which endpoint of a cluster gets the next request: functions of what a worker knows of them, and of nothing else.
//!
//! Endpoints are places, numbered as the roster has them. Who is healthy is told, connections are not known here.

pub mod hash;
pub mod table;

use tollgate_config::Ratio;

use crate::upstream::balance::table::Table;

/// The most turns of a round; weights are rounded to fit.
const TURNS: u64 = 4096;

/// An endpoint as picking sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Worth a request.
    pub healthy: bool,
    /// How many requests it gets, compared with its neighbours.
    pub weight: u32,
    /// The lower the sooner it is used.
    pub priority: u32,
}

/// Those that get requests, made anew when something of them changes.
#[derive(Debug, Default)]
pub struct Lineup {
    /// Each as often as its weight says, spread evenly.
    turns: Vec<usize>,
    seats: Vec<(bool, u32)>,
}

impl Lineup {
    /// Of these endpoints. Those of the first priority are used of which at least the part `panic` is healthy, and of them
    /// the healthy ones. Where there is no such priority, who is healthy cannot be trusted, and all get requests; with
    /// nothing to panic about, those of the first priority that has any.
    pub fn new(seats: &[Seat], panic: Ratio) -> Self {
        let chosen = eligible(seats, panic);
        let mut known: Vec<_> = seats.iter().map(|seat| (false, seat.weight)).collect();
        chosen.iter().for_each(|place| known[*place].0 = true);
        Self { turns: turns(&chosen, seats), seats: known }
    }

    /// True for an endpoint that gets requests.
    pub fn has(&self, place: usize) -> bool {
        self.seats.get(place).is_some_and(|seat| seat.0)
    }

    /// The next in turn, other than `avoid` where there is another.
    pub fn in_turn(&self, turn: usize, avoid: Option<usize>) -> Option<usize> {
        self.next(turn, |place| Some(place) != avoid).or_else(|| self.next(turn, |_| true))
    }

    fn next(&self, turn: usize, fits: impl Fn(usize) -> bool) -> Option<usize> {
        let first = turn.checked_rem(self.turns.len())?;
        let mut turns = self.turns[first..].iter().chain(&self.turns[..first]).copied();
        turns.find(|place| fits(*place))
    }

    /// One that is drawn.
    pub fn drawn(&self, random: u64, avoid: Option<usize>) -> Option<usize> {
        self.in_turn(part(random, self.turns.len()), avoid)
    }

    /// The less busy of two different ones that are drawn, by requests under way for their weight.
    pub fn less_busy(&self, random: u64, avoid: Option<usize>, active: impl Fn(usize) -> usize) -> Option<usize> {
        let first = self.drawn(random, avoid)?;
        let other = part(hash::mix(random), self.turns.len());
        let second = self.next(other, |place| place != first && Some(place) != avoid).unwrap_or(first);
        let load = |place: usize| u64::try_from(active(place)).unwrap_or(u64::MAX);
        let weight = |place: usize| self.seats.get(place).map_or(1, |seat| u64::from(seat.1));
        let busier = load(first).saturating_mul(weight(second)) > load(second).saturating_mul(weight(first));
        Some(if busier { second } else { first })
    }

    /// The one that a hash leads to; where that gets no requests, the next one that does.
    pub fn by_hash(&self, table: &Table, hash: u64, avoid: Option<usize>) -> Option<usize> {
        if self.turns.is_empty() {
            return None;
        }
        let fitting = || table.walk(hash).filter(|place| self.has(*place));
        fitting().find(|place| Some(*place) != avoid).or_else(|| fitting().next())
    }
}

/// A number below `length`, or zero.
fn part(random: u64, length: usize) -> usize {
    let length = u64::try_from(length).unwrap_or(u64::MAX).max(1);
    usize::try_from(random % length).unwrap_or_default()
}

fn eligible(seats: &[Seat], panic: Ratio) -> Vec<usize> {
    let mut priorities: Vec<u32> = seats.iter().map(|seat| seat.priority).collect();
    priorities.sort_unstable();
    priorities.dedup();
    let of = |priority: u32| (0..seats.len()).filter(move |place| seats[*place].priority == priority);
    let healthy = |priority: u32| of(priority).filter(|place| seats[*place].healthy);
    let is_enough = |priority: &u32| {
        let (all, good) = (of(*priority).count(), healthy(*priority).count());
        // Compared in parts per million, without a fraction.
        let parts = u128::from(panic.parts_per_million());
        good > 0 && good as u128 * 1_000_000 >= all as u128 * parts
    };
    match priorities.iter().find(|priority| is_enough(priority)) {
        Some(priority) => healthy(*priority).collect(),
        None if panic.parts_per_million() == 0 => Vec::new(),
        None => priorities.first().map(|priority| of(*priority).collect()).unwrap_or_default(),
    }
}

/// One round, in which the turns of each are as far apart as its weight allows.
fn turns(chosen: &[usize], seats: &[Seat]) -> Vec<usize> {
    let divisor = chosen.iter().fold(0, |divisor, place| gcd(divisor, seats[*place].weight)).max(1);
    let weight = |place: usize| u64::from((seats[place].weight / divisor).max(1));
    let sum: u64 = chosen.iter().map(|place| weight(*place)).sum();
    let fitted = |place: usize| match sum > TURNS {
        true => (weight(place) * TURNS / sum).max(1),
        false => weight(place),
    };
    let mut turns: Vec<(u64, usize)> = Vec::new();
    for place in chosen {
        let weight = fitted(*place);
        // The middle of each of its shares of the round, in parts of a whole that every weight divides closely enough.
        turns.extend((0..weight).map(|turn| ((2 * turn + 1) * (1 << 32) / (2 * weight), *place)));
    }
    turns.sort_by_key(|(at, _)| *at);
    turns.into_iter().map(|(_, place)| place).collect()
}

fn gcd(one: u32, other: u32) -> u32 {
    if other == 0 { one } else { gcd(other, one % other) }
}

#[cfg(test)]
mod tests;
