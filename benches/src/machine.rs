//! The machine that something was measured on, in words that name nobody's.

use std::fs;
use std::process::Command;
use std::thread;

use rustix::thread::gettid;

use crate::cores;

/// Cores, processor family, memory, kernel, and how busy it was before.
pub fn describe() -> String {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let (cores, load) = (thread::available_parallelism().map_or(0, usize::from), read("/proc/loadavg"));
    let gib = number(&read("/proc/meminfo"), "MemTotal").unwrap_or_default() / (1 << 20);
    format!(
        "{cores} cores, {}, {gib} GiB, Linux {}; load average before: {}",
        processor(&read("/proc/cpuinfo")),
        release(&read("/proc/sys/kernel/osrelease")),
        load.split_whitespace().next().unwrap_or("unknown"),
    )
}

/// Vendor and family; on Arm the implementer and part.
fn processor(cpuinfo: &str) -> String {
    let field = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name))?;
        line.split(':').nth(1).map(|value| value.trim().to_owned())
    };
    let arch = std::env::consts::ARCH;
    let virtual_ = if cpuinfo.contains(" hypervisor") { ", virtual" } else { "" };
    match (field("vendor_id"), field("cpu family"), field("CPU implementer"), field("CPU part")) {
        (Some(vendor), Some(family), ..) => format!("{arch}, {vendor} family {family}{virtual_}"),
        (.., Some(implementer), Some(part)) => format!("{arch}, implementer {implementer} part {part}"),
        _ => arch.to_owned(),
    }
}

/// The first two numbers; what follows is its builder's.
fn release(full: &str) -> String {
    full.trim().split('.').take(2).collect::<Vec<_>>().join(".")
}

fn number(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Today, as date(1) says it.
pub fn today() -> String {
    let said = Command::new("date").args(["-u", "+%Y-%m-%d"]).output();
    said.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned()).unwrap_or_default()
}

/// Why the load does not come first on its core, if it does not.
pub fn behind() -> Option<String> {
    let tried = thread::spawn(|| cores::put_first(gettid()).err().map(|error| error.to_string()));
    tried.join().ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_is_named_by_its_family() {
        let x86 = "vendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel name\t: A Name 7\nflags\t: fpu hypervisor\n";

        assert!(processor(x86).ends_with("AuthenticAMD family 25, virtual"));
        assert!(processor("CPU implementer\t: 0x41\nCPU part\t: 0xd40\n").ends_with("implementer 0x41 part 0xd40"));
        assert_eq!(release("6.18.3-some-name #1\n"), "6.18");
    }
}
