//! A closed loop on one thread: a fixed number of keep-alive connections, one request in flight on each.
//!
//! It counts whole answers with status 200 and the origin's body length; everything else is a failure. It measures no
//! latency, and it drives only one target at a time.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::time::Timespec;

use crate::http;

/// How long one wait for answers may take before the clock is looked at.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
/// How long the last answers may take.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// What became of requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests with a good answer.
    pub answered: u64,
    /// Requests without one.
    pub failed: u64,
    /// What the first failure was.
    pub first_failure: Option<String>,
}

impl Tally {
    fn fail(&mut self, why: impl ToString) {
        self.failed += 1;
        self.first_failure.get_or_insert_with(|| why.to_string());
    }
}

/// See the module.
pub struct Load {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    connections: Vec<Connection>,
    request: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A request is in flight.
    Waiting,
    /// None is.
    Idle,
    /// It failed and takes no further part.
    Broken,
}

impl Load {
    /// Connects; sends nothing yet.
    pub fn open(address: SocketAddr, connections: usize) -> io::Result<Load> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let connections =
            (0_u64..).take(connections).map(|place| connect(&epoll, address, place)).collect::<Result<_, _>>()?;
        Ok(Load { epoll, events: Vec::with_capacity(64), connections, request: http::request("/") })
    }

    /// Keeps a request in flight on each connection for this long. Those in flight at the end stay in flight.
    pub fn run(&mut self, time: Duration) -> io::Result<Tally> {
        let (mut tally, end) = (Tally::default(), Instant::now() + time);
        for connection in &mut self.connections {
            connection.send(&self.request, &mut tally);
        }
        while Instant::now() < end && self.is_waiting() {
            self.turn(Some(end), &mut tally)?;
        }
        Ok(tally)
    }

    /// Takes the answers still in flight, for a bounded time, and closes the connections.
    pub fn finish(mut self) -> io::Result<Tally> {
        let (mut tally, end) = (Tally::default(), Instant::now() + LAST_ANSWERS);
        while Instant::now() < end && self.is_waiting() {
            self.turn(None, &mut tally)?;
        }
        let unanswered = self.connections.iter().filter(|connection| connection.state == State::Waiting);
        unanswered.for_each(|_| tally.fail("no answer at the end of the run"));
        Ok(tally)
    }

    fn is_waiting(&self) -> bool {
        self.connections.iter().any(|connection| connection.state == State::Waiting)
    }

    /// Takes what answers there are; where `more_until` lies ahead, each answered connection sends its next request.
    fn turn(&mut self, more_until: Option<Instant>, tally: &mut Tally) -> io::Result<()> {
        self.events.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), Some(&LOOK)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &self.events {
            let place = usize::try_from(event.data.u64()).map_err(io::Error::other)?;
            let Some(connection) = self.connections.get_mut(place) else { continue };
            connection.receive(tally);
            if more_until.is_some() {
                connection.send(&self.request, tally);
            }
        }
        Ok(())
    }
}

fn connect(epoll: &OwnedFd, address: SocketAddr, place: u64) -> io::Result<Connection> {
    let stream = TcpStream::connect_timeout(&address, CONNECT)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    epoll::add(epoll, &stream, epoll::EventData::new_u64(place), epoll::EventFlags::IN)?;
    Ok(Connection { stream, answer: Vec::with_capacity(4096), state: State::Idle })
}

impl Connection {
    fn send(&mut self, request: &[u8], tally: &mut Tally) {
        if self.state != State::Idle {
            return;
        }
        self.state = State::Waiting;
        // A request is shorter than any socket buffer, so less than all of it taken is a failure too.
        match self.stream.write(request) {
            Ok(written) if written == request.len() => {}
            Ok(_) => self.fail("a request was taken in part", tally),
            Err(error) => self.fail(error, tally),
        }
    }

    fn receive(&mut self, tally: &mut Tally) {
        let mut bytes = [0; 4096];
        let read = match self.stream.read(&mut bytes) {
            Ok(0) => return self.fail("the connection was closed", tally),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => return self.fail(error, tally),
        };
        self.answer.extend_from_slice(bytes.get(..read).unwrap_or_default());
        match http::answer(&self.answer) {
            Ok(None) => {}
            Ok(Some(answer)) => self.judge(answer, tally),
            Err(error) => self.fail(error, tally),
        }
    }

    fn judge(&mut self, answer: http::Answer, tally: &mut Tally) {
        if self.state != State::Waiting || answer.len() != self.answer.len() {
            return self.fail("more came than was asked for", tally);
        }
        if answer.status != 200 || answer.body != http::BODY.len() {
            return self.fail(format!("status {} with {} bytes", answer.status, answer.body), tally);
        }
        self.answer.clear();
        self.state = State::Idle;
        tally.answered += 1;
    }

    /// Counts a failure and takes the connection out of the run.
    fn fail(&mut self, why: impl ToString, tally: &mut Tally) {
        if self.state == State::Broken {
            return;
        }
        self.state = State::Broken;
        tally.fail(why);
        // The peer learns that nothing more comes; the socket itself is closed with the run.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::Origin;

    #[test]
    fn every_answer_of_the_origin_counts() {
        let origin = Origin::start(None).unwrap();
        let mut load = Load::open(origin.address(), 4).unwrap();

        let tally = load.run(Duration::from_millis(50)).unwrap();
        let last = load.finish().unwrap();

        assert!(tally.answered > 0);
        assert_eq!((tally.failed, last.answered, last.failed), (0, 4, 0));
    }

    #[test]
    fn a_closed_connection_is_a_failed_request() {
        let closing = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut load = Load::open(closing.local_addr().unwrap(), 1).unwrap();
        drop(closing.accept().unwrap());

        let tally = load.run(Duration::from_millis(500)).unwrap();

        assert_eq!((tally.answered, tally.failed), (0, 1));
    }
}
