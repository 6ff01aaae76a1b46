//! Floods of HTTP/2 against one worker, one kind after the other, while a victim on a connection of its own asks at a pace.
//!
//! The kinds are those of the tests. Each is sent again and again for a while, after as long a while without it.

#[allow(clippy::unwrap_used, dead_code, reason = "it is the tests', who fail by panicking and need more of it")]
#[path = "../../../../proxy/tests/common/h2_wire.rs"]
mod h2_wire;
#[allow(dead_code, reason = "only the tests look at what a flood is told")]
#[path = "../../../../proxy/tests/h2_floods/rows.rs"]
mod rows;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use tollgate_benches::stats::Spread;

use self::rows::{Flood, ROWS};
use crate::endpoint::Endpoint;
use crate::section::{Section, Times, millis};
use crate::stage::{Proxy, Stage};
use crate::traffic::{Outcome, Traffic};

/// How long a flood may go on before it counts as not ended.
const PATIENCE: Duration = Duration::from_secs(20);
/// The longest that a flood may take from its first frame to its end.
const GOAL: Duration = Duration::from_secs(3);
/// Requests of the victim in a second.
const PACE: f64 = 500.0;

/// What one kind of flood came to.
struct Row {
    name: &'static str,
    is_counted: bool,
    without: Outcome,
    with: Outcome,
    /// How long each of its connections took to be ended.
    ended: Vec<Duration>,
    /// Connections that nobody ended in time.
    endless: u64,
}

/// See the module. The flooding client rests for `every` before it comes back: by default what is looked at is a flood, not
/// connections in plenty.
pub(crate) fn run(stage: &Stage, every: Duration) -> anyhow::Result<Section> {
    let time = Duration::from_millis(if stage.short { 200 } else { 3000 });
    let (origin, silent) = (stage.origin()?, Endpoint::silent()?);
    // What floods ask for has this host.
    let proxy = stage.start(&format!(
        "routes:\n- {{ match: {{ host: a }}, to: \"http://{}\" }}\n- {{ to: \"http://{}\" }}\n",
        silent.address,
        origin.address()
    ))?;
    let title = format!(
        "floods: {} kinds, each for {} s beside a victim, and as long without; {every:?} between them",
        ROWS.len(),
        time.as_secs_f64()
    );
    let mut section = Section::new(&title);
    let rows = ROWS.iter().map(|flood| pair(&proxy, flood, time, every).context(flood.name));
    let rows = rows.collect::<anyhow::Result<Vec<_>>>()?;
    judge(&mut section, &proxy, &rows)?;
    section.must("SIGTERM ends the proxy", proxy.end(), "exit code 0");
    Ok(section)
}

/// A while without the flood, then one with it.
fn pair(proxy: &Proxy, flood: &Flood, time: Duration, every: Duration) -> anyhow::Result<Row> {
    let victim = Traffic {
        address: proxy.address,
        path: "/victim",
        http1: 1,
        h2c: 0,
        streams: 0,
        rate: Some(PACE),
        time,
        stamped: false,
    };
    let without = victim.run()?;
    let (over, bytes) = (AtomicBool::new(false), bytes(flood));
    let (with, floods) = thread::scope(|scope| {
        let flooding = scope.spawn(|| flood_until(proxy.address, &bytes, &over, every));
        let with = victim.run();
        over.store(true, Ordering::Relaxed);
        (with, flooding.join())
    });
    let (ended, endless) = floods.map_err(|_| anyhow::anyhow!("the flood panicked"))??;
    Ok(Row { name: flood.name, is_counted: flood.is_counted, without, with: with?, ended, endless })
}

/// All that a flooding client says, made beforehand: it shares its core with the victim, whom only the proxy is to hold up.
fn bytes(flood: &Flood) -> Vec<u8> {
    let greeting = [h2_wire::PREFACE, &h2_wire::settings(&[]), &(flood.begin)()].concat();
    (0..flood.frames).fold(greeting, |mut bytes, number| {
        bytes.extend((flood.frame)(number));
        bytes
    })
}

