//! What is wanted of the proxy beside others, and whether it was found. A median decides; its extremes stand beside it.

use std::fmt::Write;

use crate::results::{CaseResult, Results, Row, Start};
use crate::stats::Spread;
use crate::target::Chain;
use crate::target::tollgate::NAME;

/// One line of the table.
struct Demand {
    what: String,
    /// In words, with the unit.
    unit: &'static str,
    most: f64,
    found: Option<Spread>,
}

/// The cases in which a request is to cost what it does in nginx.
const BESIDE_NGINX: [(&str, &str); 5] = [
    ("keep-alive", "HTTP/1.1 keep-alive"),
    ("h2c", "h2c"),
    ("tls", "TLS keep-alive"),
    ("tls-handshake", "a TLS handshake each"),
    ("connection", "a TCP connection each"),
];

/// Writes the section.
pub(super) fn table(text: &mut String, results: &Results) {
    // A string takes every write.
    let _ = write!(
        text,
        "\n## Wanted and found\n\n| figure | wanted | found: median [min .. max] | |\n|---|---:|---:|---|\n"
    );
    for Demand { what, unit, most, found } in demands(results) {
        let _ = match found {
            Some(Spread { min, median, max }) if min == max => {
                let verdict = verdict(median, most);
                writeln!(text, "| {what} | ≤ {most} {unit} | {} {unit} | {verdict} |", digits(median))
            }
            Some(Spread { min, median, max }) => {
                let verdict = verdict(median, most);
                writeln!(text, "| {what} | ≤ {most} {unit} | {median:.2} [{min:.2} .. {max:.2}] {unit} | {verdict} |")
            }
            None => writeln!(text, "| {what} | ≤ {most} {unit} | | not measured |"),
        };
    }
}

fn digits(found: f64) -> String {
    if found >= 1000.0 { format!("{found:.0}") } else { format!("{found:.2}") }
}

fn verdict(found: f64, most: f64) -> &'static str {
    if found <= most { "reached" } else { "**not reached**" }
}

fn demands(results: &Results) -> Vec<Demand> {
    let kept = results.case("keep-alive");
    let over_nginx = BESIDE_NGINX.into_iter().map(|(name, said)| Demand {
        what: format!("CPU of a request without filters over nginx's, {said}"),
        unit: "×",
        most: 1.05,
        found: results.case(name).and_then(|case| pair(case, "tollgate", "nginx", Row::cpu_over)),
    });
    let added = |what: &str, case: Option<&CaseResult>, more: &str, less: &str, most| Demand {
        what: what.to_owned(),
        unit: "µs",
        most,
        found: case.and_then(|case| pair(case, more, less, Row::cpu_added)),
    };
    let started = |what: &str, unit, most, target, figure: fn(&Start) -> &Vec<f64>| Demand {
        what: what.to_owned(),
        unit,
        most,
        found: results.start(target).map(|start| Spread::of(figure(start).iter().copied())),
    };
    let cold = "tollgate, 1 noop filter, cold";
    let (one, ten) = ("tollgate, 1 noop filter", "tollgate, 10 noop filters");
    let mut all: Vec<Demand> = over_nginx.collect();
    all.extend([
        added("one SDK noop filter adds", kept, one, "tollgate", 0.8),
        added("one SDK header filter adds", kept, "tollgate, 1 header filter", "tollgate", 1.5),
        Demand {
            what: "each of nine further filters adds".to_owned(),
            unit: "µs",
            most: 0.8,
            found: kept.and_then(|case| pair(case, ten, one, further)),
        },
        Demand {
            what: "a further filter, the sixth to the tenth, over the first".to_owned(),
            unit: "×",
            most: 1.3,
            found: kept.and_then(tenth_over_first).map(|ratio| Spread::of([ratio])),
        },
        added(
            "a filter that keeps and rewrites 64 KiB adds",
            results.case("64-kib"),
            "tollgate, 1 body filter",
            "tollgate",
            20.0,
        ),
        added(
            "isolation by request adds to a noop filter",
            results.case("isolation"),
            "tollgate, 1 noop filter, isolation: request",
            one,
            10.0,
        ),
        Demand {
            what: "system calls of a request without filters".to_owned(),
            unit: "calls",
            most: 4.6,
            found: kept.and_then(|case| case.row("tollgate")?.calls).map(|calls| Spread::of([calls])),
        },
        Demand {
            what: "instructions of a request without filters, in user space".to_owned(),
            unit: "instructions",
            most: 26_000.0,
            found: results.instructions("tollgate").map(|count| Spread::of([count])),
        },
        started("start to the first answer with a filter never seen", "ms", 120.0, cold, |start| &start.millis),
        started("start to the first answer with a filter whose code is kept", "ms", 20.0, one, |start| &start.millis),
        started("memory after it", "MiB", 25.0, one, |start| &start.resident),
        Demand {
            what: "p99 at the case's pace with one noop filter over that without".to_owned(),
            unit: "×",
            most: 1.02,
            found: kept.and_then(|case| pair(case, one, "tollgate", late)),
        },
    ]);
    all
}

/// What is made of two targets that are there.
fn pair(case: &CaseResult, one: &str, other: &str, compare: impl Fn(&Row, &Row) -> Spread) -> Option<Spread> {
    Some(compare(case.row(one)?, case.row(other)?))
}

/// Of medians: what one filter adds is little beside what a round differs by.
fn tenth_over_first(case: &CaseResult) -> Option<f64> {
    let median = |more: usize, less: Option<usize>| {
        let name = |count| Chain::Noops(count).of(NAME);
        let less = less.map_or(NAME.to_owned(), name);
        Some(case.row(&name(more))?.cpu_added(case.row(&less)?).median)
    };
    Some(median(10, Some(5))? / 5.0 / median(1, None)?)
}

fn further(ten: &Row, one: &Row) -> Spread {
    ten.paired(one, |ten, one| (ten.cpu_micros - one.cpu_micros) / 9.0)
}

fn late(one: &Row, none: &Row) -> Spread {
    let p99 = |round: &crate::results::Round| round.latency.map_or(0.0, |[_, p99, _]| p99);
    one.paired(none, |one, none| p99(one) / p99(none))
}
