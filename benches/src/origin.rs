//! The origin behind every target: one thread that answers each request with the same 13 bytes, or with as many as the path
//! says.
//!
//! It takes no request bodies. To [`http::SEEN`] it answers with the head it got, so that a benchmark can check what a
//! target does before it measures how much that costs. It can be taken out of its thread, to serve in the turns of the load.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::epoll;
use rustix::time::Timespec;

use crate::{cores, http};

/// The mark of the listener among the events; connections have their place.
const LISTENER: u64 = u64::MAX;
/// How often the thread looks whether it may end, or has nothing to serve any more.
const LOOK: Duration = Duration::from_millis(20);
/// How many are served in one turn.
const EVENTS: usize = 64;
/// The longest head that is understood.
const HEAD_BYTES: usize = 64 * 1024;
/// The longest body that is sent.
const BODY_BYTES: usize = 64 * 1024 * 1024;

/// A running origin; dropping it ends its thread.
pub struct Origin {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread of an origin has in common with its owner.
struct Shared {
    stop: AtomicBool,
    /// True while the owner serves in the thread's place.
    taken: AtomicBool,
    serving: Mutex<Serving>,
}

/// An origin that serves when it is asked to, until this is dropped.
pub struct Taken<'o> {
    serving: MutexGuard<'o, Serving>,
    origin: &'o Origin,
}

impl Taken<'_> {
    /// Serves what has come, without a wait. False where nothing had.
    pub fn turn(&mut self) -> io::Result<bool> {
        self.serving.turn(Duration::ZERO)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.origin.shared.taken.store(false, Ordering::Relaxed);
        if let Some(thread) = &self.origin.thread {
            thread.thread().unpark();
        }
    }
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
        let serving = Mutex::new(Serving::new(listener)?);
        let shared = Arc::new(Shared { stop: AtomicBool::new(false), taken: AtomicBool::new(false), serving });
        let served = Arc::clone(&shared);
        let run = move || {
            if let Some(Err(error)) = core.map(cores::pin) {
                complain("the origin is not pinned", &error);
            }
            // The load sees the end of the origin as failed requests, and then the run does not count.
            if let Err(error) = serve(&served) {
                complain("the origin ended", &error);
            }
        };
        let thread = thread::Builder::new().name("origin".into()).spawn(run)?;
        Ok(Origin { address, shared, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes it out of its thread. Waits for the end of the thread's turn.
    pub fn take(&self) -> Taken<'_> {
        self.shared.taken.store(true, Ordering::Relaxed);
        Taken { serving: self.shared.serving(), origin: self }
    }
}

impl Shared {
    fn serving(&self) -> MutexGuard<'_, Serving> {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed already.
            let _ = thread.join();
        }
    }
}

