//! Clients that ask without pause while something happens, each time with a number of its own: whatever an origin was asked
//! and nobody was answered is lost.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;

use http::Request;
use hyper::client::conn::http2::SendRequest;

use crate::common::client::Client;
use crate::common::h2::{self, Outgoing};
use crate::common::origin::Origin;
use crate::common::until;

/// Exchanges of one connection of HTTP/2 at a time.
const STREAMS: usize = 4;
/// A conversation is bounded, so a connection of HTTP/2 has some rounds only.
const ROUNDS: usize = 50;

/// A path that is asked for, and what may answer it.
pub(crate) type Ask = (&'static str, &'static [&'static str]);

/// Two clients that keep their connections, one that has a fresh one each time, and one of HTTP/2. All of them send POST:
/// what the proxy sends twice shows.
pub(crate) struct Load {
    address: SocketAddr,
    asks: &'static [Ask],
    is_over: AtomicBool,
    next: AtomicUsize,
    rounds: [AtomicUsize; 4],
    outcomes: Mutex<Outcomes>,
}

/// What became of requests, by their numbers.
#[derive(Default)]
struct Outcomes {
    answered: BTreeSet<usize>,
    away: BTreeSet<usize>,
}

impl Load {
    /// Asks for each of these paths in turn, as `/path/number`.
    pub(crate) fn on(address: SocketAddr, asks: &'static [Ask]) -> Load {
        let (is_over, next) = (AtomicBool::new(false), AtomicUsize::new(0));
        Load { address, asks, is_over, next, rounds: Default::default(), outcomes: Mutex::default() }
    }

    /// Does this while every client asks, from after its first answer on. Fails when a client lost something.
    pub(crate) fn during<T>(&self, act: impl FnOnce() -> T) -> T {
        thread::scope(|scope| {
            let clients = [
                scope.spawn(|| self.ask_by_h1(0, "")),
                scope.spawn(|| self.ask_by_h1(1, "")),
                scope.spawn(|| self.ask_by_h1(2, "connection: close\r\n")),
                scope.spawn(|| self.ask_by_h2(3)),
            ];
            // Clients must not run for ever when it fails.
            let acted = catch_unwind(AssertUnwindSafe(|| {
                self.goes_on();
                act()
            }));
            self.is_over.store(true, SeqCst);
            for client in clients {
                client.join().expect("a client that lost nothing");
            }
            acted.unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// Waits until every client was answered what it asked after this was called.
    pub(crate) fn goes_on(&self) {
        let rounds = || self.rounds.each_ref().map(|rounds| rounds.load(SeqCst));
        // The round that is under way began before.
        let due = rounds().map(|before| before + 2);
        until("every client is answered again", || rounds().iter().zip(due).all(|(now, due)| *now >= due));
    }

    /// Fails unless these origins were asked each answered request once, and nothing else. Answers how many requests met a
    /// connection that ended (RFC 9112 §9.5, RFC 9113 §6.8): nobody saw them, and they are to be sent again.
    pub(crate) fn is_whole(&self, origins: &[&Origin]) -> usize {
        let outcomes = self.outcomes.lock().unwrap();
        let asked = origins.iter().flat_map(|origin| origin.requests());
        let mut seen = BTreeSet::new();
        for number in asked.filter_map(|request| self.number(request.target())) {
            assert!(seen.insert(number), "request {number} was sent twice");
        }
        let lost: Vec<_> = seen.difference(&outcomes.answered).collect();
        assert!(lost.is_empty(), "{lost:?} reached an origin and were never answered");
        assert_eq!(seen, outcomes.answered, "every answer is an origin's");
        outcomes.away.len()
    }

    /// The number in a target, where one of these clients wrote it.
    fn number(&self, target: &str) -> Option<usize> {
        let (path, number) = target.rsplit_once('/')?;
        self.asks.iter().any(|(known, _)| *known == path).then(|| number.parse().unwrap())
    }

    fn is_over(&self) -> bool {
        self.is_over.load(SeqCst)
    }

    /// The next number, and what is asked with it.
    fn next(&self) -> (usize, Ask) {
        let number = self.next.fetch_add(1, SeqCst);
        (number, self.asks[number % self.asks.len()])
    }

    fn answered(&self, number: usize, ask: Ask, status: u16, body: &[u8]) {
        let word = String::from_utf8_lossy(body);
        assert!(status == 200 && ask.1.contains(&&*word), "{}/{number}: {status} {word}", ask.0);
        self.outcomes.lock().unwrap().answered.insert(number);
    }

    fn turned_away(&self, number: usize) {
        self.outcomes.lock().unwrap().away.insert(number);
    }

    fn ask_by_h1(&self, client: usize, lines: &str) {
        while !self.is_over() {
            let (mut connection, mut is_first) = (Client::connect(self.address), true);
            while let Some(goes_on) = self.exchange(&mut connection, is_first, lines) {
                self.rounds[client].fetch_add(1, SeqCst);
                is_first = false;
                if self.is_over() || !goes_on {
                    break;
                }
            }
        }
    }

    /// One exchange; answers whether another one may follow, and nothing where the connection had ended before it, which
    /// only one that was served may.
    fn exchange(&self, client: &mut Client, is_first: bool, lines: &str) -> Option<bool> {
        if !is_first && has_ended(client) {
            return None;
        }
        let (number, ask) = self.next();
        let bytes = format!("POST {}/{number} HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n{lines}\r\nx", ask.0);
        let sent = client.try_send(bytes).and_then(|()| client.stream().peek(&mut [0]));
        if !sent.as_ref().is_ok_and(|length| *length > 0) {
            let in_vain = sent.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
            assert!(!in_vain && !is_first, "{}/{number} was not answered", ask.0);
            self.turned_away(number);
            return None;
        }
        let answer = client.answer();
        self.answered(number, ask, answer.status(), &answer.body);
        Some(answer.field("connection") != Some("close"))
    }

    fn ask_by_h2(&self, client: usize) {
        while !self.is_over() {
            h2::talk(self.address, |mut sender| async move {
                for round in 0..ROUNDS {
                    let served = self.round(&mut sender).await;
                    assert!(served > 0 || round > 0, "a fresh connection is served");
                    self.rounds[client].fetch_add(usize::from(served > 0), SeqCst);
                    if served < STREAMS || self.is_over() {
                        return;
                    }
                }
            });
        }
    }

    /// Some exchanges at a time; answers how many had an answer. The others met the end of their connection.
    async fn round(&self, sender: &mut SendRequest<Outgoing>) -> usize {
        let (mut asked, mut served) = (Vec::new(), 0);
        for _ in 0..STREAMS {
            if sender.ready().await.is_err() {
                break;
            }
            let (number, ask) = self.next();
            let request = Request::post(format!("http://test{}/{number}", ask.0)).body(h2::body(&["x"], &[])).unwrap();
            asked.push((number, ask, sender.send_request(request)));
        }
        for (number, ask, answer) in asked {
            let Ok(answer) = answer.await else {
                self.turned_away(number);
                continue;
            };
            let answer = h2::whole(answer).await.expect("an answer that began ends");
            self.answered(number, ask, answer.status, &answer.body);
            served += 1;
        }
        served
    }
}

/// True where the proxy has closed by now, as clients look before they send.
fn has_ended(client: &mut Client) -> bool {
    let stream = client.stream();
    stream.set_nonblocking(true).unwrap();
    let seen = stream.peek(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    !seen.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}
