//! The built binary as a process of its own: the hostile filters of some rows on one worker, an honest neighbour beside
//! them, and the origins behind it. What it is asked is not decided here.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::common::client::Client;
use crate::common::h2_origin::{H2Origin, seen, whole};
use crate::common::origin::Origin;
use crate::common::tcp;
use crate::common::until;
use crate::modules;
use crate::raw::RawOrigin;
use crate::row::{Ask, Row};

/// How a plugin's mistakes are answered: `guest_errors`, and the configuration by which a module knows it.
pub(crate) const MODES: [&str; 2] = ["strict", "lenient"];

/// See the module.
pub(crate) struct House {
    child: Child,
    /// What the listeners are called and where they are; the admin endpoints are called `admin`.
    addresses: Vec<(String, SocketAddr)>,
    errors: Printed,
    output: Printed,
    /// Behind the hostile filters.
    pub(crate) origin: RawOrigin,
    /// What hostile filters may call.
    pub(crate) idp: RawOrigin,
    /// What was said to the cluster that speaks gRPC.
    pub(crate) grpc: Arc<Mutex<Vec<String>>>,
    _others: (H2Origin, Origin, Origin),
    _folder: TempDir,
}

impl House {
    /// Starts one for these rows, and returns when it serves.
    pub(crate) fn of(rows: &[&Row]) -> House {
        let folder = tempfile::tempdir().unwrap();
        let (origin, idp) = (RawOrigin::new(), RawOrigin::new());
        let (grpc, heard) = grpc();
        let (neighbour, echo) = (Origin::saying("neighbour"), tcp::echo());
        let clusters = format!(
            "clusters: {{ origin: {{ hosts: [{:?}] }}, idp: {{ hosts: [{:?}] }}, other: {{ hosts: [{:?}] }}, \
             grpc: {{ hosts: [{:?}], protocol: h2 }}, neighbour: {{ hosts: [{:?}] }}, echo-tcp: {{ hosts: [{:?}] }} }}\n",
            origin.address().to_string(),
            idp.address().to_string(),
            idp.address().to_string(),
            grpc.address().to_string(),
            neighbour.address().to_string(),
            echo.address().to_string(),
        );
        let file = configuration(folder.path(), &clusters, rows);
        let mut child = tollgate(&["run", "--config"], &file).spawn().unwrap();
        let errors = Printed::of(child.stderr.take().unwrap());
        let output = Printed::of(child.stdout.take().unwrap());
        let mut house = House {
            child,
            addresses: Vec::new(),
            errors,
            output,
            origin,
            idp,
            grpc: heard,
            _others: (grpc, neighbour, echo),
            _folder: folder,
        };
        house.wait_until_it_serves();
        house
    }

    fn wait_until_it_serves(&mut self) {
        until("the proxy serves", || {
            let said = self.errors.lines();
            assert!(self.child.try_wait().unwrap().is_none(), "it does not start:\n{}", said.join("\n"));
            said.iter().any(|line| line.starts_with("admin on"))
        });
        self.addresses = self.errors.lines().iter().filter_map(|line| address(line)).collect();
    }

    /// Where the listener of that name is.
    pub(crate) fn address(&self, name: &str) -> SocketAddr {
        self.addresses.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("no listener {name}")).1
    }

    /// The page of `/metrics`.
    pub(crate) fn metrics(&self) -> String {
        let mut client = Client::connect(self.address("admin"));
        client.send("GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        client.answer().text().to_owned()
    }

    /// The sum of the samples of that name which have all these labels.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let page = self.metrics();
        let samples = page.lines().filter_map(|line| line.rsplit_once(' '));
        let named = samples.filter(|(series, _)| series.split('{').next() == Some(name));
        let labelled = named.filter(|(series, _)| labels.iter().all(|label| series.contains(label)));
        labelled.map(|(_, value)| value.parse::<f64>().unwrap()).sum()
    }

    /// KiB of memory that it has, and has the count of the most begin anew.
    pub(crate) fn memory(&self) -> u64 {
        // Where the kernel does not let us, the most stays what it was, which can only fail a row that is contained.
        let _ = std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5");
        status(self.child.id(), "VmRSS")
    }

    /// The most KiB that it had since.
    pub(crate) fn peak(&self) -> u64 {
        status(self.child.id(), "VmHWM")
    }

    /// The beginning of what it printed of that filter.
    pub(crate) fn said_of(&self, filter: &str) -> String {
        let lines = self.errors.lines();
        let of = lines.iter().filter(|line| line.contains(filter)).take(5);
        of.map(|line| line.chars().take(400).collect::<String>() + "\n").collect()
    }

    /// Tells it to end. Returns how it ended, after how long, and all it printed: errors and output.
    pub(crate) fn end(mut self) -> (ExitStatus, Duration, Vec<String>, Vec<String>) {
        let began = Instant::now();
        let told = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(told.success());
        let mut ended = None;
        until("SIGTERM ends the proxy", || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        let took = began.elapsed();
        (ended.unwrap(), took, self.errors.until_the_end(), self.output.until_the_end())
    }
}

