//! What a client's connection is doing, and since when: its timeouts go by that. It reads no clock and ends nothing.

use std::time::Instant;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing was read yet, or a head is incomplete.
    Head,
    /// Between exchanges.
    Idle,
    /// In an exchange, and the client takes what is written.
    Busy,
    /// The client takes nothing, whether in an exchange or not.
    Stalled,
}

/// The phase of a connection, and when it began.
#[derive(Debug)]
pub(super) struct Spell {
    phase: Phase,
    /// Exchanges and writes so far: one poll may end a phase and begin another of its kind.
    progress: (u64, u64),
    since: Instant,
    /// When the head began that is not whole.
    head: Option<Instant>,
}

impl Spell {
    /// A connection whose next head is waited for since then.
    pub(super) fn new(progress: (u64, u64), since: Instant) -> Self {
        Self { phase: Phase::Head, progress, since, head: Some(since) }
    }

    /// What it is doing at the moment.
    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// When it began with that.
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// Has what it is doing begin only now.
    pub(super) fn begin_anew(&mut self, now: Instant) {
        self.since = now;
        self.head = self.head.map(|_| now);
    }

    /// Notes what it is doing now, after so many exchanges and writes.
    pub(super) fn note(&mut self, phase: Phase, progress: (u64, u64), now: Instant) {
        let is_other = (phase, progress) != (self.phase, self.progress);
        // What is written meanwhile, such as answers to frames that are no request, gives a head no more time, and neither
        // does a client that takes nothing of it.
        let head = self.head.filter(|_| progress.0 == self.progress.0);
        self.head = match phase {
            Phase::Head => head.or(Some(now)),
            Phase::Stalled => head,
            Phase::Idle | Phase::Busy => None,
        };
        match self.head.filter(|_| phase == Phase::Head) {
            Some(head) => self.since = head,
            None if is_other => self.since = now,
            None => {}
        }
        (self.phase, self.progress) = (phase, progress);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// How many seconds ago each of these began by the time it was noted, one every second.
    fn ages(notes: &[(Phase, (u64, u64))]) -> Vec<u64> {
        let start = Instant::now();
        let mut spell = Spell::new((0, 0), start);
        let times = (1..).map(|second| start + Duration::from_secs(second));
        let age = |((phase, progress), now): (&(Phase, (u64, u64)), Instant)| {
            spell.note(*phase, *progress, now);
            assert_eq!(spell.phase(), *phase);
            (now - spell.since()).as_secs()
        };
        notes.iter().zip(times).map(age).collect()
    }

    #[test]
    fn a_head_has_its_time_once_whatever_is_written_and_not_taken_meanwhile() {
        let head = |writes| (Phase::Head, (0, writes));
        let stalled = |writes| (Phase::Stalled, (0, writes));

        assert_eq!(ages(&[head(0), head(1), head(2)]), [1, 2, 3]);
        assert_eq!(ages(&[head(0), stalled(0), stalled(1), head(2), head(2)]), [1, 0, 0, 4, 5]);
    }

    #[test]
    fn another_head_has_a_time_of_its_own() {
        let (busy, idle) = (|begun| (Phase::Busy, (begun, 0)), (Phase::Idle, (1, 0)));
        let head = |begun| (Phase::Head, (begun, 0));

        assert_eq!(ages(&[head(0), head(1), head(1)]), [1, 0, 1]);
        assert_eq!(ages(&[busy(1), idle, head(1), head(1)]), [0, 0, 0, 1]);
        assert_eq!(ages(&[(Phase::Stalled, (1, 0)), head(1), head(1)]), [0, 0, 1]);
        assert_eq!(ages(&[head(0), (Phase::Stalled, (0, 0)), idle, head(1)]), [1, 0, 0, 0]);
    }

    #[test]
    fn other_phases_begin_with_each_exchange_and_each_write() {
        let (busy, stalled) = (|begun, writes| (Phase::Busy, (begun, writes)), |writes| (Phase::Stalled, (1, writes)));

        assert_eq!(ages(&[busy(1, 0), busy(1, 0), busy(1, 1), busy(2, 1)]), [0, 1, 0, 0]);
        assert_eq!(ages(&[stalled(0), stalled(0), stalled(1), stalled(1)]), [0, 1, 0, 1]);
    }

    #[test]
    fn a_head_that_begins_anew_has_all_of_its_time() {
        let start = Instant::now();
        let later = start + Duration::from_secs(9);
        let mut spell = Spell::new((0, 0), start);

        spell.begin_anew(later);
        spell.note(Phase::Head, (0, 1), later + Duration::from_secs(1));

        assert_eq!(spell.since(), later);
    }
}
