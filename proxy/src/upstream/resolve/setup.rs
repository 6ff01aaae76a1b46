//! Which name servers are asked for which names: what `/etc/resolv.conf` says, and how the C library reads it.
//! Times and options other than `ndots` are not taken from there.

use std::net::{IpAddr, SocketAddr};

/// The port of name servers.
const PORT: u16 = 53;
/// The most name servers: further ones are not asked.
const SERVERS: usize = 3;
/// The most dots that `ndots` may ask for.
const DOTS: usize = 15;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setup {
    /// In the order in which they are asked.
    pub(super) servers: Vec<SocketAddr>,
    /// Domains in which a name may be meant.
    pub(super) search: Vec<String>,
    /// The fewest dots of a name that is tried as it is written first.
    pub(super) dots: usize,
}

impl Setup {
    /// These name servers, for names as they are written.
    pub(super) fn listed(servers: &[SocketAddr]) -> Self {
        Self { servers: servers.to_vec(), search: Vec::new(), dots: 0 }
    }

    /// What a file says; `None` where it names no server that can be asked. What is not understood is passed over.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut setup = Self { servers: Vec::new(), search: Vec::new(), dots: 1 };
        for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => setup.servers.extend(words.next().and_then(server)),
                // The last of both kinds of lines is the one that counts.
                Some("search") => setup.search = words.filter_map(domain).collect(),
                Some("domain") => setup.search = words.take(1).filter_map(domain).collect(),
                Some("options") => setup.dots = words.filter_map(dots).next_back().unwrap_or(setup.dots),
                _ => {}
            }
        }
        setup.servers.truncate(SERVERS);
        (!setup.servers.is_empty()).then_some(setup)
    }

    /// The names, each with a dot at its end, that are asked for in turn until one has an address.
    pub(super) fn candidates(&self, name: &str) -> Vec<String> {
        if name.ends_with('.') {
            return vec![name.to_owned()];
        }
        let whole = format!("{name}.");
        // RFC 6761, section 6.3: these are no domain's.
        if name.eq_ignore_ascii_case("localhost") {
            return vec![whole];
        }
        let below = self.search.iter().map(|domain| format!("{name}.{domain}."));
        match name.matches('.').count() >= self.dots {
            true => std::iter::once(whole).chain(below).collect(),
            false => below.chain(std::iter::once(whole.clone())).collect(),
        }
    }
}

/// One with a zone, as link-local addresses have, is passed over: nobody could tell it to the socket.
fn server(word: &str) -> Option<SocketAddr> {
    Some(SocketAddr::new(word.parse::<IpAddr>().ok()?, PORT))
}

/// A domain without its last dot; the root is no place to search in beside the name as it is written.
fn domain(word: &str) -> Option<String> {
    let word = word.strip_suffix('.').unwrap_or(word);
    (!word.is_empty()).then(|| word.to_owned())
}

fn dots(option: &str) -> Option<usize> {
    let count: usize = option.strip_prefix("ndots:")?.parse().ok()?;
    Some(count.min(DOTS))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KUBERNETES: &str =
        "search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n";

    #[test]
    fn a_pod_s_file_is_read_as_the_library_reads_it() {
        let setup = Setup::read(KUBERNETES).unwrap();

        assert_eq!(setup.servers, ["10.96.0.10:53".parse().unwrap()]);
        assert_eq!(setup.search, ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local"]);
        assert_eq!(setup.dots, 5);
    }

    #[test]
    fn a_name_of_few_dots_is_meant_in_each_domain_first_and_as_it_is_written_last() {
        let setup = Setup::read(KUBERNETES).unwrap();

        let few = ["app.shop.svc.cluster.local.", "app.svc.cluster.local.", "app.cluster.local.", "app."];
        assert_eq!(setup.candidates("app"), few);
        let many = setup.candidates("a.b.c.d.e.f");
        assert_eq!(many[..2], ["a.b.c.d.e.f.", "a.b.c.d.e.f.shop.svc.cluster.local."]);
        assert_eq!(setup.candidates("app.test."), ["app.test."]);
        assert_eq!(setup.candidates("localhost"), ["localhost."]);
    }

    #[test]
    fn servers_that_are_named_are_asked_for_names_as_they_are_written() {
        let setup = Setup::listed(&["127.0.0.1:5353".parse().unwrap()]);

        assert_eq!(setup.candidates("app"), ["app."]);
    }

    #[test]
    fn the_last_list_of_domains_counts_and_what_is_not_understood_does_not() {
        let text = "# nameserver 10.0.0.9\n;nameserver 10.0.0.9\nnameserver x\nnameserver\nnameserver ::1 extra\n\
                    nameserver fe80::1%eth0\nnameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\n\
                    search a.test b.test\ndomain c.test. d.test\noptions rotate ndots:99 ndots:x timeout:1\nsortlist 1\n";

        let setup = Setup::read(text).unwrap();

        let servers = ["[::1]:53", "10.0.0.1:53", "10.0.0.2:53"].map(|server| server.parse().unwrap());
        assert_eq!(setup, Setup { servers: servers.into(), search: vec!["c.test".to_owned()], dots: 15 });
    }

    #[test]
    fn a_file_without_a_server_that_can_be_asked_is_none() {
        for text in ["", "search a.test\n", "nameserver fe80::1%2\n", "NAMESERVER 10.0.0.1\n"] {
            assert_eq!(Setup::read(text), None, "{text}");
        }
    }
}
