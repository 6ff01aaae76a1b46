//! An origin that keeps every byte it gets, connection by connection, and answers as the request wishes.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use crate::common::PATIENCE;
use crate::common::origin::{Origin, Peer};
use crate::common::wire::{self, Kind, Message};

/// See the module.
pub(crate) struct RawOrigin {
    origin: Origin,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
    go: Sender<()>,
}

impl RawOrigin {
    pub(crate) fn new() -> RawOrigin {
        let heard = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let (go, gone) = channel();
        let (known, gone) = (Arc::clone(&heard), Mutex::new(gone));
        let origin = Origin::scripted(move |peer| serve(peer, &known, &gone));
        RawOrigin { origin, heard, go }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.origin.address()
    }

    /// Lets the second part of a late answer go.
    pub(crate) fn go(&self) {
        self.go.send(()).unwrap();
    }

    /// The whole requests with this target, oldest first.
    pub(crate) fn requests(&self, target: &str) -> Vec<Message> {
        let heard = self.heard.lock().unwrap();
        let requests = heard.iter().flat_map(|bytes| split(bytes).0);
        requests.filter(|request| request.target() == target).collect()
    }

    /// True when no connection brought these bytes.
    pub(crate) fn never_heard(&self, part: &[u8]) -> bool {
        !self.heard.lock().unwrap().iter().any(|bytes| contains(bytes, part))
    }

    /// What no honest proxy sends: bytes that are neither a whole request nor the beginning of one for these targets.
    pub(crate) fn faults(&self, targets: &[String]) -> Vec<String> {
        let heard = self.heard.lock().unwrap();
        let known = |bytes: &[u8]| {
            let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
            let line = String::from_utf8_lossy(line);
            let methods = ["GET", "HEAD", "POST"];
            targets
                .iter()
                .any(|target| methods.iter().any(|method| format!("{method} {target} HTTP/1.1").starts_with(&*line)))
        };
        let of_one = |bytes: &Vec<u8>| {
            let (requests, rest) = split(bytes);
            let strangers = requests.iter().filter(|request| !targets.iter().any(|target| request.target() == target));
            let mut faults: Vec<String> = strangers.map(|request| format!("{request:?}")).collect();
            faults.extend((!known(rest)).then(|| String::from_utf8_lossy(&rest[..rest.len().min(1000)]).into_owned()));
            faults
        };
        heard.iter().flat_map(of_one).collect()
    }
}

/// True when `part` is in `bytes`.
pub(crate) fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// The whole requests, and the bytes behind them.
fn split(bytes: &[u8]) -> (Vec<Message>, &[u8]) {
    let (mut requests, mut rest) = (Vec::new(), bytes);
    loop {
        let mut behind = rest;
        match wire::read(&mut behind, Kind::Request) {
            Ok(Some(request)) => requests.push(request),
            _ => return (requests, rest),
        }
        rest = behind;
    }
}

fn serve(peer: &mut Peer, heard: &Mutex<Vec<Vec<u8>>>, gone: &Mutex<Receiver<()>>) -> io::Result<()> {
    let place = {
        let mut heard = heard.lock().unwrap();
        heard.push(Vec::new());
        heard.len() - 1
    };
    let (mut pending, mut chunk) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        let length = peer.read(&mut chunk)?;
        if length == 0 {
            return Ok(());
        }
        heard.lock().unwrap()[place].extend_from_slice(&chunk[..length]);
        pending.extend_from_slice(&chunk[..length]);
        let mut rest = &pending[..];
        match wire::read(&mut rest, Kind::Request) {
            Ok(Some(request)) => {
                let used = pending.len() - rest.len();
                answer(peer, &request, gone)?;
                pending.drain(..used);
            }
            Ok(None) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {}
            // What this is, whoever looks at the bytes will see.
            Err(error) => return Err(error),
        }
    }
}

const HEAD: &str = "HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\nx-origin: yes\r\n";

fn answer(peer: &mut Peer, request: &Message, gone: &Mutex<Receiver<()>>) -> io::Result<()> {
    let chunks = "transfer-encoding: chunked\r\n";
    match request.field("x-answer") {
        Some("trailers") => peer
            .send(format!("{HEAD}trailer: x-sum\r\n{chunks}\r\n6\r\nhonest\r\n7\r\n answer\r\n0\r\nx-sum: 42\r\n\r\n")),
        Some("late") => {
            peer.send(format!("{HEAD}{chunks}\r\n6\r\nhonest\r\n"))?;
            let went = gone.lock().unwrap().recv_timeout(PATIENCE);
            went.map_err(|_| io::Error::from(ErrorKind::TimedOut))?;
            peer.send("7\r\n answer\r\n0\r\n\r\n")
        }
        _ if request.method() == "HEAD" => peer.send(format!("{HEAD}content-length: 13\r\n\r\n")),
        _ => peer.send(format!("{HEAD}content-length: 13\r\n\r\nhonest answer")),
    }
}
