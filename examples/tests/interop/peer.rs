//! Peers as processes: commands that end by themselves, and servers that are ended by their own number.
//!
//! Every wait has a bound. What a peer is and where it comes from, `examples/interop/fetch.sh` knows.

use std::fs::File;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than any peer may take, even on a busy machine and with a proxy that is not optimised.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Returns when `holds` does; `what` says in a failure what was waited for.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "in {PATIENCE:?} it did not come true that {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The folder that everything is built in.
pub(crate) fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).canonicalize().unwrap().join("../target")
}

/// The command of a peer.
fn command(name: &str) -> Command {
    let path = target().join("peers/bin").join(name);
    assert!(path.exists(), "{} is missing: `make interop` fetches it", path.display());
    Command::new(path)
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    /// Zero is success.
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// The same, of a command that succeeded.
    #[track_caller]
    pub(crate) fn good(self) -> Said {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// The rest of the first line, of either stream, that has these words.
    pub(crate) fn after(&self, words: &str) -> Option<&str> {
        let lines = self.out.lines().chain(self.err.lines());
        lines.filter_map(|line| line.split_once(words)).map(|(_, rest)| rest).next()
    }
}

/// Runs a peer to its end.
pub(crate) fn run(name: &str, arguments: &[&str]) -> Said {
    run_with(name, arguments, "")
}

/// Runs a peer to its end, with this to read.
pub(crate) fn run_with(name: &str, arguments: &[&str], input: &str) -> Said {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let mut command = command(name);
    command.args(arguments).stdin(Stdio::piped());
    command.stdout(File::create(file("out")).unwrap()).stderr(File::create(file("err")).unwrap());
    let mut server = Server::from(command.spawn().unwrap());
    // A peer that ended without reading it says why itself.
    let _ = server.child.stdin.take().unwrap().write_all(input.as_bytes());
    let mut status = None;
    until(&format!("{name} {arguments:?} ends"), || {
        status = server.child.try_wait().unwrap();
        status.is_some()
    });
    let text = |name: &str| String::from_utf8_lossy(&std::fs::read(file(name)).unwrap()).into_owned();
    Said { code: status.and_then(|status| status.code()).unwrap_or(-1), out: text("out"), err: text("err") }
}

/// A running process, told to end when the test is done with it.
pub(crate) struct Server {
    pub(crate) child: Child,
    /// What it said, shown where the test fails.
    log: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking() && !self.log.as_os_str().is_empty() {
            eprintln!("{}:\n{}", self.log.display(), std::fs::read_to_string(&self.log).unwrap_or_default());
        }
        // First the word at which nginx and haproxy end their workers too.
        self.signal("TERM");
        let deadline = Instant::now() + Duration::from_secs(10);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl From<Child> for Server {
    fn from(child: Child) -> Server {
        Server { child, log: PathBuf::new() }
    }
}

impl Server {
    /// Starts a peer whose words go to that file, and returns once it takes connections at the addresses.
    pub(crate) fn start(name: &str, arguments: &[&str], log: &Path, addresses: &[SocketAddr]) -> Server {
        let mut command = command(name);
        let (out, err) = (File::create(log).unwrap(), File::options().append(true).open(log).unwrap());
        let child = command.args(arguments).stdin(Stdio::null()).stdout(out).stderr(err).spawn().unwrap();
        let mut server = Server { child, log: log.to_owned() };
        until(&format!("{name} takes connections"), || {
            let ended = server.child.try_wait().unwrap();
            assert!(ended.is_none(), "{name} ended: {ended:?}\n{}", std::fs::read_to_string(log).unwrap());
            addresses.iter().all(|address| TcpStream::connect(address).is_ok())
        });
        server
    }

    /// Sends it a signal, such as `HUP`.
    pub(crate) fn signal(&mut self, signal: &str) {
        // Its number is its own as long as nobody has waited for its end.
        if let Ok(None) = self.child.try_wait() {
            let _ = Command::new("kill").args([&format!("-{signal}"), &self.child.id().to_string()]).status();
        }
    }
}

/// A loopback address that no other server of this test, nor of another run, has: peers cannot say which port they got,
/// and clients of this machine take theirs at 127.0.0.1.
pub(crate) fn own_host() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, high | 128, low, NEXT.fetch_add(1, Ordering::Relaxed))
}
