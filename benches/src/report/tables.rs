//! Cases: a table and pictures for each.

use std::fmt::Write;

use super::Page;
use super::svg::{Bar, bars};
use crate::results::{Absent, CaseResult, Row};
use crate::stats::{Interval, Spread};

/// From this part of a core on there is no more to be had of it.
const BUSY: f64 = 0.95;

/// Writes the section of a case.
pub(super) fn table(text: &mut String, case: &CaseResult) {
    // A string takes every write.
    let _ = write!(
        text,
        "\n## {}\n\n{}. Latencies at {:.0} requests a second.\n\n![CPU]({})\n\n",
        case.name,
        case.what,
        case.pace,
        cpu_name(case)
    );
    let first = case.rows.first().map(|row| row.target.as_str()).unwrap_or_default();
    let _ = writeln!(
        text,
        "| target | CPU µs/request: min / median / max | spread | over {first} | adds µs | requests/s | core | p50 / p99 / p99.9 µs | RSS, of it anonymous MiB | calls |"
    );
    let _ = writeln!(text, "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for row in &case.rows {
        let _ = writeln!(text, "{}", line(case, row));
    }
    for Absent { target, why } in &case.failed {
        let _ = writeln!(text, "| {target} | failed: {} |{}", why.replace('|', "/"), " |".repeat(8));
    }
    let why = case.rows.iter().find_map(|row| row.uncounted.as_ref());
    if let Some(why) = why {
        let _ = writeln!(text, "\nSystem calls were not counted: {why}.");
    }
    for (row, why) in case.rows.iter().filter_map(|row| Some((row, row.miscounted.as_ref()?))) {
        let _ = writeln!(text, "\n**System calls of {} were not counted**: {why}.", row.target);
    }
    let _ = writeln!(text, "\n![latency]({})", latency_name(case));
}

fn line(case: &CaseResult, row: &Row) -> String {
    let cpu = row.spread(|round| round.cpu_micros);
    let first = case.rows.first().map(|first| row.cpu_over(first)).unwrap_or_default();
    let added = row.over.as_ref().and_then(|over| Some(row.cpu_added(case.row(over)?)));
    let added = added.map(|Interval { low, median, high, .. }| format!("{median:+.2} [{low:+.2} .. {high:+.2}]"));
    let share = row.spread(|round| round.share).median;
    let limit = if limited(row) { ", the load was the limit" } else { "" };
    let [p50, p99, p999] = [0, 1, 2].map(|place| row.latency(place).median);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    format!(
        "| {} | {:.2} / {:.2} / {:.2} | {:.0} % | {:.2} [{:.2} .. {:.2}] | {} | {:.0} | {:.0} %{limit} | {p50:.0} / {p99:.0} / {p999:.0} | {:.1}, {:.1} | {} |",
        row.target,
        cpu.min,
        cpu.median,
        cpu.max,
        Interval::of(row.rounds.iter().map(|round| round.cpu_micros)).percent(),
        first.median,
        first.low,
        first.high,
        added.unwrap_or_default(),
        row.spread(|round| round.rate).median,
        share * 100.0,
        mib(row.resident),
        mib(row.anonymous),
        calls(row),
    )
}

fn calls(row: &Row) -> String {
    match (row.calls, &row.miscounted) {
        (Some(calls), _) => format!("{calls:.2}"),
        (None, Some(_)) => "failed".to_owned(),
        (None, None) => "absent".to_owned(),
    }
}

/// Whether load and origin had no more of their core to give while the target had of its own.
pub(super) fn limited(row: &Row) -> bool {
    let load = Spread::of(row.rounds.iter().filter_map(|round| round.load)).median;
    load >= BUSY && row.spread(|round| round.share).median < BUSY
}

/// The pictures of a case.
pub(super) fn pictures(case: &CaseResult) -> Vec<Page> {
    let bar = |row: &Row, spread: Spread| Bar { label: row.target.clone(), spread };
    let cpu: Vec<_> = case.rows.iter().map(|row| bar(row, row.spread(|round| round.cpu_micros))).collect();
    let late: Vec<_> = case.rows.iter().map(|row| bar(row, row.latency(1))).collect();
    let title = format!("{}: CPU µs a request, least, median and most of the rounds", case.name);
    let late_title = format!("{}: p99 in µs at {:.0} requests a second", case.name, case.pace);
    vec![
        Page { name: cpu_name(case), text: bars(&title, &cpu) },
        Page { name: latency_name(case), text: bars(&late_title, &late) },
    ]
}

fn cpu_name(case: &CaseResult) -> String {
    format!("cpu-{}.svg", case.name)
}

fn latency_name(case: &CaseResult) -> String {
    format!("latency-{}.svg", case.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Round;

    #[test]
    fn the_load_was_the_limit_where_its_core_was_full_and_the_targets_was_not() {
        let row = |share, load| Row { rounds: vec![Round { share, load, ..Round::default() }], ..Row::default() };

        assert!(limited(&row(0.8, Some(0.99))));
        assert!(!limited(&row(0.99, Some(0.99))));
        // Neither was full: the one waited for the other to wake up.
        assert!(!limited(&row(0.8, Some(0.8))));
        assert!(!limited(&row(0.8, None)));
    }
}
