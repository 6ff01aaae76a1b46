//! One line per exchange, to standard output or a file.
//!
//! Writing never waits for the disk: lines go into a bounded buffer that one thread empties; what does not fit is
//! dropped and counted. Files are opened for appending and are not rotated here, so `copytruncate` works on them.

mod format;
mod pipe;

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use smallvec::SmallVec;
use tollgate_config::{LogFormat, LogTarget};

use self::pipe::Pipe;
use super::metrics::AccessLogSeries;

/// Bytes that may wait for the disk.
const BUFFER_BYTES: usize = 4 << 20;

/// How long [`AccessLog::close`] waits for the last lines.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The access log, shared by the workers.
#[derive(Debug)]
pub struct AccessLog {
    format: LogFormat,
    /// Names that filters may set with `set_property`, in the order of the line.
    properties: Vec<String>,
    pipe: Pipe,
}

/// The file of the access log could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("access log \"{}\" cannot be opened for appending: {source}", path.display())]
pub struct OpenError {
    /// The file.
    pub path: PathBuf,
    /// Why not.
    pub source: io::Error,
}

/// What is known of an exchange when it has ended.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// When the request's head was read.
    pub time: SystemTime,
    /// The method.
    pub method: &'a str,
    /// Path and query as the client sent them.
    pub path: &'a str,
    /// Host and port the client asked for; empty when it named none.
    pub authority: &'a str,
    /// "HTTP/1.1" or "HTTP/2".
    pub protocol: &'a str,
    /// Status the client got; `None` when no answer left.
    pub status: Option<u16>,
    /// Body bytes from the client.
    pub request_bytes: u64,
    /// Body bytes to the client.
    pub response_bytes: u64,
    /// From `time` to the last byte.
    pub duration: Duration,
    /// Time of that spent in filters.
    pub filters: Duration,
    /// Name of the listener.
    pub listener: &'a str,
    /// Name of the route; `None` when none matched.
    pub route: Option<&'a str>,
    /// Name of the cluster; `None` when the exchange had none.
    pub cluster: Option<&'a str>,
    /// The endpoint that answered, or the last one tried.
    pub upstream: Option<SocketAddr>,
    /// The client's end of its connection.
    pub client: SocketAddr,
    /// The client's address as a trusted proxy in front told it.
    pub client_address: Option<IpAddr>,
    /// The header `user-agent`.
    pub user_agent: Option<&'a [u8]>,
    /// The header `x-request-id`.
    pub request_id: Option<&'a [u8]>,
    /// Why the proxy answered itself or ended the exchange, as "upstream_connect" or "filter_trap:auth".
    pub reason: Option<&'a str>,
    /// Names and values of [`AccessLog::pick`]; what is past 256 bytes of a value is left out.
    pub properties: &'a [(&'a str, &'a [u8])],
}

impl AccessLog {
    /// Opens the target and starts the thread that writes to it.
    pub fn open(settings: &tollgate_config::AccessLog, series: Arc<AccessLogSeries>) -> Result<AccessLog, OpenError> {
        let properties = settings.properties.clone();
        match &settings.to {
            LogTarget::Stdout => Ok(AccessLog::to(io::stdout(), settings.format, properties, series)),
            LogTarget::File(path) => {
                let unopened = |source| OpenError { path: path.clone(), source };
                let file = File::options().create(true).append(true).open(path).map_err(unopened)?;
                Ok(AccessLog::to(file, settings.format, properties, series))
            }
        }
    }

    /// An access log to any writer, which one thread of its own owns from here on.
    pub fn to(
        target: impl Write + Send + 'static,
        format: LogFormat,
        properties: Vec<String>,
        series: Arc<AccessLogSeries>,
    ) -> AccessLog {
        AccessLog { format, properties, pipe: Pipe::new(target, BUFFER_BYTES, series) }
    }

    /// What a line shows of what filters set, of which `find` knows each by its raw path: in the order of the names, absent
    /// ones left out.
    pub fn pick<'a>(&'a self, find: impl Fn(&[u8]) -> Option<&'a [u8]>) -> SmallVec<[(&'a str, &'a [u8]); 4]> {
        let found = |name: &'a String| find(name.as_bytes()).map(|value| (name.as_str(), value));
        self.properties.iter().filter_map(found).collect()
    }

    /// Takes one line. Never waits for the target; a line that does not fit is dropped and counted.
    pub fn write(&self, entry: &Entry<'_>) {
        thread_local! {
            /// Reused, so that a line costs no allocation.
            static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        LINE.with_borrow_mut(|line| {
            line.clear();
            match self.format {
                LogFormat::Json => format::json(line, entry),
                LogFormat::Text => format::text(line, entry),
            }
            line.push(b'\n');
            self.pipe.push(line);
        });
    }

    /// Writes what waits, for at most one second, and takes no line from then on.
    pub fn close(&self) {
        self.pipe.close(CLOSE_TIMEOUT);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn entry() -> Entry<'static> {
        Entry {
            time: SystemTime::UNIX_EPOCH,
            method: "GET",
            path: "/",
            authority: "a",
            protocol: "HTTP/1.1",
            status: Some(200),
            request_bytes: 0,
            response_bytes: 2,
            duration: Duration::from_millis(3),
            filters: Duration::ZERO,
            listener: "edge",
            route: None,
            cluster: None,
            upstream: None,
            client: ([127, 0, 0, 1], 5000).into(),
            client_address: None,
            user_agent: None,
            request_id: None,
            reason: None,
            properties: &[],
        }
    }

    #[test]
    fn a_line_shows_the_named_properties_that_were_set_in_their_order() {
        let names = ["user", "absent", "plan"].map(str::to_owned);
        let log = AccessLog::to(io::sink(), LogFormat::Json, names.into(), Arc::default());
        let set = [("other", "x"), ("plan", "gold"), ("user", "mia"), ("user\0id", "7")];
        let set = set.map(|(path, value)| (path.as_bytes().to_vec(), value.as_bytes().to_vec()));

        let find = |name: &[u8]| set.iter().find(|(path, _)| path == name).map(|(_, value)| value.as_slice());
        let picked = log.pick(find);

        assert_eq!(picked.as_slice(), [("user", &b"mia"[..]), ("plan", b"gold")]);
        assert!(log.pick(|_| None).is_empty());
    }

    #[test]
    fn lines_of_all_workers_reach_the_file_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let file = File::options().create(true).append(true).open(&path).unwrap();
        let log = AccessLog::to(file, LogFormat::Json, Vec::new(), Arc::default());

        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..100).for_each(|_| log.write(&entry())));
            }
        });
        log.close();

        let text = fs::read_to_string(path).unwrap();
        assert_eq!(text.lines().count(), 400);
        for line in text.lines() {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
    }

    #[test]
    fn a_line_after_closing_is_dropped_and_counted() {
        let series = Arc::new(AccessLogSeries::default());
        let log = AccessLog::to(io::sink(), LogFormat::Text, Vec::new(), Arc::clone(&series));
        log.close();

        log.write(&entry());

        assert_eq!(series.dropped.get(), 1);
    }
}
