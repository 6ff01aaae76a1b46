//! What is wanted of the proxy beside others, and whether it was found. The rounds decide together, or nothing is decided.

use std::fmt::Write;

use super::tables::limited;
use super::verdict::{verdict, verdict_of_count};
use crate::results::{CaseResult, Results, Round, Row, Start};
use crate::stats::Interval;
use crate::target::Chain;
use crate::target::tollgate::NAME;

/// One line of the table.
struct Demand {
    what: String,
    /// In words, with the unit.
    unit: &'static str,
    most: f64,
    found: Option<Found>,
}

/// What decides.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Found {
    /// Rounds; infinite where one says nothing.
    Rounds(Interval),
    /// Rounds in which one of two targets had more to give than the load could ask for.
    Limited(Interval),
    /// What is counted, which is the same each time or nearly so.
    Count(f64),
}

impl Found {
    fn told(self) -> String {
        match self {
            Found::Rounds(interval) | Found::Limited(interval) => told(interval),
            Found::Count(count) => told(Interval::of([count])),
        }
    }

    fn verdict(self, most: f64) -> String {
        match self {
            Found::Rounds(interval) => verdict(interval, most).to_owned(),
            Found::Count(count) => verdict_of_count(count, most).to_owned(),
            Found::Limited(interval) => format!("{}; the load was the limit", verdict(interval, most)),
        }
    }
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
        "\n## Wanted and found\n\nIn brackets, here and below, is the interval of ranks that holds the median in 95 of 100 \
         cases: of fifteen rounds from the fourth to the twelfth, of five and fewer the extremes.\n\n\
         | figure | wanted | found: median [interval] | |\n|---|---:|---:|---|\n"
    );
    for Demand { what, unit, most, found } in demands(results) {
        let _ = match found {
            Some(found) => {
                let (told, verdict) = (found.told(), found.verdict(most));
                writeln!(text, "| {what} | ≤ {most} {unit} | {told} {unit} | {verdict} |")
            }
            None => writeln!(text, "| {what} | ≤ {most} {unit} | | not measured |"),
        };
    }
}

fn told(Interval { low, median, high, .. }: Interval) -> String {
    let digits = |found: f64| if found >= 1000.0 { format!("{found:.0}") } else { format!("{found:.2}") };
    if low == high { digits(median) } else { format!("{} [{} .. {}]", digits(median), digits(low), digits(high)) }
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
        found: results.start(target).map(|start| Found::Rounds(Interval::of(figure(start).iter().copied()))),
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
            found: kept.and_then(tenth_over_first).map(Found::Rounds),
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
            found: kept.and_then(|case| case.row("tollgate")?.calls).map(Found::Count),
        },
        Demand {
            what: "instructions of a request without filters, in user space".to_owned(),
            unit: "instructions",
            most: 26_000.0,
            found: results.instructions("tollgate").map(Found::Count),
        },
        started("start to the first answer with a filter never seen", "ms", 120.0, cold, |start| &start.millis),
        started("start to the first answer with a filter whose code is kept", "ms", 20.0, one, |start| &start.millis),
        started("memory after it", "MiB", 25.0, one, |start| &start.resident),
        Demand {
            what: "p99 at the case's pace with one noop filter over that without".to_owned(),
            unit: "×",
            most: 1.02,
            // The load has a pace there that all can keep.
            found: kept.and_then(|case| Some(Found::Rounds(late(case.row(one)?, case.row("tollgate")?)))),
        },
    ]);
    all
}

/// What is made of two targets that are there.
fn pair(case: &CaseResult, one: &str, other: &str, compare: impl Fn(&Row, &Row) -> Interval) -> Option<Found> {
    let (one, other) = (case.row(one)?, case.row(other)?);
    let found = compare(one, other);
    Some(if limited(one) || limited(other) { Found::Limited(found) } else { Found::Rounds(found) })
}

