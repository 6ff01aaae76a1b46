//! A fault, and how it is played: an origin does it once, on its first connection, and answers well ever after.

use std::io;
use std::sync::Arc;

use crate::common::access::AccessLog;
use crate::common::client::Client;
use crate::common::origin::{Origin, Peer, ok};
use crate::common::proxy::TestProxy;
use crate::common::until;

/// What an origin does with its first connection, which is closed behind it.
type Script = Arc<dyn Fn(&mut Peer) -> io::Result<()> + Send + Sync>;

/// What the client is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// This status with this body, whole.
    Whole(u16, &'static str),
    /// The proxy's own answer.
    Own(u16),
    /// The beginning of an answer, or not even that, and a cut that nobody takes for its end.
    Cut,
}

/// What the client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Get,
    Head,
    /// With more of a body than sockets hold.
    Upload,
}

/// See the module.
#[derive(Clone)]
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    ask: Ask,
    script: Script,
    outcome: Outcome,
    /// What the access log says, `""` for nothing.
    reason: &'static str,
    /// True when the proxy is to close the connection before the next request.
    closes: bool,
}

/// The origin reads a request, says these bytes and waits.
pub(crate) fn saying(name: &'static str, bytes: impl Into<Vec<u8>>, outcome: Outcome, reason: &'static str) -> Fault {
    let bytes = bytes.into();
    doing(name, outcome, reason, move |peer| {
        peer.request()?;
        peer.send(&bytes)?;
        peer.wait_for_end()
    })
}

/// The origin reads a request, says these bytes and closes.
pub(crate) fn closing(name: &'static str, bytes: impl Into<Vec<u8>>, outcome: Outcome, reason: &'static str) -> Fault {
    let bytes = bytes.into();
    doing(name, outcome, reason, move |peer| {
        peer.request()?;
        peer.send(&bytes)
    })
}

/// The origin reads a request, says these bytes and resets the connection.
pub(crate) fn resetting(
    name: &'static str,
    bytes: impl Into<Vec<u8>>,
    outcome: Outcome,
    reason: &'static str,
) -> Fault {
    let bytes = bytes.into();
    doing(name, outcome, reason, move |peer| {
        peer.request()?;
        peer.send(&bytes)?;
        peer.reset()
    })
}

/// The origin does as it likes.
pub(crate) fn doing(
    name: &'static str,
    outcome: Outcome,
    reason: &'static str,
    script: impl Fn(&mut Peer) -> io::Result<()> + Send + Sync + 'static,
) -> Fault {
    Fault { name, ask: Ask::Get, script: Arc::new(script), outcome, reason, closes: false }
}

impl Fault {
    /// The same when something else is asked for.
    pub(crate) fn asked(self, ask: Ask) -> Fault {
        Fault { ask, ..self }
    }

    /// The same, and the proxy closes the connection by itself.
    pub(crate) fn and_closes(self) -> Fault {
        Fault { closes: true, ..self }
    }
}

/// All faults behind one proxy, each with a route and an origin of its own.
pub(crate) struct Scene {
    faults: Vec<Fault>,
    origins: Vec<Origin>,
    proxy: TestProxy,
    log: AccessLog,
}

impl Scene {
    pub(crate) fn of(faults: Vec<Fault>) -> Scene {
        let origins: Vec<_> = faults.iter().map(origin).collect();
        let log = AccessLog::new();
        let routes: String =
            (0..faults.len()).map(|number| routes(number, &faults[number], &origins[number])).collect();
        // No answer that moves on takes as long, on however busy a machine.
        let limits = "limits: { stream_idle_timeout: 3s }";
        let proxy = TestProxy::with(&format!("{limits}\n{}routes:\n{routes}", log.yaml()));
        Scene { faults, origins, proxy, log }
    }

    /// Has every fault happen, then asks again; says which went wrong.
    pub(crate) fn play(&self) -> Vec<String> {
        let numbers = 0..self.faults.len();
        let mut wrong: Vec<String> = numbers.filter_map(|number| self.one(number).err()).collect();
        // A fault that was dealt with wrongly may not have been logged twice.
        if wrong.is_empty() {
            wrong = self.wrong_reasons();
        }
        wrong
    }

