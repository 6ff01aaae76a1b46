//! Looking host names up for filters, off the worker.
//!
//! What a VM has under way at a time is bounded here, for all VMs together by their resolvers; names of endpoints have
//! resolvers of their own and do not wait for it. A look-up ends with the wait for it, or with the VM; the system's resolver
//! alone, which cannot be interrupted, finishes what it has begun.

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
    places: Semaphore,
}

impl Resolver {
    /// Look-ups that `resolve` carries out.
    pub fn new(resolve: &Arc<dyn Resolve>) -> Self {
        Self { resolve: Arc::clone(resolve), places: Semaphore::new(LOOK_UPS) }
    }

    /// The addresses of a name; none when there are none in time, the wait for a place included.
    pub async fn resolve(&self, name: &str, patience: Duration) -> Vec<DnsRecord> {
        let found = tokio::time::timeout(patience, self.look_up(name)).await;
        found.ok().flatten().map(records).unwrap_or_default()
    }

    async fn look_up(&self, name: &str) -> Option<Found> {
        let _place = self.places.acquire().await.ok()?;
        self.resolve.look_up(name).await.ok()
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
    use std::sync::Weak;

    use tokio::sync::watch;
    use tokio::task::JoinSet;

    use super::*;
    use crate::upstream::resolve::LookedUp;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Answers once it is told what, and for every name the same.
    #[derive(Debug)]
    struct Told {
        what: watch::Receiver<Option<Found>>,
        /// Held by each look-up that is under way.
        under_way: Arc<()>,
    }

    impl Resolve for Told {
        fn look_up<'a>(&'a self, name: &'a str) -> LookedUp<'a> {
            let mut told = self.what.clone();
            Box::pin(async move {
                let _under_way = Arc::clone(&self.under_way);
                if name == "nobody.test" {
                    return Err(io::Error::other("nobody is called so"));
                }
                let found = told.wait_for(Option::is_some).await.map_err(io::Error::other)?.clone();
                found.ok_or_else(|| io::Error::other("nothing is told"))
            })
        }
    }

    fn resolver(found: Option<Found>) -> (watch::Sender<Option<Found>>, Resolver, Weak<()>) {
        let (tell, what) = watch::channel(found);
        let under_way = Arc::default();
        let counted = Arc::downgrade(&under_way);
        let told: Arc<dyn Resolve> = Arc::new(Told { what, under_way });
        (tell, Resolver::new(&told), counted)
    }

    /// Look-ups that have begun and not ended.
    fn under_way(counted: &Weak<()>) -> usize {
        counted.strong_count() - 1
    }

    fn found(last: impl IntoIterator<Item = u8>, ttl: Option<u64>) -> Found {
        let addresses = last.into_iter().map(|last| IpAddr::from([10, 0, 0, last])).collect();
        Found { addresses, ttl: ttl.map(Duration::from_secs) }
    }

    #[tokio::test]
    async fn addresses_may_be_used_as_long_as_their_answer_says_or_for_a_minute() {
        let (tell, resolver, _) = resolver(Some(found([2, 1], Some(7))));

        let records = resolver.resolve("app.test", PATIENCE).await;

        let record = |last, ttl| DnsRecord { address: [10, 0, 0, last].into(), ttl: Duration::from_secs(ttl) };
        assert_eq!(records, [record(2, 7), record(1, 7)]);
        tell.send_replace(Some(found([1], None)));
        assert_eq!(resolver.resolve("app.test", PATIENCE).await, [record(1, 60)]);
        assert_eq!(resolver.resolve("nobody.test", PATIENCE).await, []);
    }

    #[tokio::test]
    async fn a_vm_has_few_look_ups_under_way_and_others_wait_for_them() {
        let (tell, resolver, counted) = resolver(None);
        let (resolver, mut looking) = (Arc::new(resolver), JoinSet::new());
        for _ in 0..3 * LOOK_UPS {
            let resolver = Arc::clone(&resolver);
            looking.spawn(async move { resolver.resolve("app.test", PATIENCE).await });
        }

        // Each has had its turn to begin, many times.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }

        assert_eq!(under_way(&counted), LOOK_UPS);
        tell.send_replace(Some(found([1], None)));
        assert!(looking.join_all().await.iter().all(|records| records.len() == 1));
    }

    #[tokio::test]
    async fn a_look_up_ends_with_the_wait_for_it() {
        let (_tell, resolver, counted) = resolver(None);

        for _ in 0..2 * LOOK_UPS {
            assert_eq!(resolver.resolve("app.test", Duration::from_millis(5)).await, []);
        }

        assert_eq!((under_way(&counted), resolver.places.available_permits()), (0, LOOK_UPS));
    }

    #[test]
    fn a_name_has_no_more_addresses_than_its_bound() {
        assert_eq!(records(found(0..=u8::MAX, None)).len(), RECORDS);
    }
}
