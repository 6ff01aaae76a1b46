//! A proxy under measurement: its process, from the start over the proof that it does its work to its end.
//! What is said to it is in `target::tollgate`, and in a file for each peer.

pub mod envoy;
pub mod filters;
pub mod haproxy;
pub mod nginx;
mod program;
pub mod tollgate;

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::BenchError;
use crate::load::{Answer, Ask, ask_once};
use crate::process::Process;
use crate::tls::{self, Identity};
use crate::{cpu, http, memory};

/// How long a target may take until it answers: it may compile filters first, and under a tool slowly.
const START: Duration = Duration::from_secs(300);
/// How long the first answer may take.
const READ: Duration = Duration::from_secs(5);
/// How often it is asked until then.
const LOOK: Duration = Duration::from_millis(1);

/// What clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// HTTP/1.1.
    Plain,
    /// HTTP/2 without TLS.
    H2c,
    /// HTTP/1.1 over TLS.
    Tls,
}

/// The filters that a request passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    /// There are none.
    None,
    /// So many that do nothing, of the Rust SDK.
    Noops(usize),
    /// One that gets a field and adds one to each head, of the Rust SDK.
    Headers,
    /// One that keeps the body of an answer until it is whole and rewrites it.
    Body,
    /// One that does nothing, with an instance for each exchange. Tollgate's alone.
    Isolated,
}

impl Chain {
    /// The name of a proxy with it.
    pub fn of(self, proxy: &str) -> String {
        match self {
            Chain::None => proxy.to_owned(),
            Chain::Noops(1) => format!("{proxy}, 1 noop filter"),
            Chain::Noops(count) => format!("{proxy}, {count} noop filters"),
            Chain::Headers => format!("{proxy}, 1 header filter"),
            Chain::Body => format!("{proxy}, 1 body filter"),
            Chain::Isolated => format!("{proxy}, 1 noop filter, isolation: request"),
        }
    }
}

/// Where targets are started.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    /// For configurations, modules and logs.
    pub folder: &'a Path,
    /// What they stand before.
    pub origin: SocketAddr,
    /// What clients speak.
    pub door: Door,
    /// Of those that speak TLS.
    pub identity: &'a Identity,
    /// How many connections to the origin are worth keeping.
    pub connections: usize,
}

/// How a target is started, and what it must do then.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its name in the table.
    pub name: String,
    /// The name of the target over which it is told what this one costs more; that without filters, where it has some.
    pub over: Option<String>,
    /// What is run.
    pub program: PathBuf,
    /// With what.
    pub arguments: Vec<OsString>,
    /// Where it will listen.
    pub address: SocketAddr,
    /// Its filters.
    pub chain: Chain,
    /// Fields that it may add to a request, besides those of its filters.
    pub marks: &'static [&'static str],
}

/// A target that answers; dropping it ends its process.
pub struct Target {
    /// Its name in the table.
    pub name: String,
    /// The name of the target over which it is told what this one costs more.
    pub over: Option<String>,
    /// Where it listens.
    pub address: SocketAddr,
    /// From the start of its process to its first answer.
    pub start: Duration,
    process: Process,
}

impl Target {
    /// Starts a target, its output going to a file in the setting's folder, and checks that it does what its plan says.
    /// `under` is a tool with its arguments that runs the target, such as a profiler; empty for none.
    pub fn start(plan: Plan, setting: &Setting<'_>, under: &[String]) -> Result<Target, BenchError> {
        Target::begin(plan, setting, under, prove)
    }

    /// The same for one with no origin behind it: that it answers is enough.
    pub fn start_unproven(plan: Plan, setting: &Setting<'_>, under: &[String]) -> Result<Target, BenchError> {
        Target::begin(plan, setting, under, |_, _| Ok(()))
    }

    fn begin(
        plan: Plan,
        setting: &Setting<'_>,
        under: &[String],
        prove: impl Fn(&Plan, &Answer) -> Result<(), String>,
    ) -> Result<Target, BenchError> {
        let log = setting.folder.join(format!("{}.log", plan.address.port()));
        let words = under.iter().map(OsString::from).chain([plan.program.clone().into()]).chain(plan.arguments.clone());
        let begun = Instant::now();
        let process = Process::start(&plan.name, words, log)?;
        let (name, over, address) = (plan.name.clone(), plan.over.clone(), plan.address);
        let mut target = Target { name, over, address, start: Duration::ZERO, process };
        let proven = target.first_answer(setting.door).and_then(|answer| {
            target.start = begun.elapsed();
            prove(&plan, &answer).map_err(io::Error::other)
        });
        match proven {
            Ok(()) => Ok(target),
            Err(problem) => Err(BenchError::Unfit {
                target: target.name.clone(),
                problem: problem.to_string(),
                output: target.process.last_words(),
            }),
        }
    }

    /// Has it stand still, so that it takes no time from another. Its sockets stay.
    pub fn pause(&self) {
        self.tell(Signal::STOP);
    }

    /// Has it go on.
    pub fn resume(&self) {
        self.tell(Signal::CONT);
    }

    /// All its processes: one that has ended meanwhile is noticed by whoever asks something of it.
    fn tell(&self, signal: Signal) {
        for process in cpu::tree(self.process.id()).unwrap_or_default() {
            let process = i32::try_from(process).ok().and_then(Pid::from_raw);
            let _ = process.map(|process| kill_process(process, signal));
        }
    }

