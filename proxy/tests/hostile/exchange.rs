//! One row played: an honest exchange, the hostile one with a neighbour beside it, an honest one again; and what is wrong
//! with what came of it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::common::wire::{self, Kind, Message};
use crate::common::{PATIENCE, until};
use crate::house::{House, filter};
use crate::raw::contains;
use crate::row::{Ask, End, Row, Seen};

/// What a row is allowed to add to the memory of the process beside what it may keep and its VM's own 4 MiB.
const SLACK: u64 = 16 + 4;

/// How long others waited.
#[derive(Clone, Copy, Default)]
pub(crate) struct Waits {
    /// The longest that a neighbour waited while the row misbehaved, and after it.
    pub(crate) neighbour: Duration,
    /// From a bad answer to the next good one.
    pub(crate) next: Duration,
    /// KiB by which the process grew.
    pub(crate) growth: u64,
}

/// Plays a row in one mode, and says what is wrong.
pub(crate) fn play(house: &House, row: &Row, mode: &str) -> Result<Waits, String> {
    let asked = house.origin.requests(&format!("/{}", row.stem())).len();
    let stage = Stage { house, row, mode, asked };
    let end = if mode == "lenient" { row.lenient } else { row.end };
    let played = if row.ask == Ask::Tcp { stage.connection(end) } else { stage.exchange(end) };
    played.map_err(|why| format!("{} ({mode}): {why}\n{}", row.name, house.said_of(&filter(row, mode))))
}

struct Stage<'a> {
    house: &'a House,
    row: &'a Row,
    mode: &'a str,
    /// Requests for the row that the origin got in the other mode.
    asked: usize,
}

