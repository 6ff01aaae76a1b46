//! How many of the process's descriptors clients may have: what they take, upstreams, files and the admin endpoints lack.
//!
//! Nothing is counted here. The system gives the lowest number that is free, so the number of a new socket tells how many
//! descriptors are taken at the least.

use std::os::fd::RawFd;

use rustix::process::{Resource, getrlimit};

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Descriptors that the process may have; `None` where nobody bounds them.
    pub descriptors: Option<u64>,
    /// The most connections of clients, whatever is written: 80 % of the descriptors.
    pub connections: usize,
    /// The number of the first descriptor that no client gets: the last 10 % are kept.
    first_kept: u64,
}

impl Room {
    /// What the limit of this process comes to at this moment.
    pub fn here() -> Self {
        Self::of(getrlimit(Resource::Nofile).current)
    }

    /// What so many descriptors come to.
    pub fn of(descriptors: Option<u64>) -> Self {
        let all = descriptors.unwrap_or(u64::MAX);
        let connections = usize::try_from(all / 10 * 8 + all % 10 * 8 / 10).unwrap_or(usize::MAX);
        Self { descriptors, connections: connections.max(1), first_kept: all - all.div_ceil(10) }
    }

    /// True for a descriptor of those that are kept back.
    pub fn keeps(self, descriptor: RawFd) -> bool {
        u64::try_from(descriptor).is_ok_and(|number| number >= self.first_kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_eight_of_ten_descriptors_and_none_of_the_last_tenth() {
        let room = Room::of(Some(60));

        assert_eq!(room.connections, 48);
        assert_eq!((room.keeps(53), room.keeps(54)), (false, true));
    }

    #[test]
    fn some_client_may_come_however_few_descriptors_there_are_and_all_where_nobody_bounds_them() {
        assert_eq!(Room::of(Some(1)).connections, 1);
        assert_eq!(Room::of(Some(25_000)).connections, 20_000);
        assert!(Room::of(None).connections > 1 << 40 && !Room::of(None).keeps(RawFd::MAX));
        assert!(!Room::of(Some(60)).keeps(-1));
    }
}
