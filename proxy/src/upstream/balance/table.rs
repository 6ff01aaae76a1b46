//! Where hashes lead: a ring of points, or a table filled evenly (Maglev, Eisenbud et al., NSDI 2016).
//!
//! Made once for a set of endpoints, on the control side, and shared. Who is healthy is not known here: whoever walks it
//! steps over those that are not, so that the clients of the others stay where they are.

use crate::upstream::balance::hash;

/// Points of the ring for each part of an endpoint's weight, where there is room.
const POINTS: u64 = 512;
/// The most points of a ring, but for one that everybody has.
const RING: u64 = 1 << 16;
/// Places of the table: a prime, so that any step visits all of them.
const TABLE: u64 = 65_537;

/// See the module.
#[derive(Debug, PartialEq, Eq)]
pub enum Table {
    /// Points in the order of the ring, with whose they are.
    Ring(Box<[(u64, usize)]>),
    /// Whose each place is.
    Maglev(Box<[usize]>),
}

/// An endpoint with what it is known by and its weight.
pub type Named<'a> = (&'a str, u32);

impl Table {
    /// A ring: each endpoint has points in proportion to its weight, which depend on nothing but its name and weight. Where the
    /// ring would be too large, all have half of them, or a fourth, and so on: those who join or leave move others' clients
    /// only at such a step.
    pub fn ring(endpoints: &[Named<'_>]) -> Self {
        let halvings = halvings(endpoints);
        let mut ring: Vec<(u64, usize)> = Vec::new();
        for (place, (name, weight)) in endpoints.iter().enumerate() {
            let points = (u64::from(*weight).saturating_mul(POINTS) >> halvings).max(1);
            ring.extend((0..points).map(|point| (hash::with(name.as_bytes(), point), place)));
        }
        ring.sort_unstable();
        Self::Ring(ring.into())
    }

    /// A table: each endpoint in turn takes the next place that it prefers and that is free.
    pub fn maglev(endpoints: &[Named<'_>]) -> Self {
        const FREE: usize = usize::MAX;
        let mut places = vec![FREE; usize::try_from(TABLE).unwrap_or_default()];
        let heaviest = endpoints.iter().map(|(_, weight)| *weight).max().unwrap_or(1).max(1);
        let mut wishes: Vec<Wishes> = endpoints.iter().map(|(name, _)| Wishes::of(name)).collect();
        let mut left = if endpoints.is_empty() { 0 } else { places.len() };
        while left > 0 {
            for (own, (wishes, (_, weight))) in wishes.iter_mut().zip(endpoints).enumerate() {
                // The heaviest takes a place in each round, the others as often as their weight says.
                wishes.credit += weight;
                if wishes.credit < heaviest || left == 0 {
                    continue;
                }
                wishes.credit -= heaviest;
                if let Some(place) = wishes.find(|place| places.get(*place) == Some(&FREE)) {
                    places[place] = own;
                    left -= 1;
                }
            }
        }
        Self::Maglev(places.into())
    }

    /// Those that a hash leads to, the next best after the best; each may come more than once.
    pub fn walk(&self, hash: u64) -> impl Iterator<Item = usize> + '_ {
        let length = match self {
            Self::Ring(ring) => ring.len(),
            Self::Maglev(places) => places.len(),
        };
        let first = match self {
            Self::Ring(ring) => ring.partition_point(|(point, _)| *point < hash),
            Self::Maglev(_) => usize::try_from(hash % TABLE).unwrap_or_default(),
        };
        let at = move |step: usize| match self {
            Self::Ring(ring) => ring[step].1,
            Self::Maglev(places) => places[step],
        };
        (first..length).chain(0..first.min(length)).map(at).filter(|place| *place != usize::MAX)
    }
}

/// How often the points of all are halved until the ring has room for them.
fn halvings(endpoints: &[Named<'_>]) -> u32 {
    let sum: u64 = endpoints.iter().map(|(_, weight)| u64::from(*weight)).sum();
    let excess = sum.saturating_mul(POINTS).div_ceil(RING).max(1);
    excess.next_power_of_two().trailing_zeros()
}

/// The places of the table in the order in which an endpoint prefers them: a walk that visits each once.
struct Wishes {
    next: u64,
    step: u64,
    credit: u32,
}

impl Wishes {
    fn of(name: &str) -> Self {
        let step = hash::with(name.as_bytes(), 1) % (TABLE - 1) + 1;
        Self { next: hash::with(name.as_bytes(), 0) % TABLE, step, credit: 0 }
    }
}

impl Iterator for Wishes {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let place = usize::try_from(self.next).ok();
        self.next = (self.next + self.step) % TABLE;
        place
    }
}
