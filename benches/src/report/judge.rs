//! What is wanted of the proxy beside others, and whether it was found. A median decides; its extremes stand beside it.

use std::fmt::Write;

use crate::results::{CaseResult, Results, Row};
use crate::stats::Spread;

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
                writeln!(text, "| {what} | ≤ {most} {unit} | {median:.2} {unit} | {verdict} |")
            }
            Some(Spread { min, median, max }) => {
                let verdict = verdict(median, most);
                writeln!(text, "| {what} | ≤ {most} {unit} | {median:.2} [{min:.2} .. {max:.2}] {unit} | {verdict} |")
            }
            None => writeln!(text, "| {what} | ≤ {most} {unit} | | not measured |"),
        };
    }
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
            what: "instructions of a request without filters".to_owned(),
            unit: "",
            most: 26_000.0,
            found: results.instructions("tollgate").map(|count| Spread::of([count])),
        },
        Demand {
            what: "instructions that one SDK header filter adds".to_owned(),
            unit: "",
            most: 10_000.0,
            found: results
                .instructions("tollgate, 1 header filter")
                .zip(results.instructions("tollgate"))
                .map(|(more, less)| Spread::of([more - less])),
        },
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

fn further(ten: &Row, one: &Row) -> Spread {
    ten.paired(one, |ten, one| (ten.cpu_micros - one.cpu_micros) / 9.0)
}

fn late(one: &Row, none: &Row) -> Spread {
    let p99 = |round: &crate::results::Round| round.latency.map_or(0.0, |[_, p99, _]| p99);
    one.paired(none, |one, none| p99(one) / p99(none))
}
