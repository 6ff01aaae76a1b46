//! The front end for HTTP/1.1 against a reference: rows of the strictness table, changed at random, go through a real proxy,
//! and what it passes on is what the reference reads, to the last field, or less of it.
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

use std::collections::BTreeSet;
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
    setting: Setting,
    proxy: TestProxy,
    origin: RawOrigin,
}

impl Scene {
    fn of(setting: Setting) -> Scene {
        let origin = RawOrigin::start();
        // What the proxy tells upstreams about clients is no part of a request.
        let http = match setting {
            Setting::Default | Setting::Tunnels => "request_id: off, forwarded: { for: off }",
            Setting::Keep => "request_id: off, forwarded: { for: off }, path: keep, underscores: allow",
        };
        let url = format!("http://{}", origin.address());
        let proxy = TestProxy::with(&format!(
            "listeners: [{{ listen: 127.0.0.1:0, http: {{ {http} }}, routes: [{{ to: {url:?} }}] }}]"
        ));
        Scene { setting, proxy, origin }
    }
}

/// What the reference reads, as it is to reach an origin.
fn expected(setting: Setting, input: &[u8]) -> (Vec<Request>, End) {
    let (mut requests, end) = reference::read(input);
    if setting == Setting::Keep {
        return (requests, end);
    }
    for at in 0..requests.len() {
        let Some(target) = reference::spelled(&requests[at].target) else {
            requests.truncate(at);
            return (requests, End::Invalid);
        };
        requests[at].target = target;
    }
    (requests, end)
}

/// What a run came to.
#[derive(Debug, Default)]
struct Tally {
    inputs: u64,
    /// Requests that reached the origin.
    passed: u64,
    /// Inputs in which the reference found something that is no request.
    refused: u64,
    /// Inputs of which the proxy passed less on than the reference read.
    stricter: u64,
}

fn run(seed: u64, until: Until) {
    let scenes = [Setting::Default, Setting::Keep].map(Scene::of);
    let rows: Vec<_> = table::rows().into_iter().filter(|row| row.bytes.len() < 2_000).collect();
    // Changes make few requests better, so what is passed on begins more of them.
    let is_good = |row: &&row::Row| matches!(row.verdict, Verdict::Passed(_));
    let good: Vec<Vec<u8>> = rows.iter().filter(is_good).map(|row| row.bytes.clone()).collect();
    let all: Vec<Vec<u8>> =
        rows.iter().flat_map(|row| vec![row.bytes.clone(); if is_good(&row) { 8 } else { 1 }]).collect();
    let (mut dice, mut tally) = (Dice::new(seed), Tally::default());
    while match until {
        Until::Count(count) => tally.inputs < count,
        Until::Instant(end) => Instant::now() < end,
    } {
        let mut input =
            if dice.below(2) == 0 { mutate::mutant(&all, &mut dice) } else { mutate::variant(&good, &mut dice) };
        input.extend_from_slice(SECOND.as_bytes());
        let finding = scenes[usize::from(tally.inputs % 2 == 1)].compare(&input, &mut tally);
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
    // A proxy that refuses whatever it can would pass everything else here.
    assert!(tally.passed >= tally.inputs / 4 && tally.refused >= tally.inputs / 4, "{tally:?}");
    assert!(tally.stricter <= tally.inputs / 20, "{tally:?}");
}

impl Scene {
    fn compare(&self, input: &[u8], tally: &mut Tally) -> Result<(), String> {
        let (expected, end) = expected(self.setting, input);
        let good = self.talk(input, expected.len(), end)?;
        let seen = self.origin.take_requests();
        tally.passed += u64::try_from(seen.len()).unwrap();
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
    requests.iter().map(|request| format!("  {request:?}")).collect::<Vec<_>>().join("\n")
}

/// Rows that the proxy refuses and the grammar does not, and why.
const STRICTER: &[(&str, &[&str])] = &[
    (
        "a bound of the proxy's own, of which a grammar knows nothing",
        &[
            "a method of 65 letters is refused",
            "seventeen digits are no size",
            "a target of a byte more is 414",
            "a field line of a byte more is 431",
            "one field more is 431",
            "a head of a byte more is 431",
            "a byte more of them is refused",
            "one trailer more is 431",
            "a byte more of them is 431",
        ],
    ),
    (
        "RFC 3986 lets a host have it, and no name of a host has",
        &[
            "an absolute form with escapes in its host is refused",
            "a list of Hosts without a space is refused",
            "a Host with an escape is refused",
            "a Host with a semicolon is refused",
        ],
    ),
    ("readers are known that take the query for a part of the host", &["an absolute form of a query alone is refused"]),
    (
        "other programs take it for the name with a hyphen",
        &["an underscore in a name is refused", "a framing field spelled with an underscore is refused"],
    ),
    (
        "RFC 9110 §6.5.1 lets it be dropped, and readers are known that merge it into the head",
        &[
            "a length as a trailer is refused",
            "a coding as a trailer is refused",
            "Host as a trailer is refused",
            "Connection as a trailer is refused",
        ],
    ),
];

#[test]
fn the_reference_agrees_with_the_table_but_where_the_proxy_is_stricter() {
    let (mut wrong, mut stricter) = (Vec::new(), BTreeSet::new());

    for row in table::rows() {
        let (requests, end) = expected(row.setting, &[&row.bytes, SECOND.as_bytes()].concat());
        let (count, refused) = match &row.verdict {
            Verdict::Passed(seen) => (seen.len() + 1, false),
            Verdict::Last(seen) => (seen.len(), false),
            Verdict::Refused(seen, _) => (seen.len(), true),
            Verdict::Dropped | Verdict::Tunnel => continue,
        };
        let agrees = requests.len() == count && (end == End::Invalid) == refused;
        let is_exception = STRICTER.iter().any(|(_, rules)| rules.contains(&row.rule));
        if !agrees && refused && is_exception {
            stricter.insert(row.rule);
        } else if !agrees {
            wrong.push(format!("{}: {requests:?}, {end:?}", row.rule));
        }
    }

    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // No exception is there in vain.
    assert_eq!(stricter, STRICTER.iter().flat_map(|(_, rules)| rules.iter().copied()).collect());
}
