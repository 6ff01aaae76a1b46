//! What was measured, as pages that a person reads: a pure function of the results, so a report can be made anew from them.
//! `folder` alone writes.

mod compare;
mod curves;
mod folder;
mod judge;
mod svg;
mod tables;
mod verdict;

use std::fmt::Write;

pub use compare::compare;
pub use folder::Folder;

use crate::results::Results;
use crate::stats::Spread;

/// A file of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Its name in the folder.
    pub name: String,
    /// Its content.
    pub text: String,
}

/// The name of the results beside the pages.
pub const RESULTS: &str = "results.json";

/// All files: `index.md` and the pictures that it shows.
pub fn render(results: &Results) -> Vec<Page> {
    let mut pages = vec![Page { name: "index.md".to_owned(), text: index(results) }];
    pages.extend(results.cases.iter().flat_map(tables::pictures));
    pages.extend(results.curves.iter().map(curves::picture));
    pages
}

/// The report in words and tables, as it is also printed.
pub fn index(results: &Results) -> String {
    let mut text = "# What a request costs\n\n".to_owned();
    facts(&mut text, results);
    judge::table(&mut text, results);
    results.cases.iter().for_each(|case| tables::table(&mut text, case));
    starts(&mut text, results);
    instructions(&mut text, results);
    curves::section(&mut text, &results.curves);
    text
}

fn facts(text: &mut String, results: &Results) {
    let facts = &results.facts;
    // A string takes every write.
    let _ = write!(
        text,
        "Made by the command below and not by hand; `benches/README.md` says how to read it, `{RESULTS}` has every round.\n\n\
         - date: {}\n- machine: {}\n- programs: {}\n- command: `{}`\n",
        facts.date,
        facts.machine,
        facts.versions.join(", "),
        facts.command
    );
    facts.method.iter().for_each(|sentence| {
        let _ = writeln!(text, "- {sentence}");
    });
    for absent in &results.absent {
        let _ = writeln!(text, "- **{} is not here**: {}", absent.target, absent.why);
    }
    for failed in &results.failed {
        let _ = writeln!(text, "- **{} was not measured**: {}", failed.target, failed.why);
    }
}

fn starts(text: &mut String, results: &Results) {
    if results.starts.is_empty() {
        return;
    }
    // A string takes every write.
    let _ = write!(
        text,
        "\n## Start\n\nFrom the start of the process to its first answer, on all cores; a filter's code is kept but where it is \
         cold.\n\n| target | ms: min / median / max | RSS MiB |\n|---|---:|---:|\n"
    );
    for start in &results.starts {
        let [millis, resident] = [&start.millis, &start.resident].map(|found| Spread::of(found.iter().copied()));
        let _ = writeln!(
            text,
            "| {} | {:.1} / {:.1} / {:.1} | {:.1} |",
            start.target, millis.min, millis.median, millis.max, resident.median
        );
    }
}

