//! From a trap to the next good answer, and how long others on the worker wait behind a filter that loops.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::client::Client;
use crate::section::{Section, Times};
use crate::stage::Stage;

/// What has the probe fail.
const TRAP: &str = "x-probe-request-headers: trap\r\n";
const LOOP: &str = "x-probe-request-headers: loop\r\n";
/// Good exchanges after each failure: fresh VMs are held back where most calls of a plugin fail.
const BETWEEN: usize = 5;
/// Tries for a good answer after a trap.
const TRIES: usize = 1000;

pub(super) fn run(stage: &Stage, section: &mut Section) -> anyhow::Result<()> {
    let origin = stage.origin()?;
    let probe = stage.place("probe.wasm", &stage.filter("filter_probe.wasm")?)?;
    let proxy = stage.start(&format!(
        "cache: off\nfilters: {{ probe: {{ wasm: {probe:?} }} }}\nroutes:\n\
         - {{ match: {{ path: /plain/ }}, to: \"http://{0}\" }}\n- {{ match: {{ path: / }}, to: \"http://{0}\", filters: [probe] }}\n",
        origin.address()
    ))?;
    let (traps, loops) = if stage.short { (200, 50) } else { (1000, 300) };
    after_traps(proxy.address, traps, section)?;
    behind_loops(proxy.address, loops, section)?;
    section.must("SIGTERM ends the proxy after all that", proxy.end(), "exit code 0");
    Ok(())
}

fn after_traps(address: SocketAddr, traps: usize, section: &mut Section) -> anyhow::Result<()> {
    let (mut good, mut bad) = (Client::connect(address)?, Client::connect(address)?);
    let (mut times, mut refused) = (Vec::new(), 0);
    for _ in 0..traps {
        let reply = bad.ask("/", TRAP)?;
        ensure!(reply.status == 503, "a trap was answered with {}", reply.status);
        let trapped = Instant::now();
        for _ in 0..TRIES {
            if good.ask("/", "")?.status == 200 {
                break;
            }
            refused += 1;
        }
        times.push(trapped.elapsed());
        rest(&mut good)?;
    }
    section.figure("trap answered → next good answer (SDK probe)", Times::of(times));
    section.none_of("requests after a trap that were not answered well", refused);
    Ok(())
}

fn rest(good: &mut Client) -> anyhow::Result<()> {
    for _ in 0..BETWEEN {
        good.ask("/", "")?;
    }
    Ok(())
}

fn behind_loops(address: SocketAddr, loops: usize, section: &mut Section) -> anyhow::Result<()> {
    let done = AtomicBool::new(false);
    let (looping, waits) = thread::scope(|scope| {
        let neighbour = scope.spawn(|| neighbour(address, &done));
        let looping = loop_often(address, loops);
        done.store(true, Ordering::Relaxed);
        (looping, neighbour.join())
    });
    let (looping, (waits, failed)) = (looping?, waits.map_err(|_| anyhow::anyhow!("the neighbour panicked"))??);
    let longest = looping.iter().map(|(from, to)| {
        let beside = waits.iter().filter(|(sent, wait)| sent < to && *sent + *wait > *from);
        beside.map(|(_, wait)| *wait).max().unwrap_or_default()
    });
    section.figure("loop (time: 10ms) → worker free: the longest wait of a neighbour beside each", Times::of(longest));
    section.figure("the looping request itself", Times::of(looping.iter().map(|(from, to)| *to - *from)));
    section.figure("all requests of the neighbour", Times::of(waits.iter().map(|(_, wait)| *wait)));
    section.none_of("failed requests of the neighbour", failed);
    Ok(())
}

fn loop_often(address: SocketAddr, loops: usize) -> anyhow::Result<Vec<(Instant, Instant)>> {
    let (mut good, mut bad) = (Client::connect(address)?, Client::connect(address)?);
    let mut spans = Vec::new();
    for _ in 0..loops {
        let began = Instant::now();
        let reply = bad.ask("/", LOOP)?;
        ensure!(reply.status == 503, "a loop was answered with {}", reply.status);
        spans.push((began, Instant::now()));
        rest(&mut good)?;
    }
    Ok(spans)
}

/// Requests without a filter, one after the other: when each was sent, how long it took, and how many failed.
fn neighbour(address: SocketAddr, done: &AtomicBool) -> anyhow::Result<(Vec<(Instant, Duration)>, u64)> {
    let mut client = Client::connect(address)?;
    let (mut waits, mut failed) = (Vec::new(), 0);
    while !done.load(Ordering::Relaxed) {
        let sent = Instant::now();
        failed += u64::from(client.ask("/plain/", "")?.status != 200);
        waits.push((sent, sent.elapsed()));
    }
    Ok((waits, failed))
}
