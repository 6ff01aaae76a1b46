//! Load over keep-alive HTTP/1.1 and h2c connections at a given pace, every answer judged by the generation that made it.
//!
//! A request that could not be sent in time is counted from when it should have been sent, so that a stall shows in all the
//! requests it held up.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use rustix::thread::gettid;
use tokio::task::LocalSet;
use tollgate_benches::{cores, cpu};

use crate::guests::STAMP;
use crate::link::{Link, Protocol};

/// How long one exchange may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a lane waits after a failure.
const REST: Duration = Duration::from_millis(20);

/// What to send where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traffic {
    /// The proxy.
    pub(crate) address: SocketAddr,
    /// The path, which the origin answers with the head it got.
    pub(crate) path: &'static str,
    /// HTTP/1.1 connections.
    pub(crate) http1: u16,
    /// h2c connections.
    pub(crate) h2c: u16,
    /// Exchanges at a time on each h2c connection.
    pub(crate) streams: u16,
    /// Requests a second; `None`: each lane sends as soon as it has its answer.
    pub(crate) rate: Option<f64>,
    /// How long.
    pub(crate) time: Duration,
    /// Whether both heads carry a stamp.
    pub(crate) stamped: bool,
}

/// What became of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Good answers.
    pub(crate) answered: u64,
    /// Requests without one.
    pub(crate) failed: u64,
    /// Exchanges whose request and answer met different generations.
    pub(crate) mixed: u64,
    /// Requests sent after a newer generation had answered on that connection, and answered by an older one.
    pub(crate) backwards: u64,
    /// What the first failure was.
    pub(crate) first: Option<String>,
    /// The generations that answered.
    pub(crate) seen: BTreeSet<u64>,
    /// When each request with a good answer was sent, from the beginning on, and how long the answer took.
    pub(crate) times: Vec<(Duration, Duration)>,
    /// How long whoever sent them was ready to run and had no core.
    pub(crate) waited: Duration,
    /// When requests failed, from the beginning on.
    pub(crate) failures_at: Vec<Duration>,
    /// Why who sent them did not come first on its core, if it did not.
    pub(crate) behind: Option<String>,
}

impl Traffic {
    /// Sends it, and waits for the last answer.
    pub(crate) fn run(&self) -> anyhow::Result<Outcome> {
        let behind = cores::put_first(gettid()).err().map(|error| error.to_string());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let outcome = Rc::new(RefCell::new(Outcome { behind, ..Outcome::default() }));
        let lanes = runtime.block_on(self.connect(&outcome)).context("cannot connect")?;
        let count = f64::from(u32::try_from(lanes.len())?);
        let pace = self.rate.map(|rate| Duration::from_secs_f64(count / rate));
        let running = LocalSet::new();
        for (place, lane) in (0_u32..).zip(lanes) {
            running.spawn_local(lane.run(pace, pace.unwrap_or_default().mul_f64(f64::from(place) / count)));
        }
        runtime.block_on(running);
        drop(runtime);
        let outcome = Rc::into_inner(outcome).map(RefCell::into_inner).unwrap_or_default();
        Ok(Outcome { waited: cpu::waited_by(std::process::id(), gettid())?, ..outcome })
    }

    async fn connect(&self, outcome: &Rc<RefCell<Outcome>>) -> io::Result<Vec<Lane>> {
        let mut lanes = Vec::new();
        let http1 = (0..self.http1).map(|_| (Protocol::Http1, 1));
        for (protocol, users) in http1.chain((0..self.h2c).map(|_| (Protocol::H2c, self.streams))) {
            let (link, newest) = (Link::connect(self.address, protocol).await?, Rc::new(Cell::new(0)));
            let lane = |link| Lane { traffic: *self, link, newest: Rc::clone(&newest), outcome: Rc::clone(outcome) };
            lanes.extend(link.shared(users).into_iter().map(lane));
        }
        Ok(lanes)
    }
}

/// Exchanges one after the other, on a connection of their own or beside other lanes on one.
struct Lane {
    traffic: Traffic,
    link: Link<Empty<Bytes>>,
    /// The newest generation that answered on this connection.
    newest: Rc<Cell<u64>>,
    outcome: Rc<RefCell<Outcome>>,
}

