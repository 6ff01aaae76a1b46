//! What the control groups of the process allow it: the least that its own group or one around it has as a limit.
//!
//! Groups of version 2 and those of version 1 for memory are known. Who is moved to another group after its start keeps to the
//! limit of the one it began in.

use std::fs;
use std::path::{Path, PathBuf};

/// Where groups are mounted.
const ROOT: &str = "/sys/fs/cgroup";
/// Version 1 says a number of this kind where there is no limit.
const UNLIMITED: u64 = 1 << 60;

/// Files that hold a limit.
pub(super) struct Groups(Vec<PathBuf>);

impl Groups {
    /// Those of this process.
    pub(super) fn of_this_process() -> Self {
        Self::told(&fs::read_to_string("/proc/self/cgroup").unwrap_or_default(), Path::new(ROOT))
    }

    /// Those that lines such as `0::/system.slice/x` name and that are there. In a container a line may name what is not:
    /// then what is around it is its own.
    fn told(lines: &str, root: &Path) -> Self {
        let files =
            lines.lines().filter_map(|line| line.split_once(':')?.1.split_once(':')).flat_map(|(kind, path)| {
                let mount = if kind.is_empty() { root.to_owned() } else { root.join("memory") };
                let (file, is_known) = match kind {
                    "" => ("memory.max", true),
                    _ => ("memory.limit_in_bytes", kind.split(',').any(|kind| kind == "memory")),
                };
                let own = mount.join(path.trim_start_matches('/'));
                let around =
                    own.ancestors().take_while(|folder| folder.starts_with(&mount)).map(|folder| folder.join(file));
                around.filter(|_| is_known).collect::<Vec<_>>()
            });
        Self(files.filter(|file| file.exists()).collect())
    }

    /// The least of their limits at this moment; `None` where there is none.
    pub(super) fn limit(&self) -> Option<u64> {
        let limits = self.0.iter().filter_map(|file| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok());
        limits.filter(|limit| *limit < UNLIMITED).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The limit that comes of these lines where these files are.
    fn limit(lines: &str, files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Groups::told(lines, root.path()).limit()
    }

    #[test]
    fn the_least_limit_of_a_group_and_those_around_it_counts() {
        let files = [("a/b/memory.max", "max\n"), ("a/memory.max", "4096\n"), ("memory.max", "8192\n")];

        assert_eq!(limit("0::/a/b\n", &files), Some(4096));
        assert_eq!(limit("0::/\n", &files), Some(8192));
        assert_eq!(limit("0::/a/b\n", &files[..1]), None);
    }

    #[test]
    fn a_group_that_is_not_there_has_the_limit_of_what_is_around_it() {
        assert_eq!(limit("0::/kubepods/pod7/x\n", &[("memory.max", "1000\n")]), Some(1000));
        assert_eq!(limit("0::/../../x\n", &[("memory.max", "1000\n")]), Some(1000));
    }

    #[test]
    fn groups_of_version_1_are_known_and_their_largest_number_is_no_limit() {
        let files = [
            ("memory/a/memory.limit_in_bytes", "2048\n"),
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("cpu/a/memory.limit_in_bytes", "1\n"),
        ];

        assert_eq!(limit("5:cpu,cpuacct:/a\n4:memory:/a\n0::/\n", &files), Some(2048));
        assert_eq!(limit("4:memory:/\n", &files), None);
        assert_eq!(limit("nonsense\n\n", &files), None);
    }
}
