//! Endpoints that are what clients' connections were meant for: each has its pool as long as somebody uses it.
//!
//! How the original destination of a connection is known is `listener::intercept`'s business.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tollgate_config::{Original, Protocol, Reach};

use crate::error::Reason;
use crate::telemetry::metrics::UpstreamFailure;
use crate::upstream::cluster::{Cluster, Endpoint};
use crate::upstream::fleet::member::{Member, Vitals};
use crate::upstream::outgoing;

/// The most destinations that one worker has pools for. Above it, the one that rests the longest makes room.
const DESTINATIONS: usize = 1024;
/// Lines about refused destinations are so far apart at least: whoever is refused may ask again at once.
const QUIET: Duration = Duration::from_secs(10);
/// How long the machine's word about an address counts: addresses come and go.
const MOVES: Duration = Duration::from_secs(10);

/// The destinations of one worker that have a pool.
pub(super) struct Originals {
    rule: Original,
    /// Nobody asks them for their health, and there are too many for series of their own.
    vitals: Arc<Vitals>,
    known: RefCell<HashMap<(SocketAddr, Protocol), Known>>,
    /// Counts uses.
    turn: Cell<u64>,
    machine: RefCell<Machine>,
}

/// Which addresses are this machine's, as it said when it was last asked.
#[derive(Default)]
struct Machine {
    told: HashMap<IpAddr, bool>,
    /// When the first of them was asked for.
    since: Option<Instant>,
}

struct Known {
    endpoint: Rc<Endpoint>,
    /// The turn in which it was last used.
    used: u64,
    since: Instant,
}

/// Why a destination is not connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    /// It is this proxy.
    Loop,
    /// It takes permission, which was not given.
    Special,
}

impl Originals {
    pub(super) fn new(rule: Original) -> Self {
        let vitals = Arc::new(Vitals::new(0, Arc::default(), 0));
        Self { rule, vitals, known: RefCell::default(), turn: Cell::new(0), machine: RefCell::default() }
    }

    /// Closes connections that nobody uses.
    pub(super) fn close_idle(&self) {
        self.known.borrow().values().for_each(|known| known.endpoint.close_idle());
    }

    /// Lets go of connections that are past their time, and of destinations that nobody used for that long.
    pub(super) fn sweep(&self, now: Instant, idle: Duration) {
        self.known.borrow_mut().retain(|_, known| {
            known.endpoint.sweep();
            known.endpoint.active() > 0 || now.saturating_duration_since(known.since) < idle
        });
        let mut machine = self.machine.borrow_mut();
        if machine.since.is_some_and(|since| now.saturating_duration_since(since) >= MOVES) {
            *machine = Machine::default();
        }
    }
}

impl Machine {
    /// What `ask` says of an address, which is asked once while the answer is remembered.
    fn has(&mut self, ip: IpAddr, now: Instant, ask: impl Fn(IpAddr) -> io::Result<bool>) -> bool {
        if let Some(told) = self.told.get(&ip) {
            return *told;
        }
        // Where nobody can tell, it is taken for ours: a loop costs more than a refusal.
        let Ok(told) = ask(ip) else { return true };
        if self.told.len() >= DESTINATIONS {
            self.told.clear();
        }
        self.since.get_or_insert(now);
        self.told.insert(ip, told);
        told
    }
}

/// What is known of a client that is on its way to an endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Traveller {
    /// Its address.
    pub source: SocketAddr,
    /// What its connection was meant for.
    pub destination: SocketAddr,
    /// True where its connection was led here.
    pub intercepted: bool,
}

impl Cluster {
    /// Refuses a client that is this process: rules led one of its own connections back to it.
    pub fn check_return(&self, client: Traveller) -> Result<(), Reason> {
        if client.intercepted && outgoing::is_own(client.source, client.destination) {
            return Err(self.refuse(client.destination, Refused::Loop));
        }
        Ok(())
    }

