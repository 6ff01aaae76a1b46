//! The resolver of the system's library: it knows whatever the machine is set up with, but tells no time to live.
//!
//! It cannot be interrupted either, and occupies a thread until it answers. So a name is looked up once at a time, whoever
//! asks for it and however often, and one that takes long gives its turn to others.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tollgate_config::Family;

use super::Found;

/// The most look-ups at a time.
const TURNS: usize = 8;
/// The most look-ups besides that have taken long: beyond it those that hang keep their turns.
const LATE: usize = 56;
/// What is long.
const LONG: Duration = Duration::from_secs(5);

/// What came of a look-up, for everybody who waits for it.
type Outcome = Option<Result<Vec<IpAddr>, String>>;

/// See the module.
#[derive(Debug)]
pub(super) struct System {
    ask: fn(&str) -> io::Result<Vec<IpAddr>>,
    long: Duration,
    turns: Semaphore,
    late: Semaphore,
    /// Names that are being looked up. Held for a look.
    running: Mutex<HashMap<String, watch::Receiver<Outcome>>>,
}

impl Default for System {
    fn default() -> Self {
        Self::asking(library, LONG)
    }
}

impl System {
    fn asking(ask: fn(&str) -> io::Result<Vec<IpAddr>>, long: Duration) -> Self {
        let (turns, late) = (Semaphore::new(TURNS), Semaphore::new(LATE));
        Self { ask, long, turns, late, running: Mutex::default() }
    }

    /// The addresses of a name. Where nobody waits any more, the look-up goes on, for whoever asks next.
    pub(super) async fn look_up(self: &Arc<Self>, name: &str, family: Family) -> io::Result<Found> {
        let mut told = self.join(name);
        let outcome = told.wait_for(Option::is_some).await.map_err(io::Error::other)?;
        match outcome.as_ref() {
            Some(Ok(addresses)) => Found::among(addresses.iter().copied(), family, None)
                .ok_or_else(|| io::Error::other("it has no address of the kind that counts")),
            Some(Err(why)) => Err(io::Error::other(why.clone())),
            None => Err(io::Error::other("nobody answers")),
        }
    }

    /// The look-up of a name that is under way, or a new one.
    fn join(self: &Arc<Self>, name: &str) -> watch::Receiver<Outcome> {
        let mut running = self.running();
        // Where whoever looked it up is gone without a word, nothing is under way.
        if let Some(told) = running.get(name).filter(|told| told.has_changed().is_ok()) {
            return told.clone();
        }
        let (tell, told) = watch::channel(None);
        running.insert(name.to_owned(), told.clone());
        let (system, name) = (Arc::clone(self), name.to_owned());
        tokio::spawn(async move {
            let outcome = system.in_turn(&name).await;
            system.running().remove(&name);
            tell.send_replace(Some(outcome.map_err(|error| error.to_string())));
        });
        told
    }

    async fn in_turn(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let turn = self.turns.acquire().await.map_err(io::Error::other)?;
        let (ask, name) = (self.ask, name.to_owned());
        let mut asking = tokio::task::spawn_blocking(move || ask(&name));
        if let Ok(found) = tokio::time::timeout(self.long, &mut asking).await {
            return found.map_err(io::Error::other)?;
        }
        let late = self.late.try_acquire();
        let _turn = late.is_err().then_some(turn);
        asking.await.map_err(io::Error::other)?
    }

    fn running(&self) -> MutexGuard<'_, HashMap<String, watch::Receiver<Outcome>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks the library.
fn library(name: &str) -> io::Result<Vec<IpAddr>> {
    Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

    use super::*;

    /// Where look-ups hang until it is opened.
    struct Gate(AtomicBool);

    impl Gate {
        const fn shut() -> Gate {
            Gate(AtomicBool::new(false))
        }

        fn pass(&self) {
            while !self.0.load(SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }

        fn open(&self) {
            self.0.store(true, SeqCst);
        }
    }

    fn system(ask: fn(&str) -> io::Result<Vec<IpAddr>>) -> Arc<System> {
        Arc::new(System::asking(ask, Duration::from_millis(5)))
    }

    async fn looked_up(system: &Arc<System>, name: &str) -> io::Result<Found> {
        system.look_up(name, Family::PreferIpv4).await
    }

    #[tokio::test]
    async fn the_library_knows_this_machine_and_not_what_nobody_is_called() {
        let system = Arc::new(System::default());

        let found = looked_up(&system, "localhost").await.unwrap();

        assert!(found.addresses.iter().all(IpAddr::is_loopback) && found.ttl.is_none());
        assert!(looked_up(&system, "nobody.invalid").await.is_err());
        assert!(system.running().is_empty());
    }

    #[tokio::test]
    async fn a_name_is_looked_up_once_however_many_ask_for_it() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        static GATE: Gate = Gate::shut();
        let system = system(|_| {
            ASKED.fetch_add(1, SeqCst);
            GATE.pass();
            Ok(vec![[10, 0, 0, 1].into()])
        });

        let waiting: Vec<_> = (0..20).map(|_| system.join("app.test")).collect();
        // Nobody waits for it, and it goes on.
        drop(system.join("app.test"));
        GATE.open();

        for mut told in waiting {
            let outcome = told.wait_for(Option::is_some).await.unwrap();
            assert_eq!(*outcome, Some(Ok(vec![[10, 0, 0, 1].into()])));
        }
        assert_eq!(ASKED.load(SeqCst), 1);
        assert_eq!(looked_up(&system, "app.test").await.unwrap().addresses, [IpAddr::from([10, 0, 0, 1])]);
        assert_eq!(ASKED.load(SeqCst), 2);
    }

    #[tokio::test]
    async fn names_that_hang_keep_no_turn_of_others() {
        static GATE: Gate = Gate::shut();
        let system = system(|name| {
            if name.starts_with("slow") {
                GATE.pass();
            }
            Ok(vec![[10, 0, 0, 1].into()])
        });
        let slow: Vec<_> = (0..3 * TURNS).map(|number| system.join(&format!("slow{number}.test"))).collect();

        let found = looked_up(&system, "app.test").await.unwrap();

        assert_eq!(found.addresses, [IpAddr::from([10, 0, 0, 1])]);
        assert_eq!(system.running().len(), slow.len());
        GATE.open();
        for mut told in slow {
            assert!(told.wait_for(Option::is_some).await.unwrap().as_ref().unwrap().is_ok());
        }
    }

    #[tokio::test]
    async fn names_that_hang_beyond_the_bound_wait_for_their_turns() {
        static GATE: Gate = Gate::shut();
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let system = system(|_| {
            ASKED.fetch_add(1, SeqCst);
            GATE.pass();
            Err(io::Error::other("it is broken"))
        });
        let slow: Vec<_> = (0..2 * (TURNS + LATE)).map(|number| system.join(&format!("slow{number}.test"))).collect();

        while ASKED.load(SeqCst) < TURNS + LATE || system.late.available_permits() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }

        assert_eq!((system.turns.available_permits(), ASKED.load(SeqCst)), (0, TURNS + LATE));
        GATE.open();
        for mut told in slow {
            assert!(told.wait_for(Option::is_some).await.unwrap().as_ref().unwrap().is_err());
        }
    }

    #[tokio::test]
    async fn addresses_of_a_kind_that_does_not_count_are_none() {
        let system = system(|_| Ok(vec![[10, 0, 0, 1].into()]));

        assert!(system.look_up("app.test", Family::Ipv6).await.is_err());
        assert!(system.look_up("app.test", Family::PreferIpv6).await.is_ok());
    }
}
