//! Which pages of a range of this process's memory may have been written since they were mapped, as the kernel tells.
//!
//! It reads `/proc/self/pagemap` and no memory.

use std::fs::File;
use std::hint::black_box;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::LazyLock;

/// Bytes of the entry of one page.
const ENTRY: usize = 8;
/// Entries that are read at a time.
const CHUNK: usize = 256;

// Documentation/admin-guide/mm/pagemap.rst.
const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;
const FILE: u64 = 1 << 61;

/// Opened once: a process keeps its map.
static OWN: LazyLock<Option<PageMap>> = LazyLock::new(|| PageMap::open().ok().filter(PageMap::tells_the_truth));

/// The page map of this process; of the parent, in a child that was forked without exec.
#[derive(Debug)]
pub(crate) struct PageMap {
    file: File,
    /// Bytes of one page.
    page: usize,
}

impl PageMap {
    /// The map of this process, where there is one to rely on.
    pub(crate) fn own() -> Option<&'static PageMap> {
        OWN.as_ref()
    }

    fn open() -> io::Result<PageMap> {
        Ok(PageMap { file: File::open("/proc/self/pagemap")?, page: rustix::param::page_size() })
    }

    /// False where what calls itself the map is of other memory, as under an emulator: it lacks pages just written.
    fn tells_the_truth(&self) -> bool {
        let mut memory = vec![1_u8; 8 * self.page];
        black_box(&mut memory).fill(2);
        let start = memory.as_ptr().addr().next_multiple_of(self.page);
        let mut found = 0;
        self.written(start, 7 * self.page, |_| found += 1).is_ok() && found == 7
    }

    /// Calls `found` with each page of a private mapping that may differ from what was mapped, as places within the range.
    pub(crate) fn written(&self, start: usize, size: usize, mut found: impl FnMut(Range<usize>)) -> io::Result<()> {
        let mut entries = [0; CHUNK * ENTRY];
        let (first, count) = (start / self.page, size.div_ceil(self.page));
        for chunk in (0..count).step_by(CHUNK) {
            let entries = &mut entries[..CHUNK.min(count - chunk) * ENTRY];
            let at = u64::try_from((first + chunk) * ENTRY).map_err(io::Error::other)?;
            self.file.read_exact_at(entries, at)?;
            for (index, entry) in entries.as_chunks::<ENTRY>().0.iter().enumerate() {
                if is_written(u64::from_le_bytes(*entry)) {
                    let start = (chunk + index) * self.page;
                    found(start..size.min(start + self.page));
                }
            }
        }
        Ok(())
    }
}

/// A page that was written is anonymous: the kernel has copied it for this process. One that is being moved counts as
/// swapped for that time, so presence alone would miss it.
fn is_written(entry: u64) -> bool {
    entry & (PRESENT | SWAPPED) != 0 && entry & FILE == 0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn pages_that_were_written_are_found_wherever_they_are() {
        let map = PageMap::own().expect("/proc/self/pagemap can be read");
        let mut memory = vec![0_u8; 1000 * map.page];
        let start = memory.as_ptr().addr().next_multiple_of(map.page);
        let offset = start - memory.as_ptr().addr();
        for page in [0, 255, 256, 900] {
            memory[offset + page * map.page] = 1;
        }

        let mut written = Vec::new();
        map.written(start, 901 * map.page, |range| written.push(range.start / map.page)).unwrap();

        assert!([0, 255, 256, 900].iter().all(|page| written.contains(page)), "{written:?}");
    }

    #[test]
    fn a_page_that_is_moved_or_swapped_counts_and_one_of_a_file_does_not() {
        assert!(is_written(PRESENT));
        assert!(is_written(SWAPPED));
        assert!(!is_written(0));
        assert!(!is_written(PRESENT | FILE));
        assert!(!is_written(SWAPPED | FILE));
    }
}
