//! The load, on one thread: over kept connections or a new one for each request, HTTP/1.1, HTTP/2 or TLS; in a closed loop
//! that has an answer asked for as soon as the one before came, or at a pace of its own.
//!
//! It counts whole answers with status 200 and the expected length of body; everything else is a failure. It drives one target
//! at a time. At a pace, a request is counted from when it was due, so that what holds up one shows in all that waited for it.
//!
//! Beside an origin, it serves that in its own turns and never sleeps. To wake a thread of another core takes as long as a
//! tenth of a request, and is booked on whoever wakes: with a load that sleeps, a slow target pays for that and a fast one does
//! not, because the load is never done with it.

mod ask;
mod http1;
mod http2;
mod pace;
mod timer;
mod wire;

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

pub use ask::{Answer, Ask};
use rustix::event::epoll;
use rustix::time::Timespec;

use crate::load::ask::{Done, Wanted};
use crate::load::http1::Http1;
use crate::load::http2::Http2;
use crate::load::pace::Pace;
use crate::load::timer::{MARK, Timer};
use crate::load::wire::{Reading, Wire};
use crate::origin::Taken;

/// How long one wait for answers may take before the clock is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How long the last answers may take.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
/// Bytes that are read at once.
const READ: usize = 256 * 1024;

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
    fn fail(&mut self, why: impl ToString, requests: usize) {
        self.failed += u64::try_from(requests).unwrap_or(u64::MAX);
        self.first_failure.get_or_insert_with(|| why.to_string());
    }
}

/// Latencies of requests that were due at a fixed pace.
#[derive(Clone, Debug, Default)]
pub struct Paced {
    /// What became of them.
    pub tally: Tally,
    /// From when each was due to its last byte, in no order.
    pub latencies: Vec<Duration>,
}

enum Speech {
    Http1(Http1),
    Http2(Http2),
}

impl Speech {
    /// Of a connection on which nothing was said.
    fn new(ask: &Ask) -> Speech {
        ask.streams.map_or_else(|| Speech::Http1(Http1::new()), |streams| Speech::Http2(Http2::new(streams)))
    }

    fn room(&self) -> usize {
        match self {
            Speech::Http1(speech) => speech.room(),
            Speech::Http2(speech) => speech.room(),
        }
    }

    fn waiting(&self) -> usize {
        match self {
            Speech::Http1(speech) => speech.waiting(),
            Speech::Http2(speech) => speech.waiting(),
        }
    }

    fn ask(&mut self, wanted: &Wanted, due: Instant, out: &mut Vec<u8>) {
        match self {
            Speech::Http1(speech) => speech.ask(wanted, due, out),
            Speech::Http2(speech) => speech.ask(wanted, due, out),
        }
    }

    fn take(&mut self, bytes: &[u8], wanted: &Wanted, done: &mut Done, out: &mut Vec<u8>) -> Result<(), String> {
        match self {
            Speech::Http1(speech) => speech.take(bytes, wanted, done),
            Speech::Http2(speech) => speech.take(bytes, wanted, done, out),
        }
    }
}

struct Connection {
    wire: Wire,
    speech: Speech,
}

/// A place for one connection.
enum Slot {
    /// None is there: each request makes one.
    Empty,
    Open(Box<Connection>),
    /// It failed and takes no further part.
    Broken,
}

/// See the module.
pub struct Load<'o> {
    ask: Ask,
    wanted: Wanted,
    epoll: OwnedFd,
    slots: Vec<Slot>,
    buffers: Buffers,
    origin: Option<Taken<'o>>,
    idle: Duration,
}

/// Used again and again.
struct Buffers {
    events: Vec<epoll::Event>,
    read: Vec<u8>,
    out: Vec<u8>,
    done: Done,
}

