//! A proxy under measurement: its process, from the start over the proof that it does its work to its end.
//! What is said to it is in `target::tollgate`, and in a file for each peer.

pub mod envoy;
pub mod haproxy;
pub mod nginx;
mod program;
pub mod tollgate;

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::BenchError;
use crate::process::Process;
use crate::{cpu, http};

/// How long a target may take until it answers: it may compile filters first, and under a tool slowly.
const START: Duration = Duration::from_secs(120);
/// How long one read of the first answer may take.
const READ: Duration = Duration::from_secs(5);
/// How often a wait looks again.
const LOOK: Duration = Duration::from_millis(20);

/// What a target is in the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Tollgate without a filter.
    Alone,
    /// A proxy with filters.
    Filtered,
    /// Another proxy.
    Peer,
}

/// Whether a target adds the two header fields of [`http`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Headers {
    /// It does.
    Added,
    /// It leaves them alone.
    Untouched,
}

/// How a target is started, and what it must do then.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its name in the table.
    pub name: String,
    /// Its part in the comparison.
    pub kind: Kind,
    /// The name of the same proxy without filters, over which a filtered one is told.
    pub over: Option<String>,
    /// What is run.
    pub program: PathBuf,
    /// With what.
    pub arguments: Vec<OsString>,
    /// Where it will listen.
    pub address: SocketAddr,
    /// What it does to headers.
    pub headers: Headers,
}

/// A target that answers; dropping it ends its process.
pub struct Target {
    /// Its name in the table.
    pub name: String,
    /// Its part in the comparison.
    pub kind: Kind,
    /// The name of the same proxy without filters.
    pub over: Option<String>,
    /// Where it listens.
    pub address: SocketAddr,
    process: Process,
}

impl Target {
    /// Starts a target, its output going to a file in `folder`, and checks that it does what its plan says.
    /// `under` is a tool with its arguments that runs the target, such as a profiler; empty for none.
    pub fn start(plan: Plan, folder: &Path, under: &[String]) -> Result<Target, BenchError> {
        let log = folder.join(format!("{}.log", plan.address.port()));
        let words = under.iter().map(OsString::from).chain([plan.program.into()]).chain(plan.arguments);
        let process = Process::start(&plan.name, words, log)?;
        let Plan { name, kind, over, address, headers, .. } = plan;
        let mut target = Target { name, kind, over, address, process };
        match target.prove(headers) {
            Ok(()) => Ok(target),
            Err(problem) => Err(BenchError::Unfit {
                target: target.name.clone(),
                problem: problem.to_string(),
                output: target.process.last_words(),
            }),
        }
    }

    /// Whether it lives, and the last lines it wrote: what there is to say when it disappointed.
    pub fn fate(&mut self) -> String {
        self.process.fate()
    }

    /// CPU time that the target's processes have used.
    pub fn cpu(&self) -> io::Result<Duration> {
        cpu::of_tree(self.process.id())
    }

    /// Waits until it answers, and looks at what it did to the request and to the answer.
    fn prove(&mut self, headers: Headers) -> io::Result<()> {
        let deadline = Instant::now() + START;
        let answer = loop {
            match ask(self.address) {
                Ok(answer) => break answer,
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => thread::sleep(LOOK),
            }
            if let Some(status) = self.process.ended()? {
                return Err(io::Error::other(format!("it ended: {status}")));
            }
        };
        let (head, seen) = answer.split_once("\r\n\r\n").unwrap_or_default();
        let expected = headers == Headers::Added;
        if http::has_field(seen, http::ASKED) != expected || http::has_field(head, http::ANSWERED) != expected {
            return Err(io::Error::other(format!("headers should be {headers:?}, but it answered {answer:?}")));
        }
        Ok(())
    }
}

/// The whole answer to a request for what the origin saw.
fn ask(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, READ)?;
    stream.set_read_timeout(Some(READ))?;
    stream.write_all(&http::request(http::SEEN))?;
    let (mut answer, mut bytes) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut bytes)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => answer.extend_from_slice(bytes.get(..read).unwrap_or_default()),
        }
        if http::answer(&answer).map_err(io::Error::other)?.is_some() {
            return String::from_utf8(answer).map_err(io::Error::other);
        }
    }
}

/// A loopback address that nobody listens on at the moment.
pub fn free_address() -> Result<SocketAddr, BenchError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    listener.and_then(|listener| listener.local_addr()).map_err(BenchError::while_doing("finding a free port"))
}