    fn one(&self, number: usize) -> Result<(), String> {
        let fault = &self.faults[number];
        let name = fault.name;
        let shown = shown(&mut self.proxy.client(), number, fault.ask);
        if shown != Shown::from(fault.outcome) {
            return Err(format!("- {name}: the client was shown {shown:?} and not {:?}", fault.outcome));
        }
        if fault.closes {
            let cluster = format!("cluster=\"{}\"", self.origins[number].address());
            let open = || self.proxy.metric("tollgate_upstream_connections_active", &[&cluster]);
            until(&format!("the proxy closes the connection: {name}"), || open() == 0.0);
        }
        let next = self.proxy.send(format!("GET /{number}/next HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"));
        match (next.status(), next.text()) {
            (200, "next") => Ok(()),
            (status, text) => Err(format!("- {name}: the next request is answered {status} {text:?}")),
        }
    }

    fn wrong_reasons(&self) -> Vec<String> {
        let lines = self.log.lines(2 * self.faults.len());
        let wrong = self.faults.iter().enumerate().filter_map(|(number, fault)| {
            let path = format!("/{number}");
            let first = lines.iter().find(|line| line["path"] == path)?;
            let reason = first["reason"].as_str().unwrap_or_default();
            (reason != fault.reason)
                .then(|| format!("- {}: logged as {reason:?} and not {:?}", fault.name, fault.reason))
        });
        wrong.collect()
    }
}

/// The route on which a fault happens, and the one of the request behind it. Only where the end of the wait is what is looked
/// at is the wait short, so that a busy machine ends no other.
fn routes(number: usize, fault: &Fault, origin: &Origin) -> String {
    let timeout = if fault.reason == TIMEOUT { "700ms" } else { "1m" };
    let url = origin.url();
    format!(
        "- {{ match: {{ exact: /{number} }}, to: {url:?}, timeout: {timeout} }}\n\
         - {{ match: {{ exact: /{number}/next }}, to: {url:?} }}\n"
    )
}

fn origin(fault: &Fault) -> Origin {
    let script = Arc::clone(&fault.script);
    Origin::scripted(move |peer| {
        if peer.number == 0 {
            return script(peer);
        }
        while peer.request()?.is_some() {
            peer.send(ok("next"))?;
        }
        Ok(())
    })
}

/// What the client made of it.
#[derive(Debug, PartialEq, Eq)]
enum Shown {
    Whole(u16, String),
    Own(u16),
    Cut,
}

impl From<Outcome> for Shown {
    fn from(outcome: Outcome) -> Shown {
        match outcome {
            Outcome::Whole(status, body) => Shown::Whole(status, body.to_owned()),
            Outcome::Own(status) => Shown::Own(status),
            Outcome::Cut => Shown::Cut,
        }
    }
}

fn shown(client: &mut Client, number: usize, ask: Ask) -> Shown {
    let head = |method: &str, lines: &str| format!("{method} /{number} HTTP/1.1\r\nhost: a\r\n{lines}\r\n");
    match ask {
        Ask::Get => client.send(head("GET", "")),
        Ask::Head => {
            client.send(head("HEAD", ""));
            return Shown::Whole(client.answer_to_head().status(), String::new());
        }
        Ask::Upload => {
            client.send(head("POST", &format!("content-length: {UPLOAD}\r\n")));
            // The proxy may answer and hang up before it has all of it.
            let _ = client.try_send(vec![b'x'; UPLOAD]);
        }
    }
    let Ok(mut answer) = client.try_head() else { return Shown::Cut };
    if client.body(&mut answer).is_err() {
        return Shown::Cut;
    }
    let text = answer.text().to_owned();
    if text.starts_with("tollgate:") { Shown::Own(answer.status()) } else { Shown::Whole(answer.status(), text) }
}

/// What the access log says of an answer that was waited for in vain.
pub(crate) const TIMEOUT: &str = "upstream_timeout";

/// More than the sockets on the way hold.
const UPLOAD: usize = 16 << 20;
