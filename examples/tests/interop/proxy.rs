//! The binary `tollgate` as a process, and where it listens.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::peer::{Server, target, until};

/// A running proxy, told to end when the test is done with it.
pub(crate) struct Tollgate {
    server: Server,
    log: Arc<Mutex<Vec<String>>>,
}

impl Drop for Tollgate {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.log());
        }
        // It drains at a signal, and no test waits for that.
        let _ = self.server.child.kill();
    }
}

impl Tollgate {
    /// Starts the binary that `make interop` built, and returns once it serves.
    pub(crate) fn start(config: &Path) -> Tollgate {
        let binary = target().join("debug/tollgate");
        assert!(binary.exists(), "{} is missing: `make interop` builds it", binary.display());
        let mut command = Command::new(binary);
        command.args(["run", "--config"]).arg(config).env_remove("TOLLGATE_LOG");
        command.env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut server = Server::from(child);
        let log = Arc::<Mutex<Vec<String>>>::default();
        let (lines, kept) = (BufReader::new(server.child.stderr.take().unwrap()).lines(), Arc::clone(&log));
        thread::spawn(move || lines.map_while(Result::ok).for_each(|line| kept.lock().unwrap().push(line)));
        let mut proxy = Tollgate { server, log };
        until("the proxy says where it listens", || {
            let ended = proxy.server.child.try_wait().unwrap();
            assert!(ended.is_none(), "the proxy ended: {ended:?}\n{}", proxy.log());
            proxy.said("plain").is_some() && proxy.said("tls").is_some()
        });
        proxy
    }

    /// The URL in the line of the log about that listener.
    fn said(&self, listener: &str) -> Option<String> {
        let log = self.log.lock().unwrap();
        let ends = format!(" (listener {listener})");
        log.iter().find_map(|line| line.strip_prefix("listening on ")?.strip_suffix(&ends)).map(str::to_owned)
    }

    /// Everything that was logged.
    fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// The URL of the listener without TLS, without a slash at its end.
    pub(crate) fn plain(&self) -> String {
        self.said("plain").unwrap()
    }

    /// Where the listener with TLS is.
    pub(crate) fn tls(&self) -> SocketAddr {
        self.said("tls").unwrap().strip_prefix("https://").unwrap().parse().unwrap()
    }

    /// The URL of the listener with TLS by that name; clients have to be told where the name is.
    pub(crate) fn tls_as(&self, name: &str) -> String {
        format!("https://{name}:{}", self.tls().port())
    }
}
