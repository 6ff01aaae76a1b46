//! The binary `tollgate` as a process, what it says, and clients of it.
//!
//! Every wait has a bound; a process is ended by its own handle.

use std::cell::Cell;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than any start or answer may take, even on a busy machine and with a proxy that is not optimised.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns when `holds` does; `what` says in a failure what was waited for.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "in {PATIENCE:?} it did not come true that {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A running proxy, killed when the test is done with it.
pub(crate) struct Tollgate {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    front: String,
    admin: String,
    asked: Cell<u32>,
}

impl Drop for Tollgate {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Tollgate {
    /// Starts the binary that `make examples` built, and returns once it serves.
    pub(crate) fn start(config: &Path) -> Tollgate {
        let binary = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/debug/tollgate");
        assert!(binary.exists(), "{} is missing: `make examples` builds it", binary.display());
        let mut command = Command::new(binary);
        command.args(["run", "--config"]).arg(config).env_remove("TOLLGATE_LOG");
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (lines, kept) = (BufReader::new(child.stderr.take().unwrap()).lines(), Arc::clone(&log));
        thread::spawn(move || lines.map_while(Result::ok).for_each(|line| kept.lock().unwrap().push(line)));
        let mut proxy = Tollgate { child, log, front: String::new(), admin: String::new(), asked: Cell::new(0) };
        until("the proxy says where it listens", || {
            let ended = proxy.child.try_wait().unwrap();
            assert!(ended.is_none(), "the proxy ended: {ended:?}\n{}", proxy.log());
            proxy.said("admin on http://").is_some()
        });
        proxy.front = proxy.said("listening on http://").unwrap();
        proxy.admin = proxy.said("admin on http://").unwrap();
        proxy
    }

    /// The word that follows these in the log.
    fn said(&self, words: &str) -> Option<String> {
        let log = self.log.lock().unwrap();
        let rest = log.iter().find_map(|line| line.strip_prefix(words))?;
        rest.split(' ').next().map(str::to_owned)
    }

    /// Everything that was logged.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// How many lines of the log have this text.
    pub(crate) fn lines_with(&self, text: &str) -> usize {
        self.log.lock().unwrap().iter().filter(|line| line.contains(text)).count()
    }

    /// One GET through the filter, with further header lines, each with its line end.
    pub(crate) fn get(&self, path: &str, lines: &str) -> Answer {
        self.asked.set(self.asked.get() + 1);
        ask(&self.front, path, lines)
    }

    /// How many requests were sent through the filter.
    pub(crate) fn asked(&self) -> u32 {
        self.asked.get()
    }

    /// The sum of the samples of that name.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        self.samples(name).iter().map(|(_, value)| value).sum()
    }

    /// Waits until the metric has that value.
    pub(crate) fn counts(&self, name: &str, value: f64) {
        let mut now = f64::NAN;
        until(&format!("{name} is {value}"), || {
            now = self.metric(name);
            now >= value
        });
        assert_eq!(now, value, "{name}");
    }

    /// A label of the first sample of that name.
    pub(crate) fn label(&self, name: &str, label: &str) -> String {
        let (series, _) = self.samples(name).swap_remove(0);
        let (_, rest) = series.split_once(&format!("{label}=\"")).expect("the label");
        rest.split('"').next().unwrap().to_owned()
    }

    /// Each series of that name, labels included, with its value.
    fn samples(&self, name: &str) -> Vec<(String, f64)> {
        let page = ask(&self.admin, "/metrics", "").body;
        let samples = page.lines().filter_map(|line| line.rsplit_once(' '));
        let named = samples.filter(|(series, _)| series.split('{').next() == Some(name));
        named.map(|(series, value)| (series.to_owned(), value.parse().unwrap())).collect()
    }
}

/// One answer, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    fields: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    /// The value of a field that came once.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} came twice: {self:?}");
        value
    }
}

/// One exchange on a connection of its own. HTTP/1.0 has no chunks, so the body is what follows the head.
fn ask(address: &str, path: &str, lines: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.0\r\nhost: localhost\r\n{lines}\r\n").as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no whole head: {text:?}"));
    let (first, fields) = head.split_once("\r\n").unwrap_or((head, ""));
    let fields = fields.lines().filter_map(|line| line.split_once(": "));
    Answer {
        status: first.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status"),
        fields: fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        body: body.to_owned(),
    }
}
