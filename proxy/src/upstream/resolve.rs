//! Looking up the names of endpoints, off the workers.
//!
//! The system's resolver knows `/etc/hosts`, search domains and whatever else the machine is set up with, but tells no time
//! to live: how long an answer is used is configured. It cannot be interrupted either, so threads are what is bounded.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::Semaphore;

/// The most addresses of one name.
const ADDRESSES: usize = 64;
/// The most look-ups at a time, each of which occupies a thread until the resolver answers.
const THREADS: usize = 8;

/// The addresses of a name, or why there are none.
pub type LookedUp<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>>;

/// Whoever knows the addresses of names.
pub trait Resolve: Debug + Send + Sync {
    /// Looks a name up, once. Dropped before its end, nobody waits for the answer.
    fn look_up<'a>(&'a self, name: &'a str) -> LookedUp<'a>;
}

/// The resolver of the system.
#[derive(Debug)]
pub struct System {
    threads: Arc<Semaphore>,
}

impl Default for System {
    fn default() -> Self {
        Self { threads: Arc::new(Semaphore::new(THREADS)) }
    }
}

impl Resolve for System {
    fn look_up<'a>(&'a self, name: &'a str) -> LookedUp<'a> {
        Box::pin(async move {
            let thread = Arc::clone(&self.threads).acquire_owned().await.map_err(io::Error::other)?;
            let name = name.to_owned();
            let looking = tokio::task::spawn_blocking(move || {
                let found = (name.as_str(), 0).to_socket_addrs();
                drop(thread);
                found.map(useful)
            });
            looking.await.map_err(io::Error::other)?
        })
    }
}

/// Each once, in numerical order, so that the same answer in another order changes nothing. A name with addresses of both
/// kinds is used by those of IPv4: many a name, `localhost` the first, has one of IPv6 that nobody listens on.
fn useful(found: impl Iterator<Item = SocketAddr>) -> Vec<IpAddr> {
    let found: BTreeSet<IpAddr> = found.map(|address| address.ip()).collect();
    let is_mixed = found.iter().any(IpAddr::is_ipv4);
    found.into_iter().filter(|address| address.is_ipv4() || !is_mixed).take(ADDRESSES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_system_knows_itself_and_not_what_nobody_is_called() {
        let system = System::default();

        assert_eq!(system.look_up("127.0.0.1").await.unwrap(), [IpAddr::from([127, 0, 0, 1])]);
        assert!(system.look_up("no such name").await.is_err());
    }

    #[test]
    fn addresses_come_once_and_in_order_and_those_of_ipv4_where_there_are_any() {
        let addresses = ["[::1]:0", "127.0.0.2:0", "127.0.0.1:0", "127.0.0.2:0"].map(|text| text.parse().unwrap());

        assert_eq!(useful(addresses.into_iter()), [IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2])]);
        assert_eq!(useful(addresses[..1].iter().copied()).len(), 1);
    }
}