    /// The endpoint that a client's connection was meant for, on which is spoken what the client speaks; `None` in clusters
    /// with endpoints of their own. A client or a destination that is this process, whose addresses are `own`, and a
    /// destination that takes permission, are refused, counted and logged.
    pub fn toward(
        &self,
        client: Traveller,
        protocol: Protocol,
        own: &ArcSwap<Vec<SocketAddr>>,
    ) -> Result<Option<Rc<Endpoint>>, Reason> {
        self.check_return(client)?;
        let Some(originals) = &self.originals else { return Ok(None) };
        let is_ours = |ip| originals.machine.borrow_mut().has(ip, self.clock.now(), is_of_this_machine);
        let address = aim(&originals.rule, client.destination, &own.load(), is_ours)
            .map_err(|refused| self.refuse(client.destination, refused))?;
        let endpoint = self.endpoint_at(originals, (address, protocol)).ok_or_else(|| {
            self.series.failures[UpstreamFailure::Overflow.index()].inc();
            Reason::UpstreamOverflow
        })?;
        Ok(Some(endpoint))
    }

    /// Counts a refusal, and says at times why.
    fn refuse(&self, destination: SocketAddr, refused: Refused) -> Reason {
        let (failure, reason, advice) = match refused {
            Refused::Loop => (
                UpstreamFailure::Loop,
                Reason::DestinationLoop,
                "a connection that leads back to this proxy is refused: let rules redirect only what others send, and exempt \
                 the proxy by its user or by \"mark\"",
            ),
            Refused::Special => (
                UpstreamFailure::Forbidden,
                Reason::DestinationForbidden,
                "a connection to a special address is refused: \"allow\" inside \"intercept\" permits it",
            ),
        };
        self.series.failures[failure.index()].inc();
        let now = self.clock.now();
        if self.warned.get().is_none_or(|warned| now.saturating_duration_since(warned) >= QUIET) {
            self.warned.set(Some(now));
            tracing::warn!(cluster = &*self.name, %destination, "{advice}");
        }
        reason
    }

    /// `None` when there are too many that are all in use.
    fn endpoint_at(&self, originals: &Originals, key: (SocketAddr, Protocol)) -> Option<Rc<Endpoint>> {
        let (used, since) = (originals.turn.get(), self.clock.now());
        originals.turn.set(used.wrapping_add(1));
        let mut all = originals.known.borrow_mut();
        if let Some(known) = all.get_mut(&key) {
            (known.used, known.since) = (used, since);
            return Some(Rc::clone(&known.endpoint));
        }
        if all.len() >= DESTINATIONS {
            let resting = all.iter().filter(|(_, known)| known.endpoint.active() == 0);
            let oldest = *resting.min_by_key(|(_, known)| known.used)?.0;
            all.remove(&oldest);
        }
        let member = Arc::new(Member::alone(key.0, &originals.vitals));
        let endpoint = Rc::new(self.endpoint(&member, key.1));
        all.insert(key, Known { endpoint: Rc::clone(&endpoint), used, since });
        Some(endpoint)
    }
}

