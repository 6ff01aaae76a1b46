//! How a row is played: through a real proxy to an origin that remembers each request.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use crate::common::client::Client;
use crate::common::origin::{Origin, ok};
use crate::common::proxy::TestProxy;
use crate::common::wire::Message;
use crate::row::{Row, SECOND, Setting, Verdict};

/// What the origin gets of the second request.
const SECOND_SEEN: &str = "GET /second\nhost: second";

/// A proxy with its origin.
pub(crate) struct Scene {
    proxy: TestProxy,
    origin: Origin,
}

impl Scene {
    pub(crate) fn of(setting: Setting) -> Scene {
        let origin = Origin::answering(ok("x"));
        let (http, route) = match setting {
            Setting::Default => ("", ""),
            Setting::Keep => (", path: keep, underscores: allow", ""),
            Setting::Tunnels => ("", ", upgrade: [connect]"),
        };
        // What the proxy tells upstreams about clients is no part of a row.
        let http = format!("request_id: off, forwarded: {{ for: off }}{http}");
        let url = origin.url();
        let proxy = TestProxy::with(&format!(
            "listeners: [{{ listen: 127.0.0.1:0, http: {{ {http} }}, routes: [{{ to: {url:?}{route} }}] }}]"
        ));
        Scene { proxy, origin }
    }

    /// Sends a row with the second request behind it, and compares.
    pub(crate) fn play(&self, row: &Row) -> Result<(), String> {
        self.compare(row, |stream, bytes| stream.write_all(bytes))
    }

    /// The same in writes of one byte.
    pub(crate) fn dribble(&self, row: &Row) -> Result<(), String> {
        self.compare(row, |stream, bytes| bytes.iter().try_for_each(|byte| stream.write_all(&[*byte])))
    }

    fn compare(&self, row: &Row, send: impl FnOnce(&mut TcpStream, &[u8]) -> io::Result<()>) -> Result<(), String> {
        let mut client = self.proxy.client();
        let second = if matches!(row.verdict, Verdict::Dropped) { "" } else { SECOND };
        // A proxy that refuses may close before it has been told everything.
        let _ = send(client.stream(), &[&row.bytes, second.as_bytes()].concat());
        let answers = answers(&mut client, &row.verdict).map_err(|why| format!("- {}: {why}", row.rule));
        let seen = self.seen();
        let expected = expected(&row.verdict);
        answers.map_err(|why| format!("{why}; the origin got {seen:?}"))?;
        if seen == expected {
            return Ok(());
        }
        Err(format!("- {}: the origin got\n    {seen:?}\n  and should have got\n    {expected:?}", row.rule))
    }

    /// What the origin got since it was asked last.
    fn seen(&self) -> Vec<String> {
        self.origin.take_requests().iter().map(normal).collect()
    }
}

/// What the origin gets in all.
fn expected(verdict: &Verdict) -> Vec<String> {
    match verdict {
        Verdict::Passed(seen) => seen.iter().cloned().chain([SECOND_SEEN.to_owned()]).collect(),
        Verdict::Last(seen) | Verdict::Refused(seen, _) => seen.clone(),
        Verdict::Tunnel => vec![SECOND_SEEN.to_owned()],
        Verdict::Dropped => Vec::new(),
    }
}

/// Reads what the verdict promises, and says what came in its place.
fn answers(client: &mut Client, verdict: &Verdict) -> Result<(), String> {
    let good = |count: usize, client: &mut Client| (0..count).try_for_each(|_| status(client, 200, None));
    match verdict {
        Verdict::Passed(seen) => good(seen.len() + 1, client),
        Verdict::Last(seen) => {
            good(seen.len(), client)?;
            closed(client)
        }
        Verdict::Refused(seen, refusal) => {
            good(seen.len(), client)?;
            status(client, *refusal, Some("close"))?;
            closed(client)
        }
        Verdict::Tunnel => {
            let answer = client.try_head().map_err(|error| format!("no tunnel, but {error}"))?;
            let framed = answer.field("content-length").or(answer.field("transfer-encoding"));
            if answer.status() != 200 || framed.is_some() {
                return Err(format!("no tunnel, but {answer:?}"));
            }
            good(1, client)
        }
        Verdict::Dropped => {
            client.stream().shutdown(Shutdown::Write).map_err(|error| error.to_string())?;
            closed(client)
        }
    }
}

fn status(client: &mut Client, expected: u16, connection: Option<&str>) -> Result<(), String> {
    let answer = client.try_answer().map_err(|error| format!("no answer {expected}, but {error}"))?;
    let told = connection.is_none() || answer.field("connection") == connection;
    if answer.status() == expected && told { Ok(()) } else { Err(format!("not {expected} but {answer:?}")) }
}

fn closed(client: &mut Client) -> Result<(), String> {
    let mut rest = Vec::new();
    match client.reader().read_to_end(&mut rest) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => Err(format!("not closed: {error}")),
        _ if rest.is_empty() => Ok(()),
        _ => Err(format!("more than was promised: {:?}", String::from_utf8_lossy(&rest))),
    }
}

/// A request as a row writes it.
fn normal(request: &Message) -> String {
    assert!(request.start.ends_with(" HTTP/1.1"), "{}", request.start);
    let mut fields: Vec<String> = request.fields.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    // hyper's order is that of a table; of one name it is the client's.
    fields.sort_by(|one, other| one.split(':').next().cmp(&other.split(':').next()));
    let mut text = vec![request.start.trim_end_matches(" HTTP/1.1").to_owned()];
    text.extend(fields);
    let body = String::from_utf8_lossy(&request.body);
    if !body.is_empty() || !request.trailers.is_empty() {
        text.extend([String::new(), body.into_owned()]);
    }
    text.extend(request.trailers.iter().map(|(name, value)| format!("{name}: {value}")));
    text.join("\n")
}