impl Drop for House {
    fn drop(&mut self) {
        // Nothing to do for one that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command, with both outputs to be read.
pub(crate) fn tollgate(arguments: &[&str], file: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(arguments).arg(file).env_remove("TOLLGATE_LOG");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A line of `/proc/PID/status`, in KiB; 0 once the process has gone.
pub(crate) fn status(process: u32, key: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Lines as they come; the pipe is always read, so that the process is never held by it.
struct Printed {
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Printed {
    fn of(pipe: impl Read + Send + 'static) -> Printed {
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&lines);
        let reader = thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                kept.lock().unwrap().push(String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned());
                line.clear();
            }
        });
        Printed { lines, reader: Some(reader) }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    fn until_the_end(&mut self) -> Vec<String> {
        let reader = self.reader.take().unwrap();
        reader.join().unwrap();
        self.lines()
    }
}

/// Name and address of a line that says where it listens.
fn address(line: &str) -> Option<(String, SocketAddr)> {
    if let Some(admin) = line.strip_prefix("admin on http://") {
        return Some(("admin".to_owned(), admin.parse().ok()?));
    }
    let (address, name) = line.split_once("://")?.1.split_once(" (listener ")?;
    Some((name.trim_end_matches(')').to_owned(), address.parse().ok()?))
}

/// An origin for gRPC callouts, and what it was told. It answers one empty message.
fn grpc() -> (H2Origin, Arc<Mutex<Vec<String>>>) {
    let heard = Arc::<Mutex<Vec<String>>>::default();
    let known = Arc::clone(&heard);
    let origin = H2Origin::serving(100, move |request| {
        let known = Arc::clone(&known);
        async move {
            let request = seen(request).await;
            known.lock().unwrap().push(format!("{} {:?} {:?}", request.uri, request.headers, request.trailers));
            let mut answer = http::Response::new(whole(&["\0\0\0\0\0"], &[("grpc-status", "0")]));
            answer.headers_mut().insert("content-type", http::HeaderValue::from_static("application/grpc"));
            answer
        }
    });
    (origin, heard)
}

/// Writes modules and configuration of these rows into `folder`, and returns the configuration's file.
pub(crate) fn configuration(folder: &Path, clusters: &str, rows: &[&Row]) -> PathBuf {
    let mut filters = "filters:\n".to_owned();
    let path = save(folder, "honest", "honest");
    writeln!(filters, "  honest: {{ wasm: {path:?}, budget: {{ time: 5s }} }}").unwrap();
    let mut listeners = "listeners:\n".to_owned();
    for row in rows {
        save(folder, row.name, row.stem());
    }
    for mode in MODES {
        let config = if mode == "strict" { "config: strict, " } else { "" };
        for row in rows {
            let (path, name) = (folder.join(format!("{}.wasm", row.stem())), filter(row, mode));
            let Row { time, settings, .. } = row;
            let budget = format!("budget: {{ time: {time}, start: 300ms, memory: 4MiB }}");
            writeln!(filters, "  {name}: {{ wasm: {path:?}, {config}guest_errors: {mode}, {budget}, {settings} }}")
                .unwrap();
        }
        listeners.push_str(&listener(mode, rows));
    }
    let text = format!(
        "workers: 1\nadmin: {{ listen: \"127.0.0.1:0\" }}\nlimits: {{ drain_timeout: 3s }}\n\
         telemetry: {{ access_log: {{ format: json, to: stdout }} }}\n{filters}{clusters}{listeners}"
    );
    let file = folder.join("tollgate.yaml");
    std::fs::write(&file, text).unwrap();
    file
}

/// One listener with a route for each row, and one listener for each row without HTTP.
fn listener(mode: &str, rows: &[&Row]) -> String {
    let mut text = format!("- name: {mode}\n  listen: \"127.0.0.1:0\"\n  routes:\n");
    writeln!(text, "  - {{ match: {{ exact: /neighbour }}, to: neighbour, filters: [honest] }}").unwrap();
    let (tcp, http): (Vec<&&Row>, Vec<&&Row>) = rows.iter().partition(|row| row.ask == Ask::Tcp);
    for row in http {
        let name = row.stem();
        writeln!(text, "  - {{ match: {{ exact: /{name} }}, to: origin, filters: [{}] }}", chain(row, mode)).unwrap();
    }
    for row in tcp {
        let (name, chain) = (filter(row, mode), chain(row, mode));
        writeln!(text, "- {{ name: {name}, listen: \"127.0.0.1:0\", tcp: {{ to: echo-tcp, filters: [{chain}] }} }}")
            .unwrap();
    }
    text
}

fn chain(row: &Row, mode: &str) -> String {
    let own = filter(row, mode);
    row.chain.iter().map(|name| if *name == "self" { own.as_str() } else { name }).collect::<Vec<_>>().join(", ")
}

/// What a row's plugin is called.
pub(crate) fn filter(row: &Row, mode: &str) -> String {
    format!("{}-{mode}", row.stem())
}

fn save(folder: &Path, name: &str, stem: &str) -> PathBuf {
    let path = folder.join(format!("{stem}.wasm"));
    std::fs::write(&path, modules::bytes(name)).unwrap();
    path
}
