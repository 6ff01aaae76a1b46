//! The pages in which two states of a linear memory differ, to turn one state into the other.
//!
//! It knows nothing of instances.

use std::ops::Range;

/// Bytes of one page: the least that the machine copies on a write.
const PAGE: usize = 4096;
static ZERO: [u8; PAGE] = [0; PAGE];

/// What turns a memory as its module begins with it into another state of it.
pub(crate) struct Pages {
    /// Bytes of the memory in that state.
    size: usize,
    /// In order, and without two that touch.
    runs: Vec<Run>,
    bytes: Vec<u8>,
}

/// Pages that follow one another.
struct Run {
    /// Where they begin and end in memory.
    start: usize,
    end: usize,
    /// Where they begin in `bytes`.
    at: usize,
}

impl Pages {
    /// What differs in `changed`. What it has past the end of `pristine` was zero when it was added.
    pub(crate) fn between(pristine: &[u8], changed: &[u8]) -> Pages {
        let mut pages = Pages { size: changed.len(), runs: Vec::new(), bytes: Vec::new() };
        for start in (0..changed.len()).step_by(PAGE) {
            let page = &changed[start..changed.len().min(start + PAGE)];
            let before = pristine.get(start..start + page.len()).unwrap_or(&ZERO[..page.len()]);
            if page != before {
                pages.push(start, page);
            }
        }
        pages.bytes.shrink_to_fit();
        pages
    }

    fn push(&mut self, start: usize, page: &[u8]) {
        let end = start + page.len();
        match self.runs.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ => self.runs.push(Run { start, end, at: self.bytes.len() }),
        }
        self.bytes.extend_from_slice(page);
    }

    /// Bytes of the memory that `write` expects.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Bytes of the pages that differ.
    pub(crate) fn kept(&self) -> usize {
        self.bytes.len()
    }

    /// Changes `memory`, which is as its module begins with it and has grown to `size`. False when it is smaller than that,
    /// and then only a part of it is changed.
    #[must_use]
    pub(crate) fn write(&self, memory: &mut [u8]) -> bool {
        for Run { start, end, at } in &self.runs {
            let Some(place) = memory.get_mut(*start..*end) else { return false };
            place.copy_from_slice(&self.bytes[*at..*at + place.len()]);
        }
        true
    }

    /// Makes one range of `memory`, which begins and ends with a page, as it is in the other state. Only for a difference to
    /// nothing, where every page that is not kept is zero.
    pub(crate) fn restore(&self, memory: &mut [u8], range: Range<usize>) {
        for start in range.step_by(PAGE) {
            let end = memory.len().min(start + PAGE);
            let place = &mut memory[start..end];
            let page = self.page(start).unwrap_or(&ZERO);
            let page = &page[..place.len()];
            // Most pages are as they were: guests write to their stack and heap over and over.
            if place != page {
                place.copy_from_slice(page);
            }
        }
    }

    fn page(&self, start: usize) -> Option<&[u8]> {
        let next = self.runs.partition_point(|run| run.start <= start);
        let run = self.runs.get(next.checked_sub(1)?)?;
        let at = run.at + (start - run.start);
        (start < run.end).then(|| &self.bytes[at..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(pristine: &[u8], size: usize, at: &[usize]) -> Vec<u8> {
        let mut memory = pristine.to_vec();
        memory.resize(size, 0);
        at.iter().for_each(|at| memory[*at] ^= 0xff);
        memory
    }

    #[test]
    fn writing_the_difference_makes_the_other_state() {
        let pristine: Vec<u8> = (0..=255).cycle().take(8 * PAGE).collect();
        let other = changed(&pristine, 12 * PAGE, &[0, PAGE, 3 * PAGE - 1, 7 * PAGE, 8 * PAGE, 12 * PAGE - 1]);

        let pages = Pages::between(&pristine, &other);
        let mut memory = changed(&pristine, pages.size(), &[]);

        assert!(pages.write(&mut memory));
        assert!(memory == other);
    }

    #[test]
    fn only_pages_that_differ_are_kept_and_neighbours_are_one_run() {
        let pristine = vec![7; 8 * PAGE];
        let other = changed(&pristine, 9 * PAGE, &[PAGE, 2 * PAGE, 5 * PAGE]);

        let pages = Pages::between(&pristine, &other);

        let runs: Vec<_> = pages.runs.iter().map(|run| (run.start / PAGE, run.end / PAGE)).collect();
        assert_eq!(runs, [(1, 3), (5, 6)]);
        assert_eq!(pages.bytes.len(), 3 * PAGE);
    }

    #[test]
    fn a_range_is_restored_and_the_rest_is_not() {
        let state = changed(&[], 8 * PAGE, &[PAGE, 2 * PAGE + 5, 6 * PAGE]);
        let pages = Pages::between(&[], &state);
        let mut memory = vec![9; 8 * PAGE];

        pages.restore(&mut memory, 0..4 * PAGE);
        pages.restore(&mut memory, 6 * PAGE..8 * PAGE);

        assert!(memory[..4 * PAGE] == state[..4 * PAGE]);
        assert!(memory[4 * PAGE..6 * PAGE].iter().all(|byte| *byte == 9));
        assert!(memory[6 * PAGE..] == state[6 * PAGE..]);
    }

    #[test]
    fn a_memory_that_has_not_grown_is_told() {
        let pages = Pages::between(&[], &changed(&[], 2 * PAGE, &[PAGE]));

        assert!(!pages.write(&mut [0; PAGE]));
    }
}
