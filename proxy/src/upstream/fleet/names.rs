//! Looks one name of a cluster up, over and over, as long as there is the cluster: one look-up at a time, and the next when
//! the answer says that it may have changed.

use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tollgate_config::Dns;

use super::Fleet;
use crate::upstream::resolve::{Found, Resolve};

/// After how long a look-up that goes on counts as one without an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How soon a name is looked up again of which nothing was found.
const NEGATIVE: Duration = Duration::from_secs(1);
/// The shortest that an answer is used, whatever it says of itself.
const SHORTEST: Duration = Duration::from_secs(1);

/// Whoever looks a name up.
pub(super) struct Looker {
    fleet: Weak<Fleet>,
    name: String,
    resolver: Arc<dyn Resolve>,
    pub(super) patience: Duration,
    /// True while nothing is found: that is said once.
    troubled: bool,
}

impl Looker {
    /// Tells a fleet what `resolver` says of a name, once it runs.
    pub(super) fn new(fleet: Weak<Fleet>, name: &str, resolver: Arc<dyn Resolve>) -> Self {
        Self { fleet, name: name.to_owned(), resolver, patience: PATIENCE, troubled: false }
    }

    /// Ends with the fleet.
    pub(super) async fn run(&mut self) {
        while let Some(outcome) = self.look_up().await {
            self.log(outcome.as_ref().err().map(ToString::to_string));
            let found = outcome.ok();
            let Some(fleet) = self.fleet.upgrade() else { return };
            let pause = pause(found.as_ref(), &fleet.config.dns);
            fleet.resolved(&self.name, found.map(|found| found.addresses));
            drop(fleet);
            tokio::time::sleep(pause).await;
        }
    }

    /// One look-up, however long it takes: another beside it would only take resources, too. `None` once there is no fleet.
    async fn look_up(&mut self) -> Option<io::Result<Found>> {
        let (resolver, name) = (Arc::clone(&self.resolver), self.name.clone());
        let mut looking = resolver.look_up(&name);
        loop {
            if let Ok(outcome) = tokio::time::timeout(self.patience, &mut looking).await {
                return Some(outcome.and_then(with_address));
            }
            self.fleet.upgrade()?.resolved(&name, None);
            self.log(Some("no answer in time".to_owned()));
        }
    }

    fn log(&mut self, trouble: Option<String>) {
        let name = &self.name;
        match (&trouble, self.troubled) {
            (Some(why), false) => tracing::warn!(name, why, "a name cannot be looked up"),
            (None, true) => tracing::info!(name, "a name can be looked up again"),
            _ => {}
        }
        self.troubled = trouble.is_some();
    }
}

fn with_address(found: Found) -> io::Result<Found> {
    if found.addresses.is_empty() { Err(io::Error::other("it has no address")) } else { Ok(found) }
}

/// How long until a name is looked up again.
fn pause(found: Option<&Found>, dns: &Dns) -> Duration {
    let may_be_used = match found {
        None => NEGATIVE,
        Some(Found { ttl: Some(ttl), .. }) => SHORTEST.max(*ttl),
        Some(Found { ttl: None, .. }) => dns.refresh,
    };
    may_be_used.min(dns.refresh)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paused(ttl: Option<u64>, refresh: u64) -> u64 {
        let found = Found { addresses: vec![[10, 0, 0, 1].into()], ttl: ttl.map(Duration::from_secs) };
        let dns = Dns { refresh: Duration::from_millis(refresh), ..Dns::default() };
        u64::try_from(pause(Some(&found), &dns).as_millis()).unwrap()
    }

    #[test]
    fn an_answer_is_used_as_long_as_it_says_within_what_is_configured() {
        assert_eq!(paused(Some(30), 300_000), 30_000);
        assert_eq!(paused(Some(86_400), 300_000), 300_000);
        assert_eq!(paused(Some(u64::from(u32::MAX)), 300_000), 300_000);
    }

    #[test]
    fn an_answer_that_may_not_be_used_is_used_for_a_second_and_less_only_where_that_is_configured() {
        assert_eq!((paused(Some(0), 300_000), paused(Some(0), 100)), (1000, 100));
    }

    #[test]
    fn an_answer_that_says_nothing_is_used_as_long_as_is_configured() {
        assert_eq!((paused(None, 5000), paused(None, 100)), (5000, 100));
    }

    #[test]
    fn a_name_of_which_nothing_is_found_is_looked_up_again_within_a_second() {
        let dns = |refresh| Dns { refresh: Duration::from_millis(refresh), ..Dns::default() };

        let pauses = [300_000, 100].map(|refresh| pause(None, &dns(refresh)));

        assert_eq!(pauses, [Duration::from_secs(1), Duration::from_millis(100)]);
    }
}