fn serve(shared: &Shared) -> io::Result<()> {
    while !shared.stop.load(Ordering::Relaxed) {
        if shared.taken.load(Ordering::Relaxed) {
            thread::park_timeout(LOOK);
        } else {
            shared.serving().turn(LOOK)?;
        }
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
    /// A connection's place is its mark among the events; places are used again.
    connections: Vec<Option<Connection>>,
    answers: Answers,
}

/// Whole answers by the length of their bodies, each made when it is first asked for.
struct Answers {
    /// The one that is asked for most.
    usual: Arc<[u8]>,
    sized: BTreeMap<usize, Arc<[u8]>>,
}

struct Connection {
    stream: TcpStream,
    head: Vec<u8>,
    /// What is to be sent yet, and how much of the first of it was.
    pending: VecDeque<Arc<[u8]>>,
    sent: usize,
    /// Whether the events tell when there is room to send.
    told: bool,
}

impl Serving {
    fn new(listener: TcpListener) -> io::Result<Serving> {
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
        let answers = Answers { usual: answer(http::BODY.as_bytes()), sized: BTreeMap::new() };
        Ok(Serving { listener, epoll, connections: Vec::new(), answers })
    }

    /// Waits for events, for so long at the most, and serves them. False where there are none.
    fn turn(&mut self, patience: Duration) -> io::Result<bool> {
        let mut events = [const { MaybeUninit::<epoll::Event>::uninit() }; EVENTS];
        let patience = Timespec { tv_sec: 0, tv_nsec: patience.subsec_nanos().into() };
        let events = match epoll::wait(&self.epoll, &mut events, Some(&patience)) {
            Ok((events, _)) => events,
            Err(rustix::io::Errno::INTR) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        for event in &*events {
            match event.data.u64() {
                LISTENER => self.accept()?,
                place => self.serve(usize::try_from(place).map_err(io::Error::other)?)?,
            }
        }
        Ok(!events.is_empty())
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
        epoll::add(&self.epoll, &stream, mark(place)?, epoll::EventFlags::IN)?;
        let (head, pending) = (Vec::with_capacity(1024), VecDeque::new());
        let connection = Some(Connection { stream, head, pending, sent: 0, told: false });
        match self.connections.get_mut(place) {
            Some(slot) => *slot = connection,
            None => self.connections.push(connection),
        }
        Ok(())
    }

    fn serve(&mut self, place: usize) -> io::Result<()> {
        let Some(Some(connection)) = self.connections.get_mut(place) else { return Ok(()) };
        if !connection.serve(&mut self.answers).unwrap_or(false) {
            // Closing the socket takes it out of the epoll set.
            self.connections.get_mut(place).and_then(Option::take);
            return Ok(());
        }
        let waits = !connection.pending.is_empty();
        if waits != connection.told {
            connection.told = waits;
            let flags = if waits { epoll::EventFlags::IN | epoll::EventFlags::OUT } else { epoll::EventFlags::IN };
            epoll::modify(&self.epoll, &connection.stream, mark(place)?, flags)?;
        }
        Ok(())
    }
}

fn mark(place: usize) -> io::Result<epoll::EventData> {
    Ok(epoll::EventData::new_u64(u64::try_from(place).map_err(io::Error::other)?))
}

impl Answers {
    fn to(&mut self, head: &[u8]) -> Arc<[u8]> {
        let path = path(head);
        if path.starts_with(http::SEEN.as_bytes()) {
            return answer(head);
        }
        let Some(length) = path.strip_prefix(http::BYTES.as_bytes()) else { return Arc::clone(&self.usual) };
        let length = std::str::from_utf8(length).ok().and_then(|length| length.parse().ok());
        let length = length.filter(|length| *length <= BODY_BYTES).unwrap_or_default();
        Arc::clone(self.sized.entry(length).or_insert_with(|| answer(&vec![b'x'; length])))
    }
}

fn path(head: &[u8]) -> &[u8] {
    head.split(|byte| *byte == b' ').nth(1).unwrap_or_default()
}

impl Connection {
    /// Reads once, answers every whole head, and sends what there is room for. False when the peer is done.
    fn serve(&mut self, answers: &mut Answers) -> io::Result<bool> {
        let mut bytes = [0; 4096];
        match self.stream.read(&mut bytes) {
            Ok(0) => return Ok(false),
            Ok(read) => self.head.extend_from_slice(bytes.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        while let Some(end) = http::head_end(&self.head) {
            self.pending.push_back(answers.to(self.head.get(..end).unwrap_or_default()));
            self.head.drain(..end);
        }
        self.send()?;
        Ok(self.head.len() < HEAD_BYTES)
    }

    fn send(&mut self) -> io::Result<()> {
        while let Some(answer) = self.pending.front() {
            match self.stream.write(answer.get(self.sent..).unwrap_or_default()) {
                Ok(written) => self.sent += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            if self.sent >= answer.len() {
                self.pending.pop_front();
                self.sent = 0;
            }
        }
        Ok(())
    }
}

/// With the two fields that every origin has and a proxy may write anew.
fn answer(body: &[u8]) -> Arc<[u8]> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nserver: origin\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
         content-type: text/plain\r\ncontent-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat().into()
}
