//! Swaps while bodies of a gibibyte go both ways, byte by byte as they were sent and stamped by one generation.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::guests::{STAMP, stamper};
use crate::link::{Link, Protocol};
use crate::section::{Section, mebibytes};
use crate::stage::{Proxy, Stage, replace};

/// How often a module is replaced meanwhile.
const PERIOD: Duration = Duration::from_millis(60);
/// Bytes of one piece.
const PIECE: usize = 64 * 1024;
/// After how many bytes the content begins anew; prime, so that a piece that is missing or twice there is noticed.
const TURN: u8 = 251;
/// How long replaced generations may take to be gone after their last exchange.
const RETIRE: Duration = Duration::from_secs(5);

static CONTENT: LazyLock<Bytes> =
    LazyLock::new(|| (0..TURN).cycle().take(PIECE + usize::from(TURN)).collect::<Vec<_>>().into());

/// See the module.
pub(crate) fn run(stage: &Stage) -> anyhow::Result<Section> {
    let bytes: u64 = if stage.short { 64 << 20 } else { 1 << 30 };
    let mut section = Section::new(&format!("bodies: swaps while {} go up, then down", mebibytes(bytes)));
    let origin = origin()?;
    let module = stage.place("body.wasm", &stamper(1, 0)?)?;
    let proxy = stage.start(&format!(
        "cache: off\nfilters: {{ stamp: {{ wasm: {module:?} }} }}\n\
         routes: [{{ to: \"http://{}\", filters: [stamp], timeout: 10m }}]\n",
        origin.address
    ))?;
    let mut number = 1;
    for protocol in [Protocol::Http1, Protocol::H2c] {
        let done = AtomicBool::new(false);
        let before = proxy.metric("tollgate_filter_generation", "filter=\"stamp\"")?;
        let (outcome, swaps, took) = thread::scope(|scope| {
            let swapping = scope.spawn(|| -> anyhow::Result<u64> {
                let first = number;
                while !done.load(Ordering::Relaxed) {
                    number += 1;
                    replace(&module, &stamper(number, 0)?)?;
                    thread::sleep(PERIOD);
                }
                Ok(number - first)
            });
            let began = Instant::now();
            let outcome = exchange(proxy.address, protocol, bytes);
            done.store(true, Ordering::Relaxed);
            (outcome, swapping.join(), began.elapsed())
        });
        let swaps = swaps.map_err(|_| anyhow::anyhow!("the swapping thread panicked"))??;
        let name = format!("{protocol:?}: every byte as it was sent, both heads stamped by one generation");
        let found =
            outcome.as_ref().map_or_else(|error| format!("{error:#}"), |generation| format!("generation {generation}"));
        section.must(name, outcome.is_ok(), format!("{found}, {swaps} swaps in {:.1} s", took.as_secs_f64()));
        let made = proxy.metric("tollgate_filter_generation", "filter=\"stamp\"")? - before;
        section.must(format!("{protocol:?}: generations that took over meanwhile"), made > 0.0, made);
    }
    let vms = settle(&proxy)?;
    section.must("VMs when the bodies were through, one worker", vms == 1.0, vms);
    section.must("SIGTERM ends the proxy", proxy.end(), "exit code 0");
    Ok(section)
}

/// Waits until replaced generations are gone; a worker takes the last one up with the next exchange.
fn settle(proxy: &Proxy) -> anyhow::Result<f64> {
    Client::connect(proxy.address)?.ask("/", "")?;
    let deadline = Instant::now() + RETIRE;
    loop {
        let vms = proxy.metric("tollgate_filter_instances", "filter=\"stamp\"")?;
        if vms <= 1.0 || Instant::now() > deadline {
            return Ok(vms);
        }
        thread::sleep(PERIOD);
    }
}

/// One exchange; the generation that stamped both its heads.
fn exchange(address: SocketAddr, protocol: Protocol, bytes: u64) -> anyhow::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut link = Link::connect(address, protocol).await?;
        let response = link.send(link.request("/").method("POST").body(Pattern { offset: 0, left: bytes })?).await?;
        let (head, body) = response.into_parts();
        ensure!(head.status == 200, "status {}", head.status.as_u16());
        let field =
            |name: &str| head.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let (answer, request) = (field(STAMP), field(SEEN));
        let got = read(body).await?;
        ensure!(got == bytes, "{got} of {bytes} bytes came back");
        ensure!(answer == request, "request stamped by {request:?}, answer by {answer:?}");
        answer.ok_or_else(|| anyhow::anyhow!("no stamp"))
    })
}

/// In which the origin says what stamp the request had.
const SEEN: &str = "x-soak-seen";

/// Reads a body to its end and compares every byte; how many there were.
async fn read(mut body: Incoming) -> anyhow::Result<u64> {
    let mut offset = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        for piece in data.chunks(PIECE) {
            ensure!(*piece == content(offset, piece.len()), "other bytes than were sent after {offset}");
            offset += u64::try_from(piece.len())?;
        }
    }
    Ok(offset)
}

/// So many bytes, at most a piece, from an offset on.
fn content(offset: u64, length: usize) -> Bytes {
    let from = usize::try_from(offset % u64::from(TURN)).unwrap_or_default();
    CONTENT.slice(from..from + length.min(PIECE))
}

/// A body whose every byte is known by its place.
struct Pattern {
    offset: u64,
    left: u64,
}

impl Body for Pattern {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = usize::try_from(self.left).unwrap_or(PIECE).min(PIECE);
        if length == 0 {
            return Poll::Ready(None);
        }
        let piece = content(self.offset, length);
        let length = u64::try_from(length).unwrap_or_default();
        self.offset += length;
        self.left -= length;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// An origin that reads a body to its end, says what stamp it came with, and answers with as many bytes.
fn origin() -> io::Result<Endpoint> {
    Endpoint::start(|stream| {
        // An exchange that fails here fails at the client too.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)));
    })
}

async fn answer(request: Request<Incoming>) -> anyhow::Result<Response<Pattern>> {
    let (head, body) = request.into_parts();
    let bytes = read(body).await?;
    let mut response = Response::new(Pattern { offset: 0, left: bytes });
    if let Some(stamp) = head.headers.get(STAMP) {
        response.headers_mut().insert(SEEN, stamp.clone());
    }
    Ok(response)
}