/// The address to connect to for a destination.
fn aim(
    rule: &Original,
    destination: SocketAddr,
    own: &[SocketAddr],
    is_of_this_machine: impl Fn(IpAddr) -> bool,
) -> Result<SocketAddr, Refused> {
    let is_own = |address: SocketAddr| {
        let is_there = |own: &SocketAddr| {
            let (own_ip, ip) = (own.ip().to_canonical(), address.ip());
            own.port() == address.port() && (own_ip == ip || (own_ip.is_unspecified() && is_of_this_machine(ip)))
        };
        own.iter().any(is_there)
    };
    let destination = SocketAddr::new(destination.ip().to_canonical(), destination.port());
    if is_own(destination) {
        return Err(Refused::Loop);
    }
    if !rule.permits(destination.ip()) {
        return Err(Refused::Special);
    }
    let loopback = match destination.ip() {
        IpAddr::V4(_) => IpAddr::from(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::from(Ipv6Addr::LOCALHOST),
    };
    match rule.reach {
        Reach::Original => Ok(destination),
        // What listens on loopback alone is for nobody else; of this process, at the least, that is sure.
        Reach::Loopback if is_own(SocketAddr::new(loopback, destination.port())) => Err(Refused::Loop),
        Reach::Loopback => Ok(SocketAddr::new(loopback, destination.port())),
    }
}

/// True for an address of this machine: the kernel would send from it what goes there. Nothing is sent.
fn is_of_this_machine(ip: IpAddr) -> io::Result<bool> {
    let any = match ip {
        IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    if ip.is_loopback() {
        return Ok(true);
    }
    let socket = UdpSocket::bind((any, 0))?;
    match socket.connect((ip, 9)) {
        Ok(()) => Ok(socket.local_addr()?.ip() == ip),
        // There is a way to every address of its own.
        Err(error) if matches!(error.kind(), ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::telemetry::metrics::Registry;
    use crate::upstream::cluster::PeerLimits;
    use crate::upstream::fleet::Fleet;

    const PLAIN: Original = Original { reach: Reach::Original, loopback: false, link_local: false };

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// Where connections go that were meant for `destination`; this machine is 10.0.0.1 and fd00::1.
    fn aimed(rule: Original, destination: &str, own: &[&str]) -> Result<String, Refused> {
        let own: Vec<_> = own.iter().map(|own| at(own)).collect();
        let is_ours = |ip: IpAddr| ip.is_loopback() || [at("10.0.0.1:1").ip(), at("[fd00::1]:1").ip()].contains(&ip);
        aim(&rule, at(destination), &own, is_ours).map(|address| address.to_string())
    }

    #[test]
    fn a_destination_is_connected_to_as_it_is_or_at_its_port_on_loopback() {
        let loopback = Original { reach: Reach::Loopback, ..PLAIN };

        assert_eq!(aimed(PLAIN, "10.9.9.9:80", &["0.0.0.0:15001"]), Ok("10.9.9.9:80".to_owned()));
        assert_eq!(aimed(PLAIN, "[::ffff:10.9.9.9]:80", &[]), Ok("10.9.9.9:80".to_owned()));
        assert_eq!(aimed(loopback, "10.0.0.1:8080", &["0.0.0.0:15006"]), Ok("127.0.0.1:8080".to_owned()));
        assert_eq!(aimed(loopback, "[fd00::1]:8080", &["[::]:15006"]), Ok("[::1]:8080".to_owned()));
    }

    #[test]
    fn a_destination_that_is_this_proxy_is_refused() {
        let refused = Err(Refused::Loop);

        assert_eq!(aimed(PLAIN, "10.0.0.1:15001", &["10.0.0.1:15001"]), refused);
        assert_eq!(aimed(PLAIN, "10.0.0.1:15001", &["0.0.0.0:15001"]), refused);
        assert_eq!(aimed(PLAIN, "[fd00::1]:15001", &["[::]:15001"]), refused);
        assert_eq!(aimed(PLAIN, "10.0.0.1:15001", &["[::]:15001"]), refused);
        assert_eq!(aimed(PLAIN, "127.0.0.1:15001", &["0.0.0.0:15001"]), refused);
        // The same port of another machine.
        assert!(aimed(PLAIN, "10.9.9.9:15001", &["0.0.0.0:15001", "10.0.0.1:15001"]).is_ok());
    }

    #[test]
    fn what_this_process_has_on_loopback_is_not_reached_through_it() {
        let loopback = Original { reach: Reach::Loopback, ..PLAIN };

        for own in ["127.0.0.1:9901", "0.0.0.0:9901", "[::]:9901"] {
            assert_eq!(aimed(loopback, "10.0.0.1:9901", &[own]), Err(Refused::Loop), "{own}");
        }
    }

    #[test]
    fn special_addresses_are_connected_to_with_permission_alone() {
        for (special, permitted) in [
            ("169.254.169.254:80", Original { link_local: true, ..PLAIN }),
            ("[fe80::1]:80", Original { link_local: true, ..PLAIN }),
            ("127.0.0.1:80", Original { loopback: true, ..PLAIN }),
        ] {
            assert_eq!(aimed(PLAIN, special, &[]), Err(Refused::Special));
            assert_eq!(aimed(permitted, special, &[]), Ok(special.to_owned()));
        }
        assert_eq!(aimed(PLAIN, "0.0.0.0:80", &[]), Err(Refused::Special));
    }

    /// The cluster of a listener's original destinations on the only worker.
    fn cluster() -> Cluster {
        let text = "listeners: [{ listen: \"127.0.0.1:0\", intercept: redirect, routes: [{ to: original }] }]";
        let config = tollgate_config::parse(text, std::path::Path::new("t.yaml")).unwrap();
        let registry = Registry::new(1);
        let fleet = Fleet::new(&config.clusters[0], 1, &registry, None);
        let limits = PeerLimits { fields: 100, bytes: 1 << 16, streams: 100 };
        let series = registry.cluster(0, &fleet.config.name);
        Cluster::new((&fleet, None), limits, (0, 1), (series, &Rc::new(Clock::new())), None)
    }

    fn toward(cluster: &Cluster, number: usize, protocol: Protocol) -> Result<Rc<Endpoint>, Reason> {
        let [.., high, low] = number.to_be_bytes();
        let destination = SocketAddr::from(([10, 1, high, low], 80));
        let client = Traveller { source: at("10.2.0.1:1"), destination, intercepted: true };
        cluster.toward(client, protocol, &ArcSwap::default()).map(|endpoint| endpoint.unwrap())
    }

    #[test]
    fn a_destination_has_one_pool_for_each_protocol() {
        let cluster = cluster();

        let [first, again] = [0, 0].map(|number| toward(&cluster, number, Protocol::Http1).unwrap());
        let shared = toward(&cluster, 0, Protocol::H2).unwrap();

        assert!(Rc::ptr_eq(&first, &again) && !Rc::ptr_eq(&first, &shared));
        assert_eq!((first.protocol(), shared.protocol()), (Protocol::Http1, Protocol::H2));
    }

    #[test]
    fn one_destination_too_many_takes_the_place_of_the_one_that_rests_the_longest() {
        let cluster = cluster();
        let pools: Vec<_> =
            (0..DESTINATIONS).map(|number| toward(&cluster, number, Protocol::Http1).unwrap()).collect();
        let same = |number: usize| Rc::ptr_eq(&toward(&cluster, number, Protocol::Http1).unwrap(), &pools[number]);
        assert!(same(0));

        toward(&cluster, DESTINATIONS, Protocol::Http1).unwrap();

        let originals = cluster.originals.as_ref().unwrap();
        assert_eq!(originals.known.borrow().len(), DESTINATIONS);
        assert!(same(0) && same(2), "they were used later");
        assert!(!same(1), "it made room");
    }

    #[tokio::test]
    async fn destinations_in_use_make_room_for_nobody_and_stay_through_sweeps() {
        let cluster = cluster();
        let mut held = Vec::new();
        for number in 0..DESTINATIONS {
            held.push(toward(&cluster, number, Protocol::Http1).unwrap().pool.permit().await.unwrap());
        }

        assert_eq!(toward(&cluster, DESTINATIONS, Protocol::Http1).err(), Some(Reason::UpstreamOverflow));
        held.truncate(1);
        let originals = cluster.originals.as_ref().unwrap();
        originals.sweep(Instant::now() + Duration::from_secs(60), Duration::from_secs(60));

        assert_eq!(originals.known.borrow().len(), 1);
    }

    #[test]
    fn addresses_of_this_machine_are_told_from_others() {
        assert!(is_of_this_machine(IpAddr::from([127, 0, 0, 1])).unwrap());
        // TEST-NET-1, RFC 5737.
        assert!(!is_of_this_machine(IpAddr::from([192, 0, 2, 1])).unwrap());
    }

    #[test]
    fn the_machine_is_asked_once_for_an_address_until_its_addresses_may_have_changed() {
        let (cluster, asked, now) = (cluster(), Cell::new(0), Instant::now());
        let originals = cluster.originals.as_ref().unwrap();
        let has = |ip: [u8; 4]| {
            let ask = |ip: IpAddr| {
                asked.set(asked.get() + 1);
                Ok(ip == at("10.0.0.1:1").ip())
            };
            originals.machine.borrow_mut().has(ip.into(), now, ask)
        };

        assert_eq!([has([10, 0, 0, 1]), has([10, 0, 0, 2]), has([10, 0, 0, 1])], [true, false, true]);
        assert_eq!(asked.get(), 2);
        originals.sweep(now + MOVES, MOVES);
        has([10, 0, 0, 1]);

        assert_eq!(asked.get(), 3);
    }

    #[test]
    fn what_the_machine_cannot_tell_is_taken_for_its_own_and_asked_again() {
        let (mut machine, now, ip) = (Machine::default(), Instant::now(), at("10.0.0.1:1").ip());

        assert!(machine.has(ip, now, |_| Err(ErrorKind::Other.into())));

        assert!(!machine.has(ip, now, |_| Ok(false)));
    }

    #[test]
    fn the_machine_s_word_is_kept_for_a_bounded_number_of_addresses() {
        let (mut machine, now) = (Machine::default(), Instant::now());

        for number in 0..DESTINATIONS + 1 {
            let [.., high, low] = number.to_be_bytes();
            machine.has(IpAddr::from([10, 0, high, low]), now, |_| Ok(false));
        }

        assert_eq!(machine.told.len(), 1);
    }
}
