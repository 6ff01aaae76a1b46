//! Memory of a process with all its descendants, as the kernel counts it at this moment.

use std::fs;
use std::io;

use crate::cpu;

const KIB: u64 = 1024;

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Bytes that are in memory; of pages that several processes share, each has all.
    pub resident: u64,
    /// Of these, those that no file holds. What other processes of the same program do makes no difference to it.
    pub anonymous: u64,
}

/// Of a process and its descendants.
pub fn of_tree(process: u32) -> io::Result<Used> {
    let mut used = Used::default();
    for member in cpu::tree(process)? {
        let rollup = match fs::read_to_string(format!("/proc/{member}/smaps_rollup")) {
            // A descendant that ended meanwhile has no memory.
            Err(_) if member != process => continue,
            rollup => rollup?,
        };
        used.resident += field(&rollup, "Rss:")?;
        used.anonymous += field(&rollup, "Anonymous:")?;
    }
    Ok(used)
}

/// Bytes that one process has in memory at this moment.
pub fn resident(process: u32) -> io::Result<u64> {
    field(&fs::read_to_string(format!("/proc/{process}/status"))?, "VmRSS:")
}

/// Has the kernel count the most memory of one process anew (proc(5), `clear_refs`).
pub fn forget_peak(process: u32) -> io::Result<()> {
    fs::write(format!("/proc/{process}/clear_refs"), "5")
}

/// The most bytes that one process has had in memory since.
pub fn peak(process: u32) -> io::Result<u64> {
    field(&fs::read_to_string(format!("/proc/{process}/status"))?, "VmHWM:")
}

fn field(text: &str, name: &str) -> io::Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.map(|kib| kib * KIB).ok_or_else(|| io::Error::other(format!("the kernel tells no {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_was_written_is_used() {
        let before = of_tree(std::process::id()).unwrap();

        let kept = vec![1_u8; 64 << 20];

        let after = of_tree(std::process::id()).unwrap();
        assert!(after.resident > before.resident + (32 << 20), "{before:?} {after:?} {}", kept.len());
        assert!(after.anonymous <= after.resident);
        assert!(resident(std::process::id()).unwrap() > 32 << 20);
    }
}