impl Stage<'_> {
    fn exchange(&self, end: End) -> Result<Waits, String> {
        let honest = self.honest().map_err(|why| format!("before: {why}"))?;
        let memory = self.house.memory();

        let (raw, mut waits) = self.hostile()?;
        if end == End::Status(200) {
            // What fails now would take the next exchange with it.
            self.wait_for_failure();
        }
        let answered = Instant::now();
        let after = self.honest().map_err(|why| format!("after: {why}"))?;
        waits.next = answered.elapsed();

        self.judge(end, &honest, &raw)?;
        same("the answer after", &after.answer, &honest.answer)?;
        same("the request after", &after.request, &honest.request)?;
        self.judge_counts()?;
        waits.neighbour = waits.neighbour.max(self.neighbour()?);
        waits.growth = self.growth(memory)?;
        Ok(waits)
    }

    /// One exchange as anybody has it: 200, all of it.
    fn honest(&self) -> Result<Honest, String> {
        let before = self.requests().len();
        let raw = self.ask("")?;
        let answer = whole(&raw, self.kind())?.ok_or("no whole answer")?;
        let requests = self.requests();
        let request = requests.get(before).cloned().ok_or("the origin was not asked")?;
        if answer.status() != 200 || requests.len() != before + 1 {
            return Err(format!("{} after {} requests: {answer:?}", answer.status(), requests.len() - before));
        }
        Ok(Honest { answer, request })
    }

    /// The exchange that asks for evil, and the longest wait of the neighbour beside it.
    fn hostile(&self) -> Result<(Vec<u8>, Waits), String> {
        let mut stream = connect(self.address())?;
        write(&mut stream, &self.request("x-evil:\r\n"))?;
        let mut waits = Waits::default();
        for _ in 0..3 {
            waits.neighbour = waits.neighbour.max(self.neighbour()?);
        }
        Ok((self.read(&mut stream)?, waits))
    }

    /// An exchange of the neighbour, and how long it took.
    fn neighbour(&self) -> Result<Duration, String> {
        let began = Instant::now();
        let mut stream = connect(self.address())?;
        write(&mut stream, b"GET /neighbour HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")?;
        let answer = whole(&to_end(&mut stream)?, Kind::Answer)?.ok_or("the neighbour got no answer")?;
        let got = (answer.status(), answer.text(), answer.field("x-honest"));
        if got != (200, "neighbour", Some("yes")) {
            return Err(format!("the neighbour got {got:?}"));
        }
        Ok(began.elapsed())
    }

    fn judge(&self, end: End, honest: &Honest, raw: &[u8]) -> Result<(), String> {
        let requests = self.requests();
        // Two of them are the honest ones before and after.
        let hostile = match requests.len() {
            2 => None,
            3 => Some(&requests[1]),
            more => return Err(format!("the origin was asked {more} times")),
        };
        match (end, whole(raw, self.kind())?) {
            (End::Status(status), Some(answer)) if answer.status() == status => {
                self.judge_answer(honest, &answer, hostile)
            }
            (End::Cut, None) => Ok(()),
            (End::Status(_) | End::Cut, Some(answer)) => Err(format!("the client got {answer:?}")),
            (_, None) => Err(format!("the client got {} bytes that are no whole answer", raw.len())),
            (_, Some(_)) => Err("the table wants what no exchange comes to".to_owned()),
        }?;
        let silent = self.row.seen.is_some() || !contains(raw, b"forged");
        if silent { Ok(()) } else { Err(format!("the client got {}", String::from_utf8_lossy(raw))) }
    }

    fn judge_answer(&self, honest: &Honest, answer: &Message, hostile: Option<&Message>) -> Result<(), String> {
        if let Some(seen) = self.row.seen {
            let holds = seen(&Seen { honest: &honest.answer, answer, request: hostile });
            return if holds { Ok(()) } else { Err(short(&format!("{answer:?}\nof the request {hostile:?}"))) };
        }
        if answer.status() == 200 {
            same("the answer", answer, &honest.answer)?;
            return same("the request", hostile.ok_or("the origin was not asked")?, &honest.request);
        }
        // Our own answers and those of filters have nothing else.
        let known = ["content-type", "content-length", "date", "connection", "x-origin", "x-honest"];
        let stranger = answer.fields.iter().find(|(name, _)| !known.contains(&name.as_str()));
        stranger.map_or(Ok(()), |field| Err(format!("a field that nobody may set: {field:?}")))?;
        hostile.map_or(Ok(()), |hostile| same("the request", hostile, &honest.request))
    }

    fn judge_counts(&self) -> Result<(), String> {
        self.wait_for_failure();
        let (failures, wanted) = (self.failures(None), if self.row.dies.is_some() { 1.0 } else { 0.0 });
        if failures != wanted {
            return Err(format!("{failures} failures"));
        }
        let Some(quota) = self.row.over else { return Ok(()) };
        let over = self.count("tollgate_filter_quota_exceeded_total", &format!("quota=\"{quota}\""));
        if over > 0.0 { Ok(()) } else { Err(format!("the quota {quota} was not passed")) }
    }

    /// Returns once the failure is counted that the row comes to, if it comes to one.
    fn wait_for_failure(&self) {
        if let Some(kind) = self.row.dies {
            until(&format!("{} ({}) fails as {kind}", self.row.name, self.mode), || self.failures(Some(kind)) >= 1.0);
        }
    }

    /// Failures of the row's plugin, of one kind or all.
    fn failures(&self, kind: Option<&str>) -> f64 {
        let kind = kind.map_or_else(|| "kind=".to_owned(), |kind| format!("kind=\"{kind}\""));
        self.count("tollgate_filter_failures_total", &kind)
    }

    fn count(&self, name: &str, label: &str) -> f64 {
        self.house.metric(name, &[&format!("filter=\"{}\"", filter(self.row, self.mode)), label])
    }

    fn growth(&self, before: u64) -> Result<u64, String> {
        let growth = self.house.peak().saturating_sub(before);
        let allowed = (self.row.keeps + SLACK) << 10;
        if growth <= allowed { Ok(growth) } else { Err(format!("memory grew by {growth} KiB, over {allowed} KiB")) }
    }

    /// A connection without HTTP, twice: what the first one comes to, the second one does too.
    fn connection(&self, end: End) -> Result<Waits, String> {
        let mut waits = Waits::default();
        let memory = self.house.memory();
        for number in [1.0, 2.0] {
            waits.neighbour = waits.neighbour.max(self.ping(end)?);
            // A failure would take the next connection with it, so it is waited for.
            let (kind, wanted) = self.row.dies.map_or((None, 0.0), |kind| (Some(kind), number));
            until(&format!("{} fails {wanted} times as {kind:?}", self.row.name), || self.failures(kind) == wanted);
            if self.failures(None) != wanted {
                return Err(format!("{} failures", self.failures(None)));
            }
        }
        waits.growth = self.growth(memory)?;
        Ok(waits)
    }

    /// Opens a connection, sends on it, and closes it. Returns the longest wait of the neighbour beside it.
    fn ping(&self, end: End) -> Result<Duration, String> {
        let address = self.house.address(&filter(self.row, self.mode));
        let mut stream = match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => stream,
            // Reset so early that connecting may fail already.
            Err(error) if end == End::Cut && error.kind() == ErrorKind::ConnectionReset => return self.neighbour(),
            Err(error) => return Err(error.to_string()),
        };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // A connection that is reset may not take a byte.
        let _ = stream.write_all(b"ping").and_then(|()| stream.shutdown(Shutdown::Write));
        let neighbour = self.neighbour()?;
        let mut heard = [0; 4];
        let outcome = stream.read_exact(&mut heard).map_err(|error| error.kind());
        match (end, outcome) {
            (End::Echo, Ok(())) if &heard == b"ping" => Ok(neighbour),
            (End::Cut, Err(ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof)) => Ok(neighbour),
            _ => Err(format!("the client heard {heard:?}, {outcome:?}")),
        }
    }

    fn ask(&self, lines: &str) -> Result<Vec<u8>, String> {
        let mut stream = connect(self.address())?;
        write(&mut stream, &self.request(lines))?;
        self.read(&mut stream)
    }

    /// Everything that comes; lets the second part of a late answer go once the first one is here.
    fn read(&self, stream: &mut TcpStream) -> Result<Vec<u8>, String> {
        if self.row.ask != Ask::Late {
            return to_end(stream);
        }
        let mut first = vec![0; 1 << 16];
        let length = stream.read(&mut first).map_err(|error| format!("no first part: {error}"))?;
        first.truncate(length);
        self.house.origin.go();
        Ok([first, to_end(stream)?].concat())
    }

    fn request(&self, lines: &str) -> Vec<u8> {
        let target = self.target();
        let head = format!("{target} HTTP/1.1\r\nhost: hostile\r\nconnection: close\r\n{lines}");
        let text = match self.row.ask {
            Ask::Get | Ask::Tcp => format!("GET {head}\r\n"),
            Ask::Head => format!("HEAD {head}\r\n"),
            Ask::Post => format!("POST {head}content-length: 4\r\n\r\nbody"),
            Ask::Grpc => format!("POST {head}content-type: application/grpc\r\ncontent-length: 5\r\n\r\n\0\0\0\0\0"),
            Ask::Late => format!("GET {head}x-answer: late\r\n\r\n"),
            Ask::Trailers => format!(
                "POST {head}x-answer: trailers\r\nte: trailers\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n\
                 4\r\nbody\r\n0\r\nx-sum: 42\r\n\r\n"
            ),
        };
        text.into_bytes()
    }

    /// What the origin was asked for the row in this mode.
    fn requests(&self) -> Vec<Message> {
        self.house.origin.requests(&self.target()).split_off(self.asked)
    }

    fn target(&self) -> String {
        format!("/{}", self.row.stem())
    }

    fn address(&self) -> SocketAddr {
        self.house.address(self.mode)
    }

    fn kind(&self) -> Kind {
        if self.row.ask == Ask::Head { Kind::AnswerToHead } else { Kind::Answer }
    }
}

