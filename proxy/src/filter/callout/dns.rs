//! Looking host names up for filters, off the worker.
//!
//! A look-up that nobody waits for any more may go on, as the system's resolver cannot be interrupted; so what a VM has under
//! way is bounded here, and counts until it ends. Names of endpoints have resolvers of their own and do not wait for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tollgate_abi::DnsRecord;

use crate::upstream::resolve::{Found, Resolve};

/// How long an address may be used of which nobody says how long.
const TIME_TO_LIVE: Duration = Duration::from_secs(60);
/// The most addresses of one name.
const RECORDS: usize = 64;
/// The most look-ups of one VM at a time.
const LOOK_UPS: usize = 4;

/// The look-ups of one VM.
#[derive(Debug)]
pub struct Resolver {
    resolve: Arc<dyn Resolve>,
    places: Arc<Semaphore>,
}

impl Resolver {
    /// Look-ups that `resolve` carries out.
    pub fn new(resolve: &Arc<dyn Resolve>) -> Self {
        Self { resolve: Arc::clone(resolve), places: Arc::new(Semaphore::new(LOOK_UPS)) }
    }

    /// The addresses of a name; none when there are none in time.
    pub async fn resolve(&self, name: String, patience: Duration) -> Vec<DnsRecord> {
        let found = tokio::time::timeout(patience, self.look_up(name)).await;
        found.ok().flatten().map(records).unwrap_or_default()
    }

    async fn look_up(&self, name: String) -> Option<Found> {
        let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
        let resolve = Arc::clone(&self.resolve);
        // It goes on when nobody waits, and keeps its place.
        let looking = tokio::spawn(async move {
            let found = resolve.look_up(&name).await;
            drop(place);
            found
        });
        looking.await.ok()?.ok()
    }
}

fn records(found: Found) -> Vec<DnsRecord> {
    let ttl = found.ttl.unwrap_or(TIME_TO_LIVE);
    found.addresses.into_iter().take(RECORDS).map(|address| DnsRecord { address, ttl }).collect()
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::IpAddr;

    use tokio::sync::watch;

    use super::*;
    use crate::upstream::resolve::LookedUp;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Answers once it is told what, and for every name the same.
    #[derive(Debug)]
    struct Told(watch::Receiver<Option<Found>>);

    impl Resolve for Told {
        fn look_up<'a>(&'a self, name: &'a str) -> LookedUp<'a> {
            let mut told = self.0.clone();
            Box::pin(async move {
                if name == "nobody.test" {
                    return Err(io::Error::other("nobody is called so"));
                }
                let found = told.wait_for(Option::is_some).await.map_err(io::Error::other)?.clone();
                found.ok_or_else(|| io::Error::other("nothing is told"))
            })
        }
    }

    fn resolver(found: Option<Found>) -> (watch::Sender<Option<Found>>, Resolver) {
        let (tell, told) = watch::channel(found);
        let told: Arc<dyn Resolve> = Arc::new(Told(told));
        (tell, Resolver::new(&told))
    }

    fn found(last: impl IntoIterator<Item = u8>, ttl: Option<u64>) -> Found {
        let addresses = last.into_iter().map(|last| IpAddr::from([10, 0, 0, last])).collect();
        Found { addresses, ttl: ttl.map(Duration::from_secs) }
    }

    #[tokio::test]
    async fn addresses_may_be_used_as_long_as_their_answer_says_or_for_a_minute() {
        let (tell, resolver) = resolver(Some(found([2, 1], Some(7))));

        let records = resolver.resolve("app.test".to_owned(), PATIENCE).await;

        let record = |last, ttl| DnsRecord { address: [10, 0, 0, last].into(), ttl: Duration::from_secs(ttl) };
        assert_eq!(records, [record(2, 7), record(1, 7)]);
        tell.send_replace(Some(found([1], None)));
        assert_eq!(resolver.resolve("app.test".to_owned(), PATIENCE).await, [record(1, 60)]);
        assert_eq!(resolver.resolve("nobody.test".to_owned(), PATIENCE).await, []);
    }

    #[tokio::test]
    async fn a_vm_has_few_look_ups_under_way_even_when_it_waits_for_them_no_more() {
        let (tell, resolver) = resolver(None);
        for _ in 0..LOOK_UPS {
            assert_eq!(resolver.resolve("app.test".to_owned(), Duration::from_millis(5)).await, []);
        }
        assert_eq!(resolver.places.available_permits(), 0);

        assert_eq!(resolver.resolve("nobody.test".to_owned(), Duration::from_millis(5)).await, []);
        tell.send_replace(Some(found([1], None)));

        assert_eq!(resolver.resolve("app.test".to_owned(), PATIENCE).await.len(), 1);
        assert_eq!(resolver.places.available_permits(), LOOK_UPS);
    }

    #[test]
    fn a_name_has_no_more_addresses_than_its_bound() {
        assert_eq!(records(found(0..=u8::MAX, None)).len(), RECORDS);
    }
}