/// One flood after the other; how long each took, and how many were not ended.
fn flood_until(
    address: SocketAddr,
    flood: &[u8],
    over: &AtomicBool,
    every: Duration,
) -> io::Result<(Vec<Duration>, u64)> {
    let (mut ended, mut endless) = (Vec::new(), 0);
    while !over.load(Ordering::Relaxed) {
        match send(address, flood)? {
            Some(took) => ended.push(took),
            None => endless += 1,
        }
        thread::sleep(every);
    }
    Ok((ended, endless))
}

/// From the first frame to the end of the connection; `None` when it does not end.
fn send(address: SocketAddr, flood: &[u8]) -> io::Result<Option<Duration>> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let began = Instant::now();
    // Whatever is written after the end is lost, and where nothing can be written the read below tells why.
    let _ = stream.write_all(flood);
    let mut some = [0; 16 * 1024];
    loop {
        match stream.read(&mut some) {
            Ok(0) => return Ok(Some(began.elapsed())),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(None),
            Err(_) => return Ok(Some(began.elapsed())),
        }
    }
}

fn judge(section: &mut Section, proxy: &Proxy, rows: &[Row]) -> anyhow::Result<()> {
    let (ended, endless) =
        (rows.iter().flat_map(|row| row.ended.iter().copied()), rows.iter().map(|row| row.endless).sum());
    let ended = Times::of(ended);
    let in_time = ended.per_mille(1000) <= GOAL;
    section.must("from the first frame of a flood to its end, 3 s at the most", in_time, &ended);
    section.none_of("floods that were not ended in 20 s", endless);
    let idle = rows.iter().filter(|row| row.ended.is_empty() && row.endless == 0).count();
    section.none_of("kinds of which none was sent", u64::try_from(idle)?);
    let failed = rows.iter().map(|row| row.without.failed + row.with.failed).sum();
    section.none_of("requests of the victim that failed", failed);
    let due: usize = rows.iter().filter(|row| row.is_counted).map(|row| row.ended.len()).sum();
    let counted = proxy.metric("tollgate_connection_floods_total", "")?;
    section.must(
        "connections that the proxy counted as floods",
        counted >= due as f64,
        format!("{counted} of at least {due}"),
    );
    for (what, per_mille) in [("p50", 500), ("p99", 990)] {
        let ratios = rows.iter().filter_map(|row| ratio(row, per_mille));
        let Spread { min, median, max } = Spread::of(ratios);
        let name = format!("the victim's {what} with a flood over that without, kind by kind");
        section.figure(name, format!("{median:.2} [{min:.2} .. {max:.2}]"));
        let all = |of: fn(&Row) -> &Outcome| times(rows.iter().map(of)).per_mille(per_mille);
        let (without, with) = (all(|row| &row.without), all(|row| &row.with));
        section.figure(
            format!("the same of all kinds together, {what}"),
            format!("{} → {} ms", millis(without), millis(with)),
        );
    }
    rows.iter().for_each(|row| section.figure(row.name, found(row)));
    if let Some(first) = rows.iter().find_map(|row| row.with.first.as_ref().or(row.without.first.as_ref())) {
        section.figure("the victim's first failure", first);
    }
    Ok(())
}

fn found(row: &Row) -> String {
    let (without, with) = (times([&row.without]), times([&row.with]));
    let pair = |per_mille| format!("{} → {}", millis(without.per_mille(per_mille)), millis(with.per_mille(per_mille)));
    let ended = Times::of(row.ended.iter().copied());
    let longest = millis(ended.per_mille(1000));
    format!("{} ended, max {longest} ms; the victim's p50 {} ms, p99 {} ms", row.ended.len(), pair(500), pair(990))
}

fn ratio(row: &Row, per_mille: usize) -> Option<f64> {
    let [without, with] = [&row.without, &row.with].map(|outcome| times([outcome]).per_mille(per_mille).as_secs_f64());
    (without > 0.0).then(|| with / without)
}

fn times<'a>(outcomes: impl IntoIterator<Item = &'a Outcome>) -> Times {
    Times::of(outcomes.into_iter().flat_map(|outcome| outcome.times.iter().map(|(_, took)| *took)))
}