impl<'o> Load<'o> {
    /// Connects, where connections are kept; sends nothing yet.
    pub fn open(ask: &Ask) -> io::Result<Load<'o>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let buffers = Buffers {
            events: Vec::with_capacity(64),
            read: vec![0; READ],
            out: Vec::with_capacity(4096),
            done: Done::default(),
        };
        let slots = (0..ask.connections).map(|_| Slot::Empty).collect();
        let (wanted, ask, idle) = (ask.wanted(), ask.clone(), Duration::ZERO);
        let mut load = Load { wanted, ask, epoll, slots, buffers, origin: None, idle };
        if !load.ask.fresh {
            (0..load.ask.connections).try_for_each(|place| load.connect(place))?;
        }
        Ok(load)
    }

    /// From here on it serves this origin as well, if there is one, and never sleeps.
    pub fn beside(self, origin: Option<Taken<'o>>) -> Load<'o> {
        Load { origin, ..self }
    }

    /// How long there was nothing to do for it, nor for its origin.
    pub fn idle(&self) -> Duration {
        self.idle
    }

    /// Keeps a request in flight wherever one can be for this long. Those in flight at the end stay in flight.
    pub fn run(&mut self, time: Duration) -> io::Result<Tally> {
        let (mut tally, end) = (Tally::default(), Instant::now() + time);
        for place in 0..self.slots.len() {
            self.fill(place, &mut tally);
        }
        while Instant::now() < end && self.waiting() > 0 {
            self.turn(&mut tally, |load, place, tally, _| load.fill(place, tally))?;
        }
        Ok(tally)
    }

    /// Has so many requests a second due for this long, and waits for their answers. Where none of the connections is free, a
    /// request waits, and its latency with it; one that waits in vain has failed. Nothing is in flight before or afterwards.
    pub fn keep_pace(&mut self, rate: f64, time: Duration) -> io::Result<Paced> {
        let mut pace = Pace::new(rate, Instant::now(), time);
        let patience = pace.end() + LAST_ANSWERS;
        let mut free: VecDeque<usize> =
            (0..self.slots.len()).flat_map(|place| std::iter::repeat_n(place, self.room(place))).collect();
        let timer = Timer::new(&self.epoll)?;
        let mut paced = Paced::default();
        while Instant::now() < patience && (pace.next().is_some() || self.waiting() > 0) && paced.tally.failed == 0 {
            self.depart(&mut pace, &mut free, &mut paced.tally);
            if let (Some(next), false) = (pace.next(), free.is_empty()) {
                timer.set(next)?;
            }
            let (free, latencies) = (&mut free, &mut paced.latencies);
            self.turn(&mut paced.tally, |_, place, _, done| {
                let now = Instant::now();
                free.extend(done.iter().map(|_| place));
                latencies.extend(done.iter().map(|due| now.saturating_duration_since(*due)));
            })?;
        }
        self.give_up(&mut paced.tally);
        let unsent = pace.drop_due(Instant::now());
        if unsent > 0 {
            paced.tally.fail("no connection was free until the end of the run", unsent);
        }
        Ok(paced)
    }

    /// Sends what is due by now, as long as there is room for it.
    fn depart(&mut self, pace: &mut Pace, free: &mut VecDeque<usize>, tally: &mut Tally) {
        while let Some(place) = free.pop_front() {
            let Some(due) = pace.take(Instant::now()) else { return free.push_front(place) };
            self.send(place, due, tally);
        }
    }

    /// Asks once on each connection and waits for the answers.
    pub fn ask_each(&mut self) -> io::Result<Tally> {
        let mut tally = Tally::default();
        for place in 0..self.slots.len() {
            self.send(place, Instant::now(), &mut tally);
        }
        let rest = self.drain()?;
        let first_failure = tally.first_failure.or(rest.first_failure);
        Ok(Tally { answered: rest.answered, failed: tally.failed + rest.failed, first_failure })
    }

    /// Takes the answers still in flight, for a bounded time.
    pub fn drain(&mut self) -> io::Result<Tally> {
        let (mut tally, end) = (Tally::default(), Instant::now() + LAST_ANSWERS);
        while Instant::now() < end && self.waiting() > 0 {
            self.turn(&mut tally, |_, _, _, _| ())?;
        }
        self.give_up(&mut tally);
        Ok(tally)
    }

    /// Takes the answers still in flight, for a bounded time, and closes the connections.
    pub fn finish(mut self) -> io::Result<Tally> {
        self.drain()
    }

    fn give_up(&self, tally: &mut Tally) {
        let unanswered = self.waiting();
        if unanswered > 0 {
            tally.fail("no answer at the end of the run", unanswered);
        }
    }

    fn waiting(&self) -> usize {
        let waiting = |slot: &Slot| if let Slot::Open(connection) = slot { connection.speech.waiting() } else { 0 };
        self.slots.iter().map(waiting).sum()
    }

    /// How many requests may be sent here.
    fn room(&self, place: usize) -> usize {
        match self.slots.get(place) {
            Some(Slot::Empty) => 1,
            Some(Slot::Open(connection)) => connection.speech.room(),
            Some(Slot::Broken) | None => 0,
        }
    }

    fn fill(&mut self, place: usize, tally: &mut Tally) {
        for _ in 0..self.room(place) {
            self.send(place, Instant::now(), tally);
        }
    }

    fn connect(&mut self, place: usize) -> io::Result<()> {
        let wire = Wire::connect(self.ask.address, self.ask.tls.as_ref())?;
        let mark = epoll::EventData::new_u64(u64::try_from(place).map_err(io::Error::other)?);
        epoll::add(&self.epoll, &wire, mark, epoll::EventFlags::IN)?;
        if let Some(slot) = self.slots.get_mut(place) {
            *slot = Slot::Open(Box::new(Connection { wire, speech: Speech::new(&self.ask) }));
        }
        Ok(())
    }

    fn send(&mut self, place: usize, due: Instant, tally: &mut Tally) {
        if matches!(self.slots.get(place), Some(Slot::Empty))
            && let Err(error) = self.connect(place)
        {
            tally.fail(error, 1);
            return self.leave(place);
        }
        let Some(Slot::Open(connection)) = self.slots.get_mut(place) else { return };
        self.buffers.out.clear();
        connection.speech.ask(&self.wanted, due, &mut self.buffers.out);
        if let Err(error) = connection.wire.send(&self.buffers.out) {
            self.fail(place, error, tally);
        }
    }

    /// Waits for what comes, unless there is an origin to be served, and takes it; `after` is told of each place that was heard of, with when the requests that were
    /// answered there had been due.
    fn turn(
        &mut self,
        tally: &mut Tally,
        mut after: impl FnMut(&mut Load<'o>, usize, &mut Tally, &[Instant]),
    ) -> io::Result<()> {
        let mut events = std::mem::take(&mut self.buffers.events);
        events.clear();
        let (begun, patience) = (Instant::now(), if self.origin.is_some() { Duration::ZERO } else { LOOK });
        let timeout = Timespec { tv_sec: 0, tv_nsec: patience.subsec_nanos().into() };
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let served = self.origin.as_mut().map_or(Ok(false), Taken::turn)?;
        if !served && (events.is_empty() || self.origin.is_none()) {
            self.idle += begun.elapsed();
        }
        for event in events.iter().filter(|event| event.data.u64() != MARK) {
            let place = usize::try_from(event.data.u64()).map_err(io::Error::other)?;
            let mut done = std::mem::take(&mut self.buffers.done);
            self.receive(place, &mut done, tally);
            after(self, place, tally, &done.due);
            done.due.clear();
            self.buffers.done = done;
        }
        self.buffers.events = events;
        Ok(())
    }

    fn receive(&mut self, place: usize, done: &mut Done, tally: &mut Tally) {
        let Some(Slot::Open(connection)) = self.slots.get_mut(place) else { return };
        let Connection { wire, speech } = &mut **connection;
        let Buffers { read, out, .. } = &mut self.buffers;
        out.clear();
        let reading = wire.receive(read, |bytes| speech.take(bytes, &self.wanted, done, out));
        tally.answered += u64::try_from(done.due.len()).unwrap_or(u64::MAX);
        if self.ask.fresh && !done.due.is_empty() {
            // Closing the socket takes it out of the epoll set.
            if let Some(slot) = self.slots.get_mut(place) {
                *slot = Slot::Empty;
            }
            return;
        }
        let outcome = match reading {
            Ok(Reading::Closed) => Err("the connection was closed".to_owned()),
            Ok(Reading::All) if out.is_empty() => Ok(()),
            Ok(Reading::All) => wire.send(out).map_err(|error| error.to_string()),
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            self.fail(place, error, tally);
        }
    }

    /// Counts what was in flight here as failed and takes the connection out of the run.
    fn fail(&mut self, place: usize, why: impl ToString, tally: &mut Tally) {
        if let Some(Slot::Open(connection)) = self.slots.get(place) {
            tally.fail(why, connection.speech.waiting().max(1));
            connection.wire.end();
        }
        self.leave(place);
    }

    fn leave(&mut self, place: usize) {
        if let Some(slot) = self.slots.get_mut(place) {
            *slot = Slot::Broken;
        }
    }
}

/// Asks once, and waits this long for the whole answer.
pub fn ask_once(ask: &Ask, patience: Duration) -> io::Result<Answer> {
    let mut load = Load::open(&Ask { connections: 1, fresh: false, ..ask.clone() })?;
    let (mut tally, end) = (Tally::default(), Instant::now() + patience);
    load.buffers.done = Done::keeping();
    load.send(0, Instant::now(), &mut tally);
    while tally.answered == 0 {
        load.turn(&mut tally, |_, _, _, _| ())?;
        if let Some(why) = tally.first_failure {
            return Err(io::Error::other(why));
        }
        if Instant::now() > end {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
    Ok(load.buffers.done.kept.take().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http;
    use crate::origin::Origin;

    #[test]
    fn every_answer_of_the_origin_counts() {
        let origin = Origin::start(None).unwrap();
        let mut load = Load::open(&Ask::new(origin.address(), 4)).unwrap();

        let tally = load.run(Duration::from_millis(50)).unwrap();
        let last = load.finish().unwrap();

        assert!(tally.answered > 0);
        assert_eq!((tally.failed, last.answered, last.failed), (0, 4, 0));
    }

    #[test]
    fn an_origin_that_is_taken_serves_in_the_turns_of_the_load_and_by_itself_again() {
        let origin = Origin::start(None).unwrap();
        let mut beside = Load::open(&Ask::new(origin.address(), 4)).unwrap().beside(Some(origin.take()));
        let mut apart = Load::open(&Ask::new(origin.address(), 1)).unwrap();

        let tally = beside.run(Duration::from_millis(50)).unwrap();
        // Nobody serves those of another load meanwhile.
        let unserved = apart.run(Duration::from_millis(50)).unwrap();
        beside.finish().unwrap();
        let served = apart.finish().unwrap();

        assert!(tally.answered > 0 && tally.failed == 0, "{tally:?}");
        assert_eq!((unserved.answered, served.answered, served.failed), (0, 1, 0));
    }

    #[test]
    fn bodies_that_do_not_fit_a_buffer_come_whole_over_a_connection_each() {
        let origin = Origin::start(None).unwrap();
        let bytes = 3 << 20;
        let path = format!("{}{bytes}", http::BYTES);
        let ask = Ask { fresh: true, path, body: Some(bytes), ..Ask::new(origin.address(), 2) };
        let mut load = Load::open(&ask).unwrap();

        let tally = load.run(Duration::from_millis(50)).unwrap();
        let last = load.finish().unwrap();

        assert_eq!((tally.failed, last.failed), (0, 0), "{:?}", last.first_failure);
        assert!(tally.answered + last.answered >= 2);
    }

    #[test]
    fn at_a_pace_as_many_are_asked_as_were_due() {
        let origin = Origin::start(None).unwrap();
        let mut load = Load::open(&Ask::new(origin.address(), 2)).unwrap();

        let paced = load.keep_pace(500.0, Duration::from_millis(100)).unwrap();

        assert_eq!((paced.tally.answered, paced.tally.failed, paced.latencies.len()), (50, 0, 50));
    }

    #[test]
    fn what_waits_for_a_free_connection_is_counted_from_when_it_was_due() {
        // One connection, and an origin that answers the first request only after three more were due.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut load = Load::open(&Ask::new(listener.local_addr().unwrap(), 1)).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        let slow = std::thread::spawn(move || {
            use std::io::{Read, Write};
            let mut bytes = [0; 1024];
            let mut read = stream.read(&mut bytes).unwrap();
            std::thread::sleep(Duration::from_millis(80));
            while read > 0 {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\nhello, world\n").unwrap();
                read = stream.read(&mut bytes).unwrap_or_default();
            }
        });

        let paced = load.keep_pace(100.0, Duration::from_millis(40)).unwrap();
        drop(load);
        slow.join().unwrap();

        let late = paced.latencies.iter().filter(|latency| **latency >= Duration::from_millis(45)).count();
        assert_eq!((paced.latencies.len(), late), (4, 4), "{:?}", paced.latencies);
    }

    #[test]
    fn what_was_due_and_found_no_connection_until_the_end_has_failed() {
        // It closes the only connection when it was asked once, and three more are due by then.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut load = Load::open(&Ask::new(listener.local_addr().unwrap(), 1)).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        let closing = std::thread::spawn(move || {
            let read = std::io::Read::read(&mut stream, &mut [0; 1024]).unwrap();
            std::thread::sleep(Duration::from_millis(80));
            read
        });

        let paced = load.keep_pace(100.0, Duration::from_millis(40)).unwrap();
        closing.join().unwrap();

        assert_eq!((paced.tally.answered, paced.tally.failed, paced.latencies.len()), (0, 4, 0));
        assert_eq!(paced.tally.first_failure.as_deref(), Some("the connection was closed"));
    }

    #[test]
    fn a_closed_connection_is_a_failed_request() {
        let closing = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut load = Load::open(&Ask::new(closing.local_addr().unwrap(), 1)).unwrap();
        drop(closing.accept().unwrap());

        let tally = load.run(Duration::from_millis(500)).unwrap();

        assert_eq!((tally.answered, tally.failed), (0, 1));
    }

    #[test]
    fn one_answer_is_shown_with_its_head() {
        let origin = Origin::start(None).unwrap();
        let ask = Ask { path: http::SEEN.to_owned(), body: None, ..Ask::new(origin.address(), 1) };

        let answer = ask_once(&ask, Duration::from_secs(5)).unwrap();

        assert!(answer.head.starts_with("HTTP/1.1 200 OK\r\n"), "{answer:?}");
        assert_eq!(http::names(&answer.body), ["host", "user-agent", "accept"]);
    }
}