fn instructions(text: &mut String, results: &Results) {
    if results.counted.is_empty() {
        return;
    }
    // A string takes every write.
    let _ = write!(
        text,
        "\n## Instructions\n\nOf a request in user space, by callgrind: HTTP/1.1 on 32 connections that are kept, 13 bytes of body, \
         the difference of twice as many requests and as many. Proxies without filters only, and not Envoy; what filters take is counted by `make count`.\n\n\
         | target | instructions |\n|---|---:|\n"
    );
    for counted in &results.counted {
        let said = counted.each.map_or_else(
            || format!("not counted: {}", counted.why.as_deref().unwrap_or_default()),
            |each| format!("{each:.0}"),
        );
        let _ = writeln!(text, "| {} | {said} |", counted.target);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Absent, CaseResult, Counted, Curve, Facts, Point, Round, Row, Series, Start};

    fn row(target: &str, over: Option<&str>, cpu: [f64; 3]) -> Row {
        let round = |cpu_micros: f64| Round {
            requests: 1000,
            cpu_micros,
            rate: 1e6 / cpu_micros,
            share: 0.96,
            load: Some(0.8),
            latency: Some([100.0, 200.0, 300.0]),
        };
        Row {
            target: target.to_owned(),
            over: over.map(str::to_owned),
            rounds: cpu.map(round).to_vec(),
            resident: 10 << 20,
            anonymous: 5 << 20,
            calls: Some(4.5),
            uncounted: None,
            miscounted: None,
        }
    }

    fn failed(target: &str, why: &str) -> Absent {
        Absent { target: target.into(), why: why.into() }
    }

    fn results() -> Results {
        let rows = vec![
            row("tollgate", None, [20.0, 22.0, 21.0]),
            row("tollgate, 1 noop filter", Some("tollgate"), [20.5, 22.5, 21.5]),
            row("nginx", None, [20.0; 3]),
        ];
        let case = CaseResult {
            name: "keep-alive".into(),
            what: "kept".into(),
            pace: 4000.0,
            rows,
            failed: vec![failed("haproxy", "it ended")],
        };
        let point = |x: f64| Point { x, found: vec![1.0 + 0.5 * x; 3] };
        let series = Series { name: "noop filters".into(), points: [1.0, 2.0, 4.0, 8.0, 10.0].map(point).to_vec() };
        let curve = Curve {
            name: "filters".into(),
            x: "filters".into(),
            y: "µs".into(),
            unit: "µs a filter".into(),
            scale: 1.0,
            wanted: "at most 0.8 µs each".into(),
            most: Some(0.8),
            note: "Each is like the others.".into(),
            series: vec![series],
            tenfold: false,
        };
        let facts = Facts {
            date: "2026-01-01".into(),
            machine: "2 cores".into(),
            versions: vec!["tollgate 0.1.0".into()],
            command: "proxy-bench".into(),
            method: vec!["3 rounds".into()],
        };
        let absent = vec![failed("envoy", "no program envoy here")];
        let count = |target: &str, each| Counted {
            target: target.into(),
            each,
            why: each.is_none().then(|| "it ended".to_owned()),
        };
        let counted = vec![count("tollgate", Some(25_000.4)), count("nginx", None)];
        let (millis, resident) = (vec![12.0, 10.0, 11.0], vec![20.0; 3]);
        let starts = vec![Start { target: "tollgate, 1 noop filter".into(), millis, resident }];
        Results {
            facts,
            cases: vec![case],
            starts,
            counted,
            curves: vec![curve],
            absent,
            failed: vec![failed("growth of idle", "no memory")],
        }
    }

    fn golden(name: &str, text: &str) {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/report/golden").join(name);
        if std::env::var_os("TOLLGATE_BLESS").is_some() {
            std::fs::write(&file, text).unwrap();
        }
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(text == expected, "{name} differs; TOLLGATE_BLESS=1 writes it anew, to be read in the diff:\n{text}");
    }

    #[test]
    fn a_report_is_as_it_was() {
        let pages = render(&results());

        let names: Vec<_> = pages.iter().map(|page| page.name.as_str()).collect();
        assert_eq!(names, ["index.md", "cpu-keep-alive.svg", "latency-keep-alive.svg", "curve-filters.svg"]);
        pages.iter().for_each(|page| golden(&page.name, &page.text));
    }

    #[test]
    fn a_comparison_is_as_it_was() {
        let mut newer = results();
        newer.cases[0].rows[0].rounds.iter_mut().for_each(|round| round.cpu_micros *= 1.5);

        golden("compare.md", &compare(&results(), &newer));
    }

    #[test]
    fn results_come_back_from_their_file_as_they_were() {
        let written = serde_json::to_string(&results()).unwrap();

        assert_eq!(serde_json::from_str::<Results>(&written).unwrap(), results());
    }

    #[test]
    fn a_report_of_nothing_says_that_nothing_was_measured() {
        let text = index(&Results::default());

        assert!(text.contains("| not measured |") && !text.contains("NaN"), "{text}");
    }
}
