//! Looking host names up for filters, off the worker.
//!
//! The system's resolver cannot be interrupted and tells no time to live. So look-ups are bounded by the threads that they
//! occupy, which they do even after nobody waits any more, and every record may be used for a minute.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tollgate_abi::DnsRecord;

/// How long an address may be used.
const TIME_TO_LIVE: Duration = Duration::from_secs(60);
/// The most addresses of one name.
const RECORDS: usize = 64;
/// The most threads that the look-ups of one VM occupy.
const THREADS: usize = 4;

/// The look-ups of one VM.
#[derive(Debug)]
pub struct Resolver {
    threads: Arc<Semaphore>,
}

impl Default for Resolver {
    fn default() -> Self {
        Self { threads: Arc::new(Semaphore::new(THREADS)) }
    }
}

impl Resolver {
    /// The addresses of a name; none when there are none in time.
    pub async fn resolve(&self, name: String, patience: Duration) -> Vec<DnsRecord> {
        let found = tokio::time::timeout(patience, self.look_up(name)).await;
        let addresses = found.ok().flatten().unwrap_or_default();
        addresses.into_iter().map(|address| DnsRecord { address, ttl: TIME_TO_LIVE }).collect()
    }

    async fn look_up(&self, name: String) -> Option<Vec<IpAddr>> {
        let thread = Arc::clone(&self.threads).acquire_owned().await.ok()?;
        let looking = tokio::task::spawn_blocking(move || {
            let found = (name.as_str(), 0).to_socket_addrs();
            drop(thread);
            found.map(distinct)
        });
        looking.await.ok()?.ok()
    }
}

/// In the order of the resolver, each once: it names an address again for each kind of socket.
fn distinct(found: impl Iterator<Item = SocketAddr>) -> Vec<IpAddr> {
    let mut known = BTreeSet::new();
    found.map(|address| address.ip()).filter(|address| known.insert(*address)).take(RECORDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(resolver: &Resolver, name: &str, patience: Duration) -> Vec<DnsRecord> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(resolver.resolve(name.to_owned(), patience))
    }

    #[test]
    fn an_address_is_its_own_and_a_name_that_nobody_has_is_none() {
        let (resolver, patience) = (Resolver::default(), Duration::from_secs(20));

        let records = resolve(&resolver, "127.0.0.1", patience);

        assert_eq!(records, [DnsRecord { address: [127, 0, 0, 1].into(), ttl: Duration::from_secs(60) }]);
        assert_eq!(resolve(&resolver, "no such name", patience), []);
    }

    #[test]
    fn a_look_up_that_finds_no_thread_in_time_finds_nothing() {
        let resolver = Resolver::default();
        let busy = Arc::clone(&resolver.threads).try_acquire_many_owned(4).unwrap();

        assert_eq!(resolve(&resolver, "127.0.0.1", Duration::from_millis(5)), []);
        drop(busy);
        assert_eq!(resolve(&resolver, "127.0.0.1", Duration::from_secs(20)).len(), 1);
    }

    #[test]
    fn each_address_comes_once_and_there_is_a_bound() {
        let addresses = (0..=u8::MAX).map(|last| SocketAddr::from(([10, 0, 0, last / 2], 0)));

        let found = distinct(addresses);

        assert_eq!(found.len(), RECORDS);
        assert_eq!(found[..2], [IpAddr::from([10, 0, 0, 0]), IpAddr::from([10, 0, 0, 1])]);
    }
}
