//! File descriptors: as many as the system allows, but a few that are kept back for the admin endpoints.
//!
//! They are kept back by the limit itself: what nobody may open cannot be snatched by whoever is quicker.

use std::io::Error;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors kept back: a probe, a scrape and an operator at once, and one that a worker may snatch.
const RESERVE: u64 = 4;

/// Raises the process's limit to what the system allows it, short of the reserve. The low default is there for programs that
/// use `select`.
pub(crate) fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.map(|maximum| maximum.saturating_sub(RESERVE));
    if current == wanted {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: wanted, maximum }) {
        tracing::warn!(%error, limit = current, "the limit of open files stays as it is; raise it with ulimit -n");
    }
}

/// Does something that takes one descriptor at most, for which the reserve is there. It must not wait.
pub(super) fn with_reserve<T>(work: impl FnOnce() -> T) -> T {
    let limit = getrlimit(Resource::Nofile);
    // Where the limit cannot be moved, what follows says that there is no descriptor.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let outcome = work();
    let _ = setrlimit(Resource::Nofile, limit);
    outcome
}

/// True for the error of having none left.
pub(super) fn are_lacking(error: &Error) -> bool {
    [Errno::MFILE, Errno::NFILE].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