    /// Whether it lives, and the last lines it wrote: what there is to say when it disappointed.
    pub fn fate(&mut self) -> String {
        self.process.fate()
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// CPU time that the target's processes have used.
    pub fn cpu(&self) -> io::Result<Duration> {
        cpu::of_tree(self.process.id())
    }

    /// Memory of the target's processes.
    pub fn memory(&self) -> io::Result<memory::Used> {
        memory::of_tree(self.process.id())
    }

    /// Has the kernel count the most memory of its process anew.
    pub fn forget_peak(&self) -> io::Result<()> {
        memory::forget_peak(self.process.id())
    }

    /// The most bytes that its process, without its descendants, has had in memory since.
    pub fn peak(&self) -> io::Result<u64> {
        memory::peak(self.process.id())
    }

    /// Waits until it answers.
    fn first_answer(&mut self, door: Door) -> io::Result<Answer> {
        let ask = Ask { path: http::SEEN.to_owned(), body: None, ..ask_at(door, self.address, 1, 1)? };
        let deadline = Instant::now() + START;
        loop {
            match ask_once(&ask, READ) {
                Ok(answer) => return Ok(answer),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => thread::sleep(LOOK),
            }
            if let Some(status) = self.process.ended()? {
                return Err(io::Error::other(format!("it ended: {status}")));
            }
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // What stands still does not hear that it is to end.
        self.resume();
    }
}

/// What is asked through a door: of HTTP/2 so many streams at a time on each connection.
pub fn ask_at(door: Door, address: SocketAddr, connections: usize, streams: usize) -> io::Result<Ask> {
    let ask = Ask::new(address, connections);
    Ok(match door {
        Door::Plain => ask,
        Door::H2c => Ask { streams: Some(streams), ..ask },
        Door::Tls => Ask { tls: Some(tls::load("http/1.1")?), ..ask },
    })
}

/// Whether a target did to a request and its answer what its plan says, and no more. What the origin saw is the body; over
/// HTTP/2 the client's head is not looked at.
fn prove(plan: &Plan, answer: &Answer) -> Result<(), String> {
    let body = match plan.chain {
        Chain::Body => answer.body.bytes().map(|byte| char::from(byte ^ 0x20)).collect(),
        _ => answer.body.clone(),
    };
    let mut marks = plan.marks.to_vec();
    if plan.chain == Chain::Headers {
        marks.push(http::ASKED.0);
        must(http::has_field(&body, http::ASKED), "the origin misses the filter's field", answer)?;
        let answered = answer.head.is_empty() || http::has_field(&answer.head, http::ANSWERED);
        must(answered, "the client misses the filter's field", answer)?;
    }
    let names = http::names(&body);
    // What concerns the connection alone is every proxy's own.
    let added = names.iter().find(|name| !is_sent(name) && *name != "connection" && !marks.contains(&name.as_str()));
    must(added.is_none(), &format!("it adds {added:?} to requests, which the others do not"), answer)?;
    let lost = http::FIELDS.iter().find(|(name, _)| !names.iter().any(|there| there == name));
    must(lost.is_none(), &format!("{lost:?} does not come to the origin"), answer)?;
    let lacks_date = !answer.head.is_empty() && !http::names(&answer.head).iter().any(|name| name == "date");
    must(!lacks_date, "the answer has lost its date", answer)
}

fn is_sent(name: &str) -> bool {
    http::FIELDS.iter().any(|(sent, _)| *sent == name)
}

fn must(holds: bool, what: &str, answer: &Answer) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("{what}: {answer:?}")) }
}

/// A loopback address that nobody listens on at the moment.
pub fn free_address() -> Result<SocketAddr, BenchError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    listener.and_then(|listener| listener.local_addr()).map_err(BenchError::while_doing("finding a free port"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(chain: Chain, marks: &'static [&'static str]) -> Plan {
        let address = (Ipv4Addr::LOCALHOST, 0).into();
        Plan { name: "x".into(), over: None, program: "x".into(), arguments: Vec::new(), address, chain, marks }
    }

    fn answer(more_asked: &str, more_answered: &str) -> Answer {
        Answer {
            head: format!("HTTP/1.1 200 OK\r\ndate: today\r\n{more_answered}\r\n"),
            body: format!("GET / HTTP/1.1\r\nHost: bench.test\r\nuser-agent: bench\r\naccept: */*\r\n{more_asked}\r\n"),
        }
    }

    #[test]
    fn a_target_that_does_more_than_the_others_is_unfit() {
        let untouched = prove(&plan(Chain::None, &[]), &answer("connection: keep-alive\r\n", ""));
        let marked = prove(&plan(Chain::None, &[]), &answer("X-Forwarded-For: a\r\n", ""));
        let allowed = prove(&plan(Chain::None, &["x-forwarded-for"]), &answer("X-Forwarded-For: a\r\n", ""));

        assert_eq!((untouched, allowed), (Ok(()), Ok(())));
        assert!(marked.unwrap_err().starts_with("it adds Some(\"x-forwarded-for\")"));
    }

    #[test]
    fn a_filter_that_did_nothing_is_unfit() {
        let (asked, answered) = ("x-bench-asked: */*\r\n", "x-bench-answered: yes\r\n");
        let plan = plan(Chain::Headers, &[]);

        assert_eq!(prove(&plan, &answer(asked, answered)), Ok(()));
        assert!(prove(&plan, &answer("", answered)).is_err());
        assert!(prove(&plan, &answer(asked, "")).is_err());
    }

    #[test]
    fn a_body_that_was_not_rewritten_is_unfit() {
        let Answer { head, body } = answer("", "");
        let rewritten = body.bytes().map(|byte| char::from(byte ^ 0x20)).collect();

        assert!(prove(&plan(Chain::Body, &[]), &Answer { head: head.clone(), body }).is_err());
        assert_eq!(prove(&plan(Chain::Body, &[]), &Answer { head, body: rewritten }), Ok(()));
    }
}
