//! Curves: one table of slopes, and a picture and the points of each.

use std::fmt::Write;

use super::Page;
use super::svg::{Trace, plot};
use super::verdict::verdict;
use crate::fit::Line;
use crate::results::{Curve, Point, Series};
use crate::stats::{Interval, Spread};

/// The line through what `figure` makes of the points of a series; over the tenfolds where the curve says so.
fn fitted(curve: &Curve, series: &Series, figure: impl Fn(&Point) -> Option<f64>) -> Line {
    let place = |x: f64| if curve.tenfold { x.log10() } else { x };
    let points = series.points.iter().filter_map(|point| Some((place(point.x), figure(point)?)));
    Line::through(&points.collect::<Vec<_>>())
}

/// The slopes of the lines through single rounds, in the curve's unit.
pub(super) fn slopes(curve: &Curve, series: &Series) -> Interval {
    let rounds = series.points.iter().map(|point| point.found.len()).min().unwrap_or_default();
    let slope = |round| fitted(curve, series, |point| point.found.get(round).copied()).slope * curve.scale;
    Interval::of((0..rounds).map(slope))
}

/// Writes the section.
pub(super) fn section(text: &mut String, curves: &[Curve]) {
    if curves.is_empty() {
        return;
    }
    // A string takes every write.
    let _ = write!(
        text,
        "\n## Growth\n\nThe slope is that of the straight line that fits a round best: median [interval] of the rounds.\n\n\
         | what grows | line | points | slope | wanted | |\n|---|---|---:|---:|---|---|\n"
    );
    for curve in curves {
        for (place, series) in curve.series.iter().enumerate() {
            let slope = slopes(curve, series);
            // What is wanted is wanted of the first line; the others stand beside it.
            let verdict = curve.most.filter(|_| place == 0).map_or("", |most| verdict(slope, most));
            let wanted = if place == 0 { &curve.wanted } else { "" };
            let count = series.points.len();
            let _ = writeln!(
                text,
                "| {} | {} | {count} | {} {} | {wanted} | {verdict} |",
                curve.x,
                series.name,
                told(slope),
                curve.unit
            );
        }
    }
    curves.iter().for_each(|curve| points(text, curve));
}

fn points(text: &mut String, curve: &Curve) {
    let _ = write!(text, "\n### {}\n\n![{}]({})\n\n| {} |", curve.name, curve.name, name(curve), curve.x);
    curve.series.iter().for_each(|series| {
        let _ = write!(text, " {}: {} |", series.name, curve.y);
    });
    let _ = writeln!(text, "\n|---:|{}", "---:|".repeat(curve.series.len()));
    let longest = curve.series.iter().map(|series| series.points.len()).max().unwrap_or_default();
    for place in 0..longest {
        let x = curve.series.iter().find_map(|series| series.points.get(place)).map(|point| point.x);
        let _ = write!(text, "| {} |", x.unwrap_or_default());
        for series in &curve.series {
            let found = series.points.get(place).map(|point| Interval::of(point.found.iter().copied()));
            let said = found.map(|Interval { low, median, high, .. }| match low == high {
                true => format!("{median:.2}"),
                false => format!("{median:.2} [{low:.2} .. {high:.2}]"),
            });
            let _ = write!(text, " {} |", said.unwrap_or_default());
        }
        text.push('\n');
    }
    if !curve.note.is_empty() {
        let _ = writeln!(text, "\n{}", curve.note);
    }
}

fn told(Interval { low, median, high, .. }: Interval) -> String {
    let [least, middle, most] = [low, median, high].map(significant);
    if low == high { middle } else { format!("{middle} [{least} .. {most}]") }
}

/// Three digits that say something.
fn significant(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.2}"),
        size if size >= 0.01 => format!("{value:.3}"),
        _ => format!("{value:.5}"),
    }
}

/// Its picture.
pub(super) fn picture(curve: &Curve) -> Page {
    let trace = |series: &Series| Trace {
        label: series.name.clone(),
        line: fitted(curve, series, |point| Some(median(point))),
        points: series.points.iter().map(|point| (point.x, Spread::of(point.found.iter().copied()))).collect(),
    };
    let traces: Vec<_> = curve.series.iter().map(trace).collect();
    Page { name: name(curve), text: plot(&curve.x, &curve.y, curve.tenfold, &traces) }
}

fn median(point: &Point) -> f64 {
    Spread::of(point.found.iter().copied()).median
}

fn name(curve: &Curve) -> String {
    format!("curve-{}.svg", curve.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slope_is_told_of_each_round_that_all_points_have() {
        let point = |x: f64, found: &[f64]| Point { x, found: found.to_vec() };
        let points = vec![point(0.0, &[1.0, 1.0, 9.0]), point(1.0, &[2.0, 3.0]), point(2.0, &[3.0, 5.0, 0.0])];
        let curve = Curve { scale: 10.0, ..Curve::default() };

        let found = slopes(&curve, &Series { name: String::new(), points });

        assert_eq!(found, Interval { low: 10.0, median: 15.0, high: 20.0, count: 2 });
        assert_eq!(slopes(&curve, &Series::default()), Interval::default());
    }
}
