//! File descriptors: as many as the system allows, but a few that are kept back for the admin endpoints.
//!
//! They are kept back by the limit itself: what nobody may open cannot be snatched by whoever is quicker. How many of the
//! others clients may have is `room`'s to say.

use std::io::Error;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tollgate_config::{Config, Limits};

use crate::room::Room;

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

/// The limits of connections that are written and for which there is no room: what counts in their place, and what to do.
pub(crate) fn beyond(config: &Config, room: Room) -> Vec<String> {
    let Some(all) = room.descriptors else { return Vec::new() };
    let global = (String::new(), config.limits.connections, Limits::default().connections);
    let listeners = config.listeners.iter();
    let own = listeners.map(|own| (format!("listener {}: ", own.name), own.limits.connections, global.1));
    let said =
        std::iter::once(global.clone()).chain(own).filter(|(_, connections, inherited)| connections != inherited);
    let too_many = said.filter(|(_, connections, _)| *connections > room.connections);
    let line = |(whose, connections, _): (String, usize, usize)| {
        format!(
            "{whose}limits.connections: {connections} is more than the {} that clients get of {all} descriptors; raise the \
             limit of open files (ulimit -n)",
            room.connections
        )
    };
    too_many.map(line).collect()
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn beyond_sixty(text: &str) -> Vec<String> {
        let config = tollgate_config::parse(text, Path::new("a.yaml")).map_err(|faults| faults.to_string()).unwrap();
        beyond(&config, Room::of(Some(60)))
    }

    #[test]
    fn what_is_written_and_has_no_room_is_told_with_whose_it_is() {
        let told = beyond_sixty(
            "limits: { connections: 49 }\nlisteners:\n- { name: wide, listen: '127.0.0.1:1', limits: { connections: 500 }, \
             routes: [] }\n- { name: narrow, listen: '127.0.0.1:2', limits: { connections: 48 }, routes: [] }\n\
             - { name: silent, listen: '127.0.0.1:3', routes: [] }\n",
        );

        let rest = "is more than the 48 that clients get of 60 descriptors; raise the limit of open files (ulimit -n)";
        let expected = ["limits.connections: 49", "listener wide: limits.connections: 500"];
        assert_eq!(told, expected.map(|said| format!("{said} {rest}")));
    }

    #[test]
    fn the_default_is_lowered_without_a_word() {
        assert_eq!(beyond_sixty("listen: 127.0.0.1:1\nroutes: []\n"), Vec::<String>::new());
    }
}
