//! Requests of the configuration's that a new generation must pass before it serves.
//!
//! Each is one exchange that no client sent: through this filter alone, on the control side, to an upstream that answers 200
//! without a body. Nothing is waited for, so whatever pauses the exchange beyond its callback fails the test. What the filter
//! asks of other clusters is never sent, and what it shares is shared with nobody.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderValue};
use tollgate_abi::Failure;
use tollgate_config::{Expectation, SelfTest};

use crate::exchange::head::{Fields, ResponseHead};
use crate::exchange::lent::Lent;
use crate::exchange::stream::FilterStream;
use crate::exchange::unsent;
use crate::filter::fault::{Fault, FaultKind};
use crate::filter::generation::{Generation, ReadyVm};
use crate::filter::rehearsal::{Carrier, Outcome, Rehearsal};

/// What listener, route and cluster are called in an exchange that no client sent.
const NAME: &str = "selftest";

/// Shows every self-test of the plugin to the generation, each to a VM of its own. The first that fails is the fault.
pub fn run(generation: &Generation) -> Result<(), Fault> {
    let tests = &generation.plugin.selftest;
    tests.iter().enumerate().try_for_each(|(place, test)| {
        let mut vm = generation.start_apart()?;
        pass(generation, &mut vm, test).map_err(|flaw| Fault {
            plugin: generation.identity.name.to_string(),
            module: generation.origin.to_string(),
            digest: Some(generation.digest),
            kind: Arc::new(FaultKind::SelfTest { place, why: flaw.why, backtrace: flaw.backtrace }),
            lines: vm.host().kept_lines(),
        })
    })
}

fn pass(generation: &Generation, vm: &mut ReadyVm, test: &SelfTest) -> Result<(), Flaw> {
    let manners = generation.manners;
    let stream = unsent::stream(NAME, &test.request, manners.properties).map_err(|unfit| unfit.to_string())?;
    let (mut upstream, body) = (empty(stream.request.fields.limit), Bytes::copy_from_slice(&test.request.body));
    let mut rehearsal = Rehearsal::new(vm, manners, Lent::from(Box::new(stream)));
    let outcome = rehearsal.run(&body, (&mut upstream, &Bytes::new()))?;
    let leaves = leaves(outcome)?;
    let mut carrier = rehearsal.end()?;
    carrier.bare().map_or(Ok(()), |stream| judge(stream, leaves, &test.expect)).map_err(Flaw::from)
}

/// Where the request went, where that is anywhere that a test can see.
fn leaves(outcome: Outcome) -> Result<Leaves, String> {
    match outcome {
        Outcome::Passes | Outcome::Replaces(_) => Ok(Leaves::Upstream),
        Outcome::Answers(_) => Ok(Leaves::Nowhere),
        Outcome::Refused => Err("the answer of the filter cannot be sent".to_owned()),
        Outcome::Closes => Err("the filter closed the exchange".to_owned()),
        Outcome::Holds(half) => {
            let half = half.as_str();
            Err(format!("the filter paused the {half}; a self-test cannot wait for callouts, queues or timers"))
        }
    }
}

/// Why a self-test failed.
struct Flaw {
    why: String,
    /// Frames of the guest, innermost first, where it trapped.
    backtrace: Vec<String>,
}

impl From<String> for Flaw {
    fn from(why: String) -> Self {
        Self { why, backtrace: Vec::new() }
    }
}

impl From<Failure> for Flaw {
    fn from(failure: Failure) -> Self {
        Self { why: failure.to_string(), backtrace: failure.backtrace }
    }
}

/// Where the request of a test goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaves {
    /// To the upstream.
    Upstream,
    /// Nowhere: the filter answered it.
    Nowhere,
}

/// What the upstream of a self-test answers.
fn empty(limit: usize) -> ResponseHead {
    ResponseHead { status: StatusCode::OK, fields: Fields::bounded(HeaderMap::new(), limit) }
}

/// Whether what came of the request is what has to.
fn judge(stream: &FilterStream, leaves: Leaves, expect: &Expectation) -> Result<(), String> {
    let answer = stream.response.as_ref().ok_or("there is no answer")?;
    let found = answer.status.as_u16();
    if let Some(status) = expect.status.filter(|status| *status != found) {
        let who = if leaves == Leaves::Upstream { "the answer after the filter has" } else { "the filter answered" };
        return Err(format!("expected status {status}, {who} {found}"));
    }
    has_all(&answer.fields.map, &expect.headers, "the answer")?;
    if leaves == Leaves::Nowhere && !expect.upstream_headers.is_empty() {
        return Err(format!("expected a request to the upstream, the filter answered {found}"));
    }
    // The host is a field of the request that leaves.
    let mut sent = stream.request.fields.map.clone();
    sent.extend(HeaderValue::from_str(stream.request.authority.as_str()).map(|host| (header::HOST, host)));
    has_all(&sent, &expect.upstream_headers, "the request to the upstream")
}

fn has_all(map: &HeaderMap, wanted: &[(String, String)], of: &str) -> Result<(), String> {
    wanted.iter().try_for_each(|(name, value)| {
        let found: Vec<_> = map.get_all(name).iter().map(|found| String::from_utf8_lossy(found.as_bytes())).collect();
        if found.iter().any(|found| found == value) {
            return Ok(());
        }
        let expected = format!("{name}: {value}");
        if found.is_empty() {
            return Err(format!("expected header {expected:?} of {of}, it has none"));
        }
        Err(format!("expected header {expected:?} of {of}, it is {:?}", found.join(", ")))
    })
}
