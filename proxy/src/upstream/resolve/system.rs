//! The resolver of the system's library: it knows whatever the machine is set up with, but tells no time to live.
//!
//! It cannot be interrupted either, and occupies a thread until it answers. So a name is looked up once at a time, whoever
//! asks for it and however often, one that takes long gives its turn to others, and one that nobody waits for any more when its
//! turn comes is not begun.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tollgate_config::Family;

use super::Found;
use super::turns::Turns;

/// The most look-ups at a time.
const TURNS: usize = 8;
/// The most look-ups besides that have taken long.
const LATE: usize = 56;
/// What is long.
const LONG: Duration = Duration::from_secs(5);
/// The most names that are looked up or wait for it; one more is refused.
const MOST: usize = 10_000;

/// What came of a look-up, for everybody who waits for it.
type Outcome = Option<Result<Vec<IpAddr>, String>>;

/// See the module.
#[derive(Debug)]
pub(super) struct System {
    ask: fn(&str) -> io::Result<Vec<IpAddr>>,
    turns: Turns,
    /// Names that are being looked up, or wait for it. Held for a look.
    running: Mutex<HashMap<String, watch::Receiver<Outcome>>>,
}

impl Default for System {
    fn default() -> Self {
        Self::asking(library, LONG)
    }
}

impl System {
    fn asking(ask: fn(&str) -> io::Result<Vec<IpAddr>>, long: Duration) -> Self {
        Self { ask, turns: Turns::new(TURNS, LATE, long), running: Mutex::default() }
    }

    /// The addresses of a name. Where nobody waits any more, a look-up that was begun goes on, for whoever asks next.
    pub(super) async fn look_up(self: &Arc<Self>, name: &str, family: Family) -> io::Result<Found> {
        let mut told = self.join(name)?;
        let outcome = told.wait_for(Option::is_some).await.map_err(io::Error::other)?;
        match outcome.as_ref() {
            Some(Ok(addresses)) => Found::among(addresses.iter().copied(), family, None)
                .ok_or_else(|| io::Error::other("it has no address of the kind that counts")),
            Some(Err(why)) => Err(io::Error::other(why.clone())),
            None => Err(io::Error::other("nobody answers")),
        }
    }

    /// The look-up of a name that is under way, or a new one where there is room for it.
    fn join(self: &Arc<Self>, name: &str) -> io::Result<watch::Receiver<Outcome>> {
        let mut running = self.running();
        // Where whoever looked it up is gone without a word, nothing is under way.
        if let Some(told) = running.get(name).filter(|told| told.has_changed().is_ok()) {
            return Ok(told.clone());
        }
        if running.len() >= MOST {
            return Err(io::Error::other("too many other names are being looked up"));
        }
        let (tell, told) = watch::channel(None);
        running.insert(name.to_owned(), told.clone());
        let (system, name) = (Arc::clone(self), name.to_owned());
        tokio::spawn(async move {
            let Some(outcome) = system.turns.take(system.ask(&name, &tell)).await else { return };
            system.running().remove(&name);
            tell.send_replace(Some(outcome.map_err(|error| error.to_string())));
        });
        Ok(told)
    }

    /// Asks for a name; `None` where nobody waits for it.
    async fn ask(&self, name: &str, tell: &watch::Sender<Outcome>) -> Option<io::Result<Vec<IpAddr>>> {
        if self.forget(name, tell) {
            return None;
        }
        let (ask, name) = (self.ask, name.to_owned());
        let asked = tokio::task::spawn_blocking(move || ask(&name)).await;
        Some(asked.map_err(io::Error::other).flatten())
    }

    /// Takes a name off those that are being looked up, and answers true, where nobody waits for it.
    fn forget(&self, name: &str, tell: &watch::Sender<Outcome>) -> bool {
        // Nobody joins while it is held; the one receiver is its own.
        let mut running = self.running();
        let is_alone = tell.receiver_count() <= 1;
        if is_alone {
            running.remove(name);
        }
        is_alone
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

        let waiting: Vec<_> = (0..20).map(|_| system.join("app.test").unwrap()).collect();
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
        let slow: Vec<_> = (0..3 * TURNS).map(|number| system.join(&format!("slow{number}.test")).unwrap()).collect();

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
        let slow: Vec<_> =
            (0..2 * (TURNS + LATE)).map(|number| system.join(&format!("slow{number}.test")).unwrap()).collect();

        while ASKED.load(SeqCst) < TURNS + LATE || system.turns.left().1 > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }

        assert_eq!((system.turns.left(), ASKED.load(SeqCst)), ((0, 0), TURNS + LATE));
        GATE.open();
        for mut told in slow {
            assert!(told.wait_for(Option::is_some).await.unwrap().as_ref().unwrap().is_err());
        }
    }

    #[tokio::test]
    async fn names_that_nobody_waits_for_any_more_are_not_asked_for_when_their_turns_come() {
        static GATE: Gate = Gate::shut();
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let system = system(|_| {
            ASKED.fetch_add(1, SeqCst);
            GATE.pass();
            Ok(vec![[10, 0, 0, 1].into()])
        });
        let slow: Vec<_> =
            (0..TURNS + LATE).map(|number| system.join(&format!("slow{number}.test")).unwrap()).collect();
        while system.turns.left() != (0, 0) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }

        let given_up: Vec<_> = (0..100).map(|number| system.join(&format!("given-up{number}.test"))).collect();
        drop((given_up, slow));
        GATE.open();

        // Turns go in order: those before it have had theirs.
        assert!(looked_up(&system, "app.test").await.is_ok());
        assert_eq!(ASKED.load(SeqCst), TURNS + LATE + 1);
        assert!(system.running().keys().all(|name| name.starts_with("slow")));
    }

    #[tokio::test]
    async fn a_name_more_than_may_wait_is_refused() {
        static GATE: Gate = Gate::shut();
        let system = system(|_| {
            GATE.pass();
            Ok(vec![[10, 0, 0, 1].into()])
        });
        let waiting: Vec<_> = (0..MOST).map(|number| system.join(&format!("{number}.test")).unwrap()).collect();

        let refused = looked_up(&system, "app.test").await.unwrap_err();

        assert_eq!(refused.to_string(), "too many other names are being looked up");
        assert!(system.join("0.test").is_ok());
        drop(waiting);
        GATE.open();
        while looked_up(&system, "app.test").await.is_err() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn addresses_of_a_kind_that_does_not_count_are_none() {
        let system = system(|_| Ok(vec![[10, 0, 0, 1].into()]));

        assert!(system.look_up("app.test", Family::Ipv6).await.is_err());
        assert!(system.look_up("app.test", Family::PreferIpv6).await.is_ok());
    }
}