/// An honest exchange: what the client got, and what the origin was asked.
struct Honest {
    answer: Message,
    request: Message,
}

/// A new connection whose every wait has an end.
pub(crate) fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(|error| format!("no connection: {error}"))?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    Ok(stream)
}

fn write(stream: &mut TcpStream, bytes: &[u8]) -> Result<(), String> {
    stream.write_all(bytes).map_err(|error| format!("the proxy does not take what is sent: {error}"))
}

/// All that comes up to the end, which may be a reset.
fn to_end(stream: &mut TcpStream) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(bytes),
        Err(error) => Err(format!("no end in {PATIENCE:?} after {} bytes: {error}", bytes.len())),
    }
}

/// The one message that the bytes are, without its date; `None` where they break off.
fn whole(raw: &[u8], kind: Kind) -> Result<Option<Message>, String> {
    let mut rest = raw;
    let message = match wire::read(&mut rest, kind) {
        Ok(message) => message,
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => None,
        Err(error) => return Err(format!("{error}: {}", short(&String::from_utf8_lossy(raw)))),
    };
    match message {
        Some(_) if !rest.is_empty() => Err(format!("bytes behind the answer: {}", String::from_utf8_lossy(rest))),
        message => Ok(message),
    }
}

/// Fails unless both are the same but for what asked for evil, the time, and the marks of the proxy.
fn same(what: &str, one: &Message, other: &Message) -> Result<(), String> {
    let plain = |message: &Message| {
        let marked = |name: &str| name == "x-request-id" || name.starts_with("x-forwarded-");
        let fields = message.fields.iter().filter(|(name, _)| !["x-evil", "date"].contains(&&**name) && !marked(name));
        (message.start.clone(), fields.cloned().collect::<Vec<_>>(), message.body.clone(), message.trailers.clone())
    };
    if plain(one) == plain(other) { Ok(()) } else { Err(short(&format!("{what} is {one:?}, not {other:?}"))) }
}

fn short(text: &str) -> String {
    text.chars().take(2000).collect()
}
