//! The kinds of traffic that proxies are compared under, and who takes part in each.

use crate::cast::Who;
use crate::http;
use crate::load::Ask;
use crate::target::{Chain, Door, Target, ask_at};

/// One kind of traffic.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name, as it is asked for.
    pub name: &'static str,
    /// What is asked, in words.
    pub what: &'static str,
    /// What clients speak.
    pub door: Door,
    /// A connection for each request.
    pub fresh: bool,
    /// Bytes of an answer's body.
    pub body: usize,
    /// Connections of the load.
    pub connections: usize,
    /// Exchanges at a time on each connection, over HTTP/2.
    pub streams: usize,
    /// Requests a second of the latencies: well below what the slowest can.
    pub pace: f64,
    /// Who takes part; the first is what the others are compared with.
    pub who: Vec<Who>,
}

/// In flight at a time.
const CONNECTIONS: usize = 32;
const KIB: usize = 1024;

impl Case {
    /// What is asked of a target.
    pub fn ask(&self, target: &Target) -> std::io::Result<Ask> {
        let ask = ask_at(self.door, target.address, self.connections, self.streams)?;
        let close = || vec![("connection".to_owned(), "close".to_owned())];
        Ok(Ask {
            fresh: self.fresh,
            path: format!("{}{}", http::BYTES, self.body),
            body: Some(self.body),
            fields: if self.fresh { close() } else { Vec::new() },
            ..ask
        })
    }
}

/// All of them, in the order of the report.
pub fn all() -> Vec<Case> {
    let kept = Case {
        name: "keep-alive",
        what: "HTTP/1.1 on 32 connections that are kept, 1 KiB of body",
        door: Door::Plain,
        fresh: false,
        body: KIB,
        connections: CONNECTIONS,
        streams: 1,
        pace: 4000.0,
        who: everybody(),
    };
    let of = |name, what, door| Case { name, what, door, who: without_chains(), ..kept.clone() };
    let h2c = "HTTP/2 without TLS, 8 connections of 4 exchanges at a time, 1 KiB of body";
    let tls = "HTTP/1.1 over TLS 1.3 on 32 connections that are kept, 1 KiB of body";
    let handshake =
        "HTTP/1.1 over TLS 1.3, a connection and a handshake without resumption for each request, ECDSA P-256, X25519";
    let connection = "HTTP/1.1, a TCP connection for each request";
    let large = "HTTP/1.1 on 8 connections that are kept, 64 KiB of body";
    let isolation = "as keep-alive, an instance of the filter for each exchange";
    vec![
        kept.clone(),
        Case { body: 64 * KIB, connections: 8, pace: 1500.0, who: with_bodies(), ..of("64-kib", large, Door::Plain) },
        Case { connections: 8, streams: 4, ..of("h2c", h2c, Door::H2c) },
        of("tls", tls, Door::Tls),
        Case { fresh: true, connections: 8, pace: 500.0, ..of("tls-handshake", handshake, Door::Tls) },
        Case { fresh: true, connections: 16, pace: 2000.0, ..of("connection", connection, Door::Plain) },
        Case { who: isolated(), ..of("isolation", isolation, Door::Plain) },
    ]
}

fn everybody() -> Vec<Who> {
    let chains = [Chain::Noops(1), Chain::Headers, Chain::Noops(5), Chain::Noops(10)];
    let tollgate = [Who::Tollgate(Chain::None), Who::AsItComes].into_iter().chain(chains.map(Who::Tollgate));
    let peers = [Who::Nginx, Who::Haproxy, Who::Envoy(Chain::None)];
    tollgate.chain(peers).chain(chains.map(Who::Envoy)).collect()
}

fn without_chains() -> Vec<Who> {
    let (none, one) = (Chain::None, Chain::Noops(1));
    let ours = [Who::Tollgate(none), Who::Tollgate(one)];
    ours.into_iter().chain([Who::Nginx, Who::Haproxy, Who::Envoy(none), Who::Envoy(one)]).collect()
}

fn with_bodies() -> Vec<Who> {
    let mut who = without_chains();
    who.insert(2, Who::Tollgate(Chain::Body));
    who.push(Who::Envoy(Chain::Body));
    who
}

fn isolated() -> Vec<Who> {
    [Chain::None, Chain::Noops(1), Chain::Isolated].map(Who::Tollgate).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tollgate_without_a_filter_comes_first_in_every_case() {
        let cases = all();

        assert!(cases.iter().all(|case| case.who.first() == Some(&Who::Tollgate(Chain::None))));
        assert_eq!(cases.len(), 7);
    }
}
