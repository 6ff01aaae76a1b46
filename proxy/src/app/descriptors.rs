//! File descriptors: as many as the system allows, and a few kept back for the admin endpoints.

use std::fs::File;
use std::io::Error;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors kept back: a probe, a scrape and an operator at once, and one that a worker may snatch.
const RESERVE: usize = 4;

/// Raises the process's limit to what the system allows it. The low default is there for programs that use `select`.
pub(crate) fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, limit = current, "the limit of open files stays as it is; raise it with ulimit -n");
    }
}

/// Descriptors that do nothing but wait to be given up.
#[derive(Debug, Default)]
pub(super) struct Reserve(Vec<File>);

impl Reserve {
    /// Takes as many as are missing and there are.
    pub(super) fn fill(&mut self) {
        while self.0.len() < RESERVE {
            let Ok(file) = File::open("/dev/null") else { return };
            self.0.push(file);
        }
    }

    /// Gives one up when `error` says that there is none left; false when that does not help.
    pub(super) fn yields(&mut self, error: &Error) -> bool {
        let lacking = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE];
        let out = error.raw_os_error().is_some_and(|code| lacking.iter().any(|errno| errno.raw_os_error() == code));
        out && self.0.pop().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_given_up_for_each_lack_until_none_is_left() {
        let mut reserve = Reserve::default();
        let lack = Error::from(rustix::io::Errno::MFILE);
        reserve.fill();

        assert!(!reserve.yields(&Error::from(rustix::io::Errno::CONNABORTED)));
        let given = std::iter::repeat_with(|| reserve.yields(&lack)).take_while(|given| *given).count();
        assert_eq!(given, RESERVE);

        reserve.fill();
        assert!(reserve.yields(&lack));
    }
}