/// What a further filter adds, over what the first does. The median is one of medians, because what one filter adds is little
/// beside what a round differs by; a round in which the first added nothing has no ratio.
fn tenth_over_first(case: &CaseResult) -> Option<Interval> {
    let name = |count| Chain::Noops(count).of(NAME);
    let [none, one, five, ten] = [case.row(NAME)?, case.row(&name(1))?, case.row(&name(5))?, case.row(&name(10))?];
    let further = |round: &[&Round; 4]| (round[3].cpu_micros - round[2].cpu_micros) / 5.0;
    let first = |round: &[&Round; 4]| round[1].cpu_micros - round[0].cpu_micros;
    let ratio = |further: f64, first: f64| if first > 0.0 { further / first } else { f64::INFINITY };
    let rounds = none.rounds.iter().zip(&one.rounds).zip(&five.rounds).zip(&ten.rounds);
    let rounds: Vec<_> = rounds.map(|(((none, one), five), ten)| [none, one, five, ten]).collect();
    let median = |figure: &dyn Fn(&[&Round; 4]) -> f64| Interval::of(rounds.iter().map(figure)).median;
    let each = Interval::of(rounds.iter().map(|round| ratio(further(round), first(round))));
    Some(Interval { median: ratio(median(&further), median(&first)), ..each })
}

fn further(ten: &Row, one: &Row) -> Interval {
    ten.paired(one, |ten, one| (ten.cpu_micros - one.cpu_micros) / 9.0)
}

fn late(one: &Row, none: &Row) -> Interval {
    let p99 = |round: &Round| round.latency.map_or(0.0, |[_, p99, _]| p99);
    one.paired(none, |one, none| p99(one) / p99(none))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(cpu: [&[f64]; 4]) -> CaseResult {
        let names = [NAME.to_owned(), Chain::Noops(1).of(NAME), Chain::Noops(5).of(NAME), Chain::Noops(10).of(NAME)];
        let round = |cpu_micros: &f64| Round { cpu_micros: *cpu_micros, ..Round::default() };
        let row =
            |(target, cpu): (_, &[f64])| Row { target, rounds: cpu.iter().map(round).collect(), ..Row::default() };
        CaseResult { rows: names.into_iter().zip(cpu).map(row).collect(), ..CaseResult::default() }
    }

    #[test]
    fn a_verdict_says_where_the_load_was_the_limit() {
        let mut busy = case([&[20.0; 3], &[20.5; 3], &[], &[]]);
        let other = Chain::Noops(1).of(NAME);
        busy.rows.iter_mut().flat_map(|row| &mut row.rounds).for_each(|round| {
            (round.share, round.load) = (0.99, Some(0.99));
        });
        let mut waiting = busy.clone();
        waiting.rows[0].rounds.iter_mut().for_each(|round| round.share = 0.8);

        let told = [busy, waiting].map(|case| pair(&case, &other, NAME, Row::cpu_added).unwrap().verdict(0.8));

        assert_eq!(told, ["reached", "reached; the load was the limit"]);
    }

    #[test]
    fn a_further_filter_is_told_over_the_first_round_by_round() {
        let found = tenth_over_first(&case([&[20.0, 20.0], &[21.0, 20.5], &[25.0, 25.0], &[30.0, 30.0]])).unwrap();

        assert_eq!((found.low, found.high), (1.0, 2.0));
        assert!((found.median - 4.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn where_the_first_filter_adds_nothing_the_further_ones_are_not_judged() {
        let once = tenth_over_first(&case([&[20.0; 3], &[21.0, 21.0, 19.0], &[25.0; 3], &[30.0; 3]])).unwrap();
        let mostly = tenth_over_first(&case([&[20.0; 3], &[19.0, 19.0, 21.0], &[25.0; 3], &[30.0; 3]])).unwrap();

        assert_eq!((verdict(once, 1.3), verdict(mostly, 1.3)), ("not decided", "not decided"));
        assert_eq!((once.median, mostly.median), (1.0, f64::INFINITY));
    }
}
