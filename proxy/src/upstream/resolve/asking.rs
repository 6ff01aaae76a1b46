//! Asks name servers for the addresses of names. Whether a name is asked for at all, and when again, is not known here.
//!
//! The order of servers is kept as the C library keeps it: where they know different names, whoever comes first is believed,
//! and the next is asked only where a server is silent or cannot say. One that was silent is asked last until another is.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::rdata::CNAME;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tollgate_config::Family;

use super::Found;
use super::setup::Setup;

/// How long all servers together have for an answer, one after the other.
const ANSWERS: Duration = Duration::from_millis(4500);
/// How long one has at least; a datagram that may be lost is sent again meanwhile.
const ANSWER: Duration = Duration::from_millis(1500);

/// What asking for addresses came to.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Found(Found),
    /// The name has none, or there is no such name.
    Nothing,
    /// Who was asked cannot say.
    Refused(String),
    /// Nobody answers in a way that is understood.
    Silence(String),
}

/// Name servers, and how names are searched for.
pub(super) struct Asking {
    setup: Setup,
    servers: Vec<TokioResolver>,
    /// The place of the server that is asked first.
    first: AtomicUsize,
}

impl Asking {
    /// What it sends and receives, it does on the runtime that it is used on.
    pub(super) fn new(setup: Setup) -> io::Result<Self> {
        let patience = patience(setup.servers.len());
        let servers = setup.servers.iter().map(|address| one(*address, patience)).collect::<Result<_, _>>();
        Ok(Self { servers: servers.map_err(io::Error::other)?, setup, first: AtomicUsize::new(0) })
    }

    /// What it was made of.
    pub(super) fn setup(&self) -> &Setup {
        &self.setup
    }

    /// The addresses of a name, in the first domain that has it. A server that cannot say ends the search only where no
    /// other domain has the name; silence ends it, as what the name means is open then.
    pub(super) async fn look_up(&self, name: &str, family: Family) -> io::Result<Found> {
        let mut trouble = None;
        for candidate in self.setup.candidates(name) {
            // With a domain behind it, a name may be too long to be one.
            let Ok(candidate) = Name::from_ascii(candidate) else { continue };
            match self.of_family(&candidate, family).await {
                Told::Found(found) => return Ok(found),
                Told::Nothing => {}
                Told::Refused(why) => trouble = Some(why),
                Told::Silence(why) => return Err(io::Error::other(why)),
            }
        }
        Err(io::Error::other(trouble.unwrap_or_else(|| "name servers know no address of it".to_owned())))
    }

    async fn of_family(&self, name: &Name, family: Family) -> Told {
        let (four, six) = (RecordType::A, RecordType::AAAA);
        match family {
            Family::Ipv4 => self.ask(name, four).await,
            Family::Ipv6 => self.ask(name, six).await,
            Family::PreferIpv4 => self.ask_in_turn(name, [four, six]).await,
            Family::PreferIpv6 => self.ask_in_turn(name, [six, four]).await,
            Family::All => {
                let (four, six) = tokio::join!(self.ask(name, four), self.ask(name, six));
                both(four, six)
            }
        }
    }

    /// The second kind counts only where there is none of the first, so it need not be asked for before that is known.
    async fn ask_in_turn(&self, name: &Name, [first, second]: [RecordType; 2]) -> Told {
        match self.ask(name, first).await {
            Told::Nothing => self.ask(name, second).await,
            told => told,
        }
    }

    async fn ask(&self, name: &Name, kind: RecordType) -> Told {
        let (count, first) = (self.servers.len(), self.first.load(Relaxed));
        let mut last = Told::Silence("there is no name server".to_owned());
        for place in (0..count).map(|turn| (first + turn) % count) {
            let Some(server) = self.servers.get(place) else { continue };
            match told(name, kind, server.lookup(name.clone(), kind).await) {
                Told::Silence(why) => {
                    // Another look-up may have found that out before.
                    let _ = self.first.compare_exchange(place, (place + 1) % count, Relaxed, Relaxed);
                    last = Told::Silence(why);
                }
                Told::Refused(why) => last = Told::Refused(why),
                told => return told,
            }
        }
        last
    }
}

/// How long each of so many servers has: a name that it has to ask others for takes its time.
fn patience(servers: usize) -> Duration {
    let share = u32::try_from(servers).ok().and_then(|servers| ANSWERS.checked_div(servers));
    share.unwrap_or_default().max(ANSWER)
}

/// One server. It is asked once for each question here, and nothing that it says is kept: who asks again wants to know anew.
fn one(address: SocketAddr, patience: Duration) -> Result<TokioResolver, NetError> {
    let port = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    let connections = vec![port(ConnectionConfig::udp()), port(ConnectionConfig::tcp())];
    let config = ResolverConfig::from_name_servers(vec![NameServerConfig::new(address.ip(), true, connections)]);
    let mut options = ResolverOpts::default();
    options.timeout = patience;
    options.attempts = 0;
    options.cache_size = 0;
    options.edns0 = false;
    options.use_hosts_file = ResolveHosts::Never;
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options).build()
}