impl Lane {
    async fn run(mut self, pace: Option<Duration>, offset: Duration) {
        let began = Instant::now();
        let mut due = began + offset;
        while due < began + self.traffic.time {
            let late = Instant::now() > due;
            if pace.is_some() && !late {
                tokio::time::sleep_until(due.into()).await;
            }
            let sent = if late && pace.is_some() { due } else { Instant::now() };
            match self.exchange().await {
                Ok(stamps) => self.judge(stamps, (sent - began, sent.elapsed())),
                Err(error) => self.fail(&format!("{error:#}"), began).await,
            }
            due = pace.map_or_else(Instant::now, |pace| due + pace);
        }
    }

    /// What the answer and the request say of their generations, and what was the newest before.
    async fn exchange(&mut self) -> anyhow::Result<(Option<u64>, Option<u64>, u64)> {
        let newest = self.newest.get();
        let exchange = async {
            let request = self.link.request(self.traffic.path).body(Empty::new())?;
            let response = self.link.send(request).await?;
            let (head, body) = response.into_parts();
            let body = body.collect().await?.to_bytes();
            anyhow::ensure!(head.status == 200, "status {}", head.status.as_u16());
            let answer = head.headers.get(STAMP).and_then(|value| value.to_str().ok()?.parse().ok());
            Ok((answer, stamp_in(&body), newest))
        };
        tokio::time::timeout(PATIENCE, exchange).await.context("no answer in time")?
    }

    fn judge(&self, (answer, request, newest): (Option<u64>, Option<u64>, u64), time: (Duration, Duration)) {
        let mut outcome = self.outcome.borrow_mut();
        outcome.answered += 1;
        outcome.times.push(time);
        if !self.traffic.stamped {
            return;
        }
        outcome.mixed += u64::from(answer != request || answer.is_none());
        let answer = answer.unwrap_or_default();
        outcome.backwards += u64::from(answer < newest);
        outcome.seen.insert(answer);
        self.newest.set(self.newest.get().max(answer));
    }

    /// Counts a failure and takes a connection of its own for what follows.
    async fn fail(&mut self, why: &str, began: Instant) {
        {
            let mut outcome = self.outcome.borrow_mut();
            outcome.failed += 1;
            outcome.failures_at.push(began.elapsed());
            outcome.first.get_or_insert_with(|| why.to_owned());
        }
        tokio::time::sleep(REST).await;
        if let Ok(link) = self.reconnect().await {
            self.link = link;
            self.newest = Rc::default();
        }
    }

    async fn reconnect(&self) -> io::Result<Link<Empty<Bytes>>> {
        Link::connect(self.traffic.address, self.link.protocol()).await
    }
}

/// The number in the stamp of a head that the origin sent back.
fn stamp_in(head: &[u8]) -> Option<u64> {
    let head = std::str::from_utf8(head).ok()?;
    let (_, value) = head.lines().filter_map(|line| line.split_once(": ")).find(|(name, _)| *name == STAMP)?;
    value.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use tollgate_benches::http;
    use tollgate_benches::origin::Origin;

    use super::*;

    fn traffic(address: SocketAddr) -> Traffic {
        let time = Duration::from_millis(50);
        Traffic { address, path: http::SEEN, http1: 2, h2c: 0, streams: 0, rate: None, time, stamped: true }
    }

    #[test]
    fn an_exchange_without_stamps_counts_as_mixed() {
        let origin = Origin::start(None).unwrap();

        let outcome = traffic(origin.address()).run().unwrap();

        assert!(outcome.answered > 0);
        assert_eq!((outcome.failed, outcome.mixed), (0, outcome.answered));
    }

    #[test]
    fn the_stamp_of_a_request_is_read_from_what_the_origin_saw() {
        assert_eq!(stamp_in(b"GET /seen HTTP/1.1\r\nhost: a\r\nx-soak: 17\r\n\r\n"), Some(17));
        assert_eq!(stamp_in(b"GET /seen HTTP/1.1\r\n\r\n"), None);
    }
}
