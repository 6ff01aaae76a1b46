//! What the kernel says of this process, read from `/proc/self` when a scrape asks.
//!
//! Where there is no `/proc` nothing is said, rather than zero.

use std::fs;

/// What one look at `/proc/self` found; each part on its own, as any of them may be unreadable.
#[derive(Debug, Default)]
pub(super) struct Process {
    /// Resident memory in bytes.
    pub(super) resident_bytes: Option<u64>,
    /// User and system time in seconds.
    pub(super) cpu_seconds: Option<f64>,
    /// Open file descriptors.
    pub(super) open_fds: Option<usize>,
}

impl Process {
    pub(super) fn look() -> Process {
        let read = |name| fs::read_to_string(format!("/proc/self/{name}")).ok();
        Process {
            resident_bytes: read("status").and_then(|text| resident(&text)),
            cpu_seconds: read("stat").and_then(|text| cpu_seconds(&text)),
            // The directory that is being listed has a descriptor too.
            open_fds: fs::read_dir("/proc/self/fd").ok().map(|fds| fds.count().saturating_sub(1)),
        }
    }
}

/// Resident memory at this moment, in bytes.
pub fn resident_bytes() -> Option<u64> {
    resident(&fs::read_to_string("/proc/self/status").ok()?)
}

/// Reads `VmRSS:   1234 kB`.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Adds the fields `utime` and `stime` of `stat`, which count in ticks.
fn cpu_seconds(stat: &str) -> Option<f64> {
    // The kernel shows time to user space at 100 ticks a second whatever its own rate is.
    const TICKS: f64 = 100.0;
    // The second field is the command in parentheses, which may hold spaces and parentheses itself.
    let (_, after_command) = stat.rsplit_once(')')?;
    let mut fields = after_command.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_in_bytes() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t    2048 kB\n"), Some(2048 * 1024));
        assert_eq!(resident("Name:\tx\n"), None);
    }

    #[test]
    fn cpu_time_is_read_past_a_command_with_parentheses() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 1 0 12345";

        assert_eq!(cpu_seconds(stat), Some(2.0));
    }
}
