//! The pages in which two states of a linear memory differ, to turn one state into the other.
//!
//! It knows nothing of instances.

/// Bytes of one page: the least that the machine copies on a write.
const PAGE: usize = 4096;

/// What turns a memory as its module begins with it into another state of it.
pub(crate) struct Pages {
    /// Bytes of the memory in that state.
    size: usize,
    /// Where each run of different pages begins in memory and ends in `bytes`, in order.
    runs: Vec<Run>,
    bytes: Vec<u8>,
}

struct Run {
    start: usize,
    end: usize,
}

impl Pages {
    /// What differs in `changed`. What it has past the end of `pristine` was zero when it was added.
    pub(crate) fn between(pristine: &[u8], changed: &[u8]) -> Pages {
        let mut pages = Pages { size: changed.len(), runs: Vec::new(), bytes: Vec::new() };
        for start in (0..changed.len()).step_by(PAGE) {
            let page = &changed[start..changed.len().min(start + PAGE)];
            let before = pristine.get(start..start + page.len()).unwrap_or(&[0; PAGE][..page.len()]);
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
            _ => self.runs.push(Run { start, end }),
        }
        self.bytes.extend_from_slice(page);
    }

    /// Bytes of the memory that `write` expects.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Changes `memory`, which is as its module begins with it and has grown to `size`. False when it is smaller than that,
    /// and then only a part of it is changed.
    #[must_use]
    pub(crate) fn write(&self, memory: &mut [u8]) -> bool {
        let mut bytes = self.bytes.as_slice();
        for Run { start, end } in &self.runs {
            let Some(place) = memory.get_mut(*start..*end) else { return false };
            let Some((run, rest)) = bytes.split_at_checked(place.len()) else { return false };
            place.copy_from_slice(run);
            bytes = rest;
        }
        true
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
    fn a_memory_that_has_not_grown_is_told() {
        let pages = Pages::between(&[], &changed(&[], 2 * PAGE, &[PAGE]));

        assert!(!pages.write(&mut [0; PAGE]));
    }
}
