//! The binary itself, for what only a process can show: signals, limits, and its end.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use crate::common::client::Client;
use crate::common::wire::Message;
use crate::common::{PATIENCE, until};

/// A running binary with one worker, killed when the test is over before it is.
pub(crate) struct Tollgate {
    child: Child,
    folder: TempDir,
    lines: Receiver<String>,
    log: Arc<Mutex<String>>,
}

impl Drop for Tollgate {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

impl Tollgate {
    /// Runs a configuration.
    pub(crate) fn run(config: &str) -> Tollgate {
        Tollgate::run_under("exec \"$0\" \"$@\"", config)
    }

    /// Runs a configuration the way a line of `sh` says, which ends in executing its arguments.
    pub(crate) fn run_under(shell: &str, config: &str) -> Tollgate {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tollgate.yaml"), config).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", shell, env!("CARGO_BIN_EXE_tollgate"), "run", "--workers", "1"]);
        command.current_dir(folder.path()).env_remove("TOLLGATE_LOG");
        command.env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let (send, lines) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let log = Arc::<Mutex<String>>::default();
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                kept.lock().unwrap().push_str(&format!("{line}\n"));
                // Nobody reads the lines after the addresses.
                let _ = send.send(line);
            }
        });
        Tollgate { child, folder, lines, log }
    }

    /// Where its configuration is.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// The address in the next line that contains `part`.
    pub(crate) fn address_after(&self, part: &str) -> SocketAddr {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).expect("a line with an address");
            if let Some((_, rest)) = line.split_once(part) {
                let end = rest.find(|char: char| !char.is_ascii_digit() && !".:".contains(char)).unwrap_or(rest.len());
                return rest[..end].parse().unwrap();
            }
        }
    }

    /// Everything it has written to standard error.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, such as `TERM`.
    pub(crate) fn signal(&self, signal: &str) {
        let told = Command::new("kill").args([&format!("-{signal}"), &self.child.id().to_string()]).status().unwrap();
        assert!(told.success());
    }

    /// What it exits with, once it does.
    pub(crate) fn code(&mut self) -> Option<i32> {
        let mut status = None;
        until("the process ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }
}

/// One GET of an admin endpoint.
pub(crate) fn ask(admin: SocketAddr, path: &str) -> Message {
    let mut client = Client::connect(admin);
    client.send(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"));
    client.answer()
}
