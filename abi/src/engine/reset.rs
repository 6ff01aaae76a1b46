//! How the memory of an instance is made clean for the next one in its slot, and whether the quick way is safe here.

use std::fs;
use std::path::Path;

use wasmtime::PoolingAllocationConfig;

/// What becomes of the memory of an instance that is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// It is unmapped: each instance has a mapping of its own.
    Unmap,
    /// The kernel takes all of its pages back (`madvise`); the next instance in the slot begins with page faults.
    Madvise,
    /// Pages that were written are found with `PAGEMAP_SCAN`, written over, and stay in place for the next instance.
    PagemapScan,
}

/// The quick way where it is wanted, known to the kernel, and safe.
///
/// Wasmtime 48.0.8 asks the scan for pages that are *present*. A dirty page that was swapped out is not, so it is neither
/// written over nor given back, and the next instance in the slot reads it (wasmtime pull request 14357, whose fix 48.0.8
/// does not have: `reset_with_pagemap` in `runtime/vm/sys/unix/pagemap.rs` has `PRESENT` in its mask and stops at 32 runs,
/// past which it falls back to `madvise`).
pub(super) fn choose(wanted: bool) -> Reset {
    if wanted && PoolingAllocationConfig::is_pagemap_scan_available() && !may_swap() {
        Reset::PagemapScan
    } else {
        Reset::Madvise
    }
}

/// True unless it is certain that pages of this process stay in memory. Looked at once: who adds swap to a running machine
/// restarts what relies on its absence.
fn may_swap() -> bool {
    let no_swap = fs::read_to_string("/proc/swaps").is_ok_and(|swaps| lists_none(&swaps));
    !no_swap && !is_barred()
}

/// `/proc/swaps` is a headline and a line for each swap.
fn lists_none(swaps: &str) -> bool {
    swaps.starts_with("Filename") && swaps.lines().count() == 1
}

/// True when the cgroup of this process, or one above it, lets nothing be swapped.
fn is_barred() -> bool {
    let Ok(groups) = fs::read_to_string("/proc/self/cgroup") else { return false };
    let Some(own) = groups.lines().find_map(|line| line.strip_prefix("0::/")) else { return false };
    let root = Path::new("/sys/fs/cgroup");
    let above = Path::new(own).ancestors().map(|group| root.join(group).join("memory.swap.max"));
    above.into_iter().any(|file| fs::read_to_string(file).is_ok_and(|most| most.trim() == "0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADLINE: &str = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";

    #[test]
    fn a_list_without_a_swap_is_its_headline() {
        assert!(lists_none(HEADLINE));
        assert!(!lists_none(&format!("{HEADLINE}/dev/zram0 partition 4194300 0 100\n")));
        assert!(!lists_none(""));
    }

    #[test]
    fn the_quick_way_is_not_taken_unasked() {
        assert_eq!(choose(false), Reset::Madvise);
    }
}
