//! The front end for HTTP/1.1 against a reference: rows of the strictness table, changed at random, go through a real proxy,
//! and what it passes on is what the reference reads, or less.
//!
//! A short run with a fixed seed is a test like any other. `make fuzz-http1 SECONDS=600` is a long one, with a seed of its
//! own unless `TOLLGATE_FUZZ_SEED` says which; a finding names its seed and its bytes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/common.rs"]
mod common;
#[path = "http1_fuzz/mutate.rs"]
mod mutate;
#[path = "http1_fuzz/raw_origin.rs"]
mod raw_origin;
#[path = "strictness/reference.rs"]
mod reference;
#[path = "strictness/row.rs"]
mod row;
#[path = "strictness/table.rs"]
mod table;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::PATIENCE;
use common::proxy::TestProxy;
use mutate::Dice;
use raw_origin::RawOrigin;
use reference::{End, Request};
use row::{SECOND, Setting, Verdict};

/// Inputs of the short run.
const SHORT: u64 = 2_000;
/// The seed of the short run.
const SEED: u64 = 9112;
/// What the proxy may not take longer for than to refuse, once it has all that the reference needs to.
const QUIET: Duration = Duration::from_millis(500);

/// When a run ends.
enum Until {
    Count(u64),
    Instant(Instant),
}

#[test]
fn what_is_passed_on_is_what_the_reference_reads() {
    let seconds = std::env::var("TOLLGATE_FUZZ_SECONDS").ok().map(|text| text.parse().expect("a number of seconds"));
    let seed = std::env::var("TOLLGATE_FUZZ_SEED").ok().map(|text| text.parse().expect("a number"));
    let (until, seed) = match seconds {
        None => (Until::Count(SHORT), seed.unwrap_or(SEED)),
        Some(seconds) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
            (Until::Instant(Instant::now() + Duration::from_secs(seconds)), seed.unwrap_or(now))
        }
    };

    run(seed, until);
}

/// A proxy in front of an origin that reads bytes.
struct Scene {
    proxy: TestProxy,
    origin: RawOrigin,
}

/// What a run came to.
#[derive(Debug, Default)]
struct Tally {
    inputs: u64,
    passed: usize,
    refused: u64,
    stricter: u64,
}

fn run(seed: u64, until: Until) {
    let origin = RawOrigin::start();
    let proxy = TestProxy::to(&format!("http://{}", origin.address()));
    let scene = Scene { proxy, origin };
    let rows: Vec<_> = table::rows().into_iter().filter(|row| row.bytes.len() < 2_000).collect();
    // Changes make few requests better, so what is passed on begins more of them.
    let weight = |row: &row::Row| if matches!(row.verdict, Verdict::Passed(_)) { 8 } else { 1 };
    let seeds: Vec<Vec<u8>> = rows.iter().flat_map(|row| vec![row.bytes.clone(); weight(row)]).collect();
    let (mut dice, mut tally) = (Dice::new(seed), Tally::default());
    while match until {
        Until::Count(count) => tally.inputs < count,
        Until::Instant(end) => Instant::now() < end,
    } {
        let mut input = mutate::mutant(&seeds, &mut dice);
        input.extend_from_slice(SECOND.as_bytes());
        let finding = scene.compare(&input, &mut tally);
        assert!(
            finding.is_ok(),
            "seed {seed}, input {}: {}\n{}",
            tally.inputs,
            finding.unwrap_err(),
            input.escape_ascii()
        );
        tally.inputs += 1;
    }
    eprintln!("seed {seed}: {tally:?}");
    assert!(tally.passed > 0 && tally.refused > 0, "{tally:?}");
}

impl Scene {
    fn compare(&self, input: &[u8], tally: &mut Tally) -> Result<(), String> {
        let (expected, end) = reference::read(input);
        let good = self.talk(input, expected.len(), end)?;
        let seen = self.origin.take_requests();
        tally.passed += seen.len();
        tally.refused += u64::from(end == End::Invalid);
        tally.stricter += u64::from(seen.len() < expected.len());
        if seen.len() < good {
            return Err(format!("{good} answers, but the origin got {seen:?}"));
        }
        let agrees =
            seen.len() <= expected.len() && seen.iter().zip(&expected).all(|(seen, expected)| seen == expected);
        if agrees {
            Ok(())
        } else {
            Err(format!("the origin got\n{}\nand the reference read\n{}", shown(&seen), shown(&expected)))
        }
    }

    /// Sends all of it, and reads answers until the proxy has said all that it has to say. Answers how many are good.
    fn talk(&self, input: &[u8], expected: usize, end: End) -> Result<usize, String> {
        let mut stream = TcpStream::connect(self.proxy.address()).map_err(|error| error.to_string())?;
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // The proxy may close before it has been told everything.
        let _ = stream.write_all(input);
        let (mut bytes, mut good, mut said) = (Vec::new(), 0, false);
        let mut buffer = [0; 4096];
        loop {
            if good >= expected && end == End::Open && !said {
                said = true;
                let _ = stream.shutdown(Shutdown::Write);
            }
            if good >= expected && end == End::Invalid && !said {
                stream.set_read_timeout(Some(QUIET)).unwrap();
            }
            match stream.read(&mut buffer) {
                Ok(0) => return Ok(good),
                Ok(length) => bytes.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(good),
                // The proxy still waits for what the reference knows to be in vain; that is no harm, if it ends there.
                Err(_) if good >= expected && end == End::Invalid && !said => {
                    said = true;
                    let _ = stream.shutdown(Shutdown::Write);
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                }
                Err(error) => {
                    return Err(format!(
                        "the proxy waits for more after {good} of {expected} answers ({end:?}): {error}"
                    ));
                }
            }
            good = bytes.windows(GOOD[0].len()).filter(|window| GOOD.contains(window)).count();
        }
    }
}

/// How the origin's answers begin, to requests of either version.
const GOOD: [&[u8]; 2] = [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 200 OK\r\n"];

fn shown(requests: &[Request]) -> String {
    let lines =
        requests.iter().map(|request| format!("  {} {}", request.method.escape_ascii(), request.body.escape_ascii()));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_reference_agrees_with_the_table() {
    // Where the proxy is stricter than the grammar, the table says so.
    for row in table::rows().iter().filter(|row| row.setting == Setting::Default) {
        let (requests, end) = reference::read(&[&row.bytes, SECOND.as_bytes()].concat());
        let (count, refused) = match &row.verdict {
            Verdict::Passed(seen) => (seen.len() + 1, false),
            Verdict::Last(seen) => (seen.len(), false),
            Verdict::Refused(seen, _) => (seen.len(), true),
            Verdict::Dropped | Verdict::Tunnel => continue,
        };

        if refused {
            assert!(requests.len() >= count, "{}: {requests:?}", row.rule);
        } else {
            assert_eq!((requests.len(), end == End::Invalid), (count, false), "{}: {requests:?}", row.rule);
        }
    }
}