fn told(name: &Name, kind: RecordType, looked_up: Result<Lookup, NetError>) -> Told {
    match looked_up {
        Ok(lookup) => addresses(name, kind, lookup.answers()),
        Err(NetError::Dns(DnsError::NoRecordsFound(_))) => Told::Nothing,
        Err(NetError::Dns(error)) => Told::Refused(error.to_string()),
        Err(error) => Told::Silence(error.to_string()),
    }
}

/// Those at the end of the aliases that begin with the name: nobody asked for what else there is. They are good for as long
/// as everything on the way is.
fn addresses(name: &Name, kind: RecordType, records: &[Record]) -> Told {
    let (mut owner, mut ttl) = (name, u32::MAX);
    // A circle of aliases ends, too.
    for _ in records {
        let alias = records.iter().find_map(|record| match &record.data {
            RData::CNAME(CNAME(target)) if record.name == *owner => Some((target, record.ttl)),
            _ => None,
        });
        let Some((target, seconds)) = alias else { break };
        (owner, ttl) = (target, ttl.min(seconds));
    }
    let own = records.iter().filter(|record| record.name == *owner && record.record_type() == kind);
    let found: Vec<_> = own.filter_map(|record| Some((record.data.ip_addr()?, record.ttl))).collect();
    let ttl = found.iter().fold(ttl, |ttl, (_, seconds)| ttl.min(*seconds));
    let found = found.into_iter().map(|(address, _)| address);
    match Found::among(found, Family::All, Some(Duration::from_secs(ttl.into()))) {
        Some(found) => Told::Found(found),
        None => Told::Nothing,
    }
}

/// Where both kinds are asked for, both have to be answered: half of the addresses would look like the other half's end.
fn both(four: Told, six: Told) -> Told {
    match (four, six) {
        (Told::Found(four), Told::Found(six)) => {
            let addresses = four.addresses.into_iter().chain(six.addresses).collect();
            Told::Found(Found { addresses, ttl: four.ttl.min(six.ttl) })
        }
        (Told::Nothing, told) | (told, Told::Nothing) => told,
        (trouble, Told::Found(_)) | (_, trouble) => trouble,
    }
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::rr::rdata::{A, AAAA};

    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn record(owner: &str, ttl: u32, data: RData) -> Record {
        Record::from_rdata(name(owner), ttl, data)
    }

    fn alias(owner: &str, ttl: u32, target: &str) -> Record {
        record(owner, ttl, RData::CNAME(CNAME(name(target))))
    }

    fn found(addresses: &[&str], seconds: u64) -> Told {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Told::Found(Found { addresses, ttl: Some(Duration::from_secs(seconds)) })
    }

    #[test]
    fn an_answer_lasts_as_long_as_the_shortest_of_its_records_and_aliases() {
        let (one, two) = (RData::A(A::new(10, 0, 0, 1)), RData::A(A::new(10, 0, 0, 2)));
        let records = [record("b.test.", 30, one), alias("A.test.", 20, "b.test."), record("b.test.", 40, two)];

        assert_eq!(addresses(&name("a.test."), RecordType::A, &records), found(&["10.0.0.1", "10.0.0.2"], 20));
        assert_eq!(addresses(&name("b.test."), RecordType::A, &records), found(&["10.0.0.1", "10.0.0.2"], 30));
    }

    #[test]
    fn what_nobody_asked_for_is_no_answer() {
        let (own, other) = (RData::A(A::new(10, 0, 0, 1)), RData::A(A::new(10, 0, 0, 2)));
        let six = RData::AAAA(AAAA::new(1, 0, 0, 0, 0, 0, 0, 1));
        let records = [record("a.test.", 9, own), record("b.test.", 1, other), record("a.test.", 1, six)];

        assert_eq!(addresses(&name("a.test."), RecordType::A, &records), found(&["10.0.0.1"], 9));
        assert_eq!(addresses(&name("c.test."), RecordType::A, &records), Told::Nothing);
    }

    #[test]
    fn aliases_that_go_round_lead_nowhere() {
        let records = [alias("a.test.", 1, "b.test."), alias("b.test.", 1, "a.test.")];

        assert_eq!(addresses(&name("a.test."), RecordType::A, &records), Told::Nothing);
    }

    #[test]
    fn servers_share_the_time_for_an_answer_and_each_has_some() {
        let patience = [0, 1, 2, 3, 8].map(|servers| patience(servers).as_millis());

        assert_eq!(patience, [1500, 4500, 2250, 1500, 1500]);
    }

    #[test]
    fn of_two_questions_both_have_to_be_answered() {
        let silence = || Told::Silence("request timed out".to_owned());
        let refused = || Told::Refused("error response: Server Failure".to_owned());
        let (four, six) = (|| found(&["10.0.0.1"], 5), || found(&["::1"], 3));

        assert_eq!(both(four(), six()), found(&["10.0.0.1", "::1"], 3));
        assert_eq!((both(four(), Told::Nothing), both(Told::Nothing, six())), (four(), six()));
        assert_eq!(both(Told::Nothing, Told::Nothing), Told::Nothing);
        assert_eq!((both(four(), silence()), both(silence(), six())), (silence(), silence()));
        assert_eq!((both(Told::Nothing, refused()), both(refused(), four())), (refused(), refused()));
    }
}
