//! A name server that says what a test wants, over UDP and TCP, and counts what it is asked.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::common::until;

/// Types of questions and records. RFC 1035, section 3.2.2, and RFC 3596.
const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;

/// What a name server says of a name.
#[derive(Clone, Debug)]
pub(crate) enum Says {
    /// Its addresses, with seconds to live.
    Addresses(Vec<IpAddr>, u32),
    /// The same over TCP; over UDP that it does not fit.
    Cut(Vec<IpAddr>, u32),
    /// That it is called otherwise, with seconds to live.
    Alias(&'static str, u32),
    /// There is no such name.
    Nobody,
    /// It cannot say.
    Broken,
    /// Bytes behind the number of the question that are no message.
    Garbage,
    /// Nothing.
    Silence,
}

/// Addresses as texts, with seconds to live.
pub(crate) fn addresses(texts: &[&str], ttl: u32) -> Says {
    Says::Addresses(texts.iter().map(|text| text.parse().unwrap()).collect(), ttl)
}

struct State {
    says: Mutex<HashMap<String, Says>>,
    /// Names with the types asked for, in their order; repetitions of a question are questions.
    asked: Mutex<Vec<(String, u16)>>,
    over: AtomicBool,
}

/// See the module. What it was not told of is nobody. It ends when it is dropped.
pub(crate) struct NameServer {
    address: SocketAddr,
    state: Arc<State>,
    threads: Vec<JoinHandle<()>>,
}

impl NameServer {
    pub(crate) fn start() -> NameServer {
        let (udp, tcp) = sockets();
        let address = udp.local_addr().unwrap();
        let state = Arc::new(State { says: Mutex::default(), asked: Mutex::default(), over: AtomicBool::new(false) });
        let (over_udp, over_tcp) = (Arc::clone(&state), Arc::clone(&state));
        let threads = vec![
            std::thread::spawn(move || over_udp.answer_datagrams(&udp)),
            std::thread::spawn(move || over_tcp.answer_connections(&tcp)),
        ];
        NameServer { address, state, threads }
    }

    /// As it stands in a configuration.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// It says this of a name from here on.
    pub(crate) fn says(&self, name: &str, says: Says) {
        self.state.says.lock().unwrap().insert(name.to_owned(), says);
    }

    /// How often it was asked for addresses of a name.
    pub(crate) fn asked(&self, name: &str) -> usize {
        self.state.asked.lock().unwrap().iter().filter(|(known, _)| known == name).count()
    }

    /// Whether it was asked for addresses of IPv6 of a name.
    pub(crate) fn was_asked_for_ipv6(&self, name: &str) -> bool {
        self.state.asked.lock().unwrap().iter().any(|(known, kind)| known == name && *kind == AAAA)
    }

    /// Returns when it was asked so many times more.
    pub(crate) fn is_asked_again(&self, name: &str, times: usize) {
        let before = self.asked(name);
        until(&format!("{name} is asked for again"), || self.asked(name) >= before + times);
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.state.over.store(true, SeqCst);
        let waker = UdpSocket::bind("127.0.0.1:0").unwrap();
        waker.send_to(b"", self.address).unwrap();
        drop(TcpStream::connect(self.address));
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

/// At one port.
fn sockets() -> (UdpSocket, TcpListener) {
    for _ in 0..100 {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
            return (udp, tcp);
        }
    }
    panic!("no port is free for both");
}

impl State {
    fn answer_datagrams(&self, socket: &UdpSocket) {
        let mut bytes = [0; 512];
        loop {
            let (length, from) = socket.recv_from(&mut bytes).unwrap();
            if self.over.load(SeqCst) {
                return;
            }
            if let Some(answer) = self.answer(&bytes[..length], false) {
                // Whoever asked may have gone.
                let _ = socket.send_to(&answer, from);
            }
        }
    }

    fn answer_connections(&self, listener: &TcpListener) {
        loop {
            let (connection, _) = listener.accept().unwrap();
            if self.over.load(SeqCst) {
                return;
            }
            // Whoever asked may have gone.
            let _ = self.answer_once(connection);
        }
    }

    /// One question; the connection closes behind its answer.
    fn answer_once(&self, mut connection: TcpStream) -> io::Result<()> {
        connection.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut length = [0; 2];
        connection.read_exact(&mut length)?;
        let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
        connection.read_exact(&mut question)?;
        let Some(answer) = self.answer(&question, true) else { return Ok(()) };
        connection.write_all(&u16::try_from(answer.len()).unwrap().to_be_bytes())?;
        connection.write_all(&answer)
    }

    fn answer(&self, message: &[u8], whole: bool) -> Option<Vec<u8>> {
        let (name, kind, question) = question(message);
        self.asked.lock().unwrap().push((name.clone(), kind));
        let says = self.says.lock().unwrap().get(&name).cloned().unwrap_or(Says::Nobody);
        let own = |addresses: Vec<IpAddr>, ttl| {
            let fits = addresses.into_iter().filter(|address| address.is_ipv4() == (kind == A));
            fits.map(|address| record(kind, ttl, &octets(address))).collect::<Vec<_>>()
        };
        // RFC 1035, section 4.1.1: an answer, recursion desired and available.
        let (flags, records) = match says {
            Says::Silence => return None,
            Says::Garbage => return Some([&message[..2], b"garbage"].concat()),
            Says::Nobody => (0x8183_u16, Vec::new()),
            Says::Broken => (0x8182, Vec::new()),
            Says::Cut(..) if !whole => (0x8380, Vec::new()),
            Says::Cut(addresses, ttl) | Says::Addresses(addresses, ttl) => (0x8180, own(addresses, ttl)),
            Says::Alias(target, ttl) => (0x8180, vec![record(CNAME, ttl, &labels(target))]),
        };
        let count = u16::try_from(records.len()).unwrap().to_be_bytes();
        let head = [&message[..2], &flags.to_be_bytes(), &[0, 1], &count, &[0; 4], question].concat();
        Some(records.into_iter().fold(head, |message, record| [message, record].concat()))
    }
}

/// The name asked for, the type, and the bytes of the question.
fn question(message: &[u8]) -> (String, u16, &[u8]) {
    let (mut labels, mut at) = (Vec::new(), 12);
    while message[at] != 0 {
        let end = at + 1 + usize::from(message[at]);
        labels.push(String::from_utf8(message[at + 1..end].to_vec()).unwrap());
        at = end;
    }
    let kind = u16::from_be_bytes([message[at + 1], message[at + 2]]);
    (labels.join("."), kind, &message[12..at + 5])
}

/// A record of the name in the question.
fn record(kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap();
    [&[0xc0, 12][..], &kind.to_be_bytes(), &[0, 1], &ttl.to_be_bytes(), &length.to_be_bytes(), data].concat()
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn labels(name: &str) -> Vec<u8> {
    let label = |label: &str| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat();
    let mut bytes: Vec<u8> = name.split('.').flat_map(label).collect();
    bytes.push(0);
    bytes
}
