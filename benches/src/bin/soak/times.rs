//! Clients that are too slow, each of its kind, at the limits that hold by default, and beside them some that may be.
//!
//! All of them at once: who has to be ended is, within its time, and who may be slow goes on for longer than any of the others.

mod beside;
mod origin;
mod slow;

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::thread;
use std::time::{Duration, Instant};

use tollgate_benches::target::free_address;
use tollgate_benches::tls::Identity;

use crate::section::Section;
use crate::stage::{Proxy, Stage};

/// How long whoever may be slow is slow: longer than all others are borne.
const LASTS: Duration = Duration::from_secs(36);
/// How long anybody may take until it is given up.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a byte comes of those who are slow.
const DRIP: Duration = Duration::from_secs(1);
/// When who does not say a whole head, or does not shake hands, is ended: seconds.
const HEAD: RangeInclusive<f64> = 9.0..=11.0;
/// The same for one whose body comes too slowly, which nobody has to bear so long.
const BODY: RangeInclusive<f64> = 0.0..=30.0;
/// The same for one who does not read.
const READER: RangeInclusive<f64> = 29.0..=31.0;
/// How often a wait looks again.
const LOOK: Duration = Duration::from_millis(50);

/// A client that has to be ended: its name, within which seconds, and how it comes to its end.
type Ended = (&'static str, RangeInclusive<f64>, fn(&Scene) -> anyhow::Result<()>);
/// A client that may be slow: its name, and what it does.
type Borne = (&'static str, fn(SocketAddr) -> anyhow::Result<()>);

/// What they meet.
struct Scene {
    proxy: Proxy,
    /// Where TLS is spoken.
    tls: SocketAddr,
}

const SLOW: [Ended; 11] = [
    ("silent from the start", HEAD, slow::silent),
    ("silent after the preface of HTTP/2", HEAD, slow::silent_http2),
    ("silent where TLS is spoken", HEAD, slow::silent_tls),
    ("a handshake that comes byte by byte", HEAD, slow::handshake),
    ("a head that comes byte by byte", HEAD, slow::head),
    ("a second head that comes byte by byte", HEAD, slow::second_head),
    ("a head of HTTP/2 that comes byte by byte", HEAD, slow::head_http2),
    ("a body that comes byte by byte", BODY, slow::body),
    ("a body of HTTP/2 that comes byte by byte", BODY, slow::body_http2),
    ("a reader that stalls", READER, slow::reader),
    ("a reader of HTTP/2 that stalls", READER, slow::reader_http2),
];

const BESIDE: [Borne; 6] = [
    ("a stream of gRPC up, byte by byte", beside::grpc_up),
    ("a stream of gRPC down that nobody reads for a while", beside::grpc_down),
    ("a body up, byte by byte, where the route has `stream: true`", beside::stream_up),
    ("a body down that nobody reads for a while, likewise", beside::stream_down),
    ("an upgraded connection without a byte", beside::upgrade),
    ("one whose client sends and takes nothing for a while", beside::upgrade_stalled),
];

/// See the module.
pub(crate) fn run(stage: &Stage) -> anyhow::Result<Section> {
    let mut section = Section::new("times: clients that are too slow, at default limits, and those that may be slow");
    let origin = origin::start()?;
    let scene = scene(stage, origin.address)?;
    let met = &scene;
    let (ended, borne) = thread::scope(|scope| {
        let slow = SLOW.map(|(.., act)| scope.spawn(move || timed(|| act(met))));
        let beside = BESIDE.map(|(_, act)| scope.spawn(move || act(met.proxy.address)));
        (slow.map(thread::ScopedJoinHandle::join), beside.map(thread::ScopedJoinHandle::join))
    });
    let panicked = |_| Err(anyhow::anyhow!("the client panicked"));
    for ((name, goal, _), outcome) in SLOW.into_iter().zip(ended) {
        match outcome.unwrap_or_else(panicked) {
            Ok(took) => {
                let (took, least, most) = (took.as_secs_f64(), goal.start(), goal.end());
                let found = format!("ended after {took:.1} s; within {least:.0} to {most:.0} s is promised");
                section.must(name, goal.contains(&took), found);
            }
            Err(error) => section.must(name, false, format!("not ended as it should be: {error:#}")),
        }
    }
    for ((name, _), outcome) in BESIDE.into_iter().zip(borne) {
        let found = outcome.unwrap_or_else(|_| Err(anyhow::anyhow!("the client panicked")));
        let words = found
            .as_ref()
            .map_or_else(|error| format!("{error:#}"), |()| format!("goes on after {} s", LASTS.as_secs()));
        section.must(name, found.is_ok(), words);
    }
    section.must("SIGTERM ends the proxy", scene.proxy.end(), "exit code 0");
    Ok(section)
}

fn scene(stage: &Stage, origin: SocketAddr) -> anyhow::Result<Scene> {
    let (tls, identity) = (free_address()?, Identity::make(stage.folder.path())?);
    let (proxy, _) = stage.start_as(|address| {
        format!(
            "listeners:\n- listen: {address}\n  routes:\n\
             \x20 - {{ match: {{ path: /stream/ }}, to: \"http://{origin}\", stream: true, timeout: 10m }}\n\
             \x20 - {{ name: http1, match: {{ path: /endless/http1 }}, to: \"http://{origin}\" }}\n\
             \x20 - {{ name: http2, match: {{ path: /endless/http2 }}, to: \"http://{origin}\" }}\n\
             \x20 - {{ match: {{ path: /upgrade }}, to: \"http://{origin}\", upgrade: [websocket] }}\n\
             \x20 - {{ to: \"http://{origin}\", timeout: 10m }}\n\
             - listen: {tls}\n  {}\n  routes: [{{ to: echo }}]\n",
            identity.listener("")
        )
    })?;
    Ok(Scene { proxy, tls })
}

fn timed(act: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Duration> {
    let began = Instant::now();
    act().map(|()| began.elapsed())
}
