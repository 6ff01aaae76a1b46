//! One row of the table, and how it is played.

use std::sync::{Arc, Mutex};

use crate::common::frames::Frame;
use crate::common::h2_raw::{
    ACK, DATA, END_STREAM, GOAWAY, HEADERS, LEFT, PING, PREFACE, PROTOCOL_ERROR, RST_STREAM, RawH2, SETTINGS, asks,
    goaway_code, ping, settings, status,
};
use crate::common::origin::{Origin, ok};
use crate::common::proxy::TestProxy;
use crate::common::wire::{self, Kind, Message};

/// What the origin answers.
pub(crate) const BODY: &str = "0123456789";

/// What a sequence comes to. Unless it says more, nothing of it reaches the origin: not even a head. Only what a row asks
/// of [`LEFT`] may, whose head is good; a body that is not never makes it whole.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// GOAWAY with this code, and the end.
    Connection(u32),
    /// GOAWAY with PROTOCOL_ERROR, and the end. The rule names this code, which h2 does not tell; RFC 9113 §5.4.1 leaves
    /// whoever ends a connection free to.
    Ends(u32),
    /// The end, without GOAWAY: nobody spoke HTTP/2.
    Closed,
    /// This stream is reset with this code, and the connection goes on.
    Stream(u32, u32),
    /// Stream 1 gets this status of the proxy's own, and the connection goes on.
    Status(u16),
    /// Stream 1 gets the origin's answer, to a request of this method and target with these fields, and this body.
    Sees(&'static str, &'static [(&'static str, &'static str)], &'static str),
    /// The body of the origin's answer comes in pieces of these lengths, and no more comes.
    Pieces(&'static [usize]),
    /// This frame comes, and the connection goes on.
    Says(u8, u8, &'static [u8]),
    /// The connection goes on, and nothing is reset.
    GoesOn,
    /// Nothing comes, the connection goes on, and the next request is answered.
    Ignored,
}

/// See the module.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// A section of RFC 9113, or another document with its section.
    pub(crate) rule: &'static str,
    /// The numbers of h2spec's cases that it stands for.
    pub(crate) h2spec: &'static str,
    /// After the preface and settings; every part but the first waits for a frame of a body.
    pub(crate) parts: Vec<Vec<u8>>,
    /// False where the preface is part of the row.
    pub(crate) greets: bool,
    /// True where a good request comes first, and is answered.
    pub(crate) answered: bool,
    pub(crate) verdict: Verdict,
}

/// A row of one part.
pub(crate) fn row(
    (rule, h2spec): (&'static str, &'static str),
    name: &'static str,
    bytes: &[Vec<u8>],
    verdict: Verdict,
) -> Row {
    Row { name, rule, h2spec, parts: vec![bytes.concat()], greets: true, answered: false, verdict }
}

/// An origin that answers, and tells whole requests from those of which it got the head.
pub(crate) struct Witness {
    origin: Origin,
    whole: Arc<Mutex<Vec<Message>>>,
}

impl Witness {
    pub(crate) fn start() -> Witness {
        let whole = Arc::<Mutex<Vec<Message>>>::default();
        let kept = Arc::clone(&whole);
        let origin = Origin::scripted(move |peer| {
            loop {
                let mut request = peer.head()?;
                wire::read_body(peer.reader(), &mut request, Kind::Request)?;
                let answer = if request.method() == "HEAD" { ok(BODY).replace(BODY, "") } else { ok(BODY) };
                kept.lock().unwrap().push(request);
                peer.send(answer)?;
            }
        });
        Witness { origin, whole }
    }

    pub(crate) fn url(&self) -> String {
        self.origin.url()
    }

    /// The heads and the whole requests since it was asked last. What was left behind with a good head may come late.
    fn take(&self) -> (Vec<Message>, Vec<Message>) {
        let (mut heads, mut whole) = (self.origin.take_requests(), std::mem::take(&mut *self.whole.lock().unwrap()));
        heads.retain(|head| head.target() != LEFT);
        whole.retain(|request| (request.method(), request.target()) != ("GET", LEFT));
        (heads, whole)
    }
}

/// Plays a row on a connection of its own; `Err` says what else it came to.
pub(crate) fn play(proxy: &TestProxy, witness: &Witness, row: &Row) -> Result<(), String> {
    let mut client = RawH2::connect(proxy.address());
    if row.greets {
        client.send(&[PREFACE, &settings(&[])].concat()).unwrap();
    }
    let mut seen = Vec::new();
    for (number, part) in row.parts.iter().enumerate() {
        if number > 0 {
            until(&mut client, &mut seen, |frame| frame.kind == DATA)
        }
        // It may be ended before its last byte.
        let _ = client.send(part);
    }
    let fault = judge(&mut client, &mut seen, &row.verdict).err();
    let (heads, whole) = witness.take();
    let fault = client.gave_up.then(|| "nothing more came".to_owned()).or(fault);
    let fault = fault.or_else(|| wrong_requests(row, &heads, &whole));
    let Some(fault) = fault else { return Ok(()) };
    Err(format!("{} ({}): {:?} is due, but {fault}; frames: {}", row.name, row.rule, row.verdict, show(&seen)))
}

fn judge(client: &mut RawH2, seen: &mut Vec<Frame>, verdict: &Verdict) -> Result<(), String> {
    match verdict {
        Verdict::Connection(_) | Verdict::Ends(_) | Verdict::Closed => until(client, seen, |_| false),
        Verdict::Stream(..) => until(client, seen, |frame| matches!(frame.kind, RST_STREAM | GOAWAY)),
        Verdict::Status(_) | Verdict::Sees(..) if seen.iter().any(is_answer) => {}
        Verdict::Status(_) | Verdict::Sees(..) => until(client, seen, is_answer),
        Verdict::Pieces(pieces) => {
            while data(seen).len() < pieces.len() && seen.iter().all(|frame| !matches!(frame.kind, RST_STREAM | GOAWAY))
            {
                let known = seen.len();
                until(client, seen, |_| true);
                if seen.len() == known {
                    break;
                }
            }
        }
        Verdict::Says(kind, flags, _) => until(client, seen, |frame| (frame.kind, frame.flags) == (*kind, *flags)),
        Verdict::Ignored | Verdict::GoesOn => {}
    }
    let goes_on = goes_on(client, seen, verdict);
    let code = seen.iter().find(|frame| frame.kind == GOAWAY).map(goaway_code);
    let resets: Vec<_> =
        seen.iter().filter(|frame| frame.kind == RST_STREAM).map(|frame| (frame.stream, frame.code())).collect();
    let answer =
        seen.iter().find(|frame| frame.kind == HEADERS && frame.stream == 1).map(|frame| status(&frame.payload));
    let due = match verdict {
        Verdict::Connection(due) => code == Some(*due) && !goes_on,
        Verdict::Ends(due) => *due != PROTOCOL_ERROR && code == Some(PROTOCOL_ERROR) && !goes_on,
        Verdict::Closed => code.is_none() && !goes_on,
        Verdict::Stream(stream, due) => goes_on && resets == [(*stream, *due)],
        Verdict::Status(due) => goes_on && answer == Some(*due),
        Verdict::Sees(..) => goes_on && answer == Some(200) && resets.is_empty(),
        Verdict::Pieces(due) => goes_on && data(seen) == *due,
        Verdict::Says(kind, flags, due) => {
            goes_on && seen.iter().any(|frame| (frame.kind, frame.flags, &frame.payload[..]) == (*kind, *flags, *due))
        }
        Verdict::GoesOn => goes_on && resets.is_empty(),
        Verdict::Ignored => goes_on && resets.is_empty() && answer.is_none(),
    };
    due.then_some(())
        .ok_or_else(|| format!("goaway {code:?}, resets {resets:?}, status {answer:?}, goes on: {goes_on}"))
}

/// The end of an answer, in one way or another.
fn is_answer(frame: &Frame) -> bool {
    matches!(frame.kind, RST_STREAM | GOAWAY) || frame.ends_stream()
}

/// Asks for a sign of life, and for another answer where that makes sense.
fn goes_on(client: &mut RawH2, seen: &mut Vec<Frame>, verdict: &Verdict) -> bool {
    let known = seen.len();
    let sign = b"stillon?";
    let _ = client.send(&ping(sign));
    if client.gave_up {
        return false;
    }
    until(client, seen, |frame| frame.kind == PING && frame.flags == ACK && frame.payload == sign);
    let lives = seen.len() > known && seen.last().is_some_and(|frame| frame.kind == PING && frame.payload == sign);
    // What asks for nothing must not keep the next request from being answered.
    if !lives || !matches!(verdict, Verdict::Ignored) {
        return lives;
    }
    let _ = client.send(&asks(1001));
    until(client, seen, |frame| frame.stream == 1001 && frame.flags & END_STREAM != 0);
    seen.iter().any(|frame| frame.stream == 1001 && frame.kind == HEADERS && status(&frame.payload) == 200)
}

/// Reads until a frame is the one, or the end.
fn until(client: &mut RawH2, seen: &mut Vec<Frame>, is_it: impl Fn(&Frame) -> bool) {
    while let Some(frame) = client.try_next() {
        let found = is_it(&frame);
        seen.push(frame);
        if found {
            return;
        }
    }
}

fn data(seen: &[Frame]) -> Vec<usize> {
    seen.iter()
        .filter(|frame| frame.kind == DATA && !frame.payload.is_empty())
        .map(|frame| frame.payload.len())
        .collect()
}

fn wrong_requests(row: &Row, heads: &[Message], whole: &[Message]) -> Option<String> {
    let due = match &row.verdict {
        Verdict::Sees(..) | Verdict::Pieces(_) | Verdict::Ignored => 1,
        Verdict::Connection(_)
        | Verdict::Ends(_)
        | Verdict::Closed
        | Verdict::Stream(..)
        | Verdict::Status(_)
        | Verdict::Says(..)
        | Verdict::GoesOn => usize::from(row.answered),
    };
    if (heads.len(), whole.len()) != (due, due) {
        return Some(format!("{due} requests are due, and the origin saw {heads:?}, whole {whole:?}"));
    }
    let Verdict::Sees(start, fields, body) = &row.verdict else { return None };
    let mut wanted = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let request = &whole[0];
    let is_it = request.start == format!("{start} HTTP/1.1")
        && wanted.all(|field| request.fields.contains(&field))
        && request.text() == *body;
    (!is_it).then(|| format!("the origin saw {request:?}"))
}

fn show(seen: &[Frame]) -> String {
    let words = seen.iter().filter(|frame| frame.kind != SETTINGS).map(|frame| {
        format!(
            "{}/{}#{}:{:02x?}",
            frame.kind,
            frame.flags,
            frame.stream,
            &frame.payload[..frame.payload.len().min(16)]
        )
    });
    words.collect::<Vec<_>>().join(" ")
}
