//! The origin behind every target: one thread that answers each request with the same 13 bytes.
//!
//! It takes no request bodies. To [`http::SEEN`] it answers with the head it got, so that a benchmark can check what a
//! target does before it measures how much that costs.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use rustix::event::epoll;
use rustix::time::Timespec;

use crate::{cores, http};

/// The mark of the listener among the events; connections have their place.
const LISTENER: u64 = u64::MAX;
/// How often the thread looks whether it may end.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// The longest head that is understood.
const HEAD_BYTES: usize = 16 * 1024;

/// A running origin; dropping it ends its thread.
pub struct Origin {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Origin {
    /// Starts one on a free port, on this core if one is named.
    pub fn start(core: Option<usize>) -> io::Result<Origin> {
        Origin::start_at((Ipv4Addr::LOCALHOST, 0).into(), core)
    }

    /// The same at an address, such as that of an origin that has ended.
    pub fn start_at(address: SocketAddr, core: Option<usize>) -> io::Result<Origin> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let run = move || {
            if let Some(Err(error)) = core.map(cores::pin) {
                complain("the origin is not pinned", &error);
            }
            // The load sees the end of the origin as failed requests, and then the run does not count.
            if let Err(error) = serve(listener, &stopped) {
                complain("the origin ended", &error);
            }
        };
        let thread = thread::Builder::new().name("origin".into()).spawn(run)?;
        Ok(Origin { address, stop, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed already.
            let _ = thread.join();
        }
    }
}

fn serve(listener: TcpListener, stop: &AtomicBool) -> io::Result<()> {
    let mut serving = Serving::new(listener)?;
    while !stop.load(Ordering::Relaxed) {
        serving.turn()?;
    }
    Ok(())
}

fn complain(what: &str, error: &io::Error) {
    // Nobody is left to tell if standard error is closed.
    let _ = writeln!(io::stderr().lock(), "{what}: {error}");
}

struct Serving {
    listener: TcpListener,
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    /// A connection's place is its mark among the events; places are used again.
    connections: Vec<Option<Connection>>,
    answer: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    head: Vec<u8>,
}

impl Serving {
    fn new(listener: TcpListener) -> io::Result<Serving> {
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
        let events = Vec::with_capacity(64);
        Ok(Serving { listener, epoll, events, connections: Vec::new(), answer: answer(http::BODY.as_bytes()) })
    }

    /// Waits for events, for a bounded time, and serves them.
    fn turn(&mut self) -> io::Result<()> {
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&LOOK)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            match event.data.u64() {
                LISTENER => self.accept()?,
                place => self.serve(usize::try_from(place).map_err(io::Error::other)?),
            }
        }
        self.events = events;
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        let stream = match self.listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let free = self.connections.iter().position(Option::is_none);
        let place = free.unwrap_or(self.connections.len());
        let mark = epoll::EventData::new_u64(u64::try_from(place).map_err(io::Error::other)?);
        epoll::add(&self.epoll, &stream, mark, epoll::EventFlags::IN)?;
        let connection = Some(Connection { stream, head: Vec::with_capacity(1024) });
        match self.connections.get_mut(place) {
            Some(slot) => *slot = connection,
            None => self.connections.push(connection),
        }
        Ok(())
    }

    fn serve(&mut self, place: usize) {
        let Some(slot) = self.connections.get_mut(place) else { return };
        let keep = slot.as_mut().is_some_and(|connection| connection.serve(&self.answer).unwrap_or(false));
        if !keep {
            // Closing the socket takes it out of the epoll set.
            *slot = None;
        }
    }
}

impl Connection {
    /// Reads once and answers every whole head. False when the peer is done.
    fn serve(&mut self, answer: &[u8]) -> io::Result<bool> {
        let mut bytes = [0; 4096];
        let read = match self.stream.read(&mut bytes) {
            Ok(0) => return Ok(false),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        };
        self.head.extend_from_slice(bytes.get(..read).unwrap_or_default());
        while let Some(end) = http::head_end(&self.head) {
            let head = self.head.get(..end).unwrap_or_default();
            if asks_what_was_seen(head) {
                self.stream.write_all(&self::answer(head))?;
            } else {
                self.stream.write_all(answer)?;
            }
            self.head.drain(..end);
        }
        Ok(self.head.len() < HEAD_BYTES)
    }
}

fn asks_what_was_seen(head: &[u8]) -> bool {
    head.strip_prefix(b"GET ").is_some_and(|rest| rest.starts_with(http::SEEN.as_bytes()))
}

fn answer(body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}
